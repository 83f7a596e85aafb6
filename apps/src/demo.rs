//! `millrace demo`: both ends in one process, over an in-memory wire, each with a worker and a thread of its own.
//!
//! Shows that the stack works, on any machine and without privileges: HTTP, echo, an error, a half-close, and that
//! nothing is left afterwards.

use core::time::Duration;
use std::io::{self, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4};
use std::thread;

use millrace::driver::{ImpairSpec, with_faults};
use millrace::idle::Idle;
use millrace::net::link::{LinkConfig, LinkKind};
use millrace::net::{Config, IfaceConfig};
use millrace::pmd::{FixedPort, PairConfig, Queue, pair};
use millrace::wire::mac::MacAddr;
use millrace::worker::{Stopped, host_seed};
use millrace::{Adaptive, Client, Clock, Command, Controller, Ipv4Net, Stack, TscClock, Worker};
use serde_json::{Value, json};

use crate::Failure;
use crate::cli::DemoArgs;
use crate::get::fetch::{FetchError, fetch};
use crate::get::url::Url;
use crate::http::{Http, fixed};
use crate::services::{Echo, Server};

/// The address of the end that asks.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
/// The address of the end that serves.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

/// Largest IP packet on the wire.
const MTU: u16 = 1500;
/// 64-byte messages sent back and forth.
const ROUND_TRIPS: u32 = 10_000;
/// How long an operation may make no progress.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long open connections have to finish at the end.
const DRAIN: Duration = Duration::from_secs(5);

/// A worker at one end of an in-memory wire, whose address is `addr`/24.
///
/// # Errors
///
/// [`Failure`] when the system gives no random numbers or no event descriptor.
pub fn end_of_wire(
    addr: Ipv4Addr,
    queue: Box<dyn Queue>,
    config: Config,
    clock: impl Clock + 'static,
    idle: impl Idle + 'static,
) -> Result<(Worker, Controller), Failure> {
    let [_, b, c, d] = addr.octets();
    let mac = MacAddr([0x02, 0, 0, b, c, d]);
    let mut stack = Stack::new(config);
    let link = LinkConfig {
        kind: LinkKind::Ethernet,
        mac,
        vlan: None,
        mtu: MTU,
    };
    let iface = stack
        .add_iface(IfaceConfig {
            name: "wire".to_owned(),
            link,
            accept_partial_csum: false,
        })
        .map_err(Failure::from_error)?;
    let net = Ipv4Net::new(addr, 24).map_err(Failure::from_error)?;
    stack.add_addr(iface, net).map_err(Failure::from_error)?;
    let (mut worker, controller) = Worker::new(stack, clock, idle)
        .map_err(|e| Failure::Failed(format!("cannot make a doorbell: {e}; see `ulimit -n`")))?;
    let port = FixedPort::new(
        "wire",
        millrace::pmd::MacAddr(mac.0),
        MTU.into(),
        Vec::new(),
    );
    worker.add_queues(iface, Box::new(port), vec![queue]);
    Ok((worker, controller))
}

/// Runs the command.
///
/// # Errors
///
/// [`Failure`] with the first check that failed.
pub fn run(args: &DemoArgs) -> Result<(), Failure> {
    let clock = TscClock::new();
    let seed = || {
        host_seed().map_err(|e| Failure::Failed(format!("the kernel gives no random numbers: {e}")))
    };
    let (near, far) = pair(PairConfig::default());
    let queue = faulty(Box::new(near), args.impair.as_ref(), &clock)?;
    let (mut client, _) = end_of_wire(
        CLIENT,
        queue,
        Config::new(seed()?),
        clock.clone(),
        Adaptive::default(),
    )?;
    let (mut server, mut stop) = end_of_wire(
        SERVER,
        Box::new(far),
        Config::new(seed()?),
        clock.clone(),
        Adaptive::default(),
    )?;
    let http = server.add_service(Box::new(Server::new(Http::fixed(args.body_size), None)));
    server
        .listen(http, SocketAddrV4::new(SERVER, 80), 128)
        .map_err(Failure::from_error)?;
    let echo = server.add_service(Box::new(Server::new(Echo, None)));
    server
        .listen(echo, SocketAddrV4::new(SERVER, 7), 128)
        .map_err(Failure::from_error)?;

    let mut log = Log::new(args.json);
    log.title(&format!("two stacks in one process, joined in memory: client {CLIENT}, server {SERVER} (http on port 80, echo on port 7)"));
    let running = thread::Builder::new()
        .name("server".to_owned())
        .spawn(move || (server.serve(DRAIN, &mut |_| {}), server))
        .map_err(|e| Failure::Failed(format!("cannot start a thread: {e}; see `ulimit -u`")))?;

    let checked = checks(&mut client, &clock, args, &mut log);
    // The server ends whatever came of the checks.
    let _ = stop.send(Command::Drain);
    let settled = Client::new(&mut client).settle(DRAIN);
    let (stopped, server) = running
        .join()
        .map_err(|_| Failure::Failed("the server's thread panicked".to_owned()))?;
    checked?;
    settled.map_err(Failure::from_error)?;
    nothing_left(&client, &server, stopped.map_err(Failure::from_error)?)?;
    log.ok(
        "afterwards no connection is left at either end",
        json!({ "check": "nothing left" }),
    );
    log.end();
    Ok(())
}

fn faulty(
    queue: Box<dyn Queue>,
    impair: Option<&ImpairSpec>,
    clock: &TscClock,
) -> Result<Box<dyn Queue>, Failure> {
    match impair {
        None => Ok(queue),
        Some(impair) => with_faults(vec![queue], impair, clock)
            .pop()
            .ok_or_else(|| Failure::Failed("the wire has no queue".to_owned())),
    }
}

