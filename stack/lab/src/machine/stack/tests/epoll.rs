//! epoll: checks, order, triggers, and who is woken, as a Linux kernel does it.

use millrace_posix::call::{Call, EpollEvent, Fd, Out};
use millrace_wire::tcp::TcpFlags;

use crate::machine::Machine;

use super::peer::{Lab, connect, errno, poll, read, write};

const ACK: TcpFlags = TcpFlags::ACK;
const IN: u32 = libc::EPOLLIN as u32;
const OUT: u32 = libc::EPOLLOUT as u32;
const ET: u32 = libc::EPOLLET as u32;
const ONESHOT: u32 = libc::EPOLLONESHOT as u32;
const EXCLUSIVE: u32 = libc::EPOLLEXCLUSIVE as u32;
const RDHUP: u32 = libc::EPOLLRDHUP as u32;
const ADD: i32 = libc::EPOLL_CTL_ADD;
const MOD: i32 = libc::EPOLL_CTL_MOD;
const DEL: i32 = libc::EPOLL_CTL_DEL;

fn create(lab: &mut Lab) -> Fd {
    lab.value(Call::EpollCreate { flags: 0 }) as Fd
}

fn ctl(lab: &mut Lab, epfd: Fd, op: i32, fd: Fd, events: u32) -> i64 {
    let data = u64::from(fd.cast_unsigned());
    lab.value(Call::EpollCtl {
        epfd,
        op,
        fd,
        event: Some(EpollEvent { events, data }),
    })
}

fn add(lab: &mut Lab, epfd: Fd, fd: Fd, events: u32) {
    assert_eq!(ctl(lab, epfd, ADD, fd, events), 0);
}

fn wait(epfd: Fd, max: i32, timeout: i32) -> Call {
    Call::EpollWait { epfd, max, timeout }
}

/// Descriptors and their events now.
fn events(lab: &mut Lab, epfd: Fd, max: i32) -> Vec<(Fd, u32)> {
    let returned = lab.call(wait(epfd, max, 0));
    let Out::Epoll(events) = returned.out else {
        panic!("errno {}", returned.errno);
    };
    assert_eq!(returned.value, events.len() as i64);
    events.iter().map(|e| (e.data as Fd, e.events)).collect()
}

#[test]
fn wrong_calls_are_refused_in_the_kernels_order() {
    let mut lab = Lab::new();
    let [bad, inval, perm] = [libc::EBADF, libc::EINVAL, libc::EPERM].map(errno);
    let ep = create(&mut lab);
    let other = create(&mut lab);
    let s = lab.socket();
    let zeros = lab.value(Call::Open {
        path: "/dev/zero".to_owned(),
        flags: 0,
    }) as Fd;
    assert_eq!(ctl(&mut lab, ep, ADD, zeros, IN), perm);
    assert_eq!(ctl(&mut lab, ep, ADD, ep, IN), inval);
    assert_eq!(ctl(&mut lab, s, ADD, ep, IN), inval);
    assert_eq!(ctl(&mut lab, -1, ADD, 999, IN), bad);
    assert_eq!(ctl(&mut lab, ep, ADD, 999, IN), bad);
    let no_event = Call::EpollCtl {
        epfd: ep,
        op: ADD,
        fd: s,
        event: None,
    };
    assert_eq!(lab.value(no_event), errno(libc::EFAULT));
    assert_eq!(ctl(&mut lab, ep, ADD, s, IN | EXCLUSIVE | RDHUP), inval);
    assert_eq!(ctl(&mut lab, ep, ADD, s, IN | EXCLUSIVE | ONESHOT), inval);
    assert_eq!(ctl(&mut lab, ep, ADD, other, IN | EXCLUSIVE), inval);
    assert_eq!(ctl(&mut lab, ep, ADD, s, IN | OUT | RDHUP | 0x140), 0);
    assert_eq!(events(&mut lab, ep, 8), [(s, 0x114)]);
    assert_eq!(ctl(&mut lab, ep, ADD, s, IN), errno(libc::EEXIST));
    assert_eq!(ctl(&mut lab, ep, DEL, s, IN), 0);
    assert_eq!(ctl(&mut lab, ep, DEL, s, IN), errno(libc::ENOENT));
    assert_eq!(ctl(&mut lab, ep, MOD, s, IN), errno(libc::ENOENT));
    assert_eq!(ctl(&mut lab, ep, 9, s, IN), inval);
    assert_eq!(ctl(&mut lab, ep, ADD, s, IN | EXCLUSIVE), 0);
    assert_eq!(ctl(&mut lab, ep, MOD, s, IN), inval);
    assert_eq!(lab.value(wait(-1, 0, 0)), bad);
    assert_eq!(lab.value(wait(s, 1, 0)), inval);
    assert_eq!(lab.value(wait(ep, 0, 0)), inval);
    assert_eq!(lab.value(wait(ep, -1, 0)), inval);
    assert_eq!(ctl(&mut lab, ep, DEL, s, 0), 0);
    assert_eq!(ctl(&mut lab, ep, ADD, s, 0), 0);
    assert_eq!(events(&mut lab, ep, 8), [(s, 0x10)], "always told");
    assert_eq!(lab.value(Call::EpollCreate { flags: 1 }), inval);
}

