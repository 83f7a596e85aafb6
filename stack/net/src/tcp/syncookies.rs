//! SYN cookies (RFC 4987 §3.6; Linux `syncookies.c`): under a flood of SYNs the state of a handshake travels in the
//! SYN-ACK's sequence number and timestamp, and comes back with the third ACK. Nothing is kept for such a SYN.
//!
//! The sequence number is 28 bits of a keyed hash of the tuple, the peer's initial sequence number, the minute and the
//! MSS, and four bits in the clear: two of the minute, two for the MSS. Linux adds two hashes instead, to hide those
//! four; in the clear they let one hash, or none, judge what comes back. A blind guess succeeds as seldom as there:
//! 8 of 2^32 numbers are right at any time.

use crate::core::Ctx;
use crate::keys::Keys;
use crate::sysctl::Sysctl;
use crate::tcp::demux::Tuple;
use core::time::Duration;
use millrace_wire::seq::SeqNum;
use millrace_wire::tcp::options::TcpOptions;
use millrace_wire::time::Instant;

/// How long after the last cookie sent an ACK may bring one (Linux `TCP_SYNCOOKIE_VALID`).
pub(crate) const VALID: Duration = Duration::from_secs(MAX_AGE as u64 * PERIOD_SECS);

/// The minute that a cookie is made of changes this often (Linux `TCP_SYNCOOKIE_PERIOD`).
const PERIOD_SECS: u64 = 60;
/// Minutes that are accepted: this one and the one before (Linux `MAX_SYNCOOKIE_AGE`).
const MAX_AGE: u32 = 2;
/// Segment sizes that a cookie can tell of; a peer's is rounded down (Linux `msstab`).
const MSS_TABLE: [u16; 4] = [536, 1300, 1440, 1460];
/// The bits in the clear.
const CLEAR_BITS: u32 = 0xf;

/// Low bits of the timestamp (Linux `TS_OPT_*`): the window scale, all ones for none; SACK; ECN.
const TS_BITS: u32 = 6;
const TS_WSCALE: u32 = 0xf;
const TS_SACK: u32 = 1 << 4;
const TS_ECN: u32 = 1 << 5;

fn minute(now: Instant) -> u32 {
    (now.as_millis() / 1000 / PERIOD_SECS) as u32
}

fn mss_index(mss: u16) -> u32 {
    MSS_TABLE.iter().rposition(|m| *m <= mss).unwrap_or(0) as u32
}

fn cookie(keys: &Keys, tuple: &Tuple, irs: SeqNum, minute: u32, index: u32) -> u32 {
    let clear = (minute & 3) << 2 | index;
    let hash = keys.syn_cookie(tuple, irs, minute << 2 | index);
    hash & !CLEAR_BITS | clear
}

/// The initial sequence number that says it all. `mss` is the peer's.
pub(crate) fn issue(keys: &Keys, tuple: &Tuple, irs: SeqNum, mss: u16, now: Instant) -> SeqNum {
    SeqNum::new(cookie(keys, tuple, irs, minute(now), mss_index(mss)))
}

/// The MSS of the peer if `iss` is a cookie that was issued for this tuple and `irs` not long ago. At most one hash.
pub(crate) fn check(
    keys: &Keys,
    tuple: &Tuple,
    irs: SeqNum,
    iss: SeqNum,
    now: Instant,
) -> Option<u16> {
    let (now, index) = (minute(now), iss.raw() & 3);
    let age = now.wrapping_sub(iss.raw() >> 2) & 3;
    if age >= MAX_AGE {
        return None;
    }
    let expected = cookie(keys, tuple, irs, now.wrapping_sub(age), index);
    (expected == iss.raw()).then(|| MSS_TABLE[index as usize])
}

/// What the timestamp of a cookie SYN-ACK carries besides the time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Carried {
    /// The peer's window scale, at most 14.
    pub wscale: Option<u8>,
    pub sack: bool,
    pub ecn: bool,
}

/// The clock, set back to the newest value that ends in these bits (Linux `cookie_init_timestamp`); the offset of the
/// connection is not in it yet.
pub(crate) fn timestamp(clock: u32, carried: Carried) -> u32 {
    let bits = carried.wscale.map_or(TS_WSCALE, |s| u32::from(s.min(14)))
        | if carried.sack { TS_SACK } else { 0 }
        | if carried.ecn { TS_ECN } else { 0 };
    let ts = clock >> TS_BITS << TS_BITS | bits;
    if ts > clock {
        ts.wrapping_sub(1 << TS_BITS)
    } else {
        ts
    }
}

