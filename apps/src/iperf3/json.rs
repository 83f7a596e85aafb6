//! The document that iperf3 prints with `-J`, with its keys.

use std::net::SocketAddrV4;

use serde_json::{Map, Value, json};

use super::params::{End, Way};
use super::protocol::{Cookie, cookie_text};
use super::results::{Output, stream_id};
use super::run::{Interval, Part, Role, Row};
use super::sums::{StreamSum, Sum, Sums, parts, rate};

/// What is known when a test begins.
#[derive(Clone, Debug)]
pub struct Beginning {
    /// The streams: our end, the peer's end.
    pub connected: Vec<(SocketAddrV4, SocketAddrV4)>,
    /// The other end of the control connection.
    pub peer: SocketAddrV4,
    /// Names the test.
    pub cookie: Cookie,
    /// Octets of payload in a full segment.
    pub mss: u32,
    /// SO_SNDBUF and SO_RCVBUF.
    pub buffers: (u32, u32),
    /// Seconds since 1970.
    pub unix_s: u64,
}

/// The whole document.
pub fn document(
    beginning: &Beginning,
    intervals: &[Interval],
    sums: &Sums,
    output: Option<&Output>,
) -> Value {
    let intervals: Vec<Value> = intervals.iter().map(|one| interval(one, sums)).collect();
    let mut document = json!({
        "start": start(beginning, sums),
        "intervals": intervals,
        "end": end(sums),
    });
    match output {
        Some(Output::Text(text)) => document["server_output_text"] = json!(text),
        Some(Output::Json(json)) => document["server_output_json"] = json.clone(),
        None => {}
    }
    document
}

/// A document that says what went wrong.
pub fn error(text: &str) -> Value {
    json!({ "start": {}, "intervals": [], "end": {}, "error": text })
}

fn start(beginning: &Beginning, sums: &Sums) -> Value {
    let Beginning {
        connected,
        peer,
        cookie,
        mss,
        buffers: (sndbuf, rcvbuf),
        unix_s,
    } = beginning;
    let params = &sums.params;
    let connected: Vec<Value> = connected
        .iter()
        .enumerate()
        .map(|(place, (ours, theirs))| {
            json!({
                "socket": stream_id(place), "local_host": ours.ip().to_string(), "local_port": ours.port(),
                "remote_host": theirs.ip().to_string(), "remote_port": theirs.port(),
            })
        })
        .collect();
    let (duration, bytes, blocks) = match params.end {
        End::Time(time) => (time.as_secs(), 0, 0),
        End::Bytes(bytes) => (0, bytes, 0),
        End::Blocks(blocks) => (0, 0, blocks),
    };
    let (peer_key, mss_key) = (
        match sums.role {
            Role::Client => "connecting_to",
            Role::Server => "accepted_connection",
        },
        match params.mss {
            0 => "tcp_mss_default",
            _ => "tcp_mss",
        },
    );
    json!({
        "connected": connected,
        "version": concat!("millrace ", env!("CARGO_PKG_VERSION")),
        "timestamp": { "timesecs": unix_s },
        peer_key: { "host": peer.ip().to_string(), "port": peer.port() },
        "cookie": cookie_text(cookie),
        mss_key: mss,
        "target_bitrate": params.rate,
        "sock_bufsize": params.window,
        "sndbuf_actual": sndbuf,
        "rcvbuf_actual": rcvbuf,
        "test_start": {
            "protocol": "TCP", "num_streams": params.streams, "blksize": params.block, "omit": params.omit.as_secs(),
            "duration": duration, "bytes": bytes, "blocks": blocks,
            "reverse": u8::from(params.way == Way::Reverse),
            "bidir": u8::from(params.way == Way::Both),
            "tos": params.tos, "target_bitrate": params.rate,
        },
    })
}

