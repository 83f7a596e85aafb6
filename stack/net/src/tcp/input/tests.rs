//! The fast path and the slow path agree, whatever comes: the same segments, calls and times go to two stacks, one of
//! which has header prediction off, and both must send the same packets and end in the same state.

use crate::link::{LinkConfig, LinkKind};
use crate::tcp::input::ecn;
use crate::*;
use ::core::net::{Ipv4Addr, SocketAddrV4};
use ::core::time::Duration;
use millrace_wire::frame::{RxFrame, RxMeta, TxBatch};
use millrace_wire::ipv4::{Ipv4Header, Ipv4View, protocol};
use millrace_wire::mac::MacAddr;
use millrace_wire::seq::SeqNum;
use millrace_wire::tcp::options::{Timestamps, write_established, write_syn};
use millrace_wire::tcp::{TcpFlags, TcpHeader, TcpView, fill_checksum};
use proptest::prelude::*;

const OURS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const IRS: u32 = 0xffff_f000;

#[derive(Clone, Debug)]
enum Op {
    /// A segment: offset of its sequence number from what is next, length, flags, window, offset of its ACK from the
    /// newest octet sent, change of the timestamp clock, ECN mark.
    Segment {
        seq: i32,
        len: u16,
        flags: u8,
        window: u16,
        ack: i32,
        ts: i32,
        tos: u8,
    },
    /// Several in-order segments of one length in one poll.
    Burst {
        count: u8,
        len: u16,
    },
    Send(u16),
    Recv(u16),
    Wait(u16),
}

fn ops(trains: u32) -> impl Strategy<Value = Vec<Op>> {
    let seq = prop_oneof![8 => Just(0), 1 => -2000..2000i32];
    let ack = prop_oneof![6 => Just(0), 3 => -4000..=0i32, 1 => 1..3000i32];
    let flags = prop_oneof![
        8 => Just(TcpFlags::ACK.0),
        4 => Just(TcpFlags::ACK.0 | TcpFlags::PSH.0),
        1 => Just(TcpFlags::ACK.0 | TcpFlags::FIN.0),
        1 => any::<u8>().prop_map(|f| f & 0xdf)
    ];
    let window = prop_oneof![6 => Just(500u16), 2 => Just(501), 1 => Just(0), 1 => any::<u16>()];
    let ts = prop_oneof![8 => 0..3i32, 1 => -5..0i32];
    let len = prop_oneof![3 => Just(0u16), 3 => Just(1448), 2 => 1..1448u16];
    let tos = prop_oneof![6 => Just(2u8), 2 => Just(3), 1 => 0..2u8];
    let segment = (seq, len, flags, window, ack, ts, tos).prop_map(
        |(seq, len, flags, window, ack, ts, tos)| Op::Segment {
            seq,
            len,
            flags,
            window,
            ack,
            ts,
            tos,
        },
    );
    let op = prop_oneof![
        8 => segment,
        trains => (1..20u8, 1..1448u16).prop_map(|(count, len)| Op::Burst { count, len }),
        3 => (1..5000u16).prop_map(Op::Send),
        3 => (1..20_000u16).prop_map(Op::Recv),
        2 => (1..400u16).prop_map(Op::Wait)
    ];
    prop::collection::vec(op, 1..60)
}

#[derive(Default)]
struct Out(Vec<Vec<u8>>);

impl TxBatch for Out {
    fn room(&self) -> usize {
        64
    }
    fn next(&mut self, len: usize) -> Option<&mut [u8]> {
        self.0.push(vec![0; len]);
        self.0.last_mut().map(Vec::as_mut_slice)
    }
}

/// The peer, and a stack of ours with a connection to it.
struct Side {
    stack: Stack,
    sock: SockId,
    now: Instant,
    /// What the peer sends next, and the newest octet it knows of ours.
    seq: SeqNum,
    newest: SeqNum,
    clock: u32,
    /// Mark of the frames that are made now.
    tos: u8,
    sent: Vec<Vec<u8>>,
    read: Vec<u8>,
    filled: u8,
}

