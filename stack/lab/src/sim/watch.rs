//! Looks at every frame that a node sends and says when it breaks a promise.
//!
//! What is known here is what the peer has *sent*, which is at least what the sender has received: a sender that keeps
//! within it may still be wrong, one that does not is.

use std::collections::BTreeMap;
use std::hash::Hasher;
use std::net::{Ipv4Addr, SocketAddrV4};

use millrace_wire::ethernet::{EtherType, EthernetView};
use millrace_wire::ipv4::{Ipv4View, protocol};
use millrace_wire::seq::SeqNum;
use millrace_wire::tcp::{TcpFlags, TcpOptions, TcpView};
use millrace_wire::time::Instant;

use super::Violation;
use super::attack;
use super::node::address;
use super::packet::Packet;

/// A direction of a connection: who sends to whom.
type Flow = (SocketAddrV4, SocketAddrV4);

/// What an end has said in its SYN.
#[derive(Debug, Clone, Copy)]
struct Offer {
    options: TcpOptions,
    isn: SeqNum,
    /// ECE was set.
    ecn: bool,
}

/// What a sender has said so far.
#[derive(Debug, Clone, Copy, Default)]
struct Sender {
    offer: Option<Offer>,
    /// The furthest right edge of the window it has offered.
    right_edge: Option<SeqNum>,
    /// That edge, when a SYN segment offered it, whose window is not scaled.
    unscaled_edge: Option<SeqNum>,
    /// The end of what it has sent, SYN and FIN included.
    end: Option<SeqNum>,
    /// Its FIN.
    fin: Option<SeqNum>,
    /// Its latest acknowledgement.
    acked: Option<SeqNum>,
    /// Its latest timestamp.
    ts: Option<u32>,
    /// It has reset the connection.
    reset: Reset,
    /// What it sent last that takes sequence numbers, and how often without hearing anything, and when.
    repeats: Repeats,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Reset {
    #[default]
    No,
    Yes,
}

/// The same segment again and again.
#[derive(Debug, Clone, Copy, Default)]
struct Repeats {
    seq: SeqNum,
    silent: u32,
    at: Instant,
    at_once: u32,
}

/// How often a segment goes out while the peer is silent: twice `tcp_retries2`, for probes.
const MOST_SILENT: u32 = 30;

/// How often at one point in time: once as new, once as a probe, once as lost.
const MOST_AT_ONCE: u32 = 3;

/// A connection that both ends believe in, as an attacker sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target {
    pub victim: SocketAddrV4,
    pub peer: SocketAddrV4,
    /// The end of what the peer has sent.
    pub next: SeqNum,
    /// The right edge of the victim's window.
    pub edge: SeqNum,
    /// The end of what the victim has sent.
    pub victim_end: SeqNum,
    /// The peer's latest timestamp.
    pub ts: Option<u32>,
}

/// The observer of one run.
#[derive(Debug)]
pub(super) struct Watch {
    mtus: Vec<usize>,
    /// The host that is no stack: what is said to it is for the monitors to judge.
    peer: Ipv4Addr,
    /// A node that runs out of memory may take its window back.
    may_shrink: Vec<bool>,
    senders: BTreeMap<Flow, Sender>,
    hash: std::hash::DefaultHasher,
    frames: u64,
}

impl Watch {
    /// For nodes with these MTUs, which run out of memory or do not.
    pub(super) fn new(nodes: impl Iterator<Item = (u16, bool)>) -> Self {
        let (mtus, may_shrink): (Vec<_>, _) =
            nodes.map(|(mtu, short)| (usize::from(mtu), short)).unzip();
        Self {
            peer: address(mtus.len()),
            mtus,
            may_shrink,
            senders: BTreeMap::new(),
            hash: std::hash::DefaultHasher::new(),
            frames: 0,
        }
    }

    /// A number for all that was sent and when: equal runs have equal numbers.
    pub(super) fn trace_hash(&self) -> u64 {
        self.hash.finish()
    }

    /// Frames seen.
    pub(super) fn frames(&self) -> u64 {
        self.frames
    }

    /// A node sends `frame`.
    pub(super) fn sent(
        &mut self,
        now: Instant,
        node: usize,
        frame: &[u8],
    ) -> Result<(), Violation> {
        self.frames += 1;
        self.hash.write_u64(now.as_nanos());
        self.hash.write_usize(node);
        self.hash.write(frame);
        self.check(now, node, frame)
            .map_err(|what| Violation::new(format!("node {node} sent {what}")))
    }

