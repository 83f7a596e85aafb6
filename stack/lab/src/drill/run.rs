//! Runs a script on a machine: strictly in order.
//!
//! In virtual time the machine jumps to the earliest of the script's next action and its own next timer; at equal times
//! it goes first. While a packet is awaited, time passes until one appears or the wait is over.

mod build;
mod calls;
mod expect;
mod record;
mod shell;
mod snapshot;

use std::net::Ipv4Addr;
use std::time::Duration;

use ipnet::Ipv4Net;
use millrace_posix::call::Fd;

use self::calls::Outstanding;
use self::record::Recorder;
use self::snapshot::Snapshot;
use super::RunConfig;
use super::ast::{Action, Direction, Event, Micros, Script, When};
use super::call::Descriptors;
use super::command::Shell;
use super::compare::Checks;
use super::conn::Conn;
use super::report::{LogEntry, Record, Report};
use super::settings::{Fatal, Settings};
use super::verdict::{Stop, Verdict};
use crate::machine::{Broken, Machine, Passed, StackConfig, StackMachine};

/// How injected packets reach the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// One at a time.
    OneByOne,
    /// Consecutive ones of the same time in one batch.
    Batched,
}

/// What a script needs of the machine that it runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ground {
    /// The interface's address and network.
    pub local: Ipv4Net,
    /// The peer's address, reached through the interface.
    pub remote: Ipv4Addr,
    /// The next hop to the peer, if the script names one.
    pub gateway: Option<Ipv4Addr>,
    /// The interface's MTU, octets.
    pub mtu: u16,
}

impl Ground {
    /// What this script needs.
    ///
    /// # Errors
    /// The verdict on a script with options that we do not know.
    pub fn of(script: &Script) -> Result<Self, Verdict> {
        let settings = Settings::from_options(&script.options)?;
        Self::from_settings(&settings).map_err(Verdict::from)
    }

    fn from_settings(settings: &Settings) -> Result<Self, Stop> {
        let local = Ipv4Net::new(settings.local_ip, settings.prefix_len)
            .map_err(|error| Stop::unsupported(1, error.to_string()))?;
        Ok(Self {
            local,
            remote: settings.remote_ip,
            gateway: settings.gateway_ip,
            mtu: settings.mtu,
        })
    }
}

/// Runs `script` once on the stack, in virtual time.
pub fn run(script: &Script, config: RunConfig) -> Report {
    let ground = match Ground::of(script) {
        Ok(ground) => ground,
        Err(verdict) => return Report::from(verdict),
    };
    let mut params = StackConfig::new(ground.local);
    params.mtu = ground.mtu;
    match StackMachine::new(params) {
        Ok(mut machine) => run_on(script, config, &mut machine),
        Err(error) => Report::from(Verdict::Broken {
            line: 1,
            why: error.to_string(),
        }),
    }
}

/// Runs `script` once on a machine that was made for it (see [`Ground`]) and that nobody has used yet.
pub fn run_on<M: Machine + ?Sized>(script: &Script, config: RunConfig, machine: &mut M) -> Report {
    let mut recorder = match config.record {
        Record::Verdict => None,
        Record::Everything => Some(Recorder::default()),
    };
    let done = Runner::new(script, config, machine, recorder.as_mut())
        .and_then(|runner| runner.run(script));
    if let Some(recorder) = &mut recorder {
        machine
            .sent()
            .drain(..)
            .for_each(|packet| recorder.sent(&packet));
    }
    let verdict = done.map_or_else(Verdict::from, |()| Verdict::Pass);
    match recorder {
        None => Report::from(verdict),
        Some(recorder) => recorder.into_report(verdict),
    }
}

