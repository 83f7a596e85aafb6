//! IPv4: what is checked before a packet goes up, and the header of those that go out.
//!
//! Before: `link/` (in), `tcp/ udp/ icmp/` with a [`Hop`](crate::route::Hop) and a hardware address (out). After:
//! the transport protocol (in), the driver's slot (out).
//! Linux counterpart: `ip_rcv_core`, `ip_rcv_options`, `ip_route_input_slow` (martians), `ip_build_and_send_pkt`.
//! RFC 791, RFC 1122 §3.2. Forwarding is off. Fragments are refused until reassembly is there.

mod addr_cache;
mod input;
#[cfg(test)]
mod tests;

pub(crate) use addr_cache::{AddrCache, Inserted};
pub use input::{Accepted, Dst, Origin, input};

use millrace_wire::ethernet::EtherType;
use millrace_wire::ipv4::Ipv4Header;
use millrace_wire::mac::MacAddr;

use crate::link::{self, LinkConfig};

/// Writes link and IPv4 header to the front of `buf` and returns where the payload of `payload_len` bytes begins.
/// `buf` has room for [`link::header_len`] + 20 bytes at least; `dst` has no meaning on a link without header.
#[inline]
pub fn output(
    link: &LinkConfig,
    buf: &mut [u8],
    dst: MacAddr,
    header: &Ipv4Header,
    payload_len: u16,
) -> usize {
    let l3_offset = link::emit(link, buf, dst, EtherType::IPV4);
    l3_offset + header.emit(&mut buf[l3_offset..], payload_len)
}
