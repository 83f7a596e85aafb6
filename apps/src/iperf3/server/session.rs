//! A test at the server, from its cookie to its end.

use std::net::SocketAddrV4;

use core::time::Duration;
use millrace::{Instant, SockError, SockId, Stack};

use super::super::bundle::Bundle;
use super::super::control::{Host, Wish};
use super::super::outbox::Outbox;
use super::super::params::{Asked, Params};
use super::super::protocol::{self, Breach, Cookie, Refusal, State, message};
use super::super::results::Results;
use super::super::run::{Part, Role};
use super::super::sums::Sums;
use super::super::teller::Teller;

/// How long a client may say nothing while something is expected of it.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long data may stand still (iperf3's `--rcv-timeout`).
const STILL: Duration = Duration::from_secs(120);

/// The test.
pub(super) struct Session {
    control: SockId,
    peer: SocketAddrV4,
    cookie: Cookie,
    host: Host,
    outbox: Outbox,
    params: Option<Params>,
    /// Places of its streams, in the order in which their cookies came.
    streams: Vec<usize>,
    bundle: Option<Bundle>,
    own: Option<Results>,
    heard: Instant,
    /// Octets at the time at which they last moved.
    moved: (u64, Instant),
    /// The client has ended the connection; what it said before counts.
    ended: bool,
    fault: Option<String>,
    done: bool,
}

impl Session {
    /// A client has come.
    pub fn new(control: SockId, peer: SocketAddrV4, cookie: Cookie, now: Instant) -> Self {
        Self {
            control,
            peer,
            cookie,
            host: Host::new(),
            outbox: Outbox::default(),
            params: None,
            streams: Vec::new(),
            bundle: None,
            own: None,
            heard: now,
            moved: (0, now),
            ended: false,
            fault: None,
            done: false,
        }
    }

    /// Whether a connection with this cookie is a stream that is awaited.
    pub fn takes_stream(&self, cookie: &Cookie) -> bool {
        let room = self
            .params
            .as_ref()
            .is_some_and(|params| self.streams.len() < params.all_streams());
        self.host.awaits_streams() && room && self.cookie == *cookie
    }

    /// A stream came, at this place.
    pub fn stream_came(&mut self, place: usize) {
        self.streams.push(place);
    }

    /// Places of its streams.
    pub fn streams(&self) -> &[usize] {
        &self.streams
    }

    /// Says something on the control connection.
    pub fn say(&mut self, stack: &mut Stack, now: Instant, bytes: &[u8]) {
        self.outbox.add(bytes);
        self.flush(stack, now);
    }

    /// There may be room on the control connection.
    pub fn flush(&mut self, stack: &mut Stack, now: Instant) {
        if let Err(error) = self.outbox.flush(stack, now, self.control) {
            self.fail(format!("the connection to the client broke: {error}"));
        }
    }

    /// The test cannot go on.
    pub fn fail(&mut self, why: String) {
        self.fault.get_or_insert(why);
    }

    /// The control connection has ended.
    pub fn ended(&mut self) {
        self.ended = true;
    }

    /// What has arrived on the control connection.
    pub fn heard(&mut self, now: Instant, bytes: &[u8]) {
        self.heard = now;
        if let Err(breach) = self.host.add(bytes) {
            self.fail(format!("the client does not speak iperf3: {breach}"));
        }
    }

    /// Bytes arrived on a stream.
    pub fn arrived(&mut self, lane: usize, bytes: usize) {
        if let Some(bundle) = &mut self.bundle {
            bundle.arrived(lane, bytes);
        }
    }

    /// Reads what waits on a stream.
    pub fn read(&mut self, stack: &mut Stack, now: Instant, lane: usize) {
        if let Some(bundle) = &mut self.bundle {
            let read = bundle.read(stack, now, lane);
            self.check(read);
        }
    }

    /// There may be room on a stream.
    pub fn fill(&mut self, stack: &mut Stack, now: Instant, lane: usize) {
        if let Some(bundle) = &mut self.bundle {
            let filled = bundle.fill(stack, now, lane);
            self.check(filled);
        }
    }

    fn check(&mut self, result: Result<(), SockError>) {
        if let Err(error) = result
            && self.host.is_running()
        {
            self.fail(format!("a stream broke: {error}"));
        }
    }

    /// Looks after the streams, and does what the client wants. Gives parameters for which the listener is to be made ready:
    /// [`Session::prepared`] follows.
    pub fn step(&mut self, stack: &mut Stack, now: Instant, teller: &mut Teller) -> Option<Params> {
        if let Some(bundle) = &mut self.bundle {
            while let Some(interval) = bundle.tick(stack, now) {
                teller.interval(interval);
            }
            let filled = bundle.fill_due(stack, now);
            self.check(filled);
        }
        while self.fault.is_none() && !self.done {
            match self.host.wish() {
                Ok(None) => break,
                Ok(Some(Wish::Test(Ok(params)))) => return Some(params),
                Ok(Some(wish)) => self.grant(stack, now, wish, teller),
                Err(breach) => self.breach(stack, now, &breach),
            }
        }
        if self.ended && !self.done {
            self.fail("the client has ended the connection".to_owned());
        }
        None
    }

    /// The listener is ready for the streams of a test, or cannot be made so.
    pub fn prepared(&mut self, stack: &mut Stack, now: Instant, asked: Asked, teller: &mut Teller) {
        match asked {
            Ok(params) => {
                if params.server_output {
                    teller.keep(self.peer);
                }
                self.params = Some(params);
                self.say(stack, now, &[State::CreateStreams.octet()]);
            }
            Err(refusal) => self.refuse(stack, now, refusal),
        }
    }

