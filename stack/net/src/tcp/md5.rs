//! TCP MD5 signatures (RFC 2385; Linux `tcp_md5sig_key`, `tcp_inbound_hash`), as BGP speakers use them: every segment
//! between two addresses carries a keyed digest, and a segment without it, or with a wrong one, is as if it had never come.
//!
//! Keys hang on sockets, by the peer's prefix. A child of a listener inherits the key of its peer; mini-sockets use their
//! listener's, or carry one over into TIME_WAIT. Signed connections stay off the fast path.

use crate::core::{Socks, Stack};
use crate::drop::DropReason;
use crate::ids::SockId;
use crate::qdisc::Ctl;
use crate::sock::error::SockError;
use crate::stats::{Counter, Mib};
use crate::tcp::demux::Tuple;
use crate::tcp::input::fast;
use crate::tcp::output;
use crate::tcp::segment::{Payload, Segment};
use crate::tcp::sock::TcpSock;
use crate::tcp::sock::cold::Cold;
use crate::tcp::sock::hot::{Features, RxHot};
use crate::tcp::state::TcpState;
use core::net::Ipv4Addr;
use md5::{Digest, Md5};
use millrace_wire::ipv4::protocol;
use millrace_wire::tcp::options::{MD5_LEN, OptionsBuf, kind};
use millrace_wire::time::Instant;
use subtle::ConstantTimeEq;

/// Longest key, octets (Linux `TCP_MD5SIG_MAXKEYLEN`).
pub const MAX_KEY_LEN: usize = 80;
/// Most keys of a socket: what fits into `optmem_max` of 128 KiB in Linux.
pub const MAX_KEYS: usize = 963;
/// Length of the option in the header with its two NOPs (Linux `TCPOLEN_MD5SIG_ALIGNED`).
pub(crate) const ALIGNED_LEN: u16 = 20;
/// Octets of a digest.
const DIGEST_LEN: usize = 16;
/// Length of a TCP header without options: all of it that is signed.
const HEADER_LEN: usize = 20;
/// Where the digest stands in a segment of ours: the option comes first, behind its padding.
const DIGEST_AT: usize = HEADER_LEN + 4;

/// A secret. Never printed.
#[derive(Clone)]
pub(crate) struct Key {
    bytes: [u8; MAX_KEY_LEN],
    len: u8,
}

impl Key {
    fn new(secret: &[u8]) -> Option<Self> {
        let mut bytes = [0; MAX_KEY_LEN];
        bytes.get_mut(..secret.len())?.copy_from_slice(secret);
        Some(Self {
            bytes,
            len: secret.len() as u8,
        })
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

#[derive(Clone)]
struct Entry {
    addr: Ipv4Addr,
    prefix: u8,
    key: Key,
}

impl Entry {
    fn matches(&self, addr: Ipv4Addr) -> bool {
        let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix));
        (self.addr.to_bits() ^ addr.to_bits()) & mask.unwrap_or(0) == 0
    }
}

/// The keys of a socket, the longest prefix first.
#[derive(Clone, Default)]
pub(crate) struct Keys(Vec<Entry>);

impl Keys {
    /// The key of one peer.
    fn of_peer(addr: Ipv4Addr, key: Key) -> Self {
        Self(vec![Entry {
            addr,
            prefix: 32,
            key,
        }])
    }

    /// The key of the longest prefix that holds the address (Linux `tcp_md5_do_lookup`).
    pub(crate) fn lookup(&self, addr: Ipv4Addr) -> Option<&Key> {
        self.0.iter().find(|e| e.matches(addr)).map(|e| &e.key)
    }

    fn position(&self, addr: Ipv4Addr, prefix: u8) -> Option<usize> {
        let same = |e: &Entry| e.prefix == prefix && e.addr == addr;
        self.0.iter().position(same)
    }

    fn add(&mut self, addr: Ipv4Addr, prefix: u8, key: Key) -> Result<(), SockError> {
        if let Some(index) = self.position(addr, prefix) {
            self.0[index].key = key;
            return Ok(());
        }
        if self.0.len() >= MAX_KEYS {
            return Err(SockError::NoMemory);
        }
        let at = self.0.partition_point(|e| e.prefix >= prefix);
        self.0.insert(at, Entry { addr, prefix, key });
        Ok(())
    }

    fn remove(&mut self, addr: Ipv4Addr, prefix: u8) -> Result<(), SockError> {
        let index = self.position(addr, prefix).ok_or(SockError::NoEntry)?;
        self.0.remove(index);
        Ok(())
    }
}

