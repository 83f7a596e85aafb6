//! The drivers that need nothing: the pair, and impairment around it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use millrace_pmd::impair::Faults;
use millrace_pmd::{Impair, ImpairConfig, PairConfig, Queue, pair};
use millrace_wire::time::Instant;

use crate::suite::{Ends, conforms};

fn boxed() -> Ends {
    let (a, b) = pair(PairConfig::default());
    (Box::new(a), Box::new(b))
}

#[test]
fn pair_conforms() {
    conforms(boxed);
}

#[test]
fn small_pair_conforms() {
    conforms(|| {
        let (a, b) = pair(PairConfig {
            max_frame: 9018,
            frames: 64,
        });
        (Box::new(a), Box::new(b))
    });
}

#[test]
fn impair_without_faults_conforms() {
    conforms(|| {
        let (a, b) = boxed();
        let still = || Box::new(|| Instant::ZERO);
        (
            Box::new(Impair::new(a, ImpairConfig::default(), still())),
            Box::new(Impair::new(b, ImpairConfig::default(), still())),
        )
    });
}

/// A delay shorter than the time between two calls: the frames go through the lanes and still nothing is wrong with them.
#[test]
fn impair_with_a_tick_of_delay_conforms() {
    let delayed = |queue: Box<dyn Queue>| -> Box<dyn Queue> {
        let ticks = Arc::new(AtomicU64::new(0));
        let clock = move || Instant::from_nanos(ticks.fetch_add(1, Ordering::Relaxed));
        let faults = Faults {
            delay: Duration::from_nanos(1),
            ..Faults::default()
        };
        Box::new(Impair::new(
            queue,
            ImpairConfig {
                seed: 1,
                rx: faults,
                tx: faults,
            },
            Box::new(clock),
        ))
    };
    conforms(|| {
        let (a, b) = boxed();
        (delayed(a), delayed(b))
    });
}
