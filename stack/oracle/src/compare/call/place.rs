//! What a socket is in when it is asked.

use millrace_lab::machine::Broken;
use millrace_posix::call::{Call, SockAddr};
use millrace_wire::tcp::TcpFlags;

use crate::compare::bench::Bench;
use crate::compare::cell::{AckNo, Cell, Probe, Seq, State, Ts};
use crate::compare::prepare::{self, Acks, says};
use crate::compare::question::axis;

axis! {
    /// See the module.
    Place {
        /// A socket and nothing more.
        Fresh = "FRESH",
        /// After bind.
        Bound = "BOUND",
        /// A listener.
        Listen = "LISTEN",
        /// A listener with a connection that waits for accept.
        ListenReady = "LISTEN_READY",
        /// A listener after shutdown.
        ListenShut = "LISTEN_SHUT",
        /// connect has sent its SYN.
        SynSent = "SYN_SENT",
        /// Both ends have sent a SYN.
        SynRecv = "SYN_RECV",
        /// Accepted and idle.
        Established = "ESTABLISHED",
        /// 1000 octets are in the network.
        EstablishedUnacked = "ESTABLISHED_UNACKED",
        /// 10 octets wait for more (MSG_MORE).
        EstablishedUnsent = "ESTABLISHED_UNSENT",
        /// 10 octets have come and have not been read.
        EstablishedUnread = "ESTABLISHED_UNREAD",
        /// Of 10 octets that have come the last one is urgent.
        EstablishedUrgent = "ESTABLISHED_URGENT",
        /// After shutdown of the reading half.
        EstablishedDeaf = "ESTABLISHED_DEAF",
        /// shutdown has sent a FIN.
        FinWait1 = "FIN_WAIT1",
        /// As FIN_WAIT1, with 1000 octets before the FIN.
        FinWait1Unacked = "FIN_WAIT1_UNACKED",
        /// The peer has acknowledged the FIN.
        FinWait2 = "FIN_WAIT2",
        /// And has sent 10 octets more.
        FinWait2Unread = "FIN_WAIT2_UNREAD",
        /// FINs have crossed.
        Closing = "CLOSING",
        /// Both FINs are acknowledged, ours was first.
        TimeWait = "TIME_WAIT",
        /// The peer's FIN has come.
        CloseWait = "CLOSE_WAIT",
        /// The peer's FIN has come behind 10 octets that have not been read.
        CloseWaitUnread = "CLOSE_WAIT_UNREAD",
        /// shutdown after the peer's FIN.
        LastAck = "LAST_ACK",
        /// Both FINs are acknowledged, the peer's was first.
        Closed = "CLOSED",
        /// The peer has reset an idle connection.
        Reset = "RESET",
        /// The same, and the program knows.
        ResetTold = "RESET_TOLD",
        /// The peer has reset after 10 octets that have not been read.
        ResetUnread = "RESET_UNREAD",
        /// The peer has reset after its FIN.
        ResetCloseWait = "RESET_CLOSE_WAIT",
        /// connect was refused.
        Refused = "REFUSED",
        /// The same, and the program knows.
        RefusedTold = "REFUSED_TOLD",
        /// connect to no address, from ESTABLISHED.
        Disconnected = "DISCONNECTED",
    }
}

impl Place {
    /// Something of the machine's waits to be acknowledged, and goes out again after a while.
    pub(super) const fn repeats(self) -> bool {
        matches!(
            self,
            Self::EstablishedUnacked
                | Self::EstablishedUnsent
                | Self::FinWait1
                | Self::FinWait1Unacked
                | Self::Closing
                | Self::LastAck
        )
    }
}

