//! Random sequences on both machines, and the shortest that still differs.

use std::fmt;
use std::panic::resume_unwind;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use millrace_lab::machine::{Broken, Machine};

use super::judge;
use super::random::{self, Pace, Sequence};

/// Kernels at once: nearly all of their time is waiting.
const KERNELS: usize = 24;

/// How often the kernel is asked: what it answers only sometimes is no difference.
const ATTEMPTS: u32 = 4;

/// First port of a machine.
const FIRST_PORT: u16 = 1024;

/// A sequence whose answers differ.
#[derive(Debug, Clone)]
pub struct Difference {
    /// Its seed.
    pub seed: u64,
    /// What was asked, as short as it gets.
    pub asked: Sequence,
    /// What the kernel did.
    pub kernel: Vec<String>,
    /// What the stack did.
    pub stack: Vec<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}: {}", self.seed, self.asked)?;
        let lines = |name: &str, lines: &[String]| -> String {
            lines
                .iter()
                .map(|line| format!("    {name}: {line}\n"))
                .collect()
        };
        write!(
            f,
            "{}{}",
            lines("kernel", &self.kernel),
            lines(" stack", &self.stack)
        )
    }
}

/// Draws and asks `count` sequences from `seed` on, and shrinks those that differ.
///
/// # Errors
/// A machine failed.
pub fn fight(seed: u64, count: u64, pace: Pace) -> Result<Vec<Difference>, Broken> {
    let seeds: Vec<u64> = (seed..).take(count as usize).collect();
    let next = AtomicUsize::new(0);
    let found = Mutex::new(Vec::new());
    let work = || -> Result<(), Broken> {
        let mut arena = Arena::new()?;
        while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::SeqCst)) {
            let asked = Sequence::draw(*seed, pace);
            if let Some(differs) = arena.differs(*seed, &asked)? {
                let shrunk = arena.shrink(differs)?;
                found
                    .lock()
                    .unwrap_or_else(|held| held.into_inner())
                    .push(shrunk);
            }
        }
        Ok(())
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..KERNELS.min(seeds.len()))
            .map(|_| scope.spawn(work))
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
    })?;
    let mut found = found.into_inner().unwrap_or_else(|held| held.into_inner());
    found.sort_by_key(|difference| difference.seed);
    Ok(found)
}

/// A machine of each kind.
struct Arena {
    kernel: Box<dyn Machine>,
    port: u16,
}

impl Arena {
    fn new() -> Result<Self, Broken> {
        Ok(Self {
            kernel: judge::kernel()?,
            port: FIRST_PORT,
        })
    }

    /// The difference, if there is one each time.
    fn differs(&mut self, seed: u64, asked: &Sequence) -> Result<Option<Difference>, Broken> {
        let stack = random::run(judge::stack()?.as_mut(), asked, FIRST_PORT)?.lines;
        let mut kernel = Vec::new();
        for _ in 0..ATTEMPTS {
            self.port += 1;
            let answer = random::run(self.kernel.as_mut(), asked, self.port)?;
            if answer.lines == stack {
                return Ok(None);
            }
            if !answer.late {
                kernel = answer.lines;
            }
        }
        if kernel.is_empty() {
            return Err(Broken(format!(
                "timers run ahead of seed {seed}: is the machine too busy?"
            )));
        }
        Ok(Some(Difference {
            seed,
            asked: asked.clone(),
            kernel,
            stack,
        }))
    }

    /// Leaves out steps as long as the answers still differ.
    fn shrink(&mut self, mut differs: Difference) -> Result<Difference, Broken> {
        let mut at = 0;
        while at < differs.asked.steps.len() {
            let mut shorter = differs.asked.clone();
            shorter.steps.remove(at);
            match self.differs(differs.seed, &shorter)? {
                Some(smaller) => (differs, at) = (smaller, 0),
                None => at += 1,
            }
        }
        Ok(differs)
    }
}
