//! From a socket to packets: header fields by the socket's state, octets from its send ring (Linux
//! `__tcp_transmit_skb`).

use crate::core::Ctx;
use crate::gso::{self, IpFields, Super, Template};
use crate::link::LinkConfig;
use crate::stats::Counter;
use crate::tcp::fastopen;
use crate::tcp::input::{acking, ecn};
use crate::tcp::md5;
use crate::tcp::output::{Turn, urg, window};
use crate::tcp::rate::Snapshot;
use crate::tcp::recovery::records::{Marks, TxRecord};
use crate::tcp::sock::TcpSock;
use crate::tcp::sock::hot::{EcnFlags, Features, Nonagle, Want};
use crate::tcp::stamps;
use crate::tcp::state::TcpState;
use crate::tcp::timer;
use millrace_wire::frame::TxBatch;
use millrace_wire::mac::MacAddr;
use millrace_wire::seq::SeqNum;
use millrace_wire::tcp::options::{
    OptionsBuf, SackBlock, Timestamps, write_established, write_established_after, write_syn_after,
};
use millrace_wire::tcp::{TcpFlags, TcpHeader};

/// The way to the next hop, resolved.
pub(crate) struct Path<'a> {
    pub link: &'a LinkConfig,
    pub mac: MacAddr,
}

/// SACK blocks that fit into the options beside timestamps, and without; with a signature fewer.
const SACK_BLOCKS_WITH_TIMESTAMPS: usize = 3;
const SACK_BLOCKS: usize = 4;
const SACK_BLOCKS_SIGNED: usize = 2;

/// What to send.
pub(crate) struct Job {
    pub seq: SeqNum,
    /// Octets of payload from the send ring.
    pub len: u32,
    /// Flags of all packets, and those of the last in addition.
    pub flags: TcpFlags,
    pub last: TcpFlags,
}

/// Sends a job in as many packets as it needs. Returns packets and octets sent.
pub(crate) fn transmit(
    sk: &mut TcpSock,
    ctx: &mut Ctx,
    path: &Path<'_>,
    batch: &mut dyn TxBatch,
    job: &Job,
) -> (u32, u32) {
    if batch.room() == 0 {
        return (0, 0);
    }
    // Before the options are taken: records are cut at the same size.
    let mss = current_mss(sk);
    let options = established_options(sk, ctx);
    let window = window::select(sk, ctx);
    let mut ip = ip_fields(sk, ctx);
    let mut first = TcpFlags::NONE;
    if !sk.rx.ecn.is_empty() && job.len > 0 && job.seq.at_or_after(sk.tx.snd_nxt) {
        let (mark, flags) = ecn::on_new_data(sk);
        ip.tos |= mark;
        first = flags;
    }
    let (urg, urgent) = urg::pointer(sk, job.seq);
    let header = TcpHeader {
        src_port: sk.rx.tuple.lport,
        dst_port: sk.rx.tuple.rport,
        seq: job.seq,
        ack: sk.rx.rcv_nxt,
        flags: job.flags | TcpFlags::ACK | ecn::echo(sk) | urg,
        window,
        urgent,
    };
    let template = Template::new(path.link, path.mac, &sk.rx.tuple, ip, &header, &options);
    let cut = Super {
        template: &template,
        pos: if job.len > 0 {
            sk.send_pos(job.seq) + u64::from(mutant!("ring_off_by_one"))
        } else {
            0
        },
        len: job.len,
        mss,
        first,
        last: job.last,
        sign: md5::key_for(&sk.rx, &sk.cold).map(|key| (&sk.rx.tuple, key)),
    };
    let ring = sk.rings.as_mut().map(|r| &mut r.snd_out);
    let (packets, octets) = gso::cut(&cut, ring, batch);
    if packets > 0 {
        if !first.is_empty() {
            sk.rx.ecn.remove(EcnFlags::QUEUE_CWR);
        }
        // RFC 4022: less what only repeats octets that were sent before.
        let fin = job.last.contains(TcpFlags::FIN) && octets == job.len;
        let end = job.seq + octets + u32::from(fin);
        if end == job.seq || end.after(sk.tx.snd_nxt) {
            ctx.mib.add(Counter::TcpOutSegs, u64::from(packets));
        }
        ctx.mib.add(Counter::IpOutRequests, u64::from(packets));
        sk.warm.counts.sent(packets, octets);
        if octets > 0 && sk.tx.nonagle.contains(Nonagle::STAMPS) {
            stamps::sent(sk, ctx, job.seq, octets);
        }
        acking::event_ack_sent(sk);
    }
    (packets, octets)
}

