//! `millrace latency`: a service that looks on itself. Every so often an iteration of the worker's loop is stamped stage by
//! stage (TSC): driver, stack, service, stack, driver. A client elsewhere, `millrace load` for example, makes the work.
//!
//! An echo or an HTTP answer leaves in the iteration in which its request was received, so that the stages of such an
//! iteration are the way of the request through this host, from the poll that finds its frame to the kick that sends the
//! answer. How long a frame lay in the ring before the poll only the device could tell, and none of the drivers here stamps
//! frames.

pub mod record;

use core::time::Duration;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;

use clap::Args;
use hdrhistogram::Histogram;
use millrace::driver::DriverSpec;
use millrace::worker::{Phase, Stage, Stopwatch, Turn};
use millrace::{TscClock, Worker};

use crate::Failure;
use crate::cli::{ServiceKind, StackArgs, seconds};
use crate::load::clock::Check;
use crate::load::files::{Files, Make, distribution, json};
use crate::load::log::histogram;
use crate::output;
use crate::serve::{self, Offer};
use crate::setup::{self, Node};
use record::Record;

/// How long open connections have to finish at the end.
const DRAIN: Duration = Duration::from_secs(2);
/// Connections that may wait to be accepted.
const BACKLOG: u32 = 4096;

/// `millrace latency`.
#[derive(Debug, Args)]
pub struct LatencyArgs {
    /// The service.
    #[arg(value_enum, default_value_t = ServiceKind::Echo)]
    pub service: ServiceKind,
    /// The device: af-xdp:INTERFACE or tap:NAME.
    #[arg(long)]
    pub driver: DriverSpec,
    /// Port to listen on, on all our addresses [default: 7, 9, 19 or 80, as the service].
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,
    /// http: serve a body of this many bytes as / [default: 1024].
    #[arg(long, value_name = "BYTES")]
    pub body_size: Option<u64>,
    /// Seconds to run [default: until SIGINT or SIGTERM].
    #[arg(short, long, value_name = "SECONDS", value_parser = seconds)]
    pub time: Option<Duration>,
    /// Of iterations that received frames, stamp one in so many.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..))]
    pub every: u32,
    /// Write the whole record (schema in apps/src/latency/record.rs); replaces the file.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write HdrHistogram's percentile distributions, in microseconds: PREFIX.total.hgrm and one for each stage.
    #[arg(long, value_name = "PREFIX")]
    pub hgrm: Option<PathBuf>,
    /// How our stack runs.
    #[command(flatten)]
    pub stack: StackArgs,
}

/// What the stopwatch has shown.
pub struct Samples {
    /// Stamped iterations that received frames, nanoseconds by stage; a stage that took no time counts as 1 ns.
    stages: Vec<Histogram<u64>>,
    /// The whole of them.
    total: Histogram<u64>,
    /// Exact sums of the same, nanoseconds.
    sums: Vec<u64>,
    /// Frames received in them.
    received: u64,
    /// Frames sent in them.
    sent: u64,
    /// Times that a service was lent bytes in them.
    served: u64,
    /// Readings of the clock in them.
    stamps: u64,
}

/// Chooses iterations.
struct Sampler {
    every: u32,
    /// Iterations with frames to let go by.
    skip: u32,
    stopwatch: Stopwatch,
    samples: Samples,
}

