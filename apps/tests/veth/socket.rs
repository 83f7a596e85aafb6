//! Kernel sockets of the Linux peer. Only to be used inside [`Lab::as_linux`](crate::lab::Lab::as_linux).

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, SocketAddrV4, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::scratch::{Pattern, hex};

/// A read or write that makes no progress for this long has hung. Long enough for several doublings of an RTO.
const HUNG: Duration = Duration::from_secs(40);

/// A connected kernel socket whose calls fail instead of hanging.
#[track_caller]
pub fn connect(to: SocketAddrV4) -> TcpStream {
    try_connect(to).unwrap_or_else(|e| panic!("connect to {to}: {e}"))
}

/// The same, the error being of interest.
pub fn try_connect(to: SocketAddrV4) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&SocketAddr::V4(to), HUNG)?;
    stream.set_read_timeout(Some(HUNG))?;
    stream.set_write_timeout(Some(HUNG))?;
    Ok(stream)
}

/// Sends `total` bytes (a multiple of eight) to an echo server and receives them at the same time, shuts down for writing
/// at the end and reads to EOF. `echoed` counts what has come back. Both directions must have the same sha256.
#[track_caller]
pub fn echo_all(stream: &TcpStream, total: u64, seed: u64, echoed: &AtomicU64) {
    let (sent, (received, count)) = thread::scope(|scope| {
        let writer = scope.spawn(|| send_pattern(stream, total, seed));
        let reader = scope.spawn(|| receive_all(stream, echoed));
        (
            writer.join().expect("writer"),
            reader.join().expect("reader"),
        )
    });
    assert_eq!(count, total, "bytes echoed");
    assert_eq!(received, sent, "sha256 of what came back");
}

fn send_pattern(mut stream: &TcpStream, total: u64, seed: u64) -> String {
    let mut pattern = Pattern::new(seed);
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    let mut left = total;
    while left > 0 {
        let length = left.min(buffer.len() as u64) as usize;
        pattern.fill(&mut buffer[..length]);
        hash.update(&buffer[..length]);
        stream
            .write_all(&buffer[..length])
            .unwrap_or_else(|e| panic!("{left} bytes before the end: {e}"));
        left -= length as u64;
    }
    stream.shutdown(Shutdown::Write).expect("half-close");
    hex(hash.finalize().as_slice())
}

fn receive_all(mut stream: &TcpStream, count: &AtomicU64) -> (String, u64) {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    let mut total = 0;
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return (hex(hash.finalize().as_slice()), total),
            Ok(length) => {
                hash.update(&buffer[..length]);
                total += length as u64;
                count.store(total, Ordering::Relaxed);
            }
            Err(e) => panic!("after {total} bytes: {e}"),
        }
    }
}

/// Reads to EOF.
#[track_caller]
pub fn read_to_end(mut stream: &TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    stream
        .read_to_end(&mut all)
        .unwrap_or_else(|e| panic!("after {} bytes: {e}", all.len()));
    all
}

/// Closes with RST instead of FIN (`SO_LINGER` with a time of 0).
pub fn reset(stream: TcpStream) {
    let socket = socket2::Socket::from(stream);
    socket.set_linger(Some(Duration::ZERO)).expect("SO_LINGER");
}
