//! Two workers in one thread, joined by the pair, with a clock that moves when both have nothing to do.

use std::io;
use std::net::SocketAddrV4;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use millrace::idle::{Idle, Rest, Wait};
use millrace::net::{Census, Config};
use millrace::pmd::{Impair, ImpairConfig, PairConfig, Queue, pair};
use millrace::worker::Turn;
use millrace::{App, BusyPoll, Client, Clock, VirtualClock, Worker};
use millrace_apps::demo::{CLIENT, SERVER, end_of_wire};
use millrace_apps::http::reply::{Framing, Parsed, parse};

/// The port of the service under test.
pub const AT: SocketAddrV4 = SocketAddrV4::new(SERVER, 80);

/// The two ends.
pub struct Wire {
    client: Worker,
    server: Arc<Mutex<Worker>>,
    clock: VirtualClock,
}

/// The client's idle policy: the server has its turn; when it has nothing to do either, time passes.
struct Beside {
    server: Arc<Mutex<Worker>>,
    clock: VirtualClock,
}

impl Idle for Beside {
    fn idle(&mut self, wait: Wait<'_>) -> io::Result<Rest> {
        let mut server = self.server.lock().expect("server");
        if server.turn() == Turn::Worked {
            return Ok(Rest::Spun);
        }
        let deadline = [wait.deadline, server.next_deadline()]
            .into_iter()
            .flatten()
            .min();
        self.clock
            .advance_to(deadline.expect("both ends wait for ever"));
        Ok(Rest::Slept)
    }
}

impl Wire {
    /// `app` on port 80 of the server, over a perfect wire.
    pub fn new(app: Box<dyn App>) -> Self {
        Self::with_faults(app, None)
    }

    /// The same with faults at the client's end.
    pub fn with_faults(app: Box<dyn App>, faults: Option<ImpairConfig>) -> Self {
        let clock = VirtualClock::new();
        let (near, far) = pair(PairConfig::default());
        let config = |seed| Config::new([seed; 32]);
        let (mut server, _) =
            end_of_wire(SERVER, Box::new(far), config(2), clock.clone(), BusyPoll).expect("server");
        let id = server.add_service(app);
        server.listen(id, AT, 128).expect("listen");
        let server = Arc::new(Mutex::new(server));

        let near: Box<dyn Queue> = Box::new(near);
        let near = match faults {
            None => near,
            Some(faults) => {
                let clock = clock.clone();
                Box::new(Impair::new(near, faults, Box::new(move || clock.now())))
            }
        };
        let beside = Beside {
            server: Arc::clone(&server),
            clock: clock.clone(),
        };
        let (client, _) =
            end_of_wire(CLIENT, near, config(1), clock.clone(), beside).expect("client");
        Self {
            client,
            server,
            clock,
        }
    }

    /// A client with a timeout of ten (virtual) seconds.
    pub fn client(&mut self) -> Client<'_> {
        let mut client = Client::new(&mut self.client);
        client.set_timeout(Some(Duration::from_secs(10)));
        client
    }

    /// An application for the client's worker; it runs when time passes.
    pub fn add_client_app(&mut self, app: Box<dyn App>) {
        self.client.add_service(app);
    }

    /// Runs until no application of the client has anything open.
    pub fn run_client_apps(&mut self) {
        while self.client.open() > 0 {
            if self.client.turn() == Turn::Idle {
                self.client.rest(None).expect("rest");
            }
        }
    }

    pub fn server(&self) -> MutexGuard<'_, Worker> {
        self.server.lock().expect("server")
    }

    /// Lets both ends run for `time`.
    pub fn pass(&mut self, time: Duration) {
        let end = self.clock.now() + time;
        while self.clock.now() < end {
            if self.client.turn() == Turn::Idle {
                self.client.rest(Some(end)).expect("rest");
            }
        }
    }

    /// The client is gone without a word; the server runs alone for `time`.
    pub fn server_alone(&mut self, time: Duration) {
        let end = self.clock.now() + time;
        while self.clock.now() < end {
            let mut server = self.server();
            if server.turn() == Turn::Idle {
                let next = server.next_deadline().map_or(end, |at| at.min(end));
                drop(server);
                self.clock.advance_to(next);
            }
        }
    }

    /// Lets what is closing come to its end and checks that nothing is left at either end but TIME_WAIT.
    #[track_caller]
    pub fn nothing_left(mut self) {
        self.client()
            .settle(Duration::from_secs(120))
            .expect("settle");
        self.pass(Duration::from_secs(1));
        let server = self.server();
        assert_eq!(server.open(), 0, "connections of the service");
        assert_empty("client", &self.client.stack_ref().census(), 0);
        assert_empty("server", &server.stack_ref().census(), 1);
    }

    /// The same for the server alone.
    #[track_caller]
    pub fn server_has_nothing_left(&self) {
        let server = self.server();
        assert_eq!(server.open(), 0, "connections of the service");
        assert_empty("server", &server.stack_ref().census(), 1);
    }
}

#[track_caller]
fn assert_empty(end: &str, census: &Census, listeners: usize) {
    assert_eq!(census.established, 0, "{end}: {census:?}");
    assert_eq!(census.orphans, 0, "{end}: {census:?}");
    assert_eq!(census.requests, 0, "{end}: {census:?}");
    assert_eq!(census.ring_chunks, 0, "{end}: {census:?}");
    assert_eq!(census.sockets, listeners, "{end}: {census:?}");
}

/// A response: its code and its body.
#[derive(Debug, PartialEq, Eq)]
pub struct Response {
    pub code: u16,
    pub body: Vec<u8>,
}

/// What a response is to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum To {
    Get,
    Head,
}

/// Reads one response; what comes after it stays in `buffer`.
#[track_caller]
pub fn response(stream: &mut impl io::Read, buffer: &mut Vec<u8>, to: To) -> Response {
    let mut piece = vec![0; 16 * 1024];
    let mut more = |buffer: &mut Vec<u8>| {
        let n = stream.read(&mut piece).expect("read");
        buffer.extend_from_slice(&piece[..n]);
        n
    };
    let reply = loop {
        match parse(buffer) {
            Parsed::Reply(reply) => break reply,
            Parsed::Partial => assert_ne!(
                more(buffer),
                0,
                "ended in mid-head: {:?}",
                String::from_utf8_lossy(buffer)
            ),
            Parsed::Bad(what) => panic!("{what}: {:?}", String::from_utf8_lossy(buffer)),
        }
    };
    buffer.drain(..reply.head_len);
    let Framing::Length(len) = reply.framing else {
        panic!("{reply:?}")
    };
    let len = if to == To::Head {
        0
    } else {
        usize::try_from(len).expect("length")
    };
    while buffer.len() < len {
        assert_ne!(
            more(buffer),
            0,
            "ended after {} of {len} bytes",
            buffer.len()
        );
    }
    Response {
        code: reply.code,
        body: buffer.drain(..len).collect(),
    }
}

/// Reads until the end of the stream.
#[track_caller]
pub fn rest(stream: &mut impl io::Read) -> Vec<u8> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).expect("read to the end");
    all
}
