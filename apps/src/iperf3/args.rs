//! The arguments of `millrace iperf3`: iperf3's, as far as they have a meaning here, with its letters.

use core::time::Duration;
use std::net::{Ipv4Addr, SocketAddrV4};

use clap::{ArgGroup, Args};
use millrace::driver::DriverSpec;

use super::client::Errand;
use super::params::{
    DEFAULT_BLOCK, End, MAX_BLOCK, MAX_BURST, MAX_MSS, MAX_OMIT, MAX_RATE, MAX_STREAMS, MAX_TIME,
    MAX_WINDOW, Params, Way,
};
use super::server::Post;
use super::teller::Form;
use super::text::Unit;
use crate::Failure;
use crate::cli::StackArgs;

/// `millrace iperf3`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("side").required(true).args(["server", "client"]))]
pub struct Iperf3Args {
    /// Run as the server.
    #[arg(short, long)]
    pub server: bool,
    /// Run as the client of the server at this address.
    #[arg(short, long, value_name = "ADDRESS")]
    pub client: Option<Ipv4Addr>,
    /// The server's port.
    #[arg(short, long, default_value = "5201", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: u16,
    /// Our address: where the server listens [default: all], or where the client connects from.
    #[arg(short = 'B', long, value_name = "ADDRESS")]
    pub bind: Option<Ipv4Addr>,
    /// Seconds between reports; 0 for none, else 0.1 to 60.
    #[arg(short, long, value_name = "SECONDS", default_value = "1", value_parser = interval)]
    pub interval: Duration,
    /// Print everything as one JSON document at the end, with iperf3's keys.
    #[arg(short = 'J', long)]
    pub json: bool,
    /// What rates are shown in: bits (k, m, g, t) or bytes (K, M, G, T) [default: bits, as it fits].
    #[arg(short, long, value_enum, default_value_t = Unit::Adaptive, hide_default_value = true)]
    pub format: Unit,
    /// Server: one test, then end.
    #[arg(short = '1', long, conflicts_with = "client")]
    pub one_off: bool,
    /// Client: what it asks for.
    #[command(flatten)]
    pub test: TestArgs,
    /// The device: af-xdp:INTERFACE or tap:NAME.
    #[arg(long)]
    pub driver: DriverSpec,
    /// Our stack on it.
    #[command(flatten)]
    pub stack: StackArgs,
}

/// What a client asks for.
#[derive(Debug, Args)]
#[command(next_help_heading = "Client")]
pub struct TestArgs {
    /// Seconds to send [default: 10].
    #[arg(short, long, value_name = "SECONDS", conflicts_with = "server", value_parser = clap::value_parser!(u64).range(1..=MAX_TIME))]
    pub time: Option<u64>,
    /// Bytes to send (K, M, G), instead of --time.
    #[arg(short = 'n', long, value_name = "BYTES", conflicts_with_all = ["time", "server"], value_parser = binary)]
    pub bytes: Option<u64>,
    /// Blocks to send (K, M, G), instead of --time.
    #[arg(short = 'k', long, value_name = "BLOCKS", conflicts_with_all = ["time", "bytes", "server"], value_parser = binary)]
    pub blockcount: Option<u64>,
    /// Bits per second of each stream (K, M, G of 1000), and how many blocks to send at once [default: no limit].
    #[arg(short, long, value_name = "RATE[/BLOCKS]", conflicts_with = "server", value_parser = bitrate)]
    pub bitrate: Option<(u64, u64)>,
    /// Bytes of a block [default: 128K].
    #[arg(short, long, value_name = "BYTES", conflicts_with = "server", value_parser = block)]
    pub length: Option<u64>,
    /// Streams.
    #[arg(short = 'P', long, value_name = "N", conflicts_with = "server", value_parser = clap::value_parser!(u64).range(1..=MAX_STREAMS))]
    pub parallel: Option<u64>,
    /// The server sends.
    #[arg(short = 'R', long, conflicts_with_all = ["bidir", "server"])]
    pub reverse: bool,
    /// Both send.
    #[arg(long, conflicts_with = "server")]
    pub bidir: bool,
    /// Size of the socket buffers at both ends (K, M) [default: they adapt].
    #[arg(short, long, value_name = "BYTES", conflicts_with = "server", value_parser = window)]
    pub window: Option<u64>,
    /// Largest segment.
    #[arg(short = 'M', long, value_name = "BYTES", conflicts_with = "server", value_parser = clap::value_parser!(u16).range(88..=MAX_MSS as i64))]
    pub set_mss: Option<u16>,
    /// Do not wait for full segments (TCP_NODELAY).
    #[arg(short = 'N', long, conflicts_with = "server")]
    pub no_delay: bool,
    /// Type of service.
    #[arg(short = 'S', long, value_name = "N", conflicts_with = "server")]
    pub tos: Option<u8>,
    /// Leave out so many seconds at the start.
    #[arg(short = 'O', long, value_name = "SECONDS", conflicts_with = "server", value_parser = clap::value_parser!(u64).range(0..=MAX_OMIT))]
    pub omit: Option<u64>,
    /// Send digits over and over, not random bytes.
    #[arg(long, conflicts_with = "server")]
    pub repeating_payload: bool,
    /// Show what the server prints, too.
    #[arg(long, conflicts_with = "server")]
    pub get_server_output: bool,
}

