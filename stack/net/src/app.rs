//! To the applications in the loop: bytes straight from the frames, and readiness.

use crate::core::Stack;
use crate::ids::SockId;
use crate::sock::readiness::Readiness;
use crate::stats::Counter;
use crate::tcp::input::{acking, data};
use crate::tcp::sock::TcpSock;
use crate::tcp::sock::hot::Features;
use crate::tcp::state::TcpState;
use core::mem::take;
use millrace_ring::bytes::Skipped;
use millrace_wire::frame::RxFrame;
use millrace_wire::time::Instant;

/// An application that runs in the worker's loop, to completion. It never runs inside TCP input.
pub trait Service {
    /// In-order bytes of `sock`, lent for this call. Returns how many were taken, 0 to all; the rest is kept in the
    /// receive ring, for `recv`.
    fn data(
        &mut self,
        stack: &mut Stack,
        now: Instant,
        sock: SockId,
        user: u64,
        bytes: &[u8],
    ) -> usize;

    /// Something changed: a connection to accept or bytes to read (IN), room after EAGAIN or a partial send (OUT),
    /// the peer's FIN (RDHUP), an error (ERR), the end (HUP). For a watched socket ([`Stack::watch`]): it was woken for
    /// this, whether or not there is anything to read or room by now.
    fn ready(&mut self, stack: &mut Stack, now: Instant, sock: SockId, user: u64, ready: Readiness);
}

impl Stack {
    /// Hands the bytes of this poll to the services; to be called with the frames of the last [`Stack::rx`].
    pub fn deliver(&mut self, now: Instant, frames: &[RxFrame<'_>], services: &mut dyn Service) {
        self.ctx.now = now;
        let mut index = 0;
        // The list grows no more; entries of sockets that wrote to their ring meanwhile have no length left.
        while let Some(lent) = self.ctx.lent.get(index).copied() {
            index += 1;
            let start = lent.part.offset as usize;
            let bytes = frames
                .get(lent.part.frame as usize)
                .and_then(|f| f.data().get(start..start + lent.part.len as usize))
                .unwrap_or_default();
            let taken = self.lend(now, lent.sock, bytes, services);
            // The promise held against what the service stored meanwhile.
            self.ctx.chunks.redeem(lent.chunks.into());
            if let Some(taken) = taken {
                self.keep_rest(lent.sock, bytes, taken);
            }
        }
        self.ctx.lent.clear();
    }

    /// Shows the service what its socket received. How many bytes it took; none if there is nothing to do.
    fn lend(
        &mut self,
        now: Instant,
        id: SockId,
        bytes: &[u8],
        services: &mut dyn Service,
    ) -> Option<usize> {
        let sk = self.socks.tcp.get_mut(id)?;
        let len = bytes.len() as u32;
        if sk.warm.lent < len || sk.rings.is_none() {
            return None;
        }
        sk.warm.lent -= len;
        // A connection that nobody has accepted yet has no owner to lend to.
        let owned = sk.rx.features.contains(Features::ATTACHED) && sk.cold.parent.is_none();
        if !owned || !ring_is_empty(sk) {
            return Some(0);
        }
        let user = sk.warm.user;
        self.ctx.delivering = Some(id);
        let taken = services.data(self, now, id, user, bytes).min(bytes.len());
        self.ctx.delivering = None;
        self.ctx.mib.add(Counter::MillraceLentBytes, taken as u64);
        Some(taken)
    }

    /// What was lent is the reader's; what it did not take waits in the ring.
    fn keep_rest(&mut self, id: SockId, bytes: &[u8], taken: usize) {
        let Some(sk) = self.socks.tcp.get_mut(id) else {
            return;
        };
        let ctx = &mut self.ctx;
        // A service that closed the connection wants no more of it.
        let gone = sk.rx.features.contains(Features::ORPHAN);
        let taken = if gone { bytes.len() } else { taken };
        if let Some(rings) = &mut sk.rings {
            let after = rings.rcv_in.tail() + taken as u64;
            if taken > 0 {
                // Nothing is stored while octets are lent. What an orphan holds goes with it.
                let skipped = rings
                    .rcv_in
                    .skip(&mut rings.rcv_out, after, &mut ctx.chunks);
                debug_assert!(gone || skipped == Skipped::Done);
            }
            if taken < bytes.len() && !mutant!("rest_of_lent_lost") {
                let _ = rings
                    .rcv_in
                    .write_at(after, &bytes[taken..], &mut ctx.chunks);
                rings.rcv_in.publish(after + (bytes.len() - taken) as u64);
                ctx.mib
                    .add(Counter::MillraceRingBytes, (bytes.len() - taken) as u64);
                data::wake_reader(sk);
            }
        }
        acking::cleanup_rbuf(sk, ctx);
        if sk.rx.state == TcpState::Close {
            self.settle(id);
        } else {
            ctx.follow(sk);
        }
    }

    /// Tells services what changed on their sockets.
    pub fn dispatch(&mut self, now: Instant, services: &mut dyn Service) {
        self.ctx.now = now;
        for _ in 0..self.ctx.events.len() {
            let Some(id) = self.ctx.events.pop_front() else {
                return;
            };
            let Some(sk) = self.socks.tcp.get_mut(id) else {
                continue;
            };
            sk.warm.event_queued = false;
            let ready = take(&mut sk.warm.pending);
            let user = sk.warm.user;
            let watched = sk.rx.features.contains(Features::WATCHED);
            let readable = ready.contains(Readiness::IN) && ready_to_read(sk);
            // A watcher looks for itself.
            let ready = match (watched, readable) {
                (true, _) => ready,
                (false, true) => ready.without(Readiness::CHANGE),
                (false, false) => ready.without(Readiness::IN | Readiness::CHANGE),
            };
            if sk.rx.features.intersects(Features::OWNED) && ready != Readiness::NONE {
                // Each connection wakes one exclusive waiter.
                let arrived = sk.cold.listen.as_mut().map(|l| take(&mut l.arrived));
                let times = arrived.filter(|_| watched).unwrap_or(1).max(1);
                for _ in 0..times {
                    services.ready(self, now, id, user, ready);
                }
            }
        }
    }

    /// Services have something to hear: call [`Stack::dispatch`].
    pub fn has_events(&self) -> bool {
        !self.ctx.events.is_empty()
    }
}

fn ring_is_empty(sk: &mut TcpSock) -> bool {
    sk.rings
        .as_mut()
        .is_some_and(|r| r.rcv_in.tail() == r.rcv_in.head())
}

/// Bytes that were lent and taken need no event.
fn ready_to_read(sk: &mut TcpSock) -> bool {
    match &sk.cold.listen {
        Some(listen) => !listen.accept.is_empty(),
        None => !ring_is_empty(sk) || sk.rx.features.contains(Features::RCV_SHUTDOWN),
    }
}
