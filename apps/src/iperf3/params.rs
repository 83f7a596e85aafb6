//! What the client asks for: JSON that both ends read. iperf3's limits hold; what is unknown is passed over, as iperf3 does.

use core::time::Duration;

use serde_json::{Map, Value, json};

use super::protocol::{self, Breach, Refusal};

/// The longest message with parameters.
pub const LIMIT: u32 = 64 * 1024;
/// Streams in one direction.
pub const MAX_STREAMS: u64 = 128;
/// Octets of a block.
pub const MAX_BLOCK: u64 = 1024 * 1024;
/// Octets of a block when nothing is said.
pub const DEFAULT_BLOCK: u64 = 128 * 1024;
/// Seconds of a test.
pub const MAX_TIME: u64 = 86_400;
/// Seconds that are left out at the start.
pub const MAX_OMIT: u64 = 600;
/// Octets of a segment.
pub const MAX_MSS: u64 = 9 * 1024;
/// Octets of a socket's buffer.
pub const MAX_WINDOW: u64 = 512 * 1024 * 1024;
/// Blocks of a burst.
pub const MAX_BURST: u64 = 1000;
/// Bits per second.
pub const MAX_RATE: u64 = 1 << 50;

/// EINVAL, EPROTONOSUPPORT and ENOPROTOOPT.
const INVALID: u32 = 22;
const NO_PROTOCOL: u32 = 93;
const NO_OPTION: u32 = 92;

/// Who sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Way {
    /// The client.
    #[default]
    Forward,
    /// The server.
    Reverse,
    /// Both, on streams of their own.
    Both,
}

/// When the client ends the test.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// After so long.
    Time(Duration),
    /// After so many octets on all streams together.
    Bytes(u64),
    /// After so many blocks.
    Blocks(u64),
}

/// Everything both ends must know of a test.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Params {
    /// Who sends.
    pub way: Way,
    /// Streams in each direction.
    pub streams: u64,
    /// When the client ends it.
    pub end: End,
    /// What is left out at the start.
    pub omit: Duration,
    /// Octets of a block.
    pub block: usize,
    /// Bits per second of each stream; 0 is no limit.
    pub rate: u64,
    /// Blocks sent at once under a limit; 0 is one.
    pub burst: u64,
    /// TCP_NODELAY.
    pub no_delay: bool,
    /// TCP_MAXSEG, 0 for the path's.
    pub mss: u16,
    /// SO_SNDBUF and SO_RCVBUF, 0 for those that adapt.
    pub window: u32,
    /// IP_TOS.
    pub tos: u8,
    /// TCP_CONGESTION, empty for the default.
    pub congestion: String,
    /// Blocks of repeated digits, not of random octets.
    pub repeating: bool,
    /// The client wants what the server prints.
    pub server_output: bool,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            way: Way::Forward,
            streams: 1,
            end: End::Time(Duration::from_secs(10)),
            omit: Duration::ZERO,
            block: DEFAULT_BLOCK as usize,
            rate: 0,
            burst: 0,
            no_delay: false,
            mss: 0,
            window: 0,
            tos: 0,
            congestion: String::new(),
            repeating: false,
            server_output: false,
        }
    }
}

/// Parameters that were read: a test, or the reason that there is none.
pub type Asked = Result<Params, Refusal>;

impl Params {
    /// Streams in all.
    pub fn all_streams(&self) -> usize {
        let ways = if self.way == Way::Both { 2 } else { 1 };
        self.streams as usize * ways
    }

