//! The steering program: loading, attaching, and its three maps.
//!
//! Loaded without the kernel's type information (the program needs none), which makes it 36 ms instead of 139.

use core::time::Duration;
use std::error::Error;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::thread::sleep;

use aya::maps::{Array, HashMap, Map, MapData, MapError, XskMap};
use aya::programs::{ProgramError, Xdp, xdp};
use aya::{Ebpf, EbpfLoader, include_bytes_aligned};

use super::sizes::Pieces;
use super::{AfXdpConfig, Steer, XdpMode};
use crate::error::PortError;

/// `STEER_*` of the program.
const STEER_ADDRESSES: u32 = 0;
const STEER_ALL: u32 = 1;

/// A process that has just died may hold the interface a moment longer.
pub(super) const BUSY_RETRIES: u32 = 30;
/// Time between retries, 300 ms in all.
pub(super) const BUSY_PERIOD: Duration = Duration::from_millis(10);

static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/steer.bpf.o"));

/// Where the program came to run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Attached {
    Native,
    Generic,
}

/// The attached program. Dropping it detaches.
pub(super) struct Program {
    interface: String,
    pub(super) attached: Attached,
    sockets: XskMap<MapData>,
    addresses: HashMap<MapData, u32, u8>,
    /// Holds the program and its link.
    _ebpf: Ebpf,
}

