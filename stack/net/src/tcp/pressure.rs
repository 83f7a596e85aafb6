//! Memory for all connections together (Linux `tcp_mem`, `__sk_mem_raise_allocated`): three marks in pages of 4 KiB, which
//! are the chunks of the rings. Below the first all is well; above the second windows and buffers stop growing until it
//! is below the first again; above the third new memory is refused, but for what the smallest buffers are promised.
//!
//! What counts is what rings hold: unread, out of order, and not acknowledged. Control segments need none of it.

use crate::core::{Ctx, Stack};
use crate::stats::Counter;
use crate::sysctl::{Sysctl, TCP_MEM_DEFAULT};
use crate::tcp::sock::TcpSock;
use millrace_ring::NoMemory;
use millrace_wire::time::Instant;

/// One part in this many of the pool lies above the third mark, for promised buffers.
const PROMISED: usize = 16;
/// Under pressure a window is not more than this many segments (Linux `tcp_adjust_rcv_ssthresh`).
const SEGMENTS: u32 = 4;

/// The state of a stack.
#[derive(Clone, Copy, Default)]
pub(crate) struct Pressure {
    since: Option<Instant>,
    /// Chunks that there may be in all.
    pool: usize,
}

impl Pressure {
    pub(crate) fn new(pool: usize) -> Self {
        Self { since: None, pool }
    }

    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.since.is_some()
    }
}

/// The marks of a pool, if nobody chose others (Linux scales with the machine's memory): half and two thirds of the third.
pub(crate) fn default_marks(sysctl: &mut Sysctl, pool: usize) {
    if sysctl.tcp_mem == TCP_MEM_DEFAULT {
        let most = (pool - pool / PROMISED).min(i32::MAX as usize) as u32;
        sysctl.tcp_mem = [most / 2, most / 3 * 2, most];
    }
}

impl Ctx {
    /// The third mark, or the pool's own bound.
    pub(crate) fn apply_memory_marks(&mut self) {
        let most = self.sysctl.tcp_mem[2] as usize;
        self.chunks.set_limit(most.min(self.pressure.pool));
    }

    /// Looks where the use of memory stands; once per poll and per call.
    #[inline]
    pub(crate) fn check_memory(&mut self) {
        let used = self.chunks.in_use();
        let [low, high, _] = self.sysctl.tcp_mem;
        match self.pressure.since {
            None if used > high as usize => {
                self.pressure.since = Some(self.now);
                self.mib.inc(Counter::TcpExtTCPMemoryPressures);
            }
            Some(since) if used <= low as usize => {
                self.pressure.since = None;
                let ms = self.now.since(since).as_millis() as u64;
                self.mib
                    .add(Counter::TcpExtTCPMemoryPressuresChrono, ms.max(1));
            }
            _ => {}
        }
    }

    /// Runs `wish` with the memory that lies above the third mark, for a buffer that holds less than it is promised.
    pub(crate) fn promised<T>(
        &mut self,
        wish: impl FnOnce(&mut Self) -> Result<T, NoMemory>,
    ) -> Result<T, NoMemory> {
        self.chunks.set_limit(self.pressure.pool);
        let outcome = wish(self);
        self.apply_memory_marks();
        outcome
    }
}

/// Under pressure the window closes towards a few segments, as the peer fills it (Linux `tcp_adjust_rcv_ssthresh`).
pub(crate) fn narrow_window(sk: &mut TcpSock) {
    let few = SEGMENTS * u32::from(sk.warm.advmss);
    sk.rx.rcv_ssthresh = sk.rx.rcv_ssthresh.min(few);
}

/// No memory at all, and this connection holds more than a little (Linux `tcp_out_of_memory`).
pub(crate) fn is_out_of_memory(sk: &TcpSock, ctx: &Ctx) -> bool {
    const SOCK_MIN_SNDBUF: u32 = 4608;
    let queued = sk.tx.write_seq.bytes_since(sk.tx.snd_una);
    ctx.chunks.available() == 0 && queued > SOCK_MIN_SNDBUF
}

impl Stack {
    /// The stack is short of memory: above the second mark of `tcp_mem`, and since then not below the first.
    pub fn under_memory_pressure(&self) -> bool {
        self.ctx.pressure.is_on()
    }
}
