//! What the `--name=value` lines of a script ask for.

use std::net::Ipv4Addr;

use super::ast::{Micros, OptionLine};
use super::verdict::Stop;

/// How written segments and live segments correspond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Segments {
    /// Smaller live segments may add up to a written one.
    Glued,
    /// One written segment is one live segment (`--strict_segments`).
    Strict,
}

/// How the echo of an injected timestamp is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EcrMapping {
    /// The value must have been seen in an expected packet.
    Seen,
    /// Other values are counted on from the first one seen (`--tcp_ts_ecr_scaled`).
    Scaled,
}

/// Whether a mismatch ends the script (`--non_fatal`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fatal {
    /// It does.
    Yes,
    /// It is only noted.
    No,
}

/// The settings of one run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Settings {
    /// Local port for `bind`.
    pub bind_port: u16,
    /// Remote port for `connect`.
    pub connect_port: u16,
    /// The stack's address.
    pub local_ip: Ipv4Addr,
    /// Prefix length of the stack's network.
    pub prefix_len: u8,
    /// The peer's address.
    pub remote_ip: Ipv4Addr,
    /// The next hop to the peer, if it is written.
    pub gateway_ip: Option<Ipv4Addr>,
    /// Of the stack's interface, in bytes.
    pub mtu: u16,
    /// Injected segments are cut into trains of this payload size; `None`: injected as they are.
    pub train_mss: Option<u16>,
    /// Absolute tolerance of times.
    pub tolerance: Micros,
    /// Relative tolerance of times, in percent.
    pub tolerance_percent: f64,
    /// Length of a tick of the timestamp clock; `None`: values are not compared.
    pub ts_tick: Option<Micros>,
    /// How echoes are mapped.
    pub ecr: EcrMapping,
    /// Segmentation.
    pub segments: Segments,
    /// Mismatches of packets.
    pub fatal_packets: Fatal,
    /// Mismatches of calls.
    pub fatal_calls: Fatal,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            bind_port: 8080,
            connect_port: 8080,
            local_ip: Ipv4Addr::new(192, 168, 0, 1),
            prefix_len: 16,
            remote_ip: Ipv4Addr::new(192, 0, 2, 1),
            gateway_ip: None,
            mtu: 1500,
            train_mss: None,
            tolerance: 4_000,
            tolerance_percent: 12.5,
            ts_tick: None,
            ecr: EcrMapping::Seen,
            segments: Segments::Glued,
            fatal_packets: Fatal::Yes,
            fatal_calls: Fatal::Yes,
        }
    }
}

impl Settings {
    /// The defaults, changed by a script's option lines.
    pub(super) fn from_options(lines: &[OptionLine]) -> Result<Self, Stop> {
        let mut settings = Self::default();
        for line in lines {
            let value = line.value.as_deref().unwrap_or("");
            let Some(()) = settings.apply(&line.name, value) else {
                return Err(Stop::unsupported(
                    line.line,
                    format!("--{}={value}", line.name),
                ));
            };
        }
        Ok(settings)
    }

    /// `None`: the option or its value is not known.
    fn apply(&mut self, name: &str, value: &str) -> Option<()> {
        match name {
            "ip_version" => return (value == "ipv4").then_some(()),
            "bind_port" => self.bind_port = value.parse().ok()?,
            "connect_port" => self.connect_port = value.parse().ok()?,
            "local_ip" => self.local_ip = value.parse().ok()?,
            "remote_ip" => self.remote_ip = value.parse().ok()?,
            "gateway_ip" => self.gateway_ip = Some(value.parse().ok()?),
            "netmask_ip" => self.prefix_len = prefix_len(value.parse().ok()?)?,
            "mtu" => self.mtu = value.parse().ok()?,
            "mss" => self.train_mss = Some(value.parse().ok()?).filter(|mss| *mss > 0),
            "tolerance_usecs" => self.tolerance = value.parse().ok()?,
            "tolerance_percent" => self.tolerance_percent = value.parse().ok()?,
            "tcp_ts_tick_usecs" => {
                self.ts_tick = Some(value.parse().ok()?).filter(|tick| *tick > 0)
            }
            "tcp_ts_ecr_scaled" => self.ecr = EcrMapping::Scaled,
            "strict_segments" => self.segments = Segments::Strict,
            "non_fatal" => self.apply_non_fatal(value)?,
            // `packetdrill` applies them when it reads the text; so do we.
            "define" => drop(value.split_once('=')?),
            // What they ask for is so in any case: our buffers live as long as they are needed, and the log is the
            // caller's wish.
            "send_omit_free" | "verbose" | "debug" => {}
            _ => return None,
        }
        Some(())
    }
}

impl Settings {
    /// `packet`, `syscall` or both: mismatches there are only noted.
    fn apply_non_fatal(&mut self, value: &str) -> Option<()> {
        for kind in value.split(',') {
            match kind {
                "packet" => self.fatal_packets = Fatal::No,
                "syscall" => self.fatal_calls = Fatal::No,
                _ => return None,
            }
        }
        Some(())
    }
}

fn prefix_len(mask: Ipv4Addr) -> Option<u8> {
    let ones = mask.to_bits().leading_ones();
    (ones + mask.to_bits().trailing_zeros() == 32).then_some(ones as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, value: &str) -> OptionLine {
        OptionLine {
            line: 7,
            name: name.to_owned(),
            value: Some(value.to_owned()),
        }
    }

    #[test]
    fn lines_change_the_defaults() {
        let lines = [
            line("mtu", "1400"),
            line("netmask_ip", "255.255.255.0"),
            line("tolerance_usecs", "100"),
            line("tcp_ts_tick_usecs", "1000"),
            line("mss", "1460"),
        ];
        let settings = Settings::from_options(&lines).unwrap();
        assert_eq!(
            (settings.mtu, settings.prefix_len, settings.tolerance),
            (1400, 24, 100)
        );
        assert_eq!(
            (settings.ts_tick, settings.train_mss),
            (Some(1000), Some(1460))
        );
        assert_eq!(settings.remote_ip, Settings::default().remote_ip);
    }

    #[test]
    fn what_we_cannot_do_is_said() {
        for (name, value) in [
            ("ip_version", "ipv6"),
            ("mtu", "x"),
            ("speed", "5"),
            ("netmask_ip", "255.0.255.0"),
        ] {
            let stop = Settings::from_options(&[line(name, value)]).unwrap_err();
            assert_eq!(stop, Stop::unsupported(7, format!("--{name}={value}")));
        }
    }
}
