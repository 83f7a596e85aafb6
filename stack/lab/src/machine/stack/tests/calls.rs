//! Calls that wait, descriptors, and time.

use std::time::Duration;

use millrace_posix::call::{Buffer, Call, Out, SockAddr};
use millrace_wire::tcp::TcpFlags;

use super::peer::{Lab, REMOTE, accept, connect, errno, read, recv, set_int, write};
use crate::machine::{Machine, Passed};

const ACK: TcpFlags = TcpFlags::ACK;

#[test]
fn accept_waits_for_the_third_segment_and_tells_the_peer() {
    let mut lab = Lab::new();
    let listener = lab.listener();
    let waiting = lab.waits(accept(listener));
    lab.syn();
    assert_eq!(lab.returned(waiting), None);
    lab.pass(5);
    lab.segment(ACK, 1, 1, 0);
    let (returned, at) = lab.machine.returned(waiting).expect("accepted");
    assert_eq!((returned.value, at), (4, Duration::from_millis(5)));
    assert_eq!(returned.out, Out::Addr(SockAddr::V4(REMOTE)));
    assert!(lab.machine.returned(waiting).is_none(), "told once");
}

#[test]
fn connections_go_to_the_waiters_in_their_order() {
    let mut lab = Lab::new();
    let listener = lab.listener();
    let waiting: Vec<_> = (0..3).map(|_| lab.waits(accept(listener))).collect();
    lab.handshake();
    assert_eq!(lab.returned(waiting[0]), Some((4, 0)), "it came first");
    lab.next_port();
    lab.handshake();
    assert_eq!(lab.returned(waiting[1]), Some((5, 0)));
    assert_eq!(lab.returned(waiting[2]), None);
}

#[test]
fn accept_has_its_descriptor_before_it_waits() {
    let mut lab = Lab::new();
    let listener = lab.listener();
    let _waiting = lab.waits(accept(listener));
    assert_eq!(lab.socket(), 5, "4 is promised");
}

#[test]
fn a_full_table_leaves_the_connection_in_the_queue() {
    let addr = "192.168.0.1/16".parse().expect("a network");
    let mut config = crate::machine::StackConfig::new(addr);
    config.fd_limit = 5;
    let mut lab = Lab::with(config);
    let listener = lab.listener();
    let other = lab.socket();
    lab.handshake();
    assert_eq!(lab.value(accept(listener)), errno(libc::EMFILE));
    assert_eq!(lab.value(Call::Close { fd: other }), 0);
    assert_eq!(lab.value(accept(listener)), i64::from(other));
}

#[test]
fn connect_waits_and_is_refused() {
    let mut lab = Lab::new();
    let fd = lab.socket();
    let waiting = lab.waits(connect(fd));
    lab.pass(20);
    lab.answer_syn(TcpFlags::RST | ACK);
    assert_eq!(lab.returned(waiting), Some((errno(libc::ECONNREFUSED), 20)));
}

#[test]
fn connect_without_waiting_tells_its_progress() {
    let mut lab = Lab::new();
    let fd = lab.socket_of(libc::SOCK_STREAM | libc::SOCK_NONBLOCK);
    assert_eq!(lab.value(connect(fd)), errno(libc::EINPROGRESS));
    assert_eq!(lab.value(connect(fd)), errno(libc::EALREADY));
    lab.answer_syn(TcpFlags::SYN | ACK);
    assert_eq!(lab.value(connect(fd)), 0);
    assert_eq!(lab.value(connect(fd)), errno(libc::EISCONN));
}

#[test]
fn read_waits_for_data_and_for_its_time_out() {
    let mut lab = Lab::new();
    let listener = lab.listener();
    let fd = lab.child(listener);
    let first = lab.waits(read(fd, 100));
    lab.pass(3);
    lab.segment(ACK, 1, 1, 10);
    assert_eq!(lab.returned(first), Some((10, 3)));
    let timeval = [0i64, 250_000].map(i64::to_ne_bytes).concat();
    let set = Call::SetSockOpt {
        fd,
        level: libc::SOL_SOCKET,
        name: libc::SO_RCVTIMEO,
        value: timeval,
    };
    assert_eq!(lab.value(set), 0);
    let second = lab.waits(read(fd, 100));
    lab.pass(1_000);
    assert_eq!(lab.returned(second), Some((errno(libc::EAGAIN), 253)));
    lab.segment(TcpFlags::FIN | ACK, 11, 1, 0);
    assert_eq!(lab.value(read(fd, 100)), 0);
}

