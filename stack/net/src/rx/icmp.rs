//! ICMP in: an echo is answered, an error goes to the connection that it quotes.

use crate::core::Stack;
use crate::drop::DropReason;
use crate::icmp::{self, IcmpError, IcmpInput, Quoted};
use crate::ids::SockKind;
use crate::ip::Accepted;
use crate::link::Cast;
use crate::sock::error::SockError;
use crate::stats::Counter;
use crate::tcp::demux::Tuple;
use crate::tcp::input;
use millrace_wire::icmpv4::unreachable;
use millrace_wire::ipv4::protocol;

impl Stack {
    pub(super) fn icmp(&mut self, accepted: &Accepted<'_>) -> Result<(), DropReason> {
        self.ctx.mib.inc(Counter::IcmpInMsgs);
        let input =
            icmp::input(&accepted.packet, accepted.dst).inspect_err(|reason| match reason {
                DropReason::IcmpBadChecksum => {
                    self.ctx.mib.inc(Counter::IcmpInErrors);
                    self.ctx.mib.inc(Counter::IcmpInCsumErrors);
                }
                DropReason::IcmpMalformed => self.ctx.mib.inc(Counter::IcmpInErrors),
                _ => {}
            })?;
        match input {
            IcmpInput::EchoRequest(echo) => {
                self.ctx.mib.inc(Counter::IcmpInEchos);
                if self.ctx.sysctl.icmp_echo_ignore_all {
                    return Err(DropReason::IcmpIgnored);
                }
                let fields = self.ctx.icmp_fields();
                let reply = icmp::echo_reply(&accepted.packet, &echo, fields);
                self.ctx.mib.inc(Counter::IcmpOutMsgs);
                self.ctx.mib.inc(Counter::IcmpOutEchoReps);
                self.ctx
                    .send_ip(accepted.packet.src(), accepted.packet.dst(), reply);
                Ok(())
            }
            IcmpInput::EchoReply(_) => {
                self.ctx.mib.inc(Counter::IcmpInEchoReps);
                Err(DropReason::IcmpNoMatch)
            }
            IcmpInput::Error { error, quoted } => self.icmp_error(error, &quoted),
        }
    }

    /// An error about a packet of ours: the socket decides what it is worth (RFC 5927).
    fn icmp_error(&mut self, error: IcmpError, quoted: &Quoted) -> Result<(), DropReason> {
        match error {
            IcmpError::Unreachable { .. } | IcmpError::FragNeeded { .. } => {
                self.ctx.mib.inc(Counter::IcmpInDestUnreachs);
            }
            IcmpError::TimeExceeded { .. } => self.ctx.mib.inc(Counter::IcmpInTimeExcds),
            IcmpError::ParameterProblem => self.ctx.mib.inc(Counter::IcmpInParmProbs),
            IcmpError::SourceQuench => self.ctx.mib.inc(Counter::IcmpInSrcQuenchs),
        }
        if quoted.protocol != protocol::TCP || !self.ctx.routes.is_local(quoted.src) {
            return Err(DropReason::IcmpNoMatch);
        }
        let tuple = Tuple {
            local: quoted.src,
            remote: quoted.dst,
            lport: quoted.sport,
            rport: quoted.dport,
        };
        let hash = tuple.hash(&self.ctx.keys);
        let socks = &self.socks;
        let found = socks.ehash.lookup(hash, |p| match p.kind() {
            SockKind::Tcp => socks
                .tcp
                .at(p.index())
                .is_some_and(|sk| sk.rx.tuple == tuple),
            SockKind::Request => socks
                .requests
                .at(p.index())
                .is_some_and(|r| r.tuple == tuple),
            SockKind::TimeWait => false,
        });
        match found.map(|p| (p.kind(), p.index())) {
            Some((SockKind::Tcp, index)) => self.icmp_to_socket(index, error, quoted),
            Some((SockKind::Request, index)) => self.icmp_to_request(index, error, quoted),
            found => {
                if found.is_none() {
                    self.ctx.mib.inc(Counter::IcmpInErrors);
                }
                Err(DropReason::IcmpNoMatch)
            }
        }
    }

