//! The arguments of the `millrace` command.

use core::str::FromStr;
use core::time::Duration;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use millrace::Ipv4Net;
use millrace::driver::{DriverSpec, ImpairSpec, XdpMode, XdpSockets};
use millrace::net::Sysctl;
use millrace::wire::mac::MacAddr;

use crate::control::ControlArgs;
use crate::get::url::Url;
use crate::iperf3::args::Iperf3Args;
use crate::latency::LatencyArgs;
use crate::load::args::LoadArgs;
use crate::load::compare::ReportArgs;
use crate::pingpong::PingpongArgs;
use crate::ss::SsArgs;
use crate::stat::StatArgs;

/// Millrace: a TCP/IP stack in user space.
#[derive(Debug, Parser)]
#[command(name = "millrace", version, max_term_width = 110)]
pub struct Cli {
    /// Say more on standard error.
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a service until SIGINT or SIGTERM; SIGUSR1 prints the statistics.
    Serve(ServeArgs),
    /// Fetch a URL.
    Get(GetArgs),
    /// Show both ends in one process, over an in-memory wire; needs no privileges.
    Demo(DemoArgs),
    /// Run conformance scripts in the packetdrill language on the stack, in virtual time; needs no privileges.
    Drill(DrillArgs),
    /// Show the counters of a process that runs, live.
    Stat(StatArgs),
    /// Show the sockets of a process that runs, as `ss` shows the kernel's.
    Ss(SsArgs),
    /// Play seeds of the simulator: stacks on a bad wire, in virtual time; needs no privileges.
    Sim(SimArgs),
    /// Load a server and measure its latency, over kernel sockets or over our own stack.
    Load(Box<LoadArgs>),
    /// Measure TCP throughput with iperf3's protocol: the other end may be stock iperf3.
    Iperf3(Box<Iperf3Args>),
    /// Compare records of `millrace load --json`.
    Report(ReportArgs),
    /// Run a service and show where the time of an iteration goes, stage by stage.
    Latency(Box<LatencyArgs>),
    /// Measure the floor of a driver: frames to and fro without a stack.
    Pingpong(Box<PingpongArgs>),
}

/// `millrace serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The service.
    #[arg(value_enum)]
    pub service: ServiceKind,
    /// Port to listen on, on all our addresses [default: 7, 9, 19 or 80, as the service].
    #[arg(long, conflicts_with = "listen", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,
    /// Address and port to listen on; may be repeated.
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Vec<SocketAddrV4>,
    /// Connections that may wait to be accepted (Linux somaxconn).
    #[arg(long, default_value_t = 4096)]
    pub backlog: u32,
    /// http: serve a body of this many bytes as / [default: 1024].
    #[arg(long, value_name = "BYTES", conflicts_with = "root")]
    pub body_size: Option<u64>,
    /// http: serve the files below this directory.
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// http: seconds after which a silent connection is closed.
    #[arg(long, value_name = "SECONDS", default_value = "75", value_parser = seconds)]
    pub idle_timeout: Duration,
    /// Seconds that open connections have to finish after SIGINT or SIGTERM.
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub drain_timeout: Duration,
    /// Print the statistics at the end.
    #[arg(long)]
    pub stats_on_exit: bool,
    /// Where and how to run.
    #[command(flatten)]
    pub net: NetArgs,
}

/// A service.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum ServiceKind {
    /// Sends back what it receives (RFC 862).
    Echo,
    /// Throws away what it receives (RFC 863).
    Discard,
    /// Sends text without end (RFC 864).
    Chargen,
    /// HTTP/1.1.
    Http,
}

impl ServiceKind {
    /// Its well-known port.
    pub const fn port(self) -> u16 {
        match self {
            Self::Echo => 7,
            Self::Discard => 9,
            Self::Chargen => 19,
            Self::Http => 80,
        }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Discard => "discard",
            Self::Chargen => "chargen",
            Self::Http => "http",
        }
    }
}

/// `millrace get`.
#[derive(Debug, Args)]
pub struct GetArgs {
    /// http://ADDRESS[:PORT]/PATH, with an IPv4 address.
    pub url: Url,
    /// Write the body to this file instead of standard output.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Seconds without any progress after which to give up.
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub timeout: Duration,
    /// Print the statistics at the end, on standard error.
    #[arg(long)]
    pub stats_on_exit: bool,
    /// Where and how to run.
    #[command(flatten)]
    pub net: NetArgs,
}

/// `millrace demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Bytes of the large body that is fetched.
    #[arg(long, value_name = "BYTES", default_value_t = 10_000_000)]
    pub body_size: u64,
    /// Faults on the wire, for example loss=1%,dup=1%,reorder=1%,delay=1ms,seed=42.
    #[arg(long)]
    pub impair: Option<ImpairSpec>,
    /// Print the outcome as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `millrace drill`.