    fn grant(&mut self, stack: &mut Stack, now: Instant, wish: Wish, teller: &mut Teller) {
        match wish {
            Wish::Test(asked) => self.prepared(stack, now, asked, teller),
            Wish::Stop => {
                self.stop(stack, now, teller);
                self.say(stack, now, &[State::ExchangeResults.octet()]);
            }
            Wish::Results(peer) => {
                let sums = self.sums(Some(&peer));
                let mut own = self.own.clone().unwrap_or_default();
                own.output = sums.as_ref().and_then(|sums| teller.output(sums));
                self.say(stack, now, &message(&own.to_json()));
                self.say(stack, now, &[State::DisplayResults.octet()]);
                if let Some(sums) = sums {
                    teller.say_document(&sums, None);
                }
            }
            Wish::Goodbye if self.own.is_some() => self.done = true,
            Wish::Goodbye => self.fail("the client has left before the test".to_owned()),
            Wish::Terminate => {
                self.stop(stack, now, teller);
                self.fail("the client has terminated the test".to_owned());
            }
        }
    }

    fn refuse(&mut self, stack: &mut Stack, now: Instant, refusal: Refusal) {
        self.say(stack, now, &refusal.to_bytes());
        self.fail(format!(
            "the client asks for what cannot be done here: {refusal}"
        ));
    }

    fn breach(&mut self, stack: &mut Stack, now: Instant, breach: &Breach) {
        let code = match (self.params.is_some(), self.own.is_some()) {
            (false, _) => protocol::BAD_PARAMS,
            (true, false) => protocol::BAD_MESSAGE,
            (true, true) => protocol::BAD_RESULTS,
        };
        self.say(stack, now, &Refusal { code, errno: 0 }.to_bytes());
        self.fail(format!("the client does not speak iperf3: {breach}"));
    }

    /// Whether all streams have come and data does not flow yet.
    pub fn is_complete(&self) -> bool {
        let all = self.params.as_ref().map(Params::all_streams);
        self.host.awaits_streams() && self.fault.is_none() && all == Some(self.streams.len())
    }

    /// Data flows on these sockets, one for each stream.
    pub fn run(
        &mut self,
        stack: &mut Stack,
        now: Instant,
        socks: &[SockId],
        every: Option<Duration>,
        teller: &mut Teller,
        random: &mut dyn FnMut(&mut [u8]),
    ) {
        let Some(params) = &self.params else { return };
        let mut bundle = Bundle::start(params, Role::Server, socks, every, random, stack, now);
        let beginning = bundle.beginning(stack, now, self.peer, &self.cookie);
        teller.begin(Role::Server, params, beginning);
        self.host.running();
        self.moved = (0, now);
        self.say(
            stack,
            now,
            &[State::TestStart.octet(), State::TestRunning.octet()],
        );
        // Bytes that were faster than these two wait in the rings.
        let flowed = (0..socks.len()).try_for_each(|lane| bundle.read(stack, now, lane));
        let flowed = flowed.and_then(|()| bundle.fill_all(stack, now));
        self.bundle = Some(bundle);
        self.check(flowed);
    }

    /// Nothing counts any more.
    pub fn stop(&mut self, stack: &mut Stack, now: Instant, teller: &mut Teller) {
        if self.own.is_some() {
            return;
        }
        let Some(bundle) = &mut self.bundle else {
            return;
        };
        let (last, own) = bundle.finish(stack, now);
        if let Some(last) = last {
            teller.interval(last);
        }
        self.own = Some(own);
        if let Some(sums) = self.sums(None) {
            teller.sums(&sums);
        }
    }

    fn sums(&self, peer: Option<&Results>) -> Option<Sums> {
        let (params, bundle) = (self.params.as_ref()?, self.bundle.as_ref()?);
        let own = self.own.as_ref()?;
        Some(Sums::new(Role::Server, params, bundle.run(), own, peer))
    }

    /// How it ended, if it has.
    pub fn ending(
        &mut self,
        stack: &mut Stack,
        now: Instant,
        teller: &mut Teller,
    ) -> Option<Result<(), String>> {
        self.look_at_clock(now);
        if let Some(why) = self.fault.take() {
            self.stop(stack, now, teller);
            return Some(Err(why));
        }
        self.done.then_some(Ok(()))
    }

    fn look_at_clock(&mut self, now: Instant) {
        if !self.host.is_running() {
            if now.since(self.heard) >= PATIENCE {
                let limit = PATIENCE.as_secs();
                self.fail(format!("the client has said nothing for {limit} s"));
            }
            return;
        }
        let Some(run) = self.bundle.as_ref().map(Bundle::run) else {
            return;
        };
        let bytes = run.bytes(Part::Sends) + run.bytes(Part::Receives);
        if bytes != self.moved.0 {
            self.moved = (bytes, now);
        }
        if self.limit().is_some_and(|limit| limit <= now) {
            self.fail("the client has gone in the middle of the test".to_owned());
        }
    }

    /// When the client is given up, while data flows.
    fn limit(&self) -> Option<Instant> {
        let run = self.bundle.as_ref()?.run();
        let still = self.moved.1 + STILL;
        Some(match run.expected_end() {
            Some(end) => still.min(end + PATIENCE),
            None => still,
        })
    }

    /// When something is to be done even if nothing arrives.
    pub fn next_deadline(&self) -> Option<Instant> {
        if self.fault.is_some() {
            return Some(Instant::ZERO);
        }
        let limit = match self.host.is_running() {
            true => self.limit(),
            false => Some(self.heard + PATIENCE),
        };
        let bundle = self.bundle.as_ref().and_then(Bundle::next_deadline);
        limit.into_iter().chain(bundle).min()
    }
}
