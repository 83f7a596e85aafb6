//! The accept queue (Linux `inet_csk_accept`), and what becomes of it when the listener closes.

use crate::core::Stack;
use crate::ids::SockId;
use crate::sock::error::SockError;
use crate::sock::readiness::Readiness;
use crate::tcp::conn::close;
use crate::tcp::sock::hot::Features;
use crate::tcp::state::TcpState;
use core::net::SocketAddrV4;

impl Stack {
    /// A child whose handshake is complete waits for accept.
    pub(crate) fn enqueue_child(&mut self, child: SockId) {
        let Some(parent) = self.socks.tcp.get(child).and_then(|sk| sk.cold.parent) else {
            return;
        };
        let Some(sk) = self.socks.tcp.get_mut(parent) else {
            return;
        };
        if let Some(listen) = &mut sk.cold.listen {
            listen.accept.push_back(child);
            listen.arrived = listen.arrived.saturating_add(1);
            sk.note(Readiness::IN);
        }
        self.settle(parent);
    }

    /// Takes the oldest complete connection. EAGAIN when there is none, EINVAL when the socket does not listen.
    pub(crate) fn take_child(
        &mut self,
        listener: SockId,
    ) -> Result<(SockId, SocketAddrV4), SockError> {
        let sk = self
            .socks
            .tcp
            .get_mut(listener)
            .ok_or(SockError::BadSocket)?;
        let listen = sk.cold.listen.as_mut().ok_or(SockError::Invalid)?;
        let child = listen.accept.pop_front().ok_or(SockError::WouldBlock)?;
        let more = !listen.accept.is_empty();
        // One that is in the loop is told again; a wake-up in Linux's sense it is not.
        if more && sk.rx.features.contains(Features::ATTACHED) {
            sk.note(Readiness::IN);
        }
        let sk = self.socks.tcp.get_mut(child).ok_or(SockError::Aborted)?;
        sk.cold.parent = None;
        let peer = sk.tuple().remote_addr();
        Ok((child, peer))
    }

    /// The listener goes: handshakes are forgotten, children that nobody accepted are reset (Linux
    /// `inet_csk_listen_stop`).
    pub(crate) fn listen_stop(&mut self, listener: SockId) {
        let Some(sk) = self.socks.tcp.get_mut(listener) else {
            return;
        };
        let port = sk.cold.port;
        let children = sk.cold.listen.take().map(|l| l.accept).unwrap_or_default();
        self.socks.lhash.remove(port, listener);
        let requests: Vec<_> = self
            .socks
            .requests
            .ids()
            .filter(|id| {
                self.socks
                    .requests
                    .get(*id)
                    .is_some_and(|r| r.listener == listener)
            })
            .collect();
        for id in requests {
            self.drop_request(id);
        }
        for child in children {
            if let Some(sk) = self.socks.tcp.get_mut(child) {
                sk.cold.parent = None;
                sk.rx.features.insert(Features::ORPHAN);
                close::abort(sk, &mut self.ctx);
                self.settle(child);
            }
        }
        if let Some(sk) = self.socks.tcp.get_mut(listener)
            && sk.rx.state == TcpState::Listen
        {
            crate::tcp::state::set_state(sk, &mut self.ctx, TcpState::Close);
        }
        self.renew_claim(listener);
        self.drop_unnamed_port(listener);
    }
}