impl Program {
    /// Loads the program with room for `queues` sockets and attaches it. Until sockets are put in, all passes.
    /// A device that hands over frames in several pieces takes only a program that says it can read them.
    pub(super) fn attach(
        config: &AfXdpConfig,
        index: u32,
        queues: u32,
        pieces: Pieces,
    ) -> Result<Self, PortError> {
        let interface = config.interface.as_str();
        let refused = |err: &(dyn Error + 'static)| refused(interface, err);
        let mut ebpf = EbpfLoader::new()
            .btf(None)
            .map_max_entries("xsks", queues)
            .load(OBJECT)
            .map_err(|err| refused(&err))?;

        let sockets = XskMap::try_from(take_map(&mut ebpf, interface, "xsks")?)
            .map_err(|err| refused(&err))?;
        let mut addresses = HashMap::try_from(take_map(&mut ebpf, interface, "addresses")?)
            .map_err(|err| refused(&err))?;
        let mut settings: Array<MapData, u32> =
            Array::try_from(take_map(&mut ebpf, interface, "settings")?)
                .map_err(|err| refused(&err))?;
        let how = match &config.steer {
            Steer::All => STEER_ALL,
            Steer::Addresses(list) => {
                for address in list {
                    insert(&mut addresses, *address).map_err(|err| refused(&err))?;
                }
                STEER_ADDRESSES
            }
        };
        settings.set(0, how, 0).map_err(|err| refused(&err))?;

        let name = match pieces {
            Pieces::One => "steer",
            Pieces::Several => "steer_pieces",
        };
        let program = ebpf
            .program_mut(name)
            .ok_or_else(|| missing(interface, name))?;
        let program: &mut Xdp = program
            .try_into()
            .map_err(|err: ProgramError| refused(&err))?;
        program.load().map_err(|err| refused(&err))?;
        let attached = attach(program, interface, index, config.mode)?;
        Ok(Self {
            interface: interface.to_owned(),
            attached,
            sockets,
            addresses,
            _ebpf: ebpf,
        })
    }

    /// Gives the packets of `queue` to `socket`.
    pub(super) fn insert_socket(
        &mut self,
        queue: u32,
        socket: impl AsRawFd,
    ) -> Result<(), PortError> {
        self.sockets
            .set(queue, socket, 0)
            .map_err(|err| refused(&self.interface, &err))
    }

    /// Steers packets to `address` to us from now on.
    pub(super) fn add_address(&mut self, address: Ipv4Addr) -> Result<(), PortError> {
        insert(&mut self.addresses, address).map_err(|err| refused(&self.interface, &err))
    }

    /// Leaves packets to `address` to the kernel again. An address that was not steered is no error.
    pub(super) fn remove_address(&mut self, address: Ipv4Addr) -> Result<(), PortError> {
        match self.addresses.remove(&key(address)) {
            Ok(()) | Err(MapError::KeyNotFound) => Ok(()),
            Err(err) if os_error(&err) == Some(libc::ENOENT) => Ok(()),
            Err(err) => Err(refused(&self.interface, &err)),
        }
    }
}

fn take_map(ebpf: &mut Ebpf, interface: &str, name: &str) -> Result<Map, PortError> {
    ebpf.take_map(name).ok_or_else(|| missing(interface, name))
}

fn insert(addresses: &mut HashMap<MapData, u32, u8>, address: Ipv4Addr) -> Result<(), MapError> {
    addresses.insert(key(address), 1, 0)
}

/// The address as the program sees it: its bytes as they stand in the packet.
fn key(address: Ipv4Addr) -> u32 {
    u32::from_ne_bytes(address.octets())
}

/// Attaches in the mode asked for; waits a moment for a predecessor to let go.
fn attach(
    program: &mut Xdp,
    interface: &str,
    index: u32,
    mode: XdpMode,
) -> Result<Attached, PortError> {
    let mut tries = 0;
    loop {
        let err = match attach_once(program, interface, index, mode) {
            Err(err @ PortError::ProgramAttached { .. }) if tries < BUSY_RETRIES => err,
            result => return result,
        };
        tracing::debug!(interface, %err, "waiting for the interface");
        tries += 1;
        sleep(BUSY_PERIOD);
    }
}

fn attach_once(
    program: &mut Xdp,
    interface: &str,
    index: u32,
    mode: XdpMode,
) -> Result<Attached, PortError> {
    let mut link = |how| program.attach_to_if_index(index, how);
    if mode == XdpMode::Generic {
        link(xdp::XdpMode::Skb).map_err(|err| not_attached(interface, &err))?;
        return Ok(Attached::Generic);
    }
    let Err(err) = link(xdp::XdpMode::Driver) else {
        return Ok(Attached::Native);
    };
    let err = not_attached(interface, &err);
    match (mode, &err) {
        (XdpMode::Auto, PortError::NoNativeMode { source, .. }) => {
            tracing::warn!(interface, %source, "no native XDP in this driver: falling back to generic mode");
            link(xdp::XdpMode::Skb).map_err(|err| not_attached(interface, &err))?;
            Ok(Attached::Generic)
        }
        _ => Err(err),
    }
}

/// Why the kernel did not attach the program.
fn not_attached(interface: &str, err: &ProgramError) -> PortError {
    let owned = interface.to_owned();
    match os_error(err) {
        Some(libc::EBUSY | libc::EEXIST) => PortError::ProgramAttached { interface: owned },
        Some(libc::ERANGE) => PortError::PeerMtuTooLarge { interface: owned },
        Some(libc::ENOSPC) => PortError::TooFewQueues { interface: owned },
        Some(code @ (libc::EOPNOTSUPP | libc::EINVAL)) => PortError::NoNativeMode {
            interface: owned,
            source: io::Error::from_raw_os_error(code),
        },
        _ => refused(interface, err),
    }
}

/// Why the kernel, or the loader, refused the program or a map.
fn refused(interface: &str, err: &(dyn Error + 'static)) -> PortError {
    let interface = interface.to_owned();
    match os_error(err) {
        Some(libc::EPERM | libc::EACCES) => PortError::NoXdpPermission { interface },
        Some(libc::ENODEV) => PortError::NoInterface { interface },
        _ => PortError::Program {
            interface,
            why: chain(err),
        },
    }
}

fn missing(interface: &str, what: &str) -> PortError {
    PortError::Program {
        interface: interface.to_owned(),
        why: format!("{what} is not in the object"),
    }
}

/// The errno at the bottom of an error, if there is one.
pub(super) fn os_error(err: &(dyn Error + 'static)) -> Option<i32> {
    let mut next = Some(err);
    while let Some(err) = next {
        if let Some(io) = err.downcast_ref::<io::Error>() {
            return io.raw_os_error();
        }
        next = err.source();
    }
    None
}

/// An error and its causes in one line.
fn chain(err: &(dyn Error + 'static)) -> String {
    let mut words = err.to_string();
    let mut next = err.source();
    while let Some(err) = next {
        words.push_str(": ");
        words.push_str(&err.to_string());
        next = err.source();
    }
    words
}
