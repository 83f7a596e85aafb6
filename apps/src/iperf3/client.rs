//! The client: an application in a worker's loop that runs one test and ends.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::mpsc::Sender;

use core::time::Duration;
use millrace::net::{MsgFlags, Readiness, SockOpt};
use millrace::{App, Instant, Service, ServiceId, SockError, SockId, Stack};
use rand::{Rng, RngExt as _};

use super::bundle::{Bundle, set_options};
use super::control::{Guest, Order};
use super::outbox::Outbox;
use super::params::Params;
use super::protocol::{Breach, Cookie, State, cookie, message};
use super::results::{Output, Results};
use super::run::Role;
use super::sums::Sums;
use super::teller::Teller;
use super::text::connecting;

/// How long a server may say nothing while something is expected of it.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a client does.
#[derive(Clone, Debug)]
pub struct Errand {
    /// The server.
    pub to: SocketAddrV4,
    /// Our address, if one was chosen.
    pub from: Option<Ipv4Addr>,
    /// How often to tell.
    pub every: Option<Duration>,
    /// The test.
    pub params: Params,
}

/// How it ended: `Err` says why there is no result.
pub type Outcome = Result<(), String>;

/// The application.
pub struct Client<R> {
    errand: Errand,
    teller: Teller,
    random: R,
    cookie: Cookie,
    id: Option<ServiceId>,
    control: Option<Conn>,
    guest: Guest,
    outbox: Outbox,
    streams: Vec<Conn>,
    /// Streams are to be opened.
    opening: bool,
    bundle: Option<Bundle>,
    own: Option<Results>,
    peer: Option<Results>,
    heard: Instant,
    /// The server has ended the connection; what it said before counts.
    ended: bool,
    /// What went wrong inside a call.
    fault: Option<String>,
    over: Vec<SockId>,
    /// `None` when it was told.
    done: Option<Sender<Outcome>>,
}

/// A connection.
#[derive(Clone, Copy)]
struct Conn {
    sock: SockId,
    open: bool,
}

impl<R: Rng + Send> Client<R> {
    /// Tells `done` when it is over.
    pub fn new(errand: Errand, teller: Teller, mut random: R, done: Sender<Outcome>) -> Self {
        let guest = Guest::new(errand.params.all_streams());
        Self {
            cookie: cookie(|| random.random()),
            errand,
            teller,
            random,
            id: None,
            control: None,
            guest,
            outbox: Outbox::default(),
            streams: Vec::new(),
            opening: false,
            bundle: None,
            own: None,
            peer: None,
            heard: Instant::ZERO,
            ended: false,
            fault: None,
            over: Vec::new(),
            done: Some(done),
        }
    }

    fn connect(
        &mut self,
        stack: &mut Stack,
        now: Instant,
        own: u64,
        params: Option<&Params>,
    ) -> Result<Conn, String> {
        let failed = |error: SockError| format!("cannot connect to {}: {error}", self.errand.to);
        let id = self
            .id
            .ok_or_else(|| "the client is in no worker".to_owned())?;
        let sock = stack.tcp_socket().map_err(failed)?;
        let mut prepared = match params {
            Some(params) => set_options(stack, now, sock, params).map_err(|e| e.to_string()),
            None => stack
                .set_option(now, sock, SockOpt::NoDelay(true))
                .map_err(|e| e.to_string()),
        };
        if let Some(from) = self.errand.from {
            prepared = prepared.and_then(|()| {
                stack
                    .bind(sock, SocketAddrV4::new(from, 0))
                    .map_err(|e| format!("cannot bind to {from}: {e}; is it an address of ours?"))
            });
        }
        let begun = prepared.and_then(|()| {
            stack.attach(sock, id.user(own)).map_err(failed)?;
            match stack.connect(now, sock, self.errand.to) {
                Ok(()) | Err(SockError::InProgress) => Ok(()),
                Err(error) => Err(failed(error)),
            }
        });
        match begun {
            Ok(()) => Ok(Conn { sock, open: false }),
            Err(why) => {
                self.over.push(sock);
                Err(why)
            }
        }
    }

