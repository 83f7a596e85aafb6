//! Several jobs at once, their results in order.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

/// Does `work` on each item, at most `jobs` at once, and hands every result to `take` as soon as those before it have
/// been handed over. The first error of `take` ends it; work that has begun is finished.
///
/// # Errors
///
/// That of `take`.
pub(super) fn in_order<I: Sync, R: Send, E>(
    items: &[I],
    jobs: usize,
    work: impl Fn(&I) -> R + Sync,
    mut take: impl FnMut(R) -> Result<(), E>,
) -> Result<(), E> {
    if jobs < 2 {
        return items.iter().try_for_each(|item| take(work(item)));
    }
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        let (done, results) = mpsc::channel();
        for _ in 0..jobs.min(items.len()) {
            let (done, next, work) = (done.clone(), &next, &work);
            scope.spawn(move || {
                while let Some((at, item)) = following(next, items) {
                    if done.send((at, work(item))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(done);
        let mut held: Vec<Option<R>> = items.iter().map(|_| None).collect();
        let mut first = 0;
        for (at, result) in results {
            held[at] = Some(result);
            while let Some(result) = held.get_mut(first).and_then(Option::take) {
                first += 1;
                take(result)?;
            }
        }
        Ok(())
    })
}

/// The next item that nobody has taken, and its place.
fn following<'i, I>(next: &AtomicUsize, items: &'i [I]) -> Option<(usize, &'i I)> {
    let at = next.fetch_add(1, Ordering::SeqCst);
    items.get(at).map(|item| (at, item))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_and_the_first_error_ends_it() {
        let items: Vec<u32> = (0..50).collect();
        for jobs in [1, 7] {
            let mut seen = Vec::new();
            let end = in_order(
                &items,
                jobs,
                |item| item * 2,
                |result| {
                    seen.push(result);
                    if result < 60 { Ok(()) } else { Err(result) }
                },
            );
            assert_eq!(end, Err(60));
            assert_eq!(seen, (0..=60).step_by(2).collect::<Vec<u32>>());
        }
    }
}