/// Payload per packet that `transmit` uses now: SACK blocks take from it.
pub(crate) fn current_mss(sk: &TcpSock) -> u16 {
    if !sk.warm.ofo.has_blocks() || !sk.rx.features.contains(Features::SACK) {
        return sk.tx.mss_cache;
    }
    let room = sack_room(sk.rx.features);
    if room == 0 {
        return sk.tx.mss_cache;
    }
    let blocks = sk.warm.ofo.blocks().min(room) as u16;
    sk.tx.mss_cache.saturating_sub(4 + 8 * blocks).max(1)
}

fn sack_room(features: Features) -> usize {
    match (
        features.contains(Features::MD5),
        features.contains(Features::TIMESTAMPS),
    ) {
        (false, true) => SACK_BLOCKS_WITH_TIMESTAMPS,
        (false, false) => SACK_BLOCKS,
        (true, false) => SACK_BLOCKS_SIGNED,
        (true, true) => 0,
    }
}

pub(crate) fn ip_fields(sk: &TcpSock, ctx: &Ctx) -> IpFields {
    IpFields {
        tos: sk.tx.tos,
        ttl: sk.cold.opts.ttl.unwrap_or(ctx.sysctl.ip_default_ttl as u8),
        id: sk.cold.opts.mtu_discover.may_fragment().then(|| {
            // One after the other, from a number that strangers cannot know.
            let first = sk.rx.ts_offset as u16;
            first.wrapping_add(sk.warm.counts.segs_out as u16)
        }),
    }
}

fn timestamps(sk: &TcpSock, ctx: &Ctx) -> Option<Timestamps> {
    let on = sk.rx.features.contains(Features::TIMESTAMPS);
    on.then(|| Timestamps {
        val: ctx.ts_now(sk.rx.ts_offset),
        ecr: sk.rx.ts_recent,
    })
}

/// Options of every segment after the handshake: timestamps, and what SACK has to say.
pub(crate) fn established_options(sk: &mut TcpSock, ctx: &Ctx) -> OptionsBuf {
    let ts = timestamps(sk, ctx);
    if sk.rx.features.contains(Features::MD5) {
        return signed_options(sk, ts);
    }
    if !sk.warm.ofo.has_blocks() || !sk.rx.features.contains(Features::SACK) {
        return write_established(ts, &[]);
    }
    let mut blocks = [SackBlock::default(); 4];
    let n = sk.warm.ofo.take_blocks(&mut blocks);
    write_established(ts, &blocks[..n])
}

/// The same with room for a signature in front.
#[cold]
fn signed_options(sk: &mut TcpSock, ts: Option<Timestamps>) -> OptionsBuf {
    let mut buf = OptionsBuf::new();
    buf.md5();
    let mut blocks = [SackBlock::default(); 4];
    let mut n = 0;
    if sack_room(sk.rx.features) > 0 && sk.rx.features.contains(Features::SACK) {
        n = sk.warm.ofo.take_blocks(&mut blocks);
    }
    write_established_after(buf, ts, &blocks[..n])
}

fn syn_flags(sk: &mut TcpSock, ctx: &Ctx, answering: bool) -> TcpFlags {
    if answering {
        let accepted = sk.rx.ecn.contains(EcnFlags::OK);
        TcpFlags::SYN | TcpFlags::ACK | ecn::syn_ack_flags(accepted)
    } else {
        let sysctl = &ctx.sysctl;
        TcpFlags::SYN | ecn::syn_flags(sk, sysctl.tcp_ecn, sysctl.tcp_ecn_fallback)
    }
}