    /// A connection is there, or is not: sends the cookie.
    fn opened(&mut self, stack: &mut Stack, now: Instant, own: u64, sock: SockId) {
        let to = self.errand.to;
        match stack.connect(now, sock, to) {
            Err(SockError::Already) => return,
            Ok(()) | Err(SockError::IsConnected) => {}
            Err(error) => {
                self.fail(connect_words(to, error));
                return;
            }
        }
        let cookie = self.cookie;
        self.heard = now;
        match own.checked_sub(1) {
            None => {
                self.control = Some(Conn { sock, open: true });
                self.tell(stack, now, &cookie);
            }
            Some(place) => {
                if let Some(conn) = self.streams.get_mut(place as usize) {
                    conn.open = true;
                }
                // A new connection has room for it.
                if let Err(error) = stack.send(now, sock, &cookie, MsgFlags::NONE) {
                    self.fail(format!("a stream broke: {error}"));
                }
            }
        }
    }

    /// Says something on the control connection.
    fn tell(&mut self, stack: &mut Stack, now: Instant, bytes: &[u8]) {
        self.outbox.add(bytes);
        self.flush(stack, now);
    }

    /// There may be room on the control connection.
    fn flush(&mut self, stack: &mut Stack, now: Instant) {
        if let Some(control) = self.control
            && let Err(error) = self.outbox.flush(stack, now, control.sock)
        {
            self.fail(format!("the connection to the server broke: {error}"));
        }
    }

    fn fail(&mut self, why: String) {
        self.fault.get_or_insert(why);
    }

    /// What has arrived on the control connection.
    fn heard(&mut self, now: Instant, bytes: &[u8]) {
        self.heard = now;
        if let Err(breach) = self.guest.add(bytes) {
            self.breach(&breach);
        }
    }

    fn breach(&mut self, breach: &Breach) {
        self.fail(format!(
            "{} does not speak iperf3: {breach}",
            self.errand.to
        ));
    }

    fn read_control(&mut self, stack: &mut Stack, now: Instant, sock: SockId) {
        let mut piece = [0; 4096];
        loop {
            match stack.recv(now, sock, &mut piece, MsgFlags::NONE) {
                Ok(0) => {
                    self.ended = true;
                    return;
                }
                Ok(bytes) => self.heard(now, &piece[..bytes]),
                Err(SockError::WouldBlock) => return,
                Err(error) => {
                    return self.fail(format!("the connection to the server broke: {error}"));
                }
            }
        }
    }

    /// Does what the server wants.
    fn obey(&mut self, stack: &mut Stack, now: Instant) {
        while self.done.is_some() && self.fault.is_none() {
            match self.guest.order() {
                Ok(None) => return,
                Ok(Some(order)) => self.do_it(stack, now, order),
                Err(breach) => self.breach(&breach),
            }
        }
    }

    fn do_it(&mut self, stack: &mut Stack, now: Instant, order: Order) {
        match order {
            Order::Params => {
                let params = message(&self.errand.params.to_json());
                self.tell(stack, now, &params);
            }
            Order::Streams => self.opening = true,
            Order::Run => self.run(stack, now),
            Order::Results => {
                let own = self.own.clone().unwrap_or_default();
                self.tell(stack, now, &message(&own.to_json()));
            }
            Order::Peer(results) => self.peer = Some(results),
            Order::Display => {
                self.tell(stack, now, &[State::IperfDone.octet()]);
                self.show();
                self.end(Ok(()));
            }
            Order::Busy => {
                self.fail("the server is busy running a test; try again later".to_owned())
            }
            Order::Refused(refusal) => self.fail(format!("the server cannot do that: {refusal}")),
            Order::Terminate => self.fail("the server has terminated the test".to_owned()),
        }
    }

    /// Opens the next stream, one after the other: both ends count them in the same order.
    fn open_streams(&mut self, stack: &mut Stack, now: Instant) {
        if !self.opening || self.streams.last().is_some_and(|conn| !conn.open) {
            return;
        }
        if self.streams.len() == self.errand.params.all_streams() {
            self.opening = false;
            return;
        }
        let params = self.errand.params.clone();
        let own = self.streams.len() as u64 + 1;
        match self.connect(stack, now, own, Some(&params)) {
            Ok(conn) => self.streams.push(conn),
            Err(why) => self.fail(why),
        }
    }

