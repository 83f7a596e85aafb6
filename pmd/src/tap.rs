//! A TAP interface: the kernel is the other end of the wire, one system call and one copy per frame.
//!
//! Works wherever `/dev/net/tun` does. The kernel's end is an ordinary interface that the user configures
//! (`ip addr add 10.0.0.1/24 dev tap0; ip link set tap0 up`); it has an address of its own, so ours is another: locally
//! administered, derived from the name.
//!
//! Linux counterpart: `drivers/net/tun.c`, without `IFF_VNET_HDR` (no offloads) and with one queue.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

use arrayvec::ArrayVec;
use millrace_wire::frame::{RxFrame, RxMeta, TxBatch};
use rustix::fs::{Mode as FileMode, OFlags, open};
use rustix::io::{Errno, read, write};

use crate::error::PortError;
use crate::netdev::{NetDev, attach_tap, system};
use crate::port::{MacAddr, Port};
use crate::queue::{Armed, Caps, MAX_BURST, Mode, Queue, QueueStats, RxQueue, TxQueue};

/// Ethernet header and a VLAN tag: what a frame has besides its IP packet.
const LINK_OVERHEAD: usize = 14 + 4;
/// What the kernel queues for us by default (`txqueuelen`).
const KERNEL_QUEUE: usize = 1000;

/// Which TAP interface, and who we are on it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TapConfig {
    /// The interface's name, 1 to 15 bytes. Created when it does not exist, and then gone when the port is dropped.
    pub interface: String,
    /// Our Ethernet address; by default one derived from the name.
    pub mac: Option<MacAddr>,
}

impl TapConfig {
    /// The interface called `interface`, our address derived from it.
    pub fn new(interface: impl Into<String>) -> Self {
        Self {
            interface: interface.into(),
            mac: None,
        }
    }
}

/// An open TAP interface.
pub struct Tap {
    name: String,
    mac: MacAddr,
    mtu: usize,
    tun: File,
    opened: Opened,
}

/// Whether the queue has been handed out.
#[derive(PartialEq, Eq)]
enum Opened {
    No,
    Yes,
}

impl Tap {
    /// Opens the interface, creating it if need be.
    ///
    /// # Errors
    ///
    /// [`PortError`]: no permission, no driver, in use, a bad name.
    pub fn open(config: TapConfig) -> Result<Self, PortError> {
        let TapConfig {
            interface: name,
            mac,
        } = config;
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let tun = open("/dev/net/tun", flags, FileMode::empty()).map_err(|errno| match errno {
            Errno::NOENT | Errno::NODEV | Errno::NXIO => PortError::NoTunDriver,
            Errno::PERM | Errno::ACCESS => PortError::NoTapPermission {
                interface: name.clone(),
            },
            _ => system(&name, "open(/dev/net/tun)", errno.into()),
        })?;
        let tun = File::from(tun);
        attach_tap(&tun, &name)?;
        let mtu = NetDev::open(&name)?.mtu()?;
        let mac = mac.unwrap_or_else(|| local_mac(&name));
        Ok(Self {
            name,
            mac,
            mtu,
            tun,
            opened: Opened::No,
        })
    }
}

impl Port for Tap {
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
        if self.opened == Opened::Yes {
            return Err(PortError::AlreadyOpen {
                interface: self.name.clone(),
            });
        }
        let clone = || {
            self.tun
                .try_clone()
                .map_err(|source| system(&self.name, "dup", source))
        };
        let counters = Counters::open(&self.name)?;
        let queue = TapQueue::new(
            clone()?.into(),
            clone()?.into(),
            self.mtu + LINK_OVERHEAD,
            counters,
        );
        self.opened = Opened::Yes;
        Ok(vec![Box::new(queue)])
    }
}

/// A unicast, locally administered address that depends on the name alone (FNV-1a), so neighbours may keep it over a restart.
fn local_mac(name: &str) -> MacAddr {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let [a, b, c, d, e, ..] = hash.to_be_bytes();
    MacAddr([0x02, a, b, c, d, e])
}

/// The one queue.
struct TapQueue {
    max_frame: usize,
    rx: TapRx,
    tx: TapTx,
    counters: Counters,
}

impl TapQueue {
    fn new(rx: OwnedFd, tx: OwnedFd, max_frame: usize, counters: Counters) -> Self {
        Self {
            max_frame,
            counters,
            rx: TapRx {
                tun: rx,
                pool: (0..MAX_BURST)
                    .map(|_| vec![0; max_frame].into_boxed_slice())
                    .collect(),
                lens: [0; MAX_BURST],
                packets: 0,
                bytes: 0,
                calls: 0,
            },
            tx: TapTx {
                tun: tx,
                slot: vec![0; max_frame].into_boxed_slice(),
                state: Slot::Empty,
                packets: 0,
                bytes: 0,
                full: 0,
                errors: 0,
                calls: 0,
            },
        }
    }
}

impl Queue for TapQueue {
    fn halves(&mut self) -> (&mut dyn RxQueue, &mut dyn TxQueue) {
        (&mut self.rx, &mut self.tx)
    }

    fn caps(&self) -> Caps {
        Caps {
            max_frame: self.max_frame,
            rx_ring: KERNEL_QUEUE,
            tx_ring: 1,
        }
    }

