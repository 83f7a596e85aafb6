//! An AF_XDP port: what is checked, changed and undone around the sockets.

use std::fs::read_to_string;
use std::net::Ipv4Addr;

use rustix::process::{Resource, Rlimit, setrlimit};

use super::own;
use super::program::{Attached, Program};
use super::sizes::Sizes;
use super::xsk_rs;
use super::{AfXdpConfig, DefaultRoute, Pages, Sockets, Steer};
use crate::error::PortError;
use crate::netdev::NetDev;
use crate::port::{MacAddr, Port};
use crate::queue::Queue;

/// An interface with our steering program on it. Dropping it takes the program off; sockets close with their queues.
pub struct AfXdpPort {
    config: AfXdpConfig,
    mac: MacAddr,
    mtu: usize,
    /// The interface's number.
    index: u32,
    queues: u32,
    sizes: Sizes,
    program: Program,
    opened: Opened,
}

/// Whether the queues have been handed out.
#[derive(PartialEq, Eq)]
enum Opened {
    No,
    Yes,
}

impl AfXdpPort {
    /// Looks the interface up in the calling thread's network namespace and attaches the program. Until the queues are
    /// open, all packets still pass to the kernel.
    ///
    /// # Errors
    ///
    /// [`PortError`] for everything that is missing: the interface, rights, native mode, an MTU that fits.
    pub fn open(config: AfXdpConfig) -> Result<Self, PortError> {
        let dev = NetDev::open(&config.interface)?;
        let (mtu, mac, index, queues) = (dev.mtu()?, dev.mac()?, dev.index()?, dev.queues()?);
        let sizes = Sizes::new(&config, mtu)?;
        if config.steer == Steer::All && config.default_route == DefaultRoute::Refuse {
            spare_default_route(&config.interface)?;
        }
        // Frames count as locked memory; without the right to raise the limit, what it allows must do.
        let _ = setrlimit(
            Resource::Memlock,
            Rlimit {
                current: None,
                maximum: None,
            },
        );
        let program = Program::attach(&config, index, queues, sizes.pieces())?;
        Ok(Self {
            config,
            mac,
            mtu,
            index,
            queues,
            sizes,
            program,
            opened: Opened::No,
        })
    }

    fn open_own(&mut self) -> Result<Vec<Box<dyn Queue>>, PortError> {
        let device = (self.index, self.queues);
        let (queues, pages) = own::open(&self.config, self.sizes, device, self.program.attached)?;
        self.tell_pages(pages);
        let mut boxed: Vec<Box<dyn Queue>> = Vec::with_capacity(queues.len());
        for (number, queue) in (0..).zip(queues) {
            // The fill ring is filled before the first packet is sent here.
            self.program.insert_socket(number, queue.fd())?;
            self.tell_open(number, &queue);
            boxed.push(Box::new(queue));
        }
        Ok(boxed)
    }

    fn open_xsk_rs(&mut self) -> Result<Vec<Box<dyn Queue>>, PortError> {
        let mut boxed: Vec<Box<dyn Queue>> = Vec::with_capacity(self.queues as usize);
        for number in 0..self.queues {
            let attached = self.program.attached;
            let (queue, pages) = xsk_rs::open(&self.config, self.sizes, number, attached)?;
            if number == 0 {
                self.tell_pages(pages);
            }
            self.program.insert_socket(number, queue.fd())?;
            self.tell_open(number, &queue);
            boxed.push(Box::new(queue));
        }
        Ok(boxed)
    }

    fn tell_pages(&self, pages: Pages) {
        if pages == Pages::Small {
            tracing::warn!(
                "no huge pages for the frames of {}, using 4 KiB pages; reserve some with `sysctl -w vm.nr_hugepages=64`",
                self.config.interface
            );
        }
    }

    fn tell_open(&self, number: u32, queue: &dyn Queue) {
        tracing::info!(
            interface = %self.config.interface, queue = number, mode = %queue.mode(),
            sockets = queue.made_with(), "AF_XDP queue open"
        );
    }

    /// How many queues the device has in use.
    pub fn queue_count(&self) -> usize {
        self.queues as usize
    }

    /// Whether the program runs in the driver or behind it, in words.
    pub fn program_mode(&self) -> &'static str {
        match self.program.attached {
            Attached::Native => "native",
            Attached::Generic => "generic",
        }
    }

    /// Steers IPv4 packets to `address`, and ARP for it, to us. Without effect under [`Steer::All`].
    ///
    /// # Errors
    ///
    /// [`PortError::Program`] when the table is full (1024 addresses).
    pub fn add_address(&mut self, address: Ipv4Addr) -> Result<(), PortError> {
        self.program.add_address(address)
    }

    /// Leaves packets to `address` to the kernel again. An address that was not steered is no error.
    ///
    /// # Errors
    ///
    /// [`PortError::Program`] with the kernel's words.
    pub fn remove_address(&mut self, address: Ipv4Addr) -> Result<(), PortError> {
        self.program.remove_address(address)
    }
}

impl Port for AfXdpPort {
    fn name(&self) -> &str {
        &self.config.interface
    }

    /// The device's own address: the kernel may answer to it too, for what passes.
    fn mac(&self) -> MacAddr {
        self.mac
    }

    fn mtu(&self) -> usize {
        self.mtu
    }

    /// Binds a socket to every queue of the device, in the network namespace in which the port was opened.
    fn queues(&mut self) -> Result<Vec<Box<dyn Queue>>, PortError> {
        if self.opened == Opened::Yes {
            return Err(PortError::AlreadyOpen {
                interface: self.config.interface.clone(),
            });
        }
        let queues = match self.config.sockets {
            Sockets::Own => self.open_own()?,
            Sockets::XskRs => self.open_xsk_rs()?,
        };
        self.opened = Opened::Yes;
        Ok(queues)
    }
}

/// Refuses an interface that carries the default route: taking it whole would cut the machine off.
fn spare_default_route(interface: &str) -> Result<(), PortError> {
    // Of this thread's namespace. Without /proc there is nothing to go by.
    let routes = read_to_string("/proc/thread-self/net/route").unwrap_or_default();
    if carries_default_route(&routes, interface) {
        return Err(PortError::DefaultRoute {
            interface: interface.to_owned(),
        });
    }
    Ok(())
}

/// Whether `routes` (`/proc/net/route`: interface, destination, gateway … mask) has a default route by `interface`.
fn carries_default_route(routes: &str, interface: &str) -> bool {
    routes.lines().skip(1).any(|line| {
        let mut fields = line.split_ascii_whitespace();
        fields.next() == Some(interface)
            && fields.next() == Some("00000000")
            && fields.nth(5) == Some("00000000")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTES: &str = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
        eth0\t00000000\t0102A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
        veth0\t0000010A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";

    #[test]
    fn the_default_route_is_recognised() {
        assert!(carries_default_route(ROUTES, "eth0"));
        assert!(!carries_default_route(ROUTES, "veth0"));
        assert!(!carries_default_route(ROUTES, "eth"));
        assert!(!carries_default_route("", "eth0"));
    }
}