impl Side {
    fn new(slow_only: bool) -> Self {
        let mut stack = Stack::new(Config::new([3; 32]));
        stack.ctx.slow_only = slow_only;
        let link = LinkConfig {
            kind: LinkKind::Ip,
            mac: MacAddr::ZERO,
            vlan: None,
            mtu: 1500,
        };
        let config = IfaceConfig {
            name: "t".into(),
            link,
            accept_partial_csum: false,
        };
        let iface = stack.add_iface(config).unwrap();
        stack
            .add_addr(iface, ipnet::Ipv4Net::new(OURS, 24).unwrap())
            .unwrap();
        let listener = stack.tcp_socket().unwrap();
        stack.bind(listener, SocketAddrV4::new(OURS, 80)).unwrap();
        stack.listen(listener, 1).unwrap();
        let mut side = Self {
            stack,
            sock: listener,
            now: Instant::from_nanos(5_000_000_000),
            seq: SeqNum::new(IRS),
            newest: SeqNum::new(0),
            clock: 1000,
            tos: 0,
            sent: Vec::new(),
            read: Vec::new(),
            filled: 0,
        };
        let syn = write_syn(
            Some(1460),
            Some(7),
            true,
            Some(Timestamps { val: 1000, ecr: 0 }),
        );
        let frame = side.frame(
            TcpFlags::SYN | ecn::SYN_ECN,
            SeqNum::new(IRS),
            SeqNum::new(0),
            65_535,
            syn.as_bytes(),
            0,
        );
        side.inject(vec![frame]);
        side.seq += 1;
        let ack = side.segment(0, 0, TcpFlags::ACK, 500, 0, 0);
        side.inject(vec![ack]);
        side.sock = side.stack.accept(side.now, listener).unwrap().0;
        side
    }

    fn frame(
        &mut self,
        flags: TcpFlags,
        seq: SeqNum,
        ack: SeqNum,
        window: u16,
        options: &[u8],
        len: usize,
    ) -> Vec<u8> {
        let tcp_len = 20 + options.len() + len;
        let mut bytes = vec![0; 20 + tcp_len];
        let ip = Ipv4Header {
            src: PEER,
            dst: OURS,
            protocol: protocol::TCP,
            ttl: 64,
            tos: self.tos,
            id: 0,
            dont_fragment: true,
        };
        ip.emit(&mut bytes, tcp_len as u16);
        let header = TcpHeader {
            src_port: 4000,
            dst_port: 80,
            seq,
            ack,
            flags,
            window,
            urgent: 0,
        };
        header.emit(&mut bytes[20..], options);
        for byte in &mut bytes[40 + options.len()..] {
            self.filled = self.filled.wrapping_add(37);
            *byte = self.filled;
        }
        fill_checksum(&mut bytes[20..], PEER, OURS);
        bytes
    }

    fn segment(
        &mut self,
        seq: i32,
        len: u16,
        flags: TcpFlags,
        window: u16,
        ack: i32,
        ts: i32,
    ) -> Vec<u8> {
        self.clock = self.clock.wrapping_add_signed(ts);
        let options = write_established(
            Some(Timestamps {
                val: self.clock,
                ecr: 0,
            }),
            &[],
        );
        let at = self.seq + seq as u32;
        let ack = self.newest + ack as u32;
        self.frame(flags, at, ack, window, options.as_bytes(), len as usize)
    }

    fn inject(&mut self, mut frames: Vec<Vec<u8>>) {
        let mut lent: Vec<_> = frames
            .iter_mut()
            .map(|f| RxFrame::new(f, RxMeta::default()))
            .collect();
        self.stack.rx(self.now, IfaceId(0), &mut lent);
        self.flush();
    }

    fn flush(&mut self) {
        while self.stack.has_output(IfaceId(0)) {
            let mut out = Out::default();
            self.stack.tx(self.now, IfaceId(0), &mut out);
            for frame in out.0 {
                let ip = Ipv4View::parse(&frame).unwrap();
                let tcp = TcpView::parse(ip.payload()).unwrap();
                let fin = u32::from(tcp.flags().intersects(TcpFlags::FIN | TcpFlags::SYN));
                self.newest = self
                    .newest
                    .max(tcp.seq() + tcp.payload().len() as u32 + fin);
                if tcp.flags().contains(TcpFlags::SYN) {
                    self.newest = tcp.seq() + 1;
                }
                self.sent.push(frame);
            }
        }
        self.stack.audit().unwrap();
    }

    /// The acknowledgement number of the last packet that was not a RST.
    fn last_ack(&self) -> Option<u32> {
        self.sent.iter().rev().find_map(|frame| {
            let tcp = TcpView::parse(Ipv4View::parse(frame).ok()?.payload()).ok()?;
            (!tcp.flags().contains(TcpFlags::RST)).then(|| tcp.ack().raw())
        })
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Segment {
                seq,
                len,
                flags,
                window,
                ack,
                ts,
                tos,
            } => {
                self.tos = tos;
                let frame = self.segment(seq, len, TcpFlags(flags), window, ack, ts);
                self.inject(vec![frame]);
                if seq == 0 {
                    self.seq += u32::from(len);
                }
            }
            Op::Burst { count, len } => {
                let frames = (0..count)
                    .map(|_| {
                        let frame = self.segment(0, len, TcpFlags::ACK, 500, 0, 0);
                        self.seq += u32::from(len);
                        frame
                    })
                    .collect();
                self.inject(frames);
            }
            Op::Send(n) => {
                let _ = self
                    .stack
                    .send(self.now, self.sock, &vec![7; n as usize], MsgFlags::NONE);
            }
            Op::Recv(n) => {
                let mut buf = vec![0; n as usize];
                if let Ok(n) = self
                    .stack
                    .recv(self.now, self.sock, &mut buf, MsgFlags::NONE)
                {
                    self.read.extend_from_slice(&buf[..n]);
                }
            }
            Op::Wait(ms) => {
                self.now = self.now + Duration::from_millis(u64::from(ms));
                self.stack.tick(self.now);
            }
        }
        self.flush();
    }
}

