//! What a script says, as a tree: the whole language is representable, whether or not the runner can run it yet.
//!
//! Numbers are kept as written, in the script's own spaces (relative sequence numbers, its own initial sequence
//! numbers, microseconds since the first event). The `Display` impls print packets back in the script's notation.

mod show;

use std::net::{Ipv4Addr, Ipv6Addr};

/// Microseconds of script time.
pub type Micros = u64;

/// A whole script.
#[derive(Debug, Clone, PartialEq)]
pub struct Script {
    /// `--name=value` lines, in order.
    pub options: Vec<OptionLine>,
    /// The command in front of the first event.
    pub init: Option<Command>,
    /// The timed events, in order.
    pub events: Vec<Event>,
    /// The command behind the last event.
    pub cleanup: Option<Command>,
}

/// One `--name` or `--name=value` in the head of a script.
#[derive(Debug, Clone, PartialEq)]
pub struct OptionLine {
    /// Line it stands on, from 1.
    pub line: u32,
    /// The name without the dashes.
    pub name: String,
    /// The text behind `=`, unquoted.
    pub value: Option<String>,
}

/// A shell command between back quotes.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// Line it begins on, from 1.
    pub line: u32,
    /// Its text.
    pub text: String,
}

/// Something that happens, or is expected to happen, at a time.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Line it begins on, from 1.
    pub line: u32,
    /// When.
    pub when: When,
    /// What.
    pub action: Action,
}

/// The time of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// `T`: since the start of the script.
    At(Micros),
    /// `+T`: since the previous event.
    After(Micros),
    /// `T~T`: a range since the start (expected packets only).
    AtRange(Micros, Micros),
    /// `+T~+T`: a range since the previous event (expected packets only).
    AfterRange(Micros, Micros),
    /// `*`: at any time (expected packets only).
    Any,
}

/// What an event does.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// A packet injected or expected.
    Packet(Packet),
    /// A system call with its result.
    Syscall(Syscall),
    /// A shell command.
    Command(String),
    /// A `%{ … }%` block.
    Code(String),
}

/// Which way a packet goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// `<`: towards the stack.
    Inject,
    /// `>`: from the stack.
    Expect,
}

/// A packet.
#[derive(Debug, Clone, PartialEq)]
pub struct Packet {
    /// Which way.
    pub dir: Direction,
    /// Headers around the packet, outermost first.
    pub encap: Vec<Encap>,
    /// What is said about the IP header.
    pub ip: IpInfo,
    /// What is inside.
    pub body: Body,
}

/// A header around a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encap {
    /// `ipv4 SRC > DST:`
    Ipv4(Ipv4Addr, Ipv4Addr),
    /// `ipv6 SRC > DST:`
    Ipv6(Ipv6Addr, Ipv6Addr),
    /// `gre:` or `gre [fields]:`; fields that are off are left out.
    Gre {
        /// `sum N`.
        sum: Option<u32>,
        /// `off N`.
        off: Option<u32>,
        /// `key N`.
        key: Option<u32>,
        /// `seq N`.
        seq: Option<u32>,
    },
    /// `mpls (label, tc, [S], ttl) …:`
    Mpls(Vec<MplsLabel>),
}

/// One entry of an MPLS label stack (RFC 3032).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MplsLabel {
    /// Label, 20 bits.
    pub label: u32,
    /// Traffic class, 3 bits.
    pub tc: u8,
    /// Bottom of the stack.
    pub bottom: bool,
    /// Time to live.
    pub ttl: u8,
}

/// What a script says about the IP header; nothing said is nothing checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IpInfo {
    /// ECN mark.
    pub ecn: Option<Ecn>,
    /// The whole TOS byte.
    pub tos: Option<u8>,
    /// Time to live.
    pub ttl: Option<u8>,
    /// IPv6 flow label.
    pub flow_label: Option<u32>,
}

/// The ECN field (RFC 3168 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ecn {
    /// Not ECN-capable.
    NoEcn,
    /// ECT(0).
    Ect0,
    /// ECT(1).
    Ect1,
    /// Either ECT.
    Ect01,
    /// Congestion experienced.
    Ce,
}

/// The transport part of a packet.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// A TCP segment.
    Tcp(Tcp),
    /// A UDP datagram.
    Udp {
        /// Source and destination port, when they are written.
        ports: Option<(u16, u16)>,
        /// Payload length in bytes.
        len: u16,
    },
    /// An ICMP message.
    Icmp(Icmp),
}

/// An ICMP message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Icmp {
    /// Type name, as written.
    pub ty: String,
    /// Code name, as written.
    pub code: Option<String>,
    /// Next-hop MTU.
    pub mtu: Option<u32>,
    /// Echo identifier.
    pub id: Option<u16>,
    /// The quoted packet.
    pub echoed: Option<Echoed>,
}

/// What an ICMP error quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Echoed {
    /// A TCP segment with this sequence number and payload length.
    Tcp {
        /// Sequence number, relative.
        seq: u32,
        /// Payload length in bytes.
        len: u32,
    },
    /// A UDP datagram of this payload length.
    Udp {
        /// Payload length in bytes.
        len: u16,
    },
    /// Raw bytes.
    Raw {
        /// Length in bytes.
        len: u16,
    },
}

