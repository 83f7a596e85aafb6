//! TIME_WAIT and the FIN_WAIT2 of orphans, as mini-sockets (Linux `tcp_minisocks.c`).

use crate::core::{Reply, Stack};
use crate::drop::DropReason;
use crate::ids::SockId;
use crate::stats::{Counter, Mib};
use crate::tcp::TIMEWAIT_MS;
use crate::tcp::input::Fate;
use crate::tcp::input::validate::{PAWS_24DAYS, may_always_answer};
use crate::tcp::md5;
use crate::tcp::segment::{Payload, Segment};
use crate::tcp::sock::TcpSock;
use crate::tcp::sock::hot::Features;
use crate::tcp::sock::timewait::{Substate, TimeWait};
use crate::wheel::TimerEntry;
use millrace_wire::seq::SeqNum;
use millrace_wire::tcp::TcpFlags;
use millrace_wire::tcp::options::{Timestamps, write_established};

/// Seconds after which a RST with an old timestamp counts.
const PAWS_MSL: u32 = 60;

/// What a segment does to a mini-socket (Linux `enum tcp_tw_status`).
enum Status {
    /// Nothing is sent.
    Silent,
    /// An ACK of where we are.
    Ack(DropReason),
    /// A RST, and the mini-socket goes.
    Reset(DropReason),
    /// It goes without a word.
    Kill,
    /// A new connection may begin with this sequence number of ours.
    Syn(SeqNum),
}

impl TimeWait {
    /// From a socket that leaves.
    pub(crate) fn from_sock(sk: &TcpSock, substate: Substate, deadline_ms: u64) -> Self {
        Self {
            tuple: sk.tuple(),
            hash: sk.warm.hash,
            rcv_nxt: sk.rx.rcv_nxt,
            snd_nxt: sk.tx.snd_nxt,
            rcv_wnd: (sk.rx.receive_window() >> sk.rx.rcv_wscale).min(u32::from(u16::MAX)) as u16,
            substate,
            rcv_wscale: sk.rx.rcv_wscale,
            ts_ok: sk.rx.features.contains(Features::TIMESTAMPS),
            ts_recent: sk.rx.ts_recent,
            ts_recent_stamp: sk.rx.ts_recent_stamp,
            ts_offset: sk.rx.ts_offset,
            traits: sk.cold.claim.map(|claim| claim.traits).unwrap_or_default(),
            deadline_ms,
            wheel: TimerEntry::default(),
            last_oow_ack: 0,
        }
    }
}

/// Mini-sockets of at most this time count as killed (Linux `inet_twsk_schedule`).
const SHORT_MS: u64 = 4_000;

impl Stack {
    /// Puts a mini-socket into the place of a full one. False: the table is full, and the connection just ends.
    pub(crate) fn insert_time_wait(&mut self, id: SockId, substate: Substate, ms: u64) -> bool {
        let now_ms = self.ctx.now.as_millis();
        let Some(sk) = self.socks.tcp.get(id) else {
            return false;
        };
        let (hash, hashed) = (sk.warm.hash, sk.warm.hashed);
        let full = self.socks.tw.len() >= self.ctx.sysctl.tcp_max_tw_buckets as usize;
        let mini = TimeWait::from_sock(sk, substate, now_ms + ms);
        if full || !hashed {
            self.ctx.mib.inc(Counter::MillraceTimeWaitOverflow);
            return false;
        }
        let key = md5::key_for(&sk.rx, &sk.cold).cloned();
        let Ok(tw) = self.socks.tw.insert_with(|_| mini) else {
            return false;
        };
        if let Some(key) = key {
            self.socks.tw_keys.insert(tw.index(), key);
        }
        // Linux `__inet_twsk_schedule` counts at the start.
        let counter = if ms <= SHORT_MS {
            Counter::TcpExtTWKilled
        } else {
            Counter::TcpExtTW
        };
        self.ctx.mib.inc(counter);
        self.socks.ehash.replace(hash, id.place(), tw.place());
        if let Some(mini) = self.socks.tw.get(tw) {
            self.socks.bhash.add(mini.tuple.lport, mini.claim());
        }
        self.arm_time_wait(tw);
        true
    }

