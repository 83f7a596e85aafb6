//! Why bytes are not the packet they claim to be.

use core::fmt;

/// The first thing `parse` found wrong. Checksums are not among it: they are asked for separately, because a
/// device may already have verified them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Malformed {
    /// Fewer bytes than the fixed header, or than a length field announces.
    Truncated,
    /// The IP version is not the expected one.
    Version,
    /// The header-length field (IHL, TCP data offset) is below the minimum.
    HeaderLength,
    /// The total-length field (IPv4, UDP) does not even cover the header.
    TotalLength,
    /// ARP for a link that is not Ethernet with 6-byte addresses.
    HardwareType,
    /// ARP for a protocol that is not IPv4 with 4-byte addresses.
    ProtocolType,
    /// An ARP operation other than request and reply.
    Operation,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "packet is truncated",
            Self::Version => "wrong IP version",
            Self::HeaderLength => "header length below the minimum",
            Self::TotalLength => "total length smaller than the header",
            Self::HardwareType => "ARP hardware type is not Ethernet",
            Self::ProtocolType => "ARP protocol type is not IPv4",
            Self::Operation => "ARP operation is neither request nor reply",
        })
    }
}

impl core::error::Error for Malformed {}
