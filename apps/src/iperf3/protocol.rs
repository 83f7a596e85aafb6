//! What travels on the control connection: a cookie of 37 octets, states of one octet, JSON behind a length of four octets, and
//! errors of two numbers. Read bit by bit, as it arrives; nothing that the peer says makes more memory than its bound.

use core::fmt;

/// Octets of a cookie, the zero at its end included.
pub const COOKIE: usize = 37;
/// What the letters of a cookie are taken from.
const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Names a test: the first thing on each of its connections.
pub type Cookie = [u8; COOKIE];

/// A cookie out of so many random numbers.
pub fn cookie(mut random: impl FnMut() -> u32) -> Cookie {
    let mut cookie = [0; COOKIE];
    for letter in &mut cookie[..COOKIE - 1] {
        *letter = LETTERS[random() as usize % LETTERS.len()];
    }
    cookie
}

/// A cookie as text.
pub fn cookie_text(cookie: &Cookie) -> String {
    let end = cookie.iter().position(|&c| c == 0).unwrap_or(COOKIE);
    String::from_utf8_lossy(&cookie[..end]).into_owned()
}

macro_rules! states {
    ($($(#[doc = $doc:literal])+ $name:ident = $octet:literal,)*) => {
        /// What one side tells the other to do next, or that it cannot.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum State { $($(#[doc = $doc])+ $name,)* }

        impl State {
            /// The octet for it.
            pub const fn octet(self) -> u8 {
                match self { $(Self::$name => $octet as i8 as u8,)* }
            }

            /// What an octet stands for.
            ///
            /// # Errors
            ///
            /// [`Breach::State`].
            pub const fn from_octet(octet: u8) -> Result<Self, Breach> {
                $(if octet == $octet as i8 as u8 { return Ok(Self::$name); })*
                Err(Breach::State(octet as i8))
            }
        }
    };
}

states! {
    /// Server: get ready.
    TestStart = 1,
    /// Server: go.
    TestRunning = 2,
    /// Client: the test is over.
    TestEnd = 4,
    /// Server: send the parameters.
    ParamExchange = 9,
    /// Server: open the streams.
    CreateStreams = 10,
    /// Server: it stops in the middle.
    ServerTerminate = 11,
    /// Client: it stops in the middle.
    ClientTerminate = 12,
    /// Server: send the results.
    ExchangeResults = 13,
    /// Server: that was all.
    DisplayResults = 14,
    /// Nobody sends it.
    IperfStart = 15,
    /// Client: goodbye.
    IperfDone = 16,
    /// Server: another test is running.
    AccessDenied = -1,
    /// Server: two numbers follow that say what is wrong.
    ServerError = -2,
}

/// What a peer did against the protocol.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Breach {
    /// No such state.
    State(i8),
    /// A state at a time when it makes no sense.
    Order(State),
    /// A message longer than any that makes sense.
    Long(u32),
    /// A message that is no JSON, or lacks what it needs.
    Message(String),
    /// Octets after the end of everything.
    Surplus,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::State(state) => write!(f, "it sent the state {state}, which there is not"),
            Self::Order(state) => write!(f, "it sent the state {state:?} out of turn"),
            Self::Long(len) => write!(
                f,
                "it announced a message of {len} bytes, which is too long"
            ),
            Self::Message(why) => write!(f, "it sent a message that cannot be used: {why}"),
            Self::Surplus => f.write_str("it sent more than the protocol has"),
        }
    }
}

/// What has arrived and is not read yet.
#[derive(Default, Debug)]
pub struct Inbox {
    bytes: Vec<u8>,
}

impl Inbox {
    /// The most that waits unread beside a message: nobody sends so much ahead.
    const AHEAD: usize = 4096;

