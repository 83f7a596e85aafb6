//! A look at all sockets, a page at a time: what `ss` shows (Linux `inet_diag.c`, `tcp_diag.c`).
//!
//! A page costs a bounded time: so many places of the tables are looked at, so many sockets are told. Pages are taken at
//! different times; a socket that moves behind the cursor meanwhile is not told.

use core::net::SocketAddrV4;
use core::time::Duration;

use crate::core::Stack;
use crate::ids::{SockId, SockKind};
use crate::sock::options::congestion;
use crate::tcp::demux::Tuple;
use crate::tcp::info::TcpInfo;
use crate::tcp::sock::TcpSock;
use crate::tcp::sock::hot::Features;
use crate::tcp::sock::request::Request;
use crate::tcp::sock::timewait::{Substate, TimeWait};
use crate::tcp::state::TcpState;
use crate::tcp::timer::Rtx;
use millrace_wire::time::Instant;

/// Places of the tables that one page looks at.
const PLACES_PER_PAGE: u32 = 256;

/// Where a page ended and the next begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DiagCursor {
    kind: SockKind,
    index: u32,
}

impl Default for DiagCursor {
    fn default() -> Self {
        Self {
            kind: SockKind::Tcp,
            index: 0,
        }
    }
}

/// Which timer of a socket comes up next (`idiag_timer`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DiagTimer {
    /// Retransmission, loss probe, reordering, or a SYN-ACK.
    On,
    /// Keepalive, or the end of an orphan's FIN_WAIT2.
    Keepalive,
    /// The end of TIME_WAIT.
    TimeWait,
    /// Window probe.
    Persist,
}

impl DiagTimer {
    /// The name that `ss` prints.
    pub const fn name(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Keepalive => "keepalive",
            Self::TimeWait => "timewait",
            Self::Persist => "persist",
        }
    }
}

/// Memory of a socket, octets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DiagMemory {
    /// Ring memory that the receive ring holds.
    pub rcv_ring: u64,
    /// Receive window limit.
    pub rcvbuf: u32,
    /// Ring memory that the send ring holds.
    pub snd_ring: u64,
    /// Send buffer limit.
    pub sndbuf: u32,
}

/// One socket, as `ss` shows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DiagSock {
    /// Its id.
    pub id: SockId,
    /// State.
    pub state: TcpState,
    /// Our address and port.
    pub local: SocketAddrV4,
    /// The peer's; unspecified on a listener.
    pub remote: SocketAddrV4,
    /// Octets that the application has not read, the FIN included; on a listener connections that wait for accept.
    pub recv_q: u32,
    /// Octets that the peer has not acknowledged; on a listener the backlog.
    pub send_q: u32,
    /// `RCV_SHUTDOWN` 1, `SEND_SHUTDOWN` 2; none for a mini-socket.
    pub shutdown: Option<u8>,
    /// The timer that comes up next, the time it has left, and the time-outs or probes so far.
    pub timer: Option<(DiagTimer, Duration, u8)>,
    /// Memory; none for a mini-socket.
    pub memory: Option<DiagMemory>,
    /// Congestion control's name; empty for a mini-socket.
    pub congestion: [u8; 16],
    /// TCP_INFO; none for a mini-socket.
    pub info: Option<TcpInfo>,
}

impl DiagSock {
    fn mini(id: SockId, state: TcpState, tuple: &Tuple) -> Self {
        let (local, remote) = ends(tuple);
        Self {
            id,
            state,
            local,
            remote,
            recv_q: 0,
            send_q: 0,
            shutdown: None,
            timer: None,
            memory: None,
            congestion: [0; 16],
            info: None,
        }
    }

    fn request(id: SockId, req: &Request, now: Instant) -> Self {
        Self {
            timer: Some((DiagTimer::On, req.deadline.since(now), req.timeouts)),
            ..Self::mini(id, TcpState::SynRecv, &req.tuple)
        }
    }

    fn time_wait(id: SockId, tw: &TimeWait, now: Instant) -> Self {
        let state = match tw.substate {
            Substate::FinWait2 => TcpState::FinWait2,
            Substate::TimeWait => TcpState::TimeWait,
        };
        Self {
            timer: Some((DiagTimer::TimeWait, tw.ends_at().since(now), 0)),
            ..Self::mini(id, state, &tw.tuple)
        }
    }

    fn full(sk: &TcpSock, info: TcpInfo, now: Instant) -> Self {
        let (recv_q, send_q) = queues(sk);
        let mut local = ends(&sk.rx.tuple).0;
        if sk.rx.state == TcpState::Listen || local.port() == 0 {
            local = SocketAddrV4::new(sk.cold.bound, sk.cold.port);
        }
        Self {
            local,
            recv_q,
            send_q,
            shutdown: Some(shutdown(sk)),
            timer: timer(sk, now),
            memory: Some(memory(sk)),
            congestion: congestion(),
            info: Some(info),
            ..Self::mini(sk.id(), sk.rx.state, &sk.rx.tuple)
        }
    }
}

