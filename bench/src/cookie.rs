//! A SYN flood over the in-memory pair: what a cookie costs. Each SYN comes from another address and port; the stack answers
//! each with a cookie and keeps nothing.

use std::time::Duration;

use ipnet::Ipv4Net;
use millrace_net::{Instant, Readiness, RouteSpec, Service, SockId, Stack};
use millrace_pmd::{MAX_BURST, Pair, PairConfig, Queue, pair};
use millrace_wire::arp::{ArpOp, ArpPacket, PACKET_LEN};
use millrace_wire::ethernet::{self, EtherType, HEADER_LEN};
use millrace_wire::ipv4::MIN_HEADER_LEN;
use millrace_wire::mac::MacAddr;
use millrace_wire::tcp::{TcpFlags, TcpView};

use crate::pair::{CLIENT, Host, PORT, SERVER, TURN, listen};
use crate::syn;

/// The flood's end of the wire.
const FLOOD: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
/// The stack's.
const STACK: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

/// Nobody connects.
struct Nobody;

impl Service for Nobody {
    fn data(&mut self, _: &mut Stack, _: Instant, _: SockId, _: u64, bytes: &[u8]) -> usize {
        bytes.len()
    }

    fn ready(&mut self, _: &mut Stack, _: Instant, _: SockId, _: u64, _: Readiness) {}
}

/// Who answers the flood.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// A stack with cookies.
    Stack,
    /// Nobody: what making and moving the SYNs costs alone.
    Nobody,
}

/// What came of a flood.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flooded {
    /// Cookies that came back.
    pub cookies: u64,
    /// Time in the stack's turns.
    pub took: Duration,
}

/// Sends `syns` SYNs, 32 at a time.
///
/// # Errors
/// A sentence, when the stack answers with anything but a cookie for each.
pub fn flood(syns: u64, target: Target) -> Result<Flooded, String> {
    let (mut near, far) = pair(PairConfig::default());
    let mut host = Host::new(far, 2, SERVER)?;
    let policy = host.stack.set_sysctl("net.ipv4.tcp_syncookies", "2");
    policy.map_err(|e| e.to_string())?;
    let way_back = RouteSpec {
        dest: Ipv4Net::default(),
        gateway: Some(CLIENT),
        iface: host.iface,
        prefsrc: None,
        metric: 0,
        mtu: None,
    };
    host.stack.add_route(way_back).map_err(|e| e.to_string())?;
    listen(&mut host.stack)?;
    introduce(&mut near);
    let mut now = Instant::from_nanos(1_000_000_000);
    host.turn(now, &mut Nobody);
    listen_to(&mut near, &mut 0);

    let (mut sent, mut cookies, mut took) = (0, 0, Duration::ZERO);
    while sent < syns {
        let burst = (syns - sent).min(32);
        near.tx(&mut |batch| {
            for number in sent..sent + burst {
                let Some(slot) = batch.next(HEADER_LEN + syn::LEN) else {
                    return;
                };
                ethernet::emit(slot, STACK, FLOOD, EtherType::IPV4);
                syn::write(&mut slot[HEADER_LEN..], number, SERVER, PORT);
            }
        });
        sent += burst;
        now = now + TURN;
        let begin = std::time::Instant::now();
        match target {
            Target::Stack => host.turn(now, &mut Nobody),
            Target::Nobody => host.drop_all(),
        }
        took += begin.elapsed();
        listen_to(&mut near, &mut cookies);
    }
    let due = if target == Target::Stack { syns } else { 0 };
    let counted = host
        .stack
        .mib()
        .iter()
        .find(|(name, _)| *name == "TcpExtSyncookiesSent");
    match counted {
        Some((_, counted)) if (cookies, counted) == (due, due) => Ok(Flooded { cookies, took }),
        other => Err(format!("{syns} SYNs, {cookies} SYN-ACKs, {other:?}")),
    }
}

/// Tells the stack the link address of the gateway.
fn introduce(near: &mut Pair) {
    near.tx(&mut |batch| {
        let Some(slot) = batch.next(HEADER_LEN + PACKET_LEN) else {
            return;
        };
        let start = ethernet::emit(slot, MacAddr::BROADCAST, FLOOD, EtherType::ARP);
        let question = ArpPacket {
            op: ArpOp::Request,
            sha: FLOOD,
            spa: CLIENT,
            tha: MacAddr::ZERO,
            tpa: SERVER,
        };
        question.emit(&mut slot[start..]);
    });
}

/// Takes what came back and counts SYN-ACKs.
fn listen_to(near: &mut Pair, cookies: &mut u64) {
    let wanted = TcpFlags::SYN.union(TcpFlags::ACK);
    while near.rx(MAX_BURST, &mut |frames| {
        for frame in frames.iter() {
            let segment = frame
                .data()
                .get(HEADER_LEN + MIN_HEADER_LEN..)
                .unwrap_or_default();
            *cookies +=
                u64::from(TcpView::parse(segment).is_ok_and(|tcp| tcp.flags().contains(wanted)));
        }
    }) > 0
    {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_syn_has_its_cookie() {
        assert_eq!(
            flood(1000, Target::Stack).map(|flooded| flooded.cookies),
            Ok(1000)
        );
        assert_eq!(
            flood(1000, Target::Nobody).map(|flooded| flooded.cookies),
            Ok(0)
        );
    }
}