    /// As the client sends them.
    pub fn to_json(&self) -> String {
        let Self {
            way,
            streams,
            end,
            omit,
            block,
            rate,
            burst,
            no_delay,
            mss,
            window,
            tos,
            congestion,
            repeating,
            server_output,
        } = self;
        let (time, num, blocks) = match end {
            End::Time(time) => (time.as_secs(), 0, 0),
            End::Bytes(bytes) => (0, *bytes, 0),
            End::Blocks(blocks) => (0, 0, *blocks),
        };
        let mut text = json!({
            "tcp": true, "omit": omit.as_secs(), "time": time, "num": num, "blockcount": blocks,
            "parallel": streams, "len": block, "pacing_timer": 1000,
            "client_version": concat!("millrace ", env!("CARGO_PKG_VERSION")),
        });
        let mut set = |name: &str, is: bool, value: Value| {
            if is {
                text[name] = value;
            }
        };
        set("reverse", *way == Way::Reverse, json!(true));
        set("bidirectional", *way == Way::Both, json!(true));
        set("MSS", *mss > 0, json!(mss));
        set("nodelay", *no_delay, json!(true));
        set("window", *window > 0, json!(window));
        set("bandwidth", *rate > 0, json!(rate));
        set("burst", *burst > 0, json!(burst));
        set("TOS", *tos > 0, json!(tos));
        set("congestion", !congestion.is_empty(), json!(congestion));
        set("repeating_payload", *repeating, json!(1));
        set("get_server_output", *server_output, json!(1));
        text.to_string()
    }

    /// Reads what a client sends.
    ///
    /// # Errors
    ///
    /// [`Breach::Message`] for what is no JSON object; what cannot be done is a refusal inside.
    pub fn read(text: &[u8]) -> Result<Asked, Breach> {
        let fields: Map<String, Value> =
            serde_json::from_slice(text).map_err(|e| Breach::Message(e.to_string()))?;
        Ok(Self::of(&Fields(&fields)))
    }

    fn of(fields: &Fields<'_>) -> Asked {
        if !fields.flag("tcp") {
            // Words of iperf3 for a protocol that was not built in.
            return Err(Refusal {
                code: protocol::STREAM_LISTEN,
                errno: NO_PROTOCOL,
            });
        }
        if fields.number("fqrate", u64::MAX)? > 0 {
            return Err(Refusal {
                code: protocol::PACING,
                errno: NO_OPTION,
            });
        }
        let time = fields.number("time", MAX_TIME)?;
        let bytes = fields.number("num", 1 << 62)?;
        let blocks = fields.number("blockcount", 1 << 42)?;
        let end = match (time, bytes, blocks) {
            (_, 0, 0) => End::Time(Duration::from_secs(time)),
            (_, 0, blocks) => End::Blocks(blocks),
            (_, bytes, _) => End::Bytes(bytes),
        };
        let way = match (fields.flag("reverse"), fields.flag("bidirectional")) {
            (false, false) => Way::Forward,
            (true, false) => Way::Reverse,
            (_, true) => Way::Both,
        };
        Ok(Self {
            way,
            streams: match fields.number("parallel", MAX_STREAMS)? {
                0 => return Err(Fields::invalid()),
                streams => streams,
            },
            end,
            omit: Duration::from_secs(fields.number("omit", MAX_OMIT)?),
            block: match fields.number("len", MAX_BLOCK)? {
                0 => DEFAULT_BLOCK as usize,
                block => block as usize,
            },
            rate: fields.number("bandwidth", MAX_RATE)?,
            burst: fields.number("burst", MAX_BURST)?,
            no_delay: fields.flag("nodelay"),
            // Each bound is within its type.
            mss: fields.number("MSS", MAX_MSS)? as u16,
            window: fields.number("window", MAX_WINDOW)? as u32,
            tos: fields.number("TOS", 255)? as u8,
            congestion: fields.text("congestion")?,
            repeating: fields.flag("repeating_payload"),
            server_output: fields.flag("get_server_output"),
        })
    }
}

/// The fields of a message.
struct Fields<'a>(&'a Map<String, Value>);

impl Fields<'_> {
    fn invalid() -> Refusal {
        Refusal {
            code: protocol::BAD_PARAMS,
            errno: INVALID,
        }
    }

    /// A number up to `most`; 0 when it is not there.
    fn number(&self, name: &str, most: u64) -> Result<u64, Refusal> {
        let Some(value) = self.0.get(name) else {
            return Ok(0);
        };
        whole(value)
            .filter(|&number| number <= most)
            .ok_or_else(Self::invalid)
    }

    /// Whether a flag is set: `true`, or a number other than 0.
    fn flag(&self, name: &str) -> bool {
        match self.0.get(name) {
            Some(Value::Bool(set)) => *set,
            Some(value) => whole(value).is_some_and(|number| number != 0),
            None => false,
        }
    }

    fn text(&self, name: &str) -> Result<String, Refusal> {
        match self.0.get(name) {
            None => Ok(String::new()),
            Some(Value::String(text)) if text.len() <= 64 => Ok(text.clone()),
            Some(_) => Err(Self::invalid()),
        }
    }
}

