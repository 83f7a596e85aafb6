//! Questions to a worker that runs, sleeps, or has ended.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::thread;
use std::time::Duration;

use millrace::control::Unheard;
use millrace::control::inquiry::{Inquirer, Inquiry};
use millrace::net::{Config, DiagCursor, DiagSock, TcpState};
use millrace::worker::{Stopped, Turn};
use millrace::{Adaptive, BusyPoll, Command, Controller, Stack, TscClock, Worker};

const ALL: u16 = u16::MAX;

/// A worker with `listeners` listeners that sleeps as soon as it has nothing to do.
fn sleeper(listeners: u16) -> (Worker, Controller) {
    let mut stack = Stack::new(Config::new([7; 32]));
    for port in 1..=listeners {
        let sock = stack.tcp_socket().expect("a socket");
        let at = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port);
        stack.bind(sock, at).expect("bind");
        stack.listen(sock, 1).expect("listen");
    }
    Worker::new(stack, TscClock::new(), Adaptive::new(Duration::ZERO)).expect("a worker")
}

/// Waits for the next answer, however long it takes.
fn wait(inquirer: &mut Inquirer) -> Inquiry {
    loop {
        if let Some(form) = inquirer.answer() {
            return form;
        }
        thread::yield_now();
    }
}

/// All sockets, by as many pages as there are.
fn all_socks(inquirer: &mut Inquirer, states: u16) -> (Vec<DiagSock>, usize) {
    let (mut socks, mut pages, mut from) = (Vec::new(), 0, Some(DiagCursor::default()));
    while let Some(cursor) = from {
        let form = inquirer.socks(cursor, states);
        inquirer.ask(form).expect("heard");
        let Inquiry::Socks(page) = wait(inquirer) else {
            panic!("a page of sockets")
        };
        socks.extend(page.socks);
        pages += 1;
        from = page.next;
    }
    (socks, pages)
}

#[test]
fn a_sleeping_worker_wakes_and_answers() {
    let (mut worker, mut controller) = sleeper(1500);
    let mut inquirer = worker.inquirer().expect("an inquirer");
    thread::scope(|scope| {
        let running = scope.spawn(|| worker.serve(Duration::ZERO, &mut |_| {}).expect("serves"));
        let (socks, pages) = all_socks(&mut inquirer, ALL);
        let mut ports: Vec<u16> = socks.iter().map(|sock| sock.local.port()).collect();
        ports.sort_unstable();
        assert_eq!(ports, (1..=1500).collect::<Vec<u16>>());
        assert!(pages >= 3, "a page has an end: {pages}");
        assert_eq!(
            all_socks(&mut inquirer, ALL & !TcpState::Listen.bit()).0,
            []
        );

        let form = inquirer.counters();
        inquirer.ask(form).expect("heard");
        let Inquiry::Counters(counters) = wait(&mut inquirer) else {
            panic!("counters")
        };
        assert_eq!(counters.census.listeners, 1500);
        assert!(counters.worker.sleeps > 0, "it slept in between");
        assert!(counters.worker.inquiries > pages as u64);

        controller.send(Command::Drain).expect("heard");
        assert_eq!(running.join().expect("a worker"), Stopped::Drained);
    });
    drop(worker);
    let form = inquirer.counters();
    assert_eq!(inquirer.ask(form), Err(Unheard));
}

#[test]
fn one_question_per_iteration_and_a_bound_on_those_that_wait() {
    let stack = Stack::new(Config::new([7; 32]));
    let (mut worker, _controller) =
        Worker::new(stack, TscClock::new(), BusyPoll).expect("a worker");
    let mut inquirer = worker.inquirer().expect("an inquirer");
    let mut asked = 0;
    while {
        let form = inquirer.counters();
        inquirer.ask(form).is_ok()
    } {
        asked += 1;
        assert!(asked < 100, "questions pile up");
    }
    for answered in 1..=asked {
        assert_eq!(worker.turn(), Turn::Worked);
        assert_eq!(worker.stats().inquiries, answered);
        let form = inquirer.answer();
        assert!(
            matches!(form, Some(Inquiry::Counters(counters)) if counters.worker.inquiries == answered)
        );
        assert!(inquirer.answer().is_none());
    }
    assert_eq!(worker.turn(), Turn::Idle);
}

/// A page is filled in little by little, and nobody is woken before it is done; the worker does not sleep on it.
#[test]
fn a_page_takes_many_iterations() {
    let (mut worker, _controller) = sleeper(100);
    let mut inquirer = worker.inquirer().expect("an inquirer");
    let form = inquirer.socks(DiagCursor::default(), ALL);
    inquirer.ask(form).expect("heard");
    let mut turns = 1;
    let page = loop {
        assert_eq!(worker.turn(), Turn::Worked);
        match inquirer.answer() {
            Some(Inquiry::Socks(page)) => break page,
            Some(_) => panic!("a page of sockets"),
            None => turns += 1,
        }
        assert!(turns < 100, "it is never done");
    };
    assert!(turns >= 6, "at most 16 sockets in each: {turns}");
    assert_eq!((page.socks.len(), page.next), (100, None));
    assert_eq!(worker.stats().inquiries, 1);
    assert_eq!(worker.turn(), Turn::Idle);
}

#[test]
fn an_asker_that_goes_away_is_not_missed() {
    let (mut worker, _controller) = sleeper(1);
    let mut gone = worker.inquirer().expect("an inquirer");
    let form = gone.counters();
    gone.ask(form).expect("heard");
    drop(gone);
    assert_eq!(worker.turn(), Turn::Worked);
    assert_eq!(worker.turn(), Turn::Idle);
    // The next asker is heard, and the one it replaced is told so.
    let mut first = worker.inquirer().expect("an inquirer");
    let mut second = worker.inquirer().expect("an inquirer");
    let form = first.counters();
    assert_eq!(first.ask(form), Err(Unheard));
    let form = second.counters();
    second.ask(form).expect("heard");
    assert_eq!(worker.turn(), Turn::Worked);
    assert!(second.answer().is_some());
}

/// The worker's part; what the asking side does is not counted.
#[test]
fn answering_allocates_nothing() {
    let (mut worker, _controller) = sleeper(1000);
    let mut inquirer = worker.inquirer().expect("an inquirer");
    let mut turn = |inquirer: &mut Inquirer, form| {
        inquirer.ask(form).expect("heard");
        loop {
            let spent = allocation_counter::measure(|| assert_eq!(worker.turn(), Turn::Worked));
            assert_eq!((spent.count_total, spent.count_current), (0, 0));
            if let Some(form) = inquirer.answer() {
                return form;
            }
        }
    };
    let form = inquirer.counters();
    turn(&mut inquirer, form);
    let form = inquirer.socks(DiagCursor::default(), ALL);
    let Inquiry::Socks(page) = turn(&mut inquirer, form) else {
        panic!("a page")
    };
    assert!(!page.socks.is_empty() && page.next.is_some());
}
