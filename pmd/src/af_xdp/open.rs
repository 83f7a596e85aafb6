//! What opening a socket has in common, whoever makes it.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::thread::sleep;

use super::program::{BUSY_PERIOD, BUSY_RETRIES};
use super::{AfXdpConfig, BusyPoll};
use crate::error::PortError;
use crate::netdev::system;

/// Whether the socket itself has to be asked for frames when there are none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Polling {
    /// The device delivers by itself.
    Ring,
    /// Each empty poll runs the device's NAPI by a system call.
    Busy,
}

impl Polling {
    pub(super) fn of(config: &AfXdpConfig) -> Self {
        match config.busy_poll {
            Some(_) => Self::Busy,
            None => Self::Ring,
        }
    }
}

/// Binds, and while the kernel says EBUSY tries again: the queue of a process that has just died is released a little
/// later. The outer error is one that no other mode of binding will cure.
pub(super) fn patiently<T>(
    mut bind: impl FnMut() -> Result<io::Result<T>, PortError>,
) -> Result<io::Result<T>, PortError> {
    let mut tries = 0;
    loop {
        match bind()? {
            Err(err) if err.raw_os_error() == Some(libc::EBUSY) && tries < BUSY_RETRIES => {
                tries += 1;
                sleep(BUSY_PERIOD);
            }
            result => return Ok(result),
        }
    }
}

/// Why no way of binding worked.
pub(super) fn not_bound(interface: &str, queue: u32, err: io::Error) -> PortError {
    let owned = interface.to_owned();
    match err.raw_os_error() {
        Some(libc::EBUSY) => PortError::QueueBusy {
            interface: owned,
            queue,
        },
        Some(libc::EPERM | libc::EACCES) => PortError::NoXdpPermission { interface: owned },
        _ => system(interface, "bind(AF_XDP)", err),
    }
}

/// Switches busy polling on, when it is asked for.
pub(super) fn busy_poll(config: &AfXdpConfig, socket: &impl AsRawFd) -> Result<(), PortError> {
    let Some(BusyPoll { usecs, budget }) = config.busy_poll else {
        return Ok(());
    };
    for (option, value) in [
        (libc::SO_PREFER_BUSY_POLL, 1),
        (libc::SO_BUSY_POLL, usecs),
        (libc::SO_BUSY_POLL_BUDGET, budget),
    ] {
        let value = value.min(libc::c_int::MAX as u32);
        set_option(socket.as_raw_fd(), libc::SOL_SOCKET, option, value)
            .map_err(|err| system(&config.interface, "setsockopt(SO_BUSY_POLL)", err))?;
    }
    Ok(())
}

/// Sets a socket option that takes 32 bits.
pub(super) fn set_option(
    socket: RawFd,
    level: libc::c_int,
    option: libc::c_int,
    value: u32,
) -> io::Result<()> {
    // SAFETY: the option value is a live 32-bit integer of the length told; a descriptor that is none is an error.
    let result = unsafe {
        libc::setsockopt(
            socket,
            level,
            option,
            (&raw const value).cast(),
            size_of_val(&value) as libc::socklen_t,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
