//! What goes over the control socket: JSON objects, one per line.
//!
//! The process says who it is ([`Hello`]) as soon as it is called. The caller asks once ([`Request`]) and gets lines
//! ([`Line`]); then the process hangs up. Both sides say which version they speak in `millrace`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::SocketAddrV4;

use millrace::net::{DiagSock, TcpInfo};
use serde::{Deserialize, Serialize};

/// The version of all this. Goes up when an older program would misunderstand.
pub const VERSION: u32 = 1;

/// The part of the first line of both sides that never changes.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Versioned {
    /// The version that is spoken.
    pub millrace: u32,
}

/// The first line of the process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hello {
    /// The version that is spoken.
    pub millrace: u32,
    /// Who it is.
    pub process: About,
}

/// Who answers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct About {
    /// Process id.
    pub pid: u32,
    /// The program's version.
    pub version: String,
    /// What it does, for example `serve echo`.
    pub command: String,
    /// Its device.
    pub device: String,
    /// How frames travel.
    pub mode: String,
}

impl About {
    /// This process.
    pub fn me(command: String, device: &str, mode: &str) -> Self {
        Self {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            command,
            device: device.to_owned(),
            mode: mode.to_owned(),
        }
    }
}

/// What a caller asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Request {
    /// The version that is spoken.
    pub millrace: u32,
    /// What for.
    #[serde(flatten)]
    pub ask: Ask,
}

/// What for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Ask {
    /// All counters: one [`Line::Counters`].
    Counters,
    /// Sockets: a [`Line::Sock`] for each, and [`Line::End`].
    Sockets {
        /// In these states ([`millrace::net::TcpState::bit`]).
        states: u16,
        /// With TCP_INFO.
        info: bool,
    },
}

/// A line of an answer.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// There is no answer, and why; the last line.
    Error(String),
    /// All counters; the last line.
    Counters(Report),
    /// A socket.
    Sock(Box<Sock>),
    /// That was all; the last line.
    End {
        /// How many sockets were told.
        sockets: u64,
    },
}

/// All counters of a process.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Those of each worker.
    pub workers: Vec<Vec<Counter>>,
    /// Those of the control socket.
    pub control: Vec<Counter>,
}

/// A counter.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Counter {
    /// What it belongs to: `worker`, `census`, `mib`, `drop`, `queue0` …
    pub group: Cow<'static, str>,
    /// Its name.
    pub name: Cow<'static, str>,
    /// What it counts, in one line.
    pub text: Cow<'static, str>,
    /// Its value.
    pub value: u64,
    /// It goes down as well: how many of something there are.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub gauge: bool,
}

/// A socket.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Sock {
    /// Its number in the stack.
    pub id: u64,
    /// Its state, as `ss` has it.
    pub state: Cow<'static, str>,
    /// Our address and port.
    pub local: SocketAddrV4,
    /// The peer's; unspecified on a listener.
    pub peer: SocketAddrV4,
    /// Octets that nobody has read; on a listener connections that wait for accept.
    pub recv_q: u32,
    /// Octets that the peer has not acknowledged; on a listener the backlog.
    pub send_q: u32,
    /// Bit 0: nothing more is received; bit 1: nothing more is sent. None for a mini-socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shutdown: Option<u8>,
    /// The timer that comes up next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timer: Option<Timer>,
    /// Memory; none for a mini-socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    /// Congestion control; none for a mini-socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub congestion: Option<Cow<'static, str>>,
    /// What of TCP_INFO is not zero, if it was asked for and there is any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub info: Option<BTreeMap<Cow<'static, str>, u64>>,
}

/// A timer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Timer {
    /// `on`, `keepalive`, `timewait` or `persist`.
    pub name: Cow<'static, str>,
    /// Milliseconds that it has left.
    pub left_ms: u64,
    /// Time-outs or probes so far.
    pub count: u8,
}

/// Memory of a socket, octets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Memory {
    /// Ring memory that the receive ring holds.
    pub rcv_ring: u64,
    /// Receive buffer limit.
    pub rcvbuf: u32,
    /// Ring memory that the send ring holds.
    pub snd_ring: u64,
    /// Send buffer limit.
    pub sndbuf: u32,
}

impl Sock {
    /// A socket of the stack, with TCP_INFO or without.
    pub fn of(sock: &DiagSock, info: bool) -> Self {
        Self {
            id: sock.id.to_u64(),
            state: Cow::Borrowed(sock.state.name()),
            local: sock.local,
            peer: sock.remote,
            recv_q: sock.recv_q,
            send_q: sock.send_q,
            shutdown: sock.shutdown,
            timer: sock.timer.map(|(timer, left, count)| Timer {
                name: Cow::Borrowed(timer.name()),
                left_ms: left.as_millis() as u64,
                count,
            }),
            memory: sock.memory.map(|memory| Memory {
                rcv_ring: memory.rcv_ring,
                rcvbuf: memory.rcvbuf,
                snd_ring: memory.snd_ring,
                sndbuf: memory.sndbuf,
            }),
            congestion: congestion(&sock.congestion),
            info: sock.info.as_ref().filter(|_| info).map(numbers),
        }
    }
}

/// A name in sixteen bytes; none if it is empty.
fn congestion(name: &[u8; 16]) -> Option<Cow<'static, str>> {
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    (!name.is_empty()).then(|| Cow::Owned(String::from_utf8_lossy(name).into_owned()))
}

fn numbers(info: &TcpInfo) -> BTreeMap<Cow<'static, str>, u64> {
    info.iter()
        .filter(|(_, value)| *value != 0)
        .map(|(name, value)| (Cow::Borrowed(name), value))
        .collect()
}
