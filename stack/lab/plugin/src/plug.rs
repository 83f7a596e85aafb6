//! The stack in virtual time, shared by the tool's two threads.
//!
//! Time passes only when it is asked for: a microsecond whenever a thread reads the clock, as far as wanted when one
//! sleeps, and up to the next packet when one is awaited. The tool makes blocking calls on a second thread, which really
//! sleeps, so that the first sees it in state `S` and goes on. When such a call returns, no time passes until the thread
//! has read the clock: the tool does so at once, and compares.
//!
//! The thread that loads the plug-in is the one that plays the script. Should a call of its own have to wait, nobody
//! else could let time pass: it does so itself.

use std::collections::BTreeMap;
use std::process;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Duration;

use millrace_lab::machine::{Broken, Machine, Passed, Progress, StackConfig, StackMachine, Ticket};
use millrace_posix::call::{Call, Return};

use crate::flags::Flags;
use crate::sysctls::Sysctls;
use crate::train;

/// Virtual time after which an awaited packet counts as never sent, and a call of the script's own thread as never over.
const PATIENCE: Duration = Duration::from_secs(300);

/// What passes when the clock is read: the tool spins on it.
const READING: Duration = Duration::from_micros(1);

/// Real time after which a woken caller counts as one that does not care what time it is.
const UNREAD: Duration = Duration::from_secs(5);

/// Most descriptors of the program.
pub(crate) const FDS: usize = 1024;

/// See the module.
pub(crate) struct Plug {
    core: Mutex<Core>,
    /// A call has returned, or the time was read that held the clock.
    changed: Condvar,
    /// Plays the script.
    player: ThreadId,
    mss: Option<usize>,
}

struct Core {
    machine: StackMachine,
    sysctls: Option<Sysctls>,
    /// Calls of sleeping threads.
    asleep: BTreeMap<Ticket, ThreadId>,
    /// What they returned, until their threads run.
    over: BTreeMap<Ticket, Return>,
    /// Threads whose calls are over and which have not read the time: the clock stands.
    unread: Vec<ThreadId>,
}

type Held<'a> = MutexGuard<'a, Core>;

impl Plug {
    /// A stack at its start, played by this thread.
    ///
    /// # Errors
    /// What is wrong with the flags' values.
    pub(crate) fn new(flags: Flags) -> Result<Arc<Self>, String> {
        let mut config = StackConfig::new(flags.local);
        config.mtu = flags.mtu;
        config.fd_limit = FDS;
        let mut machine = StackMachine::new(config).map_err(|error| error.to_string())?;
        for (name, value) in &flags.sysctls {
            let set = machine.set_sysctl(name, value);
            set.map_err(|Broken(why)| why)?;
        }
        let core = Core {
            machine,
            sysctls: flags.sysctl_dir.map(Sysctls::new),
            asleep: BTreeMap::new(),
            over: BTreeMap::new(),
            unread: Vec::new(),
        };
        Ok(Arc::new(Self {
            core: Mutex::new(core),
            changed: Condvar::new(),
            player: thread::current().id(),
            mss: flags.mss,
        }))
    }

    /// Makes a call, and waits if it does.
    pub(crate) fn call(&self, call: Call) -> Return {
        let mut core = self.enter();
        core.refresh();
        let progress = core.machine.start(call);
        self.tell(&mut core);
        match self.sound(progress) {
            Progress::Done(returned) => returned,
            Progress::Waits(ticket) if thread::current().id() == self.player => {
                self.play_on(core, ticket)
            }
            Progress::Waits(ticket) => self.sleep(core, ticket),
        }
    }

    /// Hands an IP packet to the stack.
    pub(crate) fn inject(&self, packet: &[u8]) {
        let mut core = self.enter();
        core.refresh();
        let packets = match self.mss {
            Some(mss) => train::cut(packet, mss),
            None => vec![packet.to_vec()],
        };
        let injected = core.machine.inject(&packets);
        self.tell(&mut core);
        self.sound(injected);
    }

    /// The next packet that the stack sent or sends, and when; `None` when it sends none for 300 s.
    pub(crate) fn next_sent(&self) -> Option<(Vec<u8>, Duration)> {
        let mut core = self.enter();
        if core.machine.sent().is_empty() {
            let until = core.machine.now() + PATIENCE;
            core = self.pass(core, until, |core| !core.machine.sent().is_empty());
        }
        let since = core.machine.realtime_start();
        let packet = core.machine.sent().pop_front()?;
        Some((packet.bytes, since + packet.at))
    }

    /// Reads the clock.
    pub(crate) fn time(&self) -> Duration {
        let mut core = self.lock();
        let me = thread::current().id();
        if core.unread.contains(&me) {
            self.has_read(&mut core, me);
        } else {
            let until = core.machine.now() + READING;
            core = self.pass(core, until, |_| false);
        }
        core.machine.realtime_start() + core.machine.now()
    }

