//! MIB counters, with the names of `/proc/net/snmp` and `/proc/net/netstat` (a prefix tells the table, as
//! `nstat` prints them). Declared once, here.

macro_rules! mib {
    ($($(#[doc = $doc:literal])* $name:ident)*) => {
        /// A MIB counter; the variant's name is the counter's name.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u16)]
        pub enum Counter { $($(#[doc = $doc])* $name,)* }

        impl Counter {
            /// All counters, in the order of their declaration.
            pub const ALL: &[Counter] = &[$(Counter::$name,)*];

            /// The counter's name as `nstat` prints it.
            pub const fn name(self) -> &'static str {
                match self { $(Counter::$name => stringify!($name),)* }
            }

            /// What is counted, in one line.
            pub const fn text(self) -> &'static str {
                match self { $(Counter::$name => concat!($($doc),*),)* }
            }
        }
    };
}

mib! {
    /// IPv4 packets received, errors included
    IpInReceives
    /// IPv4 packets dropped for header errors
    IpInHdrErrors
    /// IPv4 packets dropped because the destination is not ours
    IpInAddrErrors
    /// IPv4 packets of a protocol that nobody handles
    IpInUnknownProtos
    /// IPv4 packets handed to a transport protocol
    IpInDelivers
    /// IPv4 packets that the transports asked to be sent
    IpOutRequests
    /// IPv4 packets dropped on output (queues full)
    IpOutDiscards
    /// IPv4 packets dropped for want of a route
    IpOutNoRoutes
    /// ICMP messages received
    IcmpInMsgs
    /// ICMP messages received with errors
    IcmpInErrors
    /// ICMP messages received with a bad checksum
    IcmpInCsumErrors
    /// ICMP destination unreachable received
    IcmpInDestUnreachs
    /// ICMP time exceeded received
    IcmpInTimeExcds
    /// ICMP parameter problem received
    IcmpInParmProbs
    /// ICMP source quench received
    IcmpInSrcQuenchs
    /// ICMP echo requests received
    IcmpInEchos
    /// ICMP echo replies received
    IcmpInEchoReps
    /// ICMP messages sent
    IcmpOutMsgs
    /// ICMP messages not sent because of the global rate limit
    IcmpOutRateLimitGlobal
    /// ICMP messages not sent because of the limit per destination
    IcmpOutRateLimitHost
    /// ICMP destination unreachable sent
    IcmpOutDestUnreachs
    /// ICMP echo replies sent
    IcmpOutEchoReps
    /// Connections opened by connect
    TcpActiveOpens
    /// Connections accepted from SYN-RECEIVED
    TcpPassiveOpens
    /// Connection attempts that failed
    TcpAttemptFails
    /// Established connections that were reset
    TcpEstabResets
    /// Connections now in ESTABLISHED or CLOSE_WAIT
    TcpCurrEstab
    /// Segments received, errors included
    TcpInSegs
    /// Segments sent, retransmissions excluded
    TcpOutSegs
    /// Segments retransmitted
    TcpRetransSegs
    /// Segments received with errors
    TcpInErrs
    /// Segments sent with RST
    TcpOutRsts
    /// Segments received with a bad checksum
    TcpInCsumErrors
    /// Datagrams received for a port without a socket
    UdpNoPorts
    /// Datagrams received with errors
    UdpInErrors
    /// Datagrams received with a bad checksum
    UdpInCsumErrors
    /// SYN cookies sent
    TcpExtSyncookiesSent
    /// SYN cookies received
    TcpExtSyncookiesRecv
    /// Handshake ACKs whose SYN cookie was wrong
    TcpExtSyncookiesFailed
    /// Embryonic connections reset by a segment in SYN-RECEIVED
    TcpExtEmbryonicRsts
    /// Out-of-order data dropped to make room for data in order
    TcpExtOfoPruned
    /// Segments that echoed a timestamp never sent, in a handshake
    TcpExtTSEcrRejected
    /// Segments dropped by PAWS in an established connection
    TcpExtPAWSEstab
    /// ACKs of old data that PAWS dropped without an answer
    TcpExtPAWSOldAck
    /// Segments for TIME_WAIT with an old timestamp
    TcpExtPAWSTimewait
    /// Segments dropped because they reach past the window
    TcpExtBeyondWindow
    /// ICMP errors that arrived for a sequence number out of the window
    TcpExtOutOfWindowIcmps
    /// Mini-sockets that took over for TIME_WAIT or an orphan's FIN_WAIT2
    TcpExtTW
    /// Of them, those with a time of four seconds at most
    TcpExtTWKilled
    /// TIME_WAIT sockets that a connect of ours took the ports of
    TcpExtTWRecycled
    /// Delayed ACKs sent
    TcpExtDelayedACKs
    /// Times that quick ACK mode was entered by a duplicate
    TcpExtDelayedACKLost
    /// Connections dropped because the accept queue was full
    TcpExtListenOverflows
    /// SYNs and handshake ACKs dropped by a listener
    TcpExtListenDrops
    /// Data segments taken by the header-prediction fast path
    TcpExtTCPHPHits
    /// Pure ACKs taken by the slow path
    TcpExtTCPPureAcks
    /// Pure ACKs taken by the header-prediction fast path
    TcpExtTCPHPAcks
    /// Fast recoveries entered without SACK
    TcpExtTCPRenoRecovery
    /// Fast recoveries entered with SACK
    TcpExtTCPSackRecovery
    /// Times that the peer renounced data it had selectively acknowledged
    TcpExtTCPSACKReneging
    /// Retransmissions found lost
    TcpExtTCPLostRetransmit
    /// Segments retransmitted in fast recovery
    TcpExtTCPFastRetrans
    /// Segments retransmitted in slow start after a timeout
    TcpExtTCPSlowStartRetrans
    /// Retransmission timeouts
    TcpExtTCPTimeouts
    /// Recoveries without SACK that ended in a timeout
    TcpExtTCPRenoRecoveryFail
    /// Recoveries with SACK that ended in a timeout
    TcpExtTCPSackRecoveryFail
    /// Timeouts after duplicate ACKs, without SACK
    TcpExtTCPRenoFailures
    /// Timeouts after SACKs
    TcpExtTCPSackFailures
    /// Timeouts of what was sent after another timeout, before that was over
    TcpExtTCPLossFailures
    /// Tail loss probes sent
    TcpExtTCPLossProbes
    /// Tail losses that a probe repaired
    TcpExtTCPLossProbeRecovery
    /// DSACKs sent for old data
    TcpExtTCPDSACKOldSent
    /// DSACKs sent for out-of-order data
    TcpExtTCPDSACKOfoSent
    /// DSACKs received
    TcpExtTCPDSACKRecv
    /// DSACKs received for data above the cumulative acknowledgement
    TcpExtTCPDSACKOfoRecv
    /// Segments that DSACKs reported
    TcpExtTCPDSACKRecvSegs
    /// DSACKs that lie before the last recovery
    TcpExtTCPDSACKIgnoredOld
    /// DSACKs on a connection that never had a recovery
    TcpExtTCPDSACKIgnoredNoUndo
    /// DSACKs for more than was ever sent again, or than a window holds
    TcpExtTCPDSACKIgnoredDubious
    /// SACK blocks of what is not in the network
    TcpExtTCPSACKDiscard
    /// Times that reordering was seen by SACK
    TcpExtTCPSACKReorder
    /// Times that reordering was seen by duplicate ACKs
    TcpExtTCPRenoReorder
    /// Connections reset because data came after close, or by SO_LINGER of zero
    TcpExtTCPAbortOnData
    /// Connections reset because of close with unread data
    TcpExtTCPAbortOnClose
    /// Connections reset for want of memory
    TcpExtTCPAbortOnMemory
    /// Connections given up after too many timeouts
    TcpExtTCPAbortOnTimeout
    /// Connections reset because TCP_LINGER2 leaves no time for the peer's FIN
    TcpExtTCPAbortOnLinger
    /// Segments that a socket refused for want of memory
    TcpExtTCPRcvQDrop
    /// Handshake ACKs without data that TCP_DEFER_ACCEPT ignored
    TcpExtTCPDeferAcceptDrop
    /// SYNs answered with a cookie because the request queue was full
    TcpExtTCPReqQFullDoCookies
    /// SYNs dropped because the request queue was full
    TcpExtTCPReqQFullDrop
    /// Segments merged by GRO into the one before
    TcpExtTCPRcvCoalesce
    /// Out-of-order segments received
    TcpExtTCPOFOQueue
    /// Out-of-order segments dropped
    TcpExtTCPOFODrop
    /// Out-of-order segments that brought nothing new, or that a later one covers
    TcpExtTCPOFOMerge
    /// Challenge ACKs sent
    TcpExtTCPChallengeACK
    /// Challenge ACKs sent for a SYN
    TcpExtTCPSYNChallenge
    /// SYN-ACKs retransmitted, and SYNs
    TcpExtTCPSynRetrans
    /// Segments of new data sent
    TcpExtTCPOrigDataSent
    /// Windows that went to zero
    TcpExtTCPToZeroWindowAdv
    /// Windows that opened again
    TcpExtTCPFromZeroWindowAdv
    /// Zero windows advertised
    TcpExtTCPWantZeroWindowAdv
    /// Duplicate ACKs suppressed by the rate limit in SYN-RECEIVED
    TcpExtTCPACKSkippedSynRecv
    /// Connections whose SYN carried data that the server took
    TcpExtTCPFastOpenActive
    /// Connections whose SYN carried data that the server did not take
    TcpExtTCPFastOpenActiveFail
    /// Connections opened by the data of a SYN
    TcpExtTCPFastOpenPassive
    /// SYNs with a bad Fast Open cookie, or without room for the connection
    TcpExtTCPFastOpenPassiveFail
    /// SYNs that a full Fast Open queue made open as usual
    TcpExtTCPFastOpenListenOverflow
    /// Fast Open cookies asked for
    TcpExtTCPFastOpenCookieReqd
    /// Times that Fast Open paused because a path swallows it
    TcpExtTCPFastOpenBlackhole
    /// Connections opened by a cookie of the second key
    TcpExtTCPFastOpenPassiveAltKey
    /// Duplicate ACKs suppressed by the rate limit, PAWS
    TcpExtTCPACKSkippedPAWS
    /// Duplicate ACKs suppressed by the rate limit, sequence
    TcpExtTCPACKSkippedSeq
    /// Duplicate ACKs suppressed by the rate limit, challenge
    TcpExtTCPACKSkippedChallenge
    /// Duplicate ACKs suppressed by the rate limit, FIN_WAIT2
    TcpExtTCPACKSkippedFinWait2
    /// Duplicate ACKs suppressed by the rate limit, TIME_WAIT
    TcpExtTCPACKSkippedTimeWait
    /// Window probes sent without data
    TcpExtTCPWinProbe
    /// Keepalive probes sent
    TcpExtTCPKeepAlive
    /// Times that memory pressure began
    TcpExtTCPMemoryPressures
    /// Milliseconds under memory pressure
    TcpExtTCPMemoryPressuresChrono
    /// Times that a receive queue was pruned for want of memory
    TcpExtPruneCalled
    /// Segments dropped because pruning did not help
    TcpExtRcvPruned
    /// Segments without a signature from peers with a key (RFC 2385)
    TcpExtTCPMD5NotFound
    /// Segments with a signature from peers without a key
    TcpExtTCPMD5Unexpected
    /// Segments whose signature was wrong
    TcpExtTCPMD5Failure
    /// Segments that the peer has got, by ACK or SACK
    TcpExtTCPDelivered
    /// Of them, those whose ACK echoed congestion (ECE)
    TcpExtTCPDeliveredCE
    /// IPv4 packets received without an ECN mark
    IpExtInNoECTPkts
    /// IPv4 packets received with the mark ECT(1)
    IpExtInECT1Pkts
    /// IPv4 packets received with the mark ECT(0)
    IpExtInECT0Pkts
    /// IPv4 packets received with the mark CE: congestion
    IpExtInCEPkts
    /// Data segments whose checksum the device had verified
    MillraceCsumByDevice
    /// Stale socket ids that were presented
    MillraceStaleIds
    /// Entries of a socket's error queue (transmit timestamps) lost because the receive buffer was used up
    MillraceErrQueueFull
    /// Control segments dropped because their queue was full
    MillraceCtlQueueFull
    /// Bytes lent to in-loop services straight from a frame
    MillraceLentBytes
    /// Received bytes copied into a ring
    MillraceRingBytes
    /// Timer budget exhausted in one tick
    MillraceTickBudget
    /// TIME_WAIT sockets closed early because the table was full
    MillraceTimeWaitOverflow
    /// Path MTU lowered by ICMP
    MillracePmtuLowered
}

/// The counters of one shard.
#[derive(Clone)]
pub struct Mib {
    values: [u64; Counter::ALL.len()],
}

impl Default for Mib {
    fn default() -> Self {
        Self {
            values: [0; Counter::ALL.len()],
        }
    }
}

impl Mib {
    /// Adds one.
    #[inline]
    pub(crate) fn inc(&mut self, counter: Counter) {
        self.values[counter as usize] += 1;
    }

    /// Adds `n`.
    #[inline]
    pub(crate) fn add(&mut self, counter: Counter, n: u64) {
        self.values[counter as usize] += n;
    }

    /// Takes one from a gauge.
    pub(crate) fn dec(&mut self, counter: Counter) {
        let value = &mut self.values[counter as usize];
        *value = value.saturating_sub(1);
    }

    /// The value of a counter.
    pub fn value(&self, counter: Counter) -> u64 {
        self.values[counter as usize]
    }

    /// The value of the counter with this name (`TcpExtTCPHPHits`).
    pub fn get(&self, name: &str) -> Option<u64> {
        self.iter()
            .find(|(n, _)| *n == name)
            .map(|(_, value)| value)
    }

    /// All counters with their names, in a fixed order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Counter::ALL.iter().map(|c| (c.name(), self.value(*c)))
    }
}
