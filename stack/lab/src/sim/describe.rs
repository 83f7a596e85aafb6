//! Frames as lines to read.

use std::fmt::Write;

use millrace_wire::arp::ArpPacket;
use millrace_wire::ethernet::{EtherType, EthernetView};
use millrace_wire::ipv4::{Ipv4View, protocol};
use millrace_wire::tcp::{TcpOptions, TcpView};

/// One line about an Ethernet frame, whatever it is.
pub fn describe(frame: &[u8]) -> String {
    let Ok(ethernet) = EthernetView::parse(frame) else {
        return format!("{} bytes", frame.len());
    };
    match ethernet.ethertype() {
        EtherType::ARP => match ArpPacket::parse(ethernet.payload()) {
            Ok(arp) => format!("ARP {:?} {} asks for {}", arp.op, arp.spa, arp.tpa),
            Err(error) => format!("ARP {error:?}"),
        },
        EtherType::IPV4 => match Ipv4View::parse(ethernet.payload()) {
            Ok(ip) if ip.protocol() == protocol::TCP => tcp(&ip),
            Ok(ip) => format!("{} > {} protocol {}", ip.src(), ip.dst(), ip.protocol()),
            Err(error) => format!("IPv4 {error:?}"),
        },
        other => format!("{other:?}"),
    }
}

fn tcp(ip: &Ipv4View<'_>) -> String {
    let Ok(tcp) = TcpView::parse(ip.payload()) else {
        return "TCP, malformed".to_owned();
    };
    let mut line = format!(
        "{}:{} > {}:{} {:?} seq {:?} ack {:?} win {} len {}",
        ip.src(),
        tcp.src_port(),
        ip.dst(),
        tcp.dst_port(),
        tcp.flags(),
        tcp.seq(),
        tcp.ack(),
        tcp.window(),
        tcp.payload().len(),
    );
    let options = TcpOptions::parse(tcp.options());
    let TcpOptions {
        mss,
        wscale,
        sack_permitted,
        timestamps,
        sack,
    } = options;
    // Writing to a string cannot fail.
    let _ = mss.map(|mss| write!(line, " mss {mss}"));
    let _ = wscale.map(|shift| write!(line, " wscale {shift}"));
    let _ = timestamps.map(|ts| write!(line, " TS {} {}", ts.val, ts.ecr));
    if sack_permitted {
        line.push_str(" sackOK");
    }
    for block in sack.as_slice() {
        let _ = write!(line, " sack {:?}:{:?}", block.start, block.end);
    }
    if !tcp.checksum_ok(ip.src(), ip.dst()) || !ip.checksum_ok() {
        line.push_str(" (damaged)");
    }
    line
}