fn ends(tuple: &Tuple) -> (SocketAddrV4, SocketAddrV4) {
    (
        SocketAddrV4::new(tuple.local, tuple.lport),
        SocketAddrV4::new(tuple.remote, tuple.rport),
    )
}

/// `idiag_rqueue`, `idiag_wqueue`.
fn queues(sk: &TcpSock) -> (u32, u32) {
    if let Some(listen) = &sk.cold.listen {
        return (listen.accept.len() as u32, listen.backlog);
    }
    let unread = sk.rings.as_ref().map_or(0, |rings| {
        rings.rcv_in.tail().saturating_sub(rings.rcv_out.head())
    });
    let unread = unread + u64::from(sk.warm.lent);
    // The end takes a sequence number, until somebody has read it; a service is told of it.
    let told = sk.rx.features.contains(Features::ATTACHED) && unread == 0;
    let end = sk.warm.fin_received && !sk.warm.fin_read && !told;
    let unread = unread + u64::from(end);
    // A connection that ended keeps its numbers, but owes nobody anything.
    let unacked = match sk.rx.state {
        TcpState::Close => 0,
        _ => sk.end_of_queue().bytes_since(sk.tx.snd_una),
    };
    (unread.min(u64::from(u32::MAX)) as u32, unacked)
}

fn shutdown(sk: &TcpSock) -> u8 {
    let features = sk.rx.features;
    u8::from(features.contains(Features::RCV_SHUTDOWN))
        | u8::from(features.contains(Features::SEND_SHUTDOWN)) << 1
}

/// The order in which Linux looks: transmission timer first, then keepalive.
fn timer(sk: &TcpSock, now: Instant) -> Option<(DiagTimer, Duration, u8)> {
    let timers = &sk.warm.timers;
    match timers.rtx {
        Some((at, Rtx::WindowProbe)) => {
            return Some((DiagTimer::Persist, at.since(now), timers.probes_out));
        }
        Some((at, _)) => {
            return Some((DiagTimer::On, at.since(now), sk.warm.recovery.retransmits));
        }
        None => {}
    }
    let at = timers.keep?;
    Some((DiagTimer::Keepalive, at.since(now), timers.probes_out))
}

fn memory(sk: &TcpSock) -> DiagMemory {
    let held = sk.rings.as_ref();
    DiagMemory {
        rcv_ring: held.map_or(0, |r| r.rcv_in.memory() as u64),
        rcvbuf: held.map_or(sk.cold.opts.rcvbuf, |r| r.rcv_in.limit() as u32),
        snd_ring: held.map_or(0, |r| r.snd_in.memory() as u64),
        sndbuf: sk.cold.opts.sndbuf,
    }
}

impl Stack {
    /// Adds sockets in the states of `states` ([`TcpState::bit`]) to `page` until it is as long as its capacity or enough
    /// places were looked at. Gives the cursor of the next page; none when all have been seen. Allocates nothing.
    pub fn diag_page(
        &self,
        now: Instant,
        from: DiagCursor,
        states: u16,
        page: &mut Vec<DiagSock>,
    ) -> Option<DiagCursor> {
        let mut at = from;
        for _ in 0..PLACES_PER_PAGE {
            while at.index >= self.places(at.kind) {
                at = next_table(at.kind)?;
            }
            if page.len() == page.capacity() {
                break;
            }
            if let Some(sock) = self.diag_at(at, states, now) {
                page.push(sock);
            }
            at.index += 1;
        }
        Some(at)
    }

    fn places(&self, kind: SockKind) -> u32 {
        match kind {
            SockKind::Tcp => self.socks.tcp.places(),
            SockKind::Request => self.socks.requests.places(),
            SockKind::TimeWait => self.socks.tw.places(),
        }
    }

    fn diag_at(&self, at: DiagCursor, states: u16, now: Instant) -> Option<DiagSock> {
        let wanted = |state: TcpState| states & state.bit() != 0;
        match at.kind {
            SockKind::Tcp => {
                let sk = self.socks.tcp.at(at.index)?;
                wanted(sk.rx.state)
                    .then(|| DiagSock::full(sk, TcpInfo::of_sock(sk, &self.ctx, now), now))
            }
            SockKind::Request => {
                let req = self.socks.requests.at(at.index)?;
                wanted(TcpState::SynRecv)
                    .then(|| DiagSock::request(self.socks.requests.id_at(at.index), req, now))
            }
            SockKind::TimeWait => {
                let tw = self.socks.tw.at(at.index)?;
                let sock = DiagSock::time_wait(self.socks.tw.id_at(at.index), tw, now);
                wanted(sock.state).then_some(sock)
            }
        }
    }
}

fn next_table(kind: SockKind) -> Option<DiagCursor> {
    let kind = match kind {
        SockKind::Tcp => SockKind::Request,
        SockKind::Request => SockKind::TimeWait,
        SockKind::TimeWait => return None,
    };
    Some(DiagCursor { kind, index: 0 })
}
