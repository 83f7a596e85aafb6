//! Set, then get: the answers of Linux 6.18 for a fresh TCP socket, as root.

use super::*;
use crate::core::Stack;
use crate::ids::SockId;
use crate::sock::error::SockError;
use crate::{Config, SockError::*};
use millrace_wire::time::Instant;

const NOW: Instant = Instant::from_nanos(1_000_000_000);

fn fresh() -> (Stack, SockId) {
    let mut stack = Stack::new(Config::new([1; 32]));
    let s = stack.tcp_socket().unwrap();
    (stack, s)
}

#[track_caller]
fn check(set: SockOpt, name: OptName, expected: Result<SockOpt, SockError>) {
    let (mut stack, s) = fresh();
    let before = stack.option(s, name);
    let got = stack
        .set_option(NOW, s, set)
        .and_then(|()| stack.option(s, name));
    assert_eq!(got, expected, "{set:?}");
    if expected.is_err() {
        assert_eq!(
            stack.option(s, name),
            before,
            "{set:?} failed and changed something"
        );
    }
}

/// An option of one number: its name, how it is written, and what is read after each of some values.
fn table<T: Copy>(name: OptName, make: fn(T) -> SockOpt, rows: &[(T, Result<T, SockError>)]) {
    for (value, expected) in rows {
        check(make(*value), name, expected.map(make));
    }
}

#[test]
fn switches() {
    type Switch = (OptName, fn(bool) -> SockOpt);
    let switches: [Switch; 9] = [
        (OptName::ReuseAddr, SockOpt::ReuseAddr),
        (OptName::ReusePort, SockOpt::ReusePort),
        (OptName::KeepAlive, SockOpt::KeepAlive),
        (OptName::NoDelay, SockOpt::NoDelay),
        (OptName::Cork, SockOpt::Cork),
        (OptName::ThinLinearTimeouts, SockOpt::ThinLinearTimeouts),
        (OptName::FreeBind, SockOpt::FreeBind),
        (OptName::BindAddressNoPort, SockOpt::BindAddressNoPort),
        (OptName::Inq, SockOpt::Inq),
    ];
    let (stack, s) = fresh();
    for (name, make) in switches {
        let initial = stack.option(s, name);
        assert_eq!(initial, Ok(make(false)));
        table(name, make, &[(true, Ok(true)), (false, Ok(false))]);
    }
    let quick = [(0, Ok(0)), (1, Ok(1)), (2, Ok(1)), (0, Ok(0)), (-1, Ok(1))];
    table(OptName::QuickAck, SockOpt::QuickAck, &quick);
}

#[test]
fn numbers_of_the_socket_level() {
    let most = 8_388_608;
    table(
        OptName::SndBuf,
        SockOpt::SndBuf,
        &[
            (0, Ok(4608)),
            (1000, Ok(4608)),
            (40_000, Ok(80_000)),
            (100_000, Ok(200_000)),
            (1 << 30, Ok(most)),
            (u32::MAX, Ok(most)),
        ],
    );
    table(
        OptName::RcvBuf,
        SockOpt::RcvBuf,
        &[
            (0, Ok(2304)),
            (1000, Ok(2304)),
            (40_000, Ok(80_000)),
            (1 << 30, Ok(most)),
            (u32::MAX, Ok(most)),
        ],
    );
    let sndbuf = |n| Ok(SockOpt::SndBuf(n));
    check(
        SockOpt::SndBufForce(10_000_000),
        OptName::SndBuf,
        sndbuf(20_000_000),
    );
    let rcvbuf = |n| Ok(SockOpt::RcvBuf(n));
    check(
        SockOpt::RcvBufForce(10_000_000),
        OptName::RcvBuf,
        rcvbuf(20_000_000),
    );
    table(
        OptName::BufLock,
        SockOpt::BufLock,
        &[
            (0, Ok(0)),
            (1, Ok(1)),
            (2, Ok(2)),
            (3, Ok(3)),
            (5, Err(Invalid)),
        ],
    );
    check(SockOpt::BufLock(3), OptName::SndBuf, sndbuf(16_384));
    check(
        SockOpt::SndBuf(40_000),
        OptName::BufLock,
        Ok(SockOpt::BufLock(1)),
    );
    check(
        SockOpt::RcvBuf(40_000),
        OptName::BufLock,
        Ok(SockOpt::BufLock(2)),
    );
}

