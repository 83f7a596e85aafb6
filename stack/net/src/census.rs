//! How many of everything a stack holds now.

macro_rules! census {
    ($($(#[doc = $doc:literal])+ $name:ident: $ty:ty,)+) => {
        /// How many of everything there are now; what a test compares with its baseline.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Census { $($(#[doc = $doc])+ pub $name: $ty,)+ }

        impl Census {
            /// Name, description and value of each row, in the order of the fields.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
                [$((stringify!($name), concat!($($doc),+).trim_ascii(), self.$name as u64),)+].into_iter()
            }
        }
    };
}

census! {
    /// Full TCP sockets, listeners included
    sockets: usize,
    /// Listeners
    listeners: usize,
    /// Sockets in ESTABLISHED or CLOSE_WAIT
    established: u64,
    /// Handshakes in progress
    requests: usize,
    /// Mini-sockets in TIME_WAIT, or in FIN_WAIT2 without an owner
    time_wait: usize,
    /// Sockets that no application owns
    orphans: u32,
    /// Entries of the ehash
    hashed: usize,
    /// Ports with an owner
    bound_ports: usize,
    /// Entries of the timer wheel
    timers: usize,
    /// Ring chunks in use
    ring_chunks: usize,
    /// Flows that stand in a qdisc
    queued_flows: usize,
    /// Finished frames and control segments in the qdiscs
    queued_packets: usize,
    /// Known neighbours
    neighbours: usize,
}