/// A TCP segment.
#[derive(Debug, Clone, PartialEq)]
pub struct Tcp {
    /// Source and destination port, when they are written.
    pub ports: Option<(u16, u16)>,
    /// Flags.
    pub flags: Flags,
    /// Sequence number in the script's space.
    pub seq: u32,
    /// Payload length in bytes.
    pub len: u32,
    /// Acknowledgement number in the script's space.
    pub ack: Option<u32>,
    /// Raw window field.
    pub win: Option<u16>,
    /// Urgent pointer.
    pub urg: Option<u16>,
    /// Options.
    pub options: Options,
}

/// TCP flags, with the three ECN bits either as letters or as an AccECN number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags {
    /// Bits of [`Flags::FIN`] and so on.
    pub bits: u8,
    /// The ECN bits.
    pub ece: EcnFlags,
}

/// How the three ECN bits of the TCP header are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EcnFlags {
    /// Bits of [`EcnFlags::E`], [`EcnFlags::W`], [`EcnFlags::A`].
    Letters(u8),
    /// A digit 0-7.
    Ace(u8),
}

impl Default for EcnFlags {
    fn default() -> Self {
        Self::Letters(0)
    }
}

impl EcnFlags {
    /// ECE.
    pub const E: u8 = 1;
    /// CWR.
    pub const W: u8 = 2;
    /// AE, the former NS bit.
    pub const A: u8 = 4;

    /// The three bits, however they were written.
    pub fn bits(self) -> u8 {
        match self {
            Self::Letters(bits) | Self::Ace(bits) => bits,
        }
    }
}

impl Flags {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Synchronise sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset the connection.
    pub const RST: u8 = 0x04;
    /// Push.
    pub const PSH: u8 = 0x08;
    /// The acknowledgement field counts.
    pub const ACK: u8 = 0x10;
    /// The urgent pointer counts.
    pub const URG: u8 = 0x20;

    /// All of `bits` are set.
    pub fn has(self, bits: u8) -> bool {
        self.bits & bits == bits
    }
}

/// The options of a segment.
#[derive(Debug, Clone, PartialEq)]
pub enum Options {
    /// `<...>`: not looked at.
    Ignored,
    /// Exactly these, in this order.
    List(Vec<TcpOption>),
}

/// One TCP option.
#[derive(Debug, Clone, PartialEq)]
pub enum TcpOption {
    /// No operation.
    Nop,
    /// End of list.
    Eol,
    /// Maximum segment size.
    Mss(u16),
    /// Window scale.
    WindowScale(u8),
    /// SACK permitted.
    SackPermitted,
    /// SACK blocks: left and right edges.
    Sack(Vec<(u32, u32)>),
    /// Timestamps.
    Timestamps {
        /// TSval.
        val: u32,
        /// TSecr.
        ecr: u32,
    },
    /// TCP-MD5 signature.
    Md5(Vec<u8>),
    /// TCP Fast Open cookie.
    FastOpen(Vec<u8>),
    /// TCP Fast Open cookie under the experimental number.
    FastOpenExp(Vec<u8>),
    /// AccECN byte counters, in the order in which they are written.
    AccEcn(Vec<(AccEcnCounter, u32)>),
    /// A kind that the language has no word for (seen on a live packet only).
    Other {
        /// Option kind.
        kind: u8,
        /// Value bytes.
        value: Vec<u8>,
    },
}

/// A counter of the AccECN option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccEcnCounter {
    /// ECT(0) bytes.
    E0b,
    /// ECT(1) bytes.
    E1b,
    /// CE bytes.
    Ceb,
}

/// A system call and what it must return.
#[derive(Debug, Clone, PartialEq)]
pub struct Syscall {
    /// For a call that blocks: when it must return, on the same clock as its start.
    pub end: Option<Micros>,
    /// Its name.
    pub name: String,
    /// Its arguments.
    pub args: Vec<Expr>,
    /// The expected result.
    pub result: Expr,
    /// The expected errno name.
    pub errno: Option<String>,
}

/// An argument or result of a system call.
#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    /// `...`: the tool fills it in.
    Ellipsis,
    /// A number.
    Int(i64),
    /// A constant's name.
    Symbol(String),
    /// A string.
    Str(Vec<u8>),
    /// `a|b|…`.
    Or(Vec<Expr>),
    /// `[a, b, …]`.
    List(Vec<Expr>),
    /// `{a, name=b, …}`.
    Struct(Vec<Field>),
    /// `name(args)`, as `inet_addr("…")`.
    Call(String, Vec<Expr>),
    /// An IPv4 address without quotes.
    Ipv4(Ipv4Addr),
    /// An IPv6 address without quotes.
    Ipv6(Ipv6Addr),
}

/// A field of a struct expression.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// Its name, when one is written.
    pub name: Option<String>,
    /// Arguments behind the name, as in `msg_iov(2)=…`.
    pub args: Vec<Expr>,
    /// Its value.
    pub value: Expr,
}
