//! The arguments of `millrace load`, and what they mean.

use core::fmt;
use core::str::FromStr;
use core::time::Duration;
use std::net::SocketAddrV4;

use clap::Args;
use millrace::driver::DriverSpec;

use super::arrivals::Arrivals;
use super::engine::Plan;
use super::files::FileArgs;
use super::ramp::Ramp;
use super::wire::Ending;
use super::workload::{ReplyKind, Shape, Workload, pattern};
use crate::Failure;
use crate::cli::{StackArgs, XdpModeArg, XskArg, seconds};
use crate::control::ControlArgs;
use crate::get::url::Url;

/// Bytes of a request when nothing is said.
const REQUEST: usize = 64;
/// Bytes that a stream hands over at a time when nothing is said.
const STREAM: usize = 64 * 1024;
/// Parts into which a measurement is cut for its time series, at most one a second.
const STRETCHES: u32 = 20;

/// `millrace load`.
#[derive(Debug, Args)]
pub struct LoadArgs {
    /// The server: ADDRESS:PORT for bytes, http://ADDRESS[:PORT]/PATH for HTTP/1.1.
    pub target: Target,
    /// What carries the connections: kernel (sockets, epoll), or our stack on af-xdp:INTERFACE or tap:NAME.
    #[arg(long, default_value = "kernel")]
    pub driver: Carrier,
    /// What connections do.
    #[arg(long, value_enum, default_value_t = Shape::Requests)]
    pub work: Shape,
    /// Connections, all at once; connect: requests under way.
    #[arg(short, long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub connections: u32,
    /// Requests under way on each connection.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub depth: u32,
    /// Open loop: requests per second, whether or not the server keeps up [default: closed loop, the next request
    /// follows a reply].
    #[arg(short, long, value_name = "PER_SECOND", value_parser = positive)]
    pub rate: Option<f64>,
    /// Open loop at rates that grow, until one may not be quoted: the knee lies before it. Each lasts as long as --time.
    #[arg(long, value_name = "FROM:TO[:STEPS]", conflicts_with = "rate")]
    pub ramp: Option<Ramp>,
    /// Open loop: how requests are spread over time: constant, poisson or burst=N [default: constant].
    #[arg(long)]
    pub arrivals: Option<Arrivals>,
    /// Seed of the arrivals.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Seconds that are measured.
    #[arg(short, long, value_name = "SECONDS", default_value = "10", value_parser = some_seconds)]
    pub time: Duration,
    /// Seconds before that which do not count.
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub warm_up: Duration,
    /// The percentile of the latency that the headline names.
    #[arg(short, long, value_name = "P", default_value = "99", value_parser = percentile)]
    pub percentile: f64,
    /// Bytes of a request [default: 64; send: 65536].
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1..=1 << 30))]
    pub request_size: Option<u32>,
    /// Bytes of a reply [default: the request comes back, and is compared].
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1..=1 << 30))]
    pub reply_size: Option<u32>,
    /// connect: how connections are ended.
    #[arg(long, value_enum, default_value_t = Ending::Fin)]
    pub close: Ending,
    /// Seconds after which a server that says nothing to what it was asked is given up.
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = some_seconds)]
    pub timeout: Duration,
    /// Where results go.
    #[command(flatten)]
    pub files: FileArgs,
    /// Our stack; with kernel sockets only --core and --busy-poll have a meaning.
    #[command(flatten)]
    pub stack: StackArgs,
}

/// A server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// Bytes are sent as they are.
    Bytes(SocketAddrV4),
    /// HTTP/1.1.
    Http(Url),
}

impl Target {
    /// Where it listens.
    pub fn addr(&self) -> SocketAddrV4 {
        match self {
            Self::Bytes(addr) => *addr,
            Self::Http(url) => url.addr,
        }
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains("://") {
            return text.parse().map(Self::Http);
        }
        match text.parse::<SocketAddrV4>() {
            Ok(addr) if addr.port() > 0 => Ok(Self::Bytes(addr)),
            _ => Err("give ADDRESS:PORT with an IPv4 address, or http://ADDRESS/PATH".to_owned()),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(addr) => addr.fmt(f),
            Self::Http(url) => url.fmt(f),
        }
    }
}

