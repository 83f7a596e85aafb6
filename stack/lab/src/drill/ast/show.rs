//! Packets back in the script's notation.

use std::fmt;

use super::{Body, EcnFlags, Flags, Options, Tcp, TcpOption};

impl fmt::Display for Tcp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = self.seq.wrapping_add(self.len);
        write!(f, "{} {}:{}({})", self.flags, self.seq, end, self.len)?;
        if let Some(ack) = self.ack {
            write!(f, " ack {ack}")?;
        }
        if let Some(win) = self.win {
            write!(f, " win {win}")?;
        }
        if let Some(urg) = self.urg {
            write!(f, " urg {urg}")?;
        }
        match &self.options {
            Options::Ignored => f.write_str(" <...>"),
            Options::List(list) if list.is_empty() => Ok(()),
            Options::List(list) => {
                f.write_str(" <")?;
                for (i, option) in list.iter().enumerate() {
                    write!(f, "{}{option}", if i == 0 { "" } else { "," })?;
                }
                f.write_str(">")
            }
        }
    }
}

impl fmt::Display for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(tcp) => write!(f, "{tcp}"),
            Self::Udp { len, .. } => write!(f, "udp ({len})"),
            Self::Icmp(icmp) => match &icmp.code {
                Some(code) => write!(f, "icmp {} {code}", icmp.ty),
                None => write!(f, "icmp {}", icmp.ty),
            },
        }
    }
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letters = [
            (Self::FIN, 'F'),
            (Self::SYN, 'S'),
            (Self::RST, 'R'),
            (Self::PSH, 'P'),
            (Self::URG, 'U'),
        ];
        for (bit, letter) in letters {
            if self.has(bit) {
                write!(f, "{letter}")?;
            }
        }
        if let EcnFlags::Letters(bits) = self.ece {
            for (bit, letter) in [(EcnFlags::E, 'E'), (EcnFlags::W, 'W'), (EcnFlags::A, 'A')] {
                if bits & bit != 0 {
                    write!(f, "{letter}")?;
                }
            }
        }
        if self.has(Self::ACK) {
            f.write_str(".")?;
        }
        match self.ece {
            EcnFlags::Ace(digit) => write!(f, "{digit}"),
            EcnFlags::Letters(0) if self.bits == 0 => f.write_str("-"),
            EcnFlags::Letters(_) => Ok(()),
        }
    }
}

impl fmt::Display for TcpOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nop => f.write_str("nop"),
            Self::Eol => f.write_str("eol"),
            Self::Mss(mss) => write!(f, "mss {mss}"),
            Self::WindowScale(shift) => write!(f, "wscale {shift}"),
            Self::SackPermitted => f.write_str("sackOK"),
            Self::Sack(blocks) => {
                f.write_str("sack")?;
                blocks
                    .iter()
                    .try_for_each(|(left, right)| write!(f, " {left}:{right}"))
            }
            Self::Timestamps { val, ecr } => write!(f, "TS val {val} ecr {ecr}"),
            Self::Md5(digest) => write!(f, "md5 {}", Hex(digest)),
            Self::FastOpen(cookie) => write!(f, "FO {}", Hex(cookie)),
            Self::FastOpenExp(cookie) => write!(f, "FOEXP {}", Hex(cookie)),
            Self::AccEcn(counters) => {
                f.write_str("ECN")?;
                counters
                    .iter()
                    .try_for_each(|(counter, value)| write!(f, " {counter:?} {value}"))
            }
            Self::Other { kind, value } => write!(f, "kind-{kind} {}", Hex(value)),
        }
    }
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
