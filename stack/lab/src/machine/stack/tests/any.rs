//! Any calls in any order, with segments and time between them: nothing panics, nothing spins, and when all files are
//! closed nothing waits and the stack is empty in the end.

use std::time::Duration;

use millrace_posix::call::{Buffer, Call, EpollEvent, Fd, PollFd, SockAddr};
use millrace_wire::tcp::TcpFlags;
use proptest::prelude::*;

use super::peer::{LOCAL, Lab, connect, poll};
use crate::machine::{Machine, Passed, Progress};

/// What happens next.
#[derive(Debug, Clone)]
enum Event {
    Call(Call),
    Segment {
        port: u16,
        flags: u8,
        seq: u32,
        ack: u32,
        len: usize,
    },
    Time(u64),
    Signal(usize),
}

fn fd() -> impl Strategy<Value = Fd> {
    3..12i32
}

fn any_fd() -> impl Strategy<Value = Fd> {
    prop_oneof![9 => fd(), 1 => -1..20i32]
}

fn socket_calls() -> impl Strategy<Value = Call> {
    let flags = prop_oneof![Just(0), Just(libc::SOCK_NONBLOCK)];
    let stream = flags.clone().prop_map(|flags| Call::Socket {
        domain: libc::AF_INET,
        ty: libc::SOCK_STREAM | flags,
        protocol: 0,
    });
    prop_oneof![
        4 => stream,
        3 => any_fd().prop_map(|fd| Call::Bind { fd, addr: SockAddr::V4(LOCAL) }),
        3 => (any_fd(), -1..4i32).prop_map(|(fd, backlog)| Call::Listen { fd, backlog }),
        4 => (any_fd(), flags).prop_map(|(fd, flags)| Call::Accept { fd, flags }),
        3 => any_fd().prop_map(connect),
        1 => any_fd().prop_map(|fd| Call::Connect { fd, addr: SockAddr::Unspec }),
        2 => (any_fd(), -1..4i32).prop_map(|(fd, how)| Call::Shutdown { fd, how }),
        2 => any_fd().prop_map(|fd| Call::Close { fd }),
        1 => (any_fd(), 0..3i32, 0..40i32, 0..20u32)
            .prop_map(|(fd, level, name, room)| Call::GetSockOpt { fd, level, name, room }),
        2 => (any_fd(), 0..3i32, 0..40i32, prop::collection::vec(0..3u8, 0..17)).prop_map(
            |(fd, level, name, value)| {
                let level = [libc::SOL_SOCKET, libc::IPPROTO_TCP, libc::IPPROTO_IP][level as usize];
                Call::SetSockOpt { fd, level, name, value }
            }
        ),
    ]
}

fn data_calls() -> impl Strategy<Value = Call> {
    let flags = prop_oneof![
        4 => Just(0),
        1 => Just(libc::MSG_DONTWAIT),
        1 => Just(libc::MSG_PEEK),
        1 => Just(libc::MSG_WAITALL),
        1 => Just(libc::MSG_TRUNC),
        1 => Just(libc::MSG_OOB),
        1 => Just(libc::MSG_MORE),
    ];
    let room = prop_oneof![
        4 => (0..5_000usize).prop_map(Buffer::Given),
        1 => (0..9usize).prop_map(Buffer::Null),
    ];
    let data = prop_oneof![
        4 => (0..200_000usize).prop_map(|len| Buffer::Given(vec![7; len])),
        1 => (0..9usize).prop_map(Buffer::Null),
    ];
    let recv = (any_fd(), room, 0..40usize, flags.clone());
    prop_oneof![
        recv.prop_map(|(fd, room, control_room, flags)| Call::Recv {
            fd,
            room,
            control_room,
            flags
        }),
        (any_fd(), data, flags).prop_map(|(fd, data, flags)| Call::Send {
            fd,
            data,
            to: None,
            control: Vec::new(),
            flags
        }),
        (any_fd(), any_fd(), 0..100_000usize, 0..8u32).prop_map(|(from, to, len, flags)| {
            Call::Splice {
                from,
                to,
                len,
                flags,
            }
        }),
        (any_fd(), any_fd(), 0..100_000usize).prop_map(|(to, from, len)| Call::Sendfile {
            to,
            from,
            offset: None,
            len
        }),
    ]
}

