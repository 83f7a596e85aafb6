//! Secrets of a stack: keyed hashes for tables, initial sequence numbers, timestamp offsets and ports. All come
//! from one seed: the operating system's randomness at start, the run's seed in the lab.

use crate::tcp::demux::Tuple;
use crate::tcp::fastopen::FastOpenKeys;
use core::hash::{BuildHasher, Hasher};
use millrace_wire::seq::SeqNum;
use millrace_wire::time::Instant;
use siphasher::sip::SipHasher13;

/// A pair of SipHash keys per purpose, so that no answer for one purpose tells of another.
#[derive(Clone)]
pub(crate) struct Keys {
    flow: SipHasher13,
    isn: SipHasher13,
    ts_offset: SipHasher13,
    port: SipHasher13,
    syn_cookie: SipHasher13,
    fastopen: [u8; 16],
    /// State of the generator for what need not be repeatable per tuple.
    random: u64,
    /// Ports handed out so far, by hash of the destination (Linux `table_perturb`); empty before the first.
    port_counters: Box<[u32]>,
    /// SYN cookies computed: what a flood may cost.
    #[cfg(test)]
    cookie_hashes: core::cell::Cell<u64>,
}

/// Number of port counters (Linux `INET_TABLE_PERTURB_SIZE`).
const PORT_COUNTERS: usize = 1 << 16;
/// Ports are skipped at random, fewer than this many.
const PORT_STEP: u32 = 8;

/// Where a search for an ephemeral port starts.
pub(crate) struct PortOffset {
    /// To be taken modulo the number of ports.
    pub start: u32,
    counter: usize,
}

impl Keys {
    pub(crate) fn new(seed: &[u8; 32]) -> Self {
        let (a, b) = seed.split_at(16);
        let word = |half: &[u8], i: usize| {
            half[i * 8..i * 8 + 8]
                .iter()
                .fold(0u64, |w, b| w << 8 | u64::from(*b))
        };
        let root = SipHasher13::new_with_keys(word(a, 0), word(a, 1) ^ word(b, 0));
        let derive = |purpose: u64| {
            let half = |n: u64| {
                let mut h = root;
                h.write_u64(purpose << 8 | n);
                h.write_u64(word(b, 1));
                h.finish()
            };
            SipHasher13::new_with_keys(half(0), half(1))
        };
        let mut random = derive(5);
        random.write_u8(0);
        Self {
            flow: derive(1),
            isn: derive(2),
            ts_offset: derive(3),
            port: derive(4),
            syn_cookie: derive(6),
            fastopen: {
                let (low, high) = (derive(7).finish(), derive(8).finish());
                (u128::from(high) << 64 | u128::from(low)).to_le_bytes()
            },
            random: random.finish() | 1,
            port_counters: Box::default(),
            #[cfg(test)]
            cookie_hashes: Default::default(),
        }
    }

    fn tuple(hasher: &SipHasher13, t: &Tuple) -> u64 {
        let mut bytes = [0; 12];
        bytes[0..4].copy_from_slice(&t.remote.to_bits().to_le_bytes());
        bytes[4..8].copy_from_slice(&t.local.to_bits().to_le_bytes());
        bytes[8..10].copy_from_slice(&t.rport.to_le_bytes());
        bytes[10..12].copy_from_slice(&t.lport.to_le_bytes());
        // In one piece: a hasher that is fed by and by keeps account of what it has.
        hasher.hash(&bytes)
    }

    pub(crate) fn flow_hash(&self, t: &Tuple) -> u32 {
        Self::tuple(&self.flow, t) as u32
    }

    /// RFC 6528: a keyed function of the tuple plus a clock of one step per 64 ns (Linux `seq_scale`).
    pub(crate) fn isn(&self, t: &Tuple, now: Instant) -> SeqNum {
        SeqNum::new((Self::tuple(&self.isn, t) as u32).wrapping_add((now.as_nanos() >> 6) as u32))
    }

    /// What proves a SYN cookie ours: the tuple, the peer's initial sequence number, and `data`, all in one hash.
    pub(crate) fn syn_cookie(&self, t: &Tuple, irs: SeqNum, data: u32) -> u32 {
        #[cfg(test)]
        self.cookie_hashes.set(self.cookie_hashes.get() + 1);
        let mut h = self.syn_cookie;
        h.write_u64(u64::from(t.local.to_bits()) << 32 | u64::from(t.remote.to_bits()));
        h.write_u64(u64::from(t.lport) << 48 | u64::from(t.rport) << 32 | u64::from(irs.raw()));
        h.write_u32(data);
        h.finish() as u32
    }

    /// The key of Fast Open cookies while none is configured.
    pub(crate) fn fastopen(&self) -> FastOpenKeys {
        FastOpenKeys {
            primary: self.fastopen,
            backup: None,
        }
    }

    #[cfg(test)]
    pub(crate) fn cookie_hashes(&self) -> u64 {
        self.cookie_hashes.get()
    }

    /// Offset of the timestamp clock towards one peer address pair (Linux `secure_tcp_ts_off`).
    pub(crate) fn ts_offset(&self, t: &Tuple) -> u32 {
        Self::tuple(
            &self.ts_offset,
            &Tuple {
                lport: 0,
                rport: 0,
                ..*t
            },
        ) as u32
    }

    /// Where the search for an ephemeral port starts for this destination (RFC 6056 algorithm 4): an offset and a
    /// counter, both found by a keyed hash. The counters come into being with the first search.
    pub(crate) fn port_offset(&mut self, t: &Tuple) -> PortOffset {
        let hash = Self::tuple(&self.port, &Tuple { lport: 0, ..*t });
        if self.port_counters.is_empty() {
            self.port_counters = vec![0; PORT_COUNTERS].into_boxed_slice();
        }
        let counter = hash as usize % PORT_COUNTERS;
        PortOffset {
            start: ((hash >> 32) as u32).wrapping_add(self.port_counters[counter]),
            counter,
        }
    }

    /// The search ended `distance` ports from its start, in strides of `stride`: the next one for this destination
    /// starts behind, by a random distance that keeps the next port from being guessed.
    pub(crate) fn port_chosen(&mut self, offset: &PortOffset, distance: u32, stride: u32) {
        let random = (self.random() >> 32) as u32 % PORT_STEP;
        if let Some(counter) = self.port_counters.get_mut(offset.counter) {
            *counter = counter.wrapping_add(distance.max(random * stride) + stride);
        }
    }

    /// The next number of the stack's own generator (xorshift64*); not for secrets.
    pub(crate) fn random(&mut self) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        self.random.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

/// Hasher state for small tables keyed by ports that we hand out ourselves; the same in every run.
#[derive(Clone, Copy, Default)]
pub(crate) struct FixedState;

impl BuildHasher for FixedState {
    type Hasher = SipHasher13;
    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(0, 0)
    }
}
