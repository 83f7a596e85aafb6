//! Segments of the peer, and what the machine sends, both in the peer's numbers: relative to the initial ones.

use std::fmt::{self, Write};
use std::net::{Ipv4Addr, SocketAddrV4};

use millrace_wire::ipv4::{self, Ipv4Header, Ipv4View, protocol};
use millrace_wire::seq::SeqNum;
use millrace_wire::tcp::{self, TcpFlags, TcpHeader, TcpView};

/// The machine's address.
pub const LOCAL: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 1);

/// The peer's address.
pub const REMOTE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 8080);

/// Window shift that the peer offers.
const PEER_SHIFT: u8 = 7;

/// A segment that the peer sends, absolute numbers.
#[derive(Debug, Clone, Copy)]
pub struct Segment {
    /// The machine's port.
    pub port: u16,
    /// Flags.
    pub flags: TcpFlags,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number; 0 without the flag.
    pub ack: u32,
    /// Payload octets; each is the low octet of its sequence number.
    pub len: u32,
    /// Window, unscaled.
    pub window: u16,
    /// Timestamps: value and echo.
    pub timestamps: Option<(u32, u32)>,
    /// Urgent pointer; meaningful with the flag.
    pub urgent: u16,
}

impl Segment {
    /// The IP packet. A SYN carries the peer's options besides the timestamps.
    pub fn packet(&self) -> Vec<u8> {
        let mut options = Vec::new();
        if self.flags.contains(TcpFlags::SYN) {
            options.extend([2, 4, 5, 180, 4, 2, 1, 3, 3, PEER_SHIFT, 1, 1]);
        }
        if let Some((val, ecr)) = self.timestamps {
            options.extend([1, 1, 8, 10]);
            options.extend(val.to_be_bytes());
            options.extend(ecr.to_be_bytes());
        }
        let header_len = tcp::MIN_HEADER_LEN + options.len();
        let total = header_len + self.len as usize;
        let mut packet = vec![0; ipv4::MIN_HEADER_LEN + total];
        let ip = Ipv4Header {
            src: *REMOTE.ip(),
            dst: LOCAL,
            protocol: protocol::TCP,
            ttl: 64,
            tos: 0,
            id: 0,
            dont_fragment: true,
        };
        ip.emit(&mut packet, total as u16);
        let bytes = &mut packet[ipv4::MIN_HEADER_LEN..];
        let header = TcpHeader {
            src_port: REMOTE.port(),
            dst_port: self.port,
            seq: SeqNum::new(self.seq),
            ack: SeqNum::new(self.ack),
            flags: self.flags,
            window: self.window,
            urgent: self.urgent,
        };
        header.emit(bytes, &options);
        for (at, byte) in bytes[header_len..].iter_mut().enumerate() {
            *byte = self.seq.wrapping_add(at as u32) as u8;
        }
        tcp::fill_checksum(bytes, *REMOTE.ip(), LOCAL);
        packet
    }
}

/// A segment that the machine has sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The machine's port.
    pub port: u16,
    /// Flags.
    pub flags: TcpFlags,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// Payload octets.
    pub len: u32,
    /// Window as in the header.
    pub window: u16,
    /// Urgent pointer.
    pub urgent: u16,
    /// Type of service, time to live, don't-fragment.
    pub ip: (u8, u8, bool),
    /// Options, in order.
    pub options: Vec<Opt>,
    /// Both checksums are right.
    pub sound: bool,
}

/// An option that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opt {
    /// Maximum segment size.
    Mss(u16),
    /// Window shift.
    WindowScale(u8),
    /// Value and echo.
    Timestamps(u32, u32),
    /// Edges of blocks.
    Sack(Vec<(u32, u32)>),
    /// Another kind.
    Other(u8),
}

impl Sent {
    /// Takes a packet apart; `None` when it is not TCP over IPv4.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let ip = Ipv4View::parse(bytes).ok()?;
        if ip.protocol() != protocol::TCP {
            return None;
        }
        let tcp = TcpView::parse(ip.payload()).ok()?;
        Some(Self {
            port: tcp.src_port(),
            flags: tcp.flags(),
            seq: tcp.seq().raw(),
            ack: tcp.ack().raw(),
            len: tcp.payload().len() as u32,
            window: tcp.window(),
            urgent: tcp.urgent(),
            ip: (ip.tos(), ip.ttl(), ip.dont_fragment()),
            options: options(tcp.options()),
            sound: ip.checksum_ok() && tcp.checksum_ok(ip.src(), ip.dst()),
        })
    }

    /// Sequence number after the segment.
    pub fn end(&self) -> u32 {
        let counts = |flag| u32::from(self.flags.contains(flag));
        self.seq
            .wrapping_add(self.len + counts(TcpFlags::SYN) + counts(TcpFlags::FIN))
    }

    /// The timestamps it carries.
    pub fn timestamps(&self) -> Option<(u32, u32)> {
        self.options.iter().find_map(|option| match option {
            Opt::Timestamps(val, ecr) => Some((*val, *ecr)),
            _ => None,
        })
    }

    /// The window shift it offers.
    pub fn shift(&self) -> Option<u8> {
        self.options.iter().find_map(|option| match option {
            Opt::WindowScale(shift) => Some(*shift),
            _ => None,
        })
    }
}

