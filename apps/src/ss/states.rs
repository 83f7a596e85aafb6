//! Sets of states by name.

use millrace::net::TcpState::{
    self, Close, CloseWait, Closing, Established, FinWait1, FinWait2, LastAck, Listen, SynRecv,
    SynSent, TimeWait,
};

use super::ALL;

/// The states that are shown when the filter names none.
pub fn default(listening: bool, all: bool) -> u16 {
    if all {
        ALL
    } else if listening {
        set(&[Listen, Close])
    } else {
        ALL & !set(&[Listen, Close, TimeWait, SynRecv])
    }
}

/// The states with this name in a filter.
pub fn named(name: &str) -> Option<u16> {
    let connected = ALL & !set(&[Listen, Close]);
    let bucket = set(&[SynRecv, TimeWait]);
    Some(match name {
        "established" => Established.bit(),
        "syn-sent" => SynSent.bit(),
        "syn-recv" => SynRecv.bit(),
        "fin-wait-1" => FinWait1.bit(),
        "fin-wait-2" => FinWait2.bit(),
        "time-wait" => TimeWait.bit(),
        "closed" | "close" | "unconnected" => Close.bit(),
        "close-wait" => CloseWait.bit(),
        "last-ack" => LastAck.bit(),
        "listening" | "listen" => Listen.bit(),
        "closing" => Closing.bit(),
        "all" => ALL,
        "connected" => connected,
        "synchronized" => connected & !SynSent.bit(),
        "bucket" => bucket,
        "big" => ALL & !bucket,
        _ => return None,
    })
}

fn set(states: &[TcpState]) -> u16 {
    states.iter().fold(0, |bits, state| bits | state.bit())
}
