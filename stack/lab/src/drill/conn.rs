//! The connection under test: its addresses, and how the script's numbers map to live ones.
//!
//! Scripts count like tcpdump: in segments with SYN the numbers are absolute in the script's own initial sequence
//! number space, in all others relative to the two initial numbers. The peer's numbers are the script's own choice and
//! go out as written; ours are learnt from the first SYN that the stack sends. What is not known yet counts as 0.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;

use super::ast::{Flags, Micros, Options, Tcp, TcpOption};
use super::live::LiveTcp;
use super::settings::{EcrMapping, Settings};

/// Which side opens the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opener {
    /// The peer: the child of a listener, or nobody's connection.
    Peer,
    /// The stack, by `connect`; its address is learnt from its SYN.
    Stack,
}

/// The stack's initial sequence number.
#[derive(Debug, Clone, Copy)]
struct LocalIsn {
    script: u32,
    live: u32,
}

/// The one connection whose packets a script names.
#[derive(Debug, Clone)]
pub(super) struct Conn {
    opener: Opener,
    local: SocketAddrV4,
    remote: SocketAddrV4,
    local_isn: Option<LocalIsn>,
    remote_isn: Option<u32>,
    /// The stack's timestamps: script value to live value, as last seen.
    seen_ts: BTreeMap<u32, u32>,
    /// The first of them: script value, live value, and when it was sent.
    first_ts: Option<(u32, u32, Micros)>,
}

impl Conn {
    pub(super) fn new(opener: Opener, local: SocketAddrV4, remote: SocketAddrV4) -> Self {
        Self {
            opener,
            local,
            remote,
            local_isn: None,
            remote_isn: None,
            seen_ts: BTreeMap::new(),
            first_ts: None,
        }
    }

    /// The stack's end.
    pub(super) fn local(&self) -> SocketAddrV4 {
        self.local
    }

    /// The peer's end.
    pub(super) fn remote(&self) -> SocketAddrV4 {
        self.remote
    }

    /// Whether a sent segment belongs to this connection; an active opener's first SYN tells its address.
    pub(super) fn owns(&mut self, live: &LiveTcp) -> Belongs {
        let learning = self.opener == Opener::Stack && self.local_isn.is_none();
        if learning && live.dst == self.remote && live.segment.flags.has(Flags::SYN) {
            self.local = live.src;
        }
        if (live.src, live.dst) == (self.local, self.remote) {
            Belongs::Here
        } else {
            Belongs::Elsewhere
        }
    }

    /// The same for a datagram: the first one tells the address of a socket that was connected.
    pub(super) fn owns_datagram(&mut self, src: SocketAddrV4, dst: SocketAddrV4) -> Belongs {
        if self.opener == Opener::Stack && self.local.port() == 0 && dst == self.remote {
            self.local = src;
        }
        if (src, dst) == (self.local, self.remote) {
            Belongs::Here
        } else {
            Belongs::Elsewhere
        }
    }

    /// The stack's first SYN: what the script calls `script`, the stack calls `live`.
    pub(super) fn learn_local_isn(&mut self, script: u32, live: u32) {
        self.local_isn.get_or_insert(LocalIsn { script, live });
    }

    fn local_offset(&self, flags: Flags) -> u32 {
        match self.local_isn {
            None => 0,
            Some(isn) if flags.has(Flags::SYN) => isn.live.wrapping_sub(isn.script),
            Some(isn) => isn.live,
        }
    }

    fn remote_offset(&self, flags: Flags) -> u32 {
        if flags.has(Flags::SYN) {
            0
        } else {
            self.remote_isn.unwrap_or(0)
        }
    }

    /// The script's segment in live numbers, ready to be injected.
    pub(super) fn live_segment(&mut self, written: &Tcp, ecr: EcrMapping) -> Result<Tcp, String> {
        if written.flags.has(Flags::SYN) {
            self.remote_isn.get_or_insert(written.seq);
        }
        let ours = self.local_offset(written.flags);
        let mut live = written.clone();
        live.seq = written.seq.wrapping_add(self.remote_offset(written.flags));
        let acks = written.flags.has(Flags::ACK);
        live.ack = if acks {
            Some(written.ack.unwrap_or(0).wrapping_add(ours))
        } else {
            written.ack
        };
        if let Options::List(list) = &mut live.options {
            for option in list {
                match option {
                    TcpOption::Sack(blocks) => shift(blocks, ours),
                    TcpOption::Timestamps { ecr: value, .. } if acks => {
                        *value = self.live_ecr(*value, ecr)?
                    }
                    _ => {}
                }
            }
        }
        Ok(live)
    }

    fn live_ecr(&self, script: u32, mapping: EcrMapping) -> Result<u32, String> {
        match (self.seen_ts.get(&script), mapping, self.first_ts) {
            (Some(live), _, _) => Ok(*live),
            (None, EcrMapping::Scaled, Some((first_script, first_live, _))) => {
                Ok(first_live.wrapping_add(script.wrapping_sub(first_script)))
            }
            _ => Err(format!(
                "ecr {script} echoes no timestamp of an expected segment"
            )),
        }
    }

    /// A live sequence number of ours (also of an ICMP quotation) from the script's relative one.
    pub(super) fn live_local_seq(&self, relative: u32) -> u32 {
        relative.wrapping_add(self.local_offset(Flags::default()))
    }

    /// A sent segment in the script's numbers; timestamps stay live.
    pub(super) fn to_script(&self, live: &Tcp) -> Tcp {
        let theirs = self.remote_offset(live.flags);
        let mut written = live.clone();
        written.seq = live.seq.wrapping_sub(self.local_offset(live.flags));
        if live.flags.has(Flags::ACK) {
            written.ack = live.ack.map(|ack| ack.wrapping_sub(theirs));
        }
        if let Options::List(list) = &mut written.options {
            for option in list {
                if let TcpOption::Sack(blocks) = option {
                    shift(blocks, theirs.wrapping_neg());
                }
            }
        }
        written
    }

    /// Notes that the script's timestamp `script` is the stack's `live`, and says whether that can be: later values
    /// must be as far from the first as written, within the tolerance, when the script gives the clock's tick.
    pub(super) fn timestamp(
        &mut self,
        script: u32,
        live: u32,
        at: Micros,
        settings: &Settings,
    ) -> Timestamp {
        self.seen_ts.insert(script, live);
        let (first_script, first_live, first_at) = *self.first_ts.get_or_insert((script, live, at));
        let Some(tick) = settings.ts_tick else {
            return Timestamp::AsWritten;
        };
        let expected = first_live.wrapping_add(script.wrapping_sub(first_script));
        let off = u64::from(live.wrapping_sub(expected).cast_signed().unsigned_abs());
        let elapsed = at.saturating_sub(first_at);
        let allowed = settings.tolerance.max(elapsed / 8) / tick;
        if off <= allowed {
            Timestamp::AsWritten
        } else {
            Timestamp::Off(first_script.wrapping_add(live.wrapping_sub(first_live)))
        }
    }
}

/// Where a sent segment belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Belongs {
    /// To the connection under test.
    Here,
    /// To another one: the script does not see it.
    Elsewhere,
}

/// How a sent timestamp compares with the written one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Timestamp {
    /// Equal, within the tolerance, or not to be compared.
    AsWritten,
    /// Too far off: what the script would have to say.
    Off(u32),
}

fn shift(blocks: &mut [(u32, u32)], by: u32) {
    for (left, right) in blocks {
        *left = left.wrapping_add(by);
        *right = right.wrapping_add(by);
    }
}

#[cfg(test)]
mod tests;