impl Stack {
    /// TCP_MD5SIG, TCP_MD5SIG_EXT: the key for peers in `addr`/`prefix`, at most [`MAX_KEY_LEN`] octets; an empty one
    /// removes it. A key that is there is replaced.
    ///
    /// # Errors
    /// EINVAL for a longer key or prefix, ENOENT for the removal of a key that is not there, ENOMEM beyond
    /// [`MAX_KEYS`], EBADF.
    pub fn set_md5_key(
        &mut self,
        now: Instant,
        s: SockId,
        (addr, prefix): (Ipv4Addr, u8),
        secret: &[u8],
    ) -> Result<(), SockError> {
        self.ctx.now = now;
        if prefix > 32 {
            return Err(SockError::Invalid);
        }
        let key = Key::new(secret).ok_or(SockError::Invalid)?;
        let sk = self.sock(s)?;
        if secret.is_empty() {
            let keys = sk.cold.md5.as_mut().ok_or(SockError::NoEntry)?;
            keys.remove(addr, prefix)?;
            if keys.0.is_empty() {
                sk.cold.md5 = None;
            }
        } else {
            sk.cold.md5.get_or_insert_default().add(addr, prefix, key)?;
        }
        self.socks.md5_needed = true;
        let sk = self.socks.tcp.get_mut(s).ok_or(SockError::BadSocket)?;
        refresh(sk);
        output::compute_mss(sk, &self.ctx.sysctl);
        if sk.rx.state == TcpState::Established {
            fast::check(sk);
        }
        Ok(())
    }

    /// Is the segment what the keys of its listener ask for?
    pub(crate) fn md5_listener(
        &mut self,
        listener: SockId,
        seg: &Segment,
        payload: &Payload<'_, '_>,
    ) -> Result<(), DropReason> {
        let keys = self
            .socks
            .tcp
            .get(listener)
            .and_then(|sk| sk.cold.md5.as_deref());
        if keys.is_none() && seg.simple {
            return Ok(());
        }
        let key = keys.and_then(|k| k.lookup(seg.tuple.remote));
        inbound(key, &mut self.ctx.mib, seg, payload)
    }
}

impl Socks {
    /// The key for answers to this tuple: its socket's, or its listener's.
    pub(crate) fn reply_key(&self, tuple: &Tuple, hash: u32) -> Option<&Key> {
        use crate::ids::SockKind::{Request, Tcp, TimeWait};
        if !self.md5_needed {
            return None;
        }
        let of = |id: SockId| self.tcp.get(id)?.cold.md5.as_ref()?.lookup(tuple.remote);
        let found = self.ehash.lookup(hash, |p| match p.kind() {
            Tcp => self.tcp.at(p.index()).is_some_and(|k| k.rx.tuple == *tuple),
            Request => self
                .requests
                .at(p.index())
                .is_some_and(|r| r.tuple == *tuple),
            TimeWait => self.tw.at(p.index()).is_some_and(|t| t.tuple == *tuple),
        });
        match found.map(|p| (p.kind(), p.index())) {
            Some((Tcp, index)) => of(self.tcp.at(index)?.id()),
            Some((Request, index)) => of(self.requests.at(index)?.listener),
            Some((TimeWait, index)) => self.tw_keys.get(&index),
            None => of(self.lhash.lookup(tuple.local, tuple.lport, hash)?),
        }
    }
}

/// The socket has a peer, or its keys have changed: does it sign?
pub(crate) fn refresh(sk: &mut TcpSock) {
    let peer = sk.rx.tuple.remote;
    let signs = sk
        .cold
        .md5
        .as_ref()
        .is_some_and(|k| k.lookup(peer).is_some());
    sk.rx.features.set(Features::MD5, signs);
}

/// The key that a socket signs with.
#[inline]
pub(crate) fn key_for<'a>(rx: &RxHot, cold: &'a Cold) -> Option<&'a Key> {
    if !rx.features.contains(Features::MD5) {
        return None;
    }
    cold.md5.as_ref()?.lookup(rx.tuple.remote)
}

/// A child takes over the key of its peer alone (Linux `tcp_v4_syn_recv_sock`).
pub(crate) fn inherited(listener: &TcpSock, peer: Ipv4Addr) -> Option<Box<Keys>> {
    let key = listener.cold.md5.as_ref()?.lookup(peer)?;
    Some(Box::new(Keys::of_peer(peer, key.clone())))
}

/// What the options say about a signature.
enum Signature<'a> {
    None,
    Digest(&'a [u8; DIGEST_LEN]),
    /// Twice, or of the wrong length.
    Broken,
}