    /// A frame arrives.
    pub(super) fn arrived(&mut self, frame: &[u8]) {
        if let Some(packet) = Packet::parse(frame)
            && let Some(sender) = self.senders.get_mut(&packet.back())
        {
            sender.repeats = Repeats::default();
        }
    }

    /// A box on the way has changed a SYN: this is what its receiver learns.
    pub(super) fn rewritten(&mut self, frame: &[u8]) {
        if let Some(packet) = Packet::parse(frame)
            && packet.tcp.flags.contains(TcpFlags::SYN)
            && let Some(sender) = self.senders.get_mut(&packet.flow())
            && let Some(offer) = &mut sender.offer
            && offer.isn == packet.tcp.seq
        {
            // A later SYN may offer less, as the path has become narrower: the first offer counts.
            let mss = offer.options.mss;
            offer.options = TcpOptions::parse(&packet.options);
            offer.options.mss = mss;
        }
    }

    /// Connections on which both ends have gone beyond the handshake, and neither has ended its side.
    pub(super) fn targets(&self) -> impl Iterator<Item = Target> {
        self.senders.iter().filter_map(|((peer, victim), theirs)| {
            let ours = self.senders.get(&(*victim, *peer))?;
            let timed = |s: &Sender| s.offer.is_some_and(|o| o.options.timestamps.is_some());
            let open = |s: &Sender| s.reset == Reset::No && s.fin.is_none();
            let (isn, end) = (ours.offer?.isn, ours.end?);
            // It has sent data, so it is not a handshake any more; and its peer has a socket, as that has sent some.
            let talks = end.after(isn + 1) && theirs.end?.after(theirs.offer?.isn + 1);
            (open(ours) && open(theirs) && talks).then_some(Target {
                victim: *victim,
                peer: *peer,
                next: theirs.end?,
                edge: ours.right_edge?,
                victim_end: end,
                ts: theirs.ts.filter(|_| timed(ours) && timed(theirs)),
            })
        })
    }

    fn check(&mut self, now: Instant, node: usize, frame: &[u8]) -> Result<(), String> {
        let ethernet = EthernetView::parse(frame)
            .map_err(|error| format!("a bad Ethernet header: {error:?}"))?;
        if ethernet.ethertype() != EtherType::IPV4 {
            return Ok(());
        }
        let ip = Ipv4View::parse(ethernet.payload())
            .map_err(|error| format!("a bad IPv4 header: {error:?}"))?;
        if ip.total_len() > self.mtus[node] {
            return Err(format!(
                "{} bytes where the MTU is {}",
                ip.total_len(),
                self.mtus[node]
            ));
        }
        if !ip.checksum_ok() {
            return Err("a wrong IPv4 checksum".to_owned());
        }
        if ip.protocol() != protocol::TCP {
            return Ok(());
        }
        let tcp =
            TcpView::parse(ip.payload()).map_err(|error| format!("a bad TCP header: {error:?}"))?;
        if !tcp.checksum_ok(ip.src(), ip.dst()) {
            return Err("a wrong TCP checksum".to_owned());
        }
        let flow = (
            SocketAddrV4::new(ip.src(), tcp.src_port()),
            SocketAddrV4::new(ip.dst(), tcp.dst_port()),
        );
        if ip.dst() == self.peer {
            return Ok(());
        }
        if *flow.1.ip() == attack::ADDRESS && flow.1.port() >= attack::UNANSWERED {
            return Err("an answer to a RST".to_owned());
        }
        let allowed = Allowed {
            shrink: self.may_shrink[node],
            ect: ip.tos() & 3 != 0,
        };
        self.segment(now, flow, &tcp, allowed).map_err(|what| {
            let (from, to) = flow;
            let (seq, ack) = (tcp.seq(), tcp.ack());
            format!(
                "{what}: {from} > {to} {:?} seq {seq:?} ack {ack:?} len {}",
                tcp.flags(),
                tcp.payload().len()
            )
        })
    }

