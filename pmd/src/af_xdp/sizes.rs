//! Sizes of one queue's rings and frames, checked against the settings and the MTU.

use super::{AfXdpConfig, Sockets};
use crate::error::PortError;

/// What the kernel keeps free at the head of each received frame.
const XDP_PACKET_HEADROOM: u32 = 256;
/// Ethernet header and one VLAN tag.
const LINK_OVERHEAD: usize = 14 + 4;
/// The largest MTU with one chunk of 4096 bytes per frame: what a veth takes for a native program without multi-buffer
/// support.
const MAX_MTU_ONE_CHUNK: usize = 3498;
/// The largest MTU of all: what network cards call jumbo frames.
const MAX_MTU: usize = 9216;

/// The sizes of one queue, checked. Memory comes in chunks; a frame lies in one, or, when the MTU is large, in several.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Sizes {
    /// Bytes of a chunk: 2048 or 4096.
    pub(super) chunk: u32,
    /// Chunks of the longest frame.
    pub(super) chunks_per_frame: u32,
    /// The longest packet: the device drops what exceeds its MTU, though the frame has more room.
    pub(super) max_frame: usize,
    /// Chunks to receive into, and length of the receive ring.
    pub(super) rx: u32,
    /// Chunks to send from, and length of the transmit and completion rings.
    pub(super) tx: u32,
}

/// Into how many pieces of memory a frame may be divided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pieces {
    One,
    Several,
}

impl Sizes {
    /// Frame and ring sizes for an interface with this MTU.
    pub(super) fn new(config: &AfXdpConfig, mtu: usize) -> Result<Self, PortError> {
        let limit = match config.sockets {
            Sockets::Own => MAX_MTU,
            Sockets::XskRs => MAX_MTU_ONE_CHUNK,
        };
        if mtu > limit {
            return Err(PortError::MtuTooLarge {
                interface: config.interface.clone(),
                mtu,
                limit,
            });
        }
        let max_frame = mtu + LINK_OVERHEAD;
        let room = |chunk: u32| (chunk - XDP_PACKET_HEADROOM) as usize;
        let chunk = if max_frame <= room(2048) { 2048 } else { 4096 };
        let chunks_per_frame = if mtu <= MAX_MTU_ONE_CHUNK {
            1
        } else {
            // Two at least: a veth hands over more than it can hold in one page as several pieces.
            (max_frame.div_ceil(room(chunk)) as u32).max(2)
        };
        Ok(Self {
            chunk,
            chunks_per_frame,
            max_frame,
            rx: ring("rx_ring", config.rx_ring)?,
            tx: ring("tx_ring", config.tx_ring)?,
        })
    }

    /// Whether frames may come in several pieces.
    pub(super) fn pieces(&self) -> Pieces {
        match self.chunks_per_frame {
            1 => Pieces::One,
            _ => Pieces::Several,
        }
    }

    /// Length of the fill ring. The kernel shows a received frame before it gives back the place in the fill ring that the
    /// frame came from, so in between the ring is fuller than it will be. In one twice as long as there are frames, each
    /// always finds a place.
    pub(super) fn fill_ring(&self) -> u32 {
        self.rx * 2
    }

    /// Chunks in all: each direction has its own, so that neither can starve the other.
    pub(super) fn chunks(&self) -> u32 {
        self.rx + self.tx
    }

    /// Bytes of all chunks.
    pub(super) fn bytes(&self) -> usize {
        self.chunks() as usize * self.chunk as usize
    }
}

fn ring(setting: &'static str, size: u32) -> Result<u32, PortError> {
    if (64..=32768).contains(&size) && size.is_power_of_two() {
        return Ok(size);
    }
    Err(PortError::BadSetting {
        setting,
        value: size as usize,
        why: "it must be a power of two from 64 to 32768",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(sockets: Sockets, mtu: usize) -> Result<Sizes, PortError> {
        let config = AfXdpConfig {
            sockets,
            ..AfXdpConfig::new("x")
        };
        Sizes::new(&config, mtu)
    }

    #[test]
    fn the_mtu_decides() {
        for (mtu, chunk, chunks_per_frame) in [
            (1500, 2048, 1),
            (1774, 2048, 1),
            (1775, 4096, 1),
            (3498, 4096, 1),
            (3499, 4096, 2),
            (7662, 4096, 2),
            (7663, 4096, 3),
            (9000, 4096, 3),
            (9216, 4096, 3),
        ] {
            let sizes = sizes(Sockets::Own, mtu).expect("possible");
            assert_eq!(
                (sizes.chunk, sizes.chunks_per_frame),
                (chunk, chunks_per_frame),
                "{mtu}"
            );
        }
        assert!(matches!(
            sizes(Sockets::Own, 9217),
            Err(PortError::MtuTooLarge { limit: 9216, .. })
        ));
        assert!(matches!(
            sizes(Sockets::XskRs, 3499),
            Err(PortError::MtuTooLarge { limit: 3498, .. })
        ));
    }

    #[test]
    fn rings_are_powers_of_two() {
        for rx_ring in [0, 32, 1000, 65536] {
            let config = AfXdpConfig {
                rx_ring,
                ..AfXdpConfig::new("x")
            };
            assert!(
                matches!(
                    Sizes::new(&config, 1500),
                    Err(PortError::BadSetting {
                        setting: "rx_ring",
                        ..
                    })
                ),
                "{rx_ring}"
            );
        }
    }
}
