//! Filling in the forms of those who look on.

use std::io;

use super::Worker;
use crate::control::inquiry::{Counters, Inquirer, Inquiry, QueueCounters, channel};

impl Worker {
    /// Opens the worker to questions; for the one thread that asks. Whoever was there before is not heard any more. To be
    /// called when the worker has all its queues.
    ///
    /// # Errors
    ///
    /// Those of `eventfd(2)`.
    pub fn inquirer(&mut self) -> io::Result<Inquirer> {
        let (inquirer, desk) = channel(self.doorbell.bell(), self.queues.len())?;
        self.inbox.desk = Some(desk);
        Ok(inquirer)
    }

    /// Fills in one form, if there is one. Allocates nothing.
    pub(super) fn answer(&mut self) -> bool {
        let Some(mut form) = self.inbox.desk.as_mut().and_then(|desk| desk.take()) else {
            return false;
        };
        self.stats.inquiries += 1;
        match &mut form {
            Inquiry::Counters(counters) => self.tell_counters(counters),
            Inquiry::Socks(page) => {
                page.socks.clear();
                page.next = self
                    .stack
                    .diag_page(self.now, page.from, page.states, &mut page.socks);
            }
        }
        if let Some(desk) = &mut self.inbox.desk {
            desk.give_back(form);
        }
        true
    }

    fn tell_counters(&self, form: &mut Counters) {
        let Counters {
            at,
            open,
            worker,
            census,
            mib,
            drops,
            queues,
        } = form;
        *at = self.now;
        *open = self.services.open();
        *worker = self.stats;
        *census = self.stack.census();
        mib.clone_from(self.stack.mib());
        drops.clone_from(self.stack.drops());
        queues.clear();
        let room = queues.capacity();
        queues.extend(self.queues.iter().take(room).map(|queue| QueueCounters {
            caps: queue.caps(),
            stats: queue.stats(),
        }));
    }
}