    fn segment(
        &mut self,
        now: Instant,
        flow: Flow,
        tcp: &TcpView<'_>,
        allowed: Allowed,
    ) -> Result<(), String> {
        let flags = tcp.flags();
        let options = TcpOptions::parse(tcp.options());
        let back = (flow.1, flow.0);
        if flags.contains(TcpFlags::SYN) {
            let offer = Offer {
                options,
                isn: tcp.seq(),
                ecn: flags.contains(TcpFlags::ECE),
            };
            let renewed = self
                .senders
                .get(&flow)
                .and_then(|sender| sender.offer)
                .is_none_or(|old| old.isn != offer.isn);
            if renewed {
                self.senders.insert(
                    flow,
                    Sender {
                        offer: Some(offer),
                        ..Sender::default()
                    },
                );
                if !flags.contains(TcpFlags::ACK) {
                    self.senders.remove(&back);
                }
            }
        }
        if flags.contains(TcpFlags::RST) {
            if let Some(sender) = self.senders.get_mut(&flow) {
                sender.reset = Reset::Yes;
            }
            return Ok(());
        }
        let ours = self.senders.get(&flow).copied().unwrap_or_default();
        let theirs = self.senders.get(&back).copied().unwrap_or_default();
        check_options(flags, &options, ours.offer, theirs.offer)?;
        check_length(tcp, theirs)?;
        check_end(tcp, &ours)?;
        check_ack(tcp, &options, &ours, &theirs)?;
        check_ecn(tcp, allowed, &ours, &theirs)?;
        self.repeats(now, flow, tcp)?;
        if flags.contains(TcpFlags::ACK) {
            let scale = agreed_scale(ours.offer, theirs.offer);
            let shift = if flags.contains(TcpFlags::SYN) {
                0
            } else {
                scale
            };
            let edge = tcp.ack() + (u32::from(tcp.window()) << shift);
            // Linux answers for a request with the SYN's window scaled down, which loses its low bits.
            let lost = match ours.unscaled_edge {
                unscaled if unscaled == ours.right_edge => (1 << scale) - 1,
                _ => 0,
            };
            if let Some(before) = ours.right_edge
                && !allowed.shrink
                && (edge + lost).before(before)
            {
                let back = before.bytes_since(edge);
                return Err(format!("a right window edge {back} bytes back"));
            }
            let sender = self.senders.entry(flow).or_default();
            sender.acked = Some(tcp.ack());
            let furthest = ours.right_edge.map_or(edge, |before| before.max(edge));
            sender.right_edge = Some(furthest);
            if flags.contains(TcpFlags::SYN) {
                sender.unscaled_edge = sender.right_edge;
            }
        }
        let sender = self.senders.entry(flow).or_default();
        let end = end_of(tcp);
        sender.end = Some(sender.end.map_or(end, |before| before.max(end)));
        sender.ts = options.timestamps.map(|ts| ts.val).or(sender.ts);
        if flags.contains(TcpFlags::FIN) {
            sender.fin = Some(end - 1);
        }
        Ok(())
    }

    /// Nobody repeats himself without end, nor many times at once.
    fn repeats(&mut self, now: Instant, flow: Flow, tcp: &TcpView<'_>) -> Result<(), String> {
        let repeats = &mut self.senders.entry(flow).or_default().repeats;
        if end_of(tcp) == tcp.seq() {
            return Ok(());
        }
        if repeats.seq != tcp.seq() {
            *repeats = Repeats {
                seq: tcp.seq(),
                ..Repeats::default()
            };
        }
        repeats.silent += 1;
        repeats.at_once = if repeats.at == now {
            repeats.at_once + 1
        } else {
            1
        };
        repeats.at = now;
        if repeats.silent > MOST_SILENT {
            return Err(format!("the same {MOST_SILENT} times to a silent peer"));
        }
        // Answers to a SYN may have waited together for a neighbour.
        if repeats.at_once > MOST_AT_ONCE && !tcp.flags().contains(TcpFlags::SYN) {
            return Err(format!("the same {MOST_AT_ONCE} times at once"));
        }
        Ok(())
    }
}

/// What the circumstances of a segment allow.
#[derive(Debug, Clone, Copy)]
struct Allowed {
    /// Its window may close although it was open.
    shrink: bool,
    /// Its packet says that ECN works.
    ect: bool,
}

/// Sequence number after the segment.
fn end_of(tcp: &TcpView<'_>) -> SeqNum {
    let numbered = |flag| u32::from(tcp.flags().contains(flag));
    tcp.seq() + tcp.payload().len() as u32 + numbered(TcpFlags::SYN) + numbered(TcpFlags::FIN)
}

/// Nothing follows a FIN, and it stays where it is.
fn check_end(tcp: &TcpView<'_>, ours: &Sender) -> Result<(), String> {
    let Some(fin) = ours.fin else { return Ok(()) };
    let data_end = tcp.seq() + tcp.payload().len() as u32;
    if !tcp.payload().is_empty() && data_end.after(fin) {
        return Err("data behind its FIN".to_owned());
    }
    if tcp.flags().contains(TcpFlags::FIN) && data_end != fin {
        return Err("a FIN somewhere else".to_owned());
    }
    Ok(())
}