/// What the previous event was and when, as far as the next one's time depends on it.
#[derive(Debug, Clone, Copy)]
struct Previous {
    /// Its scheduled time, or the actual one where it had none.
    at: Micros,
    /// Whether it was an injected packet.
    kind: EventKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EventKind {
    Injection,
    Other,
}

impl EventKind {
    fn of(event: &Event) -> Self {
        match &event.action {
            Action::Packet(packet) if packet.dir == Direction::Inject => Self::Injection,
            _ => Self::Other,
        }
    }
}

struct Runner<'s, 'm, M: ?Sized> {
    machine: &'m mut M,
    /// The machine's time when the script's begins.
    zero: Duration,
    settings: Settings,
    config: RunConfig,
    conn: Option<Conn>,
    /// The machine's descriptor of the socket under test; a child that was not accepted has none.
    under_test: Option<Fd>,
    fds: Descriptors,
    outstanding: Option<Outstanding<'s>>,
    previous: Previous,
    shell: Shell,
    snapshots: Vec<Snapshot>,
    recorder: Option<&'m mut Recorder>,
}

impl<'s, 'm, M: Machine + ?Sized> Runner<'s, 'm, M> {
    fn new(
        script: &'s Script,
        config: RunConfig,
        machine: &'m mut M,
        recorder: Option<&'m mut Recorder>,
    ) -> Result<Self, Stop> {
        let mut settings = Settings::from_options(&script.options)?;
        settings.tolerance = settings.tolerance.max(config.min_tolerance);
        let mut runner = Self {
            machine,
            zero: Duration::ZERO,
            settings,
            config,
            conn: None,
            under_test: None,
            fds: Descriptors::default(),
            outstanding: None,
            previous: Previous {
                at: 0,
                kind: EventKind::Other,
            },
            shell: Shell::default(),
            snapshots: Vec::new(),
            recorder,
        };
        if let Some(init) = &script.init {
            runner.command(init.line, &init.text)?;
        }
        runner.zero = runner.machine.now();
        Ok(runner)
    }

    fn run(mut self, script: &'s Script) -> Result<(), Stop> {
        let mut at = 0;
        while at < script.events.len() {
            let taken = self.event(&script.events[at..]);
            at += taken.or_else(|stop| self.tolerated(&script.events[at], stop))?;
        }
        let line = script.events.last().map_or(1, |event| event.line);
        self.last_return(line)?;
        if let Some(cleanup) = &script.cleanup {
            self.command(cleanup.line, &cleanup.text)?;
        }
        snapshot::run_code(&self.snapshots)?;
        match self.config.checks {
            Checks::Upstream => Ok(()),
            Checks::Strict => self.nothing_left(line),
        }
    }

    /// Does the first of `events`, and those that go with it; their number.
    fn event(&mut self, events: &'s [Event]) -> Result<usize, Stop> {
        let event = &events[0];
        let base = self.base(event);
        if let Action::Packet(packet) = &event.action
            && packet.dir == Direction::Expect
        {
            self.expect(event, packet, base)?;
            return Ok(1);
        }
        let scheduled = scheduled(event.when, base);
        let taken = self.batch(events);
        self.wait_until(event.line, scheduled)?;
        match &event.action {
            Action::Packet(_) => self.inject(&events[..taken])?,
            Action::Syscall(call) => {
                // Both times of a blocking call count from the same instant.
                let end = call.end.map(|end| match event.when {
                    When::After(_) => base + end,
                    _ => end,
                });
                self.syscall(event.line, call, scheduled, end)?;
            }
            Action::Command(text) => self.command(event.line, text)?,
            Action::Code(text) => self.snapshot(event.line, text)?,
        }
        self.previous = Previous {
            at: scheduled,
            kind: EventKind::of(event),
        };
        Ok(taken)
    }

    /// A mismatch that the script's options call harmless is only noted.
    fn tolerated(&mut self, event: &Event, stop: Stop) -> Result<usize, Stop> {
        let fatal = match &event.action {
            Action::Packet(packet) if packet.dir == Direction::Expect => {
                self.settings.fatal_packets
            }
            Action::Syscall(_) => self.settings.fatal_calls,
            _ => Fatal::Yes,
        };
        let Stop::Fail(failure) = stop else {
            return Err(stop);
        };
        if fatal == Fatal::Yes {
            return Err(Stop::Fail(failure));
        }
        self.note(failure.line, || format!("not as written: {}", failure.what));
        self.previous = Previous {
            at: self.micros(),
            kind: EventKind::Other,
        };
        Ok(1)
    }

