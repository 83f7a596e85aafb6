//! `millrace load`: loads a server and measures how long its answers take, from the time at which each request was
//! meant to be sent.
//!
//! | module | what |
//! |---|---|
//! | [`args`] | the arguments, and the plan that they make |
//! | [`arrivals`], [`ramp`] | when requests are due, at one rate or at several |
//! | [`workload`] | what is sent, and where a reply ends |
//! | [`engine`] | who sends what when; knows no socket |
//! | [`wire`] | what the engine and the transports ask of each other |
//! | [`kernel`], [`driver`] | the two transports |
//! | [`log`] | histograms and time series |
//! | [`clock`], [`watch`] | what is known of the clock and of the machine's cores |
//! | [`verdict`] | whether the result may be quoted |
//! | [`record`] | the result, as it is written |
//! | [`table`], [`units`] | the result for people |
//! | [`files`], [`html`], [`chart`] | the result as files |
//! | [`compare`] | `millrace report` |

pub mod args;
pub mod arrivals;
pub mod chart;
pub mod clock;
pub mod compare;
pub mod driver;
pub mod engine;
pub mod files;
pub mod html;
pub mod kernel;
pub mod log;
pub mod ramp;
pub mod record;
pub mod table;
pub mod units;
pub mod verdict;
pub mod watch;
pub mod wire;
pub mod workload;

use std::time::{SystemTime, UNIX_EPOCH};

use clap::ValueEnum;
use millrace::TscClock;
use millrace::worker::Core;

use crate::Failure;
use crate::output;
use crate::setup;
use args::{Carrier, LoadArgs};
use clock::{Check, ClockFacts};
use driver::Driver;
use engine::{Engine, Over, Plan};
use kernel::Kernel;
use ramp::Ramp;
use record::{
    Build, Counts, Curve, Generator, Headline, Machine, Record, SCHEMA, Timing, VERSION, Work,
};
use verdict::{Evidence, refusals};
use watch::{Cpu, Watch};
use wire::{Ran, Transport};
use workload::{ReplyKind, Shape};

/// Runs the command.
///
/// # Errors
///
/// [`Failure`] when there is no result, or none that may be quoted; what was measured is printed all the same.
pub fn run(args: &LoadArgs) -> Result<(), Failure> {
    let plans = args.plans()?;
    let files = args.files.open()?;
    // All before the transport pins this thread: they would share its core.
    let watches = plans
        .iter()
        .map(|_| Watch::start())
        .collect::<Result<Vec<_>, _>>();
    let watches = watches
        .map_err(|e| Failure::Failed(format!("cannot start a thread: {e}; see `ulimit -u`")))?;
    let (mut transport, clock) = transport(args)?;
    let (mut records, mut complaints) = (Vec::new(), Vec::new());
    for (plan, watch) in plans.into_iter().zip(watches) {
        match measure(args, plan, watch, &mut *transport, &clock) {
            Ok(record) => {
                let good = record.refusals.is_empty();
                records.push(record);
                if !good {
                    break;
                }
            }
            Err(failure) if records.is_empty() => return Err(failure),
            Err(failure) => {
                complaints.push(failure.to_string());
                break;
            }
        }
    }
    let record = match args.ramp {
        Some(_) => ramp::knee(records),
        None => records.pop(),
    };
    let Some(record) = record else {
        return Ok(());
    };
    complaints.extend(files.write(&record));
    complaints.extend(output::print(&table::table(&record)).err());
    complaints.extend(
        record
            .refusals
            .first()
            .map(|refusal| format!("no headline: {}", refusal.why)),
    );
    complaints.extend(args.ramp.and_then(|ramp| kneeless(ramp, &record)));
    let Some(last) = complaints.pop() else {
        return Ok(());
    };
    for complaint in complaints {
        eprintln!("millrace: {complaint}");
    }
    Err(Failure::Failed(last))
}

/// A ramp without a knee: no step was too much.
fn kneeless(ramp: Ramp, record: &Record) -> Option<String> {
    let good = record.ramp.iter().all(|step| step.refusal.is_none());
    good.then(|| format!("the ramp {ramp} has no knee: no rate was too high; give it a higher end"))
}

/// One run.
fn measure(
    args: &LoadArgs,
    plan: Plan,
    watch: Watch,
    transport: &mut dyn Transport,
    clock: &TscClock,
) -> Result<Record, Failure> {
    let check = Check::begin(clock);
    let engine = Engine::new(plan, Box::new(check.clock()), Some(watch.watcher()));
    let (mut engine, ran) = transport.run(engine)?;
    let clock = check.end();
    engine.unwatch();
    let cpu = watch.end();
    record(args, &engine, ran, clock, cpu).ok_or_else(|| {
        Failure::Failed(match engine.over() {
            Some(Over::Broken(why)) => format!("{why} ({})", args.target),
            _ => "stopped before the measurement began".to_owned(),
        })
    })
}