/// Runs the command.
///
/// # Errors
///
/// [`Failure`] when it cannot start, its device fails, or nothing came.
pub fn run(args: &LatencyArgs) -> Result<(), Failure> {
    let files = files(args)?;
    let app = serve::application(args.service, Offer::sized(args.body_size))?;
    let mut prepared = setup::prepare(&args.driver, &args.stack)?;
    let id = prepared.worker.add_service(app);
    let port = args.port.unwrap_or(args.service.port());
    let at = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port);
    let listening = prepared.worker.listen(id, at, BACKLOG);
    listening.map_err(Failure::from_error)?;
    let Node {
        mut worker,
        clock,
        signals,
        device,
        mode,
        control: _control,
    } = prepared.start(&format!("latency {}", args.service.name()))?;
    eprintln!(
        "millrace: serving {} on port {port} over {device} ({mode}), stamping",
        args.service.name()
    );
    let check = Check::begin(&clock);
    let deaf = |e| {
        Failure::Failed(format!(
            "cannot wait for {device}: {e}; look with `ip link`"
        ))
    };
    let samples = watch(&mut worker, args, clock).map_err(deaf)?;
    let clock = check.end();
    worker.start_drain();
    worker.serve(DRAIN, &mut |_| {}).map_err(deaf)?;
    drop(signals);
    if samples.total.is_empty() {
        return Err(Failure::Failed(format!(
            "no frame came in a stamped iteration; load port {port} meanwhile, for example with `millrace load`, or give a smaller --every"
        )));
    }
    let record = Record::new(args, &samples, clock, &worker, format!("{device} ({mode})"));
    let mut complaints = files.write(&record);
    complaints.extend(output::print(&record.table()).err());
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

fn files(args: &LatencyArgs) -> Result<Files<Record>, Failure> {
    let mut wanted: Vec<(Option<PathBuf>, Make<Record>)> =
        vec![(args.json.clone(), Box::new(json))];
    if let Some(prefix) = &args.hgrm {
        let path = |name: &str| {
            let mut path = prefix.clone().into_os_string();
            path.push(format!(".{}.hgrm", name.replace(' ', "-")));
            Some(PathBuf::from(path))
        };
        wanted.push((
            path("total"),
            Box::new(|record| distribution(&record.total.curve)),
        ));
        for (place, stage) in Stage::ALL.into_iter().enumerate() {
            let make = move |record: &Record| distribution(&record.stages[place].curve);
            wanted.push((path(stage.name()), Box::new(make)));
        }
    }
    Files::open(wanted.iter_mut().map(|(path, make)| {
        let empty: Make<Record> = Box::new(|_| String::new());
        (path.as_ref(), core::mem::replace(make, empty))
    }))
}

/// Serves until time is up or a signal says stop.
fn watch(worker: &mut Worker, args: &LatencyArgs, clock: TscClock) -> std::io::Result<Samples> {
    let mut sampler = Sampler::new(args.every, clock);
    let (_, start) = worker.fresh();
    let until = args.time.map(|time| start + time);
    while worker.phase() == Phase::Running && until.is_none_or(|until| worker.now() < until) {
        if sampler.turn(worker) == Turn::Idle {
            worker.rest(until)?;
        }
    }
    Ok(sampler.samples)
}

impl Sampler {
    fn new(every: u32, clock: TscClock) -> Self {
        Self {
            every,
            skip: 0,
            stopwatch: Stopwatch::new(clock),
            samples: Samples {
                stages: Stage::ALL.iter().map(|_| histogram()).collect(),
                total: histogram(),
                sums: vec![0; Stage::ALL.len()],
                received: 0,
                sent: 0,
                served: 0,
                stamps: 0,
            },
        }
    }

    /// One iteration. When one is due, all are stamped until one has received frames: nobody knows before which it is.
    fn turn(&mut self, worker: &mut Worker) -> Turn {
        if self.skip > 0 {
            let before = worker.stats().rx_frames;
            let turn = worker.turn();
            self.skip -= u32::from(worker.stats().rx_frames > before);
            return turn;
        }
        self.stopwatch.start();
        let turn = worker.turn_watched(&mut self.stopwatch);
        if self.stopwatch.received() > 0 {
            self.skip = self.every - 1;
            self.samples.take(&self.stopwatch);
        }
        turn
    }
}

impl Samples {
    fn take(&mut self, stopwatch: &Stopwatch) {
        for ((stage, times), sum) in Stage::ALL.iter().zip(&mut self.stages).zip(&mut self.sums) {
            let spent = stopwatch.spent(*stage);
            times.saturating_record(spent.max(1));
            *sum += spent;
        }
        self.total.saturating_record(stopwatch.total().max(1));
        self.received += stopwatch.received();
        self.sent += stopwatch.sent();
        self.served += stopwatch.served();
        self.stamps += stopwatch.stamps();
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Read};
    use std::sync::mpsc::{Sender, channel};