#[test]
fn a_signal_ends_a_call_with_what_it_has() {
    let mut lab = Lab::new();
    let listener = lab.listener();
    let fd = lab.child(listener);
    let all = lab.waits(recv(fd, 100, libc::MSG_WAITALL));
    lab.segment(ACK, 1, 1, 10);
    let returned = lab.machine.interrupt(all).expect("alive").expect("waits");
    assert_eq!((returned.value, returned.errno), (10, 0));
    let nothing = lab.waits(read(fd, 100));
    let returned = lab.machine.interrupt(nothing).expect("alive");
    assert_eq!(returned.expect("waits").errno, libc::EINTR);
    let waiting = lab.waits(accept(listener));
    let returned = lab.machine.interrupt(waiting).expect("alive");
    assert_eq!(returned.expect("waits").errno, libc::EINTR);
    assert_eq!(lab.socket(), 5, "the promise is taken back");
}

#[test]
fn a_call_that_waits_keeps_its_socket() {
    let mut lab = Lab::new();
    let listener = lab.listener();
    let fd = lab.child(listener);
    let waiting = lab.waits(read(fd, 100));
    lab.sent();
    assert_eq!(lab.value(Call::Close { fd }), 0);
    assert_eq!(lab.value(read(fd, 1)), errno(libc::EBADF));
    assert!(lab.sent().is_empty(), "no FIN while the call waits");
    lab.segment(ACK, 1, 1, 10);
    assert_eq!(lab.returned(waiting), Some((10, 0)));
    let flags: Vec<_> = lab.sent().into_iter().map(|s| s.flags).collect();
    assert_eq!(flags, ["A", "FA"], "closed by the read that ended");
}

#[test]
fn close_lingers_until_everything_is_acknowledged() {
    let mut lab = Lab::new();
    let listener = lab.listener();
    let fd = lab.child(listener);
    let linger = Call::SetSockOpt {
        fd,
        level: libc::SOL_SOCKET,
        name: libc::SO_LINGER,
        value: [1i32, 5].map(i32::to_ne_bytes).concat(),
    };
    assert_eq!(lab.value(linger), 0);
    assert_eq!(lab.value(write(fd, 100)), 100);
    let waiting = lab.waits(Call::Close { fd });
    assert_eq!(lab.value(Call::Close { fd }), errno(libc::EBADF));
    lab.pass(10);
    lab.segment(ACK, 1, 102, 0);
    assert_eq!(lab.returned(waiting), Some((0, 10)));
}

#[test]
fn null_pointers_fault_only_when_they_are_touched() {
    let mut lab = Lab::new();
    let listener = lab.listener();
    let fd = lab.child(listener);
    lab.segment(ACK, 1, 1, 10);
    let null = |flags| Call::Recv {
        fd,
        room: Buffer::Null(4),
        control_room: 0,
        flags,
    };
    assert_eq!(lab.value(null(0)), errno(libc::EFAULT));
    assert_eq!(lab.value(null(libc::MSG_TRUNC)), 4, "nothing is copied");
    assert_eq!(lab.value(read(fd, 100)), 6, "a fault takes nothing");
    assert_eq!(lab.value(null(libc::MSG_DONTWAIT)), errno(libc::EAGAIN));
    let send = Call::Send {
        fd,
        data: Buffer::Null(4),
        to: None,
        control: Vec::new(),
        flags: 0,
    };
    lab.sent();
    assert_eq!(lab.value(send), errno(libc::EFAULT));
    assert!(lab.sent().is_empty());
}

