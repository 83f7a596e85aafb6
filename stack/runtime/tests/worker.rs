//! A worker without devices: commands, waking, draining, interruption, time.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use millrace::idle::{Idle, Rest, Wait};
use millrace::net::ops::{Accept, Op, Recv, Step};
use millrace::net::{Config, MsgFlags, Readiness, SockOpt};
use millrace::worker::{Phase, Stopped, Turn};
use millrace::{
    Adaptive, App, Client, ClientError, Clock, Command, Controller, Instant, Service, SockError,
    SockId, Stack, VirtualClock, Worker,
};

fn stack() -> Stack {
    Stack::new(Config::new([7; 32]))
}

/// A worker that sleeps as soon as it has nothing to do.
fn sleeper() -> (Worker, Controller) {
    Worker::new(
        stack(),
        millrace::TscClock::new(),
        Adaptive::new(Duration::ZERO),
    )
    .expect("a worker")
}

/// A worker in virtual time, where waiting moves the clock.
fn virtual_worker() -> (Worker, Controller, VirtualClock) {
    let clock = VirtualClock::new();
    let (worker, controller) =
        Worker::new(stack(), clock.clone(), Warp(clock.clone())).expect("a worker");
    (worker, controller, clock)
}

/// Time passes at once.
struct Warp(VirtualClock);

impl Idle for Warp {
    fn idle(&mut self, wait: Wait<'_>) -> io::Result<Rest> {
        self.0
            .advance_to(wait.deadline.expect("nothing will ever happen"));
        Ok(Rest::Slept)
    }
}

/// An application with one connection that never ends by itself.
#[derive(Default)]
struct Stubborn {
    open: usize,
}

impl Service for Stubborn {
    fn data(&mut self, _: &mut Stack, _: Instant, _: SockId, _: u64, bytes: &[u8]) -> usize {
        bytes.len()
    }

    fn ready(&mut self, _: &mut Stack, _: Instant, _: SockId, _: u64, _: Readiness) {}
}

impl App for Stubborn {
    fn tick(&mut self, _: &mut Stack, _: Instant) {}

    fn drain(&mut self, _: &mut Stack, _: Instant) {}

    fn abort(&mut self, _: &mut Stack, _: Instant) {
        self.open = 0;
    }

    fn open(&self) -> usize {
        self.open
    }
}

#[test]
fn a_command_wakes_a_sleeping_worker() {
    let (mut worker, mut controller) = sleeper();
    let (reported, reports) = channel();
    let running = thread::spawn(move || {
        worker.serve(Duration::from_secs(5), &mut |worker| {
            reported.send(worker.phase()).expect("test")
        })
    });
    // Each one waits until the one before was heard, so the worker goes to sleep in between.
    for _ in 0..50 {
        controller.send(Command::Report).expect("heard");
        assert_eq!(reports.recv().expect("a report"), Phase::Running);
    }
    controller.send(Command::Drain).expect("heard");
    assert_eq!(
        running.join().expect("worker").expect("no error"),
        Stopped::Drained
    );
    assert!(
        controller.send(Command::Report).is_err(),
        "the worker is gone"
    );
}

#[test]
fn draining_gives_up_after_its_time() {
    let (mut worker, mut controller, clock) = virtual_worker();
    worker.add_service(Box::new(Stubborn { open: 1 }));
    let start = clock.now();
    controller.send(Command::Drain).expect("heard");
    let stopped = worker
        .serve(Duration::from_secs(5), &mut |_| {})
        .expect("no error");
    assert_eq!(stopped, Stopped::Aborted { connections: 1 });
    assert_eq!(clock.now().since(start), Duration::from_secs(5));
}

#[test]
fn an_abort_does_not_wait() {
    let (mut worker, mut controller, clock) = virtual_worker();
    worker.add_service(Box::new(Stubborn { open: 2 }));
    let start = clock.now();
    controller.send(Command::Drain).expect("heard");
    controller.send(Command::Abort).expect("heard");
    let stopped = worker
        .serve(Duration::from_secs(5), &mut |_| {})
        .expect("no error");
    assert_eq!(stopped, Stopped::Aborted { connections: 2 });
    assert_eq!(clock.now(), start);
}

