//! How a connection begins: options, the handshake, and another try when the wire was too bad.

use std::net::SocketAddrV4;
use std::time::Duration;

use millrace_net::{Readiness, SockError, SockId, SockOpt, Stack};
use millrace_wire::time::Instant;

use super::super::Violation;
use super::super::plan::{Access, Keepalive, Nagle, Patience};
use super::{App, Phase, Step};

/// Pause before a failed `connect` is repeated.
const RETRY: Duration = Duration::from_secs(1);

impl App {
    pub(super) fn prepare(
        &mut self,
        stack: &mut Stack,
        now: Instant,
        sock: SockId,
    ) -> Result<(), Violation> {
        let (send, receive) = self.plan.buffers;
        let mut options: Vec<SockOpt> = Vec::new();
        options.extend(send.map(SockOpt::SndBuf));
        options.extend(receive.map(SockOpt::RcvBuf));
        match self.plan.nagle {
            Nagle::On => {}
            Nagle::Off => options.push(SockOpt::NoDelay(true)),
            Nagle::Corked => options.push(SockOpt::Cork(true)),
        }
        if self.plan.keepalive == Keepalive::Quick {
            options.extend([
                SockOpt::KeepAlive(true),
                SockOpt::KeepIdle(5),
                SockOpt::KeepIntvl(5),
                SockOpt::KeepCnt(9),
            ]);
        }
        for option in options {
            stack
                .set_option(now, sock, option)
                .map_err(|e| self.violation(format!("{option:?}: {}", e.name())))?;
        }
        if self.plan.access == Access::InLoop {
            stack
                .attach(sock, self.user)
                .map_err(|error| self.violation(format!("attach: {}", error.name())))?;
        }
        Ok(())
    }

    pub(super) fn connect(
        &mut self,
        stack: &mut Stack,
        now: Instant,
        to: SocketAddrV4,
        opened: &mut dyn FnMut(SocketAddrV4),
    ) -> Result<(), Violation> {
        let sock = stack
            .tcp_socket()
            .map_err(|error| self.violation(format!("socket: {}", error.name())))?;
        self.prepare(stack, now, sock)?;
        match stack.connect(now, sock, to) {
            Ok(()) | Err(SockError::InProgress) => {
                opened(
                    stack
                        .local_addr(sock)
                        .map_err(|e| self.violation(format!("local_addr: {}", e.name())))?,
                );
                self.phase = Phase::Connecting(sock);
                self.connected_at = now;
                Ok(())
            }
            Err(error) => self.retry(stack, now, sock, error),
        }
    }

    /// A handshake may fail while the wire does; it is tried again until it succeeds. Any other error came after the
    /// handshake, from a peer that resets at once.
    fn retry(
        &mut self,
        stack: &mut Stack,
        now: Instant,
        sock: SockId,
        error: SockError,
    ) -> Result<(), Violation> {
        let worth_it = matches!(error, SockError::TimedOut | SockError::HostUnreachable);
        if !worth_it || self.plan.patience == Patience::None {
            return self.fail(stack, now, sock, error);
        }
        self.close(stack, now, sock)?;
        self.phase = Phase::Waiting(now + RETRY);
        Ok(())
    }

    pub(super) fn connecting(
        &mut self,
        stack: &mut Stack,
        now: Instant,
        sock: SockId,
    ) -> Result<Step, Violation> {
        let ready = stack
            .readiness(sock)
            .map_err(|error| self.violation(format!("readiness: {}", error.name())))?;
        if ready.contains(Readiness::ERR) || ready.contains(Readiness::HUP) {
            let error = stack
                .take_error(sock)
                .ok_or_else(|| self.violation("an error event without an error"))?;
            return self.retry(stack, now, sock, error).map(|()| Step::Moved);
        }
        if !ready.contains(Readiness::OUT) {
            return Ok(Step::Idle);
        }
        self.phase = Phase::Open(sock);
        self.handshake = now.since(self.connected_at);
        self.next_write = now;
        self.next_read = now + self.plan.read_after;
        Ok(Step::Moved)
    }
}
