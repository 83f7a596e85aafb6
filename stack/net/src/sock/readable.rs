//! How much can be read, and how much is on its way: SO_RCVLOWAT's rule for poll (Linux `tcp_epollin_ready`,
//! `tcp_set_rcvlowat`) and the ioctls of tcp(7).

use crate::core::{Ctx, Stack};
use crate::ids::SockId;
use crate::sock::error::SockError;
use crate::sock::io;
use crate::sock::readiness::Readiness;
use crate::tcp::input::urg;
use crate::tcp::sock::TcpSock;
use crate::tcp::sock::hot::Features;
use crate::tcp::state::{StateSet, TcpState};

/// States in which nothing was exchanged yet: the ioctls answer 0.
const OPENING: StateSet = StateSet::of(&[TcpState::SynSent, TcpState::SynRecv]);

/// There is enough to read for poll: SO_RCVLOWAT octets, or as many as the window lets come.
pub(crate) fn is_ready(sk: &mut TcpSock) -> bool {
    let Some(rings) = &mut sk.rings else {
        return false;
    };
    let waiting = rings.rcv_out.len();
    // The urgent octet at the front is not what recv would return.
    let urgent =
        sk.rx.features.contains(Features::URGENT) && !sk.cold.opts.oob_inline && urg::at_mark(sk);
    let target = u64::from(sk.cold.opts.rcvlowat) + u64::from(urgent);
    waiting > 0 && (waiting >= target || sk.rx.receive_window() <= u32::from(sk.rx.rcv_mss))
}

/// SO_RCVLOWAT: at most half of the largest buffer, for which the window is opened; a reader that has enough by the
/// new measure is told.
pub(crate) fn set_rcvlowat(sk: &mut TcpSock, ctx: &Ctx, octets: u32) {
    let locked = sk.cold.opts.rcvbuf_locked;
    // What is half of the kernel's buffer is all of the window here.
    let most = if locked {
        sk.cold.opts.rcvbuf
    } else {
        ctx.sysctl.tcp_rmem[2] / 2
    };
    let lowat = octets.min(most).max(1);
    sk.cold.opts.rcvlowat = lowat;
    if is_ready(sk) || sk.warm.fin_received {
        sk.note(Readiness::IN);
    }
    if locked || lowat <= sk.warm.rcvbuf.max(sk.cold.opts.rcvbuf) {
        return;
    }
    sk.cold.opts.rcvbuf = lowat;
    if let Some(rings) = &mut sk.rings {
        sk.warm.rcvbuf = lowat;
        rings.rcv_in.set_limit(u64::from(lowat));
    }
}

impl Stack {
    /// A reader that sleeps is woken (Linux `tcp_data_ready`): for SO_RCVLOWAT octets since it slept, not for what it
    /// still wants; for an urgent octet; and when nothing more comes.
    pub(crate) fn wakes_reader(&mut self, s: SockId) -> bool {
        self.socks
            .tcp
            .get_mut(s)
            .is_none_or(|sk| is_ready(sk) || urg::is_here(sk) || io::no_more_comes(sk))
    }

    /// Octets that can be read now (SIOCINQ), up to the urgent mark if there is one.
    ///
    /// # Errors
    /// EINVAL on a listener, EBADF.
    pub fn recv_len(&mut self, s: SockId) -> Result<usize, SockError> {
        let sk = self.connection(s)?;
        if let Some(octets) = urg::to_mark(sk) {
            return Ok(octets as usize);
        }
        Ok(sk.rings.as_mut().map_or(0, |r| r.rcv_out.len() as usize))
    }

    /// Octets, and the FIN, that the peer has not acknowledged (SIOCOUTQ).
    ///
    /// # Errors
    /// EINVAL on a listener, EBADF.
    pub fn send_queued(&mut self, s: SockId) -> Result<usize, SockError> {
        let sk = self.connection(s)?;
        if sk.rx.state.is_in(OPENING) {
            return Ok(0);
        }
        Ok(sk.end_of_queue().bytes_since(sk.tx.snd_una) as usize)
    }

    /// Octets, and the FIN, that were never sent (SIOCOUTQNSD).
    ///
    /// # Errors
    /// EINVAL on a listener, EBADF.
    pub fn send_unsent(&mut self, s: SockId) -> Result<usize, SockError> {
        let sk = self.connection(s)?;
        if sk.rx.state.is_in(OPENING) || !sk.has_unsent() {
            return Ok(0);
        }
        Ok(sk.end_of_queue().bytes_since(sk.tx.snd_nxt) as usize)
    }

    /// A socket that does not listen.
    fn connection(&mut self, s: SockId) -> Result<&mut TcpSock, SockError> {
        let sk = self.sock(s)?;
        if sk.rx.state == TcpState::Listen {
            return Err(SockError::Invalid);
        }
        Ok(sk)
    }
}
