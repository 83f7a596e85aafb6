//! What servers gave us: cookie and MSS per pair of addresses (Linux keeps them with the TCP metrics). Bounded; the one
//! longest unused goes.

use crate::keys::FixedState;
use core::net::Ipv4Addr;
use lru::LruCache;
use millrace_wire::tcp::options::FastOpen;

/// Most servers remembered.
const LIMIT: usize = 1024;

/// Whom a cookie is from, and which address of ours it is for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Pair {
    pub local: Ipv4Addr,
    pub remote: Ipv4Addr,
}

/// What is known of a server.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Known {
    /// Its MSS, octets; 0 when it is not known.
    pub mss: u16,
    pub cookie: Option<FastOpen>,
    /// The next request: 1 under the experimental number, 2 under the right one again (Linux `try_exp`).
    pub try_experimental: u8,
}

/// Never iterated, so its order never shows.
pub(crate) struct Cache(LruCache<Pair, Known, FixedState>);

impl Default for Cache {
    fn default() -> Self {
        Self(LruCache::unbounded_with_hasher(FixedState))
    }
}

impl Cache {
    pub(crate) fn get(&mut self, pair: Pair) -> Known {
        self.0.get(&pair).copied().unwrap_or_default()
    }

    /// The server answered (Linux `tcp_fastopen_cache_set`).
    pub(crate) fn learn(&mut self, pair: Pair, mss: u16, cookie: Option<FastOpen>, try_exp: u8) {
        let mut known = self.get(pair);
        known.mss = mss;
        if cookie.is_some() {
            known.cookie = cookie;
        } else if known.cookie.is_none() {
            known.try_experimental = known.try_experimental.max(try_exp);
        }
        if self.0.len() >= LIMIT && !self.0.contains(&pair) {
            self.0.pop_lru();
        }
        self.0.put(pair, known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(n: u32) -> Pair {
        Pair {
            local: Ipv4Addr::new(10, 0, 0, 1),
            remote: Ipv4Addr::from_bits(n),
        }
    }

    #[test]
    fn the_longest_unused_goes() {
        let mut cache = Cache::default();
        let cookie = FastOpen::cookie(&[1; 8], false);
        for n in 0..LIMIT as u32 {
            cache.learn(pair(n), 1460, cookie, 0);
        }
        assert_eq!(cache.get(pair(0)).cookie, cookie);
        cache.learn(pair(5000), 1460, cookie, 0);
        assert_eq!(cache.get(pair(1)).cookie, None, "forgotten");
        assert_eq!(cache.get(pair(0)).cookie, cookie, "used a moment ago");
        assert_eq!(cache.0.len(), LIMIT);
        // A server that answers without a cookie keeps the one it gave.
        cache.learn(pair(0), 1200, None, 1);
        let known = cache.get(pair(0));
        assert_eq!(
            (known.mss, known.cookie, known.try_experimental),
            (1200, cookie, 0)
        );
    }
}