/// What carries connections.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Carrier {
    /// Kernel sockets.
    Kernel,
    /// Our stack on a device.
    Device(DriverSpec),
}

impl FromStr for Carrier {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "kernel" {
            return Ok(Self::Kernel);
        }
        match text.parse().map_err(|e| format!("{e}, or kernel"))? {
            DriverSpec::Pair => Err("nobody is at the other end of a pair".to_owned()),
            spec => Ok(Self::Device(spec)),
        }
    }
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if (1e-3..=1e9).contains(&number) => Ok(number),
        _ => Err("give a number of requests per second between 0.001 and 1000000000".to_owned()),
    }
}

fn percentile(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if (0.0..100.0).contains(&number) => Ok(number),
        _ => {
            Err("give a percentile from 0 up to but not including 100, for example 99.9".to_owned())
        }
    }
}

fn some_seconds(text: &str) -> Result<Duration, String> {
    seconds(text).and_then(|time| match time {
        Duration::ZERO => Err("give more than 0 seconds".to_owned()),
        time => Ok(time),
    })
}

impl LoadArgs {
    /// What is to be done: one run, or the steps of a ramp.
    ///
    /// # Errors
    ///
    /// [`Failure::Usage`] for what cannot be meant.
    pub fn plans(&self) -> Result<Vec<Plan>, Failure> {
        self.check().map_err(Failure::Usage)?;
        let plan = self.plan();
        Ok(match self.ramp {
            Some(ramp) => ramp.plans(&plan, self.arrivals.unwrap_or_default()),
            None => vec![plan],
        })
    }

    fn plan(&self) -> Plan {
        Plan {
            workload: self.workload(),
            connections: self.connections as usize,
            depth: self.depth as usize,
            open: self
                .rate
                .map(|rate| (self.arrivals.unwrap_or_default(), rate)),
            seed: self.seed,
            warm_up: self.warm_up,
            time: self.time,
            stretch: (self.time / STRETCHES).min(Duration::from_secs(1)),
            patience: self.timeout,
            ending: self.close,
        }
    }

    fn check(&self) -> Result<(), String> {
        let http = matches!(self.target, Target::Http(_));
        let stream = matches!(self.work, Shape::Send | Shape::Receive);
        let open = self.rate.is_some() || self.ramp.is_some();
        let sized = self.request_size.is_some() || self.reply_size.is_some();
        if http && sized {
            return Err(
                "--request-size and --reply-size are not for HTTP: the URL says what is asked"
                    .to_owned(),
            );
        }
        if self.arrivals.is_some() && !open {
            return Err("--arrivals is for an open loop: give --rate or --ramp".to_owned());
        }
        if stream && (http || open || self.depth > 1 || self.reply_size.is_some()) {
            return Err(
                "a stream has no requests: without --rate, --ramp, --depth, --reply-size and HTTP"
                    .to_owned(),
            );
        }
        if self.work == Shape::Receive && sized {
            return Err("--request-size is not for --work receive: nothing is sent".to_owned());
        }
        if self.work == Shape::Connect && self.depth > 1 {
            return Err(
                "--depth is not for --work connect: a connection has one request".to_owned(),
            );
        }
        match self.driver {
            Carrier::Kernel => only_kernel(&self.stack),
            Carrier::Device(_) => Ok(()),
        }
    }

