//! What waits for an interface: finished frames (ARP, ICMP), control segments, and flows, which are asked for their
//! packets only when the device has room.

use crate::dst::Dst;
use crate::ids::SockId;
use crate::tcp::demux::Tuple;
use millrace_wire::seq::SeqNum;
use millrace_wire::tcp::TcpFlags;
use millrace_wire::tcp::options::OptionsBuf;
use std::collections::VecDeque;

/// Most control segments in a queue.
const CTL_LIMIT: usize = 8192;
/// Most finished frames in a queue (Linux `txqueuelen`).
const FRAME_LIMIT: usize = 1000;

/// A segment without payload, as of the moment that caused it: duplicate and challenge ACKs, SYN-ACKs, RSTs.
#[derive(Clone)]
pub(crate) struct Ctl {
    pub tuple: Tuple,
    pub seq: SeqNum,
    pub ack: SeqNum,
    pub flags: TcpFlags,
    pub window: u16,
    pub urgent: u16,
    pub options: OptionsBuf,
    pub dst: Dst,
    pub tos: u8,
    pub ttl: u8,
    /// As in [`crate::gso::IpFields`].
    pub id: Option<u16>,
}

/// The queue was full, and the packet is lost.
#[derive(Debug)]
#[must_use]
pub(crate) struct Overflow;

/// See the module.
#[derive(Default)]
pub(crate) struct Qdisc {
    pub frames: VecDeque<Vec<u8>>,
    pub ctl: VecDeque<Ctl>,
    /// Each flow stands here at most once (`TxHot::queued`), so the number of sockets bounds it.
    pub flows: VecDeque<SockId>,
}

impl Qdisc {
    /// Something waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.ctl.is_empty() && self.flows.is_empty()
    }

    pub(crate) fn push_ctl(&mut self, ctl: Ctl) -> Result<(), Overflow> {
        if self.ctl.len() >= CTL_LIMIT {
            return Err(Overflow);
        }
        self.ctl.push_back(ctl);
        Ok(())
    }

    pub(crate) fn push_frame(&mut self, frame: Vec<u8>) -> Result<(), Overflow> {
        if self.frames.len() >= FRAME_LIMIT {
            return Err(Overflow);
        }
        self.frames.push_back(frame);
        Ok(())
    }
}