#[test]
fn epolls_nest_four_deep_and_never_in_circles() {
    let mut lab = Lab::new();
    let up: Vec<_> = (0..8).map(|_| create(&mut lab)).collect();
    let made: Vec<_> = (0..7)
        .map(|i| ctl(&mut lab, up[i + 1], ADD, up[i], IN))
        .collect();
    let eloop = errno(libc::ELOOP);
    assert_eq!(made, [0, 0, 0, 0, eloop, 0, 0]);
    let down: Vec<_> = (0..8).map(|_| create(&mut lab)).collect();
    let made: Vec<_> = (0..7)
        .map(|i| ctl(&mut lab, down[i], ADD, down[i + 1], IN))
        .collect();
    assert_eq!(made, [0, 0, 0, 0, eloop, 0, 0]);
    let (a, b) = (create(&mut lab), create(&mut lab));
    assert_eq!(ctl(&mut lab, a, ADD, b, IN), 0);
    assert_eq!(ctl(&mut lab, b, ADD, a, IN), eloop);
}

/// Three connections of one listener, with the peer's ports in ascending order.
struct Three {
    lab: Lab,
    fds: [Fd; 3],
}

impl Three {
    fn new() -> Self {
        let mut lab = Lab::new();
        let listener = lab.listener();
        let fds = [0, 1, 2].map(|i| {
            lab.use_port(i);
            lab.child(listener)
        });
        Self { lab, fds }
    }

    /// The peer of connection `i` sends.
    fn segment(&mut self, i: u16, flags: TcpFlags, seq: u32, ack: u32, len: usize) {
        self.lab.use_port(i);
        self.lab.segment(flags, seq, ack, len);
    }

    /// Connections by number instead of descriptor.
    fn events(&mut self, epfd: Fd, max: i32) -> Vec<(usize, u32)> {
        let events = events(&mut self.lab, epfd, max);
        let number = |fd| self.fds.iter().position(|own| *own == fd);
        let named = |(fd, bits)| (number(fd).expect("one of them"), bits);
        events.into_iter().map(named).collect()
    }
}

#[test]
fn level_triggered_items_go_to_the_tail() {
    let mut three = Three::new();
    let ep = create(&mut three.lab);
    for fd in three.fds {
        add(&mut three.lab, ep, fd, IN);
    }
    for i in [2, 0, 1] {
        three.segment(i, ACK, 1, 1, 1);
    }
    let names = |three: &mut Three, max| {
        let events = three.events(ep, max);
        events.into_iter().map(|(i, _)| i).collect::<Vec<_>>()
    };
    // As a kernel answered.
    assert_eq!(names(&mut three, 8), [2, 0, 1]);
    assert_eq!(names(&mut three, 8), [2, 0, 1]);
    assert_eq!(names(&mut three, 1), [2]);
    assert_eq!(names(&mut three, 1), [0]);
    assert_eq!(names(&mut three, 1), [1]);
    assert_eq!(names(&mut three, 2), [2, 0]);
    assert_eq!(names(&mut three, 2), [1, 2]);
    assert_eq!(names(&mut three, 8), [0, 1, 2]);
}

