//! `millrace serve`: a service on a device until a signal says stop.

use core::time::Duration;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;

use millrace::App;
use millrace::worker::Stopped;
use serde_json::json;

use crate::Failure;
use crate::cli::{ServeArgs, ServiceKind};
use crate::http::Http;
use crate::report::{Format, JsonTo};
use crate::services::{Chargen, Discard, Echo, Server};
use crate::setup::{self, Node};

/// Bytes of the body of `serve http` when nothing is said.
const DEFAULT_BODY: u64 = 1024;

/// Runs the command.
///
/// # Errors
///
/// [`Failure`] when it cannot start or its device fails.
pub fn run(args: &ServeArgs) -> Result<(), Failure> {
    let offer = Offer {
        root: args.root.as_deref(),
        body_size: args.body_size,
        idle_timeout: Some(args.idle_timeout),
    };
    let app = application(args.service, offer)?;
    let mut prepared = setup::prepare(&args.net.driver, &args.net.stack)?;
    let id = prepared.worker.add_service(app);
    let listen = listen_addresses(args);
    for addr in &listen {
        prepared
            .worker
            .listen(id, *addr, args.backlog)
            .map_err(Failure::from_error)?;
    }
    let addrs = prepared.addrs.clone();
    let Node {
        mut worker,
        clock: _,
        signals,
        device,
        mode,
        control: _control,
    } = prepared.start(&format!("serve {}", args.service.name()))?;

    let format = if args.net.json {
        Format::Json(JsonTo::Stdout)
    } else {
        Format::Text
    };
    let name = args.service.name();
    // Where the wildcard is meant, the addresses that it stands for say more.
    let shown: Vec<SocketAddrV4> = listen
        .iter()
        .flat_map(|at| match at.ip().is_unspecified() {
            true => addrs
                .iter()
                .map(|net| SocketAddrV4::new(net.addr(), at.port()))
                .collect(),
            false => vec![*at],
        })
        .collect();
    let places = shown.iter().map(ToString::to_string).collect::<Vec<_>>();
    format.announce(&format!("millrace: serving {name} on {} over {device} ({mode})", places.join(", ")), || {
        json!({ "event": "ready", "service": name, "listen": places, "driver": device, "mode": mode })
    });

    let stopped = worker
        .serve(args.drain_timeout, &mut |worker| {
            format.stats(worker, &mode)
        })
        .map_err(|e| {
            Failure::Failed(format!(
                "cannot wait for {device}: {e}; look with `ip link`"
            ))
        })?;
    drop(signals);
    let (ending, reset) = match stopped {
        Stopped::Drained => ("all connections had ended".to_owned(), 0),
        Stopped::Aborted { connections: 1 } => ("1 connection was reset".to_owned(), 1),
        Stopped::Aborted { connections } => {
            (format!("{connections} connections were reset"), connections)
        }
    };
    format.announce(
        &format!("millrace: stopped, {ending}"),
        || json!({ "event": "stopped", "reset": reset }),
    );
    if args.stats_on_exit {
        format.stats(&worker, &mode);
    }
    Ok(())
}

/// What `http` serves and how; nothing of it is for other services.
#[derive(Clone, Copy, Debug)]
pub struct Offer<'a> {
    /// The files below this directory.
    pub root: Option<&'a Path>,
    /// A body of this many bytes.
    pub body_size: Option<u64>,
    /// After how long a silent connection is closed.
    pub idle_timeout: Option<Duration>,
}

impl Offer<'_> {
    /// A body of so many bytes, for connections that may be silent for ever.
    pub fn sized(body_size: Option<u64>) -> Self {
        Self {
            root: None,
            body_size,
            idle_timeout: None,
        }
    }
}

/// A service as an application for a worker.
///
/// # Errors
///
/// [`Failure`] for files that cannot be served.
pub fn application(kind: ServiceKind, offer: Offer<'_>) -> Result<Box<dyn App>, Failure> {
    if kind != ServiceKind::Http && (offer.root.is_some() || offer.body_size.is_some()) {
        return Err(Failure::Usage(
            "--root and --body-size are for the service http".to_owned(),
        ));
    }
    Ok(match kind {
        ServiceKind::Echo => Box::new(Server::new(Echo, None)),
        ServiceKind::Discard => Box::new(Server::new(Discard, None)),
        ServiceKind::Chargen => Box::new(Server::new(Chargen::new(), None)),
        ServiceKind::Http => {
            let http = match offer.root {
                Some(dir) => Http::root(dir).map_err(|e| {
                    Failure::Failed(format!(
                        "cannot serve {}: {e}; look with `ls -ld {}`",
                        dir.display(),
                        dir.display()
                    ))
                })?,
                None => Http::fixed(offer.body_size.unwrap_or(DEFAULT_BODY)),
            };
            Box::new(Server::new(http, offer.idle_timeout))
        }
    })
}

fn listen_addresses(args: &ServeArgs) -> Vec<SocketAddrV4> {
    if args.listen.is_empty() {
        vec![SocketAddrV4::new(
            Ipv4Addr::UNSPECIFIED,
            args.port.unwrap_or(args.service.port()),
        )]
    } else {
        args.listen.clone()
    }
}
