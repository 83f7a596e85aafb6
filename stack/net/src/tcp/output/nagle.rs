//! May a partial segment go out now (Linux `tcp_nagle_test`; RFC 9293 §3.7.4)?

use crate::tcp::sock::TcpSock;
use crate::tcp::sock::cold::Options;
use crate::tcp::sock::hot::Nonagle;

/// The bits for a set of options.
pub(crate) fn bits(opts: &Options) -> Nonagle {
    let mut bits = Nonagle::default();
    if opts.nodelay {
        bits.insert(Nonagle::OFF);
    }
    if opts.cork {
        bits.insert(Nonagle::CORK);
    }
    bits
}

/// The answer.
#[derive(Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Partial {
    /// Send it.
    Go,
    /// More may come to fill it.
    Wait,
}

/// A segment shorter than the MSS ends the queue.
pub(crate) fn test(sk: &TcpSock) -> Partial {
    let tx = &sk.tx;
    if tx.fin_queued || tx.nonagle.intersects(Nonagle::PUSH | Nonagle::URGENT) {
        return Partial::Go;
    }
    if tx.nonagle.contains(Nonagle::CORK) || tx.nonagle.contains(Nonagle::MORE) {
        return Partial::Wait;
    }
    // Minshall: only a small segment in the network makes the next small one wait.
    let small_in_network = tx.snd_sml.after(tx.snd_una) && tx.snd_sml.at_or_before(tx.snd_nxt);
    if !tx.nonagle.contains(Nonagle::OFF) && !sk.records.is_empty() && small_in_network {
        return Partial::Wait;
    }
    Partial::Go
}