#[test]
fn numbers_of_the_tcp_level() {
    table(
        OptName::MaxSeg,
        SockOpt::MaxSeg,
        &[
            (0, Ok(536)),
            (87, Err(Invalid)),
            (88, Ok(88)),
            (32_767, Ok(32_767)),
            (32_768, Err(Invalid)),
        ],
    );
    let keep = [
        (0, Err(Invalid)),
        (1, Ok(1)),
        (32_767, Ok(32_767)),
        (40_000, Err(Invalid)),
    ];
    table(OptName::KeepIdle, SockOpt::KeepIdle, &keep);
    table(OptName::KeepIntvl, SockOpt::KeepIntvl, &keep);
    let count = [
        (0, Err(Invalid)),
        (1, Ok(1)),
        (127, Ok(127)),
        (128, Err(Invalid)),
    ];
    table(OptName::KeepCnt, SockOpt::KeepCnt, &count);
    table(OptName::SynCnt, SockOpt::SynCnt, &count);
    table(
        OptName::Linger2,
        SockOpt::Linger2,
        &[
            (-5, Ok(-1)),
            (0, Ok(60)),
            (1, Ok(1)),
            (100, Ok(100)),
            (1000, Ok(120)),
        ],
    );
    table(
        OptName::WindowClamp,
        SockOpt::WindowClamp,
        &[
            (0, Ok(0)),
            (1, Ok(1152)),
            (1000, Ok(1152)),
            (40_000, Ok(40_000)),
            (1 << 30, Ok(1 << 30)),
        ],
    );
    table(
        OptName::RtoMaxMs,
        SockOpt::RtoMaxMs,
        &[
            (0, Err(Invalid)),
            (999, Err(Invalid)),
            (1000, Ok(1000)),
            (120_000, Ok(120_000)),
            (120_001, Err(Invalid)),
        ],
    );
    table(
        OptName::UserTimeout,
        SockOpt::UserTimeout,
        &[
            (0, Ok(0)),
            (1, Ok(1)),
            (1 << 30, Ok(1 << 30)),
            (u32::MAX, Err(Invalid)),
        ],
    );
}

#[test]
fn congestion_controls() {
    let name = |text: &[u8]| {
        let mut name = [0; 16];
        name[..text.len()].copy_from_slice(text);
        SockOpt::Congestion(name)
    };
    let reno = Ok(name(b"reno"));
    check(name(b"reno"), OptName::Congestion, reno);
    check(name(b"reno\0zz"), OptName::Congestion, reno);
    for unknown in [
        b"xyz".as_slice(),
        b"renoo",
        b"ren",
        b"",
        b"0123456789abcdef",
    ] {
        check(name(unknown), OptName::Congestion, Err(NoEntry));
    }
}

#[test]
fn numbers_of_the_ip_level() {
    table(
        OptName::Tos,
        SockOpt::Tos,
        &[
            (0, Ok(0)),
            (1, Ok(0)),
            (5, Ok(4)),
            (100, Ok(100)),
            (255, Ok(252)),
        ],
    );
    table(
        OptName::Ttl,
        SockOpt::Ttl,
        &[(0, Err(Invalid)), (1, Ok(1)), (255, Ok(255))],
    );
    check(SockOpt::DefaultTtl, OptName::Ttl, Ok(SockOpt::Ttl(64)));
    check(
        SockOpt::IpOptions,
        OptName::IpOptions,
        Ok(SockOpt::IpOptions),
    );
    table(
        OptName::MtuDiscover,
        SockOpt::MtuDiscover,
        &[(0, Ok(0)), (1, Ok(1)), (5, Ok(5)), (6, Err(Invalid))],
    );
    for (low, high, expected) in [
        (41_000, 41_001, Ok(())),
        (41_000, 0, Ok(())),
        (0, 41_001, Ok(())),
        (41_000, 40_999, Err(Invalid)),
    ] {
        let range = SockOpt::LocalPortRange(low, high);
        check(range, OptName::LocalPortRange, expected.map(|()| range));
    }
}

