//! `millrace get`: fetches a URL over our own stack.

pub mod fetch;
pub mod url;

use core::time::Duration;
use std::net::Ipv4Addr;

use millrace::Client;
use serde_json::json;

use crate::Failure;
use crate::cli::GetArgs;
use crate::output::Output;
use crate::report::{Format, JsonTo};
use crate::setup::{self, Node};

use fetch::fetch;

/// How long the end of the connection may take to be acknowledged.
const FAREWELL: Duration = Duration::from_secs(1);

/// Runs the command.
///
/// # Errors
///
/// [`Failure`] with what went wrong on the way to a complete body.
pub fn run(args: &GetArgs) -> Result<(), Failure> {
    let mut output = Output::open(args.output.as_deref()).map_err(Failure::from_error)?;
    let prepared = setup::prepare(&args.net.driver, &args.net.stack)?;
    let ours: Vec<Ipv4Addr> = prepared.addrs.iter().map(|net| net.addr()).collect();
    let Node {
        mut worker,
        clock: _,
        signals: _signals,
        device,
        mode,
        control: _control,
    } = prepared.start("get")?;
    let json_to = if args.output.is_some() {
        JsonTo::Stdout
    } else {
        JsonTo::Stderr
    };
    let format = if args.net.json {
        Format::Json(json_to)
    } else {
        Format::Text
    };
    let shown = ours.iter().map(ToString::to_string).collect::<Vec<_>>();
    format.announce(
        &format!("millrace: fetching {} from {} over {device} ({mode})", args.url, shown.join(", ")),
        || json!({ "event": "ready", "url": args.url.to_string(), "addrs": shown, "driver": device, "mode": mode }),
    );

    let mut client = Client::new(&mut worker);
    client.set_timeout(Some(args.timeout));
    let fetched = fetch(&mut client, &args.url, &mut output);
    // Whatever came of it, the peer is to learn that we are done.
    let settled = client.settle(FAREWELL);
    let fetched = fetched.map_err(Failure::from_error)?;
    settled.map_err(|e| {
        Failure::Failed(format!(
            "cannot wait for {device}: {e}; look with `ip link`"
        ))
    })?;
    output.finish().map_err(Failure::from_error)?;
    format.announce(
        &format!("millrace: {} bytes, status {}", fetched.body, fetched.code),
        || json!({ "event": "fetched", "status": fetched.code, "bytes": fetched.body }),
    );
    if args.stats_on_exit {
        format.stats(&worker, &mode);
    }
    Ok(())
}