fn file_calls() -> impl Strategy<Value = Call> {
    let event = (any::<u32>(), 0..4u8).prop_map(|(bits, plain)| EpollEvent {
        events: match plain {
            0 => bits,
            _ => bits & 0xd000_0005,
        },
        data: 0,
    });
    let entry = (any_fd(), any::<i16>()).prop_map(|(fd, events)| PollFd { fd, events });
    let flags = prop_oneof![Just(0), Just(libc::O_NONBLOCK)];
    prop_oneof![
        3 => Just(Call::EpollCreate { flags: 0 }),
        8 => (any_fd(), 0..4i32, any_fd(), prop::option::of(event))
            .prop_map(|(epfd, op, fd, event)| Call::EpollCtl { epfd, op, fd, event }),
        4 => (any_fd(), 0..5i32, -1..50i32)
            .prop_map(|(epfd, max, timeout)| Call::EpollWait { epfd, max, timeout }),
        2 => (prop::collection::vec(entry, 0..4), -1..50i32)
            .prop_map(|(fds, timeout)| Call::Poll { fds, timeout }),
        2 => flags.clone().prop_map(|flags| Call::Pipe { flags }),
        1 => Just(Call::Open { path: "/dev/zero".to_owned(), flags: libc::O_RDONLY }),
        1 => (any_fd(), 0..5i32, flags)
            .prop_map(|(fd, cmd, arg)| Call::Fcntl { fd, cmd, arg: arg.into() }),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let number = prop_oneof![4 => 0..3u32, 1 => 0..70_000u32, 1 => any::<u32>()];
    let flags = prop_oneof![
        2 => Just(TcpFlags::SYN.0),
        4 => Just(TcpFlags::ACK.0),
        1 => Just(TcpFlags::FIN.0 | TcpFlags::ACK.0),
        1 => Just(TcpFlags::RST.0),
        1 => Just(TcpFlags::SYN.0 | TcpFlags::ACK.0),
        1 => any::<u8>(),
    ];
    let segment = (0..3u16, flags, number.clone(), number, 0..1400usize);
    prop_oneof![
        6 => socket_calls().prop_map(Event::Call),
        4 => data_calls().prop_map(Event::Call),
        4 => file_calls().prop_map(Event::Call),
        6 => segment.prop_map(|(port, flags, seq, ack, len)| Event::Segment {
            port, flags, seq, ack, len
        }),
        2 => (0..3_000u64).prop_map(Event::Time),
        1 => (0..4usize).prop_map(Event::Signal),
    ]
}

fn happen(lab: &mut Lab, event: Event, waiting: &mut Vec<crate::machine::Ticket>) {
    match event {
        Event::Call(call) => match lab.machine.start(call).expect("alive") {
            Progress::Done(returned) => {
                assert_eq!(returned.errno == 0, returned.value >= 0, "{returned:?}");
            }
            Progress::Waits(ticket) => waiting.push(ticket),
        },
        Event::Segment {
            port,
            flags,
            seq,
            ack,
            len,
        } => {
            lab.use_port(port);
            lab.sent();
            lab.use_port(port);
            lab.listen_port();
            lab.segment(TcpFlags(flags), seq, ack, len);
        }
        Event::Time(ms) => lab.pass(ms),
        Event::Signal(at) if at < waiting.len() => {
            let ticket = waiting.swap_remove(at);
            lab.machine.interrupt(ticket).expect("alive");
        }
        Event::Signal(_) => {}
    }
}

/// A listener, a connection, an epoll, a pipe and another connection, so that most calls find what they are for.
fn begin(lab: &mut Lab) {
    let listener = lab.listener();
    lab.child(listener);
    for call in [Call::EpollCreate { flags: 0 }, Call::Pipe { flags: 0 }] {
        assert!(lab.value(call) >= 0);
    }
    lab.use_port(1);
    lab.child(listener);
}

/// Everything is closed, and a long time passes.
fn end(lab: &mut Lab, waiting: Vec<crate::machine::Ticket>) {
    for fd in lab.machine.process().open_fds() {
        // One that lingers ends with the time.
        lab.machine.start(Call::Close { fd }).expect("alive");
    }
    for ticket in waiting {
        lab.machine.interrupt(ticket).expect("alive");
    }
    let until = lab.machine.now() + Duration::from_secs(100_000);
    while lab.machine.pass_time(until).expect("alive") == Passed::Something {}
    assert_eq!(lab.machine.process().open_fds(), []);
    let census = lab.machine.stack().census();
    assert_eq!((census.sockets, census.bound_ports), (0, 0), "{census:?}");
    assert_eq!(lab.value(poll(&[], 0)), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn calls_in_any_order_do_no_harm(events in prop::collection::vec(event(), 1..80)) {
        let mut lab = Lab::new();
        begin(&mut lab);
        let mut waiting = Vec::new();
        for event in events {
            happen(&mut lab, event, &mut waiting);
        }
        end(&mut lab, waiting);
    }
}
