//! Short sequences of segments, calls and time, drawn from a seed, and asked of both machines.
//!
//! What would be a race in real time is not drawn: every step is left alone for a few milliseconds, so that the
//! kernel's next tick has been, and a sequence is over before the first retransmission, unless it has one long pause. The
//! pauses are such that time-outs (200, 600, 1400 ms after what they repeat, 1 s for a SYN) lie well inside or outside of
//! them, wherever in the sequence it was sent.

use std::fmt;
use std::time::Duration;

use millrace_lab::machine::{Broken, Machine};
use millrace_posix::call::Call;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::bench::{Bench, outcome};
use super::cell::{AckNo, Cell, Probe, Seq, State, Ts};
use super::matrix;
use super::peer::Peer;
use super::prepare::{complete, prepare};
use super::question::Observed;

/// After every step: longer than a tick, and all steps together are shorter than the delay of an acknowledgement.
const SETTLE: Duration = Duration::from_millis(7);

/// A pause in which a delayed acknowledgement leaves.
const LONG: Duration = Duration::from_millis(60);

/// Long pauses, ms: in which what is not acknowledged is sent again once, and twice (a SYN once).
const PAUSES: &[u16] = &[250, 1100];

/// Most steps.
const STEPS: usize = 5;

/// The whole of a sequence but its long pause must be over by then, after which a retransmission may come, on a machine
/// in real time.
const LATE: Duration = Duration::from_millis(195);

/// One thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A segment of the peer, anywhere; the peer does not count it.
    Probe(Probe, Seq, AckNo),
    /// A segment of the peer in its place that acknowledges everything; the peer goes on behind it.
    Next(Probe),
    /// The program sends octets.
    Send(u16),
    /// The program reads.
    Recv,
    /// shutdown, `how` as in the call.
    Shutdown(i32),
    /// close.
    Close,
    /// accept, on the listener.
    Accept,
    /// Time passes, so that what was delayed is sent.
    Wait,
    /// So much time passes, ms, so that what is not acknowledged is sent again.
    Pause(u16),
}

/// Whether there is a long pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// There is none.
    Quick,
    /// There is one.
    Slow,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Probe(probe, seq, ack) => write!(f, "< {probe} seq={seq} ack={ack}"),
            Self::Next(probe) => write!(f, "< {probe}"),
            Self::Send(len) => write!(f, "send {len}"),
            Self::Recv => f.write_str("recv"),
            Self::Shutdown(how) => write!(f, "shutdown {how}"),
            Self::Close => f.write_str("close"),
            Self::Accept => f.write_str("accept"),
            Self::Wait => f.write_str("wait"),
            Self::Pause(ms) => write!(f, "pause {ms} ms"),
        }
    }
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequence {
    /// Where it begins.
    pub state: State,
    /// With timestamps, or without.
    pub ts: Ts,
    /// What happens then.
    pub steps: Vec<Step>,
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ts={}", self.state, self.ts)?;
        self.steps.iter().try_for_each(|step| write!(f, "; {step}"))
    }
}

impl Sequence {
    /// The sequence of a seed.
    pub fn draw(seed: u64, pace: Pace) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let state = loop {
            let state = pick(&mut rng, State::ALL);
            // The kernel's way out of a simultaneous open is listed as a difference.
            if state != State::SynRecvSimultaneous {
                break state;
            }
        };
        let ts = pick(&mut rng, &[Ts::Off, Ts::On]);
        let mut steps = Vec::new();
        for _ in 0..rng.random_range(2..=STEPS) {
            let step = step(&mut rng);
            // One pause at most: a second one would reach into the first retransmission.
            if step != Step::Wait || !steps.contains(&Step::Wait) {
                steps.push(step);
            }
        }
        if pace == Pace::Slow {
            let at = rng.random_range(0..=steps.len());
            steps.insert(at, Step::Pause(pick(&mut rng, PAUSES)));
        }
        Self { state, ts, steps }
    }

    /// How long it may take.
    fn limit(&self) -> Duration {
        let pause = |step: &Step| match step {
            Step::Pause(ms) => u64::from(*ms),
            _ => 0,
        };
        LATE + Duration::from_millis(self.steps.iter().map(pause).sum())
    }
}

fn pick<T: Copy>(rng: &mut ChaCha8Rng, of: &[T]) -> T {
    of[rng.random_range(0..of.len())]
}

