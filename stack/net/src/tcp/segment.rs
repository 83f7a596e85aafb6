//! An arrived segment, or a train of segments that GRO merged, as TCP input sees it.

use crate::tcp::demux::Tuple;
use millrace_wire::frame::RxFrame;
use millrace_wire::seq::SeqNum;
use millrace_wire::tcp::options::{TcpOptions, Timestamps};
use millrace_wire::tcp::{TcpFlags, TcpView};

/// Where a piece of payload lies: a frame of the poll and a range in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    pub frame: u16,
    pub offset: u16,
    pub len: u16,
}

/// The header of a segment, host order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    pub tuple: Tuple,
    pub hash: u32,
    pub seq: SeqNum,
    pub ack: SeqNum,
    pub flags: TcpFlags,
    /// Window field as on the wire.
    pub window: u16,
    /// Urgent pointer; meaningful with URG.
    pub urgent: u16,
    /// Options that are exactly NOP NOP TS, or none (Linux `tcp_parse_aligned_timestamp`).
    pub simple: bool,
    pub ts: Option<Timestamps>,
    /// Options in the frame.
    pub options: Part,
    /// TOS byte of the IP header.
    pub tos: u8,
    /// Octets of payload.
    pub len: u32,
    /// Octets of the longest segment of a train: its first.
    pub mss: u16,
    /// Segments on the wire.
    pub segs: u16,
}

impl Segment {
    /// Sequence number after the segment's last octet, SYN and FIN included.
    #[inline]
    pub(crate) fn end_seq(&self) -> SeqNum {
        let flags = u32::from(self.flags.contains(TcpFlags::SYN))
            + u32::from(self.flags.contains(TcpFlags::FIN));
        self.seq + self.len + flags
    }

    /// Begins at, reaches into, or ends empty at the window from `start` up to `end` (Linux `tcp_in_window`, the rule of
    /// mini-sockets).
    pub(crate) fn is_in_window(&self, start: SeqNum, end: SeqNum) -> bool {
        self.seq == start
            || self.end_seq().after(start) && self.seq.before(end)
            || self.seq == end && self.end_seq() == end
    }

    #[inline]
    pub(crate) fn has(&self, flags: TcpFlags) -> bool {
        self.flags.contains(flags)
    }

    /// All options; the slow path's way.
    pub(crate) fn parse_options(&self, payload: &Payload<'_, '_>) -> TcpOptions {
        if self.simple {
            return TcpOptions {
                timestamps: self.ts,
                ..TcpOptions::default()
            };
        }
        TcpOptions::parse(payload.slice(&self.options))
    }

    /// From a verified view.
    #[inline]
    pub(crate) fn new(view: &TcpView<'_>, tuple: Tuple, hash: u32, options: Part, tos: u8) -> Self {
        let bytes = view.options();
        let ts = millrace_wire::tcp::options::parse_aligned_timestamp(bytes);
        Self {
            tuple,
            hash,
            seq: view.seq(),
            ack: view.ack(),
            flags: view.flags(),
            window: view.window(),
            urgent: view.urgent(),
            simple: bytes.is_empty() || ts.is_some(),
            ts,
            options,
            tos,
            len: view.payload().len() as u32,
            mss: view.payload().len() as u16,
            segs: 1,
        }
    }
}

/// The payload of a segment or train, in the lent frames.
#[derive(Clone, Copy)]
pub(crate) struct Payload<'a, 'f> {
    pub frames: &'a [RxFrame<'f>],
    pub parts: &'a [Part],
}

impl<'a> Payload<'a, '_> {
    /// The fixed part of the TCP header, which lies before its options.
    pub(crate) fn header(&self, options: &Part) -> &'a [u8] {
        const LEN: u16 = 20;
        self.slice(&Part {
            offset: options.offset.saturating_sub(LEN),
            len: LEN,
            ..*options
        })
    }

    /// The octets of one part.
    pub(crate) fn slice(&self, part: &Part) -> &'a [u8] {
        let start = part.offset as usize;
        self.frames
            .get(part.frame as usize)
            .and_then(|f| f.data().get(start..start + part.len as usize))
            .unwrap_or_default()
    }

    /// The slices that make up `[skip, skip + len)` of the payload, with their offsets from `skip`.
    pub(crate) fn slices(&self, skip: u32, len: u32) -> impl Iterator<Item = (u32, &'a [u8])> + '_ {
        let mut at = 0u32;
        let end = skip + len;
        self.parts.iter().filter_map(move |part| {
            let (start, stop) = (at, at + u32::from(part.len));
            at = stop;
            let (from, to) = (start.max(skip), stop.min(end));
            (from < to).then(|| {
                (
                    from - skip,
                    &self.slice(part)[(from - start) as usize..(to - start) as usize],
                )
            })
        })
    }
}