/// Linux `tcp_parse_auth_options`: looks only as far as a signature could still follow, and there a list that does not
/// add up is not forgiven.
fn find(mut options: &[u8]) -> Signature<'_> {
    let mut found = Signature::None;
    while options.len() >= usize::from(MD5_LEN) {
        match *options {
            [kind::EOL, ..] => break,
            [kind::NOP, ref behind @ ..] => options = behind,
            [ty, len, ..] if len >= 2 && usize::from(len) <= options.len() => {
                let (option, behind) = options.split_at(usize::from(len));
                if ty == kind::MD5 {
                    match (option[2..].as_array(), found) {
                        (Some(digest), Signature::None) => found = Signature::Digest(digest),
                        _ => return Signature::Broken,
                    }
                }
                options = behind;
            }
            _ => return Signature::Broken,
        }
    }
    found
}

/// The segment has the option, right or wrong.
pub(crate) fn is_signed(seg: &Segment, payload: &Payload<'_, '_>) -> bool {
    !seg.simple && !matches!(find(payload.slice(&seg.options)), Signature::None)
}

/// The check before all others (Linux `tcp_inbound_hash`): the key of this peer, if there is one, against what came.
pub(crate) fn inbound(
    key: Option<&Key>,
    mib: &mut Mib,
    seg: &Segment,
    payload: &Payload<'_, '_>,
) -> Result<(), DropReason> {
    let signature = if seg.simple {
        Signature::None
    } else {
        find(payload.slice(&seg.options))
    };
    let (digest, key) = match (signature, key) {
        (Signature::None, None) => return Ok(()),
        (Signature::None, Some(_)) => {
            mib.inc(Counter::TcpExtTCPMD5NotFound);
            return Err(DropReason::TcpMd5NotFound);
        }
        (Signature::Digest(_), None) => {
            mib.inc(Counter::TcpExtTCPMD5Unexpected);
            return Err(DropReason::TcpMd5Unexpected);
        }
        (Signature::Broken, _) => return Err(DropReason::TcpAuthHeader),
        (Signature::Digest(digest), Some(key)) => (digest, key),
    };
    let header = payload.header(&seg.options);
    let data = payload.slices(0, seg.len).map(|(_, bytes)| bytes);
    let (from, to) = (seg.tuple.remote, seg.tuple.local);
    let len = header.len() + usize::from(seg.options.len) + seg.len as usize;
    let expected = header
        .first_chunk()
        .map(|header| compute((from, to), header, len, data, key));
    if expected.is_some_and(|expected| bool::from(expected.ct_eq(digest))) {
        return Ok(());
    }
    mib.inc(Counter::TcpExtTCPMD5Failure);
    Err(DropReason::TcpMd5Failure)
}

/// RFC 2385 §2.0: pseudo-header, TCP header without options and with a checksum of zero, data, key.
fn compute<'a>(
    (from, to): (Ipv4Addr, Ipv4Addr),
    header: &[u8; HEADER_LEN],
    tcp_len: usize,
    data: impl Iterator<Item = &'a [u8]>,
    key: &Key,
) -> [u8; DIGEST_LEN] {
    const CHECKSUM: core::ops::Range<usize> = 16..18;
    let mut bare = *header;
    bare[CHECKSUM].fill(0);
    let mut md5 = Md5::new();
    md5.update(from.octets());
    md5.update(to.octets());
    md5.update([0, protocol::TCP]);
    md5.update((tcp_len as u16).to_be_bytes());
    md5.update(bare);
    for bytes in data {
        md5.update(bytes);
    }
    md5.update(key.as_bytes());
    md5.finalize().into()
}

/// Signs a segment of ours whose options begin with the room for it; the checksum comes after.
pub(crate) fn sign_segment(tuple: &Tuple, tcp: &mut [u8], key: &Key) {
    let Some((header, behind)) = tcp.split_first_chunk::<HEADER_LEN>() else {
        return;
    };
    let options = usize::from(header[12] >> 4) * 4 - HEADER_LEN;
    let data = behind.get(options..).unwrap_or_default();
    let ends = (tuple.local, tuple.remote);
    let digest = compute(ends, header, tcp.len(), core::iter::once(data), key);
    if let Some(room) = tcp.get_mut(DIGEST_AT..DIGEST_AT + DIGEST_LEN) {
        room.copy_from_slice(&digest);
    }
}

/// Signs a segment without payload; makes room for the option if there is none.
pub(crate) fn sign(ctl: &mut Ctl, key: &Key) {
    const HEAD: [u8; 4] = [kind::NOP, kind::NOP, kind::MD5, MD5_LEN];
    if !ctl.options.as_bytes().starts_with(&HEAD) {
        let mut options = OptionsBuf::new();
        options.md5().raw(ctl.options.as_bytes());
        ctl.options = options;
    }
    let mut segment = [0; 60];
    let len = ctl.header().emit(&mut segment, ctl.options.as_bytes());
    sign_segment(&ctl.tuple, &mut segment[..len], key);
    let mut signed = OptionsBuf::new();
    signed.raw(&segment[HEADER_LEN..len]);
    ctl.options = signed;
}

