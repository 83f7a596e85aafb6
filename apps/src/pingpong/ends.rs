//! The loops at both ends: one asks and measures, the other turns frames round.

use core::hint::spin_loop;
use core::time::Duration;
use std::sync::atomic::{AtomicBool, Ordering};

use hdrhistogram::Histogram;
use millrace::pmd::{MAX_BURST, Queue, wait};
use millrace::{Clock, Instant, TscClock};

use super::Waiting;
use super::record::End;
use super::talk::{Heard, Talk, is_own, turn_round};
use crate::Failure;
use crate::load::driver::queue_counters;
use crate::load::log::histogram;
use crate::load::wire::difference;

/// A frame that is not back by then is lost.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often a kernel is asked for its link address, and how long each time.
const QUESTIONS: u32 = 20;
const ANSWER: Duration = Duration::from_millis(100);
/// The longest sleep, so that the end of the run is seen.
const NAP: Duration = Duration::from_millis(20);
/// How long an adaptive end polls before it sleeps: as long as a worker does.
const SPIN: Duration = millrace::idle::DEFAULT_SPIN;

/// Queues, and what is done while nothing comes.
struct Loop {
    queues: Vec<Box<dyn Queue>>,
    clock: TscClock,
    waiting: Waiting,
    /// Since when nothing has come.
    idle_since: Option<Instant>,
}

impl Loop {
    fn busy(&mut self) {
        self.idle_since = None;
    }

    fn idle(&mut self) -> Result<(), Failure> {
        let now = self.clock.now();
        let since = *self.idle_since.get_or_insert(now);
        let polls_on = match self.waiting {
            Waiting::Spin => true,
            Waiting::Adaptive => now.since(since) < SPIN,
            Waiting::Sleep => false,
        };
        if polls_on {
            spin_loop();
            return Ok(());
        }
        wait(&mut self.queues, None, Some(NAP))
            .map(drop)
            .map_err(|e| {
                Failure::Failed(format!(
                    "cannot wait for a device: {e}; look with `ip link`"
                ))
            })
    }

    fn end(&self, before: &crate::load::wire::Counters) -> End {
        End {
            name: String::new(),
            mode: self.queues.first().map(|queue| queue.mode().to_string()),
            queues: self.queues.len() as u64,
            counters: difference(before, &queue_counters(&self.queues))
                .into_iter()
                .collect(),
        }
    }
}

/// The end that sends back what comes.
pub struct Answerer(Loop);

impl Answerer {
    /// Answers on the queue on which a frame came.
    pub fn new(queues: Vec<Box<dyn Queue>>, clock: TscClock, waiting: Waiting) -> Self {
        Self(Loop {
            queues,
            clock,
            waiting,
            idle_since: None,
        })
    }

    /// Runs until it is told to stop.
    ///
    /// # Errors
    ///
    /// [`Failure`] when it cannot sleep.
    pub fn run(mut self, stop: &AtomicBool) -> Result<End, Failure> {
        let before = queue_counters(&self.0.queues);
        while !stop.load(Ordering::Relaxed) {
            let mut frames = 0;
            for queue in &mut self.0.queues {
                frames += answer(&mut **queue);
            }
            if frames > 0 {
                self.0.busy();
            } else {
                self.0.idle()?;
            }
        }
        Ok(self.0.end(&before))
    }
}

/// One burst; how many frames came.
fn answer(queue: &mut dyn Queue) -> usize {
    let (rx, tx) = queue.halves();
    let frames = rx.rx(MAX_BURST, &mut |frames| {
        tx.tx(&mut |batch| {
            for frame in frames.iter().filter(|frame| is_own(frame.data())) {
                // A device without room loses the frame; the other end counts it.
                if let Some(slot) = batch.next(frame.data().len()) {
                    turn_round(frame.data(), slot);
                }
            }
        });
    });
    if frames == 0 {
        // What the device would not take before.
        tx.tx(&mut |_| {});
    }
    frames
}

/// What the asking end is to do.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Frames under way at once.
    pub depth: usize,
    /// What it does while nothing comes.
    pub waiting: Waiting,
    /// Before the measurement.
    pub warm_up: Duration,
    /// Of the measurement.
    pub time: Duration,
}

