//! Runs a script: strictly in order, in virtual time.
//!
//! Time jumps to the earliest of the script's next action and the stack's next timer; at equal times the stack goes
//! first. While a packet is awaited, timers run until one appears or the wait is over.

mod build;
mod expect;
mod returns;

use std::net::SocketAddrV4;
use std::time::Duration;

use ipnet::Ipv4Net;
use millrace_net::link::{LinkConfig, LinkKind};
use millrace_net::{Config, IfaceConfig, RouteSpec};
use millrace_wire::mac::MacAddr;
use millrace_wire::time::Instant;

use self::returns::{Outstanding, check_end, check_result, poll, shown_result};
use super::ast::{Action, Direction, Event, Micros, Script, Syscall, When};
use super::call::{Descriptors, Effect, Started};
use super::compare::Checks;
use super::conn::{Conn, Opener};
use super::settings::Settings;
use super::symbols::value;
use super::verdict::{Stop, Verdict};
use super::{RunConfig, command};
use crate::clock::START;
use crate::host::{Host, Stalled};

/// First port of peers that connect to a listener.
const EPHEMERAL: u16 = 50_000;

/// Largest buffer of one call, in bytes.
const MAX_BUFFER: i64 = 64 << 20;

/// How injected packets reach the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// One `rx` each.
    OneByOne,
    /// Consecutive ones of the same time in one `rx`.
    Batched,
}

/// Runs `script` once.
pub fn run(script: &Script, config: RunConfig) -> Verdict {
    let mut buffers: Vec<Vec<u8>> = match script.events.iter().map(buffer_for).collect() {
        Ok(buffers) => buffers,
        Err(stop) => return Verdict::from(stop),
    };
    let lent = buffers
        .iter_mut()
        .map(|buffer| Some(buffer.as_mut_slice()))
        .collect();
    match Runner::new(script, config, lent).and_then(|runner| runner.run(script)) {
        Ok(()) => Verdict::Pass,
        Err(stop) => Verdict::from(stop),
    }
}