fn checks(
    worker: &mut Worker,
    clock: &TscClock,
    args: &DemoArgs,
    log: &mut Log,
) -> Result<(), Failure> {
    let mut client = Client::new(worker);
    client.set_timeout(Some(PATIENCE));
    large_body(&mut client, clock, args.body_size, log)?;
    missing_page(&mut client, log)?;
    echo(&mut client, clock, log)
}

fn url(path: &str) -> Result<Url, Failure> {
    format!("http://{SERVER}{path}")
        .parse()
        .map_err(Failure::Failed)
}

fn large_body(
    client: &mut Client<'_>,
    clock: &TscClock,
    size: u64,
    log: &mut Log,
) -> Result<(), Failure> {
    let mut body = Compared {
        seen: 0,
        wrong: None,
    };
    let start = clock.now();
    let fetched = fetch(client, &url("/")?, &mut body).map_err(Failure::from_error)?;
    let took = clock.now().since(start);
    if let Some(offset) = body.wrong {
        return Err(Failure::Failed(format!(
            "GET /: the body is wrong from byte {offset} on"
        )));
    }
    if fetched.body != size {
        return Err(Failure::Failed(format!(
            "GET /: {} bytes instead of {size}",
            fetched.body
        )));
    }
    let gbits = size as f64 * 8.0 / took.as_secs_f64().max(1e-9) / 1e9;
    log.ok(
        &format!("GET / gave {size} bytes, each as it should be, at {gbits:.2} Gbit/s"),
        json!({ "check": "large body", "bytes": size, "seconds": took.as_secs_f64() }),
    );
    Ok(())
}

fn missing_page(client: &mut Client<'_>, log: &mut Log) -> Result<(), Failure> {
    match fetch(client, &url("/missing")?, &mut io::sink()) {
        Err(FetchError::Refused { code: 404, .. }) => {}
        Ok(fetched) => {
            return Err(Failure::Failed(format!(
                "GET /missing: status {} instead of 404",
                fetched.code
            )));
        }
        Err(error) => return Err(Failure::from_error(error)),
    }
    log.ok("GET /missing gave 404", json!({ "check": "missing page" }));
    Ok(())
}

fn echo(client: &mut Client<'_>, clock: &TscClock, log: &mut Log) -> Result<(), Failure> {
    let mut stream = client
        .connect(SocketAddrV4::new(SERVER, 7))
        .map_err(Failure::from_error)?;
    let (mut message, mut answer) = ([0; 64], [0; 64]);
    let start = clock.now();
    for round in 0..ROUND_TRIPS {
        message[..4].copy_from_slice(&round.to_be_bytes());
        stream.send(&message).map_err(Failure::from_error)?;
        io::Read::read_exact(&mut stream, &mut answer).map_err(Failure::from_error)?;
        if answer != message {
            return Err(Failure::Failed(format!(
                "echo: message {round} came back changed"
            )));
        }
    }
    let took = clock.now().since(start);
    let micros = took.as_secs_f64() * 1e6 / f64::from(ROUND_TRIPS);
    log.ok(
        &format!("echo gave back {ROUND_TRIPS} messages of 64 bytes, {micros:.1} µs each"),
        json!({ "check": "echo", "messages": ROUND_TRIPS, "seconds": took.as_secs_f64() }),
    );
    stream
        .shutdown(Shutdown::Write)
        .map_err(Failure::from_error)?;
    match stream.recv(&mut answer).map_err(Failure::from_error)? {
        0 => {}
        n => {
            return Err(Failure::Failed(format!(
                "half-close: {n} bytes came instead of the end"
            )));
        }
    }
    log.ok(
        "a half-close was answered with the end of the stream",
        json!({ "check": "half-close" }),
    );
    stream.close().map_err(Failure::from_error)
}

fn nothing_left(client: &Worker, server: &Worker, stopped: Stopped) -> Result<(), Failure> {
    if let Stopped::Aborted { connections } = stopped {
        return Err(Failure::Failed(format!(
            "{connections} connections of the server had to be reset"
        )));
    }
    for (name, worker) in [("client", client), ("server", server)] {
        let census = worker.stack_ref().census();
        if (
            census.established,
            census.orphans,
            census.requests,
            census.ring_chunks,
        ) != (0, 0, 0, 0)
        {
            return Err(Failure::Failed(format!(
                "something is left at the {name}: {census:?}"
            )));
        }
    }
    Ok(())
}

/// Compares a body with what `serve http --body-size` sends.
struct Compared {
    seen: u64,
    /// The first byte that differs.
    wrong: Option<u64>,
}

impl Write for Compared {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if self.wrong.is_none() {
            self.wrong = (self.seen..)
                .zip(buf)
                .find(|&(at, &byte)| byte != fixed::byte_at(at))
                .map(|(at, _)| at);
        }
        self.seen += buf.len() as u64;
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The report: lines as they come, or one object at the end.
struct Log {
    checks: Option<Vec<Value>>,
}

impl Log {
    fn new(json: bool) -> Self {
        Self {
            checks: json.then(Vec::new),
        }
    }

    fn title(&self, text: &str) {
        if self.checks.is_none() {
            println!("millrace demo: {text}");
        }
    }

    fn ok(&mut self, text: &str, value: Value) {
        match &mut self.checks {
            Some(checks) => checks.push(value),
            None => println!("  ok  {text}"),
        }
    }

    fn end(&self) {
        if let Some(checks) = &self.checks {
            println!(
                "{}",
                json!({ "event": "demo", "ok": true, "checks": checks })
            );
        }
    }
}
