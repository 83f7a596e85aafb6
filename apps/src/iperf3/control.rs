//! The order of things on the control connection, at both ends: what has arrived becomes what is to be done, and what comes out
//! of turn is a breach. No socket, no clock; sending is left to the owner, who says what it has done.

use super::params::{self, Asked, Params};
use super::protocol::{Breach, Inbox, Refusal, State};
use super::results::{self, Results};

/// The server's end.
#[derive(Debug)]
pub struct Host {
    at: HostPhase,
    inbox: Inbox,
    streams: usize,
}

/// Where the server is. Whoever leaves a phase is named there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum HostPhase {
    /// Waits for parameters.
    Params,
    /// Waits for streams ([`Host::running`]).
    Streams,
    /// Waits for the end.
    Running,
    /// Waits for the client's results.
    Results,
    /// Waits for the goodbye.
    Goodbye,
    /// Over.
    Over,
}

/// What the client wants.
#[derive(Debug, PartialEq)]
pub enum Wish {
    /// A test: say [`State::CreateStreams`], or why not.
    Test(Asked),
    /// The test is over: say [`State::ExchangeResults`].
    Stop,
    /// These are its results: send ours, then [`State::DisplayResults`].
    Results(Results),
    /// It has all it wants.
    Goodbye,
    /// It stops in the middle.
    Terminate,
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

impl Host {
    /// A client has sent its cookie and was told [`State::ParamExchange`].
    pub fn new() -> Self {
        Self {
            at: HostPhase::Params,
            inbox: Inbox::default(),
            streams: 0,
        }
    }

    /// All streams are there: [`State::TestStart`] and [`State::TestRunning`] were sent.
    pub fn running(&mut self) {
        self.at = HostPhase::Running;
    }

    /// Whether data may flow: all other phases pass in no time.
    pub fn is_running(&self) -> bool {
        self.at == HostPhase::Running
    }

    /// Whether streams may come.
    pub fn awaits_streams(&self) -> bool {
        self.at == HostPhase::Streams
    }

    /// Adds what has arrived.
    ///
    /// # Errors
    ///
    /// [`Breach::Surplus`].
    pub fn add(&mut self, bytes: &[u8]) -> Result<(), Breach> {
        let limit = match self.at {
            HostPhase::Params => params::LIMIT,
            HostPhase::Over => 0,
            _ => results::CLIENT_LIMIT,
        };
        self.inbox.add(bytes, limit)
    }

    /// The next wish, if it has arrived.
    ///
    /// # Errors
    ///
    /// [`Breach`]: the test is over.
    pub fn wish(&mut self) -> Result<Option<Wish>, Breach> {
        match self.at {
            HostPhase::Params => {
                let Some(text) = self.inbox.message(params::LIMIT)? else {
                    return Ok(None);
                };
                let asked = Params::read(&text)?;
                (self.at, self.streams) = match &asked {
                    Ok(params) => (HostPhase::Streams, params.all_streams()),
                    Err(_) => (HostPhase::Over, 0),
                };
                Ok(Some(Wish::Test(asked)))
            }
            HostPhase::Results => {
                let Some(text) = self.inbox.message(results::CLIENT_LIMIT)? else {
                    return Ok(None);
                };
                let results = Results::read(&text, self.streams)?;
                self.at = HostPhase::Goodbye;
                Ok(Some(Wish::Results(results)))
            }
            HostPhase::Over => Ok(None),
            HostPhase::Streams | HostPhase::Running | HostPhase::Goodbye => {
                let Some(state) = self.inbox.state()? else {
                    return Ok(None);
                };
                self.said(state).map(Some)
            }
        }
    }

    fn said(&mut self, state: State) -> Result<Wish, Breach> {
        let (next, wish) = match (state, self.at) {
            (State::TestEnd, HostPhase::Running) => (HostPhase::Results, Wish::Stop),
            // Also instead of streams, by a client that cannot open them.
            (State::IperfDone, _) => (HostPhase::Over, Wish::Goodbye),
            (State::ClientTerminate, _) => (HostPhase::Over, Wish::Terminate),
            _ => return Err(Breach::Order(state)),
        };
        self.at = next;
        Ok(wish)
    }
}

/// The client's end.
#[derive(Debug)]
pub struct Guest {
    at: GuestPhase,
    inbox: Inbox,
    streams: usize,
}

/// Where the client is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum GuestPhase {
    /// Has sent its cookie.
    Cookie,
    /// Has sent its parameters.
    Params,
    /// Opens streams.
    Streams,
    /// Was told to get ready.
    Ready,
    /// Data flows ([`Guest::ended`]).
    Running,
    /// Has said that it is over.
    Ended,
    /// Waits for the server's results.
    Results,
    /// Has them.
    Display,
    /// Why not follows.
    Error,
    /// Over.
    Over,
}