/// What comes back in the echo, with the offset taken off (Linux `cookie_timestamp_decode`); none when it names what
/// our settings would never have agreed to.
pub(crate) fn carried(echo: u32, sysctl: &Sysctl) -> Option<Carried> {
    let wscale = (echo & TS_WSCALE != TS_WSCALE).then_some((echo & TS_WSCALE) as u8);
    let carried = Carried {
        wscale,
        sack: echo & TS_SACK != 0,
        ecn: echo & TS_ECN != 0,
    };
    let legal = (!carried.sack || sysctl.tcp_sack)
        && (wscale.is_none() || sysctl.tcp_window_scaling)
        && sysctl.tcp_timestamps != 0;
    legal.then_some(carried)
}

/// What an ACK with these options settles; without timestamps nothing but the MSS was agreed.
pub(crate) fn settle(ctx: &Ctx, options: &TcpOptions, ts_offset: u32) -> Option<Carried> {
    match options.timestamps {
        Some(ts) if ts.ecr != 0 => carried(ts.ecr.wrapping_sub(ts_offset), &ctx.sysctl),
        Some(_) => carried(0, &ctx.sysctl),
        None => Some(Carried {
            wscale: None,
            sack: false,
            ecn: false,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;
    use proptest::prelude::*;

    fn tuple(port: u16) -> Tuple {
        Tuple {
            local: Ipv4Addr::new(10, 0, 0, 2),
            remote: Ipv4Addr::new(10, 0, 0, 1),
            lport: 80,
            rport: port,
        }
    }

    fn at(secs: u64) -> Instant {
        Instant::from_nanos(secs * 1_000_000_000)
    }

    proptest! {
        #[test]
        fn what_was_issued_is_recognised(
            mss in 1u16..=u16::MAX, port: u16, irs: u32, born in 0u64..1 << 33, age in 0u64..60,
        ) {
            let keys = Keys::new(&[7; 32]);
            let (t, irs) = (tuple(port), SeqNum::new(irs));
            let iss = issue(&keys, &t, irs, mss, at(born));
            let got = check(&keys, &t, irs, iss, at(born + age));
            let largest = MSS_TABLE.into_iter().filter(|m| *m <= mss).max();
            prop_assert_eq!(got, Some(largest.unwrap_or(536)));
            // Whatever the peer changes, it is no cookie of ours any more.
            prop_assert_eq!(check(&keys, &tuple(port ^ 1), irs, iss, at(born)), None);
            prop_assert_eq!(check(&keys, &t, irs + 1, iss, at(born)), None);
            for bit in 0..32 {
                let forged = SeqNum::new(iss.raw() ^ 1 << bit);
                prop_assert_eq!(check(&keys, &t, irs, forged, at(born)), None);
            }
        }

        #[test]
        fn a_timestamp_carries_every_agreement(clock: u32, wscale in prop::option::of(0u8..=14), sack: bool, ecn: bool) {
            let told = Carried { wscale, sack, ecn };
            let ts = timestamp(clock, told);
            prop_assert_eq!(carried(ts, &Sysctl::default()), Some(told));
            // It is the clock, up to 64 ms late.
            prop_assert!(clock.wrapping_sub(ts) < 64);
        }
    }

    #[test]
    fn a_cookie_lives_for_the_minute_after_its_own() {
        let keys = Keys::new(&[7; 32]);
        let (t, irs) = (tuple(1), SeqNum::new(5));
        let iss = issue(&keys, &t, irs, 1460, at(59));
        assert_eq!(check(&keys, &t, irs, iss, at(119)), Some(1460));
        assert_eq!(check(&keys, &t, irs, iss, at(120)), None, "too old");
        assert_eq!(
            check(&keys, &t, irs, iss, at(59 + 4 * 60)),
            None,
            "the clear bits come round, the hash does not"
        );
    }

    #[test]
    fn settings_forbid_what_was_never_offered() {
        let mut sysctl = Sysctl {
            tcp_sack: false,
            ..Sysctl::default()
        };
        assert_eq!(carried(TS_SACK | TS_WSCALE, &sysctl), None);
        sysctl.tcp_window_scaling = false;
        assert_eq!(carried(7, &sysctl), None);
        assert!(carried(TS_WSCALE, &sysctl).is_some());
    }

    /// Attack row 2: a million forged numbers. 8 of 2^32 would be right, so one success is already a sign of trouble;
    /// and half of them are refused without any hash.
    #[test]
    fn a_million_forgeries() {
        let mut keys = Keys::new(&[9; 32]);
        let now = at(1_000_000);
        let before = keys.cookie_hashes();
        let accepted = (0..1_000_000u32)
            .filter(|i| {
                let guess = SeqNum::new(keys.random() as u32);
                check(&keys, &tuple(*i as u16), SeqNum::new(*i), guess, now).is_some()
            })
            .count();
        assert_eq!(accepted, 0);
        let hashes = keys.cookie_hashes() - before;
        assert!((490_000..510_000).contains(&hashes), "{hashes}");
    }
}
