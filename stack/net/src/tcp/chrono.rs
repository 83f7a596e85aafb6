//! What a sender spends its time with (Linux `tcp_chrono_*`): with anything to send at all, and of that time, held up by
//! the peer's window or by its own buffer.

use crate::tcp::sock::TcpSock;
use crate::tcp::state::{StateSet, TcpState};
use millrace_wire::time::Instant;

/// What holds it up; each one counts before those in front of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub(crate) enum Kind {
    /// There is nothing to send.
    #[default]
    Idle,
    /// Nothing in particular.
    Busy,
    /// The peer's window.
    Window,
    /// The send buffer: the application would give more.
    Buffer,
}

/// The clock.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Chrono {
    kind: Kind,
    /// Since when, ms (low 32 bits).
    since: u32,
    /// Time spent so far by kind, ms.
    spent: [u32; 3],
}

impl Chrono {
    #[inline]
    fn set(&mut self, now: Instant, kind: Kind) {
        let now = now.as_millis() as u32;
        self.add(now);
        self.since = now;
        self.kind = kind;
    }

    fn add(&mut self, now: u32) {
        let gone = now.wrapping_sub(self.since);
        match self.kind {
            Kind::Idle => {}
            Kind::Busy => self.spent[0] += gone,
            Kind::Window => self.spent[1] += gone,
            Kind::Buffer => self.spent[2] += gone,
        }
    }

    /// This holds up the sender, unless something worse does.
    #[inline]
    pub(crate) fn start(&mut self, now: Instant, kind: Kind) {
        if kind > self.kind {
            self.set(now, kind);
        }
    }

    /// Nothing is queued or in the network any more.
    #[inline]
    pub(crate) fn idle(&mut self, now: Instant) {
        if self.kind != Kind::Idle {
            self.set(now, Kind::Idle);
        }
    }

    /// This does not hold it up any more, though there is more to send.
    #[inline]
    pub(crate) fn stop(&mut self, now: Instant, kind: Kind) {
        if kind == self.kind {
            self.set(now, Kind::Busy);
        }
    }

    /// Time with anything to send, held up by the window, and by the buffer; ms.
    pub(crate) fn times(&self, now: Instant) -> [u32; 3] {
        let mut until = *self;
        until.add(now.as_millis() as u32);
        let [busy, window, buffer] = until.spent;
        [busy + window + buffer, window, buffer]
    }
}

/// The queue is empty, the buffer was full, and the window is open: the buffer is what holds up the sender (Linux
/// `tcp_cwnd_validate`).
pub(crate) fn check_buffer(sk: &mut TcpSock, now: Instant) {
    let open = StateSet::of(&[TcpState::Established, TcpState::CloseWait]);
    if sk.warm.no_space && !sk.has_unsent() && sk.rx.state.is_in(open) {
        sk.warm.chrono.start(now, Kind::Buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn time_goes_to_the_worst_that_holds_up_and_to_the_whole() {
        let mut chrono = Chrono::default();
        chrono.start(at(10), Kind::Busy);
        chrono.start(at(15), Kind::Window);
        chrono.start(at(17), Kind::Busy);
        assert_eq!(chrono.times(at(20)), [10, 5, 0], "the window still does");
        chrono.stop(at(25), Kind::Window);
        chrono.start(at(30), Kind::Buffer);
        chrono.stop(at(31), Kind::Window);
        chrono.idle(at(37));
        assert_eq!(chrono.times(at(100)), [27, 10, 7]);
    }
}
