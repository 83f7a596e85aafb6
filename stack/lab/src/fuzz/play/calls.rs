//! The calls of a tape. Errors are as good as results; a finding is a broken promise or a panic.

use std::net::Shutdown;
use std::time::Duration;

use millrace_net::{MsgFlags, OptName, SockOpt};

use super::super::peer::REMOTE;
use super::{MAX_SOCKETS, Player};

/// Settings that change while connections live, in both directions.
const SYSCTLS: [(&str, [&str; 2]); 20] = [
    ("net.ipv4.tcp_syncookies", ["0", "2"]),
    ("net.ipv4.tcp_max_syn_backlog", ["1", "1024"]),
    ("net.ipv4.tcp_fastopen", ["3", "519"]),
    ("net.ipv4.tcp_fastopen_blackhole_timeout_sec", ["3", "0"]),
    ("net.ipv4.tcp_abort_on_overflow", ["1", "0"]),
    ("net.ipv4.tcp_ecn", ["1", "0"]),
    ("net.ipv4.tcp_timestamps", ["0", "1"]),
    ("net.ipv4.tcp_window_scaling", ["0", "1"]),
    ("net.ipv4.tcp_sack", ["0", "1"]),
    ("net.ipv4.tcp_dsack", ["0", "1"]),
    ("net.ipv4.tcp_mem", ["0 0 1", "122880 163840 245760"]),
    ("net.ipv4.tcp_rmem", ["1 1 1", "4096 131072 6291456"]),
    ("net.ipv4.tcp_wmem", ["1 1 1", "4096 16384 4194304"]),
    ("net.ipv4.tcp_stdurg", ["1", "0"]),
    ("net.ipv4.tcp_retries2", ["0", "15"]),
    ("net.ipv4.tcp_max_tw_buckets", ["0", "131072"]),
    ("net.ipv4.tcp_early_retrans", ["0", "3"]),
    ("net.ipv4.tcp_invalid_ratelimit", ["0", "500"]),
    ("net.ipv4.tcp_rto_min_us", ["1", "200000"]),
    (
        "net.ipv4.ip_local_port_range",
        ["40000 40001", "32768 60999"],
    ),
];

/// Options that are only looked at.
const NAMES: [OptName; 12] = [
    OptName::Error,
    OptName::MemInfo,
    OptName::SndBuf,
    OptName::RcvBuf,
    OptName::MaxSeg,
    OptName::Mtu,
    OptName::FastOpen,
    OptName::Linger,
    OptName::DeferAccept,
    OptName::WindowClamp,
    OptName::AcceptConn,
    OptName::Timestamping,
];

impl Player {
    /// One socket call.
    pub(super) fn call(&mut self, what: u8, which: u8, n: u16) {
        match what % 32 {
            0..16 => self.plain(what % 16, which, n),
            16..22 => self.message(what % 32, which, n),
            22 => self.fast_open(which, n),
            23 | 24 => self.sign(which, n),
            25 => self.sysctl(which, n),
            _ => self.socket(what % 32, which, n),
        }
        self.host.flush();
        self.look();
    }

    fn plain(&mut self, what: u8, which: u8, n: u16) {
        let now = self.host.now();
        let at = usize::from(which) % self.sockets.len();
        let sock = self.sockets[at];
        let stack = self.host.stack();
        match what {
            0 | 1 => {
                if self.sockets.len() < MAX_SOCKETS
                    && let Ok((child, _)) = stack.accept(now, self.sockets[0])
                {
                    self.sockets.push(child);
                }
            }
            2 | 3 => drop(stack.send(now, sock, &vec![0x33; usize::from(n)], MsgFlags::NONE)),
            4 => drop(stack.send(now, sock, &vec![0x33; usize::from(n)], MsgFlags::MORE)),
            5 | 6 => drop(stack.recv(now, sock, &mut vec![0; usize::from(n)], MsgFlags::NONE)),
            7 => drop(stack.recv(now, sock, &mut vec![0; usize::from(n)], MsgFlags::PEEK)),
            8 => drop(stack.shutdown(
                now,
                sock,
                [Shutdown::Read, Shutdown::Write, Shutdown::Both][usize::from(n) % 3],
            )),
            9 if at > 0 => {
                let _ = stack.close(now, sock);
                self.sockets.swap_remove(at);
            }
            10 if at > 0 => stack.abort(now, sock),
            11 | 12 => drop(stack.set_option(now, sock, option(which, n))),
            13 => drop(stack.readiness(sock).map(|_| stack.take_error(sock))),
            14 => self.connect(which),
            _ => drop((
                stack.send_space(sock),
                stack.recv_len(sock),
                stack.peer_addr(sock),
            )),
        }
    }

    /// Urgent data, and all flags of send and recv together.
    fn message(&mut self, what: u8, which: u8, n: u16) {
        let now = self.host.now();
        let sock = self.sockets[usize::from(which) % self.sockets.len()];
        let stack = self.host.stack();
        let flags = MsgFlags::from_bits_truncate(u32::from(n));
        let mut room = vec![0; usize::from(n >> 4)];
        match what {
            16 => drop(stack.send(now, sock, &vec![0x55; usize::from(n % 300)], MsgFlags::OOB)),
            17 => drop(stack.send(now, sock, &room, flags)),
            18 => drop(stack.at_mark(sock)),
            19 => drop(stack.recv(now, sock, &mut [0; 4], flags | MsgFlags::OOB)),
            20 => {
                let before = stack.recv_len(sock);
                let seen = stack.recv_msg(now, sock, &mut room, MsgFlags::PEEK);
                if let (Ok(before), Ok(seen)) = (before, seen) {
                    assert!(seen.len <= room.len(), "a peek beyond the room");
                    assert_eq!(stack.recv_len(sock), Ok(before), "a peek takes nothing");
                }
            }
            _ => {
                if let Ok(got) = stack.recv_msg(now, sock, &mut room, flags) {
                    assert!(got.len <= room.len(), "more octets than room");
                }
            }
        }
    }

