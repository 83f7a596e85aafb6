//! `millrace pingpong`: the floor of a driver. One frame goes to and fro, or several at once, between two queues of ours
//! or between one and the kernel; no stack is in the way, so that what a stack adds can be told.
//!
//! | module | what |
//! |---|---|
//! | [`talk`] | the frames: our own between two queues, ICMP echo to a kernel |
//! | [`ends`] | the loops at both ends |
//! | [`record`] | the result, as it is written and shown |

pub mod ends;
pub mod record;
pub mod talk;

use core::fmt;
use core::str::FromStr;
use core::time::Duration;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use clap::{Args, ValueEnum};
use millrace::TscClock;
use millrace::driver::{self, Device, DriverOptions, DriverSpec, Started};
use millrace::pmd::{FixedPort, MacAddr, PairConfig, pair};
use millrace::worker::Core;

use crate::Failure;
use crate::cli::{XdpModeArg, XskArg, seconds};
use crate::load::clock::Check;
use crate::load::files::{Files, distribution, json};
use crate::load::record::{Build, Machine};
use crate::output;
use crate::setup;
use ends::{Answerer, Asked, Asker, Plan};
use record::{End, Record};
use talk::{Echo, Own, Talk};

/// Names of the ends of an in-memory pair, as addresses.
const PAIR: [MacAddr; 2] = [MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2])];
/// The largest packet on it.
const PAIR_MTU: usize = 1500;

/// `millrace pingpong`.
#[derive(Debug, Args)]
pub struct PingpongArgs {
    /// Our end: af-xdp:INTERFACE, tap:NAME or pair.
    #[arg(long)]
    pub driver: DriverSpec,
    /// The other end: a device of this namespace (af-xdp:INTERFACE, tap:NAME) that we drive too, or the address of a kernel
    /// that answers ICMP echo requests. A pair has its other end already.
    #[arg(long, value_name = "DRIVER|IP")]
    pub to: Option<Far>,
    /// Our own address, for a kernel at the other end.
    #[arg(long, value_name = "IP")]
    pub addr: Option<Ipv4Addr>,
    /// Bytes of a frame, link header included.
    #[arg(long, value_name = "BYTES", default_value_t = 64, value_parser = clap::value_parser!(u16).range(60..))]
    pub size: u16,
    /// Frames under way at once.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=512))]
    pub depth: u16,
    /// Seconds that are measured.
    #[arg(short, long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub time: Duration,
    /// Seconds before that which do not count.
    #[arg(long, value_name = "SECONDS", default_value = "0.5", value_parser = seconds)]
    pub warm_up: Duration,
    /// What our ends do while nothing comes.
    #[arg(long, value_enum, default_value_t = Waiting::Spin)]
    pub wait: Waiting,
    /// Cores of the two ends [default: wherever the kernel likes].
    #[arg(long, value_name = "NEAR,FAR", value_delimiter = ',', num_args = 1..=2)]
    pub cores: Vec<usize>,
    /// af-xdp: where the steering program runs.
    #[arg(long, value_enum, default_value_t = XdpModeArg::Auto)]
    pub xdp_mode: XdpModeArg,
    /// af-xdp: whose sockets.
    #[arg(long, value_enum, default_value_t = XskArg::Own)]
    pub xsk: XskArg,
    /// Write the whole record (schema in apps/src/pingpong/record.rs); replaces the file.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the round trips as HdrHistogram's percentile distribution, in microseconds.
    #[arg(long, value_name = "FILE")]
    pub hgrm: Option<PathBuf>,
}

/// The other end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Far {
    /// A device that we drive.
    Ours(DriverSpec),
    /// A kernel with this address.
    Kernel(Ipv4Addr),
}

impl FromStr for Far {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(addr) = text.parse() {
            return Ok(Self::Kernel(addr));
        }
        match text.parse() {
            Ok(DriverSpec::Pair) => Err("a pair has both its ends by --driver pair".to_owned()),
            Ok(spec) => Ok(Self::Ours(spec)),
            Err(_) => Err("give af-xdp:INTERFACE, tap:NAME or an IPv4 address".to_owned()),
        }
    }
}

/// What an end does while nothing comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Waiting {
    /// Polls on: a whole core.
    Spin,
    /// Polls for 50 µs, then sleeps on the device: what a worker does.
    Adaptive,
    /// Sleeps on the device at once.
    Sleep,
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Spin => "spinning",
            Self::Adaptive => "adaptive",
            Self::Sleep => "sleeping",
        })
    }
}