    fn arm_time_wait(&mut self, tw: SockId) {
        if let Some(mini) = self.socks.tw.get_mut(tw) {
            let at = mini.ends_at();
            self.ctx.wheel.arm(&mut mini.wheel, tw, at);
        }
    }

    /// Its entry in the wheel came up.
    pub(crate) fn time_wait_timer(&mut self, tw: SockId) {
        let now = self.ctx.now.as_millis();
        let Some(mini) = self.socks.tw.get_mut(tw) else {
            return;
        };
        mini.wheel = TimerEntry::default();
        if mini.deadline_ms <= now {
            if mutant!("time_wait_leaks") {
                return;
            }
            self.kill_time_wait(tw);
        } else {
            self.arm_time_wait(tw);
        }
    }

    /// Removes a mini-socket.
    pub(crate) fn kill_time_wait(&mut self, tw: SockId) {
        let Some(mut mini) = self.socks.tw.remove(tw) else {
            return;
        };
        self.socks.tw_keys.remove(&tw.index());
        self.ctx.wheel.cancel(&mut mini.wheel);
        self.socks.ehash.remove(mini.hash, tw.place());
        if mutant!("port_leaks") {
            return;
        }
        self.socks.bhash.remove(mini.tuple.lport, &mini.claim());
    }

    pub(crate) fn time_wait_input(
        &mut self,
        tw: SockId,
        seg: &Segment,
        payload: &Payload<'_, '_>,
    ) -> Fate {
        let ts = seg.parse_options(payload).timestamps;
        let now_ms = self.ctx.now.as_millis();
        let seconds = self.ctx.seconds();
        let rfc1337 = self.ctx.sysctl.tcp_rfc1337;
        let Some(mini) = self.socks.tw.get_mut(tw) else {
            return Fate::Dropped(DropReason::TcpNoSocket);
        };
        let status = match mini.substate {
            Substate::FinWait2 => fin_wait2(mini, seg, ts, now_ms, seconds),
            Substate::TimeWait => {
                time_wait(mini, seg, ts, now_ms, seconds, rfc1337, &mut self.ctx.mib)
            }
        };
        self.arm_time_wait(tw);
        match status {
            Status::Silent => Fate::Taken,
            Status::Kill => {
                self.kill_time_wait(tw);
                Fate::Taken
            }
            Status::Reset(reason) => {
                self.kill_time_wait(tw);
                Fate::Reset(reason)
            }
            Status::Ack(reason) => self.time_wait_ack(tw, seg, reason),
            Status::Syn(iss) => self.reincarnate(tw, seg, payload, iss),
        }
    }

    /// RFC 9293 MAY-2: a SYN that is certainly new takes the tuple, if somebody listens.
    fn reincarnate(
        &mut self,
        tw: SockId,
        seg: &Segment,
        payload: &Payload<'_, '_>,
        iss: SeqNum,
    ) -> Fate {
        let listener = self
            .socks
            .lhash
            .lookup(seg.tuple.local, seg.tuple.lport, seg.hash);
        let Some(listener) = listener else {
            return self.time_wait_ack(tw, seg, DropReason::TcpTimeWait);
        };
        self.kill_time_wait(tw);
        self.listener_input(listener, seg, payload, Some(iss))
    }

    fn time_wait_ack(&mut self, tw: SockId, seg: &Segment, reason: DropReason) -> Fate {
        let now = self.ctx.now.as_millis() as u32 | 1;
        let limit = self.ctx.sysctl.tcp_invalid_ratelimit;
        let Some(mini) = self.socks.tw.get_mut(tw) else {
            return Fate::Dropped(reason);
        };
        if !may_always_answer(seg) {
            if mini.last_oow_ack != 0 && now.wrapping_sub(mini.last_oow_ack) < limit {
                self.ctx.mib.inc(match mini.substate {
                    Substate::FinWait2 => Counter::TcpExtTCPACKSkippedFinWait2,
                    Substate::TimeWait => Counter::TcpExtTCPACKSkippedTimeWait,
                });
                return Fate::Dropped(reason);
            }
            mini.last_oow_ack = now;
        }
        let ts = mini.ts_ok.then(|| Timestamps {
            val: self.ctx.ts_now(mini.ts_offset),
            ecr: mini.ts_recent,
        });
        let reply = Reply {
            seq: mini.snd_nxt,
            ack: Some(mini.rcv_nxt),
            flags: TcpFlags::ACK,
            window: mini.rcv_wnd,
            options: write_established(ts, &[]),
            tos: 0,
        };
        let tuple = mini.tuple;
        self.reply(tuple, &reply);
        Fate::Taken
    }
}