    fn stats(&self) -> QueueStats {
        QueueStats {
            rx_packets: self.rx.packets,
            rx_bytes: self.rx.bytes,
            tx_packets: self.tx.packets,
            tx_bytes: self.tx.bytes,
            tx_full: self.tx.full,
            tx_errors: self.tx.errors,
            kicks: self.rx.calls + self.tx.calls,
            rx_dropped: self.counters.dropped(),
            ..QueueStats::default()
        }
    }

    fn mode(&self) -> Mode {
        Mode::Tap
    }

    fn wait_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.rx.tun.as_fd())
    }

    fn arm(&mut self) -> Armed {
        // The descriptor stays readable as long as there are frames: nothing can be missed.
        Armed::Idle
    }
}

/// The kernel's counters of the interface.
struct Counters {
    /// `/proc/net/dev` of the namespace in which the interface was opened, whoever reads it later.
    dev: File,
    name: String,
}

impl Counters {
    fn open(name: &str) -> Result<Self, PortError> {
        let dev = File::open("/proc/thread-self/net/dev")
            .map_err(|source| system(name, "open(/proc/thread-self/net/dev)", source))?;
        Ok(Self {
            dev,
            name: name.to_owned(),
        })
    }

    /// Frames that the kernel dropped because we did not read fast enough; 0 when it does not say.
    fn dropped(&self) -> u64 {
        let mut text = Vec::new();
        let mut piece = [0; 4096];
        while let Ok(len @ 1..) = self.dev.read_at(&mut piece, text.len() as u64) {
            text.extend_from_slice(&piece[..len]);
        }
        tx_dropped(&String::from_utf8_lossy(&text), &self.name).unwrap_or(0)
    }
}

/// What the kernel could not transmit by `interface`, which is to say to us: the twelfth figure of its line in
/// `/proc/net/dev` (eight of reception, then bytes, packets, errors, drops).
fn tx_dropped(text: &str, interface: &str) -> Option<u64> {
    let (_, figures) = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.trim() == interface)?;
    figures.split_ascii_whitespace().nth(11)?.parse().ok()
}

/// The receiving half: reads into a fixed pool until the kernel has no more.
struct TapRx {
    tun: OwnedFd,
    pool: Vec<Box<[u8]>>,
    lens: [usize; MAX_BURST],
    packets: u64,
    bytes: u64,
    calls: u64,
}

impl RxQueue for TapRx {
    fn rx(&mut self, budget: usize, f: &mut dyn FnMut(&mut [RxFrame<'_>])) -> usize {
        let mut count = 0;
        while count < budget.min(MAX_BURST) {
            self.calls += 1;
            match read(&self.tun, &mut *self.pool[count]) {
                Ok(len) => {
                    self.lens[count] = len;
                    self.bytes += len as u64;
                    count += 1;
                }
                Err(Errno::INTR) => {}
                // EAGAIN: no more. EBADFD: the interface was deleted; it stays silent.
                Err(_) => break,
            }
        }
        if count == 0 {
            return 0;
        }
        self.packets += count as u64;
        let mut frames = ArrayVec::<RxFrame<'_>, MAX_BURST>::new();
        for (buf, &len) in self.pool[..count].iter_mut().zip(&self.lens) {
            frames.push(RxFrame::new(&mut buf[..len], RxMeta::default()));
        }
        f(&mut frames);
        count
    }
}

/// The transmitting half: writes each slot when the next one is asked for, or at the end.
struct TapTx {
    tun: OwnedFd,
    slot: Box<[u8]>,
    state: Slot,
    packets: u64,
    bytes: u64,
    full: u64,
    errors: u64,
    calls: u64,
}

/// What the slot holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Slot {
    /// Nothing, or a frame that the kernel has taken.
    Empty,
    /// A frame of this length that the caller is filling or has filled.
    Filled(usize),
    /// A frame of this length for which the kernel had no room.
    Refused(usize),
}

impl TapTx {
    /// Gives the frame in the slot to the kernel.
    fn flush(&mut self) {
        let (Slot::Filled(len) | Slot::Refused(len)) = self.state else {
            return;
        };
        loop {
            self.calls += 1;
            match write(&self.tun, &self.slot[..len]) {
                Ok(_) => {
                    self.packets += 1;
                    self.bytes += len as u64;
                }
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN | Errno::NOBUFS) => {
                    self.state = Slot::Refused(len);
                    return;
                }
                // EIO: the interface is down.
                Err(_) => self.errors += 1,
            }
            self.state = Slot::Empty;
            return;
        }
    }
}

impl TxQueue for TapTx {
    fn tx(&mut self, f: &mut dyn FnMut(&mut dyn TxBatch)) {
        self.flush();
        f(self);
        self.flush();
    }
}

impl TxBatch for TapTx {
    fn room(&self) -> usize {
        // Each frame goes to the kernel before the next slot is lent: there is room until it refuses one.
        if matches!(self.state, Slot::Refused(_)) {
            0
        } else {
            MAX_BURST
        }
    }

    fn next(&mut self, len: usize) -> Option<&mut [u8]> {
        if len > self.slot.len() {
            return None;
        }
        self.flush();
        if self.state != Slot::Empty {
            self.full += 1;
            return None;
        }
        self.state = Slot::Filled(len);
        Some(&mut self.slot[..len])
    }
}