/// The same for a socket's own segment, if it signs.
pub(crate) fn sign_own(sk: &TcpSock, ctl: &mut Ctl) {
    if let Some(key) = key_for(&sk.rx, &sk.cold) {
        sign(ctl, key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_wire::ipv4::Ipv4View;

    /// What Linux 6.18 sends with the key "secret": a SYN-ACK, and five octets of data.
    const RECORDED: [&str; 2] = [
        "45000040000040004006b80dc0a80001c000020100500fa055df461d00000001b012faf097710000\
         010113120785c85e15e1b4f4329572a2e7fc4b06020405b4",
        "450000417aba400040063d52c0a80001c000020100500fa055df461e00000001a018faf099330000\
         01011312bf18c64b5e74d1c7df59e36f3a3d926868656c6c6f",
    ];

    fn unhex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().collect();
        digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    #[test]
    fn signs_as_linux_does() {
        let key = Key::new(b"secret").unwrap();
        for packet in RECORDED.map(unhex) {
            let ip = Ipv4View::parse(&packet).unwrap();
            let tuple = Tuple {
                local: ip.src(),
                remote: ip.dst(),
                lport: 80,
                rport: 4000,
            };
            let mut again = ip.payload().to_vec();
            again[DIGEST_AT..DIGEST_AT + DIGEST_LEN].fill(0);
            // As it is when segments are signed.
            again[16..18].fill(0);
            sign_segment(&tuple, &mut again, &key);
            assert_eq!(again[18..], ip.payload()[18..]);
        }
    }

    /// The option lists, padded with NOPs to a length, that Linux 6.18 answers and those that it does not.
    #[test]
    fn broken_lists_are_refused_where_a_signature_could_be() {
        let padded = |list: &[u8], len: usize| {
            let mut list = list.to_vec();
            list.resize(len, kind::NOP);
            list
        };
        for (list, len, broken) in [
            (&[19u8, 4][..], 20, true),
            (&[19, 4], 16, false),
            (&[19, 2], 8, false),
            (&[19, 2], 20, true),
            (&[200, 1], 20, true),
            (&[200, 60], 20, true),
            (&[200, 60], 16, false),
            (&[0, 0, 200, 1], 20, false),
        ] {
            let list = padded(list, len);
            let found = matches!(find(&list), Signature::Broken);
            assert_eq!(found, broken, "{list:?}");
        }
        assert!(matches!(find(&padded(&[19, 18], 20)), Signature::Digest(_)));
        let twice = [padded(&[19, 18], 18), padded(&[19, 18], 18)].concat();
        assert!(matches!(find(&twice), Signature::Broken));
    }

    #[test]
    fn the_longest_prefix_counts_and_keys_are_bounded() {
        let mut keys = Keys::default();
        let secret = |text: &[u8]| Key::new(text).unwrap();
        let net = Ipv4Addr::new(10, 0, 0, 0);
        keys.add(net, 8, secret(b"net")).unwrap();
        keys.add(Ipv4Addr::new(10, 1, 2, 3), 32, secret(b"host"))
            .unwrap();
        keys.add(Ipv4Addr::UNSPECIFIED, 0, secret(b"all")).unwrap();
        let found = |keys: &Keys, addr: [u8; 4]| {
            keys.lookup(addr.into())
                .map(|key| key.as_bytes().to_vec())
                .unwrap_or_default()
        };
        assert_eq!(found(&keys, [10, 1, 2, 3]), b"host");
        assert_eq!(found(&keys, [10, 1, 2, 4]), b"net");
        assert_eq!(found(&keys, [11, 1, 2, 4]), b"all");
        keys.add(net, 8, secret(b"new")).unwrap();
        assert_eq!(found(&keys, [10, 1, 2, 4]), b"new");
        keys.remove(net, 8).unwrap();
        assert_eq!(keys.remove(net, 8), Err(SockError::NoEntry));
        assert_eq!(found(&keys, [10, 1, 2, 4]), b"all");
        for i in keys.0.len()..MAX_KEYS {
            keys.add(Ipv4Addr::from_bits(i as u32), 32, secret(b"x"))
                .unwrap();
        }
        let one_more = keys.add(Ipv4Addr::new(9, 9, 9, 9), 32, secret(b"x"));
        assert_eq!(one_more, Err(SockError::NoMemory));
        assert!(Key::new(&[0; MAX_KEY_LEN]).is_some() && Key::new(&[0; MAX_KEY_LEN + 1]).is_none());
    }
}
