//! Options and addresses: set by calls, read by timers and handshakes.

use crate::ids::SockId;
use crate::sock::bhash::Claim;
use crate::sock::error::SockError;
use crate::sock::options::{KeptValues, MtuDiscover};
use crate::tcp::fastopen::SockFastOpen;
use crate::tcp::sock::counts::Events;
use crate::tcp::sock::listen::Listen;
use crate::tcp::stamps::Timestamping;
use core::net::Ipv4Addr;
use core::time::Duration;
use millrace_wire::seq::SeqNum;

/// How SO_TIMESTAMP tells times.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Resolution {
    /// SO_TIMESTAMP.
    Micros,
    /// SO_TIMESTAMPNS.
    Nanos,
}

/// Socket options with a connection or without (Linux `struct sock`, `inet_sock`, `inet_connection_sock`).
#[derive(Clone)]
pub(crate) struct Options {
    pub reuse_addr: bool,
    pub reuse_port: bool,
    pub keepalive: bool,
    /// SO_LINGER, and its time, which outlives it.
    pub linger: bool,
    pub linger_time: Duration,
    pub rcvtimeo: Option<Duration>,
    pub sndtimeo: Option<Duration>,
    pub rcvlowat: u32,
    /// Receive window limit in octets; `rcvbuf_locked` stops autotuning.
    pub rcvbuf: u32,
    pub rcvbuf_locked: bool,
    pub sndbuf: u32,
    pub sndbuf_locked: bool,
    /// TCP_MAXSEG.
    pub user_mss: Option<u16>,
    /// TCP_KEEPIDLE, TCP_KEEPINTVL in seconds, TCP_KEEPCNT.
    pub keepidle: Option<u32>,
    pub keepintvl: Option<u32>,
    pub keepcnt: Option<u32>,
    /// TCP_USER_TIMEOUT, ms; 0 is off.
    pub user_timeout: u32,
    pub syncnt: Option<u32>,
    /// TCP_DEFER_ACCEPT, in time-outs of the SYN-ACK; 0 is off.
    pub defer_accept: u8,
    /// TCP_LINGER2, seconds; negative: no FIN_WAIT2 at all.
    pub linger2: Option<i32>,
    pub ttl: Option<u8>,
    pub tos: u8,
    pub nodelay: bool,
    pub cork: bool,
    /// TCP_NOTSENT_LOWAT, octets; 0 is the setting of all sockets.
    pub notsent_lowat: u32,
    /// TCP_INQ.
    pub inq: bool,
    /// IP_FREEBIND, IP_BIND_ADDRESS_NO_PORT.
    pub freebind: bool,
    pub bind_address_no_port: bool,
    /// IP_MTU_DISCOVER.
    pub mtu_discover: MtuDiscover,
    /// TCP_WINDOW_CLAMP, octets; 0 is none.
    pub window_clamp: u32,
    pub thin_linear_timeouts: bool,
    pub rto_max_ms: Option<u32>,
    pub kept: KeptValues,
    /// IP_LOCAL_PORT_RANGE: first and last port; 0 leaves that end as the sysctl has it.
    pub local_port_range: (u16, u16),
    /// SO_OOBINLINE.
    pub oob_inline: bool,
    /// SO_TIMESTAMPING.
    pub timestamping: Timestamping,
    /// SO_TIMESTAMP, SO_TIMESTAMPNS.
    pub timestamp: Option<Resolution>,
}