/// The zeros that a call sends, or receives over.
fn buffer_for(event: &Event) -> Result<Vec<u8>, Stop> {
    let Action::Syscall(call) = &event.action else {
        return Ok(Vec::new());
    };
    match call.name.as_str() {
        "read" | "recv" | "write" | "send" => match call.args.get(2).and_then(value) {
            Some(len @ 0..=MAX_BUFFER) => Ok(vec![0; len as usize]),
            _ => Err(Stop::unsupported(
                event.line,
                format!("the length of this {}", call.name),
            )),
        },
        _ => Ok(Vec::new()),
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

struct Runner<'b, 's> {
    host: Host,
    settings: Settings,
    config: RunConfig,
    conn: Option<Conn>,
    descriptors: Descriptors,
    buffers: Vec<Option<&'b mut [u8]>>,
    outstanding: Option<Outstanding<'b, 's>>,
    previous: Previous,
}

impl<'b, 's> Runner<'b, 's> {
    fn new(
        script: &'s Script,
        config: RunConfig,
        buffers: Vec<Option<&'b mut [u8]>>,
    ) -> Result<Self, Stop> {
        let settings = Settings::from_options(&script.options)?;
        let mut stack = Config::new([7; 32]);
        if let Some(init) = &script.init {
            let mut set = |name: &str, value: &str| stack.sysctl.set(name, value);
            command::apply(init.line, &init.text, &mut set)?;
        }
        let host = open(stack, &settings).map_err(|error| Stop::unsupported(1, error))?;
        Ok(Self {
            host,
            settings,
            config,
            conn: None,
            descriptors: Descriptors::default(),
            buffers,
            outstanding: None,
            previous: Previous {
                at: 0,
                kind: EventKind::Other,
            },
        })
    }

    fn run(mut self, script: &'s Script) -> Result<(), Stop> {
        let mut at = 0;
        while let Some(event) = script.events.get(at) {
            let same_batch = self.event(&script.events[at..], at)?;
            at += same_batch;
            debug_assert!(same_batch > 0, "event of line {} was not taken", event.line);
        }
        self.finish(script.events.last().map_or(1, |event| event.line))
    }

    /// Does the first of `events` (which has index `at` in the script), and those that go with it; their number.
    fn event(&mut self, events: &'s [Event], at: usize) -> Result<usize, Stop> {
        let event = &events[0];
        let base = self.base(event);
        match &event.action {
            Action::Packet(packet) if packet.dir == Direction::Inject => {
                let scheduled = scheduled(event.when, base);
                let batch = self.batch(events);
                self.wait_until(event.line, scheduled)?;
                self.inject(&events[..batch])?;
                self.previous = Previous {
                    at: scheduled,
                    kind: EventKind::Injection,
                };
                return Ok(batch);
            }
            Action::Packet(packet) => self.expect(event, packet, base)?,
            Action::Syscall(call) => {
                let scheduled = scheduled(event.when, base);
                self.wait_until(event.line, scheduled)?;
                self.syscall(event.line, call, at, (scheduled, base, event.when))?;
                self.previous = Previous {
                    at: scheduled,
                    kind: EventKind::Other,
                };
            }
            Action::Command(text) => {
                let scheduled = scheduled(event.when, base);
                self.wait_until(event.line, scheduled)?;
                let stack = self.host.stack();
                let mut set = |name: &str, value: &str| stack.set_sysctl(name, value);
                command::apply(event.line, text, &mut set)?;
                self.previous = Previous {
                    at: scheduled,
                    kind: EventKind::Other,
                };
            }
            Action::Code(_) => return Err(Stop::unsupported(event.line, "code")),
        }
        Ok(1)
    }

    /// What a relative time counts from: now, except between two injections, which must not drift.
    fn base(&self, event: &Event) -> Micros {
        match (self.previous.kind, EventKind::of(event)) {
            (EventKind::Injection, EventKind::Injection) => self.previous.at,
            _ => self.micros(),
        }
    }

    /// How many of `events` are injections to be given to the stack at once.
    fn batch(&self, events: &[Event]) -> usize {
        if self.config.delivery == Delivery::OneByOne {
            return 1;
        }
        let together = |event: &&Event| match event.when {
            When::After(0) => EventKind::of(event) == EventKind::Injection,
            When::At(_) => {
                EventKind::of(event) == EventKind::Injection && event.when == events[0].when
            }
            _ => false,
        };
        1 + events[1..].iter().take_while(together).count()
    }

    fn micros(&self) -> Micros {
        self.host.now().since(START).as_micros() as Micros
    }

    /// Lets time pass, looking after the blocking call on the way.
    fn wait_until(&mut self, line: u32, at: Micros) -> Result<(), Stop> {
        match self.pass_time(line, at, &mut |_| Wait::On)? {
            Waited::Found | Waited::TimeIsUp => Ok(()),
        }
    }

    /// Lets time pass up to `until`, or until `wanted` is satisfied.
    fn pass_time(
        &mut self,
        line: u32,
        until: Micros,
        wanted: &mut dyn FnMut(&mut Host) -> Wait,
    ) -> Result<Waited, Stop> {
        let until = instant(until);
        loop {
            let own = self
                .outstanding
                .as_ref()
                .and_then(|call| call.waiting.deadline());
            let stage = own.map_or(until, |deadline| deadline.max(self.host.now()).min(until));
            let outstanding = &mut self.outstanding;
            let settings = &self.settings;
            let descriptors = &mut self.descriptors;
            let conn = &self.conn;
            let found = self.host.run_until(stage, &mut |host| {
                if let Err(stop) = poll(outstanding, host, settings, descriptors, conn.as_ref()) {
                    return Some(Err(stop));
                }
                match wanted(host) {
                    Wait::On => None,
                    Wait::Over => Some(Ok(())),
                }
            });
            match found {
                Ok(Some(Ok(()))) => return Ok(Waited::Found),
                Ok(Some(Err(stop))) => return Err(stop),
                Ok(None) if stage >= until => return Ok(Waited::TimeIsUp),
                Ok(None) => {}
                Err(Stalled) => {
                    return Err(Stop::fail(
                        line,
                        "time",
                        "a deadline in the future",
                        Stalled,
                    ));
                }
            }
        }
    }

    fn inject(&mut self, events: &[Event]) -> Result<(), Stop> {
        let mut frames = Vec::new();
        for event in events {
            if let Action::Packet(packet) = &event.action {
                frames.extend(self.build(event.line, packet)?);
            }
        }
        self.host.inject(&mut frames);
        poll(
            &mut self.outstanding,
            &mut self.host,
            &self.settings,
            &mut self.descriptors,
            self.conn.as_ref(),
        )
    }

    fn syscall(
        &mut self,
        line: u32,
        call: &'s Syscall,
        at: usize,
        (scheduled, base, when): (Micros, Micros, When),
    ) -> Result<(), Stop> {
        self.make_room(line, call, scheduled)?;
        match Descriptors::effect(call) {
            Effect::None => {}
            Effect::NewSocket => self.conn = None,
            // A second connect only asks how the first one is going.
            Effect::Connects if self.conn.is_some() => {}
            Effect::Connects => {
                let local = SocketAddrV4::new(self.settings.local_ip, 0);
                let remote = SocketAddrV4::new(self.settings.remote_ip, self.settings.connect_port);
                self.conn = Some(Conn::new(Opener::Stack, local, remote));
            }
        }
        let buffer = self
            .buffers
            .get_mut(at)
            .and_then(Option::take)
            .unwrap_or_default();
        let now = self.host.now();
        let started = self
            .descriptors
            .start(call, &self.settings, self.host.stack(), now, buffer);
        self.host.flush();
        // Both times of a blocking call count from the same instant.
        let end = call.end.map(|end| {
            if matches!(when, When::After(_)) {
                base + end
            } else {
                end
            }
        });
        match (started, end) {
            (Started::Unknown(what), _) => Err(Stop::unsupported(line, what)),
            (Started::Wrong { expected, got }, _) => {
                Err(Stop::fail(line, &call.name, expected, got))
            }
            (Started::Done(returned), end) => {
                let settings = &self.settings;
                if let Some(end) = end {
                    check_end(line, call, (scheduled, end), self.micros(), settings)?;
                }
                check_result(
                    line,
                    call,
                    returned,
                    &mut self.descriptors,
                    self.conn.as_ref(),
                )
            }
            (Started::Waits(_), None) => Err(Stop::fail(
                line,
                &call.name,
                shown_result(call),
                "the call waits",
            )),
            (Started::Waits(waiting), Some(end)) => {
                self.outstanding = Some(Outstanding {
                    waiting,
                    call,
                    line,
                    started: scheduled,
                    end,
                });
                Ok(())
            }
        }
    }

    /// Only one call may be outstanding: the next one gives it a second, and one that may wait itself fails then.
    fn make_room(&mut self, line: u32, call: &Syscall, scheduled: Micros) -> Result<(), Stop> {
        if self.outstanding.is_none() || call.end.is_none() {
            return Ok(());
        }
        self.wait_until(line, scheduled + 1_000_000)?;
        match &self.outstanding {
            None => Ok(()),
            Some(other) => Err(Stop::fail(
                other.line,
                &other.call.name,
                "a return",
                "the call waits",
            )),
        }
    }

    /// The end of the script: the blocking call has returned, and nothing more was sent.
    fn finish(mut self, line: u32) -> Result<(), Stop> {
        if let Some(end) = self.outstanding.as_ref().map(|call| call.end) {
            let slack = tolerance(&self.settings, end);
            self.wait_until(line, (end + slack).max(self.micros()))?;
        }
        if let Some(call) = &self.outstanding {
            return Err(Stop::fail(
                call.line,
                &call.call.name,
                shown_result(call.call),
                "the call waits",
            ));
        }
        match self.config.checks {
            Checks::Upstream => Ok(()),
            Checks::Strict => self.nothing_left(line),
        }
    }
}

/// Whether `pass_time` goes on.
enum Wait {
    On,
    Over,
}

/// Why `pass_time` ended.
enum Waited {
    Found,
    TimeIsUp,
}

fn open(config: Config, settings: &Settings) -> Result<Host, String> {
    let link = LinkConfig {
        kind: LinkKind::Ip,
        mac: MacAddr::ZERO,
        vlan: None,
        mtu: settings.mtu,
    };
    let iface = IfaceConfig {
        name: "tun0".to_owned(),
        link,
        accept_partial_csum: false,
    };
    let mut host = Host::new(config, iface).map_err(|error| error.to_string())?;
    let id = host.iface();
    let addr =
        Ipv4Net::new(settings.local_ip, settings.prefix_len).map_err(|error| error.to_string())?;
    let stack = host.stack();
    stack
        .add_addr(id, addr)
        .map_err(|error| error.to_string())?;
    let dest = Ipv4Net::default();
    let route = RouteSpec {
        dest,
        gateway: None,
        iface: id,
        prefsrc: None,
        metric: 0,
        mtu: None,
    };
    stack.add_route(route).map_err(|error| error.to_string())?;
    Ok(host)
}

fn instant(at: Micros) -> Instant {
    START + Duration::from_micros(at)
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