    /// What a relative time counts from: now, except between two injections, which must not drift.
    fn base(&self, event: &Event) -> Micros {
        match (self.previous.kind, EventKind::of(event)) {
            (EventKind::Injection, EventKind::Injection) => self.previous.at,
            _ => self.micros(),
        }
    }

    /// How many of `events` are done at once: more than one only of injections.
    fn batch(&self, events: &[Event]) -> usize {
        let first = &events[0];
        if self.config.delivery == Delivery::OneByOne
            || EventKind::of(first) != EventKind::Injection
        {
            return 1;
        }
        let together = |event: &&Event| {
            let same_time = match event.when {
                When::After(0) => true,
                When::At(_) => event.when == first.when,
                _ => false,
            };
            same_time && EventKind::of(event) == EventKind::Injection
        };
        1 + events[1..].iter().take_while(together).count()
    }

    fn micros(&self) -> Micros {
        self.script_time(self.machine.now())
    }

    fn script_time(&self, at: Duration) -> Micros {
        at.saturating_sub(self.zero).as_micros() as Micros
    }

    /// Lets time pass up to the time of the script's next action.
    fn wait_until(&mut self, line: u32, at: Micros) -> Result<(), Stop> {
        self.pass_time(line, at)?;
        if !self.machine.is_real_time() {
            return Ok(());
        }
        let late = self.micros().saturating_sub(at);
        let span = at.saturating_sub(self.previous.at);
        let allowed = self
            .config
            .lateness
            .unwrap_or_else(|| tolerance(&self.settings, span));
        match late > allowed {
            true => Err(Stop::Late { line, by: late }),
            false => Ok(()),
        }
    }

    /// Lets time pass, looking after the blocking call on the way.
    fn pass_time(&mut self, line: u32, until: Micros) -> Result<(), Stop> {
        while self.pass_some_time(line, until)? == Passed::Something {}
        Ok(())
    }

    /// Lets time pass until something happens.
    fn pass_some_time(&mut self, line: u32, until: Micros) -> Result<Passed, Stop> {
        let passed = self
            .machine
            .pass_time(self.zero + Duration::from_micros(until))
            .map_err(|why| broken(line, why))?;
        self.look_after_call()?;
        Ok(passed)
    }

    fn inject(&mut self, events: &[Event]) -> Result<(), Stop> {
        let mut packets = Vec::new();
        for event in events {
            if let Action::Packet(packet) = &event.action {
                packets.extend(self.build(event.line, packet)?);
            }
        }
        for event in events {
            if let Action::Packet(packet) = &event.action {
                self.note(event.line, || format!("< {}", packet.body));
            }
        }
        if let Some(recorder) = &mut self.recorder {
            recorder.injected(self.machine.now(), &packets);
        }
        self.machine
            .inject(&packets)
            .map_err(|why| broken(events[0].line, why))?;
        self.look_after_call()
    }

    fn note(&mut self, line: u32, what: impl FnOnce() -> String) {
        let at = Duration::from_micros(self.micros());
        if let Some(recorder) = &mut self.recorder {
            recorder.note(LogEntry {
                at,
                line,
                what: what(),
            });
        }
    }
}

fn broken(line: u32, Broken(why): Broken) -> Stop {
    Stop::Broken { line, why }
}

fn scheduled(when: When, base: Micros) -> Micros {
    match when {
        When::At(at) | When::AtRange(at, _) => at,
        When::After(after) | When::AfterRange(after, _) => base + after,
        When::Any => base,
    }
}

/// How far off an event may be that is `span` after its predecessor.
fn tolerance(settings: &Settings, span: Micros) -> Micros {
    settings
        .tolerance
        .max((span as f64 * settings.tolerance_percent / 100.0) as Micros)
}

/// Microseconds as seconds, for messages.
fn seconds(micros: Micros) -> String {
    format!("{}.{:06} s", micros / 1_000_000, micros % 1_000_000)
}