/// Both paths send the same and end the same.
fn agree(ops: &[Op]) -> Result<(), TestCaseError> {
    let (mut fast, mut slow) = (Side::new(false), Side::new(true));
    for (step, op) in ops.iter().enumerate() {
        fast.apply(op);
        slow.apply(op);
        prop_assert_eq!(fast.sent.len(), slow.sent.len(), "step {}: {:?}", step, op);
        prop_assert_eq!(
            fast.sent.last(),
            slow.sent.last(),
            "step {}: {:?}",
            step,
            op
        );
        prop_assert_eq!(&fast.read, &slow.read);
        prop_assert_eq!(fast.stack.state(fast.sock), slow.stack.state(slow.sock));
        prop_assert_eq!(
            fast.stack.recv_len(fast.sock),
            slow.stack.recv_len(slow.sock)
        );
        prop_assert_eq!(
            fast.stack.next_deadline(),
            slow.stack.next_deadline(),
            "step {}: {:?}",
            step,
            op
        );
    }
    prop_assert_eq!(&fast.sent, &slow.sent);
    prop_assert_eq!(slow.stack.mib().value(Counter::TcpExtTCPHPHits), 0);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 400 }))]

    #[test]
    fn fast_and_slow_agree(ops in ops(0)) {
        agree(&ops)?;
    }

    /// A train is acknowledged once where its segments might be twice, so the packets differ; the bytes, the state and
    /// what is acknowledged in the end do not.
    #[test]
    fn trains_bring_what_their_segments_bring(ops in ops(6)) {
        let (mut fast, mut slow) = (Side::new(false), Side::new(true));
        for op in &ops {
            fast.apply(op);
            slow.apply(op);
            // A window is as new as its segment, and a train's is as old as the first of them, as it is to Linux after
            // GRO. Once one side may send what the other may not, the peer's ACKs are no longer the same input.
            if fast.newest != slow.newest {
                return Ok(());
            }
            // The peer here knows no window: it must not matter.
            fast.apply(&Op::Recv(u16::MAX));
            slow.apply(&Op::Recv(u16::MAX));
            prop_assert_eq!(&fast.read, &slow.read);
            prop_assert_eq!(fast.stack.state(fast.sock), slow.stack.state(slow.sock));
            prop_assert_eq!(fast.stack.recv_len(fast.sock), slow.stack.recv_len(slow.sock));
        }
        fast.apply(&Op::Wait(500));
        slow.apply(&Op::Wait(500));
        // A RST may have come before a delayed ACK went.
        if fast.stack.state(fast.sock) != Ok(TcpState::Close) {
            prop_assert_eq!(fast.last_ack(), slow.last_ack());
        }
    }
}

/// The generator reaches the fast path at all.
#[test]
fn fast_path_is_taken() {
    let mut side = Side::new(false);
    side.apply(&Op::Burst {
        count: 10,
        len: 1448,
    });
    assert_eq!(side.stack.mib().value(Counter::TcpExtTCPHPHits), 10);
    side.apply(&Op::Send(100));
    side.apply(&Op::Segment {
        seq: 0,
        len: 0,
        flags: TcpFlags::ACK.0,
        window: 500,
        ack: 0,
        ts: 1,
        tos: 0,
    });
    assert_eq!(side.stack.mib().value(Counter::TcpExtTCPHPAcks), 1);
}

/// RFC 9293 MUST-58, MUST-59: what came together is taken in as a whole and acknowledged once, by both paths.
#[test]
fn segments_of_a_batch_have_one_ack() {
    for slow_only in [false, true] {
        let mut side = Side::new(slow_only);
        let before = side.sent.len();
        side.apply(&Op::Burst {
            count: 12,
            len: 1000,
        });
        assert_eq!(side.sent.len() - before, 1);
        assert_eq!(side.last_ack(), Some(side.seq.raw()));
    }
}

/// A pure ACK from further on, then predicted data: what the two paths make of the window after that is the same.
#[test]
fn predicted_data_takes_the_window_mark_back() {
    let segment = |seq, len, window| Op::Segment {
        seq,
        len,
        flags: TcpFlags::ACK.0,
        window,
        ack: 0,
        ts: 0,
        tos: 2,
    };
    let opened = [
        segment(186, 0, 0),
        segment(0, 1, 0),
        segment(0, 0, 500),
        Op::Send(1),
    ];
    agree(&opened).unwrap();
    let closed = [
        segment(1449, 0, 500),
        segment(0, 1448, 500),
        segment(0, 0, 0),
        Op::Send(1),
    ];
    agree(&closed).unwrap();
}