/// What is acknowledged was sent, and stays acknowledged; SACK blocks lie between.
fn check_ack(
    tcp: &TcpView<'_>,
    options: &TcpOptions,
    ours: &Sender,
    theirs: &Sender,
) -> Result<(), String> {
    if !tcp.flags().contains(TcpFlags::ACK) {
        return Ok(());
    }
    if let Some(before) = ours.acked
        && tcp.ack().before(before)
    {
        return Err(format!(
            "an ACK {} bytes back",
            before.bytes_since(tcp.ack())
        ));
    }
    let Some(end) = theirs.end else { return Ok(()) };
    if tcp.ack().after(end) {
        return Err("an ACK of what was never sent".to_owned());
    }
    for (index, block) in options.sack.as_slice().iter().enumerate() {
        if !block.start.before(block.end) || block.end.after(end) {
            return Err(format!("a SACK of what was never sent, {block:?}"));
        }
        if index > 0 && block.start.at_or_before(tcp.ack()) {
            return Err(format!("a SACK of what is acknowledged, {block:?}"));
        }
    }
    Ok(())
}

/// ECN only where it was agreed on, and on data only (RFC 3168 §6.1).
fn check_ecn(
    tcp: &TcpView<'_>,
    allowed: Allowed,
    ours: &Sender,
    theirs: &Sender,
) -> Result<(), String> {
    if !allowed.ect {
        return Ok(());
    }
    let asked = |sender: &Sender| sender.offer.is_some_and(|offer| offer.ecn);
    if !asked(ours) || !asked(theirs) {
        return Err("ECN that was not agreed on".to_owned());
    }
    if tcp.payload().is_empty() {
        return Err("ECN without data".to_owned());
    }
    Ok(())
}

/// The scale of an end's windows, if both agreed on scaling.
fn agreed_scale(ours: Option<Offer>, theirs: Option<Offer>) -> u8 {
    let theirs = theirs.and_then(|offer| offer.options.wscale);
    let ours = ours.and_then(|offer| offer.options.wscale);
    theirs.and(ours).unwrap_or(0).min(14)
}

/// Nothing may be used that was not agreed on.
fn check_options(
    flags: TcpFlags,
    options: &TcpOptions,
    ours: Option<Offer>,
    theirs: Option<Offer>,
) -> Result<(), String> {
    if flags.contains(TcpFlags::SYN) {
        let answers = flags.contains(TcpFlags::ACK);
        let Some(theirs) = theirs.filter(|_| answers).map(|offer| offer.options) else {
            return Ok(());
        };
        let unasked = (options.timestamps.is_some() && theirs.timestamps.is_none())
            || (options.sack_permitted && !theirs.sack_permitted)
            || (options.wscale.is_some() && theirs.wscale.is_none());
        return if unasked {
            Err("an option that the peer did not offer".to_owned())
        } else {
            Ok(())
        };
    }
    if options.mss.is_some() || options.wscale.is_some() || options.sack_permitted {
        return Err("a SYN option outside of a SYN".to_owned());
    }
    let (Some(ours), Some(theirs)) = (ours, theirs) else {
        return Ok(());
    };
    let both = |has: fn(&TcpOptions) -> bool| has(&ours.options) && has(&theirs.options);
    if options.timestamps.is_some() != both(|options| options.timestamps.is_some()) {
        return Err("timestamps against the agreement".to_owned());
    }
    if !options.sack.is_empty() && !both(|options| options.sack_permitted) {
        return Err("SACK blocks against the agreement".to_owned());
    }
    Ok(())
}

/// Not more than the peer's segment size, nor beyond its window; a FIN may stand just behind it.
fn check_length(tcp: &TcpView<'_>, theirs: Sender) -> Result<(), String> {
    let len = tcp.payload().len();
    let most = theirs
        .offer
        .map_or(536, |offer| usize::from(offer.options.mss.unwrap_or(536)));
    if len + tcp.options().len() > most && len > 0 {
        return Err(format!(
            "a payload of {len} with {} bytes of options where the MSS is {most}",
            tcp.options().len()
        ));
    }
    let end = tcp.seq() + len as u32;
    match theirs.right_edge {
        Some(edge) if len > 0 && end.after(edge) => {
            Err(format!("{} bytes beyond the window", end.bytes_since(edge)))
        }
        _ => Ok(()),
    }
}
