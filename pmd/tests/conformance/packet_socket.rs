//! An `AF_PACKET` socket as a queue: the kernel's end of a TAP interface, or a plain sniffer and injector on a veth.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use millrace_pmd::{Armed, Caps, Mode, Queue, QueueStats, RxQueue, TxQueue};
use millrace_wire::frame::{RxFrame, RxMeta, TxBatch};
use rustix::io::Errno;
use rustix::net::netdevice::name_to_index;
use rustix::net::{RecvFlags, SendFlags, recv, send};

const PACKET_STATISTICS: libc::c_int = 6;
const PACKET_IGNORE_OUTGOING: libc::c_int = 23;

/// All frames of one interface.
pub struct PacketSocket {
    rx: Half,
    tx: Half,
    max_frame: usize,
}

/// One direction; both have a descriptor of the same socket.
struct Half {
    socket: OwnedFd,
    buf: Vec<u8>,
    /// A slot that is filled and not sent.
    pending: Option<usize>,
    packets: u64,
    bytes: u64,
    full: u64,
    /// `tp_drops` so far; reading it in the kernel resets it.
    drops: std::cell::Cell<u64>,
}

impl PacketSocket {
    pub fn open(interface: &str, max_frame: usize) -> Self {
        let protocol = (libc::ETH_P_ALL as u16).to_be();
        // SAFETY: no pointers.
        let fd = unsafe {
            libc::socket(
                libc::AF_PACKET,
                libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC,
                0,
            )
        };
        assert!(fd >= 0, "socket: {}", io::Error::last_os_error());
        // SAFETY: just opened, and nobody else's.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        set_option(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, 64 << 20);
        set_option(&socket, libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, 1);
        let index = name_to_index(&socket, interface).expect("the interface");
        // SAFETY: all-zero is a valid `sockaddr_ll`.
        let mut addr: libc::sockaddr_ll = unsafe { core::mem::zeroed() };
        addr.sll_family = libc::AF_PACKET as u16;
        addr.sll_protocol = protocol;
        addr.sll_ifindex = index as i32;
        // SAFETY: the address is a `sockaddr_ll` of that size.
        let result = unsafe { libc::bind(fd, (&raw const addr).cast(), size_of_val(&addr) as u32) };
        assert_eq!(result, 0, "bind: {}", io::Error::last_os_error());
        let half = |socket| Half {
            socket,
            buf: vec![0; max_frame],
            pending: None,
            packets: 0,
            bytes: 0,
            full: 0,
            drops: std::cell::Cell::new(0),
        };
        let clone = socket.try_clone().expect("dup");
        Self {
            rx: half(socket),
            tx: half(clone),
            max_frame,
        }
    }
}

fn set_option(socket: &OwnedFd, level: libc::c_int, option: libc::c_int, value: libc::c_int) {
    // SAFETY: the option takes an int.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of_val(&value) as u32,
        )
    };
    assert_eq!(
        result,
        0,
        "setsockopt {option}: {}",
        io::Error::last_os_error()
    );
}

impl Half {
    fn drops(&self) -> u64 {
        // `struct tpacket_stats`: packets, drops.
        let mut stats = [0_u32; 2];
        let mut len = size_of_val(&stats) as libc::socklen_t;
        // SAFETY: the kernel writes at most `len` bytes of the structure.
        let result = unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_PACKET,
                PACKET_STATISTICS,
                stats.as_mut_ptr().cast(),
                &raw mut len,
            )
        };
        assert_eq!(
            result,
            0,
            "PACKET_STATISTICS: {}",
            io::Error::last_os_error()
        );
        self.drops.set(self.drops.get() + u64::from(stats[1]));
        self.drops.get()
    }

    fn flush(&mut self) {
        let Some(len) = self.pending else { return };
        match send(&self.socket, &self.buf[..len], SendFlags::empty()) {
            Ok(_) => {
                self.packets += 1;
                self.bytes += len as u64;
                self.pending = None;
            }
            Err(Errno::AGAIN | Errno::NOBUFS) => {}
            Err(err) => panic!("send: {err}"),
        }
    }
}

impl RxQueue for Half {
    fn rx(&mut self, budget: usize, f: &mut dyn FnMut(&mut [RxFrame<'_>])) -> usize {
        if budget == 0 {
            return 0;
        }
        match recv(&self.socket, &mut self.buf[..], RecvFlags::DONTWAIT) {
            Ok((len, _)) => {
                self.packets += 1;
                self.bytes += len as u64;
                f(&mut [RxFrame::new(&mut self.buf[..len], RxMeta::default())]);
                1
            }
            Err(Errno::AGAIN) => 0,
            Err(err) => panic!("recv: {err}"),
        }
    }
}

impl TxQueue for Half {
    fn tx(&mut self, f: &mut dyn FnMut(&mut dyn TxBatch)) {
        self.flush();
        f(self);
        self.flush();
    }
}

impl TxBatch for Half {
    fn room(&self) -> usize {
        usize::from(self.pending.is_none())
    }

    fn next(&mut self, len: usize) -> Option<&mut [u8]> {
        if len > self.buf.len() {
            return None;
        }
        self.flush();
        if self.pending.is_some() {
            self.full += 1;
            return None;
        }
        self.pending = Some(len);
        Some(&mut self.buf[..len])
    }
}

impl Queue for PacketSocket {
    fn halves(&mut self) -> (&mut dyn RxQueue, &mut dyn TxQueue) {
        (&mut self.rx, &mut self.tx)
    }

    fn caps(&self) -> Caps {
        Caps {
            max_frame: self.max_frame,
            rx_ring: 64,
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
            rx_dropped: self.rx.drops(),
            ..QueueStats::default()
        }
    }

    fn mode(&self) -> Mode {
        Mode::CopyGeneric
    }

    fn wait_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.rx.socket.as_fd())
    }

    fn arm(&mut self) -> Armed {
        Armed::Idle
    }
}
