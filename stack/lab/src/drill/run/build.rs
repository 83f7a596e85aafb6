//! Injected packets: from the script's words to live bytes.

use std::net::SocketAddrV4;

use super::Runner;
use crate::drill::ast::{Body, Icmp, Packet, Tcp};
use crate::drill::conn::{Conn, Opener};
use crate::drill::inject::{self, Tuple, icmp};
use crate::drill::verdict::Stop;
use crate::machine::Machine;

/// Port of the peer that connects to a listener.
const EPHEMERAL: u16 = 50_000;

impl<M: Machine + ?Sized> Runner<'_, '_, M> {
    /// The live packets of an injected one.
    pub(super) fn build(&mut self, line: u32, packet: &Packet) -> Result<Vec<Vec<u8>>, Stop> {
        if !packet.encap.is_empty() {
            return Err(Stop::unsupported(line, "encapsulation"));
        }
        if packet.ip.flow_label.is_some() {
            return Err(Stop::unsupported(line, "a flow label in IPv4"));
        }
        match &packet.body {
            Body::Tcp(written) => self.build_tcp(line, packet, written),
            Body::Icmp(icmp) => self.build_icmp(line, packet, icmp),
            Body::Udp { ports, len } => {
                let tuple = with_ports(self.tuple(), *ports);
                Ok(vec![inject::udp_packet(tuple, packet.ip, *len)])
            }
        }
    }

    fn build_tcp(
        &mut self,
        line: u32,
        packet: &Packet,
        written: &Tcp,
    ) -> Result<Vec<Vec<u8>>, Stop> {
        let tuple = with_ports(self.tuple(), written.ports);
        let ecr = self.settings.ecr;
        let conn = self.conn_or_peer();
        let live = conn
            .live_segment(written, ecr)
            .map_err(|why| Stop::fail(line, "script", "numbers that can be mapped", why))?;
        inject::tcp_packets(tuple, packet.ip, &live, self.settings.train_mss)
            .map_err(|what| Stop::unsupported(line, what))
    }

    fn build_icmp(&self, line: u32, packet: &Packet, written: &Icmp) -> Result<Vec<Vec<u8>>, Stop> {
        // A message alone makes no connection.
        let tuple = match &self.conn {
            Some(conn) => Tuple {
                src: conn.remote(),
                dst: conn.local(),
            },
            None => Tuple {
                src: SocketAddrV4::new(self.settings.remote_ip, EPHEMERAL),
                dst: SocketAddrV4::new(self.settings.local_ip, self.settings.bind_port),
            },
        };
        let quoted_seq = |relative| {
            let conn = self.conn.as_ref();
            conn.map_or(relative, |conn| conn.live_local_seq(relative))
        };
        let message = icmp::message(written, tuple, quoted_seq).ok_or_else(|| {
            let code = written.code.as_deref().unwrap_or("");
            Stop::unsupported(line, format!("icmp {} {code}", written.ty))
        })?;
        Ok(vec![inject::icmp_packet(tuple, packet.ip, &message)])
    }

    /// The connection under test. An injected packet makes one where there is none: a listener's child, or a poke at a
    /// closed port.
    fn conn_or_peer(&mut self) -> &mut Conn {
        let local = SocketAddrV4::new(self.settings.local_ip, self.settings.bind_port);
        let remote = SocketAddrV4::new(self.settings.remote_ip, EPHEMERAL);
        let under_test = &mut self.under_test;
        self.conn.get_or_insert_with(|| {
            *under_test = None;
            Conn::new(Opener::Peer, local, remote)
        })
    }

    fn tuple(&mut self) -> Tuple {
        let conn = self.conn_or_peer();
        Tuple {
            src: conn.remote(),
            dst: conn.local(),
        }
    }
}

fn with_ports(mut tuple: Tuple, ports: Option<(u16, u16)>) -> Tuple {
    if let Some((from, to)) = ports {
        tuple.src.set_port(from);
        tuple.dst.set_port(to);
    }
    tuple
}