#[test]
fn commands_are_taken_in_bounded_numbers() {
    let (mut worker, mut controller, _) = virtual_worker();
    let mut sent = 0;
    while controller.send(Command::Report).is_ok() {
        sent += 1;
    }
    assert_eq!(sent, 64);
    let (mut turns, mut worked) = (0, 0);
    while worked < 4 {
        turns += 1;
        if worker.turn() == Turn::Worked {
            worked += 1;
        }
    }
    assert_eq!((turns, worker.stats().command_budget_hits), (4, 4));
    assert_eq!(worker.turn(), Turn::Idle);
}

#[test]
fn a_stop_interrupts_a_blocked_operation() {
    let (mut worker, mut controller) = sleeper();
    let listener = worker.stack().tcp_socket().expect("a socket");
    worker
        .stack()
        .bind(listener, SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 80))
        .expect("bind");
    worker.stack().listen(listener, 1).expect("listen");
    let (blocked, is_blocked) = channel();
    let stopper = thread::spawn(move || {
        is_blocked.recv().expect("test");
        controller.send(Command::Drain).expect("heard");
    });
    blocked.send(()).expect("test");
    match worker.run(&mut Accept::new(listener)) {
        Err(ClientError::Socket(SockError::Interrupted)) => {}
        other => panic!("{:?}", other.map(|_| ())),
    }
    stopper.join().expect("stopper");
}

#[test]
fn a_timeout_ends_a_blocked_operation() {
    let (mut worker, _controller, clock) = virtual_worker();
    let (stack, now) = worker.fresh();
    let listener = stack.tcp_socket().expect("a socket");
    stack
        .bind(listener, SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 80))
        .expect("bind");
    stack
        .set_option(
            now,
            listener,
            SockOpt::RcvTimeo(Some(Duration::from_secs(3))),
        )
        .expect("option");
    stack.listen(listener, 1).expect("listen");
    match worker.run(&mut Accept::new(listener)) {
        Err(ClientError::Socket(SockError::WouldBlock)) => {}
        other => panic!("{:?}", other.map(|_| ())),
    }
    assert!(clock.now().since(now) >= Duration::from_secs(3));
    assert!(clock.now().since(now) < Duration::from_secs(4));
}

#[test]
fn errors_of_an_operation_come_through() {
    let (mut worker, _controller, _) = virtual_worker();
    let (stack, now) = worker.fresh();
    let sock = stack.tcp_socket().expect("a socket");
    let mut byte = [0];
    match Recv::new(sock, &mut byte, MsgFlags::NONE).step(stack, now) {
        Step::Done(Err(SockError::NotConnected)) => {}
        _ => panic!("not connected"),
    }
    let to = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 80);
    match Client::new(&mut worker).connect(to) {
        Err(ClientError::Socket(SockError::NetUnreachable)) => {}
        other => panic!("{:?}", other.map(|_| ())),
    }
}

#[test]
fn time_is_booked_where_it_went() {
    let (mut worker, mut controller, clock) = virtual_worker();
    let spent = |worker: &Worker| {
        let stats = worker.stats();
        (stats.busy_ns, stats.poll_ns, stats.sleep_ns)
    };
    assert_eq!(worker.turn(), Turn::Idle);
    let (busy, _, _) = spent(&worker);
    clock.advance(Duration::from_nanos(10));
    controller.send(Command::Report).expect("heard");
    assert_eq!(worker.turn(), Turn::Worked);
    assert_eq!(
        spent(&worker),
        (busy, 10, 0),
        "the first turn found nothing to do"
    );
    clock.advance(Duration::from_nanos(7));
    assert_eq!(worker.turn(), Turn::Idle);
    assert_eq!(spent(&worker), (busy + 7, 10, 0), "the second one did");
    worker
        .rest(Some(clock.now() + Duration::from_nanos(100)))
        .expect("rest");
    assert_eq!(worker.turn(), Turn::Idle);
    let (_, polling, sleeping) = spent(&worker);
    assert_eq!((polling, sleeping), (10, 100));
}
