//! The other end, by hand: one TCP connection's numbers, counted from 0 on both sides.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use millrace_posix::call::{Buffer, Call, Fd, Out, PollFd, Return, SockAddr};
use millrace_wire::ipv4::{self, Ipv4Header, Ipv4View, protocol};
use millrace_wire::seq::SeqNum;
use millrace_wire::tcp::{self, OptionsBuf, TcpFlags, TcpHeader, TcpView};

use crate::machine::{Machine, Passed, Progress, StackConfig, StackMachine, Ticket};

pub const LOCAL: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 168, 0, 1), 8080);
pub const REMOTE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 50_000);
/// The peer's initial sequence number.
const ISN: u32 = 7_000;

/// A machine and the peer's end of one connection.
pub struct Lab {
    pub machine: StackMachine,
    /// The stack's end; its port is learnt from its SYN.
    local: SocketAddrV4,
    remote: SocketAddrV4,
    /// The stack's initial sequence numbers, by the peer's port.
    isns: BTreeMap<u16, u32>,
}

/// What is looked at in a sent segment.
#[derive(Debug, PartialEq, Eq)]
pub struct Seen {
    pub flags: String,
    /// Relative to the stack's initial number.
    pub seq: u32,
    /// Relative to the peer's.
    pub ack: u32,
    pub len: usize,
}

impl Lab {
    pub fn new() -> Self {
        let addr = "192.168.0.1/16".parse().expect("a network");
        Self::with(StackConfig::new(addr))
    }

    pub fn with(config: StackConfig) -> Self {
        Self {
            machine: StackMachine::new(config).expect("a good configuration"),
            local: LOCAL,
            remote: REMOTE,
            isns: BTreeMap::new(),
        }
    }

    /// The next connection comes from another port.
    pub fn next_port(&mut self) {
        self.remote.set_port(self.remote.port() + 1);
    }

    /// A call that must return at once.
    pub fn call(&mut self, call: Call) -> Return {
        match self.machine.start(call) {
            Ok(Progress::Done(returned)) => returned,
            other => panic!("the call did not return: {other:?}"),
        }
    }

    /// The number a call returned at once, or its negative errno.
    pub fn value(&mut self, call: Call) -> i64 {
        number(&self.call(call))
    }

    /// A call that must wait.
    pub fn waits(&mut self, call: Call) -> Ticket {
        match self.machine.start(call) {
            Ok(Progress::Waits(ticket)) => ticket,
            other => panic!("the call did not wait: {other:?}"),
        }
    }

    /// What a call that waited returned, if it has.
    pub fn returned(&mut self, ticket: Ticket) -> Option<(i64, u128)> {
        let (returned, at) = self.machine.returned(ticket)?;
        Some((number(&returned), at.as_millis()))
    }

    pub fn socket(&mut self) -> Fd {
        self.socket_of(libc::SOCK_STREAM)
    }

    pub fn socket_of(&mut self, ty: i32) -> Fd {
        let call = Call::Socket {
            domain: libc::AF_INET,
            ty,
            protocol: 0,
        };
        Fd::try_from(self.value(call)).expect("a descriptor")
    }

    pub fn listener(&mut self) -> Fd {
        let fd = self.socket();
        let addr = SockAddr::V4(LOCAL);
        assert_eq!(self.value(Call::Bind { fd, addr }), 0);
        assert_eq!(self.value(Call::Listen { fd, backlog: 8 }), 0);
        fd
    }

    /// A connected socket, accepted from `listener`.
    pub fn child(&mut self, listener: Fd) -> Fd {
        self.handshake();
        self.child_of(listener)
    }

    /// The three segments of a passive open.
    pub fn handshake(&mut self) {
        self.syn();
        self.segment(TcpFlags::ACK, 1, 1, 0);
    }

    pub fn syn(&mut self) {
        self.segment(TcpFlags::SYN, 0, 0, 0);
        let sent = self.sent();
        let [syn_ack] = sent.as_slice() else {
            panic!("{sent:?}");
        };
        assert_eq!(syn_ack.flags, "SA");
    }

    /// The stack's SYN, answered.
    pub fn answer_syn(&mut self, answer: TcpFlags) {
        let sent = self.sent();
        assert_eq!(sent.last().map(|s| s.flags.as_str()), Some("S"));
        self.segment(answer, 0, 1, 0);
    }

    /// Injects a segment; numbers relative to both initial ones.
    pub fn segment(&mut self, flags: TcpFlags, seq: u32, ack: u32, len: usize) {
        let packet = self.packet(flags, (seq, ack), len);
        self.machine.inject(&[packet]).expect("injected");
    }

    pub fn packet(&self, flags: TcpFlags, (seq, ack): (u32, u32), len: usize) -> Vec<u8> {
        let header = TcpHeader {
            src_port: self.remote.port(),
            dst_port: self.local.port(),
            seq: SeqNum::new(ISN.wrapping_add(seq)),
            ack: SeqNum::new(self.isn(self.remote.port()).wrapping_add(ack)),
            flags,
            window: 65_535,
            urgent: 0,
        };
        let mut options = OptionsBuf::new();
        if flags.contains(TcpFlags::SYN) {
            options.mss(1460);
        }
        let total = tcp::MIN_HEADER_LEN + options.as_bytes().len() + len;
        let mut packet = vec![0x5a; ipv4::MIN_HEADER_LEN + total];
        let ip = Ipv4Header {
            src: *self.remote.ip(),
            dst: *self.local.ip(),
            protocol: protocol::TCP,
            ttl: 64,
            tos: 0,
            id: 0,
            dont_fragment: true,
        };
        ip.emit(&mut packet, total as u16);
        let bytes = &mut packet[ipv4::MIN_HEADER_LEN..];
        header.emit(bytes, options.as_bytes());
        tcp::fill_checksum(bytes, ip.src, ip.dst);
        packet
    }