fn interval(interval: &Interval, sums: &Sums) -> Value {
    let streams: Vec<Value> = interval
        .rows
        .iter()
        .enumerate()
        .map(|(place, row)| {
            let mut told = row_json(interval, row, Some(stream_id(place)));
            if let Some(tcp) = row.tcp {
                for (name, value) in [
                    ("snd_cwnd", tcp.cwnd),
                    ("snd_wnd", tcp.wnd),
                    ("rtt", tcp.rtt),
                    ("rttvar", tcp.rttvar),
                    ("pmtu", tcp.pmtu),
                ] {
                    told[name] = json!(value);
                }
            }
            told
        })
        .collect();
    let mut told = json!({ "streams": streams });
    for (part, name) in parts(&sums.params, sums.role)
        .into_iter()
        .zip(["sum", "sum_bidir_reverse"])
    {
        if let Some(sum) = interval.sum(part) {
            told[name] = row_json(interval, &sum, None);
        }
    }
    told
}

fn row_json(interval: &Interval, row: &Row, socket: Option<u64>) -> Value {
    let mut told = json!({
        "start": interval.start, "end": interval.end, "seconds": interval.seconds(), "bytes": row.bytes,
        "bits_per_second": rate(row.bytes, interval.seconds()),
        "omitted": interval.omitted, "sender": row.part == Part::Sends,
    });
    if let Some(socket) = socket {
        told["socket"] = json!(socket);
    }
    if let Some(tcp) = row.tcp {
        told["retransmits"] = json!(tcp.retransmits);
    }
    told
}

fn end(sums: &Sums) -> Value {
    let streams: Vec<Value> = sums
        .of(sums.parts()[0])
        .chain(
            sums.parts()
                .get(1)
                .into_iter()
                .flat_map(|&part| sums.of(part)),
        )
        .map(stream_json)
        .collect();
    let mut told = Map::new();
    told.insert("streams".to_owned(), Value::Array(streams));
    for (part, suffix) in sums.parts().into_iter().zip(["", "_bidir_reverse"]) {
        for (name, sum) in [
            ("sum_sent", sums.sent(part)),
            ("sum_received", sums.received(part)),
        ] {
            told.insert(
                format!("{name}{suffix}"),
                sum_json(&sum.unwrap_or_default(), part),
            );
        }
    }
    told.insert(
        "cpu_utilization_percent".to_owned(),
        json!({
            "host_total": sums.cpu.total, "host_user": sums.cpu.user, "host_system": sums.cpu.system,
            "remote_total": sums.peer_cpu.total, "remote_user": sums.peer_cpu.user,
            "remote_system": sums.peer_cpu.system,
        }),
    );
    let sends = sums.parts()[0] == Part::Sends;
    let (sender, receiver) = match sends {
        true => (&sums.congestion, &sums.peer_congestion),
        false => (&sums.peer_congestion, &sums.congestion),
    };
    for (name, congestion) in [
        ("sender_tcp_congestion", sender),
        ("receiver_tcp_congestion", receiver),
    ] {
        if !congestion.is_empty() {
            told.insert(name.to_owned(), json!(congestion));
        }
    }
    Value::Object(told)
}

fn sum_json(sum: &Sum, part: Part) -> Value {
    let mut told = json!({
        "start": 0, "end": sum.seconds, "seconds": sum.seconds, "bytes": sum.bytes, "bits_per_second": sum.rate(),
        "sender": part == Part::Sends,
    });
    if let Some(retransmits) = sum.retransmits {
        told["retransmits"] = json!(retransmits);
    }
    told
}

fn stream_json(stream: &StreamSum) -> Value {
    let of = |sum: Option<Sum>| {
        let mut told = sum_json(&sum.unwrap_or_default(), stream.part);
        told["socket"] = json!(stream.id);
        told
    };
    let mut sender = of(stream.sender);
    if stream.part == Part::Sends {
        let extremes = &stream.extremes;
        for (name, value) in [
            ("max_snd_cwnd", extremes.max_cwnd),
            ("max_snd_wnd", extremes.max_wnd),
            ("max_rtt", extremes.max_rtt),
            ("min_rtt", extremes.min_rtt),
            ("mean_rtt", extremes.mean_rtt()),
        ] {
            sender[name] = json!(value);
        }
    }
    json!({ "sender": sender, "receiver": of(stream.receiver) })
}
