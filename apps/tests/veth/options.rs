//! What a Linux client may ask of a connection beyond plain bytes: SYN cookies, Fast Open, urgent data, ECN.

use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

use crate::command::run;
use crate::lab::{Driver, Lab, SERVER};
use crate::server::Server;
use crate::socket::{connect, read_to_end};

real_peer_tests! {
    syn_cookies_always: af_xdp | tap;
    fast_open_of_a_kernel_client: af_xdp | tap;
    urgent_data_of_a_kernel_client: af_xdp | tap;
    congestion_marks_of_the_network: af_xdp;
}

const LIMIT: Duration = Duration::from_secs(60);

/// `MSG_FASTOPEN` of `linux/socket.h`.
const MSG_FASTOPEN: i32 = 0x2000_0000;

/// Bytes that curl gets for /.
#[track_caller]
fn fetched(lab: &Lab) -> usize {
    let mut curl = lab.linux("curl");
    curl.args(["-sS", "--fail", "--max-time", "40", "-o", "/dev/null"]);
    curl.args(["-w", "%{size_download}", &format!("http://{SERVER}/")]);
    let said = run(&mut curl, LIMIT).success();
    said.parse().unwrap_or_else(|_| panic!("curl said {said}"))
}

/// What the kernel's end has counted since it was made.
#[track_caller]
fn kernel_counter(lab: &Lab, name: &str) -> u64 {
    let said = lab.linux_sh(&format!("nstat -asz {name}"));
    said.lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|count| count.parse().ok())
        .unwrap_or_else(|| panic!("no {name} in {said}"))
}

/// With `tcp_syncookies` 2 every handshake goes through a cookie, and the connection is as good as another.
fn syn_cookies_always(driver: Driver) {
    let lab = Lab::new(driver);
    let flags = [
        "--body-size",
        "1000000",
        "--sysctl",
        "net.ipv4.tcp_syncookies=2",
    ];
    let mut server = Server::start(&lab, "http", &flags);
    let before = server.stats();
    for _ in 0..3 {
        assert_eq!(fetched(&lab), 1_000_000);
    }
    let after = server.settles(&before);
    for name in ["TcpExtSyncookiesSent", "TcpExtSyncookiesRecv"] {
        assert_eq!(after.mib(name) - before.mib(name), 3, "{name}");
    }
    server.stop();
}

/// A request by MSG_FASTOPEN; the whole answer.
#[track_caller]
fn request_with_syn() -> Vec<u8> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("socket");
    socket.set_read_timeout(Some(LIMIT)).expect("SO_RCVTIMEO");
    let request = b"GET / HTTP/1.0\r\n\r\n";
    let to = SockAddr::from(SocketAddr::V4(SERVER));
    let sent = socket
        .send_to_with_flags(request, &to, MSG_FASTOPEN)
        .expect("sendto with MSG_FASTOPEN");
    assert_eq!(sent, request.len());
    read_to_end(&TcpStream::from(socket))
}

/// The first connection fetches a cookie; the second one's request comes with its SYN.
fn fast_open_of_a_kernel_client(driver: Driver) {
    let lab = Lab::new(driver);
    // 2: servers, 0x400: every listener.
    let flags = [
        "--body-size",
        "100",
        "--sysctl",
        "net.ipv4.tcp_fastopen=1026",
    ];
    let mut server = Server::start(&lab, "http", &flags);
    lab.linux_sh("sysctl -q -w net.ipv4.tcp_fastopen=1");
    let start = server.stats();
    let first = lab.as_linux(request_with_syn);
    let cookie = server.settles(&start);
    let second = lab.as_linux(request_with_syn);
    let end = server.settles(&cookie);
    assert!(first.starts_with(b"HTTP/1.") && first.len() > 100);
    assert_eq!(second.len(), first.len());
    let between = |name: &str| {
        (
            cookie.mib(name) - start.mib(name),
            end.mib(name) - cookie.mib(name),
        )
    };
    assert_eq!(between("TcpExtTCPFastOpenCookieReqd"), (1, 0));
    assert_eq!(between("TcpExtTCPFastOpenPassive"), (0, 1));
    assert_eq!(kernel_counter(&lab, "TcpExtTCPFastOpenActive"), 1);
    server.stop();
}

/// The urgent octet is no part of the stream for a socket without SO_OOBINLINE, which echo's are: all others come back.
fn urgent_data_of_a_kernel_client(driver: Driver) {
    let lab = Lab::new(driver);
    let mut server = Server::start(&lab, "echo", &[]);
    let before = server.stats();
    let echoed = lab.as_linux(|| {
        let mut stream = connect(SERVER);
        stream.write_all(b"before").expect("write");
        let socket = Socket::from(stream);
        let sent = socket.send_out_of_band(b"!").expect("MSG_OOB");
        assert_eq!(sent, 1);
        let mut stream = TcpStream::from(socket);
        stream.write_all(b"after").expect("write");
        stream.shutdown(Shutdown::Write).expect("half-close");
        read_to_end(&stream)
    });
    assert_eq!(
        String::from_utf8_lossy(&echoed),
        "beforeafter",
        "the octets around the urgent one"
    );
    server.settles(&before);
    server.stop();
}

/// A router's marks on our data: the kernel echoes them, and we say that we have reduced (CWR).
fn congestion_marks_of_the_network(driver: Driver) {
    let lab = Lab::new(driver);
    let mut server = Server::start(&lab, "http", &["--body-size", "300000"]);
    let before = server.stats();
    lab.linux_sh("sysctl -q -w net.ipv4.tcp_ecn=1");
    let table = format!(
        "table netdev marks {{\n\
         counter reduced {{ }}\n\
         counter marked {{ }}\n\
         chain in {{ type filter hook ingress device \"{}\" priority 0;\n\
         tcp flags & cwr == cwr counter name reduced\n\
         ip ecn ect0 counter name marked ip ecn set ce\n\
         }}\n}}\n",
        lab.linux_dev()
    );
    run(lab.linux("nft").arg(&table), LIMIT).success();
    assert_eq!(fetched(&lab), 300_000);
    server.settles(&before);
    for name in ["marked", "reduced"] {
        let said = lab.linux_sh(&format!("nft list counter netdev marks {name}"));
        assert!(
            said.contains("packets") && !said.contains("packets 0 "),
            "no packet was {name}: {said}"
        );
    }
    assert!(kernel_counter(&lab, "IpExtInCEPkts") > 0);
    server.stop();
}
