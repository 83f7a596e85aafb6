//! Filling in the forms of those who look on.

use std::io;

use super::Worker;
use crate::control::inquiry::{Counters, Inquirer, Inquiry, QueueCounters, SockPage, channel};

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

    /// Fills in one form, or a part of a page of sockets, if there is one. Allocates nothing.
    pub(super) fn answer(&mut self) -> bool {
        let Some(mut form) = self.inbox.desk.as_mut().and_then(|desk| desk.take()) else {
            return false;
        };
        let done = match &mut form {
            Inquiry::Counters(counters) => {
                self.stats.inquiries += 1;
                self.tell_counters(counters);
                true
            }
            Inquiry::Socks(page) => {
                let done = self.tell_socks(page);
                self.stats.inquiries += u64::from(done);
                done
            }
        };
        if let Some(desk) = &mut self.inbox.desk {
            match done {
                true => desk.give_back(form),
                false => desk.keep(form),
            }
        }
        true
    }

    fn tell_socks(&mut self, page: &mut SockPage) -> bool {
        let Self {
            inbox, stack, now, ..
        } = self;
        inbox.desk.as_mut().is_none_or(|desk| {
            desk.fill(page, |from, states, some| {
                stack.diag_page(*now, from, states, some)
            })
        })
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