    use millrace::idle::{Rest, Wait};
    use millrace::net::Config;
    use millrace::pmd::{PairConfig, pair};
    use millrace::{BusyPoll, Client, Idle};

    use super::*;
    use crate::demo::{CLIENT, SERVER, end_of_wire};
    use crate::services::{Echo, Server};

    /// What the client does while it waits: the server, stamped, has its turn.
    struct TurnServer {
        server: Worker,
        sampler: Option<Sampler>,
        /// Iterations that received frames.
        bursts: u64,
        done: Sender<(Samples, u64)>,
    }

    impl Idle for TurnServer {
        fn idle(&mut self, _: Wait<'_>) -> io::Result<Rest> {
            if let Some(sampler) = &mut self.sampler {
                let before = self.server.stats().rx_frames;
                let _ = sampler.turn(&mut self.server);
                self.bursts += u64::from(self.server.stats().rx_frames > before);
            }
            Ok(Rest::Spun)
        }
    }

    impl Drop for TurnServer {
        fn drop(&mut self) {
            if let Some(sampler) = self.sampler.take() {
                let _ = self.done.send((sampler.samples, self.bursts));
            }
        }
    }

    /// `rounds` echoes; the samples, iterations of the server that received frames, and frames that the client sent.
    fn echoes(every: u32, rounds: u64) -> (Samples, u64, u64) {
        let clock = TscClock::new();
        let (near, far) = pair(PairConfig::default());
        let config = || Config::new([7; 32]);
        let (mut server, _) =
            end_of_wire(SERVER, Box::new(far), config(), clock.clone(), BusyPoll).expect("server");
        let at = SocketAddrV4::new(SERVER, 7);
        let id = server.add_service(Box::new(Server::new(Echo, None)));
        server.listen(id, at, 8).expect("a listener");
        let (done, result) = channel();
        let idle = TurnServer {
            server,
            sampler: Some(Sampler::new(every, clock.clone())),
            bursts: 0,
            done,
        };
        let (mut worker, _) =
            end_of_wire(CLIENT, Box::new(near), config(), clock, idle).expect("client");
        let mut client = Client::new(&mut worker);
        let mut stream = client.connect(at).expect("connected");
        for _ in 0..rounds {
            stream.send(&[1; 64]).expect("sent");
            stream.read_exact(&mut [0; 64]).expect("answered");
        }
        drop(stream);
        let frames = worker.queues()[0].stats().tx_packets;
        drop(worker);
        let (samples, bursts) = result.recv().expect("samples");
        (samples, bursts, frames)
    }

    #[test]
    fn every_frame_is_seen_and_stages_add_up_to_the_total() {
        let (samples, bursts, frames) = echoes(1, 50);
        // The first request may have come before its connection was accepted: an event tells of it then.
        assert!((49..=50).contains(&samples.served), "{}", samples.served);
        assert_eq!(samples.total.len(), bursts);
        assert!(samples.received >= 50 && samples.received <= frames);
        assert!(samples.sent >= 50);
        for times in &samples.stages {
            assert_eq!(times.len(), samples.total.len());
        }
        // The histogram keeps three digits; the sums are exact.
        let sum = samples.sums.iter().sum::<u64>() as f64;
        let total = samples.total.mean() * samples.total.len() as f64;
        assert!((sum / total - 1.0).abs() < 2e-3, "{sum} and {total}");
        // Two readings of the clock for each frame out and each service, and those of the loop itself.
        assert!(samples.stamps > 2 * (samples.sent + samples.served));
    }

    #[test]
    fn one_in_so_many_is_seen() {
        let (samples, bursts, _) = echoes(6, 60);
        assert_eq!(samples.total.len(), bursts.div_ceil(6));
    }
}