#[test]
fn options_that_are_only_kept() {
    use Kept::*;
    let bits = [
        Debug,
        Broadcast,
        NoCheck,
        RxqOvfl,
        WifiStatus,
        NoFcs,
        PreferBusyPoll,
        RcvMark,
        RcvPriority,
        RecvOpts,
        RetOpts,
        PktInfo,
        RecvTtl,
        RecvTos,
        PassSec,
        RecvOrigDstAddr,
        Checksum,
    ];
    let (mut stack, s) = fresh();
    for bit in bits {
        assert_eq!(
            stack.option(s, OptName::Kept(bit)),
            Ok(SockOpt::Kept(bit, 0))
        );
    }
    for (option, value, expected) in [
        (Priority, 12, Ok(12)),
        (Priority, -1, Ok(-1)),
        (Mark, -1, Ok(-1)),
        (BusyPoll, 5, Ok(5)),
        (BusyPoll, -1, Err(Invalid)),
        (TxRehash, -1, Ok(1)),
        (TxRehash, 0, Ok(0)),
        (TxRehash, 2, Err(Invalid)),
        (BsdCompat, 7, Ok(0)),
        (ThinDupack, 1, Ok(0)),
        (ThinDupack, 2, Err(Invalid)),
    ]
    .into_iter()
    .chain(bits.map(|bit| (bit, -1, Ok(1))))
    {
        let expected = expected.map(|value| SockOpt::Kept(option, value));
        check(
            SockOpt::Kept(option, value),
            OptName::Kept(option),
            expected,
        );
    }
    // One does not touch another.
    for bit in bits {
        stack.set_option(NOW, s, SockOpt::Kept(bit, 1)).unwrap();
        stack.set_option(NOW, s, SockOpt::Kept(bit, 0)).unwrap();
    }
    let rehash = OptName::Kept(TxRehash);
    assert_eq!(stack.option(s, rehash), Ok(SockOpt::Kept(TxRehash, 1)));
}

/// IP_TOS chooses the priority: `rt_tos2priority`, by bits 3 and 4.
#[test]
fn tos_and_priority() {
    for (tos, priority) in [
        (0x00, 0),
        (0x04, 0),
        (0x08, 2),
        (0x10, 6),
        (0x18, 4),
        (0xe0, 0),
        (0xfc, 4),
    ] {
        let expected = Ok(SockOpt::Kept(Kept::Priority, priority));
        check(SockOpt::Tos(tos), OptName::Kept(Kept::Priority), expected);
    }
}

#[test]
fn what_can_only_be_read() {
    let (mut stack, s) = fresh();
    let get = |stack: &Stack, name| stack.option(s, name);
    assert_eq!(get(&stack, OptName::Type), Ok(SockOpt::Type(1)));
    assert_eq!(get(&stack, OptName::Domain), Ok(SockOpt::Domain(2)));
    assert_eq!(get(&stack, OptName::Protocol), Ok(SockOpt::Protocol(6)));
    assert_eq!(get(&stack, OptName::SndLowat), Ok(SockOpt::SndLowat(1)));
    assert_eq!(get(&stack, OptName::IsMptcp), Ok(SockOpt::IsMptcp(false)));
    assert_eq!(get(&stack, OptName::Mtu), Err(NotConnected));
    let memory = [0, 131_072, 0, 16_384, 0, 0, 0, 0, 0];
    assert_eq!(get(&stack, OptName::MemInfo), Ok(SockOpt::MemInfo(memory)));
    assert_eq!(
        get(&stack, OptName::AcceptConn),
        Ok(SockOpt::AcceptConn(false))
    );
    stack.listen(s, 1).unwrap();
    assert_eq!(
        get(&stack, OptName::AcceptConn),
        Ok(SockOpt::AcceptConn(true))
    );
    let Ok(SockOpt::Cookie(mine)) = get(&stack, OptName::Cookie) else {
        panic!("no cookie");
    };
    stack.close(NOW, s).unwrap();
    let next = stack.tcp_socket().unwrap();
    let other = stack.option(next, OptName::Cookie);
    assert!(mine != 0 && other != Ok(SockOpt::Cookie(mine)));
    for option in [
        SockOpt::Type(1),
        SockOpt::AcceptConn(true),
        SockOpt::SndLowat(2),
        SockOpt::Cookie(1),
        SockOpt::Mtu(1),
    ] {
        assert_eq!(stack.set_option(NOW, next, option), Err(NoProtoOpt));
    }
    let stamp = SockOpt::Timestamp(7);
    assert_eq!(stack.set_option(NOW, next, stamp), Err(NotPermitted));
}

/// A window clamp is taken back only before the socket is used (Linux `tcp_set_window_clamp`).
#[test]
fn a_listener_keeps_its_window_clamp() {
    let (mut stack, s) = fresh();
    stack
        .set_option(NOW, s, SockOpt::WindowClamp(3000))
        .unwrap();
    stack.listen(s, 1).unwrap();
    let none = stack.set_option(NOW, s, SockOpt::WindowClamp(0));
    assert_eq!(none, Err(Invalid));
    assert_eq!(
        stack.option(s, OptName::WindowClamp),
        Ok(SockOpt::WindowClamp(3000))
    );
}
