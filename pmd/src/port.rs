//! The control side of a device: what it is called, its address, and the opening of its queues.

pub use millrace_wire::mac::MacAddr;

use crate::error::PortError;
use crate::queue::Queue;

/// A device, before and while its queues run. Dropping it undoes everything it changed; its queues then receive
/// nothing more.
pub trait Port: Send {
    /// The interface's name.
    fn name(&self) -> &str;

    /// The Ethernet address that we answer to.
    fn mac(&self) -> MacAddr;

    /// The largest IP packet in bytes (link header excluded).
    fn mtu(&self) -> usize;

    /// Opens all queues of the device, in the device's order. A port opens its queues once.
    ///
    /// # Errors
    ///
    /// [`PortError`] says what is missing and how to mend it; [`PortError::AlreadyOpen`] on a second call.
    fn queues(&mut self) -> Result<Vec<Box<dyn Queue>>, PortError>;
}

/// A port made of queues that exist already: an in-memory pair, an impaired queue.
pub struct FixedPort {
    name: String,
    mac: MacAddr,
    mtu: usize,
    queues: Option<Vec<Box<dyn Queue>>>,
}

impl FixedPort {
    /// A port called `name` with the address `mac`, whose largest IP packet is `mtu` bytes.
    pub fn new(
        name: impl Into<String>,
        mac: MacAddr,
        mtu: usize,
        queues: Vec<Box<dyn Queue>>,
    ) -> Self {
        Self {
            name: name.into(),
            mac,
            mtu,
            queues: Some(queues),
        }
    }
}

impl Port for FixedPort {
    fn name(&self) -> &str {
        &self.name
    }

    fn mac(&self) -> MacAddr {
        self.mac
    }

    fn mtu(&self) -> usize {
        self.mtu
    }

    fn queues(&mut self) -> Result<Vec<Box<dyn Queue>>, PortError> {
        self.queues.take().ok_or_else(|| PortError::AlreadyOpen {
            interface: self.name.clone(),
        })
    }
}