#[test]
fn time_stops_at_every_packet_and_return() {
    let mut lab = Lab::new();
    let fd = lab.socket();
    let waiting = lab.waits(connect(fd));
    lab.sent();
    let mut stops = Vec::new();
    let until = Duration::from_secs(4);
    while lab.machine.pass_time(until).expect("alive") == Passed::Something {
        stops.push(lab.now_ms());
    }
    assert_eq!(stops, [1_000, 2_000, 3_000, 4_000], "the SYN again");
    assert_eq!(lab.machine.now(), until);
    assert_eq!(lab.machine.counter("TcpExtTCPSynRetrans"), Some(4));
    assert_eq!(lab.machine.counter("TcpExtNoSuchThing"), None);
    assert!(lab.machine.returned(waiting).is_none());
}

#[test]
fn settings_change_while_it_runs() {
    let mut lab = Lab::new();
    assert!(
        lab.machine
            .set_sysctl("net.ipv4.tcp_syn_retries", "1")
            .is_ok()
    );
    assert!(
        lab.machine
            .set_sysctl("net.ipv4.no_such_thing", "1")
            .is_err()
    );
    let fd = lab.socket();
    let waiting = lab.waits(connect(fd));
    lab.pass(10_000);
    // The time of one exponential retry, though linear ones (`tcp_syn_linear_timeouts`) would be left.
    assert_eq!(lab.returned(waiting), Some((errno(libc::ETIMEDOUT), 3_000)));
}

#[test]
fn descriptors_have_flags() {
    let mut lab = Lab::new();
    let fd = lab.socket_of(libc::SOCK_STREAM | libc::SOCK_CLOEXEC);
    let mut fcntl = |cmd, arg: i32| {
        lab.value(Call::Fcntl {
            fd,
            cmd,
            arg: arg.into(),
        })
    };
    assert_eq!(fcntl(libc::F_GETFD, 0), 1);
    assert_eq!(fcntl(libc::F_SETFD, 0), 0);
    assert_eq!(fcntl(libc::F_GETFD, 0), 0);
    assert_eq!(fcntl(libc::F_GETFL, 0), i64::from(libc::O_RDWR));
    assert_eq!(fcntl(libc::F_SETFL, libc::O_NONBLOCK | libc::O_WRONLY), 0);
    let both = libc::O_RDWR | libc::O_NONBLOCK;
    assert_eq!(fcntl(libc::F_GETFL, 0), i64::from(both));
    let off = Call::Ioctl {
        fd,
        request: 0x5421,
        arg: 0,
    };
    assert_eq!(lab.value(off), 0);
    let get = Call::Fcntl {
        fd,
        cmd: libc::F_GETFL,
        arg: 0,
    };
    assert_eq!(lab.value(get), i64::from(libc::O_RDWR));
}

#[test]
fn ioctls_count_octets() {
    let mut lab = Lab::new();
    let listener = lab.listener();
    let fd = lab.child(listener);
    lab.segment(ACK, 1, 1, 10);
    assert_eq!(lab.value(write(fd, 30)), 30);
    let ioctl = |fd, request| Call::Ioctl {
        fd,
        request,
        arg: -1,
    };
    assert_eq!(lab.call(ioctl(fd, 0x541b)).out, Out::Int(10));
    assert_eq!(lab.call(ioctl(fd, 0x5411)).out, Out::Int(30));
    assert_eq!(lab.call(ioctl(fd, 0x894b)).out, Out::Int(0));
    assert_eq!(lab.value(ioctl(listener, 0x541b)), errno(libc::EINVAL));
    assert_eq!(lab.value(ioctl(fd, 0x1)), errno(libc::ENOTTY));
}

#[test]
fn options_go_through_bytes() {
    let mut lab = Lab::new();
    let fd = lab.socket();
    assert_eq!(
        lab.value(set_int(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, 7)),
        0
    );
    let get = Call::GetSockOpt {
        fd,
        level: libc::IPPROTO_TCP,
        name: libc::TCP_NODELAY,
        room: 4,
    };
    let out = lab.call(get).out;
    assert_eq!(out, Out::Value(1i32.to_ne_bytes().to_vec()));
    let unknown = set_int(fd, libc::IPPROTO_TCP, 999, 7);
    assert_eq!(lab.value(unknown), errno(libc::ENOPROTOOPT));
}