    fn workload(&self) -> Workload {
        let (request, reply) = match &self.target {
            Target::Bytes(_) => {
                let usual = if self.work == Shape::Send {
                    STREAM
                } else {
                    REQUEST
                };
                let size = self.request_size.map_or(usual, |size| size as usize);
                let reply = match self.reply_size {
                    None => ReplyKind::Echo,
                    Some(size) => ReplyKind::Bytes(size as usize),
                };
                (pattern(size), reply)
            }
            Target::Http(url) => {
                let text = format!(
                    "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: millrace\r\nAccept: */*\r\n\r\n",
                    url.target, url.authority
                );
                (text.into_bytes(), ReplyKind::Http)
            }
        };
        Workload {
            shape: self.work,
            request,
            reply,
        }
    }
}

/// Refuses what kernel sockets cannot do.
fn only_kernel(stack: &StackArgs) -> Result<(), String> {
    let StackArgs {
        addr,
        gateway,
        mac,
        mtu,
        vlan,
        sysctl,
        core: _,
        busy_poll: _,
        xdp_mode,
        xsk,
        steer,
        accept_partial_csum,
        impair,
        control: ControlArgs {
            control,
            no_control,
        },
    } = stack;
    let given = !addr.is_empty()
        || gateway.is_some()
        || mac.is_some()
        || mtu.is_some()
        || vlan.is_some()
        || !sysctl.is_empty()
        || *xdp_mode != XdpModeArg::Auto
        || *xsk != XskArg::Own
        || steer.is_some()
        || *accept_partial_csum
        || impair.is_some()
        || control.is_some()
        || *no_control;
    if given {
        return Err(
            "with kernel sockets only --core and --busy-poll have a meaning; give --driver af-xdp:INTERFACE or tap:NAME"
                .to_owned(),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn plan(line: &str) -> Result<Plan, Failure> {
        let line = format!("millrace load {line}");
        let cli = Cli::try_parse_from(line.split_ascii_whitespace())
            .map_err(|e| Failure::Usage(e.to_string()))?;
        let Command::Load(args) = cli.command else {
            panic!("load")
        };
        Ok(args.plans()?.swap_remove(0))
    }

    #[test]
    fn flags_make_a_plan() {
        let made = plan("10.0.0.1:7 -c 32 --rate 5000 --arrivals burst=4 --request-size 100 -t 40")
            .expect("valid");
        assert_eq!(made.connections, 32);
        assert_eq!(made.open, Some((Arrivals::Burst(4), 5000.0)));
        assert_eq!(made.workload.request.len(), 100);
        assert_eq!(made.workload.reply, ReplyKind::Echo);
        assert_eq!(made.stretch, Duration::from_secs(1));
    }

    #[test]
    fn a_url_means_http() {
        let made = plan("http://10.0.0.1:81/a --driver tap:t0 --addr 10.0.0.2/24").expect("valid");
        assert_eq!(made.workload.reply, ReplyKind::Http);
        assert!(
            made.workload
                .request
                .starts_with(b"GET /a HTTP/1.1\r\nHost: 10.0.0.1:81\r\n")
        );
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for line in [
            "",
            "10.0.0.1",
            "10.0.0.1:0",
            "ftp://10.0.0.1/",
            "10.0.0.1:7 --driver pair",
            "10.0.0.1:7 --driver carrier-pigeon",
            "10.0.0.1:7 --addr 10.0.0.2/24",
            "10.0.0.1:7 --impair loss=1%",
            "10.0.0.1:7 --arrivals poisson",
            "10.0.0.1:7 --rate 0",
            "10.0.0.1:7 --ramp 5:1",
            "10.0.0.1:7 --ramp 1:5 --rate 3",
            "10.0.0.1:7 --ramp 1:5 --work send",
            "10.0.0.1:7 --rate NaN",
            "10.0.0.1:7 --percentile 100",
            "10.0.0.1:7 --time 0",
            "10.0.0.1:7 --connections 0",
            "10.0.0.1:7 --work send --rate 5",
            "10.0.0.1:7 --work receive --request-size 5",
            "10.0.0.1:7 --work connect --depth 2",
            "http://10.0.0.1/ --reply-size 5",
        ] {
            assert!(matches!(plan(line), Err(Failure::Usage(_))), "{line}");
        }
    }
}