fn step(rng: &mut ChaCha8Rng) -> Step {
    match rng.random_range(0..12) {
        0..=2 => probe(rng),
        3..=5 => Step::Next(pick(
            rng,
            &[Probe::Ack, Probe::Data, Probe::FinAck, Probe::DataFin],
        )),
        6 => Step::Send(pick(rng, &[1, 100, 1000])),
        7 => Step::Recv,
        8 => Step::Shutdown(rng.random_range(0..3)),
        9 => Step::Close,
        10 => Step::Accept,
        _ => Step::Wait,
    }
}

/// A segment, but none whose answer is listed as a difference: an old acknowledgement in its place (header prediction),
/// data on the last octet of the window.
fn probe(rng: &mut ChaCha8Rng) -> Step {
    loop {
        let (probe, seq, ack) = (
            pick(rng, Probe::ALL),
            pick(rng, Seq::ALL),
            pick(rng, AckNo::ALL),
        );
        let old = matches!(ack, AckNo::Old | AckNo::VeryOld);
        if seq != Seq::Last && !(old && seq == Seq::At) {
            return Step::Probe(probe, seq, ack);
        }
    }
}

/// Runs a sequence on a machine, on a port that it has not used.
///
/// # Errors
/// The machine failed.
pub fn run(machine: &mut dyn Machine, asked: &Sequence, port: u16) -> Result<Observed, Broken> {
    let peers = [(port, Peer::new(port, asked.ts))].into();
    let mut bench = Bench { machine, peers };
    let mut seen = Observed::default();
    // A tail loss probe comes after two round trips, and these are as short as the machine is quick.
    bench
        .machine
        .set_sysctl("net.ipv4.tcp_early_retrans", "0")?;
    let began = bench.machine.now();
    prepare(&mut bench, port, asked.state)?;
    settle(&mut bench, SETTLE)?;
    complete(&mut bench, port, asked.state)?;
    settle(&mut bench, SETTLE)?;
    matrix::packets(&mut bench, port, "prepare", None, &mut seen)?;
    for step in &asked.steps {
        let answer = perform(&mut bench, port, asked.ts, *step)?;
        seen.lines.push(format!("{step}: {answer}"));
        let time = match step {
            Step::Wait => LONG,
            Step::Pause(ms) => Duration::from_millis(u64::from(*ms)),
            _ => SETTLE,
        };
        settle(&mut bench, time)?;
        matrix::packets(&mut bench, port, "sent", None, &mut seen)?;
    }
    matrix::look(&mut bench, port, &mut seen)?;
    matrix::packets(&mut bench, port, "reading", None, &mut seen)?;
    seen.late = bench.machine.now().saturating_sub(began) > asked.limit();
    matrix::tidy(&mut bench, port)?;
    Ok(seen)
}

fn settle(bench: &mut Bench<'_>, time: Duration) -> Result<(), Broken> {
    let until = bench.machine.now() + time;
    bench.wait_until(until)
}

fn perform(bench: &mut Bench<'_>, port: u16, ts: Ts, step: Step) -> Result<String, Broken> {
    let peer = bench.peer(port)?;
    let (fd, listener) = (peer.fd.unwrap_or(-1), peer.listener.unwrap_or(-1));
    match step {
        Step::Probe(probe, seq, ack) => {
            let cell = Cell {
                state: State::Closed,
                probe,
                seq,
                ack,
                ts,
            };
            let segment = peer.probe(&cell);
            bench.inject(segment)?;
            Ok(String::new())
        }
        Step::Next(probe) => {
            let (flags, len) = probe.parts();
            let all = peer.nxt;
            let segment = peer.says(flags, len, all);
            bench.inject(segment)?;
            Ok(String::new())
        }
        Step::Send(len) => {
            let flags = libc::MSG_NOSIGNAL;
            Ok(outcome(&bench.send(fd, usize::from(len), flags)?))
        }
        Step::Recv => bench.recv(fd),
        Step::Shutdown(how) => Ok(outcome(&bench.call(Call::Shutdown { fd, how })?)),
        Step::Close => {
            peer.fd = None;
            Ok(outcome(&bench.call(Call::Close { fd })?))
        }
        Step::Accept => {
            let answer = bench.accept(listener)?;
            if answer.value < 0 {
                return Ok(outcome(&answer));
            }
            let peer = bench.peer(port)?;
            // A second one has no use here.
            if let Some(first) = peer.fd.replace(answer.value as i32) {
                matrix::reset(bench, first)?;
            }
            Ok("a connection".to_owned())
        }
        Step::Wait | Step::Pause(_) => Ok(String::new()),
    }
}