impl Iperf3Args {
    /// How to tell.
    pub fn form(&self) -> Form {
        match self.json {
            true => Form::Json,
            false => Form::Text(self.format),
        }
    }

    fn every(&self) -> Option<Duration> {
        (!self.interval.is_zero()).then_some(self.interval)
    }

    /// What the server does.
    pub fn post(&self) -> Post {
        let at = self.bind.unwrap_or(Ipv4Addr::UNSPECIFIED);
        Post {
            at: SocketAddrV4::new(at, self.port),
            every: self.every(),
            one_off: self.one_off,
        }
    }

    /// What the client does, if this is one.
    ///
    /// # Errors
    ///
    /// [`Failure::Usage`] for what cannot be meant.
    pub fn errand(&self) -> Result<Option<Errand>, Failure> {
        let Some(to) = self.client else {
            return Ok(None);
        };
        if to.is_unspecified() || to.is_broadcast() || to.is_multicast() {
            return Err(Failure::Usage(format!(
                "{to} is no server's address; give one with --client"
            )));
        }
        Ok(Some(Errand {
            to: SocketAddrV4::new(to, self.port),
            from: self.bind,
            every: self.every(),
            params: self.test.params(),
        }))
    }
}

impl TestArgs {
    /// What is asked for.
    pub fn params(&self) -> Params {
        let Self {
            time,
            bytes,
            blockcount,
            bitrate,
            length,
            parallel,
            reverse,
            bidir,
            window,
            set_mss,
            no_delay,
            tos,
            omit,
            repeating_payload,
            get_server_output,
        } = *self;
        let end = match (bytes, blockcount) {
            (Some(bytes), _) => End::Bytes(bytes),
            (None, Some(blocks)) => End::Blocks(blocks),
            (None, None) => End::Time(Duration::from_secs(time.unwrap_or(10))),
        };
        let (rate, burst) = bitrate.unwrap_or_default();
        Params {
            way: match (reverse, bidir) {
                (true, _) => Way::Reverse,
                (_, true) => Way::Both,
                _ => Way::Forward,
            },
            streams: parallel.unwrap_or(1),
            end,
            omit: Duration::from_secs(omit.unwrap_or(0)),
            // Its parser bounds it, as that of the window.
            block: length.unwrap_or(DEFAULT_BLOCK) as usize,
            rate,
            burst,
            no_delay,
            mss: set_mss.unwrap_or(0),
            window: window.unwrap_or(0) as u32,
            tos: tos.unwrap_or(0),
            congestion: String::new(),
            repeating: repeating_payload,
            server_output: get_server_output,
        }
    }
}

/// A whole number with K, M, G or T behind it, which stand for powers of `step`.
fn number(text: &str, step: u64) -> Result<u64, String> {
    let bad = || format!("{text} is no number; give one like 128, 64K or 1.5G");
    let (digits, power) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (&text[..at], 1),
        Some((at, 'm' | 'M')) => (&text[..at], 2),
        Some((at, 'g' | 'G')) => (&text[..at], 3),
        Some((at, 't' | 'T')) => (&text[..at], 4),
        _ => (text, 0),
    };
    let value: f64 = digits.parse().map_err(|_| bad())?;
    let value = value * (step as f64).powi(power);
    match (0.0..9e15).contains(&value) {
        true => Ok(value as u64),
        false => Err(bad()),
    }
}

