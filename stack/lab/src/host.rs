//! One stack in virtual time, with somebody holding the other end of its only interface by hand.
//!
//! This is what a worker does, without a driver: frames are injected, what the stack sends is collected, and time
//! jumps from deadline to deadline. The script interpreter and the fuzz bodies stand on it.

use std::collections::VecDeque;

use millrace_net::{Config, IfaceConfig, IfaceId, Readiness, Service, SetupError, SockId, Stack};
use millrace_wire::frame::{RxFrame, RxMeta, TxBatch};
use millrace_wire::time::Instant;

use crate::clock::VirtualClock;

/// Most frames handed to the stack at once (a NAPI budget).
const BURST: usize = 64;

/// Slots offered to the stack per transmit call.
const SLOTS: usize = 256;

/// Deadlines the stack may name in a row without letting time pass.
const MAX_STALL: u32 = 10_000;

/// A frame the stack has sent.
#[derive(Debug, Clone)]
pub struct SentFrame {
    /// When.
    pub at: Instant,
    /// The bytes, from the link header on.
    pub bytes: Vec<u8>,
}

/// The stack keeps naming a deadline that has passed: its timers would spin a real worker for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stack names a deadline again and again that has already passed")]
pub struct Stalled;

/// A stack with one interface, a clock, and the frames it has sent.
pub struct Host {
    stack: Stack,
    iface: IfaceId,
    max_frame: usize,
    clock: VirtualClock,
    sent: VecDeque<SentFrame>,
    wakes: Wakes,
}

impl Host {
    /// A stack with one interface; addresses and routes are the caller's.
    ///
    /// # Errors
    /// What [`Stack::add_iface`] finds wrong with the interface.
    pub fn new(config: Config, iface: IfaceConfig) -> Result<Self, SetupError> {
        let max_frame = usize::from(iface.link.mtu) + 18;
        let mut stack = Stack::new(config);
        let iface = stack.add_iface(iface)?;
        Ok(Self {
            stack,
            iface,
            max_frame,
            clock: VirtualClock::default(),
            sent: VecDeque::new(),
            wakes: Wakes::default(),
        })
    }

    /// The stack, for socket calls; [`Host::flush`] follows.
    pub fn stack(&mut self) -> &mut Stack {
        &mut self.stack
    }

    /// The stack, to look at.
    pub fn stack_ref(&self) -> &Stack {
        &self.stack
    }

    /// The interface.
    pub fn iface(&self) -> IfaceId {
        self.iface
    }

    /// The time.
    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    /// Frames sent and not yet looked at, oldest first.
    pub fn sent(&mut self) -> &mut VecDeque<SentFrame> {
        &mut self.sent
    }

    /// Wake-ups of watched sockets since the last look, oldest first: the watcher's value, and what for.
    pub fn take_wakes(&mut self) -> Vec<(u64, Readiness)> {
        core::mem::take(&mut self.wakes.0)
    }

    /// Hands `frames` to the stack as one batch (in bursts of 64 when there are more), and lets it answer.
    pub fn inject(&mut self, frames: &mut [Vec<u8>]) {
        for burst in frames.chunks_mut(BURST) {
            let mut lent: Vec<RxFrame<'_>> = burst
                .iter_mut()
                .map(|frame| RxFrame::new(frame.as_mut_slice(), RxMeta::default()))
                .collect();
            let now = self.clock.now();
            self.stack.rx(now, self.iface, &mut lent);
            self.stack.deliver(now, &lent, &mut self.wakes);
        }
        self.flush();
    }

    /// Lets the stack send what it has to send now.
    pub fn flush(&mut self) {
        let now = self.clock.now();
        self.stack.dispatch(now, &mut self.wakes);
        while self.stack.has_output(self.iface) {
            let mut slots = Slots {
                frames: Vec::new(),
                max_frame: self.max_frame,
            };
            self.stack.tx(now, self.iface, &mut slots);
            if slots.frames.is_empty() {
                break;
            }
            self.sent.extend(
                slots
                    .frames
                    .into_iter()
                    .map(|bytes| SentFrame { at: now, bytes }),
            );
        }
        self.stack.dispatch(now, &mut self.wakes);
    }

    /// Jumps to `at` (unless it has passed), serves timers there, and lets the stack send.
    pub fn tick_at(&mut self, at: Instant) {
        self.clock.advance_to(at);
        self.stack.tick(self.clock.now());
        self.flush();
    }

    /// When the stack next wants to be called.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.stack.next_deadline()
    }

    /// Lets time pass up to `to`, running what falls due on the way, and stops early, at the time of the event, as
    /// soon as `wanted` answers. The answer is returned; `None` means that `to` was reached.
    ///
    /// # Errors
    /// [`Stalled`] when the stack does not let time pass.
    pub fn run_until<T>(
        &mut self,
        to: Instant,
        wanted: &mut dyn FnMut(&mut Self) -> Option<T>,
    ) -> Result<Option<T>, Stalled> {
        let mut stall = 0;
        loop {
            if let Some(found) = wanted(self) {
                return Ok(Some(found));
            }
            match self.next_deadline() {
                Some(due) if due <= to => {
                    stall = if due > self.clock.now() { 0 } else { stall + 1 };
                    if stall > MAX_STALL {
                        return Err(Stalled);
                    }
                    self.tick_at(due);
                }
                _ => {
                    self.clock.advance_to(to);
                    return Ok(wanted(self));
                }
            }
        }
    }

    /// [`Host::run_until`] without looking for anything.
    ///
    /// # Errors
    /// [`Stalled`] when the stack does not let time pass.
    pub fn advance_to(&mut self, to: Instant) -> Result<(), Stalled> {
        self.run_until(to, &mut |_| None::<()>).map(|_| ())
    }
}

/// Empty slots as a driver would lend them.
struct Slots {
    frames: Vec<Vec<u8>>,
    max_frame: usize,
}

impl TxBatch for Slots {
    fn room(&self) -> usize {
        SLOTS - self.frames.len()
    }

    fn next(&mut self, len: usize) -> Option<&mut [u8]> {
        if len > self.max_frame || self.frames.len() == SLOTS {
            return None;
        }
        // Slots come with whatever stood in them before: a stack that leaves a byte unwritten must be seen to.
        self.frames.push(vec![0xa5; len]);
        self.frames.last_mut().map(Vec::as_mut_slice)
    }
}

/// Sockets here are never attached; who watches them is told later.
#[derive(Default)]
struct Wakes(Vec<(u64, Readiness)>);

impl Service for Wakes {
    fn data(&mut self, _: &mut Stack, _: Instant, _: SockId, _: u64, _: &[u8]) -> usize {
        0
    }

    fn ready(&mut self, _: &mut Stack, _: Instant, _: SockId, user: u64, ready: Readiness) {
        self.0.push((user, ready));
    }
}