#[test]
fn edge_triggered_items_fire_once_per_wake_up() {
    let mut three = Three::new();
    let ep = create(&mut three.lab);
    for fd in three.fds {
        add(&mut three.lab, ep, fd, IN | OUT | ET);
    }
    assert_eq!(three.events(ep, 8), [(0, 4), (1, 4), (2, 4)]);
    assert_eq!(three.events(ep, 8), []);
    three.segment(1, ACK, 1, 1, 1);
    assert_eq!(three.events(ep, 8), [(1, 5)]);
    three.segment(1, ACK, 2, 1, 1);
    assert_eq!(
        three.events(ep, 8),
        [(1, 5)],
        "more data, though ready before"
    );
    let fd = three.fds[1];
    let how = libc::SHUT_WR;
    assert_eq!(three.lab.value(Call::Shutdown { fd, how }), 0);
    assert_eq!(three.events(ep, 8), [(1, 5)], "an own shutdown wakes");
    three.segment(1, ACK, 3, 2, 0);
    assert_eq!(three.events(ep, 8), [(1, 5)], "so does the ACK of the FIN");
    three.segment(2, TcpFlags::FIN | ACK, 1, 1, 0);
    assert_eq!(three.events(ep, 8), [(2, 5)], "and the peer's FIN");
    three.segment(0, TcpFlags::RST | ACK, 1, 1, 0);
    assert_eq!(three.events(ep, 8), [(0, 0x1d)]);
    assert_eq!(three.events(ep, 8), []);
}

#[test]
fn an_acknowledgement_wakes_a_writer_only_after_it_met_a_full_buffer() {
    let mut lab = Lab::new();
    let listener = lab.listener();
    let fd = lab.child(listener);
    let ep = create(&mut lab);
    add(&mut lab, ep, fd, OUT | ET);
    assert_eq!(events(&mut lab, ep, 8), [(fd, OUT)]);
    assert_eq!(lab.value(write(fd, 1000)), 1000);
    lab.segment(ACK, 1, 1001, 0);
    assert_eq!(events(&mut lab, ep, 8), []);
    let nonblocking = Call::Fcntl {
        fd,
        cmd: libc::F_SETFL,
        arg: libc::O_NONBLOCK.into(),
    };
    assert_eq!(lab.value(nonblocking), 0);
    assert!(lab.value(write(fd, 10_000_000)) > 0);
    let all = lab.last_sent_end();
    lab.segment(ACK, 1, all, 0);
    assert_eq!(events(&mut lab, ep, 8), [(fd, OUT)]);
}

#[test]
fn a_one_shot_item_sleeps_until_it_is_modified() {
    let mut lab = Lab::new();
    let listener = lab.listener();
    let fd = lab.child(listener);
    let ep = create(&mut lab);
    add(&mut lab, ep, fd, IN | ONESHOT);
    lab.segment(ACK, 1, 1, 1);
    assert_eq!(events(&mut lab, ep, 8), [(fd, IN)]);
    lab.segment(ACK, 2, 1, 1);
    assert_eq!(events(&mut lab, ep, 8), []);
    assert_eq!(ctl(&mut lab, ep, MOD, fd, IN | ONESHOT), 0);
    assert_eq!(events(&mut lab, ep, 8), [(fd, IN)]);
}

#[test]
fn the_end_of_a_connection_attempt_is_told() {
    let mut lab = Lab::new();
    let fd = lab.socket_of(libc::SOCK_STREAM | libc::SOCK_NONBLOCK);
    let ep = create(&mut lab);
    assert_eq!(lab.value(connect(fd)), errno(libc::EINPROGRESS));
    add(&mut lab, ep, fd, IN | OUT | ET);
    let waiting = lab.waits(wait(ep, 8, 1000));
    lab.pass(3);
    lab.answer_syn(TcpFlags::SYN | ACK);
    let (returned, at) = lab.machine_returned(waiting);
    let data = u64::from(fd.cast_unsigned());
    let told = vec![EpollEvent { events: OUT, data }];
    assert_eq!((returned.out, at.as_millis()), (Out::Epoll(told), 3));
}

#[test]
fn epoll_wait_times_out() {
    let mut lab = Lab::new();
    let listener = lab.listener();
    let ep = create(&mut lab);
    add(&mut lab, ep, listener, IN);
    let waiting = lab.waits(wait(ep, 8, 20));
    lab.pass(100);
    assert_eq!(lab.returned(waiting), Some((0, 20)));
    let signalled = lab.waits(wait(ep, 8, -1));
    let returned = lab.machine.interrupt(signalled).expect("alive");
    assert_eq!(returned.expect("waits").errno, libc::EINTR);
    lab.handshake();
    assert_eq!(events(&mut lab, ep, 8), [(listener, IN)]);
}

