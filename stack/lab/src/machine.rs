//! What a script runs against: something that answers Linux's socket calls, takes and sends raw IP packets on one
//! interface, and has a time. Two exist: the stack in virtual time, and the kernel over a TUN device.

mod stack;

use std::collections::VecDeque;
use std::time::Duration;

use millrace_posix::call::{Call, Return};

pub use stack::{StackConfig, StackMachine};

/// A raw IP packet that was sent, and when (since the machine started).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentPacket {
    /// When.
    pub at: Duration,
    /// The packet from its IP header on.
    pub bytes: Vec<u8>,
}

/// Names a call that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// How a call went on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// It returned.
    Done(Return),
    /// It waits; [`Machine::returned`] tells when it is over.
    Waits(Ticket),
}

/// The machine itself failed: not a verdict about what it does, but no verdict can be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Broken(pub String);

/// Why [`Machine::pass_time`] came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passed {
    /// The time is up.
    Due,
    /// A packet was sent, or a call that waited has returned.
    Something,
}

/// What became of a shell command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Commanded {
    /// It ran.
    Ran {
        /// Its exit status; 0 is success.
        status: i32,
        /// What it printed, for messages.
        output: String,
    },
    /// The machine has no shell: the script interpreter finds out what the command means, and uses
    /// [`Machine::set_sysctl`], [`Machine::counters`] and [`Machine::change_link`].
    NoShell,
}

/// A change to the interface or to the route behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkChange {
    /// `ip link set dev tun0 mtu N`.
    Mtu(u16),
    /// `ip route change …`: all metrics of the route, those not named are unset.
    Route(RouteMetrics),
    /// `tc qdisc replace dev tun0 root …`.
    Qdisc(Qdisc),
    /// `ethtool -K tun0 tso on|off`.
    Offload {
        /// Which.
        offload: Offload,
        /// On, or off.
        on: bool,
    },
    /// `ip tcp_metrics flush all`: what is remembered of peers, Fast Open cookies included.
    FlushTcpMetrics,
}

/// Work that an interface takes off the stack, by its name in `ethtool`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offload {
    /// `tso`
    Tso,
    /// `gso`
    Gso,
    /// `gro`
    Gro,
}

/// Metrics of a route, as `ip route` names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RouteMetrics {
    /// `mtu N`, octets.
    pub mtu: Option<u16>,
    /// `mtu lock N`: path MTU discovery does not change it.
    pub mtu_locked: bool,
    /// `advmss N`, octets.
    pub advmss: Option<u16>,
    /// `initcwnd N`, segments.
    pub initcwnd: Option<u32>,
    /// `initrwnd N`, segments.
    pub initrwnd: Option<u32>,
}

/// A root queueing discipline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Qdisc {
    /// `pfifo`, with its limit in packets if one is named.
    Pfifo(Option<u32>),
    /// `fq`: paces.
    Fq,
}

/// See the module.
pub trait Machine {
    /// Time since the start.
    fn now(&self) -> Duration;

    /// Lets time pass up to `until` (since the start), but comes back as soon as a packet is sent or a waiting call
    /// returns. A point that has passed only does what is due now.
    ///
    /// # Errors
    /// The machine is stuck or has failed.
    fn pass_time(&mut self, until: Duration) -> Result<Passed, Broken>;

    /// Hands packets to the interface as one batch, in order, and lets the answers come.
    ///
    /// # Errors
    /// The interface refused one.
    fn inject(&mut self, packets: &[Vec<u8>]) -> Result<(), Broken>;

    /// Packets sent and not yet taken, oldest first.
    fn sent(&mut self) -> &mut VecDeque<SentPacket>;

    /// Starts a call.
    ///
    /// # Errors
    /// The machine cannot make this call at all.
    fn start(&mut self, call: Call) -> Result<Progress, Broken>;

    /// What a call that waited returned, and when; `None` while it waits. Each is told once.
    fn returned(&mut self, ticket: Ticket) -> Option<(Return, Duration)>;

    /// Changes a setting: `name` as in `net.ipv4.tcp_sack`, with dots.
    ///
    /// # Errors
    /// No such setting, or not this value.
    fn set_sysctl(&mut self, name: &str, value: &str) -> Result<(), Broken>;

    /// A counter of `/proc/net/snmp` or `netstat`, by its `nstat` name (`TcpExtTCPTimeouts`).
    fn counter(&mut self, name: &str) -> Option<u64>;

    /// Whether time passes by itself: then the script may be late, and calls take a moment.
    fn is_real_time(&self) -> bool {
        false
    }

    /// `CLOCK_REALTIME` at the start, for times that control messages tell.
    fn realtime_start(&self) -> Duration {
        Duration::ZERO
    }

    /// All counters, by their `nstat` names.
    fn counters(&mut self) -> Vec<(String, u64)> {
        Vec::new()
    }

    /// Runs a shell command and waits for its end.
    ///
    /// # Errors
    /// The shell itself cannot be run.
    fn command(&mut self, text: &str) -> Result<Commanded, Broken> {
        let _ = text;
        Ok(Commanded::NoShell)
    }

    /// Changes the interface or its route.
    ///
    /// # Errors
    /// The machine cannot do this.
    fn change_link(&mut self, change: &LinkChange) -> Result<(), Broken> {
        Err(Broken(format!("no way to do {change:?}")))
    }
}
