//! Signals as commands: SIGINT and SIGTERM drain the worker, a second one stops it at once, SIGUSR1 asks for the
//! statistics.
//!
//! A thread of its own waits for them, so that no worker is ever interrupted; it must be made before the worker's
//! thread is pinned, or it would share that core.

use std::io;
use std::thread::JoinHandle;

use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::{Handle, Signals as Caught};

use crate::control::{Command, Controller};

/// Forwards signals as long as it lives.
pub struct Signals {
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

impl Signals {
    /// Catches the signals from now on and sends them to the worker of `controller`.
    ///
    /// # Errors
    ///
    /// When handlers cannot be installed or no thread can be started.
    pub fn forward(mut controller: Controller) -> io::Result<Self> {
        let mut caught = Caught::new([SIGINT, SIGTERM, SIGUSR1])?;
        let handle = caught.handle();
        let thread = std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                let mut stop = Command::Drain;
                for signal in caught.forever() {
                    let command = match signal {
                        SIGUSR1 => Command::Report,
                        _ => core::mem::replace(&mut stop, Command::Abort),
                    };
                    // A worker that does not listen any more is on its way out.
                    let _ = controller.send(command);
                }
            })?;
        Ok(Self {
            handle,
            thread: Some(thread),
        })
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.handle.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
