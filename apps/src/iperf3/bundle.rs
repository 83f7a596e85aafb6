//! The streams of a test over our stack: filled as the plan says, or read empty, and counted.

use std::net::SocketAddrV4;
use std::time::{SystemTime, UNIX_EPOCH};

use core::time::Duration;
use millrace::net::{MsgFlags, OptName, SockOpt};
use millrace::{Instant, SockError, SockId, Stack};

use super::json::Beginning;
use super::params::Params;
use super::protocol::{self, Cookie, Refusal};
use super::results::Results;
use super::run::{Interval, Part, Role, Run};
use super::usage::Usage;

/// Bytes read at a time.
const PIECE: usize = 64 * 1024;

/// The streams.
pub struct Bundle {
    role: Role,
    params: Params,
    lanes: Vec<Lane>,
    run: Run,
    block: Box<[u8]>,
    piece: Box<[u8]>,
    usage: Usage,
    over: bool,
}

/// A stream.
struct Lane {
    sock: SockId,
    part: Part,
    /// What was sent of the present block.
    at: usize,
    /// Octets sent since the start.
    sent: u64,
    /// Blocks of the present burst that are not sent.
    burst: u64,
    /// When the next burst is due.
    due: Option<Instant>,
    since: Instant,
}

impl Bundle {
    /// Begins: `socks` in the order in which they were opened. `random` fills the blocks.
    pub fn start(
        params: &Params,
        role: Role,
        socks: &[SockId],
        every: Option<Duration>,
        mut random: impl FnMut(&mut [u8]),
        stack: &mut Stack,
        now: Instant,
    ) -> Self {
        let mut block = vec![0; params.block].into_boxed_slice();
        if params.repeating {
            for (octet, digit) in block.iter_mut().zip((b'0'..=b'9').cycle()) {
                *octet = digit;
            }
        } else {
            random(&mut block);
        }
        let run = Run::new(params, role, every, now, &mut |place| {
            stack.tcp_info(now, *socks.get(place)?).ok()
        });
        let lane = |(place, sock): (usize, &SockId)| Lane {
            sock: *sock,
            part: super::run::part(params, role, place),
            at: 0,
            sent: 0,
            burst: 0,
            due: None,
            since: now,
        };
        Self {
            role,
            params: params.clone(),
            lanes: socks.iter().enumerate().map(lane).collect(),
            run,
            block,
            piece: vec![0; PIECE].into_boxed_slice(),
            usage: Usage::read(now),
            over: false,
        }
    }

    /// What was counted.
    pub fn run(&self) -> &Run {
        &self.run
    }

    /// Octets that arrived on a stream.
    pub fn arrived(&mut self, place: usize, bytes: usize) {
        if self.lanes.get(place).map(|lane| lane.part) == Some(Part::Receives) {
            self.run.count(place, bytes);
        }
    }