fn options(mut bytes: &[u8]) -> Vec<Opt> {
    let mut list = Vec::new();
    while let [kind, rest @ ..] = bytes {
        if *kind < 2 {
            list.push(Opt::Other(*kind));
            bytes = rest;
            continue;
        }
        let len = rest.first().map_or(0, |len| usize::from(*len));
        let Some(value) = bytes.get(2..len) else {
            list.push(Opt::Other(*kind));
            break;
        };
        let word = |at: usize| u32::from_be_bytes(std::array::from_fn(|byte| value[at + byte]));
        list.push(match (*kind, value.len()) {
            (2, 2) => Opt::Mss(u16::from_be_bytes([value[0], value[1]])),
            (3, 1) => Opt::WindowScale(value[0]),
            (5, len) if len % 8 == 0 => Opt::Sack(
                (0..len)
                    .step_by(8)
                    .map(|at| (word(at), word(at + 4)))
                    .collect(),
            ),
            (8, 8) => Opt::Timestamps(word(0), word(4)),
            (kind, _) => Opt::Other(kind),
        });
        bytes = &bytes[len..];
    }
    list
}

/// Where the numbers of a connection begin.
#[derive(Debug, Clone, Copy)]
pub struct Origin {
    /// The machine's initial sequence number.
    pub iss: u32,
    /// The peer's.
    pub irs: u32,
    /// The peer's first timestamp.
    pub clock: u32,
    /// After the machine's window; the size of windows is a matter of memory, so numbers near its end are told by it.
    pub edge: u32,
}

/// How near.
const NEAR: i32 = 24;

/// A number of the peer's.
struct Theirs(u32, Origin);

impl fmt::Display for Theirs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(number, origin) = self;
        let past = relative(*number, origin.edge);
        if past.abs() < NEAR {
            write!(f, "edge{past:+}")
        } else {
            write!(f, "{}", relative(*number, origin.irs))
        }
    }
}

/// A number relative to where it begins; far ones stay apart from near ones.
fn relative(number: u32, origin: u32) -> i32 {
    number.wrapping_sub(origin) as i32
}

/// Writes the segment as scripts do, relative to `origin`. What depends on memory (the size of the window) or on
/// the clock (the timestamp's value) is left out.
pub fn describe(sent: &Sent, origin: Origin) -> String {
    let mut text = String::new();
    write_segment(&mut text, sent, origin).ok();
    text
}

fn write_segment(text: &mut String, sent: &Sent, origin: Origin) -> fmt::Result {
    write!(text, "{} ", Letters(sent.flags))?;
    if sent.flags.contains(TcpFlags::RST) && sent.seq == 0 {
        // A reset without a connection has no number of its own.
        text.write_str("zero")?;
    } else {
        let seq = relative(sent.seq, origin.iss);
        let end = seq.wrapping_add(sent.len as i32);
        write!(text, "{seq}:{end}({})", sent.len)?;
    }
    if sent.flags.contains(TcpFlags::ACK) {
        write!(text, " ack {}", Theirs(sent.ack, origin))?;
    } else if sent.ack != 0 {
        write!(text, " ack field {}", sent.ack)?;
    }
    text.write_str(if sent.window == 0 { " win 0" } else { " win +" })?;
    if sent.urgent != 0 {
        write!(text, " urg {}", sent.urgent)?;
    }
    for option in &sent.options {
        match option {
            Opt::Mss(mss) => write!(text, " mss {mss}")?,
            Opt::WindowScale(_) => text.write_str(" wscale")?,
            Opt::Timestamps(val, ecr) => {
                let val = if *val == 0 { "0" } else { "V" };
                match *ecr {
                    0 => write!(text, " TS {val}:0")?,
                    ecr => write!(text, " TS {val}:{}", relative(ecr, origin.clock))?,
                }
            }
            Opt::Sack(blocks) => {
                text.write_str(" sack")?;
                for (start, end) in blocks {
                    let (start, end) = (Theirs(*start, origin), Theirs(*end, origin));
                    write!(text, " {start}:{end}")?;
                }
            }
            Opt::Other(1) => text.write_str(" nop")?,
            Opt::Other(kind) => write!(text, " option {kind}")?,
        }
    }
    if sent.ip != (0, 64, true) {
        let (tos, ttl, df) = sent.ip;
        write!(text, " [tos {tos} ttl {ttl} df {df}]")?;
    }
    if !sent.sound {
        text.write_str(" BAD CHECKSUM")?;
    }
    Ok(())
}

/// Flags as scripts write them.
pub struct Letters(pub TcpFlags);

impl fmt::Display for Letters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = [
            (TcpFlags::FIN, 'F'),
            (TcpFlags::SYN, 'S'),
            (TcpFlags::RST, 'R'),
            (TcpFlags::PSH, 'P'),
            (TcpFlags::URG, 'U'),
            (TcpFlags::ECE, 'E'),
            (TcpFlags::CWR, 'W'),
            (TcpFlags::ACK, '.'),
        ];
        if self.0.is_empty() {
            return f.write_str("-");
        }
        for (flag, letter) in table {
            if self.0.contains(flag) {
                f.write_char(letter)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_read_as_it_was_written() {
        let segment = Segment {
            port: 9000,
            flags: TcpFlags::SYN | TcpFlags::ACK,
            seq: 5000,
            ack: 301,
            len: 10,
            window: 0,
            timestamps: Some((1003, 77)),
            urgent: 0,
        };
        let mut sent = Sent::parse(&segment.packet()).expect("TCP");
        assert_eq!((sent.port, sent.end()), (REMOTE.port(), 5011));
        assert_eq!(
            (sent.timestamps(), sent.shift()),
            (Some((1003, 77)), Some(7))
        );
        let origin = Origin {
            iss: 4999,
            irs: 300,
            clock: 70,
            edge: 10_000,
        };
        assert_eq!(
            describe(&sent, origin),
            "S. 1:11(10) ack 1 win 0 mss 1460 option 4 nop wscale nop nop nop nop TS V:7"
        );
        sent.sound = false;
        assert!(describe(&sent, origin).ends_with("BAD CHECKSUM"));
    }
}
