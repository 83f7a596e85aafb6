//! Timers: what the wheel brings up, budgeted, and the neighbour table's.

use crate::core::Stack;
use crate::ids::{SockId, SockKind};
use crate::stats::Counter;
use crate::tcp::timer;
use crate::wheel::TimerEntry;
use millrace_wire::time::Instant;

impl Stack {
    /// Runs the timers that are due.
    pub fn tick(&mut self, now: Instant) {
        self.ctx.now = now;
        self.ctx.wheel.advance(now);
        for _ in 0..self.limits.tick_budget {
            let Some(id) = self.ctx.wheel.pop_due() else {
                self.ctx.check_memory();
                self.tick_neigh(now);
                return;
            };
            self.timer(id);
        }
        self.ctx.mib.inc(Counter::MillraceTickBudget);
        self.tick_neigh(now);
    }

    fn tick_neigh(&mut self, now: Instant) {
        if self.ctx.neigh.next_deadline().is_some_and(|at| at <= now) {
            self.ctx.neigh.tick(now);
            self.flush_neigh();
        }
    }

    fn timer(&mut self, id: SockId) {
        match id.kind() {
            SockKind::Request => self.request_timeout(id),
            SockKind::TimeWait => self.time_wait_timer(id),
            SockKind::Tcp => {
                if let Some(sk) = self.socks.tcp.get_mut(id) {
                    sk.warm.wheel = TimerEntry::default();
                    timer::fire(sk, &mut self.ctx);
                    self.settle(id);
                }
            }
        }
    }

    /// When to call [`Stack::tick`] next, if nothing happens before.
    pub fn next_deadline(&self) -> Option<Instant> {
        [
            self.ctx.wheel.next_deadline(),
            self.ctx.neigh.next_deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }
}
