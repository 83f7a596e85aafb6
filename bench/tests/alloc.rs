//! No allocation per packet: twice the round trips allocate no more than once.

use millrace_bench::pair::round_trips;

fn allocations(connections: usize, trips: u64) -> u64 {
    let info = allocation_counter::measure(|| {
        round_trips(connections, trips).expect("the round trips finish");
    });
    info.count_total
}

#[test]
fn round_trips_allocate_nothing() {
    for connections in [1, 32] {
        let once = allocations(connections, 5_000);
        let twice = allocations(connections, 10_000);
        assert_eq!(
            once,
            twice,
            "{} allocations in 5,000 more round trips on {connections} connections",
            twice.saturating_sub(once)
        );
    }
}