/// What was counted within the measurement.
pub struct Tally {
    /// How long it was.
    pub measured: Duration,
    /// Round trips, nanoseconds.
    pub times: Histogram<u64>,
    /// Frames sent.
    pub sent: u64,
    /// Frames that came back.
    pub replies: u64,
    /// Frames that did not come back in time.
    pub lost: u64,
    /// Frames that came back twice or too late.
    pub late: u64,
    /// The longest time in which nothing came back.
    pub silence: Duration,
}

/// What the asking end brings back.
pub struct Asked {
    /// What it counted.
    pub tally: Tally,
    /// Its device.
    pub end: End,
}

/// The end that sends frames and waits for them.
pub struct Asker {
    end: Loop,
    plan: Plan,
    places: Vec<Place>,
    /// Places without a frame under way.
    free: Vec<usize>,
    tally: Tally,
    /// The measurement is on from here.
    begin: Instant,
    last_reply: Instant,
}

/// A frame that may be under way; its numbers go up by the number of places.
#[derive(Clone, Copy)]
struct Place {
    number: u64,
    sent: Option<Instant>,
}

impl Asker {
    /// Asks on the first of `queues` and listens on all.
    pub fn new(queues: Vec<Box<dyn Queue>>, clock: TscClock, plan: Plan) -> Self {
        let begin = clock.now();
        let place = |number| Place { number, sent: None };
        Self {
            end: Loop {
                queues,
                clock,
                waiting: plan.waiting,
                idle_since: None,
            },
            plan,
            places: (0..plan.depth as u64).map(place).collect(),
            free: (0..plan.depth).rev().collect(),
            tally: Tally {
                measured: Duration::ZERO,
                times: histogram(),
                sent: 0,
                replies: 0,
                lost: 0,
                late: 0,
                silence: Duration::ZERO,
            },
            begin,
            last_reply: begin,
        }
    }

    /// Runs for the time planned.
    ///
    /// # Errors
    ///
    /// [`Failure`] when it cannot sleep, or a kernel does not tell its link address.
    pub fn run(mut self, talk: &mut dyn Talk) -> Result<Asked, Failure> {
        self.meet(talk)?;
        self.begin = self.end.clock.now() + self.plan.warm_up;
        self.last_reply = self.begin;
        let over = self.begin + self.plan.time;
        let before = queue_counters(&self.end.queues);
        let mut now = self.end.clock.now();
        while now < over {
            self.send(talk);
            let heard = self.receive(talk);
            now = self.end.clock.now();
            if heard > 0 {
                self.end.busy();
            } else {
                self.give_up(now);
                self.end.idle()?;
            }
        }
        self.quiet_until(now);
        self.tally.measured = now.since(self.begin);
        let end = self.end.end(&before);
        Ok(Asked {
            tally: self.tally,
            end,
        })
    }

    /// Learns the link address of a kernel.
    fn meet(&mut self, talk: &mut dyn Talk) -> Result<(), Failure> {
        for _ in 0..QUESTIONS {
            let Some(question) = talk.ask() else {
                return Ok(());
            };
            self.say(&question);
            let until = self.end.clock.now() + ANSWER;
            while talk.ask().is_some() && self.end.clock.now() < until {
                if self.receive(talk) == 0 {
                    self.end.idle()?;
                }
            }
        }
        match talk.ask() {
            None => Ok(()),
            Some(_) => Err(Failure::Failed(
                "nobody answers to ARP for that address; look at the kernel's end with `ip addr` and `ip link`".to_owned(),
            )),
        }
    }

    fn say(&mut self, frame: &[u8]) {
        if let Some(queue) = self.end.queues.first_mut() {
            queue.tx(&mut |batch| {
                if let Some(slot) = batch.next(frame.len()) {
                    slot.copy_from_slice(frame);
                }
            });
        }
    }

    /// Sends as many frames as may be under way.
    fn send(&mut self, talk: &mut dyn Talk) {
        let Self {
            end,
            places,
            free,
            tally,
            begin,
            plan,
            ..
        } = self;
        let Some(queue) = end.queues.first_mut() else {
            return;
        };
        // Called even with nothing to send: a driver may hold frames that the device did not take before.
        queue.tx(&mut |batch| {
            while let Some(&place) = free.last() {
                let now = end.clock.now();
                let Some(slot) = batch.next(talk.size()) else {
                    return;
                };
                free.pop();
                let frame = &mut places[place];
                frame.number += plan.depth as u64;
                frame.sent = Some(now);
                talk.write(frame.number, slot);
                tally.sent += u64::from(now >= *begin);
            }
        });
    }

