//! How a fresh connection comes into each state.

use millrace_lab::machine::Broken;
use millrace_posix::call::{Call, Fd};
use millrace_wire::tcp::TcpFlags;

use super::bench::Bench;
use super::cell::State;

/// Brings the connection on `port` into a state, or nearly so: [`complete`] does the rest.
///
/// # Errors
/// The machine failed, or a call on the way was refused.
pub fn prepare(bench: &mut Bench<'_>, port: u16, state: State) -> Result<(), Broken> {
    match state {
        State::Closed => Ok(()),
        State::Listen => listen(bench, port),
        State::SynSent => syn_sent(bench, port).map(drop),
        State::SynRecv => {
            listen(bench, port)?;
            says(bench, port, TcpFlags::SYN, 0, Acks::Nothing)
        }
        State::SynRecvSimultaneous => {
            syn_sent(bench, port)?;
            says(bench, port, TcpFlags::SYN, 0, Acks::Nothing)
        }
        State::Established => established(bench, port).map(drop),
        State::EstablishedUnacked => {
            let fd = established(bench, port)?;
            bench.send(fd, 1000, 0).map(drop)
        }
        State::EstablishedUnread => {
            established(bench, port)?;
            says(bench, port, TcpFlags::PSH | TcpFlags::ACK, 10, Acks::All)
        }
        State::FinWait1 => {
            let fd = established(bench, port)?;
            finish(bench, fd)
        }
        State::FinWait1Unacked => {
            let fd = established(bench, port)?;
            bench.send(fd, 1000, libc::MSG_MORE)?;
            finish(bench, fd)
        }
        State::FinWait1Orphan => {
            let fd = established(bench, port)?;
            close(bench, port, fd)
        }
        State::FinWait2 => fin_wait2(bench, port),
        State::FinWait2Orphan => {
            let fd = established(bench, port)?;
            close(bench, port, fd)?;
            says(bench, port, TcpFlags::ACK, 0, Acks::All)
        }
        State::Closing => {
            let fd = established(bench, port)?;
            finish(bench, fd)?;
            says(bench, port, TcpFlags::FIN | TcpFlags::ACK, 0, Acks::NoMore)
        }
        State::ClosingOrphan => {
            let fd = established(bench, port)?;
            close(bench, port, fd)?;
            says(bench, port, TcpFlags::FIN | TcpFlags::ACK, 0, Acks::NoMore)
        }
        State::TimeWait => {
            fin_wait2(bench, port)?;
            says(bench, port, TcpFlags::FIN | TcpFlags::ACK, 0, Acks::All)
        }
        State::CloseWait | State::LastAck | State::LastAckOrphan => {
            established(bench, port)?;
            says(bench, port, TcpFlags::FIN | TcpFlags::ACK, 0, Acks::All)
        }
    }
}

/// What remains to be done after a pause: the kernel acknowledges the FIN of an idle connection at the next tick of its
/// clock, and the program's own FIN would be in a race with that.
///
/// # Errors
/// As [`prepare`].
pub fn complete(bench: &mut Bench<'_>, port: u16, state: State) -> Result<(), Broken> {
    let fd = bench.peer(port)?.fd.unwrap_or(-1);
    match state {
        State::LastAck => finish(bench, fd),
        State::LastAckOrphan => close(bench, port, fd),
        _ => Ok(()),
    }
}

/// What a segment of the peer acknowledges.
pub(super) enum Acks {
    /// No ACK flag.
    Nothing,
    /// What it has acknowledged before.
    NoMore,
    /// All that was sent.
    All,
}

pub(super) fn says(
    bench: &mut Bench<'_>,
    port: u16,
    flags: TcpFlags,
    len: u32,
    acks: Acks,
) -> Result<(), Broken> {
    let peer = bench.peer(port)?;
    let ack = match acks {
        Acks::Nothing => 0,
        Acks::NoMore => peer.una,
        Acks::All => peer.nxt,
    };
    let segment = peer.says(flags, len, ack);
    bench.inject(segment)
}

pub(super) fn listen(bench: &mut Bench<'_>, port: u16) -> Result<(), Broken> {
    let fd = bench.listener(port)?;
    bench.peer(port)?.listener = Some(fd);
    Ok(())
}

pub(super) fn syn_sent(bench: &mut Bench<'_>, port: u16) -> Result<Fd, Broken> {
    let fd = bench.bound(port)?;
    bench.connect(fd)?;
    bench.peer(port)?.fd = Some(fd);
    Ok(fd)
}

pub(super) fn established(bench: &mut Bench<'_>, port: u16) -> Result<Fd, Broken> {
    listen(bench, port)?;
    says(bench, port, TcpFlags::SYN, 0, Acks::Nothing)?;
    says(bench, port, TcpFlags::ACK, 0, Acks::All)?;
    let listener = bench.peer(port)?.listener.unwrap_or(-1);
    let answer = bench.accept(listener)?;
    if answer.value < 0 {
        return Err(Broken("the handshake gave no connection".to_owned()));
    }
    let fd = answer.value as Fd;
    bench.peer(port)?.fd = Some(fd);
    Ok(fd)
}

pub(super) fn fin_wait2(bench: &mut Bench<'_>, port: u16) -> Result<(), Broken> {
    let fd = established(bench, port)?;
    finish(bench, fd)?;
    says(bench, port, TcpFlags::ACK, 0, Acks::All)
}

pub(super) fn finish(bench: &mut Bench<'_>, fd: Fd) -> Result<(), Broken> {
    let how = libc::SHUT_WR;
    bench.must(Call::Shutdown { fd, how }).map(drop)
}

fn close(bench: &mut Bench<'_>, port: u16, fd: Fd) -> Result<(), Broken> {
    bench.must(Call::Close { fd })?;
    bench.peer(port)?.fd = None;
    Ok(())
}
