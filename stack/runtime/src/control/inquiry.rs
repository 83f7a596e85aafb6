//! Questions to a worker that runs: its counters, and its sockets by pages.
//!
//! A question is a form. The asking thread makes it with room for the answer, the worker fills it in and gives it back: the
//! worker allocates nothing, frees nothing and waits for nobody. It fills in one form per iteration, after its packets, a
//! page of sockets in many: questions cost no packet more than some microseconds. To wake the asking thread is a system call
//! and costs more than that, so a page is long.

use std::io;
use std::os::fd::BorrowedFd;

use millrace_net::{Census, DiagCursor, DiagSock, DropCounters, Instant, Mib};
use millrace_pmd::{Caps, QueueStats};
use millrace_ring::doorbell::{Bell, Doorbell};
use millrace_ring::spsc::{Consumer, Producer, spsc};

use super::Unheard;
use crate::worker::WorkerStats;

/// Questions under way.
const CAPACITY: usize = 4;
/// Sockets of one page: of a thousand sockets, two wake the asking thread.
const PAGE: usize = 512;
/// Sockets that a worker tells in one iteration.
const PER_TURN: usize = 16;

/// A form for a worker to fill in.
pub enum Inquiry {
    /// All counters.
    Counters(Box<Counters>),
    /// A page of sockets.
    Socks(Box<SockPage>),
}

/// All counters of a worker at one time.
#[derive(Clone)]
pub struct Counters {
    /// The worker's clock.
    pub at: Instant,
    /// Open connections of its services.
    pub open: usize,
    /// Its own counters.
    pub worker: WorkerStats,
    /// How many of everything its stack holds.
    pub census: Census,
    /// The MIB.
    pub mib: Mib,
    /// Refused packets by reason.
    pub drops: DropCounters,
    /// Its queues.
    pub queues: Vec<QueueCounters>,
}

/// A queue and its counters.
#[derive(Clone, Copy, Debug)]
pub struct QueueCounters {
    /// What it can do.
    pub caps: Caps,
    /// What it counted.
    pub stats: QueueStats,
}

/// A page of sockets.
pub struct SockPage {
    /// Where it begins, and while it is filled in where to go on.
    pub from: DiagCursor,
    /// The states that are asked for ([`millrace_net::TcpState::bit`]).
    pub states: u16,
    /// Where the next page begins; none after the last.
    pub next: Option<DiagCursor>,
    /// The sockets.
    pub socks: Vec<DiagSock>,
}

/// The asking end: belongs to one thread.
pub struct Inquirer {
    asked: Producer<Inquiry>,
    answered: Consumer<Inquiry>,
    /// Wakes the worker.
    bell: Bell,
    /// Rung by the worker.
    doorbell: Doorbell,
    queues: usize,
    /// Forms that have not come back.
    under_way: usize,
}

impl Inquirer {
    /// A form for all counters.
    pub fn counters(&self) -> Inquiry {
        Inquiry::Counters(Box::new(Counters {
            at: Instant::ZERO,
            open: 0,
            worker: WorkerStats::default(),
            census: Census::default(),
            mib: Mib::default(),
            drops: DropCounters::default(),
            queues: Vec::with_capacity(self.queues),
        }))
    }

    /// A form for a page of sockets in some states, from `from` on.
    pub fn socks(&self, from: DiagCursor, states: u16) -> Inquiry {
        Inquiry::Socks(Box::new(SockPage {
            from,
            states,
            next: None,
            socks: Vec::with_capacity(PAGE),
        }))
    }

    /// Hands a form to the worker and wakes it.
    ///
    /// # Errors
    ///
    /// [`Unheard`] when the worker has ended, or takes none because it is stuck.
    pub fn ask(&mut self, form: Inquiry) -> Result<(), Unheard> {
        if self.asked.is_abandoned() || self.under_way == CAPACITY {
            return Err(Unheard);
        }
        self.asked.push(form).map_err(|_| Unheard)?;
        self.under_way += 1;
        self.bell.ring();
        Ok(())
    }

    /// The next form that has come back, in the order of asking.
    pub fn answer(&mut self) -> Option<Inquiry> {
        let form = self.answered.pop()?;
        self.under_way -= 1;
        Some(form)
    }

    /// Prepares for sleeping on [`Self::fd`]. Look for an answer once more afterwards; [`Self::disarm`] when awake.
    pub fn arm(&mut self) {
        self.doorbell.arm();
    }

    /// Ends the sleep.
    pub fn disarm(&mut self) {
        self.doorbell.disarm();
    }

    /// What becomes readable when a form has come back.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.doorbell.fd()
    }
}

/// The answering end: belongs to the worker.
pub(crate) struct Desk {
    /// The form that is being filled in.
    open: Option<Inquiry>,
    /// The sockets of one iteration.
    some: Vec<DiagSock>,
    asked: Consumer<Inquiry>,
    answered: Producer<Inquiry>,
    bell: Bell,
}

impl Desk {
    /// The form to fill in, or to go on with.
    #[inline]
    pub(crate) fn take(&mut self) -> Option<Inquiry> {
        self.open.take().or_else(|| self.asked.pop())
    }

    /// Goes on with a page, by what `look` adds: whether it is full, or all sockets have been seen.
    pub(crate) fn fill(
        &mut self,
        page: &mut SockPage,
        look: impl FnOnce(DiagCursor, u16, &mut Vec<DiagSock>) -> Option<DiagCursor>,
    ) -> bool {
        self.some.clear();
        page.next = look(page.from, page.states, &mut self.some);
        page.socks.extend_from_slice(&self.some);
        match page.next {
            // The next part may be as long as this one can be.
            Some(cursor) if page.socks.len() + PER_TURN <= page.socks.capacity() => {
                page.from = cursor;
                false
            }
            _ => true,
        }
    }

    /// Keeps a form that is not filled in yet.
    pub(crate) fn keep(&mut self, form: Inquiry) {
        self.open = Some(form);
    }

    /// Gives a form back. There is room for all forms that are under way.
    pub(crate) fn give_back(&mut self, form: Inquiry) {
        if self.answered.push(form).is_ok() {
            self.bell.ring();
        }
    }

    /// Whether no form waits.
    pub(crate) fn is_empty(&mut self) -> bool {
        self.open.is_none() && self.asked.is_empty()
    }
}

/// Both ends. `worker` wakes the worker; `queues` is how many queues it has.
///
/// # Errors
///
/// Those of `eventfd(2)`.
pub(crate) fn channel(worker: Bell, queues: usize) -> io::Result<(Inquirer, Desk)> {
    let doorbell = Doorbell::new()?;
    let (asked, to_fill) = spsc(CAPACITY);
    let (answered, filled) = spsc(CAPACITY);
    let desk = Desk {
        open: None,
        some: Vec::with_capacity(PER_TURN),
        asked: to_fill,
        answered,
        bell: doorbell.bell(),
    };
    let inquirer = Inquirer {
        asked,
        answered: filled,
        bell: worker,
        doorbell,
        queues,
        under_way: 0,
    };
    Ok((inquirer, desk))
}