    /// One burst of each queue; how many frames came.
    fn receive(&mut self, talk: &mut dyn Talk) -> usize {
        let (mut count, mut asked) = (0, false);
        let mut queues = core::mem::take(&mut self.end.queues);
        for queue in &mut queues {
            count += queue.rx(MAX_BURST, &mut |frames| {
                let now = self.end.clock.now();
                for frame in frames.iter() {
                    match talk.hear(frame.data()) {
                        Heard::Back(number) => self.back(number, now),
                        Heard::WhoAreYou => asked = true,
                        Heard::Hello | Heard::Other => {}
                    }
                }
            });
        }
        self.end.queues = queues;
        if asked {
            self.say(&talk.introduce());
        }
        count
    }

    fn back(&mut self, number: u64, now: Instant) {
        let place = (number % self.plan.depth as u64) as usize;
        let frame = &mut self.places[place];
        match frame.sent {
            Some(sent) if frame.number == number => {
                frame.sent = None;
                self.free.push(place);
                if sent >= self.begin {
                    self.tally
                        .times
                        .saturating_record((now.since(sent).as_nanos() as u64).max(1));
                    self.tally.replies += 1;
                }
                self.quiet_until(now);
            }
            _ => self.tally.late += u64::from(now >= self.begin),
        }
    }

    /// Nothing had come back until now.
    fn quiet_until(&mut self, now: Instant) {
        if now >= self.begin {
            self.tally.silence = self.tally.silence.max(now.since(self.last_reply));
            self.last_reply = now;
        }
    }

    /// Frames that are away for too long make room for others.
    fn give_up(&mut self, now: Instant) {
        for (place, frame) in self.places.iter_mut().enumerate() {
            let Some(sent) = frame.sent.filter(|sent| now.since(*sent) > PATIENCE) else {
                continue;
            };
            frame.sent = None;
            self.free.push(place);
            self.tally.lost += u64::from(sent >= self.begin);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use millrace::pmd::{MacAddr, PairConfig, pair};

    use super::super::talk::Own;
    use super::*;

    const NEAR: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const FAR: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

    fn asker(depth: usize, time: Duration, queue: impl Queue + 'static) -> Asker {
        let plan = Plan {
            depth,
            waiting: Waiting::Sleep,
            warm_up: Duration::ZERO,
            time,
        };
        Asker::new(vec![Box::new(queue)], TscClock::new(), plan)
    }

    #[test]
    fn every_frame_of_a_pair_comes_back_and_both_ends_count_the_same() {
        for depth in [1, 7, 64] {
            let (near, far) = pair(PairConfig::default());
            let stop = AtomicBool::new(false);
            let (asked, far) = thread::scope(|scope| {
                let far = scope.spawn(|| {
                    Answerer::new(vec![Box::new(far)], TscClock::new(), Waiting::Adaptive)
                        .run(&stop)
                });
                let mut talk = Own::new(64, NEAR, FAR);
                let asked = asker(depth, Duration::from_millis(20), near).run(&mut talk);
                stop.store(true, Ordering::Relaxed);
                (
                    asked.expect("asked"),
                    far.join().expect("joined").expect("answered"),
                )
            });
            let Tally {
                sent,
                replies,
                lost,
                late,
                ref times,
                ..
            } = asked.tally;
            assert!(replies > 0 && (lost, late) == (0, 0));
            assert!(
                sent - replies <= depth as u64,
                "only what is under way at the end is missing"
            );
            assert_eq!(times.len(), replies);
            assert_eq!(asked.end.counters["tx_packets"], sent);
            assert_eq!(far.counters["rx_packets"], far.counters["tx_packets"]);
            assert!(far.counters["rx_packets"] <= sent);
        }
    }

    #[test]
    fn a_frame_that_comes_back_twice_or_never_is_told_apart() {
        let (near, _far) = pair(PairConfig::default());
        let mut asker = asker(2, Duration::from_secs(1), near);
        asker.send(&mut Own::new(64, NEAR, FAR));
        assert_eq!(asker.tally.sent, 2);
        let now = asker.end.clock.now();
        let number = asker.places[0].number;
        asker.back(number, now);
        asker.back(number, now);
        assert_eq!((asker.tally.replies, asker.tally.late), (1, 1));
        asker.give_up(now + PATIENCE + PATIENCE);
        assert_eq!((asker.tally.lost, asker.free.len()), (1, 2));
    }
}