/// A device that runs, and what it is called.
struct Opened {
    name: String,
    mac: MacAddr,
    mtu: usize,
    started: Started,
}

/// Both ends, before they are told what to do.
struct Wire {
    near: Opened,
    far: Option<Opened>,
}

/// Runs the command.
///
/// # Errors
///
/// [`Failure`] when nothing could be measured, or nothing that may be quoted.
pub fn run(args: &PingpongArgs) -> Result<(), Failure> {
    check(args).map_err(Failure::Usage)?;
    let files = Files::open([
        (args.json.as_ref(), Box::new(json) as _),
        (
            args.hgrm.as_ref(),
            Box::new(|record: &Record| distribution(&record.round_trip)) as _,
        ),
    ])?;
    let cores = args.cores.iter().map(|&core| Core::find(core));
    let cores = cores
        .collect::<Result<Vec<_>, _>>()
        .map_err(Failure::from_error)?;
    let clock = TscClock::new();
    let wire = open(args, &clock)?;
    let record = measure(args, &cores, &clock, wire)?;
    let mut complaints = files.write(&record);
    complaints.extend(output::print(&record.table()).err());
    complaints.extend(
        record
            .refusals
            .first()
            .map(|refusal| format!("no headline: {}", refusal.why)),
    );
    match complaints.pop() {
        None => Ok(()),
        Some(last) => {
            for complaint in complaints {
                eprintln!("millrace: {complaint}");
            }
            Err(Failure::Failed(last))
        }
    }
}

fn check(args: &PingpongArgs) -> Result<(), String> {
    let say = |why: &str| Err(why.to_owned());
    if args.time.is_zero() {
        return say("give --time more than 0 seconds");
    }
    match (&args.driver, &args.to, args.addr) {
        (DriverSpec::Pair, Some(_), _) => say("--driver pair has both its ends: leave --to out"),
        (DriverSpec::Pair, None, Some(_)) | (_, Some(Far::Ours(_)), Some(_)) => {
            say("--addr is for a kernel at the other end (--to IP)")
        }
        (DriverSpec::Pair, None, None) | (_, Some(Far::Kernel(_)), Some(_)) => Ok(()),
        (_, None, _) => say(
            "say what is at the other end: --to af-xdp:INTERFACE, --to tap:NAME, or the address of a kernel",
        ),
        (_, Some(Far::Kernel(_)), None) => say(
            "a kernel answers to an address: give ours with --addr, for example --addr 10.77.0.2",
        ),
        (near, Some(Far::Ours(far)), None) if far == near => Err(format!(
            "{far} cannot be both ends: give the other end of its cable"
        )),
        (_, Some(Far::Ours(_)), None) => Ok(()),
    }
}

fn open(args: &PingpongArgs, clock: &TscClock) -> Result<Wire, Failure> {
    if args.driver == DriverSpec::Pair {
        let (near, far) = pair(PairConfig::default());
        let [near, far] = [(near, PAIR[0]), (far, PAIR[1])].map(|(queue, mac)| Opened {
            name: "pair".to_owned(),
            mac,
            mtu: PAIR_MTU,
            started: Started {
                port: Box::new(FixedPort::new("pair", mac, PAIR_MTU, Vec::new())),
                queues: vec![Box::new(queue)],
            },
        });
        return Ok(Wire {
            near,
            far: Some(far),
        });
    }
    let device = |spec: &DriverSpec| {
        if let DriverSpec::AfXdp(interface) = spec {
            setup::link_that_is_up(interface)?;
        }
        let options = DriverOptions {
            xdp_mode: args.xdp_mode.into(),
            xdp_sockets: args.xsk.into(),
            ..DriverOptions::default()
        };
        driver::open(spec, &options, clock).map_err(Failure::from_error)
    };
    let start = |spec: &DriverSpec, device: Device| {
        let (mac, mtu) = (device.mac(), device.mtu().into());
        Ok(Opened {
            name: spec.to_string(),
            mac,
            mtu,
            started: device.start().map_err(Failure::from_error)?,
        })
    };
    // Both before either takes frames away from the kernel.
    let near = device(&args.driver)?;
    let far = match &args.to {
        Some(Far::Ours(spec)) => Some((spec, device(spec)?)),
        _ => None,
    };
    Ok(Wire {
        near: start(&args.driver, near)?,
        far: far.map(|(spec, device)| start(spec, device)).transpose()?,
    })
}

