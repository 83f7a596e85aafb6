//! The control socket: how `millrace stat` and `millrace ss` look into a process that runs.
//!
//! | module | what |
//! |---|---|
//! | [`place`] | where the socket lies, and whose it is |
//! | [`protocol`] | the lines that go over it |
//! | [`clerk`] | the thread that answers, in the process that runs |
//! | [`call`] | the one that asks |
//!
//! The clerk is a thread of its own. It asks the worker for what it needs ([`millrace::control::inquiry`]) and never touches
//! what the worker owns; what callers do to it, the worker does not notice.

pub mod call;
mod caller;
pub mod clerk;
mod counters;
pub mod place;
pub mod protocol;

use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use millrace::Worker;

use crate::Failure;

pub use call::{AskArgs, Call};
pub use clerk::Clerk;
pub use protocol::About;

/// The control socket of a command that runs a worker.
#[derive(Debug, Args)]
pub struct ControlArgs {
    /// Where `millrace stat` and `millrace ss` find this process
    /// [default: /run/millrace/PID.sock, or $XDG_RUNTIME_DIR/millrace/PID.sock if not root].
    #[arg(long, value_name = "PATH")]
    pub control: Option<PathBuf>,
    /// No control socket.
    #[arg(long, conflicts_with = "control")]
    pub no_control: bool,
}

/// A place that is ours, before there is a worker to answer from.
pub struct Reserved(Option<place::Seat>);

/// Takes the place of the control socket.
///
/// # Errors
///
/// [`Failure`] when a path was given and cannot be had. The default path is not insisted on: without it the process runs
/// on, and says so.
pub fn reserve(args: &ControlArgs) -> Result<Reserved, Failure> {
    if args.no_control {
        return Ok(Reserved(None));
    }
    if let Some(path) = &args.control {
        return place::claim(path)
            .map(|seat| Reserved(Some(seat)))
            .map_err(Failure::from_error);
    }
    let seat = place::default_path().and_then(|path| place::claim(&path));
    if let Err(error) = &seat {
        tracing::warn!("`millrace stat` and `millrace ss` will not find this process: {error}");
    }
    Ok(Reserved(seat.ok()))
}

impl Reserved {
    /// Starts to answer for `worker`, which has all its queues and `core` to itself.
    ///
    /// # Errors
    ///
    /// When there are no descriptors or threads left.
    pub fn open(
        self,
        worker: &mut Worker,
        about: About,
        core: Option<usize>,
    ) -> io::Result<Option<Clerk>> {
        let Some(seat) = self.0 else {
            return Ok(None);
        };
        Clerk::start(seat, worker.inquirer()?, about, core).map(Some)
    }

    /// Where it lies.
    pub fn path(&self) -> Option<&Path> {
        self.0.as_ref().map(|seat| seat.path())
    }
}