/// A whole number that is not negative, also when it is written with an exponent.
pub(super) fn whole(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| {
        let number = value.as_f64()?;
        // Exact up to 2^53, and nobody counts further with a decimal point.
        (number.fract() == 0.0 && (0.0..1.8e19).contains(&number)).then_some(number as u64)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Asked {
        Params::read(text.as_bytes()).expect("an object")
    }

    /// As stock iperf3 3.12 sent it.
    #[test]
    fn what_iperf3_sends() {
        let asked = read(
            r#"{"tcp":true,"omit":1,"time":1,"num":0,"blockcount":0,"MSS":1000,"nodelay":true,"parallel":2,
            "bidirectional":true,"window":102400,"len":1000,"bandwidth":100000000,"pacing_timer":1000,"burst":5,"TOS":8,
            "title":"hi","extra_data":"foo","congestion":"cubic","get_server_output":1,"client_version":"3.12"}"#,
        );
        let params = Params {
            way: Way::Both,
            streams: 2,
            end: End::Time(Duration::from_secs(1)),
            omit: Duration::from_secs(1),
            block: 1000,
            rate: 100_000_000,
            burst: 5,
            no_delay: true,
            mss: 1000,
            window: 102_400,
            tos: 8,
            congestion: "cubic".to_owned(),
            repeating: false,
            server_output: true,
        };
        assert_eq!(params.all_streams(), 4);
        assert_eq!(read(&params.to_json()), Ok(params.clone()));
        assert_eq!(asked, Ok(params));
    }

    #[test]
    fn what_is_written_is_read_back() {
        for end in [
            End::Time(Duration::ZERO),
            End::Bytes(1 << 40),
            End::Blocks(7),
        ] {
            let params = Params {
                way: Way::Reverse,
                end,
                repeating: true,
                ..Params::default()
            };
            assert_eq!(read(&params.to_json()), Ok(params));
        }
        assert_eq!(
            read(r#"{"tcp":true,"parallel":1,"num":1e12,"len":0}"#).map(|p| (p.end, p.block)),
            Ok((End::Bytes(1_000_000_000_000), DEFAULT_BLOCK as usize))
        );
    }

    #[test]
    fn other_protocols_are_refused_as_iperf3_refuses_them() {
        for text in [
            r#"{"udp":true,"parallel":1}"#,
            r#"{"sctp":true,"parallel":1}"#,
            "{}",
        ] {
            let refusal = read(text).expect_err(text);
            assert_eq!((refusal.code, refusal.errno), (202, 93), "{text}");
        }
        let paced = read(r#"{"tcp":true,"parallel":1,"fqrate":1000}"#).expect_err("no pacing");
        assert_eq!((paced.code, paced.errno), (140, 92));
    }

    #[test]
    fn nonsense_is_refused() {
        for field in [
            r#""parallel":0"#,
            r#""parallel":129"#,
            r#""parallel":-1"#,
            r#""parallel":"8""#,
            r#""parallel":1.5"#,
            r#""parallel":1,"len":1048577"#,
            r#""parallel":1,"omit":601"#,
            r#""parallel":1,"time":1e300"#,
            r#""parallel":1,"MSS":65536"#,
            r#""parallel":1,"window":9e9"#,
            r#""parallel":1,"TOS":256"#,
            r#""parallel":1,"burst":1001"#,
            r#""parallel":1,"congestion":7"#,
        ] {
            let refusal = read(&format!("{{\"tcp\":true,{field}}}")).expect_err(field);
            assert_eq!((refusal.code, refusal.errno), (114, 22), "{field}");
        }
        let deep = format!("{}1{}", "[".repeat(20_000), "]".repeat(20_000));
        for text in ["", "[]", "{", "7", "{\"a\":\u{1}}", deep.as_str()] {
            let breach = Params::read(text.as_bytes()).expect_err("no object");
            assert!(matches!(breach, Breach::Message(_)), "{breach:?}");
        }
    }
}