/// Brings the socket on `port` there, or nearly so: [`complete`] does the rest.
///
/// # Errors
/// The machine failed, or a call on the way was refused.
pub(super) fn prepare(bench: &mut Bench<'_>, port: u16, place: Place) -> Result<(), Broken> {
    let state = |bench: &mut Bench<'_>, state| prepare::prepare(bench, port, state);
    match place {
        Place::Fresh => {
            let fd = bench.fresh()?;
            bench.peer(port)?.fd = Some(fd);
            Ok(())
        }
        Place::Bound => {
            let fd = bench.bound(port)?;
            bench.peer(port)?.fd = Some(fd);
            Ok(())
        }
        Place::Listen => state(bench, State::Listen),
        Place::ListenReady => {
            state(bench, State::SynRecv)?;
            says(bench, port, TcpFlags::ACK, 0, Acks::All)
        }
        Place::ListenShut => {
            state(bench, State::Listen)?;
            let fd = bench.peer(port)?.listener.take().unwrap_or(-1);
            bench.peer(port)?.fd = Some(fd);
            let how = libc::SHUT_RDWR;
            bench.must(Call::Shutdown { fd, how }).map(drop)
        }
        Place::SynSent | Place::Refused | Place::RefusedTold => state(bench, State::SynSent),
        Place::SynRecv => state(bench, State::SynRecvSimultaneous),
        Place::EstablishedUnacked => state(bench, State::EstablishedUnacked),
        Place::EstablishedUnsent => {
            let fd = prepare::established(bench, port)?;
            bench.send(fd, 10, libc::MSG_MORE).map(drop)
        }
        Place::EstablishedUnread | Place::ResetUnread => state(bench, State::EstablishedUnread),
        Place::EstablishedUrgent => {
            prepare::established(bench, port)?;
            let flags = TcpFlags::PSH | TcpFlags::URG | TcpFlags::ACK;
            says(bench, port, flags, 10, Acks::All)
        }
        Place::EstablishedDeaf => {
            let fd = prepare::established(bench, port)?;
            let how = libc::SHUT_RD;
            bench.must(Call::Shutdown { fd, how }).map(drop)
        }
        Place::Established | Place::Reset | Place::ResetTold | Place::Disconnected => {
            state(bench, State::Established)
        }
        Place::FinWait1 => state(bench, State::FinWait1),
        Place::FinWait1Unacked => state(bench, State::FinWait1Unacked),
        Place::FinWait2 => state(bench, State::FinWait2),
        Place::FinWait2Unread => {
            prepare::fin_wait2(bench, port)?;
            says(bench, port, TcpFlags::PSH | TcpFlags::ACK, 10, Acks::All)
        }
        Place::Closing => state(bench, State::Closing),
        Place::TimeWait => state(bench, State::TimeWait),
        Place::CloseWait | Place::LastAck | Place::Closed | Place::ResetCloseWait => {
            state(bench, State::CloseWait)
        }
        Place::CloseWaitUnread => {
            prepare::established(bench, port)?;
            let flags = TcpFlags::FIN | TcpFlags::PSH | TcpFlags::ACK;
            says(bench, port, flags, 10, Acks::All)?;
            // Something old has it acknowledged now, not after a delay that runs into the question.
            let old = bench.peer(port)?.probe(&Cell {
                state: State::CloseWait,
                probe: Probe::Ack,
                seq: Seq::FarLeft,
                ack: AckNo::Next,
                ts: Ts::On,
            });
            bench.inject(old)
        }
    }
}

/// What remains to be done after a pause, as the kernel's delayed acknowledgements would be in a race with it.
///
/// # Errors
/// As [`prepare`].
pub(super) fn complete(bench: &mut Bench<'_>, port: u16, place: Place) -> Result<(), Broken> {
    let fd = bench.peer(port)?.fd.unwrap_or(-1);
    let reset =
        |bench: &mut Bench<'_>| says(bench, port, TcpFlags::RST | TcpFlags::ACK, 0, Acks::All);
    match place {
        Place::LastAck => prepare::finish(bench, fd),
        Place::Closed => {
            prepare::finish(bench, fd)?;
            says(bench, port, TcpFlags::ACK, 0, Acks::All)
        }
        Place::Reset | Place::ResetUnread | Place::ResetCloseWait | Place::Refused => reset(bench),
        Place::ResetTold | Place::RefusedTold => {
            reset(bench)?;
            bench
                .option(fd, libc::SOL_SOCKET, libc::SO_ERROR, 4)
                .map(drop)
        }
        Place::Disconnected => {
            let addr = SockAddr::Unspec;
            bench.must(Call::Connect { fd, addr }).map(drop)
        }
        _ => Ok(()),
    }
}