    /// The segments sent since the last look.
    pub fn sent(&mut self) -> Vec<Seen> {
        let packets: Vec<_> = self.machine.sent().drain(..).collect();
        packets.iter().map(|sent| self.see(&sent.bytes)).collect()
    }

    fn isn(&self, port: u16) -> u32 {
        self.isns.get(&port).copied().unwrap_or(0)
    }

    fn see(&mut self, packet: &[u8]) -> Seen {
        let ip = Ipv4View::parse(packet).expect("a good IPv4 header");
        let tcp = TcpView::parse(ip.payload()).expect("a good TCP header");
        if tcp.flags().contains(TcpFlags::SYN) {
            self.isns.insert(tcp.dst_port(), tcp.seq().raw());
            self.local.set_port(tcp.src_port());
            self.remote.set_port(tcp.dst_port());
        }
        let letters = [
            (TcpFlags::SYN, 'S'),
            (TcpFlags::FIN, 'F'),
            (TcpFlags::RST, 'R'),
            (TcpFlags::PSH, 'P'),
            (TcpFlags::ACK, 'A'),
        ];
        let set = letters
            .iter()
            .filter(|(flag, _)| tcp.flags().contains(*flag));
        Seen {
            flags: set.map(|(_, letter)| letter).collect(),
            seq: tcp.seq().raw().wrapping_sub(self.isn(tcp.dst_port())),
            ack: tcp.ack().raw().wrapping_sub(ISN),
            len: tcp.payload().len(),
        }
    }

    /// Lets `ms` milliseconds pass, whatever happens.
    pub fn pass(&mut self, ms: u64) {
        let until = self.machine.now() + Duration::from_millis(ms);
        while self.machine.pass_time(until).expect("alive") == Passed::Something {}
    }

    pub fn now_ms(&self) -> u128 {
        self.machine.now().as_millis()
    }
}

fn number(returned: &Return) -> i64 {
    match returned.errno {
        0 => returned.value,
        errno => -i64::from(errno),
    }
}

pub fn accept(fd: Fd) -> Call {
    Call::Accept { fd, flags: 0 }
}

pub fn read(fd: Fd, room: usize) -> Call {
    recv(fd, room, 0)
}

pub fn recv(fd: Fd, room: usize, flags: i32) -> Call {
    Call::Recv {
        fd,
        room: Buffer::Given(room),
        control_room: 0,
        flags,
    }
}

pub fn write(fd: Fd, len: usize) -> Call {
    Call::Send {
        fd,
        data: Buffer::Given(vec![0; len]),
        to: None,
        control: Vec::new(),
        flags: 0,
    }
}

pub fn connect(fd: Fd) -> Call {
    Call::Connect {
        fd,
        addr: SockAddr::V4(SocketAddrV4::new(*REMOTE.ip(), 80)),
    }
}

pub fn set_int(fd: Fd, level: i32, name: i32, value: i32) -> Call {
    Call::SetSockOpt {
        fd,
        level,
        name,
        value: value.to_ne_bytes().to_vec(),
    }
}

/// The errno as a call's negative result.
pub fn errno(errno: i32) -> i64 {
    -i64::from(errno)
}

pub fn poll(entries: &[(Fd, i16)], timeout: i32) -> Call {
    let entry = |&(fd, events): &(Fd, i16)| PollFd { fd, events };
    Call::Poll {
        fds: entries.iter().map(entry).collect(),
        timeout,
    }
}

impl Lab {
    /// `revents` of one descriptor now, asked for everything.
    pub fn ready(&mut self, fd: Fd) -> i16 {
        let returned = self.call(poll(&[(fd, 0x7fff)], 0));
        let Out::Poll(revents) = returned.out else {
            panic!("no revents");
        };
        assert_eq!(returned.value, i64::from(revents[0] != 0));
        revents[0]
    }

    pub fn close(&mut self, fd: Fd) {
        assert_eq!(self.value(Call::Close { fd }), 0);
    }
}

impl Lab {
    /// The `i`th of the peer's ports.
    pub fn use_port(&mut self, i: u16) {
        self.remote.set_port(REMOTE.port() + i);
    }

    /// Segments go to the listener's port.
    pub fn listen_port(&mut self) {
        self.local = LOCAL;
    }

    /// Accepts the connection that waits.
    pub fn child_of(&mut self, listener: Fd) -> Fd {
        let accepted = self.value(accept(listener));
        Fd::try_from(accepted).expect("a connection")
    }

    /// What a call that waited returned, and when.
    pub fn machine_returned(&mut self, ticket: Ticket) -> (Return, Duration) {
        self.machine.returned(ticket).expect("it returned")
    }

    /// The end of what the stack has sent, relative to its initial number.
    pub fn last_sent_end(&mut self) -> u32 {
        let sent = self.sent();
        let end = sent.iter().map(|s| s.seq + s.len as u32).max();
        end.expect("something was sent")
    }
}
