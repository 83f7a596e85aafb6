//! `millrace get` from unmodified servers, and what it says when they misbehave.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddrV4, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::command::{Finished, eventually, run};
use crate::lab::{Driver, LINUX, Lab, NOBODY};
use crate::scratch::{Scratch, file_sha256};
use crate::server::millrace;
use crate::socket::reset;

real_peer_tests! {
    get_100_mb_from_nginx: af_xdp | xsk_rs | tap;
    get_says_404: af_xdp | tap;
    get_a_chunked_body_and_one_that_ends_with_the_connection: af_xdp | tap;
    get_refused: af_xdp | tap;
    get_times_out: af_xdp | tap;
    get_without_a_route: af_xdp | tap;
    get_from_a_silent_neighbour: af_xdp | tap;
    get_reset_in_mid_transfer: af_xdp | tap;
    get_cut_short: af_xdp | tap;
}

const LIMIT: Duration = Duration::from_secs(90);

/// nginx in the peer's namespace, serving a folder on port 80; ended on drop.
struct Nginx(Child);

impl Nginx {
    fn start(lab: &Lab, scratch: &Scratch) -> Nginx {
        let at = |name: &str| scratch.text(name);
        let config = format!(
            "daemon off; master_process off; pid {}; error_log {};\nevents {{ worker_connections 64; }}\n\
             http {{ access_log off; client_body_temp_path {}; server {{ listen {LINUX}:80; root {}; }} }}\n",
            at("nginx.pid"),
            at("nginx.log"),
            at("nginx.body"),
            at("root"),
        );
        fs::write(scratch.path("nginx.conf"), config).expect("nginx.conf");
        let mut command: Command = lab.linux("nginx");
        command.args(["-e", &at("nginx.log"), "-c", &at("nginx.conf")]);
        let child = command
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx");
        eventually("nginx listens", LIMIT, || {
            lab.as_linux(|| TcpStream::connect((LINUX, 80)))
                .map(drop)
                .map_err(|e| e.to_string())
        });
        Nginx(child)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // It has no children (master_process off); the lab removes whatever would be left.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn get(lab: &Lab, url: &str, extra: &[&str]) -> Finished {
    run(millrace(lab, &["get", url]).args(extra), LIMIT)
}

/// A failed `get` exits 1 and says why in one line that has one of the words, whatever their case.
#[track_caller]
fn fails_with(done: &Finished, words: &[&str]) {
    assert_eq!(done.code, Some(1), "{done:?}");
    let said = done.err.to_lowercase();
    assert!(
        words.iter().any(|word| said.contains(word)),
        "{words:?} not in {done:?}"
    );
    assert!(!said.contains("panicked"), "{done:?}");
}

fn get_100_mb_from_nginx(driver: Driver) {
    let lab = Lab::new(driver);
    let scratch = Scratch::new();
    fs::create_dir(scratch.path("root")).expect("root");
    let sum = scratch.random_file("root/big.bin", 100_000_000, 30);
    let _nginx = Nginx::start(&lab, &scratch);
    let into = scratch.text("fetched");
    let done = get(&lab, &format!("http://{LINUX}/big.bin"), &["-o", &into]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(file_sha256(&scratch.path("fetched")), sum);
}

fn get_says_404(driver: Driver) {
    let lab = Lab::new(driver);
    let scratch = Scratch::new();
    fs::create_dir(scratch.path("root")).expect("root");
    let _nginx = Nginx::start(&lab, &scratch);
    fails_with(&get(&lab, &format!("http://{LINUX}/absent"), &[]), &["404"]);
}

/// Runs `millrace get` against a server of one connection: it reads the request and hands the socket to `serve`.
fn get_from(lab: &Lab, serve: impl FnOnce(TcpStream) + Send, extra: &[&str]) -> Finished {
    let listener = lab
        .as_linux(|| TcpListener::bind((LINUX, 8000)))
        .expect("listen");
    thread::scope(|scope| {
        scope.spawn(move || {
            let (mut stream, _) = listener.accept().expect("accept");
            stream.set_read_timeout(Some(LIMIT)).expect("timeout");
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).expect("a request");
                head.push(byte[0]);
            }
            serve(stream);
        });
        get(lab, &format!("http://{LINUX}:8000/thing"), extra)
    })
}

fn get_a_chunked_body_and_one_that_ends_with_the_connection(driver: Driver) {
    let lab = Lab::new(driver);
    let chunked = get_from(
        &lab,
        |mut stream| {
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            write!(stream, "{head}6\r\nhello \r\n").expect("reply");
            write!(stream, "5\r\nworld\r\n0\r\n\r\n").expect("reply");
        },
        &[],
    );
    assert_eq!(
        (chunked.code, chunked.out.as_str()),
        (Some(0), "hello world"),
        "{chunked:?}"
    );
    let until_close = get_from(
        &lab,
        |mut stream| {
            write!(stream, "HTTP/1.0 200 OK\r\n\r\nold but well").expect("reply");
            stream.shutdown(Shutdown::Write).expect("half-close");
            assert_eq!(stream.read_to_end(&mut Vec::new()).expect("its FIN"), 0);
        },
        &[],
    );
    assert_eq!(
        (until_close.code, until_close.out.as_str()),
        (Some(0), "old but well"),
        "{until_close:?}"
    );
}

fn get_refused(driver: Driver) {
    let lab = Lab::new(driver);
    fails_with(
        &get(
            &lab,
            &format!("http://{}/", SocketAddrV4::new(LINUX, 9)),
            &[],
        ),
        &["refused"],
    );
}

/// The peer drops every SYN.
fn get_times_out(driver: Driver) {
    let lab = Lab::new(driver);
    lab.linux_sh(
        "nft add table ip cut; \
         nft 'add chain ip cut in { type filter hook input priority 0; }'; \
         nft add rule ip cut in tcp dport 81 drop",
    );
    let url = format!("http://{}/", SocketAddrV4::new(LINUX, 81));
    fails_with(
        &get(&lab, &url, &["--timeout", "2"]),
        &["timed out", "timeout"],
    );
}

fn get_without_a_route(driver: Driver) {
    let lab = Lab::new(driver);
    fails_with(
        &get(&lab, "http://192.0.2.1/", &[]),
        &["no route", "unreachable"],
    );
}

/// ARP is not answered: EHOSTUNREACH after its retries, long before TCP gives up.
fn get_from_a_silent_neighbour(driver: Driver) {
    let lab = Lab::new(driver);
    let done = get(&lab, &format!("http://{NOBODY}/"), &["--timeout", "60"]);
    fails_with(&done, &["no route", "unreachable"]);
}

fn get_reset_in_mid_transfer(driver: Driver) {
    let lab = Lab::new(driver);
    let done = get_from(
        &lab,
        |mut stream| {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n").expect("reply");
            stream.write_all(&[b'x'; 100_000]).expect("reply");
            reset(stream);
        },
        &["-o", "/dev/null"],
    );
    fails_with(&done, &["reset"]);
}

fn get_cut_short(driver: Driver) {
    let lab = Lab::new(driver);
    let done = get_from(
        &lab,
        |mut stream| {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n").expect("reply");
            stream.write_all(&[b'x'; 100_000]).expect("reply");
        },
        &["-o", "/dev/null"],
    );
    fails_with(&done, &["100000", "short", "early", "closed"]);
}
