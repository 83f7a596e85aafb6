//! Why a packet was refused: the one table of reasons and their counters.
//!
//! Every station that refuses a packet returns a [`DropReason`]; nothing is discarded without one, so the counters
//! add up to all that came in and did not get through. The names are what `millrace stat` and packet traces print.
//! Linux counterpart: `enum skb_drop_reason` (`include/net/dropreason-core.h`).

/// Declares the reasons once: the variant, and the text that explains it to people.
macro_rules! drop_reasons {
    ($($variant:ident => $text:literal,)+) => {
        /// Why a packet was refused.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u8)]
        pub enum DropReason {
            $(#[doc = $text] $variant,)+
        }

        impl DropReason {
            /// All reasons, in the order of their counters.
            pub const ALL: [Self; Self::COUNT] = [$(Self::$variant,)+];

            /// How many reasons there are.
            pub const COUNT: usize = [$(stringify!($variant),)+].len();

            /// The reason's name, one word, as traces and statistics print it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant),)+ }
            }

            /// The reason in a few words, for people.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }
    };
}

drop_reasons! {
    // Link.
    LinkRunt => "frame shorter than its link header",
    LinkNotOurMac => "frame addressed to another station",
    LinkUnknownEtherType => "frame carries a protocol that the stack does not speak",
    LinkVlanMismatch => "frame belongs to another VLAN",

    // ARP and neighbours.
    ArpMalformed => "ARP packet malformed, or it claims an impossible address",
    ArpNotForUs => "ARP packet about hosts that are no business of ours",
    ArpIgnored => "ARP packet ignored by policy (locktime, permanent entry, address conflict)",
    NeighQueueFull => "queue of packets waiting for a neighbour is full",
    NeighFailed => "neighbour did not answer",

    // IPv4 and routes.
    Ipv4Malformed => "IPv4 header malformed or truncated",
    Ipv4BadChecksum => "IPv4 header checksum wrong",
    Ipv4NotOurs => "IPv4 destination is not ours and forwarding is off",
    Ipv4MartianSource => "IPv4 source address cannot come from the wire",
    Ipv4BadOptions => "IPv4 options malformed",
    Ipv4SourceRoute => "IPv4 source route refused",
    Ipv4Fragment => "IPv4 fragment: reassembly is not available",
    Ipv4UnknownProtocol => "IPv4 protocol that the stack does not speak",
    NoRoute => "no route to the destination",

    // ICMP.
    IcmpMalformed => "ICMP message malformed or truncated",
    IcmpBadChecksum => "ICMP checksum wrong",
    IcmpIgnored => "ICMP message ignored by policy (broadcast echo, redirect, obsolete type)",
    IcmpNoMatch => "ICMP error about no flow of ours, or about data not in flight",
    IcmpRateLimited => "ICMP message not sent: rate limit",

    // TCP.
    TcpAuthHeader => "TCP options malformed where a signature could be, or two signatures",
    TcpMd5NotFound => "TCP segment without a signature from a peer with a key",
    TcpMd5Unexpected => "TCP segment with a signature from a peer without a key",
    TcpMd5Failure => "TCP segment whose signature is wrong",
    TcpMalformed => "TCP header malformed or truncated",
    TcpBadChecksum => "TCP checksum wrong",
    TcpNotUnicast => "TCP segment to a broadcast or multicast address",
    TcpNoSocket => "no TCP socket for this segment",
    TcpBadFlags => "TCP flags that make no sense in this state",
    TcpListenOverflow => "SYN refused: listen queue full",
    TcpAcceptQueueFull => "handshake not completed: accept queue full",
    TcpRequestTableFull => "SYN refused: request table full",
    TcpPaws => "TCP timestamp too old (PAWS)",
    TcpEcr => "TCP timestamp echoes a value that was never sent",
    TcpDeferAccept => "handshake ACK without data, which TCP_DEFER_ACCEPT ignores",
    TcpOutOfWindow => "TCP sequence number outside the receive window",
    TcpOldAck => "TCP acknowledgement too old",
    TcpAckUnsent => "TCP acknowledgement of data not yet sent",
    TcpInvalidAck => "TCP acknowledgement wrong for this state",
    TcpInvalidRst => "RST not at the expected sequence number",
    TcpInvalidSyn => "SYN in the window of a synchronized connection",
    TcpNoAck => "segment without ACK on a synchronized connection",
    TcpClosed => "TCP data after the socket was closed",
    TcpOfoLimit => "too many out-of-order ranges",
    TcpTimeWait => "segment for a connection in TIME_WAIT",

    // UDP.
    UdpMalformed => "UDP header malformed or truncated",
    UdpBadChecksum => "UDP checksum wrong",
    UdpNoPort => "no UDP socket for this port",

    // Queues and memory.
    QdiscFull => "transmit queue full",
    ControlQueueFull => "queue of control packets (ARP, ICMP, RST) full",
    NoMemory => "out of buffer memory",
}

/// How many packets were refused, per reason.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DropCounters([u64; DropReason::COUNT]);

impl DropCounters {
    /// All counters zero.
    pub const fn new() -> Self {
        Self([0; DropReason::COUNT])
    }

    /// Counts one packet.
    #[inline]
    pub fn count(&mut self, reason: DropReason) {
        self.count_many(reason, 1);
    }

    /// Counts `packets` packets that were refused together.
    #[inline]
    pub fn count_many(&mut self, reason: DropReason, packets: u64) {
        // The index is in range by construction; `get_mut` spares the data path a panic branch.
        if let Some(counter) = self.0.get_mut(reason as usize) {
            *counter = counter.wrapping_add(packets);
        }
    }

    /// Packets refused for `reason`.
    pub fn get(&self, reason: DropReason) -> u64 {
        self.0.get(reason as usize).copied().unwrap_or(0)
    }

    /// Packets refused for any reason.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Every reason with its count, in table order.
    pub fn iter(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL.into_iter().zip(self.0)
    }
}

impl Default for DropCounters {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_own_counter() {
        let mut counters = DropCounters::new();
        for (index, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(
                reason as usize,
                index,
                "{} stands out of order",
                reason.name()
            );
            counters.count_many(reason, index as u64);
        }
        for (index, (reason, count)) in counters.iter().enumerate() {
            assert_eq!((count, counters.get(reason)), (index as u64, index as u64));
        }
        let n = DropReason::COUNT as u64;
        assert_eq!(counters.total(), n * (n - 1) / 2);
    }

    #[test]
    fn names_and_texts_are_distinct() {
        let mut names: Vec<_> = DropReason::ALL.iter().map(|r| r.name()).collect();
        let mut texts: Vec<_> = DropReason::ALL.iter().map(|r| r.text()).collect();
        names.sort_unstable();
        names.dedup();
        texts.sort_unstable();
        texts.dedup();
        assert_eq!(
            (names.len(), texts.len()),
            (DropReason::COUNT, DropReason::COUNT)
        );
    }
}
