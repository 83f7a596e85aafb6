//! The kernel as a [`Machine`]: real sockets in a namespace of their own, in real time.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use millrace_lab::machine::{
    Broken, Commanded, LinkChange, Machine, Passed, Progress, SentPacket, Ticket,
};
use millrace_posix::call::{Call, Return};
use rustix::event::{PollFd, PollFlags, Timespec};

use crate::callers::{Answer, Begun, Callers};
use crate::fds::{Fds, Makes};
use crate::space::{self, Device, Setup, SetupError, Space};
use crate::{counters, link, sys};

/// See the module. Fields are dropped in order: calls that wait end first, the namespace last.
pub struct KernelMachine {
    callers: Callers,
    fds: Fds,
    device: Device,
    space: Space,
    start: Instant,
    sent: VecDeque<SentPacket>,
    /// Room for one packet.
    packet: Box<[u8]>,
    returned: BTreeMap<Ticket, (Return, Duration)>,
}

impl KernelMachine {
    /// A namespace with one device, as `setup` says.
    ///
    /// # Errors
    /// See [`SetupError`].
    pub fn new(setup: &Setup) -> Result<Self, SetupError> {
        let (space, device) = Space::new(setup)?;
        let callers = Callers::new(space.namespace())?;
        Ok(Self {
            callers,
            fds: Fds::default(),
            device,
            space,
            start: Instant::now(),
            sent: VecDeque::new(),
            packet: vec![0; 66_000].into_boxed_slice(),
            returned: BTreeMap::new(),
        })
    }

    /// Runs a command of the shell inside the namespace.
    ///
    /// # Errors
    /// There is no shell.
    pub fn shell(&mut self, text: &str) -> Result<std::process::Output, Broken> {
        let text = text.to_owned();
        self.space
            .inside(move || space::shell(&text))
            .and_then(|output| output)
            .map_err(broken)
    }

    /// A file of `/proc/net`, as this namespace sees it; empty when there is none.
    pub fn proc_net(&self, name: &str) -> String {
        let path = format!("/proc/thread-self/net/{name}");
        self.space
            .inside(move || std::fs::read_to_string(path).unwrap_or_default())
            .unwrap_or_default()
    }

    /// Takes in what the device has sent and what has returned.
    fn collect(&mut self) -> Result<(), Broken> {
        // The TUN queue must not fill up; what is in it has been seen by the packet socket, with its time.
        while rustix::io::read(&self.device.tun, &mut self.packet[..]).is_ok() {}
        let epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .saturating_sub(self.start.elapsed());
        while let Some(seen) =
            sys::device::next_seen(&self.device.watch, &mut self.packet).map_err(broken)?
        {
            let ipv4 = seen.bytes.first().is_some_and(|byte| byte >> 4 == 4);
            if seen.outgoing && ipv4 {
                self.sent.push_back(SentPacket {
                    at: seen.at.saturating_sub(epoch),
                    bytes: seen.bytes,
                });
            }
        }
        while let Some(answer) = self.callers.next() {
            self.adopt(answer);
        }
        Ok(())
    }

    fn adopt(&mut self, answer: Answer) {
        let at = answer.at.saturating_duration_since(self.start);
        let value = self.fds.adopt(answer.makes, answer.answer);
        self.returned.insert(answer.ticket, (value, at));
    }

    /// Sleeps until the device, a caller or the time.
    fn wait(&self, until: Duration) -> Result<(), Broken> {
        let left = until.saturating_sub(self.start.elapsed());
        let timeout = Timespec {
            tv_sec: left.as_secs() as i64,
            tv_nsec: i64::from(left.subsec_nanos()),
        };
        let bell = self.callers.bell();
        let mut fds = [
            PollFd::new(&self.device.watch, PollFlags::IN),
            PollFd::new(&bell, PollFlags::IN),
        ];
        match rustix::event::poll(&mut fds, Some(&timeout)) {
            Ok(_) => {
                if !fds[1].revents().is_empty() {
                    self.callers.heard();
                }
                Ok(())
            }
            Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(broken(error.into())),
        }
    }

