//! Threads inside a network namespace that make calls which may wait.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use millrace_lab::machine::Ticket;
use millrace_posix::call::{Call, Return};
use rustix::event::{EventfdFlags, eventfd};
use rustix::process::Pid;

use crate::fds::{self, Makes};
use crate::sys;

/// How long a call may go on without returning and without sleeping.
const BUSY: Duration = Duration::from_secs(20);

/// How often a sleeping call is looked at.
const LOOK: Duration = Duration::from_micros(50);

/// The number of futex(2), as the kernel prints it.
const FUTEX: &str = "202";

/// Most threads of one machine; each holds one call that waits.
const MOST: usize = 64;

/// What a call has returned.
#[derive(Debug)]
pub struct Answer {
    /// Which call.
    pub ticket: Ticket,
    /// The descriptors in it are new.
    pub makes: Makes,
    /// With real descriptors.
    pub answer: Return,
    /// When.
    pub at: Instant,
}

/// Whether a call that was started sleeps.
#[derive(Debug)]
pub enum Begun {
    /// It is over.
    Over(Answer),
    /// It sleeps.
    Sleeps,
}

/// The threads.
pub struct Callers {
    namespace: Arc<File>,
    threads: Vec<Caller>,
    answers: Receiver<(usize, Answer)>,
    answer: Sender<(usize, Answer)>,
    /// Calls that returned while another one was being started.
    early: VecDeque<Answer>,
    bell: Arc<OwnedFd>,
    tickets: u64,
}

struct Caller {
    tid: Pid,
    jobs: Option<Sender<(Ticket, Call)>>,
    /// Ticket of the call that has been entered, 0 for none.
    entered: Arc<AtomicU64>,
    busy: bool,
    thread: Option<JoinHandle<()>>,
}

impl Callers {
    /// No threads yet; those that come enter `namespace`.
    ///
    /// # Errors
    /// No descriptor for the doorbell.
    pub fn new(namespace: Arc<File>) -> io::Result<Self> {
        let (answer, answers) = mpsc::channel();
        let bell = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        Ok(Self {
            namespace,
            threads: Vec::new(),
            answers,
            answer,
            early: VecDeque::new(),
            bell: Arc::new(bell),
            tickets: 0,
        })
    }

    /// Becomes readable when a call returns.
    pub fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// Silences the bell; what rang it is looked for afterwards.
    pub fn heard(&self) {
        rustix::io::read(&*self.bell, &mut [0; 8]).ok();
    }

    /// A name for a call.
    pub fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    /// Starts a call on an idle thread and waits until it has returned or sleeps.
    ///
    /// # Errors
    /// No more threads, or the call neither returns nor sleeps.
    pub fn begin(&mut self, ticket: Ticket, call: Call) -> io::Result<Begun> {
        let index = self.idle()?;
        // Making a socket can wait for a lock, which is not what is meant here.
        let can_wait = !matches!(call, Call::Socket { .. });
        let caller = &mut self.threads[index];
        caller.busy = true;
        let sent = caller.jobs.as_ref().map(|jobs| jobs.send((ticket, call)));
        if !matches!(sent, Some(Ok(()))) {
            return Err(io::Error::other("a caller's thread has gone"));
        }
        let began = Instant::now();
        loop {
            let asleep = can_wait && self.threads[index].sleeps_in(ticket);
            // The answer is looked for after the sleep: a thread whose call is over has sent it before it sleeps.
            match self.answers.recv_timeout(LOOK) {
                Ok((from, answer)) => {
                    self.threads[from].busy = false;
                    if answer.ticket == ticket {
                        return Ok(Begun::Over(answer));
                    }
                    // Another one, which waited.
                    self.early.push_back(answer);
                }
                Err(RecvTimeoutError::Timeout) if asleep => return Ok(Begun::Sleeps),
                Err(_) if began.elapsed() > BUSY => {
                    return Err(io::Error::other("a call neither returns nor sleeps"));
                }
                Err(_) => {}
            }
        }
    }

