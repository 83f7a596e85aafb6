//! Against what iproute2's `ss` 6.1 printed of the kernel's sockets.

use std::borrow::Cow;
use std::net::{Ipv4Addr, SocketAddrV4};

use clap::Parser;

use super::super::columns::{Columns, Table};
use super::super::services::Services;
use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    ss: SsArgs,
}

fn args(line: &str) -> SsArgs {
    Line::parse_from(line.split(' ')).ss
}

fn sock(
    state: &'static str,
    ports: (u16, u16),
    queues: (u32, u32),
    info: &[(&'static str, u64)],
) -> Sock {
    let local = Ipv4Addr::LOCALHOST;
    let peer = match ports.1 {
        0 => Ipv4Addr::UNSPECIFIED,
        _ => local,
    };
    let info = info
        .iter()
        .map(|(name, value)| (Cow::Borrowed(*name), *value));
    Sock {
        id: 9,
        state: Cow::Borrowed(state),
        local: SocketAddrV4::new(local, ports.0),
        peer: SocketAddrV4::new(peer, ports.1),
        recv_q: queues.0,
        send_q: queues.1,
        shutdown: Some(0),
        timer: None,
        memory: None,
        congestion: Some(Cow::Borrowed("reno")),
        info: Some(info.collect()),
    }
}

fn half_closed() -> Sock {
    let info = [
        ("options", 7),
        ("wscale", 0xaa),
        ("rto", 208_000),
        ("rtt", 5158),
        ("rttvar", 10_294),
        ("ato", 40_000),
        ("snd_mss", 32_768),
        ("pmtu", 65_535),
        ("rcv_mss", 536),
        ("advmss", 65_483),
        ("snd_cwnd", 12),
        ("snd_ssthresh", 0x7fff_ffff),
        ("bytes_sent", 5),
        ("bytes_acked", 7),
        ("segs_out", 4),
        ("segs_in", 3),
        ("data_segs_out", 1),
        ("last_data_sent", 148),
        ("last_data_recv", 148),
        ("last_ack_recv", 104),
        ("pacing_rate", 499_034_199_624 / 8),
        ("max_pacing_rate", u64::MAX),
        ("delivery_rate", 6_367_352 / 8),
        ("delivered", 3),
        ("reordering", 3),
        ("rcv_space", 65_495),
        ("rcv_ssthresh", 65_495),
        ("min_rtt", 8),
        ("snd_wnd", 65_536),
    ];
    sock("FIN-WAIT-2", (33_430, 18_080), (0, 0), &info)
}

#[test]
fn tcp_info() {
    let exact = "\n\t reno wscale:10,10 rto:208 rtt:5.158/10.294 ato:40 mss:32768 pmtu:65535 rcvmss:536 advmss:65483 \
                 cwnd:12 bytes_sent:5 bytes_acked:7 segs_out:4 segs_in:3 data_segs_out:1 send 609873594bps lastsnd:148 \
                 lastrcv:148 lastack:104 pacing_rate 499034199624bps delivery_rate 6367352bps delivered:3 \
                 rcv_space:65495 rcv_ssthresh:65495 minrtt:0.008 snd_wnd:65536";
    assert_eq!(text(&half_closed(), &args("ss -tin")), exact);
    let short = text(&half_closed(), &args("ss -tioO"));
    assert!(short.starts_with(" ts sack reno"), "{short}");
    assert!(
        short.contains(" send 610Mbps ") && short.contains(" pacing_rate 499Gbps "),
        "{short}"
    );
}

#[test]
fn what_is_in_trouble() {
    let info = [
        ("backoff", 2),
        ("rto", 3_000_000),
        ("snd_ssthresh", 7),
        ("delivery_rate_flags", 1),
        ("unacked", 9),
        ("total_retrans", 4),
        ("lost", 3),
        ("sacked", 2),
        ("dsack_dups", 1),
        ("reordering", 5),
        ("notsent_bytes", 100),
        ("min_rtt", u64::from(u32::MAX)),
        ("pacing_rate", u64::MAX),
    ];
    assert_eq!(
        text(&sock("ESTAB", (1, 2), (0, 9), &info), &args("ss -tinO")),
        " reno backoff:2 ssthresh:7 app_limited unacked:9 retrans:0/4 lost:3 sacked:2 dsack_dups:1 reordering:5 notsent:100"
    );
    let listener = sock(
        "LISTEN",
        (1, 0),
        (0, 16),
        &[("snd_cwnd", 10), ("sacked", 16), ("reordering", 3)],
    );
    assert_eq!(text(&listener, &args("ss -tinO")), " reno cwnd:10");
}

#[test]
fn timers_numbers_and_memory() {
    let mut sock = sock("CLOSE-WAIT", (18_080, 33_430), (6, 0), &[]);
    sock.shutdown = Some(1);
    sock.timer = Some(Timer {
        name: Cow::Borrowed("keepalive"),
        left_ms: 7_199_000,
        count: 0,
    });
    sock.memory = Some(Memory {
        rcv_ring: 837,
        rcvbuf: 131_072,
        snd_ring: 0,
        sndbuf: 16_384,
    });
    assert_eq!(
        text(&sock, &args("ss -tanoem")),
        " timer:(keepalive,119min,0) ino:0 sk:9 -->\n\t skmem:(r837,rb131072,t0,tb16384,f0,w0,o0,bl0)"
    );
    // A mini-socket has nothing to tell, on a line of its own.
    sock.shutdown = None;
    sock.memory = None;
    sock.info = None;
    assert_eq!(text(&sock, &args("ss -tine")), " ino:0 sk:9\n\t");
}

fn table(columns: Columns, line: &str, socks: &[Sock]) -> String {
    let args = args(line);
    let services = Services::parse("http 80/tcp\n");
    let mut table = Table::new(columns);
    for sock in socks {
        table.add(
            sock,
            (!args.numeric).then_some(&services),
            text(sock, &args),
        );
    }
    let mut out = Vec::new();
    table.write(&mut out).expect("memory");
    String::from_utf8(out).expect("text")
}

#[test]
fn columns_are_those_of_ss() {
    let socks = [
        sock("LISTEN", (18_080, 0), (0, 16), &[]),
        sock("CLOSE-WAIT", (18_080, 33_430), (6, 0), &[]),
    ];
    let all = Columns {
        netid: true,
        state: true,
        header: true,
    };
    assert_eq!(
        table(all, "ss -na", &socks),
        "Netid State      Recv-Q Send-Q Local Address:Port  Peer Address:Port Process\n\
         tcp   LISTEN     0      16         127.0.0.1:18080      0.0.0.0:*\n\
         tcp   CLOSE-WAIT 6      0          127.0.0.1:18080    127.0.0.1:33430\n"
    );
    let bare = Columns {
        netid: false,
        state: true,
        header: false,
    };
    assert_eq!(
        table(bare, "ss -tnaH", &socks),
        "LISTEN     0      16     127.0.0.1:18080   0.0.0.0:*\n\
         CLOSE-WAIT 6      0      127.0.0.1:18080 127.0.0.1:33430\n"
    );
    let tcp = Columns {
        header: true,
        ..bare
    };
    assert_eq!(
        table(tcp, "ss -tl", &[sock("LISTEN", (80, 0), (0, 16), &[])]),
        "State  Recv-Q Send-Q Local Address:Port Peer Address:PortProcess\n\
         LISTEN 0      16         127.0.0.1:http      0.0.0.0:*\n"
    );
    let one_state = Columns {
        state: false,
        ..tcp
    };
    assert_eq!(
        table(one_state, "ss -tni", &socks[1..]),
        "Recv-Q Send-Q Local Address:Port  Peer Address:Port Process\n\
         6      0          127.0.0.1:18080    127.0.0.1:33430\n\t reno\n"
    );
}
