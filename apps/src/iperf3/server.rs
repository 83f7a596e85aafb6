//! The server: an application in a worker's loop. One test at a time; who comes meanwhile is told that it is busy.
//!
//! A connection shows by its cookie what it is: that of the running test, while streams are awaited, makes it a stream; any
//! other begins a test, if there is none.

mod conns;
mod session;

use std::net::SocketAddrV4;
use std::sync::mpsc::Sender;

use core::time::Duration;
use millrace::net::{MsgFlags, OptName, Readiness, SockOpt, TcpState};
use millrace::{App, Instant, Service, ServiceId, SockError, SockId, Stack};

use super::bundle::set_options;
use super::params::Params;
use super::protocol::{COOKIE, Cookie, Refusal, State};
use super::teller::{Out, Teller};
use super::text::listening;
use rand::Rng;

use conns::{Conns, Kind};
use session::Session;

/// How long a connection may take to say its cookie.
const COOKIE_TIME: Duration = Duration::from_secs(10);
/// How often that is looked at.
const SWEEP: Duration = Duration::from_secs(1);

/// What a server does.
#[derive(Clone, Copy, Debug)]
pub struct Post {
    /// Where it listens.
    pub at: SocketAddrV4,
    /// How often to tell.
    pub every: Option<Duration>,
    /// One test, then the end.
    pub one_off: bool,
}

/// The application.
pub struct Server<R> {
    post: Post,
    teller: Teller,
    complain: Out,
    random: R,
    id: Option<ServiceId>,
    /// The listener, once it is known.
    listener: Option<Listener>,
    conns: Conns,
    /// Places whose cookie is complete.
    fresh: Vec<usize>,
    session: Option<Session>,
    over: Vec<SockId>,
    sweep: Option<Instant>,
    tests: u64,
    greeted: bool,
    /// `None` when it was told.
    done: Option<Sender<super::client::Outcome>>,
}

/// The listener, and the buffers that it has by itself.
struct Listener {
    sock: SockId,
    buffers: [u32; 2],
}

impl Listener {
    fn new(stack: &Stack, sock: SockId) -> Self {
        let buffer = |name| match stack.option(sock, name) {
            Ok(SockOpt::SndBuf(bytes) | SockOpt::RcvBuf(bytes)) => bytes,
            _ => 0,
        };
        Self {
            sock,
            buffers: [OptName::SndBuf, OptName::RcvBuf].map(buffer),
        }
    }

    /// Takes back the options of a test.
    fn restore(&self, stack: &mut Stack, now: Instant) {
        let [sndbuf, rcvbuf] = self.buffers;
        for option in [
            SockOpt::NoDelay(false),
            SockOpt::MaxSeg(0),
            SockOpt::Tos(0),
            // What is set is doubled.
            SockOpt::SndBufForce(sndbuf / 2),
            SockOpt::RcvBufForce(rcvbuf / 2),
            SockOpt::BufLock(0),
        ] {
            if let Err(error) = stack.set_option(now, self.sock, option) {
                tracing::warn!("the listener keeps an option of the last test: {error}");
            }
        }
    }
}

impl<R: Rng + Send> Server<R> {
    /// Tells `done` when it is over; `complain` is told why tests failed.
    pub fn new(
        post: Post,
        teller: Teller,
        complain: Out,
        random: R,
        done: Sender<super::client::Outcome>,
    ) -> Self {
        Self {
            post,
            teller,
            complain,
            random,
            id: None,
            listener: None,
            conns: Conns::default(),
            fresh: Vec::new(),
            session: None,
            over: Vec::new(),
            sweep: None,
            tests: 0,
            greeted: false,
            done: Some(done),
        }
    }

    fn accept(&mut self, stack: &mut Stack, now: Instant, listener: SockId) {
        self.listener
            .get_or_insert_with(|| Listener::new(stack, listener));
        let Some(id) = self.id else { return };
        loop {
            let (sock, peer) = match stack.accept(now, listener) {
                Ok(accepted) => accepted,
                Err(SockError::Aborted | SockError::Reset) => continue,
                Err(_) => return,
            };
            let Some(place) = self.conns.insert(sock, peer, now) else {
                // More strangers than make sense.
                stack.abort(now, sock);
                continue;
            };
            // Only a stale id can fail, and then nothing comes of it.
            let _ = stack.attach(sock, id.user(place as u64 + 1));
            self.sweep.get_or_insert(now + SWEEP);
            self.read(stack, now, place);
        }
    }

