//! `serve http --root`.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use millrace_apps::http::Http;
use millrace_apps::services::Server;

use crate::wire::{AT, To, Wire, response, rest};

/// A folder of its own, gone at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "millrace-files-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let folder = Self(std::env::temp_dir().join(name));
        fs::create_dir_all(folder.0.join("site/sub")).expect("create");
        fs::write(folder.0.join("secret"), "secret").expect("write");
        fs::write(folder.0.join("site/index.html"), "home").expect("write");
        fs::write(folder.0.join("site/sub/a.txt"), "a").expect("write");
        symlink("../secret", folder.0.join("site/leak")).expect("symlink");
        folder
    }

    fn serve(&self) -> Wire {
        let http = Http::root(&self.0.join("site")).expect("root");
        Wire::new(Box::new(Server::new(http, None)))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").into_bytes()
}

#[test]
fn files_listings_redirects_and_escapes_on_one_connection() {
    let folder = Folder::new();
    let mut wire = folder.serve();
    let mut client = wire.client();
    let mut stream = client.connect(AT).expect("connect");
    let mut buffer = Vec::new();
    for (path, code, contains) in [
        ("/", 200, "home"),
        ("/index.html", 200, "home"),
        ("/sub/a.txt", 200, "a"),
        ("/sub/", 200, "<a href=\"a.txt\">"),
        ("/sub", 301, ""),
        ("/none", 404, "404"),
        ("/../secret", 403, "403"),
        ("/%2e%2e/secret", 403, "403"),
        ("/sub/..%2f..%2fsecret", 403, "403"),
        ("/leak", 403, "403"),
        ("/%00", 400, "400"),
    ] {
        stream.write_all(&get(path)).expect("request");
        let got = response(&mut stream, &mut buffer, To::Get);
        let text = String::from_utf8_lossy(&got.body).into_owned();
        assert_eq!(got.code, code, "{path}");
        assert!(
            text.contains(contains) && !text.contains("secret\n") && text != "secret",
            "{path}: {text}"
        );
    }
    stream
        .write_all(b"HEAD /sub/a.txt HTTP/1.1\r\nHost: x\r\n\r\n")
        .expect("request");
    assert_eq!(response(&mut stream, &mut buffer, To::Head).code, 200);
    stream.write_all(&get("/")).expect("request");
    assert_eq!(response(&mut stream, &mut buffer, To::Get).body, b"home");
    stream.close().expect("close");
    wire.nothing_left();
}

#[test]
fn a_file_larger_than_the_send_buffer() {
    let folder = Folder::new();
    let content: Vec<u8> = (0..12_345_678_u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    fs::write(folder.0.join("site/big"), &content).expect("write");
    let mut wire = folder.serve();
    let mut client = wire.client();
    let mut stream = client.connect(AT).expect("connect");
    // Two, pipelined.
    stream
        .write_all(&[get("/big"), get("/big")].concat())
        .expect("requests");
    let mut buffer = Vec::new();
    for _ in 0..2 {
        let got = response(&mut stream, &mut buffer, To::Get);
        assert!(got.code == 200 && got.body == content);
    }
    stream.close().expect("close");
    wire.nothing_left();
}

/// The length was promised: all that can be done is to break off.
#[test]
fn a_file_that_shrinks_breaks_the_connection() {
    let folder = Folder::new();
    let path = folder.0.join("site/big");
    fs::write(&path, vec![1; 20_000_000]).expect("write");
    let mut wire = folder.serve();
    let mut client = wire.client();
    let mut stream = client.connect(AT).expect("connect");
    stream.write_all(&get("/big")).expect("request");
    let mut beginning = [0; 1000];
    stream.read_exact(&mut beginning).expect("the beginning");
    fs::write(&path, "short").expect("shrink");
    assert!(rest(&mut stream).len() < 20_000_000 - 1000);
    stream.close().expect("close");
    wire.nothing_left();
}