    fn run(&mut self, stack: &mut Stack, now: Instant) {
        let all = self.errand.params.all_streams();
        if self.streams.iter().filter(|conn| conn.open).count() < all {
            return self.fail("the server began before all streams were open".to_owned());
        }
        let socks: Vec<SockId> = self.streams.iter().map(|conn| conn.sock).collect();
        let Errand {
            params, every, to, ..
        } = &self.errand;
        let random = &mut self.random;
        let mut bundle = Bundle::start(
            params,
            Role::Client,
            &socks,
            *every,
            |block| random.fill_bytes(block),
            stack,
            now,
        );
        let beginning = bundle.beginning(stack, now, *to, &self.cookie);
        self.teller.begin(Role::Client, params, beginning);
        // Bytes that were faster than the order wait in the rings.
        let flowed = (0..all).try_for_each(|place| bundle.read(stack, now, place));
        let flowed = flowed.and_then(|()| bundle.fill_all(stack, now));
        self.bundle = Some(bundle);
        self.check(flowed);
    }

    fn check(&mut self, result: Result<(), SockError>) {
        if let Err(error) = result {
            self.fail(format!("a stream broke: {error}"));
        }
    }

    /// Looks after the test while data flows.
    fn measure(&mut self, stack: &mut Stack, now: Instant) {
        let Some(bundle) = &mut self.bundle else {
            return;
        };
        while let Some(interval) = bundle.tick(stack, now) {
            self.teller.interval(interval);
        }
        // What is due at the very end belongs to no interval any more.
        let filled = match bundle.run().is_over(now) {
            true => Ok(()),
            false => bundle.fill_due(stack, now),
        };
        if self.guest.is_running() && bundle.run().is_over(now) {
            self.stop(stack, now);
            self.tell(stack, now, &[State::TestEnd.octet()]);
            self.guest.ended();
            self.heard = now;
        }
        self.check(filled);
    }

    /// Nothing counts any more.
    fn stop(&mut self, stack: &mut Stack, now: Instant) {
        let Some(bundle) = &mut self.bundle else {
            return;
        };
        let (last, own) = bundle.finish(stack, now);
        if let Some(last) = last {
            self.teller.interval(last);
        }
        self.own.get_or_insert(own);
    }

    /// What was measured, when nothing comes of the peer any more.
    fn show_own(&mut self, stack: &mut Stack, now: Instant) {
        self.stop(stack, now);
        if let Some(sums) = self.sums() {
            self.teller.sums(&sums);
        }
    }

    fn sums(&self) -> Option<Sums> {
        let (bundle, own) = (self.bundle.as_ref()?, self.own.as_ref()?);
        let params = &self.errand.params;
        Some(Sums::new(
            Role::Client,
            params,
            bundle.run(),
            own,
            self.peer.as_ref(),
        ))
    }

    fn show(&mut self) {
        let Some(sums) = self.sums() else { return };
        self.teller.sums(&sums);
        let output = self.peer.as_ref().and_then(|peer| peer.output.clone());
        if let Some(output) = &output {
            let text = match output {
                Output::Text(text) => text.clone(),
                Output::Json(json) => format!("{json:#}\n"),
            };
            self.teller.line(&format!("\nServer output:\n{text}"));
        }
        self.teller.line("\niperf Done.\n");
        self.teller.say_document(&sums, output.as_ref());
    }

    /// The test is over, one way or the other.
    fn end(&mut self, outcome: Outcome) {
        if let Err(why) = &outcome {
            self.teller.say_error(why);
        }
        self.over
            .extend(self.streams.drain(..).map(|conn| conn.sock));
        self.over.extend(self.control.take().map(|conn| conn.sock));
        if let Some(done) = self.done.take() {
            // Nobody waits for it only when the program ends otherwise.
            let _ = done.send(outcome);
        }
    }

    fn look_at_clock(&mut self, now: Instant) {
        if self.waits() && now.since(self.heard) >= PATIENCE {
            self.fail(format!(
                "{} has said nothing for {} s",
                self.errand.to,
                PATIENCE.as_secs()
            ));
        }
    }

    /// Whether something is expected of the server.
    fn waits(&self) -> bool {
        self.control.is_some_and(|control| control.open) && !self.guest.is_running()
    }

    fn stream_ready(&mut self, stack: &mut Stack, now: Instant, place: usize, ready: Readiness) {
        let Some(bundle) = &mut self.bundle else {
            return;
        };
        let mut done = Ok(());
        if ready.contains(Readiness::OUT) {
            done = bundle.fill(stack, now, place);
        }
        if ready.intersects(Readiness::IN | Readiness::ERR | Readiness::HUP) {
            done = done.and_then(|()| bundle.read(stack, now, place));
        }
        if self.guest.is_running() {
            self.check(done);
        }
    }

