//! A worker's own counters: where its time went, and which bounds were hit.

/// Counters of one worker since it was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WorkerStats {
    /// Nanoseconds in iterations that did something.
    pub busy_ns: u64,
    /// Nanoseconds in iterations that found nothing to do.
    pub poll_ns: u64,
    /// Nanoseconds asleep.
    pub sleep_ns: u64,
    /// Iterations.
    pub turns: u64,
    /// Times the worker went to sleep.
    pub sleeps: u64,
    /// Frames received.
    pub rx_frames: u64,
    /// Bursts that were as long as a burst may be: more may have been waiting.
    pub rx_budget_hits: u64,
    /// Times that something was left to send: the device was full, or a budget was spent.
    pub tx_stalls: u64,
    /// Iterations in which timers were due.
    pub timer_turns: u64,
    /// Iterations after which timers were still due.
    pub timer_budget_hits: u64,
    /// Iterations that left commands waiting.
    pub command_budget_hits: u64,
}

impl WorkerStats {
    /// Names and values, in the order of the fields.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let Self {
            busy_ns,
            poll_ns,
            sleep_ns,
            turns,
            sleeps,
            rx_frames,
            rx_budget_hits,
            tx_stalls,
            timer_turns,
            timer_budget_hits,
            command_budget_hits,
        } = *self;
        [
            ("busy_ns", busy_ns),
            ("poll_ns", poll_ns),
            ("sleep_ns", sleep_ns),
            ("turns", turns),
            ("sleeps", sleeps),
            ("rx_frames", rx_frames),
            ("rx_budget_hits", rx_budget_hits),
            ("tx_stalls", tx_stalls),
            ("timer_turns", timer_turns),
            ("timer_budget_hits", timer_budget_hits),
            ("command_budget_hits", command_budget_hits),
        ]
        .into_iter()
    }
}
