//! Namespaces, threads and signals.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::OnceLock;

use super::checked;

/// Gives the calling thread a network namespace of its own.
///
/// # Errors
/// EPERM without CAP_SYS_ADMIN.
pub fn leave_network() -> io::Result<()> {
    // SAFETY: takes no memory; without CLONE_FILES and the like only this thread's network namespace changes.
    checked(i64::from(unsafe { libc::unshare(libc::CLONE_NEWNET) })).map(drop)
}

/// Moves the calling thread into a network namespace.
///
/// # Errors
/// As setns(2).
pub fn enter_network(namespace: &File) -> io::Result<()> {
    // SAFETY: takes no memory; the descriptor is open.
    checked(i64::from(unsafe {
        libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET)
    }))
    .map(drop)
}

/// The signal that interrupts a call; its default is to be ignored, so a late one does no harm.
const INTERRUPT: i32 = libc::SIGURG;

/// Interrupts the system call that a thread of this process waits in, if it does.
pub fn interrupt(tid: rustix::process::Pid) {
    static HANDLER: OnceLock<()> = OnceLock::new();
    extern "C" fn nothing(_: i32) {}
    HANDLER.get_or_init(|| {
        // SAFETY: all zeros is a valid `sigaction`; the handler does nothing, so it is safe at any point; without
        // SA_RESTART calls return EINTR.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = nothing as extern "C" fn(i32) as libc::sighandler_t;
            libc::sigaction(INTERRUPT, &raw const action, std::ptr::null_mut());
        }
    });
    // SAFETY: takes no memory; a thread that is gone gives ESRCH.
    unsafe {
        libc::syscall(
            libc::SYS_tgkill,
            libc::getpid(),
            tid.as_raw_nonzero().get(),
            INTERRUPT,
        );
    }
}