/// What carries the connections, and its clock.
fn transport(args: &LoadArgs) -> Result<(Box<dyn Transport>, TscClock), Failure> {
    let to = args.target.addr();
    match &args.driver {
        Carrier::Kernel => {
            let core = args
                .stack
                .core
                .map(Core::find)
                .transpose()
                .map_err(Failure::from_error)?;
            let clock = TscClock::new();
            let kernel = Kernel::new(to, clock.clone(), args.stack.busy_poll)?;
            if let Some(core) = core {
                core.pin().map_err(Failure::from_error)?;
            }
            Ok((Box::new(kernel), clock))
        }
        Carrier::Device(spec) => {
            let node = setup::prepare(spec, &args.stack)?.start("load")?;
            let clock = node.clock.clone();
            Ok((Box::new(Driver::new(to, node)), clock))
        }
    }
}

/// Everything about a run, if its measurement had begun.
fn record(
    args: &LoadArgs,
    engine: &Engine,
    ran: Ran,
    clock: ClockFacts,
    cpu: Cpu,
) -> Option<Record> {
    let (plan, log) = (engine.plan(), engine.log());
    let measured_s = engine.measured()?.as_secs_f64();
    let cut_short = match engine.over() {
        Some(Over::Broken(why)) => Some(format!("{why}; what was measured until then is kept")),
        Some(Over::Stopped) => Some(format!(
            "stopped by a signal after {measured_s:.2} of {:.2} s; what was measured until then is kept",
            plan.time.as_secs_f64()
        )),
        Some(Over::Time) | None => None,
    };
    let generator = Generator {
        busy: ran.busy_ns as f64 / ran.elapsed_ns.max(1) as f64,
        iteration: Curve::of(&ran.loop_ns, args.percentile),
        lag: Curve::of(&log.lag, args.percentile),
        longest_silence_s: log.longest_silence as f64 / 1e9,
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let mut record = Record {
        schema: SCHEMA.to_owned(),
        version: VERSION,
        ended_unix_s: now.map_or(0, |time| time.as_secs()),
        command: std::env::args().collect(),
        work: work(args, plan, ran.mode),
        timing: Timing {
            warm_up_s: plan.warm_up.as_secs_f64(),
            asked_s: plan.time.as_secs_f64(),
            measured_s,
            cut_short: cut_short.clone(),
        },
        headline: None,
        refusals: Vec::new(),
        counts: Counts {
            offered: log.offered,
            sent: log.sent,
            replies: log.replies,
            replies_in_time: log.achieved,
            unanswered: log.unanswered,
            shed: log.shed,
            reopened: log.reopened,
            bytes: log.bytes,
            driver_lost: ran.driver_lost,
        },
        corrected: Curve::of(&log.corrected, args.percentile),
        raw: Curve::of(&log.raw, args.percentile),
        connect: Curve::of(&log.connect, args.percentile),
        generator,
        clock,
        ramp: Vec::new(),
        series: log.series.clone(),
        cpu,
        tcp: ran.tcp.into_iter().collect(),
        driver: ran.driver.into_iter().collect(),
        drops: ran.drops.into_iter().collect(),
        machine: Machine::here(),
        build: Build::here(),
    };
    judge(&mut record, args.percentile, engine);
    Some(record)
}

fn work(args: &LoadArgs, plan: &Plan, carrier: String) -> Work {
    let shape = plan.workload.shape.to_possible_value();
    Work {
        target: args.target.to_string(),
        carrier,
        shape: shape.map_or_else(String::new, |value| value.get_name().to_owned()),
        request_bytes: match plan.workload.shape {
            Shape::Receive => 0,
            _ => plan.workload.request.len() as u64,
        },
        reply: match (plan.workload.shape, plan.workload.reply) {
            (Shape::Send | Shape::Receive, _) => "none".to_owned(),
            (_, ReplyKind::Echo) => "echo".to_owned(),
            (_, ReplyKind::Http) => "http".to_owned(),
            (_, ReplyKind::Bytes(size)) => format!("{size} B"),
        },
        connections: plan.connections as u64,
        depth: plan.depth as u64,
        rate_per_s: plan.open.map(|(_, rate)| rate),
        arrivals: plan.open.map(|(arrivals, _)| arrivals.to_string()),
        seed: plan.seed,
    }
}

/// Gives the record its headline, or the reasons against one.
fn judge(record: &mut Record, percentile: f64, engine: &Engine) {
    let log = engine.log();
    let quantile = percentile / 100.0;
    let latency_ns = log.corrected.value_at_quantile(quantile);
    let stream = record.is_stream();
    record.refusals = refusals(&Evidence {
        cut_short: record.timing.cut_short.clone(),
        stream,
        percentile,
        latency_ns,
        rate: record
            .work
            .rate_per_s
            .map(|asked| (asked, record.replies_per_s())),
        lag_ns: log.lag.value_at_quantile(quantile),
        busy: record.generator.busy,
        driver_lost: record.counts.driver_lost,
        shed: record.counts.shed,
        samples: log.corrected.len(),
        unanswered: log.unanswered,
        measured_s: record.timing.measured_s,
        silence_s: record.generator.longest_silence_s,
        clock: record.clock,
    });
    if record.refusals.is_empty() {
        record.headline = Some(Headline {
            replies_per_s: (!stream).then(|| record.replies_per_s()),
            bytes_per_s: record.bytes_per_s(),
            percentile,
            latency_ns: (!stream).then_some(latency_ns),
        });
    }
}
