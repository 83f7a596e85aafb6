//! System calls: starting them, waiting for them, and judging what they return and when.

use std::net::SocketAddrV4;
use std::time::Duration;

use millrace_posix::call::Return;

use super::{Micros, Runner, broken, seconds, tolerance};
use crate::drill::ast::Syscall;
use crate::drill::call::{Args, Clock, Effect, Judge, closes, effect, make, shown_result};
use crate::drill::conn::{Conn, Opener};
use crate::drill::symbols::errno_name;
use crate::drill::verdict::Stop;
use crate::machine::{Machine, Passed, Progress, Ticket};

/// How long the script waits for a blocking call when the next call comes.
const PATIENCE: Micros = 1_000_000;

/// A blocking call on its way.
pub(super) struct Outstanding<'s> {
    ticket: Ticket,
    call: &'s Syscall,
    line: u32,
    started: Micros,
    end: Micros,
}

impl<'s, M: Machine + ?Sized> Runner<'s, '_, M> {
    pub(super) fn syscall(
        &mut self,
        line: u32,
        call: &'s Syscall,
        scheduled: Micros,
        end: Option<Micros>,
    ) -> Result<(), Stop> {
        self.make_room(line, call, scheduled)?;
        let made = make(&self.args(line, call))?;
        self.take_effect(call);
        if let Some(number) = closes(call) {
            self.fds.remove(number);
        }
        let progress = self
            .machine
            .start(made)
            .map_err(|why| Stop::unsupported(line, why.to_string()))?;
        let ticket = match progress {
            Progress::Done(returned) => {
                let now = self.micros();
                return self.judge(line, call, (scheduled, end), &returned, now);
            }
            Progress::Waits(ticket) => ticket,
        };
        self.note(line, || format!("{} waits", call.name));
        let Some(end) = end else {
            return self.slow_return(line, call, ticket, scheduled);
        };
        self.outstanding = Some(Outstanding {
            ticket,
            call,
            line,
            started: scheduled,
            end,
        });
        Ok(())
    }

    fn args<'a>(&'a self, line: u32, call: &'a Syscall) -> Args<'a> {
        Args {
            line,
            call,
            settings: &self.settings,
            fds: &self.fds,
            conn: self.conn.as_ref(),
        }
    }

    /// What the call does to the connection under test.
    fn take_effect(&mut self, call: &Syscall) {
        match effect(call) {
            Effect::None => {}
            Effect::NewSocket | Effect::Disconnects => self.conn = None,
            // A second connect only asks how the first one is going.
            Effect::Connects if self.conn.is_some() => {}
            Effect::Connects => {
                let local = SocketAddrV4::new(self.settings.local_ip, 0);
                let remote = SocketAddrV4::new(self.settings.remote_ip, self.settings.connect_port);
                self.conn = Some(Conn::new(Opener::Stack, local, remote));
            }
        }
    }

    /// A call waits that must not. In real time every call takes a moment.
    fn slow_return(
        &mut self,
        line: u32,
        call: &'s Syscall,
        ticket: Ticket,
        scheduled: Micros,
    ) -> Result<(), Stop> {
        if self.machine.is_real_time() {
            let until = self.micros() + tolerance(&self.settings, 0);
            loop {
                if let Some((returned, at)) = self.machine.returned(ticket) {
                    let at = self.script_time(at);
                    return self.judge(line, call, (scheduled, None), &returned, at);
                }
                if self.micros() >= until {
                    break;
                }
                self.machine
                    .pass_time(self.zero + Duration::from_micros(until))
                    .map_err(|why| broken(line, why))?;
            }
        }
        Err(Stop::fail(
            line,
            &call.name,
            shown_result(call),
            "the call waits",
        ))
    }

    /// Judges the outstanding call when it has returned.
    pub(super) fn look_after_call(&mut self) -> Result<(), Stop> {
        let Some(Outstanding { ticket, .. }) = &self.outstanding else {
            return Ok(());
        };
        let Some((returned, at)) = self.machine.returned(*ticket) else {
            return Ok(());
        };
        let at = self.script_time(at);
        match self.outstanding.take() {
            None => Ok(()),
            Some(waited) => self.judge(
                waited.line,
                waited.call,
                (waited.started, Some(waited.end)),
                &returned,
                at,
            ),
        }
    }

    /// What came back, and when if the script tells that.
    fn judge(
        &mut self,
        line: u32,
        call: &Syscall,
        (started, end): (Micros, Option<Micros>),
        returned: &Return,
        at: Micros,
    ) -> Result<(), Stop> {
        self.note(line, || shown(call, returned));
        let clock = Clock {
            start: self.machine.realtime_start() + self.zero,
            tolerance: Duration::from_micros(self.settings.tolerance),
        };
        let args = self.args(line, call);
        let opened = Judge { args, clock }.judge(returned)?;
        for (number, live) in opened {
            self.fds.insert(number, live);
            let is_child = call.name.starts_with("accept") && self.conn.is_some();
            if call.name == "socket" || is_child {
                self.under_test = Some(live);
            }
        }
        let Some(end) = end else {
            return Ok(());
        };
        if at.abs_diff(end) <= tolerance(&self.settings, end.saturating_sub(started)) {
            return Ok(());
        }
        let what = format!("return time of {}", call.name);
        Err(Stop::fail(line, &what, seconds(end), seconds(at)))
    }

    /// Only one call may be outstanding: the next one gives it a second, and one that may wait itself fails then.
    /// Other calls need not wait, but in real time a call that is due may be on its way back while its caller has not
    /// got the processor yet: what comes next must not overtake it.
    fn make_room(&mut self, line: u32, call: &Syscall, scheduled: Micros) -> Result<(), Stop> {
        let Some(end) = self.outstanding.as_ref().map(|waits| waits.end) else {
            return Ok(());
        };
        if call.end.is_some() {
            self.pass_time(line, scheduled + PATIENCE)?;
            return self.still_waits();
        }
        if self.machine.is_real_time() && self.micros() >= end {
            self.await_return(line)?;
        }
        Ok(())
    }

    /// The end of the script: the blocking call must return.
    pub(super) fn last_return(&mut self, line: u32) -> Result<(), Stop> {
        if let Some(end) = self.outstanding.as_ref().map(|call| call.end) {
            let slack = tolerance(&self.settings, end);
            self.pass_time(line, (end + slack).max(self.micros()))?;
            if self.machine.is_real_time() {
                self.await_return(line)?;
            }
        }
        self.still_waits()
    }

    /// Waits for the outstanding call, as long as anybody does.
    fn await_return(&mut self, line: u32) -> Result<(), Stop> {
        let until = self.micros() + PATIENCE;
        while self.outstanding.is_some() && self.pass_some_time(line, until)? == Passed::Something {
        }
        Ok(())
    }

    fn still_waits(&self) -> Result<(), Stop> {
        match &self.outstanding {
            None => Ok(()),
            Some(waits) => Err(Stop::fail(
                waits.line,
                &waits.call.name,
                shown_result(waits.call),
                "the call waits",
            )),
        }
    }
}

fn shown(call: &Syscall, returned: &Return) -> String {
    match returned.value {
        -1 => format!("{} = -1 {}", call.name, errno_name(returned.errno)),
        n => format!("{} = {n}", call.name),
    }
}