    /// Reads what waits in the ring of a connection.
    fn read(&mut self, stack: &mut Stack, now: Instant, place: usize) {
        let mut piece = [0; 4096];
        while let Some(conn) = self.conns.get(place) {
            let room = match conn.kind {
                // What comes behind the cookie waits until it is known what this is.
                Kind::New { got: COOKIE, .. } | Kind::Waiting => return,
                Kind::New { got, .. } => COOKIE - got,
                Kind::Stream(lane) => return self.read_stream(stack, now, lane),
                Kind::Control => piece.len(),
            };
            let sock = conn.sock;
            match stack.recv(now, sock, &mut piece[..room], MsgFlags::NONE) {
                Ok(0) => return self.gone(place),
                Ok(bytes) => {
                    self.take(place, now, &piece[..bytes]);
                }
                Err(SockError::WouldBlock) => return,
                Err(_) => return self.gone(place),
            }
        }
    }

    fn read_stream(&mut self, stack: &mut Stack, now: Instant, lane: usize) {
        if let Some(session) = &mut self.session {
            session.read(stack, now, lane);
        }
    }

    /// Takes bytes of a connection that is no stream: how many.
    fn take(&mut self, place: usize, now: Instant, bytes: &[u8]) -> usize {
        let Some(conn) = self.conns.get_mut(place) else {
            return bytes.len();
        };
        match &mut conn.kind {
            Kind::New { cookie, got, .. } => {
                let some = bytes.len().min(COOKIE - *got);
                cookie[*got..*got + some].copy_from_slice(&bytes[..some]);
                *got += some;
                if *got == COOKIE && some > 0 {
                    self.fresh.push(place);
                }
                some
            }
            Kind::Control => {
                if let Some(session) = &mut self.session {
                    session.heard(now, bytes);
                }
                bytes.len()
            }
            Kind::Waiting | Kind::Stream(_) => 0,
        }
    }

    /// A connection has ended at the other end.
    fn gone(&mut self, place: usize) {
        let Some(kind) = self.conns.get(place).map(|conn| conn.kind) else {
            return;
        };
        match (kind, &mut self.session) {
            (Kind::New { .. }, _) | (_, None) => self.close(place),
            (Kind::Control, Some(session)) => session.ended(),
            // The control connection decides.
            (Kind::Waiting | Kind::Stream(_), Some(_)) => {}
        }
    }

    fn close(&mut self, place: usize) {
        if let Some(conn) = self.conns.remove(place) {
            self.over.push(conn.sock);
        }
    }

    /// What becomes of those whose cookie is complete.
    fn sort(&mut self, stack: &mut Stack, now: Instant) {
        for place in core::mem::take(&mut self.fresh) {
            let Some((cookie, sock, peer)) = self.conns.cookie(place) else {
                continue;
            };
            match &mut self.session {
                None => self.begin(stack, now, place, cookie),
                Some(session) if session.takes_stream(&cookie) => {
                    session.stream_came(place);
                    self.conns.set(place, Kind::Waiting);
                }
                Some(_) => {
                    // The byte is on its way before the end is: all that came was read.
                    let busy = [State::AccessDenied.octet()];
                    let _ = stack.send(now, sock, &busy, MsgFlags::NONE);
                    tracing::info!("{peer} was told that the server is busy");
                    self.close(place);
                }
            }
        }
    }

    /// A test begins.
    fn begin(&mut self, stack: &mut Stack, now: Instant, place: usize, cookie: Cookie) {
        let Some((sock, peer)) = self.conns.get(place).map(|conn| (conn.sock, conn.peer)) else {
            return;
        };
        self.conns.set(place, Kind::Control);
        self.tests += 1;
        self.teller.renew();
        self.teller.line(&super::text::accepted(peer));
        let _ = stack.set_option(now, sock, SockOpt::NoDelay(true));
        let mut session = Session::new(sock, peer, cookie, now);
        session.say(stack, now, &[State::ParamExchange.octet()]);
        self.session = Some(session);
        self.read(stack, now, place);
    }

    /// Looks after the test.
    fn serve(&mut self, stack: &mut Stack, now: Instant) {
        let Some(mut session) = self.session.take() else {
            return;
        };
        while let Some(params) = session.step(stack, now, &mut self.teller) {
            let asked = self.prepare(stack, now, &params).map(|()| params);
            session.prepared(stack, now, asked, &mut self.teller);
        }
        if session.is_complete() {
            let places = session.streams().to_vec();
            let conns = &self.conns;
            let socks: Vec<SockId> = places
                .iter()
                .filter_map(|&place| conns.get(place).map(|conn| conn.sock))
                .collect();
            for (lane, place) in places.into_iter().enumerate() {
                self.conns.set(place, Kind::Stream(lane));
            }
            let random = &mut self.random;
            let every = self.post.every;
            session.run(stack, now, &socks, every, &mut self.teller, &mut |block| {
                random.fill_bytes(block);
            });
        }
        match session.ending(stack, now, &mut self.teller) {
            None => self.session = Some(session),
            Some(outcome) => self.finish(stack, now, outcome),
        }
    }

