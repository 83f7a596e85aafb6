//! Reno (RFC 5681; Linux `tcp_reno_cong_avoid`, `tcp_slow_start`), in segments.

use crate::tcp::sock::TcpSock;

/// Half of what may be in flight, at least two segments.
pub(crate) fn ssthresh(sk: &TcpSock) -> u32 {
    (sk.tx.snd_cwnd >> 1).max(2)
}

/// Slow start doubles per round trip; above the threshold the window gains a segment per round trip.
pub(crate) fn grow(sk: &mut TcpSock, mut acked: u32) {
    let tx = &mut sk.tx;
    if tx.snd_cwnd < tx.snd_ssthresh {
        let room = tx.snd_ssthresh - tx.snd_cwnd;
        let step = acked.min(room);
        tx.snd_cwnd += step;
        acked -= step;
        if acked == 0 {
            return;
        }
    }
    tx.snd_cwnd_cnt += acked;
    if tx.snd_cwnd_cnt >= tx.snd_cwnd {
        let steps = tx.snd_cwnd_cnt / tx.snd_cwnd;
        tx.snd_cwnd_cnt -= steps * tx.snd_cwnd;
        tx.snd_cwnd = (tx.snd_cwnd + steps).min(crate::tcp::MAX_CWND);
    }
}