#[test]
fn the_rest_is_told_as_far_as_there_is_room() {
    let mut lab = Lab::new();
    let listener = lab.listener();
    let fd = lab.child(listener);
    assert_eq!(
        lab.value(set_int(fd, libc::IPPROTO_TCP, libc::TCP_INQ, 1)),
        0
    );
    lab.segment(ACK, 1, 1, 10);
    let mut receive = |control_room| {
        let call = Call::Recv {
            fd,
            room: Buffer::Given(2),
            control_room,
            flags: 0,
        };
        let Out::Msg(message) = lab.call(call).out else {
            panic!("no message");
        };
        let control = message.control.into_iter().map(|c| (c.level, c.ty, c.data));
        (control.collect::<Vec<_>>(), message.flags)
    };
    let inq = |data: &[u8]| vec![(libc::IPPROTO_TCP, libc::TCP_INQ, data.to_vec())];
    assert_eq!(receive(24), (inq(&8i32.to_ne_bytes()), 0));
    assert_eq!(
        receive(18),
        (inq(&6i32.to_ne_bytes()[..2]), libc::MSG_CTRUNC)
    );
    assert_eq!(receive(8), (Vec::new(), libc::MSG_CTRUNC));
}

#[test]
fn urgent_data_has_its_calls() {
    let mut lab = Lab::new();
    let listener = lab.listener();
    let fd = lab.child(listener);
    let at_mark = Call::Ioctl {
        fd,
        request: 0x8905,
        arg: -1,
    };
    let oob = |flags| Call::Recv {
        fd,
        room: Buffer::Given(4),
        control_room: 0,
        flags: libc::MSG_OOB | flags,
    };
    assert_eq!(lab.value(oob(0)), errno(libc::EINVAL));
    assert_eq!(lab.call(at_mark.clone()).out, Out::Int(0));
    let send = Call::Send {
        fd,
        data: Buffer::Given(vec![0; 3]),
        to: None,
        control: Vec::new(),
        flags: libc::MSG_OOB,
    };
    assert_eq!(lab.value(send), 3);
    let inline = set_int(fd, libc::SOL_SOCKET, libc::SO_OOBINLINE, 1);
    assert_eq!(lab.value(inline), 0);
}

#[test]
fn tcp_info_is_as_long_as_there_is_room() {
    let mut lab = Lab::new();
    let listener = lab.listener();
    let fd = lab.child(listener);
    for (room, len) in [(512, 280), (280, 280), (104, 104), (1, 1), (0, 0)] {
        let get = Call::GetSockOpt {
            fd,
            level: libc::IPPROTO_TCP,
            name: libc::TCP_INFO,
            room,
        };
        let Out::Value(bytes) = lab.call(get).out else {
            panic!("no value");
        };
        assert_eq!(bytes.len(), len);
        assert!(bytes.first().is_none_or(|state| *state == 1));
    }
}

