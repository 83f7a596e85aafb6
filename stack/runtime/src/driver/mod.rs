//! Opening a device from its description: `af-xdp:IF`, `tap:NAME`, `pair`.
//!
//! Opening is all or nothing: what was changed is undone when the [`Device`], or later its port, is dropped. Errors are sentences that end with what mends them.

mod impair;

use core::fmt;
use core::str::FromStr;
use std::net::Ipv4Addr;

use millrace_pmd::{Impair, Port, PortError, Queue, Tap, TapConfig};
use millrace_wire::mac::MacAddr;

use crate::clock::{Clock, TscClock};

pub use impair::{ImpairParseError, ImpairSpec};

/// Which device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DriverSpec {
    /// AF_XDP sockets on all queues of an existing interface.
    AfXdp(String),
    /// A TAP interface, created when it does not exist.
    Tap(String),
    /// The in-memory pair, for two stacks in one process.
    Pair,
}

/// A description that names no driver.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` names no driver; give af-xdp:INTERFACE, tap:NAME or pair")]
pub struct SpecError(String);

impl FromStr for DriverSpec {
    type Err = SpecError;

    fn from_str(spec: &str) -> Result<Self, SpecError> {
        match spec.split_once(':') {
            Some(("af-xdp", interface)) if !interface.is_empty() => {
                Ok(Self::AfXdp(interface.to_owned()))
            }
            Some(("tap", name)) if !name.is_empty() => Ok(Self::Tap(name.to_owned())),
            None if spec == "pair" => Ok(Self::Pair),
            _ => Err(SpecError(spec.to_owned())),
        }
    }
}

impl fmt::Display for DriverSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AfXdp(interface) => write!(f, "af-xdp:{interface}"),
            Self::Tap(name) => write!(f, "tap:{name}"),
            Self::Pair => f.write_str("pair"),
        }
    }
}

/// Where the XDP program runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum XdpMode {
    /// In the device driver, or behind it where the driver cannot.
    #[default]
    Auto,
    /// In the device driver or not at all.
    Native,
    /// Behind the device driver (SKB mode).
    Generic,
}

/// Whose AF_XDP sockets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum XdpSockets {
    /// Ours.
    #[default]
    Own,
    /// Those of the crate xsk-rs.
    XskRs,
}

/// Which frames the XDP program takes from the kernel.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Steer {
    /// All: the kernel has nothing more on this interface.
    #[default]
    All,
    /// Those for these addresses; all else stays with the kernel.
    Addresses(Vec<Ipv4Addr>),
}

/// Whether an interface that carries the kernel's default route may be taken whole, which cuts the machine off.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Takeover {
    /// No: refuse.
    #[default]
    SparingDefaultRoute,
    /// Yes.
    Whatever,
}

/// How to open a device.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DriverOptions {
    /// Where the XDP program runs (af-xdp).
    pub xdp_mode: XdpMode,
    /// Whose sockets (af-xdp).
    pub xdp_sockets: XdpSockets,
    /// Which frames it takes (af-xdp).
    pub steer: Steer,
    /// Whether it may take all of the interface with the default route (af-xdp).
    pub takeover: Takeover,
    /// Our Ethernet address; by default the device's (af-xdp) or one derived from the name (tap).
    pub mac: Option<MacAddr>,
    /// Faults put around every queue.
    pub impair: Option<ImpairSpec>,
}

/// Why a device cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// The driver says why.
    #[error(transparent)]
    Port(#[from] PortError),
    /// Taking the interface would cut the machine off, and nobody asked for that.
    #[error(
        "{interface} carries the default route, and taking all of its frames would cut this machine off; share it with \
         --steer addresses and an address of its own (--addr), or insist with --steer all"
    )]
    DefaultRoute {
        /// The interface.
        interface: String,
    },
    /// Built without the driver.
    #[error(
        "this program was built without AF_XDP; build it with the default features (`cargo build -p millrace-apps`)"
    )]
    NoAfXdp,
    /// The pair has no end outside the process.
    #[error(
        "the driver `pair` joins two stacks of one process; run `millrace demo`, or give --driver af-xdp:INTERFACE or tap:NAME"
    )]
    PairNeedsBothEnds,
}

/// An open device whose queues do not run yet: the time to check everything else.
pub struct Device {
    port: Box<dyn Port>,
    impair: Option<ImpairSpec>,
    clock: TscClock,
}

impl Device {
    /// The interface's name.
    pub fn name(&self) -> &str {
        self.port.name()
    }

    /// Our Ethernet address on this device.
    pub fn mac(&self) -> MacAddr {
        MacAddr(self.port.mac().0)
    }

    /// The device's largest IP packet in bytes.
    pub fn mtu(&self) -> u16 {
        u16::try_from(self.port.mtu()).unwrap_or(u16::MAX)
    }