    /// Lets time pass.
    pub(crate) fn usleep(&self, span: Duration) {
        let core = self.enter();
        let until = core.machine.now() + span;
        drop(self.pass(core, until, |_| false));
    }

    /// Ends all calls that wait, with EINTR or what they have done.
    pub(crate) fn interrupt_all(&self) {
        let mut core = self.enter();
        let tickets: Vec<_> = core.asleep.keys().copied().collect();
        for ticket in tickets {
            let interrupted = core.machine.interrupt(ticket);
            if let Some(returned) = self.sound(interrupted) {
                core.asleep.remove(&ticket);
                core.over.insert(ticket, returned);
            }
        }
        self.changed.notify_all();
    }

    /// A thread whose call is over and which makes another one does not ask what time it was.
    fn enter(&self) -> Held<'_> {
        let mut core = self.lock();
        self.has_read(&mut core, thread::current().id());
        core
    }

    fn has_read(&self, core: &mut Core, thread: ThreadId) {
        let before = core.unread.len();
        core.unread.retain(|held| *held != thread);
        if core.unread.len() < before {
            self.changed.notify_all();
        }
    }

    fn lock(&self) -> Held<'_> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets time pass up to `until`, or until `enough`, and stands whenever a call has returned.
    fn pass<'a>(
        &'a self,
        core: Held<'a>,
        until: Duration,
        enough: impl Fn(&mut Core) -> bool,
    ) -> Held<'a> {
        let mut core = self.wait_for_readers(core);
        loop {
            let passed = core.machine.pass_time(until);
            self.tell(&mut core);
            core = self.wait_for_readers(core);
            if self.sound(passed) == Passed::Due || enough(&mut core) {
                return core;
            }
        }
    }

    /// Waits until all whose calls are over have read the time.
    fn wait_for_readers<'a>(&'a self, core: Held<'a>) -> Held<'a> {
        let waited = self
            .changed
            .wait_timeout_while(core, UNREAD, |core| !core.unread.is_empty());
        let (mut core, _) = waited.unwrap_or_else(PoisonError::into_inner);
        core.unread.clear();
        core
    }

    /// Wakes threads whose calls are over.
    fn tell(&self, core: &mut Core) {
        let mut told = false;
        let Core {
            machine,
            asleep,
            over,
            unread,
            ..
        } = core;
        asleep.retain(|ticket, thread| {
            let Some((returned, _)) = machine.returned(*ticket) else {
                return true;
            };
            over.insert(*ticket, returned);
            unread.push(*thread);
            told = true;
            false
        });
        if told {
            self.changed.notify_all();
        }
    }

    /// Sleeps until the call is over.
    fn sleep(&self, mut core: Held<'_>, ticket: Ticket) -> Return {
        core.asleep.insert(ticket, thread::current().id());
        // Another call may have been what it waits for.
        self.tell(&mut core);
        loop {
            if let Some(returned) = core.over.remove(&ticket) {
                return returned;
            }
            let woken = self.changed.wait(core);
            core = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Lets time pass until the call is over.
    fn play_on(&self, core: Held<'_>, ticket: Ticket) -> Return {
        let until = core.machine.now() + PATIENCE;
        let mut over = None;
        let mut core = core;
        while over.is_none() && core.machine.now() < until {
            core = self.wait_for_readers(core);
            over = core.machine.returned(ticket);
            if over.is_none() {
                let passed = core.machine.pass_time(until);
                self.tell(&mut core);
                self.sound(passed);
            }
        }
        let late = |core: &mut Core| match core.machine.returned(ticket) {
            Some((returned, _)) => returned,
            None => {
                let interrupted = core.machine.interrupt(ticket);
                self.sound(interrupted).unwrap_or(Return::fail(libc::EINTR))
            }
        };
        match over {
            Some((returned, _)) => returned,
            None => late(&mut core),
        }
    }

    /// A machine that is stuck gives no verdict: the tool must not report one.
    fn sound<T>(&self, result: Result<T, Broken>) -> T {
        match result {
            Ok(value) => value,
            Err(Broken(why)) => fatal(&why),
        }
    }
}

impl Core {
    /// Settings that the script has changed meanwhile.
    fn refresh(&mut self) {
        if let Some(sysctls) = &mut self.sysctls {
            sysctls.refresh(&mut self.machine);
        }
    }
}

/// Says why, and ends the tool: its functions have no way to tell that there is no machine.
pub(crate) fn fatal(why: &str) -> ! {
    eprintln!("millrace drill plug-in: {why}");
    process::exit(1)
}
