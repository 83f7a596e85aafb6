//! Many machines at once: nearly all of the kernel's time is waiting.

use std::panic::resume_unwind;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use millrace_lab::machine::{Broken, Machine};

use super::question::{Observed, Question};

/// First port of a machine's questions: below the range that connect chooses from.
const FIRST_PORT: u16 = 1024;

/// Ports of one machine; then a new one is made.
const PORTS: u16 = 30_000;

/// Questions side by side on one machine: as many as are prepared and asked well within a retransmission timeout.
const SIDE_BY_SIDE: usize = 48;

/// How often a question is asked again whose timers ran ahead of it.
const ATTEMPTS: u32 = 4;

/// Makes machines.
pub type Factory<'f> = &'f (dyn Fn() -> Result<Box<dyn Machine>, Broken> + Sync);

/// The answers to `questions`, in their order, from `machines` machines at once.
///
/// # Errors
/// A machine failed, or time ran ahead of a question again and again.
pub fn ask<Q: Question>(
    make: Factory<'_>,
    questions: &[Q],
    machines: usize,
) -> Result<Vec<Observed>, Broken> {
    let mut answers = round(make, questions, SIDE_BY_SIDE, machines)?;
    for _ in 0..ATTEMPTS {
        let late: Vec<usize> = (0..questions.len())
            .filter(|at| answers[*at].late)
            .collect();
        if late.is_empty() {
            return Ok(answers);
        }
        // A busy machine: fewer at a time.
        let again: Vec<Q> = late.iter().map(|at| questions[*at]).collect();
        let fresh = round(make, &again, 8, machines.div_ceil(4))?;
        for (at, answer) in late.into_iter().zip(fresh) {
            answers[at] = answer;
        }
    }
    match answers.iter().position(|answer| answer.late) {
        None => Ok(answers),
        Some(at) => Err(Broken(format!(
            "timers run ahead of {}: is the machine too busy?",
            questions[at]
        ))),
    }
}

fn round<Q: Question>(
    make: Factory<'_>,
    questions: &[Q],
    side_by_side: usize,
    machines: usize,
) -> Result<Vec<Observed>, Broken> {
    let chunks: Vec<&[Q]> = questions.chunks(side_by_side).collect();
    let next = AtomicUsize::new(0);
    let done = Mutex::new(vec![None; chunks.len()]);
    let work = || -> Result<(), Broken> {
        let mut machine = None;
        let mut port = FIRST_PORT;
        loop {
            let index = next.fetch_add(1, Ordering::SeqCst);
            let Some(chunk) = chunks.get(index) else {
                return Ok(());
            };
            if port > FIRST_PORT + PORTS {
                machine = None;
                port = FIRST_PORT;
            }
            let machine = match &mut machine {
                Some(machine) => machine,
                empty => empty.insert(make()?),
            };
            let answers = Q::put(machine.as_mut(), chunk, port)?;
            port += chunk.len() as u16;
            done.lock().unwrap_or_else(|held| held.into_inner())[index] = Some(answers);
        }
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..machines.min(chunks.len()))
            .map(|_| scope.spawn(work))
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
    })?;
    let done = done.into_inner().unwrap_or_else(|held| held.into_inner());
    Ok(done.into_iter().flatten().flatten().collect())
}
