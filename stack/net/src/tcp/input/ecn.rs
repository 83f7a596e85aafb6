//! Explicit congestion notification (RFC 3168; Linux `tcp_ecn_*`): who agrees to it, what the marks of arriving packets
//! cause, and what leaving packets carry.
//!
//! The receiver repeats ECE on all it sends from the first CE mark until the peer says CWR. The sender reduces once per
//! window of data (`recovery/machine`) and says CWR with the next new data.

use crate::stats::Counter;
use crate::tcp::input::acking;
use crate::tcp::segment::Segment;
use crate::tcp::sock::TcpSock;
use crate::tcp::sock::hot::{AckState, EcnFlags};
use millrace_wire::tcp::TcpFlags;

/// Both flags of a SYN that offers ECN (RFC 3168 §6.1.1).
pub(crate) const SYN_ECN: TcpFlags = TcpFlags::ECE.union(TcpFlags::CWR);
/// The ECN field of the TOS octet (RFC 3168 §5).
pub(crate) const MASK: u8 = 3;
const NOT_ECT: u8 = 0;
const ECT_0: u8 = 2;
const CE: u8 = 3;
/// Quick ACKs after a mark: the sender's window may be very small (Linux `tcp_data_ecn_check`).
const QUICKACKS: u8 = 2;

/// The counter of a packet with this TOS octet (Linux `IPSTATS_MIB_NOECTPKTS` and the three after it).
#[inline]
pub(crate) fn counter(tos: u8) -> Counter {
    match tos & MASK {
        NOT_ECT => Counter::IpExtInNoECTPkts,
        1 => Counter::IpExtInECT1Pkts,
        ECT_0 => Counter::IpExtInECT0Pkts,
        _ => Counter::IpExtInCEPkts,
    }
}

/// A SYN at a listener offers ECN and we take it (Linux `tcp_ecn_create_request`). A marked SYN is refused: RFC 3168
/// §6.1.1 forbids ECT on it, so something between has bleached or misused the field.
pub(crate) fn accepts_syn(seg: &Segment, tcp_ecn: u32) -> bool {
    tcp_ecn != 0 && seg.has(SYN_ECN) && seg.tos & MASK == NOT_ECT
}

/// Our own SYN: the flags that it carries, first time or again (Linux `tcp_ecn_send_syn`, `tcp_ecn_clear_syn`).
pub(crate) fn syn_flags(sk: &mut TcpSock, tcp_ecn: u32, fallback: bool) -> TcpFlags {
    let again = !sk.records.is_empty();
    if !again && tcp_ecn == 1 {
        sk.rx.ecn = EcnFlags::OK;
    }
    // Something on the path may drop SYNs that offer it (RFC 3168 §6.1.1.1). The peer may still have got the first.
    if sk.rx.ecn.contains(EcnFlags::OK) && !(again && fallback) {
        SYN_ECN
    } else {
        TcpFlags::NONE
    }
}

/// Our SYN-ACK says that we take it; it never says CWR (RFC 3168 §6.1.1).
pub(crate) fn syn_ack_flags(accepted: bool) -> TcpFlags {
    if accepted {
        TcpFlags::ECE
    } else {
        TcpFlags::NONE
    }
}

/// The peer's SYN-ACK, or its SYN when the opens crossed, confirms what we offered or ends it (Linux
/// `tcp_ecn_rcv_synack`, `tcp_ecn_rcv_syn`).
pub(crate) fn negotiate(sk: &mut TcpSock, seg: &Segment) {
    let ecn = seg.flags.0 & SYN_ECN.0;
    let wanted = if seg.has(TcpFlags::ACK) {
        TcpFlags::ECE.0
    } else {
        SYN_ECN.0
    };
    if ecn != wanted {
        sk.rx.ecn.remove(EcnFlags::OK);
    }
}

/// Data came on a connection with ECN: what does its mark say (Linux `tcp_data_ecn_check`)?
pub(crate) fn on_data(sk: &mut TcpSock, tos: u8) {
    if !sk.rx.ecn.contains(EcnFlags::OK) {
        return;
    }
    match tos & MASK {
        // Where marks were seen before, data without one is a retransmission: somebody waits for the ACK.
        NOT_ECT => {
            if sk.rx.ecn.contains(EcnFlags::SEEN) {
                acking::enter_quickack_for(sk, QUICKACKS);
            }
            return;
        }
        CE if !sk.rx.ecn.contains(EcnFlags::DEMAND_CWR) => {
            acking::enter_quickack_for(sk, QUICKACKS);
            sk.rx.ecn.insert(EcnFlags::DEMAND_CWR);
        }
        _ => {}
    }
    sk.rx.ecn.insert(EcnFlags::SEEN);
}

/// The peer has reduced its window: the echo ends (Linux `tcp_ecn_accept_cwr`). RFC 3168 has CWR on data only; Linux
/// takes it from pure ACKs too.
pub(crate) fn accept_cwr(sk: &mut TcpSock, seg: &Segment) {
    if !seg.has(TcpFlags::CWR) {
        return;
    }
    if !mutant!("congestion_echoed_for_ever") {
        sk.rx.ecn.remove(EcnFlags::DEMAND_CWR);
    }
    if seg.end_seq() != seg.seq {
        // Its window may be a single segment now.
        sk.rx.ack.insert(AckState::NOW);
    }
}

/// The ACK echoes congestion (Linux `tcp_ecn_rcv_ecn_echo`).
pub(crate) fn is_echo(sk: &TcpSock, seg: &Segment) -> bool {
    seg.has(TcpFlags::ECE) && !seg.has(TcpFlags::SYN) && sk.rx.ecn.contains(EcnFlags::OK)
}

/// The window was reduced: the next new data says so (Linux `tcp_ecn_queue_cwr`).
pub(crate) fn queue_cwr(sk: &mut TcpSock) {
    if sk.rx.ecn.contains(EcnFlags::OK) {
        sk.rx.ecn.insert(EcnFlags::QUEUE_CWR);
    }
}

/// The echo that every segment but a SYN carries until CWR comes.
#[inline]
pub(crate) fn echo(sk: &TcpSock) -> TcpFlags {
    let demands = sk.rx.ecn.contains(EcnFlags::OK | EcnFlags::DEMAND_CWR);
    if demands && !mutant!("congestion_not_echoed") {
        TcpFlags::ECE
    } else {
        TcpFlags::NONE
    }
}

/// What new data carries besides: the IP mark, and the flags of its first packet. Retransmissions, probes and pure ACKs
/// carry neither (RFC 3168 §6.1.4, §6.1.5).
pub(crate) fn on_new_data(sk: &TcpSock) -> (u8, TcpFlags) {
    if !sk.rx.ecn.contains(EcnFlags::OK) {
        return (NOT_ECT, TcpFlags::NONE);
    }
    let cwr = if sk.rx.ecn.contains(EcnFlags::QUEUE_CWR) {
        TcpFlags::CWR
    } else {
        TcpFlags::NONE
    };
    (ECT_0, cwr)
}