    /// Whose socket a number means.
    fn is_ours(&self, own: u64, sock: SockId) -> Option<Conn> {
        let conn = match own.checked_sub(1) {
            None => self.control,
            Some(place) => self.streams.get(place as usize).copied(),
        };
        conn.filter(|conn| conn.sock == sock)
    }
}

/// Why there is no connection.
fn connect_words(to: SocketAddrV4, error: SockError) -> String {
    match error {
        SockError::Refused => {
            format!(
                "cannot connect to {to}: nothing listens there; start `iperf3 -s` or give --port"
            )
        }
        error => format!("cannot connect to {to}: {error}"),
    }
}

impl<R: Rng + Send> Service for Client<R> {
    fn data(
        &mut self,
        _: &mut Stack,
        now: Instant,
        sock: SockId,
        user: u64,
        bytes: &[u8],
    ) -> usize {
        let own = ServiceId::own(user);
        if self.is_ours(own, sock).is_some() {
            match (own.checked_sub(1), &mut self.bundle) {
                (None, _) => self.heard(now, bytes),
                (Some(place), Some(bundle)) => bundle.arrived(place as usize, bytes.len()),
                // Nothing flows yet: it waits in the ring.
                (Some(_), None) => return 0,
            }
        }
        bytes.len()
    }

    fn ready(
        &mut self,
        stack: &mut Stack,
        now: Instant,
        sock: SockId,
        user: u64,
        ready: Readiness,
    ) {
        let own = ServiceId::own(user);
        let Some(conn) = self.is_ours(own, sock) else {
            return;
        };
        if !conn.open {
            self.opened(stack, now, own, sock);
        }
        match own.checked_sub(1) {
            Some(place) => self.stream_ready(stack, now, place as usize, ready),
            None => {
                if ready.contains(Readiness::OUT) {
                    self.flush(stack, now);
                }
                let end = Readiness::RDHUP | Readiness::HUP | Readiness::ERR;
                if ready.intersects(Readiness::IN | end) {
                    self.read_control(stack, now, sock);
                }
            }
        }
    }
}

impl<R: Rng + Send> App for Client<R> {
    fn joined(&mut self, id: ServiceId) {
        self.id = Some(id);
    }

    fn tick(&mut self, stack: &mut Stack, now: Instant) {
        if self.done.is_some() && self.control.is_none() && self.fault.is_none() {
            self.teller
                .line(&connecting(self.errand.to, &self.errand.params));
            match self.connect(stack, now, 0, None) {
                Ok(conn) => self.control = Some(conn),
                Err(why) => self.fail(why),
            }
        }
        self.obey(stack, now);
        if self.ended {
            self.fail("the server has ended the connection".to_owned());
        }
        self.open_streams(stack, now);
        self.measure(stack, now);
        self.look_at_clock(now);
        if self.done.is_some()
            && let Some(why) = self.fault.take()
        {
            self.show_own(stack, now);
            self.end(Err(why));
        }
        for sock in self.over.drain(..) {
            // Only a stale id can fail: it is closed already.
            let _ = stack.close(now, sock);
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        if self.done.is_some() && (self.control.is_none() || self.fault.is_some())
            || !self.over.is_empty()
        {
            return Some(Instant::ZERO);
        }
        let silence = self.waits().then(|| self.heard + PATIENCE);
        let bundle = self.bundle.as_ref().and_then(Bundle::next_deadline);
        silence.into_iter().chain(bundle).min()
    }

    fn drain(&mut self, stack: &mut Stack, now: Instant) {
        if self.done.is_none() {
            return;
        }
        self.show_own(stack, now);
        if self.control.is_some_and(|control| control.open) {
            self.tell(stack, now, &[State::ClientTerminate.octet()]);
        }
        self.end(Err(
            "stopped by a signal before the test was over".to_owned()
        ));
    }

    fn abort(&mut self, stack: &mut Stack, now: Instant) {
        self.end(Err("stopped by a signal".to_owned()));
        for sock in self.over.drain(..) {
            stack.abort(now, sock);
        }
    }

    fn open(&self) -> usize {
        usize::from(self.done.is_some())
    }
}