#[test]
fn of_several_that_wait_the_last_is_woken() {
    let mut lab = Lab::new();
    let listener = lab.listener();
    let fd = lab.child(listener);
    let ep = create(&mut lab);
    add(&mut lab, ep, fd, IN | ET);
    let first = lab.waits(wait(ep, 8, -1));
    let last = lab.waits(wait(ep, 8, -1));
    lab.segment(ACK, 1, 1, 1);
    assert_eq!(lab.returned(first), None);
    assert_eq!(lab.returned(last), Some((1, 0)));
    lab.segment(ACK, 2, 1, 1);
    assert_eq!(lab.returned(first), Some((1, 0)));
}

#[test]
fn a_level_triggered_event_goes_through_all_that_wait() {
    let mut lab = Lab::new();
    let listener = lab.listener();
    let fd = lab.child(listener);
    let ep = create(&mut lab);
    add(&mut lab, ep, fd, IN);
    let waiting: Vec<_> = (0..3).map(|_| lab.waits(wait(ep, 8, -1))).collect();
    lab.segment(ACK, 1, 1, 1);
    for ticket in waiting {
        assert_eq!(lab.returned(ticket), Some((1, 0)));
    }
}

#[test]
fn one_exclusive_epoll_is_woken_per_connection() {
    let mut lab = Lab::new();
    let listener = lab.listener();
    let eps = [0; 3].map(|_| create(&mut lab));
    for ep in eps {
        add(&mut lab, ep, listener, IN | EXCLUSIVE);
    }
    // Nobody waits on the first: it hears of the connection, but another is woken.
    let second = lab.waits(wait(eps[1], 8, -1));
    let third = lab.waits(wait(eps[2], 8, -1));
    lab.handshake();
    assert_eq!(lab.returned(second), Some((1, 0)));
    assert_eq!(lab.returned(third), None);
    assert_eq!(events(&mut lab, eps[0], 8), [(listener, IN)]);
    lab.next_port();
    lab.handshake();
    assert_eq!(lab.returned(third), Some((1, 0)));
}

#[test]
fn connections_of_one_batch_wake_one_exclusive_epoll_each() {
    let mut lab = Lab::new();
    let listener = lab.listener();
    let eps = [0; 3].map(|_| create(&mut lab));
    for ep in eps {
        add(&mut lab, ep, listener, IN | EXCLUSIVE);
    }
    let waiting = eps.map(|ep| lab.waits(wait(ep, 8, -1)));
    let mut last = Vec::new();
    for port in [0, 1] {
        lab.use_port(port);
        lab.listen_port();
        lab.syn();
        last.push(lab.packet(ACK, (1, 1), 0));
    }
    lab.machine.inject(&last).expect("injected");
    assert_eq!(
        waiting.map(|ticket| lab.returned(ticket)),
        [Some((1, 0)), Some((1, 0)), None]
    );
}

#[test]
fn an_epoll_in_an_epoll_is_readable() {
    let mut lab = Lab::new();
    let listener = lab.listener();
    let fd = lab.child(listener);
    let (inner, outer) = (create(&mut lab), create(&mut lab));
    add(&mut lab, inner, fd, IN);
    add(&mut lab, outer, inner, IN);
    assert_eq!(lab.ready(inner), 0);
    let waiting = lab.waits(wait(outer, 8, -1));
    let polling = lab.waits(poll(&[(inner, 1)], -1));
    lab.segment(ACK, 1, 1, 1);
    assert_eq!(lab.returned(waiting), Some((1, 0)));
    assert_eq!(lab.returned(polling), Some((1, 0)));
    assert_eq!(events(&mut lab, outer, 8), [(inner, IN)]);
    assert_eq!(lab.value(read(fd, 1)), 1);
    assert_eq!(events(&mut lab, outer, 8), []);
}

#[test]
fn a_closed_file_is_watched_no_more() {
    let mut lab = Lab::new();
    let listener = lab.listener();
    let fd = lab.child(listener);
    let ep = create(&mut lab);
    add(&mut lab, ep, fd, IN | OUT);
    lab.close(fd);
    assert_eq!(events(&mut lab, ep, 8), []);
    let again = lab.socket();
    assert_eq!(again, fd, "the number is free");
    assert_eq!(ctl(&mut lab, ep, MOD, again, IN), errno(libc::ENOENT));
    add(&mut lab, ep, again, OUT);
    lab.close(ep);
    lab.close(again);
}
