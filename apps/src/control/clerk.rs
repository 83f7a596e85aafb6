//! The thread that answers on the control socket.
//!
//! It waits for everything at once: for callers, for the worker's answers, and for the end. Callers are bounded in number,
//! in what they may ask and in what waits for them, and each has a time limit; one form at a time is with the worker.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use millrace::control::inquiry::{Inquirer, Inquiry};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::thread::{sched_getaffinity, sched_setaffinity};

use super::caller::{Caller, Fate, Stage, Work, add_line};
use super::counters::{counter, counters};
use super::place::Seat;
use super::protocol::{About, Counter, Hello, Line, Report, Sock, VERSION};

/// Callers at a time.
const MAX_CALLERS: usize = 8;
/// How long the worker may take for an answer. A healthy one takes microseconds.
const WORKER_TIME: Duration = Duration::from_secs(2);
/// How long nobody is let in after the system had no descriptor left.
const PAUSE: Duration = Duration::from_millis(100);

/// Answers as long as it lives.
pub struct Clerk {
    /// Closed to stop the thread.
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl Clerk {
    /// Starts to answer at `seat`, asking the worker of `inquirer`, which has `core` to itself: the clerk leaves it alone.
    ///
    /// # Errors
    ///
    /// When there are no descriptors or threads left.
    pub fn start(
        seat: Seat,
        inquirer: Inquirer,
        about: About,
        core: Option<usize>,
    ) -> io::Result<Self> {
        let (stop, stopped) = UnixStream::pair()?;
        let mut hello = Vec::new();
        let first = Hello {
            millrace: VERSION,
            process: about,
        };
        add_line(&mut hello, &first);
        let desk = Desk {
            seat,
            stopped,
            inquirer,
            hello,
            callers: Vec::new(),
            asked_for: None,
            closed_until: None,
            counts: Counts::default(),
        };
        let thread = std::thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || {
                if let Some(core) = core {
                    leave(core);
                }
                desk.run();
            })?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

/// Keeps the calling thread off a core, if it may use another: one that is woken in the middle of a burst would hold it up.
fn leave(core: usize) {
    if let Ok(mut cores) = sched_getaffinity(None) {
        cores.unset(core);
        if cores.count() > 0 {
            // Where it is not allowed, the clerk is only a worse neighbour.
            let _ = sched_setaffinity(None, &cores);
        }
    }
}

impl Drop for Clerk {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What became of callers.
#[derive(Clone, Copy, Default)]
struct Counts {
    calls: u64,
    refused: u64,
    nonsense: u64,
    too_slow: u64,
    unanswered: u64,
}

impl Counts {
    fn report(&self) -> Vec<Counter> {
        let Self {
            calls,
            refused,
            nonsense,
            too_slow,
            unanswered,
        } = *self;
        [
            ("calls", "Calls on the control socket", calls),
            (
                "refused",
                "Of them refused because too many called at once",
                refused,
            ),
            (
                "nonsense",
                "Of them without a question that makes sense",
                nonsense,
            ),
            (
                "too_slow",
                "Of them ended because the caller was too slow",
                too_slow,
            ),
            (
                "unanswered",
                "Of them left without an answer by the worker",
                unanswered,
            ),
        ]
        .map(|(name, text, value)| counter("control", name, text, value))
        .into()
    }
}

/// The thread's state.
struct Desk {
    seat: Seat,
    stopped: UnixStream,
    inquirer: Inquirer,
    hello: Vec<u8>,
    /// Who was served last is last.
    callers: Vec<Caller>,
    /// For whom the worker has a form; that caller may be gone meanwhile.
    asked_for: Option<u64>,
    closed_until: Option<Instant>,
    counts: Counts,
}

/// What the thread was woken by.
enum Woken {
    /// The end.
    End,
    /// Something else.
    Work,
}

impl Desk {
    fn run(mut self) {
        loop {
            self.take_answers();
            self.ask_worker();
            self.give_up();
            match self.sleep() {
                Ok(Woken::Work) => {}
                Ok(Woken::End) => return,
                Err(error) => {
                    tracing::warn!(
                        "the control socket is closed: cannot wait for callers: {error}"
                    );
                    return;
                }
            }
        }
    }

    /// Sleeps until something is to be done, and lets callers advance.
    fn sleep(&mut self) -> io::Result<Woken> {
        self.inquirer.arm();
        if let Some(form) = self.inquirer.answer() {
            self.inquirer.disarm();
            self.take(form);
            return Ok(Woken::Work);
        }
        let timeout = self.timeout();
        let open = match self.closed_until {
            None => PollFlags::IN,
            Some(_) => PollFlags::empty(),
        };
        let mut fds = vec![
            PollFd::new(&self.stopped, PollFlags::IN),
            PollFd::from_borrowed_fd(self.inquirer.fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.seat.listener().as_fd(), open),
        ];
        fds.extend(
            self.callers
                .iter()
                .map(|caller| PollFd::new(caller.stream(), caller.interest())),
        );
        let polled = poll(&mut fds, timeout.as_ref());
        let seen: Vec<PollFlags> = fds.iter().map(PollFd::revents).collect();
        drop(fds);
        self.inquirer.disarm();
        match polled {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(Woken::Work),
            Err(errno) => return Err(errno.into()),
        }
        if !seen[0].is_empty() {
            return Ok(Woken::End);
        }
        self.advance(&seen[3..]);
        if !seen[2].is_empty() {
            self.let_in();
        }
        Ok(Woken::Work)
    }

    /// The time to the next deadline.
    fn timeout(&self) -> Option<Timespec> {
        let callers = self
            .callers
            .iter()
            .map(|caller| caller.deadline(WORKER_TIME));
        let next = callers.chain(self.closed_until).min()?;
        let left = next.saturating_duration_since(Instant::now());
        Timespec::try_from(left).ok()
    }

    fn advance(&mut self, seen: &[PollFlags]) {
        let counts = &mut self.counts;
        let mut seen = seen.iter();
        self.callers.retain_mut(|caller| {
            let seen = seen.next().copied().unwrap_or(PollFlags::empty());
            let fate = match seen.is_empty() {
                true => Fate::Stays,
                false => caller.advance(seen),
            };
            counts.nonsense += u64::from(fate == Fate::Nonsense);
            fate != Fate::Gone && !caller.is_done()
        });
    }

    /// Lets one caller in: before the next, those who have gone are seen to have gone.
    fn let_in(&mut self) {
        let stream = match self.seat.listener().accept() {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Without a descriptor for it the caller waits, and we do not spin.
                if error.kind() != io::ErrorKind::WouldBlock {
                    self.closed_until = Some(Instant::now() + PAUSE);
                }
                return;
            }
        };
        self.counts.calls += 1;
        if stream.set_nonblocking(true).is_err() {
            return;
        }
        let full = self.callers.len() >= MAX_CALLERS;
        let hello = if full { &[] } else { self.hello.as_slice() };
        let mut caller = Caller::new(self.counts.calls, stream, hello);
        if full {
            self.counts.refused += 1;
            caller.fail("too many look into this process at once; try again");
        }
        // What a refused caller does not take at once is not worth waiting for.
        if caller.advance(PollFlags::OUT) != Fate::Gone && !full {
            self.callers.push(caller);
        }
    }

    /// Hands the next form to the worker.
    fn ask_worker(&mut self) {
        while self.asked_for.is_none() {
            let Some(at) = self
                .callers
                .iter()
                .position(|caller| caller.wants().is_some())
            else {
                return;
            };
            let mut caller = self.callers.remove(at);
            if let Some(work) = caller.wants() {
                let form = match work {
                    Work::Counters => self.inquirer.counters(),
                    Work::Socks { from, states, .. } => self.inquirer.socks(from, states),
                };
                if self.inquirer.ask(form).is_ok() {
                    self.asked_for = Some(caller.id);
                    caller.moves_to(Stage::Fetching(work));
                } else {
                    self.counts.unanswered += 1;
                    caller.fail("the worker of this process has ended");
                }
            }
            self.callers.push(caller);
        }
    }

    fn take_answers(&mut self) {
        while let Some(form) = self.inquirer.answer() {
            self.take(form);
        }
    }

    /// A form has come back.
    fn take(&mut self, form: Inquiry) {
        let Some(id) = self.asked_for.take() else {
            return;
        };
        let Some(caller) = self.callers.iter_mut().find(|caller| caller.id == id) else {
            return;
        };
        match (form, caller.stage) {
            (Inquiry::Counters(form), Stage::Fetching(Work::Counters)) => {
                caller.tell(&Line::Counters(Report {
                    workers: vec![counters(&form)],
                    control: self.counts.report(),
                }));
                caller.moves_to(Stage::Ending);
            }
            (
                Inquiry::Socks(page),
                Stage::Fetching(Work::Socks {
                    states, info, told, ..
                }),
            ) => {
                let told = told + page.socks.len() as u64;
                for sock in &page.socks {
                    caller.tell(&Line::Sock(Box::new(Sock::of(sock, info))));
                }
                match page.next {
                    Some(from) => caller.moves_to(Stage::Waiting(Work::Socks {
                        from,
                        states,
                        info,
                        told,
                    })),
                    None => {
                        caller.tell(&Line::End { sockets: told });
                        caller.moves_to(Stage::Ending);
                    }
                }
            }
            // The caller was given up, and is only reading why.
            _ => return,
        }
        // Most callers have it at once.
        if caller.advance(PollFlags::OUT) == Fate::Gone || caller.is_done() {
            self.callers.retain(|caller| caller.id != id);
        }
    }

    /// Ends calls whose time is over.
    fn give_up(&mut self) {
        let now = Instant::now();
        if self.closed_until.is_some_and(|until| until <= now) {
            self.closed_until = None;
        }
        let counts = &mut self.counts;
        self.callers.retain_mut(|caller| {
            if caller.deadline(WORKER_TIME) > now {
                return true;
            }
            if caller.is_slow() || caller.stage == Stage::Ending {
                counts.too_slow += 1;
                return false;
            }
            counts.unanswered += 1;
            caller.fail(format!(
                "the worker of this process has not answered for {} s: it is stopped or stuck",
                WORKER_TIME.as_secs()
            ));
            caller.advance(PollFlags::OUT) != Fate::Gone && !caller.is_done()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_leaves_a_core_if_it_has_another() {
        let check = || {
            let before = sched_getaffinity(None).expect("cores");
            let taken = (0..1024).find(|&core| before.is_set(core)).expect("a core");
            leave(taken);
            let after = sched_getaffinity(None).expect("cores");
            assert_eq!(after.is_set(taken), before.count() == 1);
            assert_eq!(after.count(), (before.count() - 1).max(1));
        };
        std::thread::spawn(check).join().expect("a thread");
    }
}
