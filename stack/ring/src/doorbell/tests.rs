use std::thread;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::*;
use crate::spsc;

/// How many descriptors are readable; `None` waits for ever.
fn readable(doorbell: &Doorbell, timeout: Option<&Timespec>) -> usize {
    let mut fds = [PollFd::new(doorbell, PollFlags::IN)];
    loop {
        match poll(&mut fds, timeout) {
            Err(Errno::INTR) => {}
            other => return other.expect("poll"),
        }
    }
}

const NOW: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};

#[test]
fn rings_only_when_armed_and_once() {
    let mut doorbell = Doorbell::new().expect("eventfd");
    let bells = [doorbell.bell(), doorbell.bell()];
    bells[0].ring();
    assert_eq!(readable(&doorbell, Some(&NOW)), 0, "not armed");

    doorbell.arm();
    for bell in &bells {
        bell.ring();
    }
    assert_eq!(readable(&doorbell, Some(&NOW)), 1);
    let mut count = [0; 8];
    assert_eq!(rustix::io::read(doorbell.fd(), &mut count), Ok(8));
    assert_eq!(u64::from_ne_bytes(count), 1, "one wake-up per sleep");
}

#[test]
fn disarm_empties_the_eventfd() {
    let mut doorbell = Doorbell::new().expect("eventfd");
    let bell = doorbell.bell();
    doorbell.arm();
    bell.ring();
    doorbell.disarm();
    assert_eq!(readable(&doorbell, Some(&NOW)), 0);
    doorbell.arm();
    doorbell.disarm();
    bell.ring();
    assert_eq!(readable(&doorbell, Some(&NOW)), 0, "nobody sleeps");
}

#[test]
fn a_bell_outlives_its_doorbell() {
    let mut doorbell = Doorbell::new().expect("eventfd");
    let bell = doorbell.bell();
    doorbell.arm();
    drop(doorbell);
    bell.ring();
}

/// Each message is answered before the next is sent, so both sides sleep all the time: a lost wake-up hangs the test.
#[test]
fn ping_pong_between_two_sleepers() {
    const ROUNDS: u32 = if cfg!(miri) { 20 } else { 5_000 };
    let (mut ping_tx, ping_rx) = spsc(2);
    let (pong_tx, mut pong_rx) = spsc(2);
    let mut here = Doorbell::new().expect("eventfd");
    let there = Doorbell::new().expect("eventfd");
    let (bell_here, bell_there) = (here.bell(), there.bell());

    fn receive(doorbell: &mut Doorbell, queue: &mut crate::Consumer<u32>) -> u32 {
        loop {
            doorbell.arm();
            let message = queue.pop();
            if message.is_none() {
                readable(doorbell, None);
            }
            doorbell.disarm();
            if let Some(message) = message {
                return message;
            }
        }
    }

    let echo = thread::spawn(move || {
        let (mut there, mut ping_rx, mut pong_tx) = (there, ping_rx, pong_tx);
        for _ in 0..ROUNDS {
            let message = receive(&mut there, &mut ping_rx);
            assert!(pong_tx.push(message + 1).is_ok());
            bell_here.ring();
        }
    });
    for round in 0..ROUNDS {
        assert!(ping_tx.push(round).is_ok());
        bell_there.ring();
        assert_eq!(receive(&mut here, &mut pong_rx), round + 1);
    }
    assert!(echo.join().is_ok());
}