/// What the server wants.
#[derive(Debug, PartialEq)]
pub enum Order {
    /// Send the parameters.
    Params,
    /// Open the streams.
    Streams,
    /// Go.
    Run,
    /// Send the results.
    Results,
    /// These are its own; they are to be shown when [`Order::Display`] follows.
    Peer(Results),
    /// Show all results, and say [`State::IperfDone`].
    Display,
    /// It is busy.
    Busy,
    /// It cannot.
    Refused(Refusal),
    /// It stops in the middle.
    Terminate,
}

impl Guest {
    /// The cookie of a test with so many streams was sent.
    pub fn new(streams: usize) -> Self {
        Self {
            at: GuestPhase::Cookie,
            inbox: Inbox::default(),
            streams,
        }
    }

    /// [`State::TestEnd`] was sent.
    pub fn ended(&mut self) {
        self.at = GuestPhase::Ended;
    }

    /// Whether data flows.
    pub fn is_running(&self) -> bool {
        self.at == GuestPhase::Running
    }

    /// Adds what has arrived.
    ///
    /// # Errors
    ///
    /// [`Breach::Surplus`].
    pub fn add(&mut self, bytes: &[u8]) -> Result<(), Breach> {
        self.inbox.add(bytes, results::SERVER_LIMIT)
    }

    /// The next order, if it has arrived.
    ///
    /// # Errors
    ///
    /// [`Breach`]: the test is over.
    pub fn order(&mut self) -> Result<Option<Order>, Breach> {
        loop {
            match self.at {
                GuestPhase::Results => {
                    let Some(text) = self.inbox.message(results::SERVER_LIMIT)? else {
                        return Ok(None);
                    };
                    let results = Results::read(&text, self.streams)?;
                    self.at = GuestPhase::Display;
                    return Ok(Some(Order::Peer(results)));
                }
                GuestPhase::Error => {
                    let Some(refusal) = self.inbox.numbers() else {
                        return Ok(None);
                    };
                    self.at = GuestPhase::Over;
                    return Ok(Some(Order::Refused(refusal)));
                }
                GuestPhase::Over => return Ok(None),
                _ => {
                    let Some(state) = self.inbox.state()? else {
                        return Ok(None);
                    };
                    if let Some(order) = self.said(state)? {
                        return Ok(Some(order));
                    }
                }
            }
        }
    }