    /// Opens all queues of the device.
    ///
    /// # Errors
    ///
    /// [`DriverError`]; nothing is left changed.
    pub fn start(mut self) -> Result<Started, DriverError> {
        let mut queues = self.port.queues()?;
        if let Some(impair) = &self.impair {
            queues = with_faults(queues, impair, &self.clock);
        }
        Ok(Started {
            port: self.port,
            queues,
        })
    }
}

/// A device whose queues run.
pub struct Started {
    /// Undoes on drop what opening changed; must be kept as long as the queues are used.
    pub port: Box<dyn Port>,
    /// All queues of the device.
    pub queues: Vec<Box<dyn Queue>>,
}

/// Opens a device. `clock` is the worker's, for faults that delay.
///
/// # Errors
///
/// [`DriverError`]; nothing is left changed.
pub fn open(
    spec: &DriverSpec,
    options: &DriverOptions,
    clock: &TscClock,
) -> Result<Device, DriverError> {
    let port: Box<dyn Port> = match spec {
        DriverSpec::AfXdp(interface) => open_af_xdp(interface, options)?,
        DriverSpec::Tap(name) => Box::new(Tap::open(TapConfig {
            mac: options.mac.map(|mac| millrace_pmd::MacAddr(mac.0)),
            ..TapConfig::new(name.as_str())
        })?),
        DriverSpec::Pair => return Err(DriverError::PairNeedsBothEnds),
    };
    Ok(Device {
        port,
        impair: options.impair,
        clock: clock.clone(),
    })
}

/// Puts faults around each queue, each with a seed of its own.
pub fn with_faults(
    queues: Vec<Box<dyn Queue>>,
    impair: &ImpairSpec,
    clock: &TscClock,
) -> Vec<Box<dyn Queue>> {
    let wrap = |(place, queue)| -> Box<dyn Queue> {
        let clock = clock.clone();
        Box::new(Impair::new(
            queue,
            impair.config(place),
            Box::new(move || clock.now()),
        ))
    };
    (0..).zip(queues).map(wrap).collect()
}

#[cfg(feature = "af-xdp")]
fn open_af_xdp(interface: &str, options: &DriverOptions) -> Result<Box<dyn Port>, DriverError> {
    use millrace_pmd::af_xdp::{self, AfXdpConfig, AfXdpPort, DefaultRoute};
    let DriverOptions {
        xdp_mode,
        xdp_sockets,
        steer,
        takeover,
        // What the stack calls itself, and what is put around the queues.
        mac: _,
        impair: _,
    } = options;
    let config = AfXdpConfig {
        steer: match steer {
            Steer::All => af_xdp::Steer::All,
            Steer::Addresses(addrs) => af_xdp::Steer::Addresses(addrs.clone()),
        },
        mode: match xdp_mode {
            XdpMode::Auto => af_xdp::XdpMode::Auto,
            XdpMode::Native => af_xdp::XdpMode::Native,
            XdpMode::Generic => af_xdp::XdpMode::Generic,
        },
        sockets: match xdp_sockets {
            XdpSockets::Own => af_xdp::Sockets::Own,
            XdpSockets::XskRs => af_xdp::Sockets::XskRs,
        },
        default_route: match takeover {
            Takeover::SparingDefaultRoute => DefaultRoute::Refuse,
            Takeover::Whatever => DefaultRoute::Take,
        },
        ..AfXdpConfig::new(interface)
    };
    match AfXdpPort::open(config) {
        Ok(port) => Ok(Box::new(port)),
        Err(PortError::DefaultRoute { interface }) => Err(DriverError::DefaultRoute { interface }),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(feature = "af-xdp"))]
fn open_af_xdp(_: &str, _: &DriverOptions) -> Result<Box<dyn Port>, DriverError> {
    Err(DriverError::NoAfXdp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_are_read_and_written() {
        for (text, spec) in [
            ("af-xdp:veth1", DriverSpec::AfXdp("veth1".to_owned())),
            ("tap:tap0", DriverSpec::Tap("tap0".to_owned())),
            ("pair", DriverSpec::Pair),
        ] {
            assert_eq!(text.parse(), Ok(spec.clone()));
            assert_eq!(spec.to_string(), text);
        }
    }

    #[test]
    fn others_are_refused_with_the_choices() {
        for text in [
            "",
            "af-xdp",
            "af-xdp:",
            "tap:",
            "pair:x",
            "dpdk:0",
            "AF-XDP:eth0",
        ] {
            let error = text.parse::<DriverSpec>().expect_err(text).to_string();
            assert!(
                error.contains("af-xdp:INTERFACE, tap:NAME or pair"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_lone_pair_end_is_refused() {
        let error = open(
            &DriverSpec::Pair,
            &DriverOptions::default(),
            &TscClock::new(),
        )
        .map(|_| ())
        .expect_err("no other end");
        assert!(error.to_string().contains("millrace demo"), "{error}");
    }
}