    /// The call cannot sleep, so it needs no thread of its own.
    fn immediate(&self, call: &Call) -> bool {
        let nonblocking = |fd: i32| {
            self.fds.get(fd).is_none_or(|fd| {
                rustix::fs::fcntl_getfl(fd)
                    .is_ok_and(|flags| flags.contains(rustix::fs::OFlags::NONBLOCK))
            })
        };
        match call {
            Call::Bind { .. }
            | Call::Listen { .. }
            | Call::Shutdown { .. }
            | Call::GetSockOpt { .. }
            | Call::SetSockOpt { .. }
            | Call::GetSockName { .. }
            | Call::GetPeerName { .. }
            | Call::Fcntl { .. }
            | Call::Ioctl { .. }
            | Call::EpollCreate { .. }
            | Call::EpollCtl { .. }
            | Call::Pipe { .. }
            | Call::Open { .. } => true,
            Call::Poll { timeout, .. } | Call::EpollWait { timeout, .. } => *timeout == 0,
            Call::Accept { fd, .. } | Call::Connect { fd, .. } => nonblocking(*fd),
            Call::Recv { fd, flags, .. } | Call::Send { fd, flags, .. } => {
                flags & libc::MSG_DONTWAIT != 0 || nonblocking(*fd)
            }
            // socket(2) is the namespace's business; close may linger; splice has two ends.
            Call::Socket { .. }
            | Call::Close { .. }
            | Call::Splice { .. }
            | Call::Sendfile { .. } => false,
        }
    }
}

impl Machine for KernelMachine {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn pass_time(&mut self, until: Duration) -> Result<Passed, Broken> {
        let (packets, answers) = (self.sent.len(), self.returned.len());
        loop {
            self.collect()?;
            if self.sent.len() > packets || self.returned.len() > answers {
                return Ok(Passed::Something);
            }
            if self.now() >= until {
                return Ok(Passed::Due);
            }
            self.wait(until)?;
        }
    }

    fn inject(&mut self, packets: &[Vec<u8>]) -> Result<(), Broken> {
        for packet in packets {
            // The kernel takes the packet all the way up before write returns.
            rustix::io::write(&self.device.tun, packet)
                .map_err(|error| Broken(format!("the TUN device refused a packet: {error}")))?;
        }
        self.collect()
    }

    fn sent(&mut self) -> &mut VecDeque<SentPacket> {
        &mut self.sent
    }

    fn start(&mut self, call: Call) -> Result<Progress, Broken> {
        let makes = Makes::of(&call);
        let immediate = self.immediate(&call);
        let real = self.fds.translate(call);
        let progress = if immediate {
            let answer = sys::calls::perform(&real);
            Progress::Done(self.fds.adopt(makes, answer))
        } else {
            let ticket = self.callers.ticket();
            match self.callers.begin(ticket, real).map_err(broken)? {
                Begun::Over(answer) => Progress::Done(self.fds.adopt(answer.makes, answer.answer)),
                Begun::Sleeps => Progress::Waits(ticket),
            }
        };
        self.collect()?;
        Ok(progress)
    }

    fn returned(&mut self, ticket: Ticket) -> Option<(Return, Duration)> {
        self.returned.remove(&ticket)
    }

    fn set_sysctl(&mut self, name: &str, value: &str) -> Result<(), Broken> {
        let (place, text) = (name.to_owned(), value.to_owned());
        self.space
            .inside(move || space::write_sysctl(&place, &text))
            .and_then(|written| written)
            .map_err(|error| Broken(format!("sysctl {name}={value}: {error}")))
    }

    fn is_real_time(&self) -> bool {
        true
    }

    fn realtime_start(&self) -> Duration {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .saturating_sub(self.start.elapsed())
    }

    fn command(&mut self, text: &str) -> Result<Commanded, Broken> {
        let output = self.shell(text)?;
        let printed = [output.stdout, output.stderr].concat();
        Ok(Commanded::Ran {
            status: output.status.code().unwrap_or(-1),
            output: String::from_utf8_lossy(&printed).into_owned(),
        })
    }

    fn change_link(&mut self, change: &LinkChange) -> Result<(), Broken> {
        let command = link::command(change);
        let output = self.shell(&command)?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(Broken(format!("`{command}`: {}", said.trim())))
    }

    fn counters(&mut self) -> Vec<(String, u64)> {
        let mut all = counters::all(&self.proc_net("snmp"));
        all.extend(counters::all(&self.proc_net("netstat")));
        all
    }

    fn counter(&mut self, name: &str) -> Option<u64> {
        let found = self.counters().into_iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value)
    }
}

fn broken(error: io::Error) -> Broken {
    Broken(error.to_string())
}
