//! The registry of settings, with Linux's names, defaults and units (`Documentation/networking/ip-sysctl`).

mod ports;

use crate::tcp::fastopen::FastOpenKeys;
use thiserror::Error;

pub use ports::PortSet;

/// `tcp_mem` for the default pool of 1 GiB.
pub(crate) const TCP_MEM_DEFAULT: [u32; 3] = [122_880, 163_840, 245_760];

/// Why a setting was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SysctlError {
    /// No setting has this name.
    #[error("unknown sysctl `{0}`; `millrace serve --help` says where the names are listed")]
    Unknown(String),
    /// The value does not parse or lies outside the range.
    #[error("sysctl {name}: `{value}` is not valid; give {expected}")]
    Value {
        /// The setting.
        name: &'static str,
        /// What was given.
        value: String,
        /// What would be right.
        expected: String,
    },
}

macro_rules! sysctls {
    ($($(#[doc = $doc:literal])* $name:ident: $ty:ty = $default:expr, $min:expr, $max:expr;)*) => {
        /// All settings of a stack; fields carry Linux's names.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Sysctl { $($(#[doc = $doc])* pub $name: $ty,)* }

        impl Default for Sysctl {
            fn default() -> Self { Self { $($name: $default,)* } }
        }

        impl Sysctl {
            /// The names of all settings, without the `net.ipv4.` prefix.
            pub fn names() -> &'static [&'static str] { &[$(stringify!($name),)*] }

            /// The value as `/proc/sys` prints it; `None` for an unknown name.
            pub fn get(&self, name: &str) -> Option<String> {
                match short(name) { $(stringify!($name) => Some(Value::print(&self.$name)),)* _ => None }
            }

            /// Sets one value; `name` with or without its `net.ipv4.` or `net.core.` prefix.
            ///
            /// # Errors
            /// An unknown name, or a value that does not parse or is out of range.
            pub fn set(&mut self, name: &str, value: &str) -> Result<(), SysctlError> {
                match short(name) {
                    $(stringify!($name) => {
                        let refused = || SysctlError::Value {
                            name: stringify!($name),
                            value: value.to_owned(),
                            expected: <$ty as Value>::expected($min, $max),
                        };
                        let read = self.$name.read(value, $min, $max).ok_or_else(refused)?;
                        let before = core::mem::replace(&mut self.$name, read);
                        if !self.is_consistent() {
                            self.$name = before;
                            return Err(refused());
                        }
                        Ok(())
                    })*
                    _ => Err(SysctlError::Unknown(name.to_owned())),
                }
            }
        }
    };
}

/// `net.ipv4.tcp_sack`, `net/ipv4/tcp_sack` and `tcp_sack` are the same setting.
fn short(name: &str) -> &str {
    name.rsplit(['.', '/']).next().unwrap_or(name)
}

impl Sysctl {
    /// What one setting demands of another (Linux `ipv4_local_port_range`, `ipv4_privileged_ports`).
    fn is_consistent(&self) -> bool {
        let [low, high] = self.ip_local_port_range;
        low <= high && self.ip_unprivileged_port_start <= low
    }
}

/// How a value is written in `/proc/sys`.
trait Value: Sized {
    /// The value that writing `text` over the present one gives.
    fn read(&self, text: &str, min: u32, max: u32) -> Option<Self>;
    fn print(&self) -> String;
    fn expected(min: u32, max: u32) -> String;
}

impl Value for u32 {
    fn read(&self, text: &str, min: u32, max: u32) -> Option<Self> {
        let text = text.trim();
        // Linux takes hexadecimal numbers too.
        let number = match text.strip_prefix("0x") {
            Some(digits) => u32::from_str_radix(digits, 16).ok(),
            None => text.parse().ok(),
        };
        number.filter(|v| (min..=max).contains(v))
    }
    fn print(&self) -> String {
        self.to_string()
    }
    fn expected(min: u32, max: u32) -> String {
        format!("a number from {min} to {max}")
    }
}

/// Linux keeps any number up to 255 for most of these and asks only whether it is 0; here it reads back as 1.
impl Value for bool {
    fn read(&self, text: &str, min: u32, max: u32) -> Option<Self> {
        u32::from(*self).read(text, min, max).map(|v| v != 0)
    }
    fn print(&self) -> String {
        u8::from(*self).to_string()
    }
    fn expected(_: u32, _: u32) -> String {
        "0 or 1".to_owned()
    }
}

/// Numbers that are not given stay as they are, and those too many are not looked at (Linux `proc_dointvec`).
impl<const N: usize> Value for [u32; N] {
    fn read(&self, text: &str, min: u32, max: u32) -> Option<Self> {
        let mut out = *self;
        let mut words = text.split_whitespace().peekable();
        words.peek()?;
        for (slot, word) in out.iter_mut().zip(words) {
            *slot = slot.read(word, min, max)?;
        }
        Some(out)
    }
    fn print(&self) -> String {
        self.map(|v| v.to_string()).join("\t")
    }
    fn expected(min: u32, max: u32) -> String {
        format!("up to {N} numbers from {min} to {max}, separated by blanks")
    }
}

impl Value for PortSet {
    fn read(&self, text: &str, _: u32, _: u32) -> Option<Self> {
        Self::parse(text)
    }
    fn print(&self) -> String {
        self.to_string()
    }
    fn expected(_: u32, _: u32) -> String {
        "ports and ranges of ports such as 8080,9000-9100, or nothing".to_owned()
    }
}

/// Most seconds of a setting that Linux keeps in jiffies, 250 a second.
const MAX_SECONDS: u32 = i32::MAX as u32 / 250;

/// The keys of Fast Open cookies, if any were set.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FastOpenKey(pub Option<FastOpenKeys>);

impl Value for FastOpenKey {
    fn read(&self, text: &str, _: u32, _: u32) -> Option<Self> {
        Some(Self(Some(FastOpenKeys::parse(text)?)))
    }
    fn print(&self) -> String {
        let none = FastOpenKeys {
            primary: [0; 16],
            backup: None,
        };
        self.0.unwrap_or(none).print()
    }
    fn expected(_: u32, _: u32) -> String {
        "one or two keys xxxxxxxx-xxxxxxxx-xxxxxxxx-xxxxxxxx, separated by a comma".to_owned()
    }
}

sysctls! {
    /// Upper limit of a listener's backlog.
    somaxconn: u32 = 4096, 0, i32::MAX as u32;
    /// SYN cookies: 0 never, 2 always, any other when a listener's queue of handshakes is full.
    tcp_syncookies: u32 = 1, 0, 255;
    /// Handshakes in progress per listener; without cookies its last quarter is for peers that are known.
    tcp_max_syn_backlog: u32 = 1024, 0, i32::MAX as u32;
    /// TCP Fast Open (RFC 7413), bits: 1 client, 2 server, 4 client without cookie, 0x200 server without cookie, 0x400
    /// all listeners.
    tcp_fastopen: u32 = 1, 0, i32::MAX as u32;
    /// Keys of Fast Open cookies: one, or two with a comma; zeros when none was set.
    tcp_fastopen_key: FastOpenKey = FastOpenKey(None), 0, 0;
    /// Seconds that Fast Open pauses after a black hole was found; doubled each time, 0 never pauses.
    tcp_fastopen_blackhole_timeout_sec: u32 = 0, 0, i32::MAX as u32;
    /// Reset connections that overflow the accept queue instead of dropping the handshake's last ACK.
    tcp_abort_on_overflow: bool = false, 0, 255;
    /// Retransmissions of a SYN before connect fails.
    tcp_syn_retries: u32 = 6, 1, 127;
    /// Time-outs of a SYN that are not doubled, beside those of `tcp_syn_retries`.
    tcp_syn_linear_timeouts: u32 = 4, 0, 127;
    /// Retransmissions of a SYN-ACK before the request is dropped.
    tcp_synack_retries: u32 = 5, 0, 255;
    /// Explicit congestion notification (RFC 3168): 0 off, 1 offer and accept it, 2 accept it.
    tcp_ecn: u32 = 2, 0, 2;
    /// A SYN that offers ECN and is lost goes out again without it (RFC 3168 §6.1.1.1).
    tcp_ecn_fallback: bool = true, 0, 1;
    /// Offer and accept timestamps (RFC 7323).
    tcp_timestamps: u32 = 1, 0, 255;
    /// Offer and accept window scaling (RFC 7323).
    tcp_window_scaling: bool = true, 0, 255;
    /// Offer and accept selective acknowledgements (RFC 2018).
    tcp_sack: bool = true, 0, 255;
    /// Send duplicate SACKs (RFC 2883).
    tcp_dsack: bool = true, 0, 255;
    /// Memory of all connections, pages of 4 KiB: below the first all is well, above the second is pressure, above the
    /// third nothing more is given. The default follows `Limits::ring_chunks`.
    tcp_mem: [u32; 3] = TCP_MEM_DEFAULT, 0, i32::MAX as u32;
    /// Receive buffer, bytes: least, initial, most. Half of it is window, as with Linux's overhead accounting.
    tcp_rmem: [u32; 3] = [4096, 131_072, 6_291_456], 1, i32::MAX as u32;
    /// Send buffer, bytes: least, initial, most.
    tcp_wmem: [u32; 3] = [4096, 16_384, 4_194_304], 1, i32::MAX as u32;
    /// The urgent pointer names the urgent octet itself (RFC 1122), not the one after it (BSD, RFC 6093).
    tcp_stdurg: bool = false, 0, 255;
    /// Octets not sent yet from which on a socket takes no more (TCP_NOTSENT_LOWAT of all sockets).
    tcp_notsent_lowat: u32 = u32::MAX, 0, u32::MAX;
    /// Adapt the receive buffer to the rate at which the application reads.
    tcp_moderate_rcvbuf: bool = true, 0, 255;
    /// Retransmissions after which the route is doubted (R1).
    tcp_retries1: u32 = 3, 0, 255;
    /// Retransmissions after which the connection is given up (R2), as a time with exponential back-off.
    tcp_retries2: u32 = 15, 0, 255;
    /// Retries of a connection that has no owner any more; 0 means 8.
    tcp_orphan_retries: u32 = 0, 0, 255;
    /// Most connections without an owner.
    tcp_max_orphans: u32 = 131_072, 0, i32::MAX as u32;
    /// Most TIME_WAIT sockets.
    tcp_max_tw_buckets: u32 = 131_072, 0, i32::MAX as u32;
    /// Reuse of TIME_WAIT tuples by connect: 0 never, 1 always, 2 only loopback; timestamps required.
    tcp_tw_reuse: u32 = 2, 0, 2;
    /// Milliseconds of TIME_WAIT before `tcp_tw_reuse` applies.
    tcp_tw_reuse_delay: u32 = 1000, 1, 60_000;
    /// Ignore RST in TIME_WAIT (RFC 1337).
    tcp_rfc1337: bool = false, 0, 255;
    /// Seconds that an orphan stays in FIN_WAIT2.
    tcp_fin_timeout: u32 = 60, 0, MAX_SECONDS;
    /// Seconds of idleness before the first keepalive probe.
    tcp_keepalive_time: u32 = 7200, 0, MAX_SECONDS;
    /// Seconds between keepalive probes.
    tcp_keepalive_intvl: u32 = 75, 0, MAX_SECONDS;
    /// Unanswered keepalive probes before the connection is dropped.
    tcp_keepalive_probes: u32 = 9, 0, 255;
    /// Sequence reordering, in segments, that is not yet loss.
    tcp_reordering: u32 = 3, 1, 300;
    /// Most that a connection may learn of it.
    tcp_max_reordering: u32 = 300, 1, i32::MAX as u32;
    /// Tail loss probes: 0 off, 3 and 4 on.
    tcp_early_retrans: u32 = 3, 0, 4;
    /// Least time between duplicate ACKs sent in answer to invalid segments, ms.
    tcp_invalid_ratelimit: u32 = 500, 0, i32::MAX as u32;
    /// Join short segments when they are sent again.
    tcp_retrans_collapse: bool = true, 0, 255;
    /// Restart from the initial window after an idle time of one RTO.
    tcp_slow_start_after_idle: bool = true, 0, 255;
    /// Least segment size that a peer or path can force on us.
    tcp_min_snd_mss: u32 = 48, 48, 65_535;
    /// Least RTO, microseconds.
    tcp_rto_min_us: u32 = 200_000, 1, i32::MAX as u32;
    /// Largest RTO, milliseconds.
    tcp_rto_max_ms: u32 = 120_000, 1000, 120_000;
    /// Ports that connect chooses from.
    ip_local_port_range: [u32; 2] = [32_768, 60_999], 1, 65_535;
    /// Ports that are never chosen, only named.
    ip_local_reserved_ports: PortSet = PortSet::default(), 0, 65_535;
    /// The first port that `ip_local_port_range` may have. (Every port may be named: the owner of a stack is its root.)
    ip_unprivileged_port_start: u32 = 1024, 0, 65_535;
    /// bind takes addresses that are not ours.
    ip_nonlocal_bind: bool = false, 0, 255;
    /// Time-outs of connections with fewer than four segments in the network are not doubled.
    tcp_thin_linear_timeouts: bool = false, 0, 255;
    /// Initial TTL.
    ip_default_ttl: u32 = 64, 1, 255;
    /// Least path MTU that an ICMP message can cause.
    min_pmtu: u32 = 552, 68, 65_535;
    /// Seconds that a learnt path MTU lasts.
    mtu_expires: u32 = 600, 0, MAX_SECONDS;
    /// Most bytes SO_RCVBUF may ask for.
    rmem_max: u32 = 4_194_304, 2304, i32::MAX as u32;
    /// Most bytes SO_SNDBUF may ask for.
    wmem_max: u32 = 4_194_304, 4608, i32::MAX as u32;
    /// Ignore all echo requests.
    icmp_echo_ignore_all: bool = false, 0, 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_and_without_prefix() {
        let mut s = Sysctl::default();
        s.set("net.ipv4.tcp_sack", "0").unwrap();
        assert!(!s.tcp_sack);
        s.set("net/ipv4/tcp_rmem", "4096 65536 131072").unwrap();
        assert_eq!(s.get("tcp_rmem").unwrap(), "4096\t65536\t131072");
        assert!(matches!(
            s.set("tcp_nonsense", "1"),
            Err(SysctlError::Unknown(_))
        ));
        for (name, bad) in [
            ("tcp_sack", "256"),
            ("tcp_rmem", "0"),
            ("tcp_rmem", ""),
            ("ip_local_port_range", "50003 50000"),
            ("ip_local_port_range", "1 65535"),
            ("ip_local_port_range", "50000 70000"),
            ("ip_unprivileged_port_start", "32769"),
            ("ip_local_reserved_ports", "5-3"),
            ("tcp_retries2", "-1"),
        ] {
            assert!(
                matches!(s.set(name, bad), Err(SysctlError::Value { .. })),
                "{name}={bad}"
            );
        }
        for name in Sysctl::names() {
            let value = s.get(name).unwrap();
            assert!(
                s.set(name, &value).is_ok(),
                "{name} refuses its own default {value}"
            );
        }
    }

    /// Where a setting differs from Linux's, and why.
    const DIFFERENT: &[(&str, &str)] = &[
        (
            "tcp_max_syn_backlog",
            "Linux scales its default with the memory of the machine",
        ),
        (
            "tcp_rmem",
            "Linux scales the greatest with the memory of the machine",
        ),
    ];

    #[test]
    fn names_values_and_ranges_are_linuxs() {
        let mut lines = include_str!("sysctl/linux_6_18.txt").lines();
        let tried: Vec<&str> = lines
            .by_ref()
            .find_map(|line| {
                line.strip_prefix("# -1 ")
                    .map(|rest| rest.split(' ').collect())
            })
            .unwrap();
        let mut rows = 0;
        for row in lines.filter(|line| !line.starts_with('#')) {
            let words: Vec<&str> = row.split(' ').collect();
            let [name, value, least, greatest] = words.as_slice() else {
                panic!("{row}");
            };
            rows += 1;
            let mut sysctl = Sysctl::default();
            let ours = sysctl.get(name).unwrap().replace('\t', "/");
            let theirs = value.trim_start_matches('-');
            let known = DIFFERENT.iter().any(|(other, _)| other == name);
            assert_eq!(ours != theirs, known, "{name}: {ours:?}, Linux: {theirs:?}");
            // Not writable in a namespace; and a path MTU has 16 bits here.
            if *least == "?" || *name == "min_pmtu" {
                continue;
            }
            let number = |text: &str| text.parse::<i64>().unwrap();
            for text in &tried {
                let expected = (number(least)..=number(greatest)).contains(&number(text));
                let taken = sysctl.set(name, text);
                assert_eq!(taken.is_ok(), expected, "{name} = {text}");
                if taken.is_ok() && !theirs.contains('/') {
                    let read = sysctl.get(name).unwrap();
                    let as_flag = u8::from(*text != "0").to_string();
                    assert!(read == **text || read == as_flag, "{name} = {text}: {read}");
                }
            }
        }
        assert_eq!(
            rows + 2,
            Sysctl::names().len(),
            "tcp_max_orphans and tcp_mem are not in a namespace"
        );
    }
}