#[derive(Debug, Args)]
pub struct DrillArgs {
    /// Scripts, and folders of scripts (*.pkt).
    #[arg(required = true, value_name = "FILE|DIR")]
    pub paths: Vec<PathBuf>,
    /// A word of the scripts and what it stands for: "a string", `a command`, a number or a word; may be repeated.
    #[arg(short = 'D', long, value_name = "NAME=VALUE")]
    pub define: Vec<Setting>,
    /// An option as at the head of a script, for example tolerance_usecs=10000; wins over the script's own; may be
    /// repeated.
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub option: Vec<String>,
    /// Compare more than the packetdrill tool does: echoed time stamps, and that nothing is sent behind the script's end.
    #[arg(long)]
    pub strict: bool,
    /// Hand consecutive packets of the same time to the stack at once.
    #[arg(long)]
    pub batch: bool,
    /// Run on this machine's kernel instead of the stack: real time, a network namespace for each script; needs root.
    #[cfg(feature = "oracle")]
    #[arg(long, conflicts_with = "batch")]
    pub kernel: bool,
    /// Scripts that run on the kernel at once: most of their time is waiting.
    #[cfg(feature = "oracle")]
    #[arg(long, value_name = "N", default_value = "16", value_parser = clap::value_parser!(u8).range(1..=64))]
    pub jobs: u8,
    /// Write a capture of every run (pcapng) into this folder.
    #[arg(long, value_name = "DIR")]
    pub pcap: Option<PathBuf>,
    /// Print the outcomes as JSON, one object per line.
    #[arg(long)]
    pub json: bool,
}

/// `millrace sim`.
#[derive(Debug, Args)]
pub struct SimArgs {
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// How many seeds; a single one is always reported, of several only those that fail.
    #[arg(long, default_value_t = 1)]
    pub count: u64,
    /// Write a capture (pcapng) of the first failure, or else of the first seed, into this file.
    #[arg(long, value_name = "FILE")]
    pub pcap: Option<PathBuf>,
    /// Shrink the first failure to what causes it, and print that plan.
    #[arg(long)]
    pub shrink: bool,
    /// Print reports as JSON, one object per line.
    #[arg(long)]
    pub json: bool,
}

/// Where and how to run: what all commands on a device take.
#[derive(Debug, Args)]
pub struct NetArgs {
    /// The device: af-xdp:INTERFACE, tap:NAME or pair.
    #[arg(long)]
    pub driver: DriverSpec,
    /// Our stack on it.
    #[command(flatten)]
    pub stack: StackArgs,
    /// Print events and statistics as JSON, one object per line.
    #[arg(long)]
    pub json: bool,
}

/// How our stack runs on a device.
#[derive(Debug, Args)]
pub struct StackArgs {
    /// An address of ours with its prefix length; may be repeated. af-xdp: [default: those of the interface].
    #[arg(long, value_name = "CIDR")]
    pub addr: Vec<Ipv4Net>,
    /// Default gateway. af-xdp: [default: the routes of the interface, if the addresses are the interface's too].
    #[arg(long, value_name = "IP")]
    pub gateway: Option<Ipv4Addr>,
    /// Our Ethernet address [default: the interface's; tap: one made from its name].
    #[arg(long)]
    pub mac: Option<MacAddr>,
    /// Largest IP packet in bytes [default: the interface's].
    #[arg(long, value_parser = clap::value_parser!(u16).range(68..))]
    pub mtu: Option<u16>,
    /// 802.1Q VLAN that our frames are tagged with.
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(u16).range(1..=4094))]
    pub vlan: Option<u16>,
    /// A setting with its Linux name, for example net.ipv4.tcp_sack=0; may be repeated.
    #[arg(long, value_name = "NAME=VALUE", long_help = sysctl_help())]
    pub sysctl: Vec<Setting>,
    /// Core to run on [default: wherever the kernel likes].
    #[arg(long, value_name = "N")]
    pub core: Option<usize>,
    /// Never sleep: shortest answer times, a whole core.
    #[arg(long)]
    pub busy_poll: bool,
    /// af-xdp: where the steering program runs.
    #[arg(long, value_enum, default_value_t = XdpModeArg::Auto)]
    pub xdp_mode: XdpModeArg,
    /// af-xdp: whose sockets.
    #[arg(long, value_enum, default_value_t = XskArg::Own)]
    pub xsk: XskArg,
    /// af-xdp: which frames are taken from the kernel [default: all, unless the interface carries the default route].
    #[arg(long, value_enum)]
    pub steer: Option<SteerArg>,
    /// Accept TCP checksums that the sender left to its device (veth without `ethtool -K PEER tx off`).
    #[arg(long)]
    pub accept_partial_csum: bool,
    /// Faults in both directions, for example loss=1%,dup=1%,reorder=1%,corrupt=1%,delay=1ms,seed=42; a key may be given
    /// for one direction: rx.loss=1%.
    #[arg(long)]
    pub impair: Option<ImpairSpec>,
    /// The control socket.
    #[command(flatten)]
    pub control: ControlArgs,
}

