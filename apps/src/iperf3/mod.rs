//! `millrace iperf3`: server and client that speak iperf3's protocol over our stack, TCP only, so that stock iperf3 measures us
//! and we measure it.
//!
//! | module | what |
//! |---|---|
//! | [`args`] | the arguments |
//! | [`protocol`], [`params`], [`results`] | what travels on the control connection |
//! | [`control`] | in which order: both ends as machines without sockets |
//! | [`run`], [`sums`] | what is counted |
//! | [`bundle`] | the streams over our stack |
//! | [`server`], [`client`] | the applications in a worker's loop |
//! | [`text`], [`json`], [`teller`] | what is printed |

pub mod args;
pub mod bundle;
pub mod client;
pub mod control;
pub mod json;
pub mod outbox;
pub mod params;
pub mod protocol;
pub mod results;
pub mod run;
pub mod server;
pub mod sums;
pub mod teller;
pub mod text;
pub mod usage;

use core::time::Duration;
use std::io::Write as _;
use std::sync::mpsc::channel;

use millrace::App;
use millrace::driver::DriverSpec;
use millrace::worker::{Phase, Turn, host_seed};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use crate::Failure;
use crate::setup::{self, Node};
use args::Iperf3Args;
use client::Client;
use server::Server;
use teller::{Out, Teller};

/// Connections that may wait to be accepted: streams come one after the other.
const BACKLOG: u32 = 512;
/// How long the ends of connections may take to be acknowledged.
const FAREWELL: Duration = Duration::from_secs(1);

/// Runs the command.
///
/// # Errors
///
/// [`Failure`] when there is no result.
pub fn run(args: &Iperf3Args) -> Result<(), Failure> {
    if args.driver == DriverSpec::Pair {
        return Err(Failure::Usage(
            "nobody is at the other end of a pair; give --driver af-xdp:INTERFACE or tap:NAME"
                .to_owned(),
        ));
    }
    let seed = host_seed()
        .map_err(|e| Failure::Failed(format!("the kernel gives no random numbers: {e}")))?;
    let random = ChaCha8Rng::from_seed(seed);
    let teller = Teller::new(args.form(), printer());
    let (done, outcome) = channel();
    let errand = args.errand()?;
    let (app, name): (Box<dyn App>, _) = match errand {
        Some(errand) => (
            Box::new(Client::new(errand, teller, random, done)),
            "iperf3 client",
        ),
        None => (
            Box::new(Server::new(args.post(), teller, complainer(), random, done)),
            "iperf3 server",
        ),
    };
    let mut prepared = setup::prepare(&args.driver, &args.stack)?;
    let id = prepared.worker.add_service(app);
    if args.server {
        prepared
            .worker
            .listen(id, args.post().at, BACKLOG)
            .map_err(Failure::from_error)?;
    }
    let Node {
        mut worker,
        clock: _,
        signals: _signals,
        device,
        mode,
        control: _control,
    } = prepared.start(name)?;
    tracing::info!("over {device} ({mode})");
    let deaf = |e| {
        Failure::Failed(format!(
            "cannot wait for {device}: {e}; look with `ip link`"
        ))
    };
    while worker.open() > 0 {
        let turn = worker.turn();
        if worker.phase() == Phase::Aborting {
            return Err(Failure::Failed(
                "stopped at once by a second signal".to_owned(),
            ));
        }
        if turn == Turn::Idle {
            worker.rest(None).map_err(deaf)?;
        }
    }
    // The peer is to learn that we are done.
    millrace::Client::new(&mut worker)
        .settle(FAREWELL)
        .map_err(deaf)?;
    let outcome = outcome
        .recv()
        .map_err(|_| Failure::Failed("the test was lost".to_owned()))?;
    outcome.map_err(Failure::Failed)
}

/// To standard output, line by line.
fn printer() -> Out {
    Box::new(|text| {
        let mut out = std::io::stdout().lock();
        // Who closes our output does not want the rest.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    })
}

/// Tests of a server that failed: it goes on.
fn complainer() -> Out {
    Box::new(|why| eprintln!("millrace: {why}"))
}