    fn icmp_to_socket(
        &mut self,
        index: u32,
        error: IcmpError,
        quoted: &Quoted,
    ) -> Result<(), DropReason> {
        let ctx = &mut self.ctx;
        let Some(sk) = self.socks.tcp.at_mut(index) else {
            return Err(DropReason::IcmpNoMatch);
        };
        let id = sk.id();
        match error {
            IcmpError::FragNeeded { mtu } => {
                let in_flight = quoted.seq.within(sk.tx.snd_una, sk.tx.snd_nxt);
                let route_mtu = ctx
                    .routes
                    .lookup(quoted.dst, None)
                    .map_or(u16::MAX, |hop| hop.mtu);
                if in_flight
                    && ctx
                        .pmtu
                        .update(ctx.now, quoted.dst, route_mtu, mtu)
                        .is_some()
                {
                    ctx.mib.inc(Counter::MillracePmtuLowered);
                }
                input::icmp::mtu_reduced(sk, ctx, quoted.seq);
            }
            IcmpError::Unreachable { code } => {
                input::icmp::error(sk, ctx, quoted.seq, unreachable_errno(code))
            }
            IcmpError::TimeExceeded { .. } => {
                input::icmp::error(sk, ctx, quoted.seq, SockError::HostUnreachable)
            }
            IcmpError::ParameterProblem => {
                input::icmp::error(sk, ctx, quoted.seq, SockError::Protocol)
            }
            IcmpError::SourceQuench => return Err(DropReason::IcmpIgnored),
        }
        self.settle(id);
        Ok(())
    }

    fn icmp_to_request(
        &mut self,
        index: u32,
        error: IcmpError,
        quoted: &Quoted,
    ) -> Result<(), DropReason> {
        let Some(req) = self.socks.requests.at(index) else {
            return Err(DropReason::IcmpNoMatch);
        };
        if quoted.seq != req.iss {
            self.ctx.mib.inc(Counter::TcpExtOutOfWindowIcmps);
            return Err(DropReason::IcmpNoMatch);
        }
        let fatal = match error {
            IcmpError::Unreachable { code } => matches!(code, unreachable::NET | unreachable::HOST),
            IcmpError::TimeExceeded { .. } => true,
            _ => false,
        };
        if fatal {
            self.ctx.mib.inc(Counter::TcpExtListenDrops);
            self.drop_request(self.socks.requests.id_at(index));
        }
        Ok(())
    }

    pub(super) fn send_icmp_error(
        &mut self,
        accepted: &Accepted<'_>,
        cast: Cast,
        kind: icmp::ErrorKind,
    ) {
        let packet = &accepted.packet;
        let fields = self.ctx.icmp_fields();
        let Ok(message) = icmp::error(packet, accepted.dst, cast, kind, packet.dst(), fields)
        else {
            return;
        };
        let before = self.ctx.icmp.counters().global;
        if self.ctx.icmp.allow_error(self.ctx.now, packet.src(), kind) == icmp::Verdict::Limited {
            let global = self.ctx.icmp.counters().global > before;
            self.ctx.mib.inc(if global {
                Counter::IcmpOutRateLimitGlobal
            } else {
                Counter::IcmpOutRateLimitHost
            });
            return;
        }
        self.ctx.mib.inc(Counter::IcmpOutMsgs);
        self.ctx.mib.inc(Counter::IcmpOutDestUnreachs);
        self.ctx.send_ip(packet.src(), packet.dst(), message);
    }
}

/// Linux `icmp_err_convert`.
fn unreachable_errno(code: u8) -> SockError {
    match code {
        unreachable::NET
        | unreachable::NET_UNKNOWN
        | unreachable::NET_PROHIBITED
        | unreachable::NET_TOS => SockError::NetUnreachable,
        unreachable::PROTOCOL => SockError::NoProtoOpt,
        unreachable::PORT => SockError::Refused,
        unreachable::SOURCE_ROUTE_FAILED => SockError::OpNotSupported,
        unreachable::HOST_UNKNOWN => SockError::HostDown,
        unreachable::HOST_ISOLATED => SockError::NotOnNetwork,
        _ => SockError::HostUnreachable,
    }
}
