//! What each end tells the other after a test.

use serde_json::{Value, json};

use super::params::whole;
use super::protocol::Breach;

/// The longest message with results that a server takes: nothing but numbers for each stream.
pub const CLIENT_LIMIT: u32 = 256 * 1024;
/// The longest that a client takes: all that the server printed is in it.
pub const SERVER_LIMIT: u32 = 16 * 1024 * 1024;

/// Processor time as shares of the time that passed, in percent.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Cpu {
    /// Programs and kernel.
    pub total: f64,
    /// Programs.
    pub user: f64,
    /// Kernel.
    pub system: f64,
}

/// What one end knows of a stream.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct StreamResult {
    /// 1, 3, 4, 5 …, the same at both ends.
    pub id: u64,
    /// Octets sent, or received.
    pub bytes: u64,
    /// Segments sent again; nothing at a receiver.
    pub retransmits: Option<u64>,
    /// Seconds from the start of the test to the end.
    pub seconds: f64,
}

/// What one end knows.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Results {
    /// Its processor time.
    pub cpu: Cpu,
    /// Its congestion control.
    pub congestion: String,
    /// Its streams.
    pub streams: Vec<StreamResult>,
    /// What the server printed.
    pub output: Option<Output>,
}

/// What a server printed.
#[derive(Clone, PartialEq, Debug)]
pub enum Output {
    /// As text.
    Text(String),
    /// As JSON.
    Json(Value),
}

/// The number of the stream that was opened as the `place`th.
pub fn stream_id(place: usize) -> u64 {
    match place {
        0 => 1,
        place => place as u64 + 2,
    }
}

impl Results {
    /// As it is sent.
    pub fn to_json(&self) -> String {
        let Self {
            cpu,
            congestion,
            streams,
            output,
        } = self;
        // A receiver has no count of retransmissions: -1.
        let count = |count: Option<u64>| count.map_or(json!(-1), |count| json!(count));
        let sends = streams.iter().any(|stream| stream.retransmits.is_some());
        let told = streams.iter().map(|stream| {
            json!({
                "id": stream.id, "bytes": stream.bytes, "retransmits": count(stream.retransmits),
                "jitter": 0, "errors": 0, "packets": 0, "start_time": 0, "end_time": stream.seconds,
            })
        });
        let mut text = json!({
            "cpu_util_total": cpu.total, "cpu_util_user": cpu.user, "cpu_util_system": cpu.system,
            "sender_has_retransmits": if sends { 1 } else { -1 },
            "congestion_used": congestion,
            "streams": told.collect::<Vec<_>>(),
        });
        match output {
            Some(Output::Text(output)) => text["server_output_text"] = json!(output),
            Some(Output::Json(output)) => text["server_output_json"] = output.clone(),
            None => {}
        }
        text.to_string()
    }

    /// Reads what the peer sends of `streams` streams, which it must all know.
    ///
    /// # Errors
    ///
    /// [`Breach::Message`].
    pub fn read(text: &[u8], streams: usize) -> Result<Self, Breach> {
        let bad = |what: &str| Breach::Message(format!("its results have no usable {what}"));
        let mut told: Value =
            serde_json::from_slice(text).map_err(|e| Breach::Message(e.to_string()))?;
        let share = |name: &str| told[name].as_f64().unwrap_or(0.0);
        let cpu = Cpu {
            total: share("cpu_util_total"),
            user: share("cpu_util_user"),
            system: share("cpu_util_system"),
        };
        let list = told["streams"].as_array().ok_or_else(|| bad("streams"))?;
        let counts = whole(&told["sender_has_retransmits"]) == Some(1);
        let mut all = Vec::with_capacity(streams);
        for id in (0..streams).map(stream_id) {
            let one = list.iter().find(|one| whole(&one["id"]) == Some(id));
            let one = one.ok_or_else(|| bad("streams"))?;
            // Receivers send 2^64 - 1, some -1.
            let retransmits =
                whole(&one["retransmits"]).filter(|&count| counts && count < u64::from(u32::MAX));
            let seconds = one["end_time"].as_f64().unwrap_or(0.0);
            all.push(StreamResult {
                id,
                bytes: whole(&one["bytes"]).ok_or_else(|| bad("number of bytes"))?,
                retransmits,
                seconds: if (0.0..1e9).contains(&seconds) {
                    seconds
                } else {
                    return Err(bad("times"));
                },
            });
        }
        let congestion = told["congestion_used"].as_str().unwrap_or_default();
        let congestion = congestion.chars().take(64).collect();
        let output = match (
            told["server_output_json"].take(),
            told["server_output_text"].take(),
        ) {
            (json @ Value::Object(_), _) => Some(Output::Json(json)),
            (_, Value::String(text)) => Some(Output::Text(text)),
            _ => None,
        };
        Ok(Self {
            cpu,
            congestion,
            streams: all,
            output,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As stock iperf3 3.12 sent them.
    #[test]
    fn what_iperf3_sends() {
        let text = br#"{"cpu_util_total":0.97,"cpu_util_user":0.9,"cpu_util_system":0.07,
            "sender_has_retransmits":18446744073709551615,"congestion_used":"bbr","server_output_text":"Accepted\n","streams":[
            {"id":1,"bytes":131072,"retransmits":18446744073709551615,"jitter":0,"errors":0,"packets":0,"start_time":0,"end_time":0.04},
            {"id":3,"bytes":0,"retransmits":18446744073709551615,"jitter":0,"errors":0,"packets":0,"start_time":0,"end_time":0.04}]}"#;
        let results = Results::read(text, 2).expect("results");
        assert_eq!(results.cpu.total, 0.97);
        assert_eq!(results.congestion, "bbr");
        assert_eq!(results.output, Some(Output::Text("Accepted\n".to_owned())));
        assert_eq!(
            results.streams[0],
            StreamResult {
                id: 1,
                bytes: 131_072,
                retransmits: None,
                seconds: 0.04
            }
        );
        assert!(
            Results::read(text, 3).is_err(),
            "it knows two streams of three"
        );
    }

    #[test]
    fn what_is_written_is_read_back() {
        let stream = |place, retransmits| StreamResult {
            id: stream_id(place),
            bytes: 1 << 45,
            retransmits,
            seconds: 1.25,
        };
        let results = Results {
            cpu: Cpu {
                total: 100.0,
                user: 60.0,
                system: 40.0,
            },
            congestion: "reno".to_owned(),
            streams: vec![stream(0, Some(3)), stream(1, Some(0)), stream(2, None)],
            output: Some(Output::Json(json!({ "end": {} }))),
        };
        assert_eq!(
            results
                .streams
                .iter()
                .map(|stream| stream.id)
                .collect::<Vec<_>>(),
            [1, 3, 4]
        );
        let back = Results::read(results.to_json().as_bytes(), 3).expect("results");
        assert_eq!(back, results);
    }

    #[test]
    fn nonsense_is_a_breach() {
        for text in [
            "",
            "7",
            "{}",
            r#"{"streams":7}"#,
            r#"{"streams":[{"id":1}]}"#,
            r#"{"streams":[{"id":1,"bytes":-4}]}"#,
            r#"{"streams":[{"id":1,"bytes":4,"end_time":1e300}]}"#,
            r#"{"streams":[{"id":2,"bytes":4,"end_time":1}]}"#,
        ] {
            assert!(Results::read(text.as_bytes(), 1).is_err(), "{text}");
        }
    }
}