    fn said(&mut self, state: State) -> Result<Option<Order>, Breach> {
        let (next, order) = match (state, self.at) {
            (State::ParamExchange, GuestPhase::Cookie) => (GuestPhase::Params, Some(Order::Params)),
            (State::CreateStreams, GuestPhase::Params) => {
                (GuestPhase::Streams, Some(Order::Streams))
            }
            (State::TestStart, GuestPhase::Streams) => (GuestPhase::Ready, None),
            (State::TestRunning, GuestPhase::Ready) => (GuestPhase::Running, Some(Order::Run)),
            (State::ExchangeResults, GuestPhase::Ended) => {
                (GuestPhase::Results, Some(Order::Results))
            }
            (State::DisplayResults, GuestPhase::Display) => {
                (GuestPhase::Over, Some(Order::Display))
            }
            (State::AccessDenied, _) => (GuestPhase::Over, Some(Order::Busy)),
            (State::ServerError, _) => (GuestPhase::Error, None),
            (State::ServerTerminate, _) => (GuestPhase::Over, Some(Order::Terminate)),
            _ => return Err(Breach::Order(state)),
        };
        self.at = next;
        Ok(order)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::protocol::message;
    use super::super::results::{StreamResult, stream_id};
    use super::*;

    const PARAMS: &str = r#"{"tcp":true,"parallel":1,"time":1}"#;

    fn results() -> String {
        let stream = StreamResult {
            id: stream_id(0),
            bytes: 5,
            retransmits: None,
            seconds: 1.0,
        };
        Results {
            streams: vec![stream],
            ..Results::default()
        }
        .to_json()
    }

    /// A server whose client has said `bytes`, after all wishes that lead to data.
    fn running() -> Host {
        let mut host = Host::new();
        host.add(&message(PARAMS)).expect("room");
        assert!(matches!(host.wish(), Ok(Some(Wish::Test(Ok(_))))));
        assert!(host.awaits_streams());
        host.running();
        host
    }

    #[test]
    fn a_whole_test_at_the_server() {
        let mut host = running();
        assert_eq!(host.wish(), Ok(None));
        let mut rest = vec![State::TestEnd.octet()];
        rest.extend(message(&results()));
        rest.push(State::IperfDone.octet());
        // All at once: each wish waits for the one before it.
        host.add(&rest).expect("room");
        assert_eq!(host.wish(), Ok(Some(Wish::Stop)));
        assert!(!host.is_running());
        assert!(matches!(host.wish(), Ok(Some(Wish::Results(_)))));
        assert_eq!(host.wish(), Ok(Some(Wish::Goodbye)));
        assert_eq!(host.wish(), Ok(None));
    }

    #[test]
    fn states_out_of_turn_at_the_server() {
        for state in [
            State::TestStart,
            State::ParamExchange,
            State::AccessDenied,
            State::DisplayResults,
        ] {
            let mut host = running();
            host.add(&[state.octet()]).expect("room");
            assert_eq!(host.wish(), Err(Breach::Order(state)));
        }
        let mut early = Host::new();
        early.add(&message(PARAMS)).expect("room");
        early.add(&[State::TestEnd.octet()]).expect("room");
        assert!(matches!(early.wish(), Ok(Some(Wish::Test(Ok(_))))));
        assert_eq!(early.wish(), Err(Breach::Order(State::TestEnd)));
        let mut twice = running();
        twice
            .add(&[State::TestEnd.octet(), 0xff, 0xff, 0xff, 0xff])
            .expect("room");
        assert_eq!(twice.wish(), Ok(Some(Wish::Stop)));
        assert_eq!(twice.wish(), Err(Breach::Long(u32::MAX)));
    }

    #[test]
    fn a_client_may_leave_at_any_time() {
        for (state, wish) in [
            (State::IperfDone, Wish::Goodbye),
            (State::ClientTerminate, Wish::Terminate),
        ] {
            let mut host = running();
            host.add(&[state.octet(), state.octet()]).expect("room");
            assert_eq!(host.wish(), Ok(Some(wish)));
            assert_eq!(host.wish(), Ok(None), "nothing comes after it");
        }
    }

    #[test]
    fn a_whole_test_at_the_client() {
        let mut guest = Guest::new(1);
        guest
            .add(&[
                State::ParamExchange.octet(),
                State::CreateStreams.octet(),
                State::TestStart.octet(),
                State::TestRunning.octet(),
            ])
            .expect("room");
        for order in [Order::Params, Order::Streams, Order::Run] {
            assert_eq!(guest.order(), Ok(Some(order)));
        }
        assert!(guest.is_running());
        guest.ended();
        let mut rest = vec![State::ExchangeResults.octet()];
        rest.extend(message(&results()));
        rest.push(State::DisplayResults.octet());
        guest.add(&rest).expect("room");
        assert_eq!(guest.order(), Ok(Some(Order::Results)));
        assert!(matches!(guest.order(), Ok(Some(Order::Peer(_)))));
        assert_eq!(guest.order(), Ok(Some(Order::Display)));
        assert_eq!(guest.order(), Ok(None));
    }

    #[test]
    fn refusals_at_the_client() {
        let mut busy = Guest::new(1);
        busy.add(&[State::AccessDenied.octet()]).expect("room");
        assert_eq!(busy.order(), Ok(Some(Order::Busy)));
        let refusal = Refusal {
            code: 202,
            errno: 93,
        };
        let mut refused = Guest::new(1);
        let bytes = refusal.to_bytes();
        refused.add(&[State::ParamExchange.octet()]).expect("room");
        refused.add(&bytes[..5]).expect("room");
        assert_eq!(refused.order(), Ok(Some(Order::Params)));
        assert_eq!(refused.order(), Ok(None));
        refused.add(&bytes[5..]).expect("room");
        assert_eq!(refused.order(), Ok(Some(Order::Refused(refusal))));
        let mut early = Guest::new(1);
        early.add(&[State::TestRunning.octet()]).expect("room");
        assert_eq!(early.order(), Err(Breach::Order(State::TestRunning)));
    }

    proptest! {
        /// Whatever comes, in whatever pieces: an answer or a breach, and an end.
        #[test]
        fn any_octets(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8), at in 0..6usize) {
            let (mut host, mut guest) = (Host::new(), Guest::new(2));
            if at > 0 { host = running(); }
            guest.at = [GuestPhase::Cookie, GuestPhase::Streams, GuestPhase::Ended, GuestPhase::Results, GuestPhase::Display,
                GuestPhase::Error][at];
            for piece in &pieces {
                if host.add(piece).is_err() { break; }
                let mut wishes = 0;
                while let Ok(Some(_)) = host.wish() { wishes += 1; prop_assert!(wishes < 1000); }
            }
            for piece in &pieces {
                if guest.add(piece).is_err() { break; }
                let mut orders = 0;
                while let Ok(Some(_)) = guest.order() { orders += 1; prop_assert!(orders < 1000); }
            }
        }
    }
}
