//! Cookies: SipHash of the addresses under a key that all servers of a service may share (Linux
//! `__tcp_fastopen_cookie_gen_cipher`).

use crate::tcp::demux::Tuple;
use core::hash::Hasher;
use millrace_wire::tcp::options::FastOpen;
use siphasher::sip::SipHasher24;

/// Octets of a key.
const KEY_LEN: usize = 16;

/// A key, and a second one whose cookies are still taken while the first is being changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FastOpenKeys {
    /// Cookies are made with this one.
    pub primary: [u8; KEY_LEN],
    /// Cookies made with this one are taken too.
    pub backup: Option<[u8; KEY_LEN]>,
}

impl FastOpenKeys {
    /// The value of TCP_FASTOPEN_KEY: 16 octets, or 32 with a second key. `None` for another length.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (primary, rest) = bytes.split_first_chunk::<KEY_LEN>()?;
        let backup = match rest {
            [] => None,
            rest => Some(<[u8; KEY_LEN]>::try_from(rest).ok()?),
        };
        Some(Self {
            primary: *primary,
            backup,
        })
    }

    /// The same octets again.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.primary.to_vec();
        bytes.extend(self.backup.iter().flatten());
        bytes
    }

    /// The text of `tcp_fastopen_key`: four words of eight hexadecimal digits, and four more after a comma.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut keys = text.trim().split(',').map(parse_key);
        let primary = keys.next()??;
        let backup = match keys.next() {
            None => None,
            Some(key) => Some(key?),
        };
        keys.next().is_none().then_some(Self { primary, backup })
    }

    pub(crate) fn print(&self) -> String {
        let mut text = print_key(&self.primary);
        if let Some(backup) = &self.backup {
            text.push(',');
            text.push_str(&print_key(backup));
        }
        text
    }
}

fn parse_key(text: &str) -> Option<[u8; KEY_LEN]> {
    let mut key = [0; KEY_LEN];
    let mut words = text.split('-');
    for place in key.chunks_exact_mut(4) {
        let word = words.next().filter(|w| (1..=8).contains(&w.len()))?;
        place.copy_from_slice(&u32::from_str_radix(word, 16).ok()?.to_le_bytes());
    }
    words.next().is_none().then_some(key)
}

fn print_key(key: &[u8; KEY_LEN]) -> String {
    let (words, _) = key.as_chunks::<4>();
    let words = words
        .iter()
        .map(|w| format!("{:08x}", u32::from_le_bytes(*w)));
    words.collect::<Vec<_>>().join("-")
}

/// What a cookie is worth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Match {
    Primary,
    Backup,
    None,
}

fn generate(key: &[u8; KEY_LEN], tuple: &Tuple, experimental: bool) -> Option<FastOpen> {
    let mut hasher = SipHasher24::new_with_key(key);
    let mut addresses = [0; 8];
    addresses[..4].copy_from_slice(&tuple.remote.octets());
    addresses[4..].copy_from_slice(&tuple.local.octets());
    hasher.write(&addresses);
    FastOpen::cookie(&hasher.finish().to_le_bytes(), experimental)
}

/// The cookie for a peer.
pub(crate) fn issue(keys: &FastOpenKeys, tuple: &Tuple, experimental: bool) -> Option<FastOpen> {
    generate(&keys.primary, tuple, experimental)
}

/// Whether the peer's cookie is one of ours.
pub(crate) fn check(keys: &FastOpenKeys, tuple: &Tuple, cookie: &FastOpen) -> Match {
    let is = |key: &[u8; KEY_LEN]| {
        generate(key, tuple, false).is_some_and(|c| c.as_bytes() == cookie.as_bytes())
    };
    if is(&keys.primary) {
        Match::Primary
    } else if keys.backup.as_ref().is_some_and(is) {
        Match::Backup
    } else {
        Match::None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;

    const TEXT: &str = "00010203-04050607-08090a0b-0c0d0e0f,a0a1a2a3-00000001-00000002-00000003";

    #[test]
    fn keys_as_text_and_as_octets() {
        let keys = FastOpenKeys::parse(TEXT).unwrap();
        assert_eq!(keys.print(), TEXT);
        assert_eq!(FastOpenKeys::from_bytes(&keys.to_bytes()), Some(keys));
        assert_eq!(keys.primary[..4], [3, 2, 1, 0]);
        for bad in [
            "",
            "1-2-3",
            "1-2-3-4-5",
            "1-2-3-x",
            "1-2-3-4,",
            "1-2-3-4,5-6-7-8,9-1-2-3",
        ] {
            assert_eq!(FastOpenKeys::parse(bad), None, "{bad}");
        }
        for len in [0, 15, 17, 31, 33] {
            assert_eq!(FastOpenKeys::from_bytes(&vec![1; len]), None);
        }
    }

    /// A service may run on Linux and here under one key: the cookie was recorded from the kernel.
    #[test]
    fn the_kernel_makes_the_same_cookie() {
        let keys = FastOpenKeys::parse(TEXT).unwrap();
        let tuple = Tuple {
            local: Ipv4Addr::new(10, 9, 0, 1),
            remote: Ipv4Addr::new(10, 9, 0, 2),
            lport: 6000,
            rport: 2000,
        };
        let cookie = issue(&keys, &tuple, false).unwrap();
        assert_eq!(cookie.as_bytes(), 0xff5e_d7f0_2c1e_3143u64.to_be_bytes());
        assert_eq!(check(&keys, &tuple, &cookie), Match::Primary);
        let swapped = FastOpenKeys {
            primary: [9; 16],
            backup: Some(keys.primary),
        };
        assert_eq!(check(&swapped, &tuple, &cookie), Match::Backup);
        assert_eq!(
            check(&swapped, &tuple, &FastOpen::request(false)),
            Match::None
        );
    }
}