    /// Reads what waits on a stream.
    ///
    /// # Errors
    ///
    /// What receiving says; the end of the stream is none.
    pub fn read(&mut self, stack: &mut Stack, now: Instant, place: usize) -> Result<(), SockError> {
        let Some(sock) = self.lanes.get(place).map(|lane| lane.sock) else {
            return Ok(());
        };
        loop {
            match stack.recv(now, sock, &mut self.piece, MsgFlags::NONE) {
                Ok(0) | Err(SockError::WouldBlock) => return Ok(()),
                Ok(bytes) => self.arrived(place, bytes),
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends on a stream all that there is room and time for.
    ///
    /// # Errors
    ///
    /// What sending says.
    pub fn fill(&mut self, stack: &mut Stack, now: Instant, place: usize) -> Result<(), SockError> {
        let Some(lane) = self.lanes.get_mut(place) else {
            return Ok(());
        };
        while lane.part == Part::Sends && !self.over {
            // The server sends until it is told to stop: it may have begun to count before the client.
            let enough = self.role == Role::Client && self.run.left() == Some(0);
            if lane.at == 0 && (enough || !lane.may_begin(&self.params, now)) {
                return Ok(());
            }
            let rest = &self.block[lane.at..];
            let sent = match stack.send(now, lane.sock, rest, MsgFlags::NONE) {
                Ok(sent) => sent,
                Err(SockError::WouldBlock | SockError::NoBuffers | SockError::NoMemory) => {
                    return Ok(());
                }
                Err(error) => return Err(error),
            };
            lane.sent += sent as u64;
            lane.at = (lane.at + sent) % self.params.block;
            self.run.count(place, sent);
            if lane.at != 0 {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Sends on all streams.
    ///
    /// # Errors
    ///
    /// What sending says.
    pub fn fill_all(&mut self, stack: &mut Stack, now: Instant) -> Result<(), SockError> {
        (0..self.lanes.len()).try_for_each(|place| self.fill(stack, now, place))
    }

    /// Sends on the streams whose time has come.
    ///
    /// # Errors
    ///
    /// What sending says.
    pub fn fill_due(&mut self, stack: &mut Stack, now: Instant) -> Result<(), SockError> {
        for place in 0..self.lanes.len() {
            if self.lanes[place].due.is_some_and(|due| due <= now) {
                self.fill(stack, now, place)?;
            }
        }
        Ok(())
    }

    /// When something is to be done even if nothing arrives.
    pub fn next_deadline(&self) -> Option<Instant> {
        if self.over {
            return None;
        }
        let due = self.lanes.iter().filter_map(|lane| lane.due);
        due.chain(self.run.next_deadline()).min()
    }

    /// The intervals that have ended.
    pub fn tick(&mut self, stack: &mut Stack, now: Instant) -> Option<Interval> {
        let lanes = &self.lanes;
        self.run.tick(now, &mut |place| {
            stack.tcp_info(now, lanes[place].sock).ok()
        })
    }

    /// The end: nothing is sent or counted any more. Gives the last interval, and what is told to the peer.
    pub fn finish(&mut self, stack: &mut Stack, now: Instant) -> (Option<Interval>, Results) {
        let lanes = &self.lanes;
        let last = self.run.finish(now, &mut |place| {
            stack.tcp_info(now, lanes[place].sock).ok()
        });
        self.over = true;
        let results = Results {
            cpu: self.usage.until(&Usage::read(now)),
            congestion: lanes
                .first()
                .and_then(|lane| stack.option(lane.sock, OptName::Congestion).ok())
                .map_or_else(String::new, congestion_text),
            streams: self.run.results(),
            output: None,
        };
        (last, results)
    }

    /// What is known of the streams at the start.
    pub fn beginning(
        &self,
        stack: &mut Stack,
        now: Instant,
        peer: SocketAddrV4,
        cookie: &Cookie,
    ) -> Beginning {
        let ends = |lane: &Lane| {
            let local = stack.local_addr(lane.sock).ok()?;
            Some((local, stack.peer_addr(lane.sock).ok()?))
        };
        let connected = self.lanes.iter().filter_map(ends).collect();
        let first = self.lanes.first().map(|lane| lane.sock);
        let number = |name| match first.map(|sock| stack.option(sock, name)) {
            Some(Ok(SockOpt::SndBuf(bytes) | SockOpt::RcvBuf(bytes))) => bytes,
            _ => 0,
        };
        let buffers = (number(OptName::SndBuf), number(OptName::RcvBuf));
        let info = first.and_then(|sock| stack.tcp_info(now, sock).ok());
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
        Beginning {
            connected,
            peer,
            cookie: *cookie,
            mss: info.map_or(0, |info| info.snd_mss),
            buffers,
            unix_s: since_1970.map_or(0, |time| time.as_secs()),
        }
    }
}

impl Lane {
    /// Whether a block may begin now; if not, `due` says when.
    fn may_begin(&mut self, params: &Params, now: Instant) -> bool {
        if params.rate == 0 {
            return true;
        }
        if self.burst > 0 {
            self.burst -= 1;
            return true;
        }
        let passed = u128::from(self.sent) * 8_000_000_000 / u128::from(params.rate);
        let due = self.since + Duration::from_nanos(passed.min(u128::from(u64::MAX)) as u64);
        if due > now {
            self.due = Some(due);
            return false;
        }
        self.due = None;
        self.burst = params.burst.saturating_sub(1);
        true
    }
}

fn congestion_text(option: SockOpt) -> String {
    match option {
        SockOpt::Congestion(name) => {
            let end = name.iter().position(|&c| c == 0).unwrap_or(name.len());
            String::from_utf8_lossy(&name[..end]).into_owned()
        }
        _ => String::new(),
    }
}

/// Sets what a test wants of a socket, before it connects or listens.
///
/// # Errors
///
/// What iperf3 says when the option cannot be set.
pub fn set_options(
    stack: &mut Stack,
    now: Instant,
    sock: SockId,
    params: &Params,
) -> Result<(), Refusal> {
    let mut set = |code, option| {
        stack.set_option(now, sock, option).map_err(|e| Refusal {
            code,
            errno: e.errno().unsigned_abs(),
        })
    };
    set(protocol::NO_DELAY, SockOpt::NoDelay(params.no_delay))?;
    if params.mss > 0 {
        set(protocol::MSS, SockOpt::MaxSeg(params.mss))?;
    }
    if params.window > 0 {
        set(protocol::BUFFERS, SockOpt::SndBuf(params.window))?;
        set(protocol::BUFFERS, SockOpt::RcvBuf(params.window))?;
    }
    if params.tos > 0 {
        set(protocol::TOS, SockOpt::Tos(params.tos))?;
    }
    if !params.congestion.is_empty() {
        let mut name = [0; 16];
        let bytes = params.congestion.as_bytes();
        if bytes.len() >= name.len() {
            return Err(Refusal {
                code: protocol::CONGESTION,
                errno: SockError::NoEntry.errno().unsigned_abs(),
            });
        }
        name[..bytes.len()].copy_from_slice(bytes);
        set(protocol::CONGESTION, SockOpt::Congestion(name))?;
    }
    Ok(())
}