impl Options {
    pub(crate) fn new(sysctl: &crate::sysctl::Sysctl) -> Self {
        Self {
            reuse_addr: false,
            reuse_port: false,
            keepalive: false,
            linger: false,
            linger_time: Duration::ZERO,
            rcvtimeo: None,
            sndtimeo: None,
            rcvlowat: 1,
            rcvbuf: sysctl.tcp_rmem[1] / 2,
            rcvbuf_locked: false,
            sndbuf: sysctl.tcp_wmem[1],
            sndbuf_locked: false,
            user_mss: None,
            keepidle: None,
            keepintvl: None,
            keepcnt: None,
            user_timeout: 0,
            syncnt: None,
            defer_accept: 0,
            linger2: None,
            ttl: None,
            tos: 0,
            nodelay: false,
            cork: false,
            notsent_lowat: 0,
            inq: false,
            freebind: false,
            bind_address_no_port: false,
            mtu_discover: MtuDiscover::default(),
            window_clamp: 0,
            thin_linear_timeouts: false,
            rto_max_ms: None,
            kept: KeptValues::default(),
            local_port_range: (0, 0),
            oob_inline: false,
            timestamping: Timestamping::empty(),
            timestamp: None,
        }
    }
}

/// How a socket came to its port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PortOrigin {
    /// bind named it; it outlives connections.
    Named,
    /// bind or listen chose it.
    Chosen,
    /// connect chose it.
    Connect,
    /// The listener's.
    Inherited,
}

/// See the module.
pub(crate) struct Cold {
    pub opts: Options,
    /// Address given to bind.
    pub bound: Ipv4Addr,
    /// The port in the bind table, 0 when there is none, how it came there, and the entry (Linux `inet_num`; the
    /// tuple keeps the port that `getsockname` shows, `inet_sport`).
    pub port: u16,
    pub port_origin: PortOrigin,
    pub claim: Option<Claim>,
    /// connect has not told its outcome yet (Linux `SS_CONNECTING`).
    pub connecting: bool,
    /// Present in LISTEN.
    pub listen: Option<Box<Listen>>,
    /// The listener whose accept queue holds this socket; none once accepted.
    pub parent: Option<SockId>,
    /// Errors that do not end the connection (ICMP), told when it ends.
    pub soft_err: Option<SockError>,
    /// When the last duplicate ACK for an invalid segment went out, ms (`last_oow_ack_time`).
    pub last_oow_ack: Option<u64>,
    /// Where the numbers of this socket's next connection begin: beyond all that the last one used (Linux keeps
    /// `write_seq`). If that had timestamps, for this peer only.
    pub next_iss: Option<(SeqNum, Option<Ipv4Addr>)>,
    /// Keys of signed peers (RFC 2385).
    pub md5: Option<Box<crate::tcp::md5::Keys>>,
    /// Counters of rare events.
    pub events: Events,
    /// The urgent octet that came, or is to come.
    pub urgent: Option<crate::tcp::input::urg::Urgent>,
    /// Sequence number after the urgent data that we sent; meaningful with `Nonagle::URGENT`.
    pub snd_up: SeqNum,
    /// What waits for MSG_ERRQUEUE; never empty.
    pub errors: Option<Box<crate::sock::errqueue::ErrQueue>>,
    /// Times to be told.
    pub stamps: Option<Box<crate::tcp::stamps::Stamps>>,
    /// The octet that is number 0 of SOF_TIMESTAMPING_OPT_ID.
    pub tskey: SeqNum,
    /// Ends of records (MSG_EOR) not sent yet.
    pub eor: Option<Box<crate::tcp::output::eor::Marks>>,
    /// Present once Fast Open has to do with the socket.
    pub fastopen: Option<Box<SockFastOpen>>,
}

impl Cold {
    pub(crate) fn new(opts: Options) -> Self {
        Self {
            opts,
            bound: Ipv4Addr::UNSPECIFIED,
            port: 0,
            port_origin: PortOrigin::Chosen,
            claim: None,
            connecting: false,
            listen: None,
            parent: None,
            soft_err: None,
            last_oow_ack: None,
            next_iss: None,
            md5: None,
            events: Events::default(),
            urgent: None,
            snd_up: SeqNum::default(),
            errors: None,
            stamps: None,
            tskey: SeqNum::default(),
            eor: None,
            fastopen: None,
        }
    }
}