    /// The next call that has returned.
    pub fn next(&mut self) -> Option<Answer> {
        if let Some(answer) = self.early.pop_front() {
            return Some(answer);
        }
        let (from, answer) = self.answers.try_recv().ok()?;
        self.threads[from].busy = false;
        Some(answer)
    }

    fn idle(&mut self) -> io::Result<usize> {
        if let Some(index) = self.threads.iter().position(|caller| !caller.busy) {
            return Ok(index);
        }
        if self.threads.len() == MOST {
            return Err(io::Error::other("too many calls wait"));
        }
        let index = self.threads.len();
        let caller = Caller::spawn(
            index,
            Arc::clone(&self.namespace),
            self.answer.clone(),
            Arc::clone(&self.bell),
        )?;
        self.threads.push(caller);
        Ok(index)
    }
}

impl Caller {
    fn spawn(
        index: usize,
        namespace: Arc<File>,
        answers: Sender<(usize, Answer)>,
        bell: Arc<OwnedFd>,
    ) -> io::Result<Self> {
        let (jobs, work) = mpsc::channel::<(Ticket, Call)>();
        let (ready, started) = mpsc::channel();
        let entered = Arc::new(AtomicU64::new(0));
        let mark = Arc::clone(&entered);
        let thread = thread::Builder::new()
            .name("caller".to_owned())
            .stack_size(256 << 10)
            .spawn(move || {
                let inside = sys::threads::enter_network(&namespace);
                ready.send(inside.map(|()| rustix::thread::gettid())).ok();
                while let Ok((ticket, call)) = work.recv() {
                    let makes = Makes::of(&call);
                    mark.store(ticket.0, Ordering::SeqCst);
                    let answer = sys::calls::perform(&call);
                    let at = Instant::now();
                    let answer = Answer {
                        ticket,
                        makes,
                        answer,
                        at,
                    };
                    if let Err(lost) = answers.send((index, answer)) {
                        fds::discard(makes, &lost.0.1.answer);
                    }
                    mark.store(0, Ordering::SeqCst);
                    rustix::io::write(&*bell, &1u64.to_ne_bytes()).ok();
                }
            })?;
        let tid = started
            .recv()
            .map_err(|_| io::Error::other("a caller's thread died"))??;
        Ok(Self {
            tid,
            jobs: Some(jobs),
            entered,
            busy: false,
            thread: Some(thread),
        })
    }

    /// The thread is inside this call, asleep.
    fn sleeps_in(&self, ticket: Ticket) -> bool {
        let inside = || self.entered.load(Ordering::SeqCst) == ticket.0;
        inside() && self.asleep() && inside()
    }

    /// Asleep, and not for one of this process's own locks.
    fn asleep(&self) -> bool {
        let read = |name: &str| {
            fs::read_to_string(format!(
                "/proc/self/task/{}/{name}",
                self.tid.as_raw_nonzero()
            ))
        };
        // The name in parentheses may contain anything.
        let sleeps = read("stat").is_ok_and(|stat| {
            stat.rsplit_once(") ")
                .is_some_and(|(_, rest)| rest.starts_with('S'))
        });
        sleeps
            && read("syscall").is_ok_and(|text| {
                let number = text.split_whitespace().next();
                number != Some("running") && number != Some(FUTEX)
            })
    }
}

impl Drop for Callers {
    /// Interrupts what still waits and ends the threads.
    fn drop(&mut self) {
        for caller in &mut self.threads {
            caller.jobs = None;
        }
        for caller in &mut self.threads {
            let Some(thread) = caller.thread.take() else {
                continue;
            };
            // An interrupt that comes before the call sleeps is lost, so it is repeated.
            let mut pause = Duration::from_micros(20);
            while !thread.is_finished() {
                if caller.entered.load(Ordering::SeqCst) != 0 {
                    sys::threads::interrupt(caller.tid);
                }
                thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(5));
            }
            thread.join().ok();
        }
        while let Some(answer) = self.next() {
            fds::discard(answer.makes, &answer.answer);
        }
    }
}