/// Runs both ends.
fn measure(
    args: &PingpongArgs,
    cores: &[Core],
    clock: &TscClock,
    wire: Wire,
) -> Result<Record, Failure> {
    let Wire { near, far } = wire;
    let smallest = far.as_ref().map_or(near.mtu, |far| far.mtu.min(near.mtu));
    let size = usize::from(args.size);
    if size > smallest + talk::LINK_HEADER {
        return Err(Failure::Failed(format!(
            "a frame of {size} B does not fit the MTU of {smallest}; give a smaller --size"
        )));
    }
    let plan = Plan {
        depth: args.depth.into(),
        waiting: args.wait,
        warm_up: args.warm_up,
        time: args.time,
    };
    let mut talk: Box<dyn Talk> = match (&far, &args.to, args.addr) {
        (None, Some(Far::Kernel(to)), Some(from)) => Box::new(Echo::new(size, near.mac, from, *to)),
        (Some(far), ..) => Box::new(Own::new(size, near.mac, far.mac)),
        (None, ..) => return Err(Failure::Usage("nobody is at the other end".to_owned())),
    };
    let far_name = match (&far, &args.to) {
        (Some(far), _) => far.name.clone(),
        (None, Some(Far::Kernel(to))) => format!("the kernel's {to} (ICMP echo)"),
        (None, _) => String::new(),
    };
    let stop = Arc::new(AtomicBool::new(false));
    let answering = far.map(|far| {
        let (stop, core) = (Arc::clone(&stop), cores.get(1).copied());
        let (clock, waiting) = (clock.clone(), args.wait);
        thread::Builder::new()
            .name("far end".to_owned())
            .spawn(move || {
                if let Some(core) = core {
                    core.pin().map_err(Failure::from_error)?;
                }
                // Its port lives as long as its queues.
                let Started {
                    port: _port,
                    queues,
                } = far.started;
                Answerer::new(queues, clock, waiting).run(&stop)
            })
    });
    let answering = answering
        .transpose()
        .map_err(|e| Failure::Failed(format!("cannot start a thread: {e}; see `ulimit -u`")))?;
    if let Some(core) = cores.first() {
        core.pin().map_err(Failure::from_error)?;
    }
    let Started {
        port: _port,
        queues,
    } = near.started;
    let check = Check::begin(clock);
    let asked = Asker::new(queues, clock.clone(), plan).run(&mut *talk);
    stop.store(true, Ordering::Relaxed);
    let far_end = match answering.map(thread::JoinHandle::join) {
        None => None,
        Some(Ok(end)) => Some(end?),
        Some(Err(_)) => return Err(Failure::Failed("the far end's thread panicked".to_owned())),
    };
    let Asked { tally, end } = asked?;
    if tally.replies == 0 {
        return Err(Failure::Failed(format!(
            "no frame came back from {far_name}: {} sent on {}; look at both ends with `ip -s link`",
            tally.sent, near.name
        )));
    }
    let mut record = Record::new(args, tally, check.end());
    record.near = End {
        name: near.name,
        ..end
    };
    record.far = End {
        name: far_name,
        ..far_end.unwrap_or_default()
    };
    (record.machine, record.build) = (Machine::here(), Build::here());
    record.judge();
    Ok(record)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn args(line: &str) -> Result<Box<PingpongArgs>, String> {
        let line = format!("millrace pingpong {line}");
        let cli = Cli::try_parse_from(line.split_ascii_whitespace()).map_err(|e| e.to_string())?;
        match cli.command {
            Command::Pingpong(args) => check(&args).map(|()| args),
            _ => Err("another command".to_owned()),
        }
    }

    #[test]
    fn ends_are_read() {
        assert!(args("--driver pair --depth 8 --wait adaptive --cores 0,1").is_ok());
        assert!(args("--driver af-xdp:a --to af-xdp:b").is_ok());
        assert!(args("--driver tap:t0 --to 10.0.0.1 --addr 10.0.0.2").is_ok());
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for line in [
            "",
            "--driver pair --to af-xdp:b",
            "--driver pair --addr 10.0.0.2",
            "--driver af-xdp:a",
            "--driver af-xdp:a --to pair",
            "--driver af-xdp:a --to af-xdp:a",
            "--driver af-xdp:a --to nowhere",
            "--driver af-xdp:a --to af-xdp:b --addr 10.0.0.2",
            "--driver af-xdp:a --to 10.0.0.1",
            "--driver pair --time 0",
            "--driver pair --size 59",
            "--driver pair --depth 513",
        ] {
            assert!(args(line).is_err(), "{line}");
        }
    }
}
