//! Looks on from a thread of its own, so that the engine's loop is not disturbed: the processor time of each core, and
//! the progress line.

use std::fs;
use std::io::{IsTerminal, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use serde::{Deserialize, Serialize};

use super::engine::Watcher;
use super::log::{Log, Stretch};
use super::units;

/// What the cores did during the measurement.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Cpu {
    /// Over the whole measurement.
    pub cores: Vec<Core>,
    /// Of each stretch of the time series.
    pub series: Vec<CpuStretch>,
}

/// Where a core's time went, as shares of one.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Core {
    /// Its number.
    pub core: usize,
    /// Programs.
    pub user: f64,
    /// The kernel for programs.
    pub system: f64,
    /// The kernel for devices: interrupts, soft ones included.
    pub irq: f64,
    /// Other guests of the same machine.
    pub steal: f64,
}

impl Core {
    /// Not idle.
    pub fn busy(&self) -> f64 {
        self.user + self.system + self.irq + self.steal
    }
}

/// How busy the cores were in a stretch.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct CpuStretch {
    /// Seconds from the start of the measurement to the stretch's end.
    pub at_s: f64,
    /// Share of one for each core.
    pub busy: Vec<f64>,
}

/// The thread.
pub struct Watch {
    notes: Sender<Option<Stretch>>,
    thread: JoinHandle<Cpu>,
}

impl Watch {
    /// Starts it; before the caller is pinned to a core, which it would share.
    ///
    /// # Errors
    ///
    /// When no thread can be started.
    pub fn start() -> std::io::Result<Self> {
        let (notes, taken) = channel();
        let thread = std::thread::Builder::new()
            .name("watch".to_owned())
            .spawn(move || watch(&taken, std::io::stderr().is_terminal()))?;
        Ok(Self { notes, thread })
    }

    /// Brings it what the engine tells.
    pub fn watcher(&self) -> Watcher {
        let notes = self.notes.clone();
        Box::new(move |log: &Log| {
            // It only ends after the run.
            let _ = notes.send(log.series.last().copied());
        })
    }

    /// Ends it, after the engine and its watcher are gone.
    pub fn end(self) -> Cpu {
        drop(self.notes);
        self.thread.join().unwrap_or_default()
    }
}

/// `None` is the start of the measurement.
fn watch(notes: &Receiver<Option<Stretch>>, terminal: bool) -> Cpu {
    let mut first = Ticks::read();
    let mut last = first.clone();
    let mut series = Vec::new();
    for note in notes {
        let now = Ticks::read();
        match note {
            None => first = now.clone(),
            Some(stretch) => {
                series.push(CpuStretch {
                    at_s: stretch.at_s,
                    busy: last.until(&now).iter().map(Core::busy).collect(),
                });
                if terminal {
                    eprint!("\r\x1b[K{}", progress(&stretch));
                }
            }
        }
        last = now;
        // A terminal that is gone is no reason to stop.
        let _ = std::io::stderr().flush();
    }
    if terminal {
        eprint!("\r\x1b[K");
    }
    Cpu {
        cores: first.until(&last),
        series,
    }
}

fn progress(stretch: &Stretch) -> String {
    let at = stretch.at_s;
    if stretch.replies == 0 {
        return format!(
            "{at:6.1} s  {}",
            units::bits(stretch.bytes as f64 / stretch.length_s)
        );
    }
    format!(
        "{at:6.1} s  {}/s  p50 {}  p99 {}  max {}",
        units::rate(stretch.replies as f64 / stretch.length_s),
        units::time(stretch.p50_ns),
        units::time(stretch.p99_ns),
        units::time(stretch.max_ns)
    )
}

/// The kernel's counters of time for each core.
#[derive(Clone, Default)]
struct Ticks(Vec<[u64; 8]>);

impl Ticks {
    fn read() -> Self {
        Self::parse(&fs::read_to_string("/proc/stat").unwrap_or_default())
    }

    /// `cpu0 user nice system idle iowait irq softirq steal …`
    fn parse(text: &str) -> Self {
        let cores = text.lines().filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let name = words.next()?.strip_prefix("cpu")?;
            name.parse::<usize>().ok()?;
            let mut ticks = [0; 8];
            for (tick, word) in ticks.iter_mut().zip(words) {
                *tick = word.parse().ok()?;
            }
            Some(ticks)
        });
        Self(cores.collect())
    }

    fn until(&self, later: &Self) -> Vec<Core> {
        let pairs = self.0.iter().zip(&later.0).enumerate();
        pairs
            .map(|(core, (old, new))| {
                let spent = |place: usize| new[place].saturating_sub(old[place]) as f64;
                let all: f64 = (0..8).map(spent).sum::<f64>().max(1.0);
                Core {
                    core,
                    user: (spent(0) + spent(1)) / all,
                    system: spent(2) / all,
                    irq: (spent(5) + spent(6)) / all,
                    steal: spent(7) / all,
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_cores() {
        let old = Ticks::parse(
            "cpu 9 9 9 9\ncpu0 10 0 10 100 0 0 0 0 0 0\ncpu1 0 0 0 0 0 0 0 0\nintr 5\n",
        );
        let new = Ticks::parse(
            "cpu 9 9 9 9\ncpu0 30 0 20 150 0 5 15 0 0 0\ncpu1 0 0 0 0 0 0 0 0\nintr 5\n",
        );
        let cores = old.until(&new);
        assert_eq!(cores.len(), 2);
        assert_eq!(
            (cores[0].user, cores[0].system, cores[0].irq),
            (0.2, 0.1, 0.2)
        );
        assert!((cores[0].busy() - 0.5).abs() < 1e-9);
        assert_eq!(cores[1].busy(), 0.0);
    }

    #[test]
    fn a_stretch_in_a_line() {
        let stretch = Stretch {
            at_s: 2.0,
            length_s: 0.5,
            sent: 10,
            replies: 5000,
            bytes: 0,
            p50_ns: 1000,
            p99_ns: 20_000,
            max_ns: 3_000_000,
        };
        assert_eq!(
            progress(&stretch),
            "   2.0 s  10,000/s  p50 1.00 µs  p99 20.0 µs  max 3.00 ms"
        );
    }
}
