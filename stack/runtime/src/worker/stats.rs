//! A worker's own counters: where its time went, and which bounds were hit.

macro_rules! worker_stats {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// Counters of one worker since it was made.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        pub struct WorkerStats { $($(#[doc = $doc])+ pub $name: u64,)+ }

        impl WorkerStats {
            /// Name, description and value of each counter, in the order of the fields.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
                [$((stringify!($name), concat!($($doc),+).trim_ascii(), self.$name),)+].into_iter()
            }
        }
    };
}

worker_stats! {
    /// Nanoseconds in iterations that did something
    busy_ns,
    /// Nanoseconds in iterations that found nothing to do
    poll_ns,
    /// Nanoseconds asleep
    sleep_ns,
    /// Iterations
    turns,
    /// Times the worker went to sleep, and so was woken up
    sleeps,
    /// Frames received
    rx_frames,
    /// Bursts that were as long as a burst may be: more may have been waiting
    rx_budget_hits,
    /// Times that something was left to send: the device was full, or a budget was spent
    tx_stalls,
    /// Iterations in which timers were due
    timer_turns,
    /// Iterations after which timers were still due
    timer_budget_hits,
    /// Iterations that left commands waiting
    command_budget_hits,
    /// Questions of the control socket answered
    inquiries,
}