/// Where the steering program runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum XdpModeArg {
    /// In the driver, or behind it where the driver cannot.
    Auto,
    /// In the driver or not at all.
    Native,
    /// Behind the driver.
    Generic,
}

impl From<XdpModeArg> for XdpMode {
    fn from(mode: XdpModeArg) -> Self {
        match mode {
            XdpModeArg::Auto => Self::Auto,
            XdpModeArg::Native => Self::Native,
            XdpModeArg::Generic => Self::Generic,
        }
    }
}

/// Whose AF_XDP sockets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum XskArg {
    /// Ours; an MTU up to 9216.
    Own,
    /// Those of the crate xsk-rs, for comparison; an MTU up to 3498.
    XskRs,
}

impl From<XskArg> for XdpSockets {
    fn from(xsk: XskArg) -> Self {
        match xsk {
            XskArg::Own => Self::Own,
            XskArg::XskRs => Self::XskRs,
        }
    }
}

/// Which frames are taken from the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum SteerArg {
    /// All of the interface.
    All,
    /// Those for our addresses.
    Addresses,
}

/// `NAME=VALUE`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Setting {
    /// Linux's name, with or without `net.ipv4.`.
    pub name: String,
    /// The value as text.
    pub value: String,
}

impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok(Self {
                name: name.trim().to_owned(),
                value: value.trim().to_owned(),
            }),
            _ => Err("write NAME=VALUE, for example net.ipv4.tcp_sack=0".to_owned()),
        }
    }
}

/// The help of `--sysctl`, with all names.
fn sysctl_help() -> String {
    format!(
        "A setting with its Linux name, for example net.ipv4.tcp_sack=0; may be repeated. The names are: {}",
        Sysctl::names().join(", ")
    )
}

/// Seconds with decimals, up to a year.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| "give a number of seconds".to_owned())?;
    if (0.0..=31_536_000.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err("give between 0 and 31536000 seconds".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_full_command_line() {
        let line = "millrace serve http --driver af-xdp:veth1 --addr 10.0.0.2/24 --addr 10.0.1.2/24 --gateway 10.0.0.1 \
                    --mac 02:00:00:00:00:01 --mtu 1400 --vlan 7 --sysctl net.ipv4.tcp_sack=0 --core 1 --busy-poll \
                    --xdp-mode native --xsk xsk-rs --steer addresses --impair loss=1% --root . --listen 10.0.0.2:8080 --json";
        let cli = Cli::try_parse_from(line.split_ascii_whitespace()).expect("valid");
        let Command::Serve(args) = cli.command else {
            panic!("serve")
        };
        assert_eq!(args.net.stack.addr.len(), 2);
        assert_eq!(args.net.stack.steer, Some(SteerArg::Addresses));
        assert_eq!(
            args.net.stack.sysctl,
            [Setting {
                name: "net.ipv4.tcp_sack".to_owned(),
                value: "0".to_owned()
            }]
        );
    }

    #[test]
    fn scripts_with_definitions_and_options() {
        let line =
            "millrace drill a.pkt b -D N=3 -o mtu=1400 -o strict_segments --pcap out --json -v";
        let cli = Cli::try_parse_from(line.split_ascii_whitespace()).expect("valid");
        let Command::Drill(args) = cli.command else {
            panic!("drill")
        };
        assert!(cli.verbose && args.json && !args.strict);
        assert_eq!(args.paths.len(), 2);
        assert_eq!(args.option, ["mtu=1400", "strict_segments"]);
        assert_eq!(args.define[0].value, "3");
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for line in [
            "millrace serve http",
            "millrace serve gopher --driver pair",
            "millrace serve http --driver dpdk:0",
            "millrace serve http --driver pair --addr 10.0.0.2",
            "millrace serve http --driver pair --port 0",
            "millrace serve http --driver pair --vlan 4095",
            "millrace serve http --driver pair --mac 02:00:00:00:00",
            "millrace serve http --driver pair --impair loss=101%",
            "millrace serve http --driver pair --body-size 1 --root .",
            "millrace serve http --driver pair --drain-timeout -1",
            "millrace get https://10.0.0.1/ --driver pair",
            "millrace drill",
            "millrace drill a.pkt -D NAME",
        ] {
            let code = Cli::try_parse_from(line.split_ascii_whitespace())
                .expect_err(line)
                .exit_code();
            assert_eq!(code, 2, "{line}");
        }
    }
}