    /// Gives the listener the options that a test wants: window and segment size are told in the handshake.
    fn prepare(&mut self, stack: &mut Stack, now: Instant, params: &Params) -> Result<(), Refusal> {
        match &self.listener {
            Some(listener) => {
                listener.restore(stack, now);
                set_options(stack, now, listener.sock, params)
            }
            None => Ok(()),
        }
    }

    /// A test is over.
    fn finish(&mut self, stack: &mut Stack, now: Instant, outcome: Result<(), String>) {
        for place in self.conns.of_test() {
            self.close(place);
        }
        if let Err(why) = &outcome {
            self.teller.say_error(why);
            (self.complain)(why);
        }
        if let Some(listener) = &self.listener {
            listener.restore(stack, now);
        }
        if self.post.one_off {
            self.end(outcome);
        } else {
            self.greeted = false;
        }
    }

    fn end(&mut self, outcome: Result<(), String>) {
        if let Some(done) = self.done.take() {
            // Nobody waits for it only when the program ends otherwise.
            let _ = done.send(outcome);
        }
    }

    fn sweep(&mut self, now: Instant) {
        if self.sweep.is_none_or(|at| at > now) {
            return;
        }
        for place in self.conns.silent(now, COOKIE_TIME) {
            self.close(place);
        }
        self.sweep = self.conns.has_new().then(|| now + SWEEP);
    }

    fn greet(&mut self) {
        if !self.greeted && self.done.is_some() {
            self.greeted = true;
            let text = listening(self.post.at.port(), self.tests + 1);
            self.teller.renew();
            self.teller.line(&text);
        }
    }

    fn place(&self, user: u64, sock: SockId) -> Option<usize> {
        let place = ServiceId::own(user).checked_sub(1)? as usize;
        let conn = self.conns.get(place)?;
        (conn.sock == sock).then_some(place)
    }
}

impl<R: Rng + Send> Service for Server<R> {
    fn data(
        &mut self,
        _: &mut Stack,
        now: Instant,
        sock: SockId,
        user: u64,
        bytes: &[u8],
    ) -> usize {
        let Some(place) = self.place(user, sock) else {
            // Not accepted yet: it waits in the ring.
            return match ServiceId::own(user) {
                0 => 0,
                _ => bytes.len(),
            };
        };
        match (
            self.conns.get(place).map(|conn| conn.kind),
            &mut self.session,
        ) {
            (Some(Kind::Stream(lane)), Some(session)) => {
                session.arrived(lane, bytes.len());
                bytes.len()
            }
            _ => self.take(place, now, bytes),
        }
    }

    fn ready(
        &mut self,
        stack: &mut Stack,
        now: Instant,
        sock: SockId,
        user: u64,
        ready: Readiness,
    ) {
        let Some(place) = self.place(user, sock) else {
            if stack.state(sock) == Ok(TcpState::Listen) {
                self.accept(stack, now, sock);
            }
            return;
        };
        let kind = self.conns.get(place).map(|conn| conn.kind);
        if let (Some(Kind::Stream(lane)), Some(session)) = (kind, &mut self.session)
            && ready.contains(Readiness::OUT)
        {
            session.fill(stack, now, lane);
        }
        if let (Some(Kind::Control), Some(session)) = (kind, &mut self.session)
            && ready.contains(Readiness::OUT)
        {
            session.flush(stack, now);
        }
        if ready.intersects(Readiness::ERR | Readiness::HUP) {
            return self.gone(place);
        }
        if ready.intersects(Readiness::IN | Readiness::RDHUP) {
            self.read(stack, now, place);
        }
    }
}

impl<R: Rng + Send> App for Server<R> {
    fn joined(&mut self, id: ServiceId) {
        self.id = Some(id);
    }

    fn tick(&mut self, stack: &mut Stack, now: Instant) {
        self.greet();
        self.sort(stack, now);
        self.serve(stack, now);
        self.sweep(now);
        self.greet();
        for sock in self.over.drain(..) {
            // Only a stale id can fail: it is closed already.
            let _ = stack.close(now, sock);
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        if !self.over.is_empty() || !self.fresh.is_empty() || !self.greeted && self.done.is_some() {
            return Some(Instant::ZERO);
        }
        let session = self.session.as_ref().and_then(Session::next_deadline);
        session.into_iter().chain(self.sweep).min()
    }

    fn drain(&mut self, stack: &mut Stack, now: Instant) {
        if let Some(mut session) = self.session.take() {
            session.stop(stack, now, &mut self.teller);
            session.say(stack, now, &[State::ServerTerminate.octet()]);
        }
        for place in self.conns.all() {
            self.close(place);
        }
        self.end(Ok(()));
    }

    fn abort(&mut self, stack: &mut Stack, now: Instant) {
        for place in self.conns.all() {
            self.close(place);
        }
        for sock in self.over.drain(..) {
            stack.abort(now, sock);
        }
        self.end(Ok(()));
    }

    fn open(&self) -> usize {
        usize::from(self.done.is_some())
    }
}
