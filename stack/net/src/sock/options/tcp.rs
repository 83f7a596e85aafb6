//! What the options of tcp(7) do that takes more than a line.

use crate::sock::error::SockError;
use crate::tcp::sock::TcpSock;
use crate::tcp::sock::cold::Options;
use crate::tcp::state::TcpState;

/// Least TCP_WINDOW_CLAMP but 0, octets (half of Linux's `SOCK_MIN_RCVBUF`).
const MIN_WINDOW_CLAMP: u32 = 1152;
/// The congestion control that there is.
const RENO: &[u8] = b"reno";

/// Name of a congestion control, filled up with zeros (Linux `TCP_CA_NAME_MAX`).
pub type CongestionName = [u8; 16];

/// TCP_WINDOW_CLAMP (Linux `tcp_set_window_clamp`). Autotuning may open the window beyond it later, as there.
pub(super) fn set_window_clamp(sk: &mut TcpSock, octets: u32) -> Result<(), SockError> {
    if octets == 0 {
        if sk.rx.state != TcpState::Close {
            return Err(SockError::Invalid);
        }
        sk.cold.opts.window_clamp = 0;
        return Ok(());
    }
    let new = octets.max(MIN_WINDOW_CLAMP);
    let old = window_clamp(sk);
    if new == old {
        return Ok(());
    }
    sk.cold.opts.window_clamp = new;
    sk.warm.rcvbuf = sk.cold.opts.window_space();
    let ssthresh = &mut sk.rx.rcv_ssthresh;
    *ssthresh = if new < old {
        new.min(*ssthresh)
    } else {
        new.min(sk.rx.rcv_wnd).max(*ssthresh)
    };
    Ok(())
}

/// What is set, or what the buffer of a connection allows; autotuning raises both.
pub(super) fn window_clamp(sk: &TcpSock) -> u32 {
    let space = if sk.rings.is_some() {
        sk.warm.rcvbuf
    } else {
        0
    };
    sk.cold.opts.window_clamp.max(space)
}

impl Options {
    /// Octets of window that the receive buffer and TCP_WINDOW_CLAMP allow.
    pub(crate) fn window_space(&self) -> u32 {
        match self.window_clamp {
            0 => self.rcvbuf,
            clamp => self.rcvbuf.min(clamp),
        }
    }
}

/// TCP_CONGESTION: ENOENT for a name that is not known.
pub(super) fn set_congestion(name: &CongestionName) -> Result<(), SockError> {
    let end = name.iter().position(|byte| *byte == 0);
    if name[..end.unwrap_or(name.len())] == *RENO {
        Ok(())
    } else {
        Err(SockError::NoEntry)
    }
}

pub(crate) fn congestion() -> CongestionName {
    let mut name = [0; 16];
    name[..RENO.len()].copy_from_slice(RENO);
    name
}