/// An older timestamp than the last one. A RST counts even so once the last one is a minute old (Linux
/// `tcp_paws_reject`).
fn paws_reject(mini: &TimeWait, seg: &Segment, ts: Option<Timestamps>, seconds: u32) -> bool {
    let age = seconds.wrapping_sub(mini.ts_recent_stamp);
    mini.ts_ok
        && !(seg.has(TcpFlags::RST) && age >= PAWS_MSL)
        && mini.ts_recent != 0
        && age < PAWS_24DAYS
        && ts.is_some_and(|t| mini.ts_recent.wrapping_sub(t.val) as i32 > 0)
}

fn note_timestamp(mini: &mut TimeWait, ts: Option<Timestamps>, seconds: u32) {
    if let Some(t) = ts.filter(|_| mini.ts_ok) {
        mini.ts_recent = t.val;
        mini.ts_recent_stamp = seconds;
    }
}

/// An orphan in FIN_WAIT2 waits for a FIN, and for nothing else.
fn fin_wait2(
    mini: &mut TimeWait,
    seg: &Segment,
    ts: Option<Timestamps>,
    now_ms: u64,
    seconds: u32,
) -> Status {
    let end = mini.rcv_nxt + (u32::from(mini.rcv_wnd) << mini.rcv_wscale);
    let rst = seg.has(TcpFlags::RST);
    if paws_reject(mini, seg, ts, seconds) || !seg.is_in_window(mini.rcv_nxt, end) {
        return Status::Ack(DropReason::TcpOutOfWindow);
    }
    if rst {
        return Status::Kill;
    }
    if seg.has(TcpFlags::SYN) && !seg.seq.before(mini.rcv_nxt) {
        return Status::Reset(DropReason::TcpInvalidSyn);
    }
    if !seg.has(TcpFlags::ACK) || !seg.end_seq().after(mini.rcv_nxt) || seg.end_seq() == seg.seq {
        return Status::Silent;
    }
    if !seg.has(TcpFlags::FIN) || seg.end_seq() != mini.rcv_nxt + 1 {
        return Status::Reset(DropReason::TcpClosed);
    }
    mini.substate = Substate::TimeWait;
    mini.rcv_nxt = seg.end_seq();
    mini.deadline_ms = now_ms + TIMEWAIT_MS;
    note_timestamp(mini, ts, seconds);
    Status::Ack(DropReason::TcpTimeWait)
}

fn time_wait(
    mini: &mut TimeWait,
    seg: &Segment,
    ts: Option<Timestamps>,
    now_ms: u64,
    seconds: u32,
    rfc1337: bool,
    mib: &mut Mib,
) -> Status {
    let paws = paws_reject(mini, seg, ts, seconds);
    let rst = seg.has(TcpFlags::RST);
    if !paws && seg.seq == mini.rcv_nxt && (seg.seq == seg.end_seq() || rst) {
        if rst {
            return if rfc1337 {
                Status::Silent
            } else {
                Status::Kill
            };
        }
        mini.deadline_ms = now_ms + TIMEWAIT_MS;
        note_timestamp(mini, ts, seconds);
        return Status::Silent;
    }
    let newer = seg.seq.after(mini.rcv_nxt)
        || mini.ts_ok && ts.is_some_and(|t| (mini.ts_recent.wrapping_sub(t.val) as i32) < 0);
    if seg.has(TcpFlags::SYN) && !rst && !seg.has(TcpFlags::ACK) && !paws && newer {
        return Status::Syn(mini.snd_nxt + 65_535 + 2);
    }
    if paws {
        mib.inc(Counter::TcpExtPAWSTimewait);
    }
    if rst {
        return Status::Silent;
    }
    if paws || seg.has(TcpFlags::ACK) {
        mini.deadline_ms = now_ms + TIMEWAIT_MS;
    }
    Status::Ack(DropReason::TcpTimeWait)
}
