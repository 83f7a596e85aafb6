//! Cells run side by side on one machine: all are prepared and asked, then time passes once for all of them.

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_lab::machine::{Broken, Machine};
use millrace_posix::call::{Call, Fd, Out};

use super::bench::{Bench, errno, outcome};
use super::cell::Cell;
use super::peer::Peer;
use super::prepare::{complete, prepare};
use super::question::Observed;

/// How long answers are waited for: longer than an acknowledgement is delayed (40 ms, rounded up to a tick of 4), shorter
/// than the first retransmission (200 ms).
pub(super) const PATIENCE: Duration = Duration::from_millis(60);

/// How long a state is left alone, so that the clock of timestamps (1 ms) goes on and the kernel's next tick (4 ms) has
/// been.
pub(super) const PAUSE: Duration = Duration::from_millis(12);

/// Runs cells on a machine, the first on port `first`, and so on.
///
/// # Errors
/// The machine failed.
pub fn run(machine: &mut dyn Machine, cells: &[Cell], first: u16) -> Result<Vec<Observed>, Broken> {
    let ports: Vec<u16> = (first..).take(cells.len()).collect();
    let peers = ports
        .iter()
        .zip(cells)
        .map(|(port, cell)| (*port, Peer::new(*port, cell.ts)))
        .collect::<BTreeMap<_, _>>();
    let mut bench = Bench { machine, peers };
    let mut all = vec![Observed::default(); cells.len()];
    let mut asked = Vec::new();
    for (port, cell) in ports.iter().zip(cells) {
        prepare(&mut bench, *port, cell.state)?;
    }
    let until = bench.machine.now() + PAUSE;
    bench.wait_until(until)?;
    for (port, cell) in ports.iter().zip(cells) {
        complete(&mut bench, *port, cell.state)?;
    }
    let until = bench.machine.now() + PAUSE;
    bench.wait_until(until)?;
    for ((port, cell), seen) in ports.iter().zip(cells).zip(&mut all) {
        packets(&mut bench, *port, "prepare", None, seen)?;
        asked.push(bench.machine.now());
        let segment = bench.peer(*port)?.probe(cell);
        bench.inject(segment)?;
    }
    let until = bench.machine.now() + PATIENCE;
    bench.wait_until(until)?;
    let mut again = Vec::new();
    for ((port, asked), seen) in ports.iter().zip(&asked).zip(&mut all) {
        packets(&mut bench, *port, "answer", Some(*asked), seen)?;
        look(&mut bench, *port, seen)?;
        packets(&mut bench, *port, "reading", None, seen)?;
        again.push(bench.machine.now());
        let segment = bench.peer(*port)?.follow_up();
        bench.inject(segment)?;
    }
    let until = bench.machine.now() + PATIENCE;
    bench.wait_until(until)?;
    for ((port, again), seen) in ports.iter().zip(&again).zip(&mut all) {
        packets(&mut bench, *port, "follow-up", Some(*again), seen)?;
        look(&mut bench, *port, seen)?;
        tidy(&mut bench, *port)?;
    }
    Ok(all)
}

/// Writes down what was sent; `since` is when the segment came that is being answered.
pub(super) fn packets(
    bench: &mut Bench<'_>,
    port: u16,
    what: &str,
    since: Option<Duration>,
    seen: &mut Observed,
) -> Result<(), Broken> {
    for (at, text) in bench.peer(port)?.inbox.drain(..) {
        if since.is_some_and(|since| at > since + PATIENCE) {
            seen.late = true;
        }
        seen.lines.push(format!("{what}: {text}"));
    }
    Ok(())
}

/// Writes down what the program sees.
pub(super) fn look(bench: &mut Bench<'_>, port: u16, seen: &mut Observed) -> Result<(), Broken> {
    let peer = bench.peer(port)?;
    let (mut fd, listener) = (peer.fd, peer.listener);
    if let Some(listener) = listener {
        let answer = bench.accept(listener)?;
        if answer.value >= 0 {
            seen.lines.push("accept: a connection".to_owned());
            let child = answer.value as Fd;
            if fd.is_none() {
                bench.peer(port)?.fd = Some(child);
                fd = Some(child);
            } else {
                reset(bench, child)?;
            }
        } else if answer.errno != libc::EAGAIN {
            seen.lines.push(format!("accept: {}", outcome(&answer)));
        }
    }
    if let Some(fd) = fd {
        let info = bench.call(Call::GetSockOpt {
            fd,
            level: libc::IPPROTO_TCP,
            name: libc::TCP_INFO,
            room: 1,
        })?;
        if let Out::Value(info) = info.out {
            let state = info.first().map_or("?", |state| state_name(*state));
            seen.lines.push(format!("state: {state}"));
        }
        let recv = bench.recv(fd)?;
        let error = bench.option(fd, libc::SOL_SOCKET, libc::SO_ERROR, 4)?;
        let error = i32::from_ne_bytes(*error.first_chunk().unwrap_or(&[0xff; 4]));
        seen.lines
            .push(format!("socket: recv {recv}, SO_ERROR {}", errno(error)));
    }
    Ok(())
}

/// The kernel's numbers (`net/tcp_states.h`).
fn state_name(number: u8) -> &'static str {
    let names = [
        "?",
        "ESTABLISHED",
        "SYN_SENT",
        "SYN_RECV",
        "FIN_WAIT1",
        "FIN_WAIT2",
        "TIME_WAIT",
        "CLOSE",
        "CLOSE_WAIT",
        "LAST_ACK",
        "LISTEN",
        "CLOSING",
    ];
    names.get(usize::from(number)).unwrap_or(&"?")
}

/// Closes what the cell has opened, with a reset, so that nothing is sent later.
pub(super) fn tidy(bench: &mut Bench<'_>, port: u16) -> Result<(), Broken> {
    let Some(peer) = bench.peers.remove(&port) else {
        return Ok(());
    };
    if let Some(fd) = peer.listener {
        bench.call(Call::Close { fd })?;
    }
    peer.fd.map_or(Ok(()), |fd| reset(bench, fd))
}

/// Closes with a reset.
pub(super) fn reset(bench: &mut Bench<'_>, fd: Fd) -> Result<(), Broken> {
    let value = [1i32.to_ne_bytes(), 0i32.to_ne_bytes()].concat();
    bench.call(Call::SetSockOpt {
        fd,
        level: libc::SOL_SOCKET,
        name: libc::SO_LINGER,
        value,
    })?;
    bench.call(Call::Close { fd }).map(drop)
}
