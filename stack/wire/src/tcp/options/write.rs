//! Writing TCP options, in the order and with the padding of Linux `tcp_options_write`.

use super::{MD5_LEN, SackBlock, Timestamps, kind, len};
use crate::tcp::MAX_OPTIONS_LEN;

/// A list of options under construction, on the stack. Every method keeps it aligned to four bytes, [`raw`]
/// apart. An option that does not fit the 40 bytes is left out whole.
///
/// [`raw`]: OptionsBuf::raw
#[derive(Clone, Copy, Debug)]
pub struct OptionsBuf {
    bytes: [u8; MAX_OPTIONS_LEN],
    len: u8,
}

impl OptionsBuf {
    /// An empty list.
    #[inline]
    pub const fn new() -> Self {
        Self {
            bytes: [0; MAX_OPTIONS_LEN],
            len: 0,
        }
    }

    /// The list as it stands in the segment.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Its length: 0 to 40 bytes.
    #[inline]
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// There are none.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The list with zeros behind it. A copy of a length that the compiler knows needs no call.
    #[inline]
    pub const fn padded(&self) -> &[u8; MAX_OPTIONS_LEN] {
        &self.bytes
    }

    /// How many bytes are still free.
    #[inline]
    pub const fn room(&self) -> usize {
        MAX_OPTIONS_LEN - self.len as usize
    }

    /// Appends bytes as they are; alignment is the caller's business.
    #[inline]
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        let at = usize::from(self.len);
        if let Some(free) = self.bytes.get_mut(at..at + bytes.len()) {
            free.copy_from_slice(bytes);
            // At most MAX_OPTIONS_LEN, since the range exists.
            self.len += bytes.len() as u8;
        }
        self
    }

    /// Maximum segment size: 4 bytes.
    #[inline]
    pub fn mss(&mut self, mss: u16) -> &mut Self {
        let [high, low] = mss.to_be_bytes();
        self.raw(&[kind::MSS, len::MSS, high, low])
    }

    /// NOP NOP and an MD5 signature that is still zero: 20 bytes.
    #[inline]
    pub fn md5(&mut self) -> &mut Self {
        let mut bytes = [0; 2 + MD5_LEN as usize];
        bytes[..4].copy_from_slice(&[kind::NOP, kind::NOP, kind::MD5, MD5_LEN]);
        self.raw(&bytes)
    }

    /// NOP and window scale: 4 bytes.
    #[inline]
    pub fn wscale(&mut self, shift: u8) -> &mut Self {
        self.raw(&[kind::NOP, kind::WSCALE, len::WSCALE, shift])
    }

    /// NOP NOP and SACK permitted: 4 bytes.
    #[inline]
    pub fn sack_permitted(&mut self) -> &mut Self {
        self.raw(&[
            kind::NOP,
            kind::NOP,
            kind::SACK_PERMITTED,
            len::SACK_PERMITTED,
        ])
    }

    /// NOP NOP and timestamps: 12 bytes.
    #[inline]
    pub fn timestamps(&mut self, val: u32, ecr: u32) -> &mut Self {
        self.timestamps_behind([kind::NOP, kind::NOP], val, ecr)
    }

    /// SACK permitted and timestamps, which need no padding together: 12 bytes.
    #[inline]
    pub fn sack_permitted_timestamps(&mut self, val: u32, ecr: u32) -> &mut Self {
        self.timestamps_behind([kind::SACK_PERMITTED, len::SACK_PERMITTED], val, ecr)
    }

    #[inline]
    fn timestamps_behind(&mut self, first: [u8; 2], val: u32, ecr: u32) -> &mut Self {
        let mut bytes = [0; 12];
        bytes[0..2].copy_from_slice(&first);
        bytes[2..4].copy_from_slice(&[kind::TIMESTAMPS, len::TIMESTAMPS]);
        bytes[4..8].copy_from_slice(&val.to_be_bytes());
        bytes[8..12].copy_from_slice(&ecr.to_be_bytes());
        self.raw(&bytes)
    }

    /// NOP NOP and the first of `blocks`, as many as fit: 4 bytes and 8 per block. Nothing when none fits.
    #[inline]
    pub fn sack(&mut self, blocks: &[SackBlock]) -> &mut Self {
        const PREFIX: usize = 4;
        let fit = self.room().saturating_sub(PREFIX) / usize::from(len::SACK_BLOCK);
        let blocks = &blocks[..blocks.len().min(fit)];
        if blocks.is_empty() {
            return self;
        }
        // At most 4 blocks, so the length octet is at most 34.
        let len = len::SACK_BASE + len::SACK_BLOCK * blocks.len() as u8;
        self.raw(&[kind::NOP, kind::NOP, kind::SACK, len]);
        for SackBlock { start, end } in blocks {
            self.raw(&start.raw().to_be_bytes())
                .raw(&end.raw().to_be_bytes());
        }
        self
    }
}

impl Default for OptionsBuf {
    fn default() -> Self {
        Self::new()
    }
}

/// Options of a SYN or SYN-ACK: MSS, SACK permitted and timestamps, window scale.
#[inline]
pub fn write_syn(
    mss: Option<u16>,
    wscale: Option<u8>,
    sack_permitted: bool,
    ts: Option<Timestamps>,
) -> OptionsBuf {
    write_syn_after(OptionsBuf::new(), mss, wscale, sack_permitted, ts)
}

/// The same behind options that are there already.
#[inline]
pub fn write_syn_after(
    mut buf: OptionsBuf,
    mss: Option<u16>,
    wscale: Option<u8>,
    sack_permitted: bool,
    ts: Option<Timestamps>,
) -> OptionsBuf {
    if let Some(mss) = mss {
        buf.mss(mss);
    }
    match (ts, sack_permitted) {
        (Some(Timestamps { val, ecr }), true) => _ = buf.sack_permitted_timestamps(val, ecr),
        (Some(Timestamps { val, ecr }), false) => _ = buf.timestamps(val, ecr),
        (None, true) => _ = buf.sack_permitted(),
        (None, false) => {}
    }
    if let Some(shift) = wscale {
        buf.wscale(shift);
    }
    buf
}

/// Options of any other segment: timestamps, then as many SACK blocks as fit (3 with timestamps, 4 without).
#[inline]
pub fn write_established(ts: Option<Timestamps>, sack: &[SackBlock]) -> OptionsBuf {
    write_established_after(OptionsBuf::new(), ts, sack)
}

/// The same behind options that are there already: as many SACK blocks as they leave room for.
#[inline]
pub fn write_established_after(
    mut buf: OptionsBuf,
    ts: Option<Timestamps>,
    sack: &[SackBlock],
) -> OptionsBuf {
    if let Some(Timestamps { val, ecr }) = ts {
        buf.timestamps(val, ecr);
    }
    buf.sack(sack);
    buf
}