/// Our SYN, or SYN-ACK when the opens crossed; first time or again.
pub(crate) fn emit_syn(
    sk: &mut TcpSock,
    ctx: &mut Ctx,
    path: &Path<'_>,
    batch: &mut dyn TxBatch,
) -> Turn {
    let answering = sk.rx.state != TcpState::SynSent;
    // When the opens crossed, this is still our SYN: it offers what it offered before, whatever the peer's had. A Fast
    // Open child answers.
    let child = fastopen::server::is_pending(sk);
    let agreed = |feature, offer: bool| {
        if child {
            sk.rx.features.contains(feature)
        } else {
            offer
        }
    };
    // There is no room for timestamps beside a signature (Linux `tcp_syn_options`).
    let signed = sk.rx.features.contains(Features::MD5);
    let offer_ts = agreed(
        Features::TIMESTAMPS,
        ctx.sysctl.tcp_timestamps != 0 && !signed,
    );
    let offer_sack = agreed(Features::SACK, ctx.sysctl.tcp_sack);
    let offer_ws = agreed(Features::WSCALE, ctx.sysctl.tcp_window_scaling);
    let ts = offer_ts.then(|| Timestamps {
        val: ctx.ts_now(sk.rx.ts_offset),
        ecr: sk.rx.ts_recent,
    });
    let wscale = offer_ws.then_some(sk.rx.rcv_wscale);
    let mut options = OptionsBuf::new();
    if signed {
        options.md5();
    }
    let mut options = write_syn_after(options, Some(sk.warm.advmss), wscale, offer_sack, ts);
    let data = syn_data(sk);
    if let Some(option) = sk.cold.fastopen.as_ref().and_then(|f| f.option) {
        options.fast_open(&option);
    }
    let header = TcpHeader {
        src_port: sk.rx.tuple.lport,
        dst_port: sk.rx.tuple.rport,
        seq: sk.warm.iss,
        ack: if answering {
            sk.rx.rcv_nxt
        } else {
            SeqNum::new(0)
        },
        flags: syn_flags(sk, ctx, answering),
        window: sk.rx.rcv_wnd.min(u32::from(u16::MAX)) as u16,
        urgent: 0,
    };
    let template = Template::new(
        path.link,
        path.mac,
        &sk.rx.tuple,
        ip_fields(sk, ctx),
        &header,
        &options,
    );
    let job = Super {
        template: &template,
        pos: if data > 0 {
            sk.send_pos(sk.warm.iss + 1)
        } else {
            0
        },
        len: data,
        mss: data.max(1) as u16,
        first: TcpFlags::NONE,
        last: TcpFlags::NONE,
        sign: md5::key_for(&sk.rx, &sk.cold).map(|key| (&sk.rx.tuple, key)),
    };
    let ring = sk.rings.as_mut().map(|r| &mut r.snd_out);
    if gso::cut(&job, ring, batch).0 == 0 {
        return Turn::Full;
    }
    if let Some(fastopen) = &mut sk.cold.fastopen {
        fastopen.option = None;
    }
    if answering {
        sk.rx.rcv_wup = sk.rx.rcv_nxt;
    }
    sk.warm.counts.sent(1, 0);
    if sk.records.is_empty() {
        ctx.mib.inc(Counter::TcpOutSegs);
    }
    ctx.mib.inc(Counter::IpOutRequests);
    Turn::Done
}

/// Octets that go with the SYN: only with the first (RFC 7413 §4.1.3).
fn syn_data(sk: &TcpSock) -> u32 {
    let first = sk.rx.state == TcpState::SynSent && sk.records.is_empty();
    let fastopen = sk.cold.fastopen.as_ref().filter(|_| first);
    fastopen.map_or(0, |f| f.active.syn_data)
}

/// The SYN, for the first time: it gets a record like any segment. When the opens crossed it has one.
pub(crate) fn send_syn(
    sk: &mut TcpSock,
    ctx: &mut Ctx,
    path: &Path<'_>,
    batch: &mut dyn TxBatch,
) -> Turn {
    let data = syn_data(sk);
    if emit_syn(sk, ctx, path, batch) == Turn::Full {
        return Turn::Full;
    }
    sk.tx.want.remove(Want::SYN);
    if !sk.records.is_empty() {
        sk.records.sent_anew(ctx.now);
        return Turn::Done;
    }
    let (seq, end) = (sk.warm.iss, sk.warm.iss + 1);
    sk.records.push(TxRecord {
        seq,
        end,
        sent_at: ctx.now,
        // A handshake is no sample.
        snapshot: Snapshot::default(),
        marks: Marks::SYN,
    });
    if data > 0 {
        sk.records.push(TxRecord {
            seq: end,
            end: end + data,
            sent_at: ctx.now,
            snapshot: Snapshot::default(),
            marks: Marks::PUSHED,
        });
        sk.tx.pushed_seq = end + data;
        ctx.mib.inc(Counter::TcpExtTCPOrigDataSent);
    }
    sk.tx.snd_nxt = end + data;
    timer::rearm_rto(sk, ctx);
    Turn::Done
}