/// Send times through MSG_ERRQUEUE, and the time of arrival beside the data, as the kernel lays them out.
#[test]
fn times_are_control_messages() {
    let mut lab = Lab::new();
    let listener = lab.listener();
    let fd = lab.child(listener);
    let errors = |room| Call::Recv {
        fd,
        room: Buffer::Given(0),
        control_room: room,
        flags: libc::MSG_ERRQUEUE,
    };
    assert_eq!(lab.value(errors(512)), errno(libc::EAGAIN));
    let flags = libc::SOF_TIMESTAMPING_TX_ACK
        | libc::SOF_TIMESTAMPING_RX_SOFTWARE
        | libc::SOF_TIMESTAMPING_SOFTWARE
        | libc::SOF_TIMESTAMPING_OPT_ID
        | libc::SOF_TIMESTAMPING_OPT_TSONLY;
    let name = libc::SO_TIMESTAMPING;
    let set = set_int(fd, libc::SOL_SOCKET, name, flags.cast_signed());
    assert_eq!(lab.value(set), 0);
    assert_eq!(lab.value(write(fd, 30)), 30);
    lab.pass(7);
    lab.segment(ACK, 1, 31, 10);
    let Out::Msg(told) = lab.call(errors(512)).out else {
        panic!("no message");
    };
    let kinds = told.control.iter().map(|c| (c.level, c.ty, c.data.len()));
    assert_eq!(
        kinds.collect::<Vec<_>>(),
        [
            (libc::SOL_SOCKET, libc::SCM_TIMESTAMPING, 48),
            (libc::IPPROTO_IP, libc::IP_RECVERR, 32)
        ]
    );
    assert_eq!(told.flags, libc::MSG_ERRQUEUE);
    // ENOMSG, of an ACK (2), for octet 29.
    assert_eq!(told.control[1].data[..8], [42, 0, 0, 0, 4, 0, 0, 0]);
    assert_eq!(told.control[1].data[8..16], [2, 0, 0, 0, 29, 0, 0, 0]);
    let at = lab.machine.realtime_start() + Duration::from_millis(7);
    let expected: Vec<u8> = [at.as_secs(), u64::from(at.subsec_nanos())]
        .iter()
        .flat_map(|word| word.to_ne_bytes())
        .collect();
    assert_eq!(told.control[0].data[..16], expected);
    let receive = Call::Recv {
        fd,
        room: Buffer::Given(10),
        control_room: 64,
        flags: 0,
    };
    let Out::Msg(got) = lab.call(receive).out else {
        panic!("no message");
    };
    assert_eq!((got.data.len(), got.control.len()), (10, 1));
    assert_eq!(got.control[0].data[..16], expected);
}

/// TCP_MD5SIG and TCP_MD5SIG_EXT: what Linux 6.18 answers to each `struct tcp_md5sig`.
#[test]
fn keys_are_parsed_as_the_kernel_does() {
    const PLAIN: i32 = 14;
    const EXTENDED: i32 = 32;
    const INET: u8 = libc::AF_INET as u8;
    let mut lab = Lab::new();
    let fd = lab.socket();
    // Family, last octet of the address, flags, prefix, length of the key, interface.
    let key = |(family, last, flags, prefix, len, device): (u8, u8, u8, u8, u8, u8)| {
        let mut sig = vec![0; 216];
        sig[0] = family;
        sig[4..8].copy_from_slice(&[9, 9, 9, last]);
        sig[128..131].copy_from_slice(&[flags, prefix, len]);
        sig[132] = device;
        sig
    };
    let mut set = |name, value: Vec<u8>| {
        lab.value(Call::SetSockOpt {
            fd,
            level: libc::IPPROTO_TCP,
            name,
            value,
        })
    };
    for (name, fields, expected) in [
        (PLAIN, (INET, 1, 0, 0, 6, 0), 0),
        (PLAIN, (10, 1, 0, 0, 6, 0), errno(libc::EINVAL)),
        (PLAIN, (INET, 1, 0, 0, 81, 0), errno(libc::EINVAL)),
        (PLAIN, (INET, 2, 0, 0, 0, 0), errno(libc::ENOENT)),
        (PLAIN, (INET, 9, 1, 33, 1, 0), 0),
        (EXTENDED, (INET, 9, 1, 33, 1, 0), errno(libc::EINVAL)),
        (EXTENDED, (INET, 8, 0, 33, 1, 0), 0),
        (EXTENDED, (INET, 9, 1, 8, 1, 0), 0),
        (EXTENDED, (INET, 8, 2, 0, 1, 2), errno(libc::EINVAL)),
        (EXTENDED, (INET, 8, 2, 0, 1, 0), 0),
        (PLAIN, (INET, 1, 0, 0, 0, 0), 0),
        (PLAIN, (INET, 1, 0, 0, 0, 0), errno(libc::ENOENT)),
    ] {
        assert_eq!(set(name, key(fields)), expected, "{name} {fields:?}");
    }
    let whole = key((INET, 3, 0, 0, 6, 0));
    assert_eq!(set(PLAIN, whole[..215].to_vec()), errno(libc::EINVAL));
    assert_eq!(set(PLAIN, [whole, vec![0; 2]].concat()), 0);
    let get = Call::GetSockOpt {
        fd,
        level: libc::IPPROTO_TCP,
        name: PLAIN,
        room: 216,
    };
    assert_eq!(lab.value(get), errno(libc::ENOPROTOOPT));
}