fn within(value: u64, least: u64, most: u64) -> Result<u64, String> {
    match (least..=most).contains(&value) {
        true => Ok(value),
        false => Err(format!("give a number from {least} to {most}")),
    }
}

fn binary(text: &str) -> Result<u64, String> {
    within(number(text, 1024)?, 1, 1 << 50)
}

fn block(text: &str) -> Result<u64, String> {
    within(number(text, 1024)?, 1, MAX_BLOCK)
}

fn window(text: &str) -> Result<u64, String> {
    within(number(text, 1024)?, 1, MAX_WINDOW)
}

fn bitrate(text: &str) -> Result<(u64, u64), String> {
    let (rate, burst) = match text.split_once('/') {
        Some((rate, burst)) => (rate, within(number(burst, 1024)?, 1, MAX_BURST)?),
        None => (text, 0),
    };
    Ok((within(number(rate, 1000)?, 0, MAX_RATE)?, burst))
}

fn interval(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| "give a number of seconds".to_owned())?;
    match seconds {
        0.0 => Ok(Duration::ZERO),
        0.1..=60.0 => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("give 0, or between 0.1 and 60 seconds".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn parse(line: &str) -> Result<Box<Iperf3Args>, clap::Error> {
        let line = format!("millrace iperf3 --driver tap:t0 {line}");
        match Cli::try_parse_from(line.split_ascii_whitespace())?.command {
            Command::Iperf3(args) => Ok(args),
            _ => panic!("iperf3"),
        }
    }

    #[test]
    fn the_letters_of_iperf3() {
        let args = parse(
            "-c 10.0.0.1 -p 99 -B 10.0.0.2 -i 0.5 -J -f m -t 3 -b 1.5G/4 -l 64K -P 8 --bidir -w 1M -M 1200 -N -S 8 -O 2 \
             --get-server-output",
        )
        .expect("valid");
        let errand = args.errand().expect("an errand").expect("a client");
        assert_eq!(errand.to.to_string(), "10.0.0.1:99");
        assert_eq!(errand.every, Some(Duration::from_millis(500)));
        assert_eq!(
            errand.params,
            Params {
                way: Way::Both,
                streams: 8,
                end: End::Time(Duration::from_secs(3)),
                omit: Duration::from_secs(2),
                block: 65_536,
                rate: 1_500_000_000,
                burst: 4,
                no_delay: true,
                mss: 1200,
                window: 1 << 20,
                tos: 8,
                congestion: String::new(),
                repeating: false,
                server_output: true,
            }
        );
        let bytes = parse("-c 10.0.0.1 -n 2M").expect("valid").test.params();
        assert_eq!(bytes.end, End::Bytes(2 << 20));
        let blocks = parse("-c 10.0.0.1 -k 1K -R").expect("valid").test.params();
        assert_eq!((blocks.end, blocks.way), (End::Blocks(1024), Way::Reverse));
        let server = parse("-s -1 -i 0").expect("valid");
        assert_eq!(server.post().at.to_string(), "0.0.0.0:5201");
        assert!(server.post().one_off && server.post().every.is_none());
        assert!(server.errand().expect("none").is_none());
    }

    #[test]
    fn what_cannot_be_meant() {
        for line in [
            "",
            "-s -c 10.0.0.1",
            "-s -t 5",
            "-s -P 2",
            "-c 10.0.0.1 -1",
            "-c 10.0.0.1 -t 5 -n 1M",
            "-c 10.0.0.1 -R --bidir",
            "-c 10.0.0.1 -P 0",
            "-c 10.0.0.1 -P 129",
            "-c 10.0.0.1 -l 2M",
            "-c 10.0.0.1 -i 0.01",
            "-c 10.0.0.1 -b 5X",
            "-c 10.0.0.1 -b 5M/0",
            "-c 10.0.0.1 -M 80",
            "-c 10.0.0.1 -n -1",
            "-c localhost",
            "-s -p 0",
        ] {
            assert_eq!(parse(line).expect_err(line).exit_code(), 2, "{line}");
        }
        let nobody = parse("-c 0.0.0.0").expect("valid").errand();
        assert!(matches!(nobody, Err(Failure::Usage(_))));
    }
}