    /// Adds what has arrived. `limit` is the longest message that may come.
    ///
    /// # Errors
    ///
    /// [`Breach::Surplus`].
    pub fn add(&mut self, bytes: &[u8], limit: u32) -> Result<(), Breach> {
        if self.bytes.len() + bytes.len() > limit as usize + Self::AHEAD {
            return Err(Breach::Surplus);
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// The next state, if it is there.
    ///
    /// # Errors
    ///
    /// [`Breach::State`].
    pub fn state(&mut self) -> Result<Option<State>, Breach> {
        match self.bytes.first() {
            None => Ok(None),
            Some(&octet) => {
                let state = State::from_octet(octet)?;
                self.bytes.drain(..1);
                Ok(Some(state))
            }
        }
    }

    /// The next message of at most `limit` octets, if it is all there.
    ///
    /// # Errors
    ///
    /// [`Breach::Long`].
    pub fn message(&mut self, limit: u32) -> Result<Option<Vec<u8>>, Breach> {
        let Some(head) = self.bytes.first_chunk::<4>() else {
            return Ok(None);
        };
        let len = u32::from_be_bytes(*head);
        if len > limit {
            return Err(Breach::Long(len));
        }
        let end = 4 + len as usize;
        if self.bytes.len() < end {
            return Ok(None);
        }
        let rest = self.bytes.split_off(end);
        let mut message = core::mem::replace(&mut self.bytes, rest);
        message.drain(..4);
        Ok(Some(message))
    }

    /// The two numbers behind [`State::ServerError`], if they are there.
    pub fn numbers(&mut self) -> Option<Refusal> {
        let head = *self.bytes.first_chunk::<8>()?;
        self.bytes.drain(..8);
        let [a, b, c, d, e, f, g, h] = head;
        Some(Refusal {
            code: u32::from_be_bytes([a, b, c, d]),
            errno: u32::from_be_bytes([e, f, g, h]),
        })
    }
}

/// A message with its length before it.
pub fn message(text: &str) -> Vec<u8> {
    let len = u32::try_from(text.len()).unwrap_or(u32::MAX);
    let mut bytes = len.to_be_bytes().to_vec();
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

/// What a server says when it cannot do what is asked: iperf3's own number for it, and an errno or 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// iperf3's number.
    pub code: u32,
    /// Linux's errno.
    pub errno: u32,
}

macro_rules! reasons {
    ($($name:ident = $code:literal $text:literal,)*) => {
        $(#[doc = $text] pub const $name: u32 = $code;)*

        /// iperf3's numbers in words.
        fn reason(code: u32) -> Option<&'static str> {
            match code { $($code => Some($text),)* _ => None }
        }
    };
}

reasons! {
    BAD_MESSAGE = 110 "the message makes no sense",
    BAD_PARAMS = 114 "the parameters cannot be used",
    BAD_RESULTS = 117 "the results cannot be used",
    NO_DELAY = 122 "TCP_NODELAY cannot be set",
    MSS = 123 "the segment size cannot be set",
    BUFFERS = 124 "the buffer size cannot be set",
    TOS = 125 "the type of service cannot be set",
    PROTOCOL = 131 "the protocol is not there",
    CONGESTION = 134 "the congestion control is not there",
    PACING = 140 "the rate of the socket cannot be set",
    STREAM_LISTEN = 202 "it cannot listen for such streams",
    STREAM_ACCEPT = 204 "it cannot accept a stream",
}

impl Refusal {
    /// As it is sent.
    pub fn to_bytes(self) -> Vec<u8> {
        let mut bytes = vec![State::ServerError.octet()];
        bytes.extend_from_slice(&self.code.to_be_bytes());
        bytes.extend_from_slice(&self.errno.to_be_bytes());
        bytes
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match reason(self.code) {
            Some(text) => f.write_str(text)?,
            None => write!(f, "error {} of iperf3", self.code)?,
        }
        match self.errno {
            0 => Ok(()),
            errno => {
                let errno = i32::try_from(errno).unwrap_or(i32::MAX);
                write!(f, " ({})", std::io::Error::from_raw_os_error(errno))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_have_the_octets_that_iperf3_sends() {
        for (state, octet) in [
            (State::ParamExchange, b'\t'),
            (State::CreateStreams, b'\n'),
            (State::ExchangeResults, b'\r'),
            (State::IperfDone, 0x10),
            (State::AccessDenied, 0xff),
            (State::ServerError, 0xfe),
        ] {
            assert_eq!(state.octet(), octet);
            assert_eq!(State::from_octet(octet), Ok(state));
        }
        assert_eq!(State::from_octet(3), Err(Breach::State(3)));
        assert_eq!(State::from_octet(0x80), Err(Breach::State(-128)));
    }

    #[test]
    fn octets_one_at_a_time() {
        let mut inbox = Inbox::default();
        let mut sent = message("{\"a\":1}");
        sent.push(14);
        for &octet in &sent[..sent.len() - 2] {
            inbox.add(&[octet], 100).expect("room");
            assert_eq!(inbox.message(100), Ok(None));
        }
        inbox.add(&sent[sent.len() - 2..], 100).expect("room");
        assert_eq!(inbox.message(100), Ok(Some(b"{\"a\":1}".to_vec())));
        assert_eq!(inbox.state(), Ok(Some(State::DisplayResults)));
        assert_eq!(inbox.state(), Ok(None));
    }

    #[test]
    fn lengths_are_bounded() {
        let mut inbox = Inbox::default();
        inbox.add(&[0xff, 0xff, 0xff, 0xff], 100).expect("room");
        assert_eq!(inbox.message(100), Err(Breach::Long(u32::MAX)));
        let mut inbox = Inbox::default();
        inbox.add(&[0, 0, 0, 101], 100).expect("room");
        assert_eq!(inbox.message(100), Err(Breach::Long(101)));
        let mut inbox = Inbox::default();
        assert_eq!(inbox.add(&[0; 5000], 100), Err(Breach::Surplus));
    }

    #[test]
    fn the_refusal_that_iperf3_sends_for_sctp() {
        let refusal = Refusal {
            code: STREAM_LISTEN,
            errno: 93,
        };
        assert_eq!(refusal.to_bytes(), b"\xfe\x00\x00\x00\xca\x00\x00\x00]");
        let mut inbox = Inbox::default();
        inbox.add(&refusal.to_bytes(), 0).expect("room");
        assert_eq!(inbox.state(), Ok(Some(State::ServerError)));
        assert_eq!(inbox.numbers(), Some(refusal));
        assert!(refusal.to_string().contains("listen"), "{refusal}");
    }

    #[test]
    fn cookies_end_with_a_zero() {
        let mut n = 0;
        let cookie = cookie(|| {
            n += 7;
            n
        });
        assert_eq!(cookie[36], 0);
        assert_eq!(cookie_text(&cookie).len(), 36);
    }
}
