//! The peer's FIN (RFC 9293 §3.10.7.4 eighth; Linux `tcp_fin`).

use crate::core::Ctx;
use crate::sock::readiness::Readiness;
use crate::tcp::conn::close;
use crate::tcp::sock::TcpSock;
use crate::tcp::sock::hot::{AckState, Features, Want};
use crate::tcp::state::{TcpState, set_state};

/// All data before the FIN has been received.
pub(crate) fn received(sk: &mut TcpSock, ctx: &mut Ctx) {
    sk.rx.rcv_nxt += u32::from(!mutant!("fin_takes_no_number"));
    sk.rx.ack.insert(AckState::SCHED);
    sk.rx.features.insert(Features::RCV_SHUTDOWN);
    sk.warm.fin_received = true;
    sk.rx.predict = false;
    match sk.rx.state {
        TcpState::SynRecv | TcpState::Established => {
            set_state(sk, ctx, TcpState::CloseWait);
            // In the other states the ACK goes out before this, and still tells of a duplicate.
            sk.warm.ofo.reset();
            // The application decides when to answer; until then ACKs wait for it.
            sk.rx.pingpong = 1;
        }
        TcpState::FinWait1 => {
            sk.tx.want.insert(Want::ACK);
            set_state(sk, ctx, TcpState::Closing);
        }
        TcpState::FinWait2 => {
            sk.tx.want.insert(Want::ACK);
            close::enter_time_wait(sk, ctx);
        }
        _ => {}
    }
    sk.warm.ofo.clear();
    sk.note(Readiness::IN | Readiness::RDHUP | Readiness::CHANGE);
}
