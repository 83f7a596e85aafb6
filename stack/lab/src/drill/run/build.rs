//! Injected packets: from the script's words to live bytes.

use std::net::SocketAddrV4;

use super::{EPHEMERAL, Runner};
use crate::drill::ast::{Body, Echoed, Icmp, Packet};
use crate::drill::conn::{Conn, Opener};
use crate::drill::inject::{self, Tuple};
use crate::drill::verdict::Stop;

impl Runner<'_, '_> {
    /// The live packets of an injected one.
    pub(super) fn build(&mut self, line: u32, packet: &Packet) -> Result<Vec<Vec<u8>>, Stop> {
        let local = SocketAddrV4::new(self.settings.local_ip, self.settings.bind_port);
        let remote = SocketAddrV4::new(self.settings.remote_ip, EPHEMERAL);
        match &packet.body {
            Body::Tcp(written) => {
                let conn = self
                    .conn
                    .get_or_insert_with(|| Conn::new(Opener::Peer, local, remote));
                let live = conn
                    .live_segment(written, self.settings.ecr)
                    .map_err(|why| Stop::fail(line, "script", "numbers that can be mapped", why))?;
                let mut tuple = Tuple {
                    src: conn.remote(),
                    dst: conn.local(),
                };
                if let Some((from, to)) = written.ports {
                    tuple.src.set_port(from);
                    tuple.dst.set_port(to);
                }
                inject::tcp_packets(tuple, packet.ip, &live, self.settings.train_mss)
                    .map_err(|what| Stop::unsupported(line, what))
            }
            Body::Icmp(icmp) => self.build_icmp(line, icmp),
            Body::Udp { .. } => Err(Stop::unsupported(line, "udp")),
        }
    }

    fn build_icmp(&self, line: u32, icmp: &Icmp) -> Result<Vec<Vec<u8>>, Stop> {
        let unsupported = || Stop::unsupported(line, format!("icmp {}", icmp.ty));
        let (ty, code) =
            inject::icmp_numbers(&icmp.ty, icmp.code.as_deref()).ok_or_else(unsupported)?;
        let mtu = u16::try_from(icmp.mtu.unwrap_or(0)).map_err(|_| unsupported())?;
        let (seq, len) = match icmp.echoed {
            None => (0, 0),
            Some(Echoed::Tcp { seq, len }) => (seq, len),
            Some(_) => return Err(unsupported()),
        };
        let conn = self.conn.as_ref().ok_or_else(unsupported)?;
        let tuple = Tuple {
            src: conn.remote(),
            dst: conn.local(),
        };
        Ok(vec![inject::icmp_error(
            tuple,
            ty,
            code,
            mtu,
            conn.live_local_seq(seq),
            len,
        )])
    }
}