    /// MSG_FASTOPEN to the peer, on a socket of its own.
    fn fast_open(&mut self, who: u8, n: u16) {
        let now = self.host.now();
        let stack = self.host.stack();
        if self.sockets.len() >= MAX_SOCKETS {
            return;
        }
        let Ok(sock) = stack.tcp_socket() else { return };
        let to = self.peer.remote(who);
        let data = vec![0x66; usize::from(n % 3_000)];
        if n & 0x8000 != 0 {
            // The other way to the same end: connect waits for the first data.
            let _ = stack.set_option(now, sock, SockOpt::FastOpenConnect(true));
            let _ = stack.connect(now, sock, to);
            let _ = stack.send(now, sock, &data, MsgFlags::NONE);
        } else {
            let _ = stack.send_fastopen(now, sock, to, &data);
        }
        if let Ok(local) = stack.local_addr(sock) {
            self.peer.called(to.port(), local.port());
        }
        self.sockets.push(sock);
    }

    /// TCP_MD5SIG: a key for the peer comes, changes or goes.
    fn sign(&mut self, which: u8, n: u16) {
        let now = self.host.now();
        let sock = self.sockets[usize::from(which) % self.sockets.len()];
        let secret = vec![0x77; usize::from(n & 3) * 7];
        let prefix = (n >> 8) as u8 % 40;
        let stack = self.host.stack();
        let _ = stack.set_md5_key(now, sock, (REMOTE, prefix), &secret);
    }

    fn sysctl(&mut self, which: u8, n: u16) {
        let (name, values) = SYSCTLS[usize::from(which) % SYSCTLS.len()];
        self.host
            .stack()
            .set_sysctl(name, values[usize::from(n & 1)])
            .expect("a setting with a value that it may have");
    }

    /// What becomes of a socket: disconnected, listening once more, with options that are rarer.
    fn socket(&mut self, what: u8, which: u8, n: u16) {
        let now = self.host.now();
        let sock = self.sockets[usize::from(which) % self.sockets.len()];
        let stack = self.host.stack();
        match what {
            26 => drop(stack.disconnect(now, sock)),
            27 => drop(stack.listen(sock, u32::from(n))),
            28 | 29 => drop(stack.set_option(now, sock, rare_option((n >> 8) as u8, n))),
            30 => drop(stack.option(sock, NAMES[usize::from(n) % NAMES.len()])),
            _ => {
                // An accepted or connected socket goes on with another peer.
                let _ = stack.disconnect(now, sock);
                let to = self.peer.remote((n & 3) as u8);
                let _ = stack.connect(now, sock, to);
                if let Ok(local) = stack.local_addr(sock) {
                    self.peer.called(to.port(), local.port());
                }
            }
        }
    }

    fn connect(&mut self, who: u8) {
        let now = self.host.now();
        let stack = self.host.stack();
        if self.sockets.len() >= MAX_SOCKETS {
            return;
        }
        let Ok(sock) = stack.tcp_socket() else { return };
        let to = self.peer.remote(who);
        let _ = stack.connect(now, sock, to);
        if let Ok(local) = stack.local_addr(sock) {
            self.peer.called(to.port(), local.port());
        }
        self.sockets.push(sock);
    }
}

fn option(which: u8, n: u16) -> SockOpt {
    let on = n & 1 == 1;
    let number = u32::from(n);
    match which % 12 {
        0 => SockOpt::NoDelay(on),
        1 => SockOpt::Cork(on),
        2 => SockOpt::QuickAck(i32::from(n % 3)),
        3 => SockOpt::KeepAlive(on),
        4 => SockOpt::KeepIdle(number % 40_000),
        5 => SockOpt::KeepCnt(number % 200),
        6 => SockOpt::Linger(on, Duration::from_secs(u64::from(n / 2))),
        7 => SockOpt::SndBuf(number * 16),
        8 => SockOpt::RcvBuf(number * 16),
        9 => SockOpt::UserTimeout(number),
        10 => SockOpt::MaxSeg(n),
        _ => SockOpt::Linger2(i32::from(n.cast_signed())),
    }
}

fn rare_option(which: u8, n: u16) -> SockOpt {
    let on = n & 1 == 1;
    let number = u32::from(n & 0xff);
    match which % 16 {
        0 => SockOpt::OobInline(on),
        1 => SockOpt::RcvLowat(number * 64),
        2 => SockOpt::NotSentLowat(number * 16),
        3 => SockOpt::Inq(on),
        4 => SockOpt::DeferAccept(number % 20),
        5 => SockOpt::FastOpen(number % 4),
        6 => SockOpt::FastOpenNoCookie(on),
        7 => SockOpt::WindowClamp(number * 64),
        8 => SockOpt::RtoMaxMs(1_000 + number * 500),
        9 => SockOpt::ThinLinearTimeouts(on),
        10 => SockOpt::Tos(number as u8),
        11 => SockOpt::Timestamping(number * 8),
        12 => SockOpt::BufLock(number as u8 & 3),
        13 => SockOpt::SynCnt(number),
        14 => SockOpt::KeepIntvl(number),
        _ => SockOpt::RcvTimeo(on.then(|| Duration::from_millis(u64::from(number)))),
    }
}
