//! TCP options: what a segment carries besides its header (RFC 9293 §3.2, RFC 7323, RFC 2018).
//!
//! Reading never fails: as in Linux `tcp_parse_options` a broken list counts as far as it goes. Writing lays the
//! options out as `tcp_options_write` does, since middleboxes and fingerprints are used to that.

mod fastopen;
#[cfg(test)]
mod tests;
mod write;

pub use fastopen::FastOpen;
pub use write::{
    OptionsBuf, write_established, write_established_after, write_syn, write_syn_after,
};

use crate::seq::SeqNum;

/// Option kinds (IANA).
pub mod kind {
    /// End of the list.
    pub const EOL: u8 = 0;
    /// One byte of padding.
    pub const NOP: u8 = 1;
    /// Maximum segment size.
    pub const MSS: u8 = 2;
    /// Window scale.
    pub const WSCALE: u8 = 3;
    /// SACK permitted.
    pub const SACK_PERMITTED: u8 = 4;
    /// Selective acknowledgement.
    pub const SACK: u8 = 5;
    /// Timestamps.
    pub const TIMESTAMPS: u8 = 8;
    /// MD5 signature (RFC 2385).
    pub const MD5: u8 = 19;
    /// Fast Open cookie.
    pub const FASTOPEN: u8 = 34;
    /// Experiments share this one by an identifier of their own.
    pub const EXPERIMENTAL: u8 = 254;
}

/// Lengths of the options on the wire, kind and length octets included.
mod len {
    pub const MSS: u8 = 4;
    pub const WSCALE: u8 = 3;
    pub const SACK_PERMITTED: u8 = 2;
    pub const SACK_BASE: u8 = 2;
    pub const SACK_BLOCK: u8 = 8;
    pub const TIMESTAMPS: u8 = 10;
}

/// Length of the MD5 signature option, kind and length octets included.
pub const MD5_LEN: u8 = 18;

/// Most SACK blocks that 40 bytes of options can hold.
pub const MAX_SACK_BLOCKS: usize = 4;

/// The timestamps option (RFC 7323 §3), host order.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Timestamps {
    /// TSval: the sender's clock.
    pub val: u32,
    /// TSecr: the clock of the other side, echoed.
    pub ecr: u32,
}

/// One block of a SACK option: received octets from `start` up to, not including, `end`.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct SackBlock {
    /// Left edge.
    pub start: SeqNum,
    /// Right edge, one past the last octet.
    pub end: SeqNum,
}

/// Up to [`MAX_SACK_BLOCKS`] blocks in the order of the option. Not checked for sense: a block may be empty,
/// reversed, or a DSACK.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct SackBlocks {
    blocks: [SackBlock; MAX_SACK_BLOCKS],
    len: u8,
}

impl SackBlocks {
    /// Appends a block; a fifth one is dropped, for it would not fit a header either.
    #[inline]
    pub fn push(&mut self, block: SackBlock) {
        if let Some(free) = self.blocks.get_mut(usize::from(self.len)) {
            *free = block;
            self.len += 1;
        }
    }

    /// The blocks.
    #[inline]
    pub fn as_slice(&self) -> &[SackBlock] {
        &self.blocks[..usize::from(self.len)]
    }

    /// There is no block.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Reads the body of a SACK option, a multiple of 8 bytes.
    #[inline]
    fn parse(body: &[u8]) -> Self {
        let mut blocks = Self::default();
        let (pairs, _) = body.as_chunks::<8>();
        for [a, b, c, d, e, f, g, h] in pairs {
            blocks.push(SackBlock {
                start: SeqNum::new(u32::from_be_bytes([*a, *b, *c, *d])),
                end: SeqNum::new(u32::from_be_bytes([*e, *f, *g, *h])),
            });
        }
        blocks
    }
}

/// The options that the stack understands. Whether one is allowed where it stands (MSS outside a SYN, SACK that
/// was not negotiated) is for TCP input to judge.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct TcpOptions {
    /// Maximum segment size in bytes, never 0.
    pub mss: Option<u16>,
    /// Window shift count as on the wire, 0..=255; RFC 7323 §2.3 has values above 14 taken as 14.
    pub wscale: Option<u8>,
    /// The sender can process SACK.
    pub sack_permitted: bool,
    /// Timestamps.
    pub timestamps: Option<Timestamps>,
    /// Selective acknowledgements; empty when there are none.
    pub sack: SackBlocks,
}

impl TcpOptions {
    /// Reads an option list. Unknown kinds are skipped; a known one of the wrong length is ignored, as is an MSS
    /// of 0; of duplicates the last wins. An impossible length ends the list, and what came before it counts.
    pub fn parse(mut bytes: &[u8]) -> Self {
        let mut options = Self::default();
        loop {
            match *bytes {
                [] | [kind::EOL, ..] => return options,
                [kind::NOP, ref behind @ ..] => bytes = behind,
                [kind, len, ..] if len >= 2 && usize::from(len) <= bytes.len() => {
                    let (option, behind) = bytes.split_at(usize::from(len));
                    options.set(kind, &option[2..]);
                    bytes = behind;
                }
                _ => return options,
            }
        }
    }

    /// Takes one option whose body, kind and length octets stripped, is `body`.
    #[inline]
    fn set(&mut self, kind: u8, body: &[u8]) {
        match (kind, body) {
            (kind::MSS, &[high, low]) => {
                let mss = u16::from_be_bytes([high, low]);
                if mss != 0 {
                    self.mss = Some(mss);
                }
            }
            (kind::WSCALE, &[shift]) => self.wscale = Some(shift),
            (kind::SACK_PERMITTED, []) => self.sack_permitted = true,
            (kind::TIMESTAMPS, &[a, b, c, d, e, f, g, h]) => {
                self.timestamps = Some(Timestamps {
                    val: u32::from_be_bytes([a, b, c, d]),
                    ecr: u32::from_be_bytes([e, f, g, h]),
                });
            }
            (kind::SACK, body)
                if !body.is_empty() && body.len().is_multiple_of(usize::from(len::SACK_BLOCK)) =>
            {
                self.sack = SackBlocks::parse(body);
            }
            _ => {}
        }
    }
}

/// The fast path for the only options of most segments: exactly NOP NOP TS in 12 bytes. `None` for any other
/// list, which [`TcpOptions::parse`] then reads (Linux `tcp_parse_aligned_timestamp`).
#[inline]
pub fn parse_aligned_timestamp(options: &[u8]) -> Option<Timestamps> {
    match *options {
        [
            kind::NOP,
            kind::NOP,
            kind::TIMESTAMPS,
            len::TIMESTAMPS,
            a,
            b,
            c,
            d,
            e,
            f,
            g,
            h,
        ] => Some(Timestamps {
            val: u32::from_be_bytes([a, b, c, d]),
            ecr: u32::from_be_bytes([e, f, g, h]),
        }),
        _ => None,
    }
}
