//! Looks at every frame that a node sends and says when it breaks a promise.
//!
//! What is known here is what the peer has *sent*, which is at least what the sender has received: a sender that keeps
//! within it may still be wrong, one that does not is.

use std::collections::BTreeMap;
use std::hash::Hasher;
use std::net::SocketAddrV4;

use millrace_wire::ethernet::{EtherType, EthernetView};
use millrace_wire::ipv4::{Ipv4View, protocol};
use millrace_wire::seq::SeqNum;
use millrace_wire::tcp::{TcpFlags, TcpOptions, TcpView};
use millrace_wire::time::Instant;

use super::Violation;

/// A direction of a connection: who sends to whom.
type Flow = (SocketAddrV4, SocketAddrV4);

/// What an end has said in its SYN.
#[derive(Debug, Clone, Copy)]
struct Offer {
    options: TcpOptions,
    isn: SeqNum,
}

/// What a sender has said so far.
#[derive(Debug, Clone, Copy, Default)]
struct Sender {
    offer: Option<Offer>,
    /// The furthest right edge of the window it has offered.
    right_edge: Option<SeqNum>,
    /// That edge, when a SYN segment offered it, whose window is not scaled.
    unscaled_edge: Option<SeqNum>,
}

/// The observer of one run.
#[derive(Debug)]
pub(super) struct Watch {
    mtus: [usize; 2],
    senders: BTreeMap<Flow, Sender>,
    hash: std::hash::DefaultHasher,
    frames: u64,
}

impl Watch {
    pub(super) fn new(mtus: [u16; 2]) -> Self {
        Self {
            mtus: mtus.map(usize::from),
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
        self.check(node, frame)
            .map_err(|what| Violation::new(format!("node {node} sent {what}")))
    }

    fn check(&mut self, node: usize, frame: &[u8]) -> Result<(), String> {
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
        self.segment(flow, &tcp).map_err(|what| {
            let (from, to) = flow;
            let (seq, ack) = (tcp.seq(), tcp.ack());
            format!(
                "{what}: {from} > {to} {:?} seq {seq:?} ack {ack:?} len {}",
                tcp.flags(),
                tcp.payload().len()
            )
        })
    }

    fn segment(&mut self, flow: Flow, tcp: &TcpView<'_>) -> Result<(), String> {
        let flags = tcp.flags();
        let options = TcpOptions::parse(tcp.options());
        let back = (flow.1, flow.0);
        if flags.contains(TcpFlags::SYN) {
            let offer = Offer {
                options,
                isn: tcp.seq(),
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
            return Ok(());
        }
        let ours = self.senders.get(&flow).copied().unwrap_or_default();
        let theirs = self.senders.get(&back).copied().unwrap_or_default();
        check_options(flags, &options, ours.offer, theirs.offer)?;
        check_length(tcp, theirs)?;
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
                && (edge + lost).before(before)
            {
                let back = before.bytes_since(edge);
                return Err(format!("a right window edge {back} bytes back"));
            }
            let sender = self.senders.entry(flow).or_default();
            let furthest = ours.right_edge.map_or(edge, |before| before.max(edge));
            sender.right_edge = Some(furthest);
            if flags.contains(TcpFlags::SYN) {
                sender.unscaled_edge = sender.right_edge;
            }
        }
        Ok(())
    }
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
