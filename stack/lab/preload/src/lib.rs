//! Preloaded into the packetdrill tool: where it calls libc itself for a descriptor (`getsockopt` in code blocks, `close`
//! at the end of a script, `sendfile`), the descriptors of the Millrace plug-in go to the plug-in, all others to libc.

use std::ffi::{CStr, c_int, c_void};
use std::sync::atomic::{AtomicI32, AtomicPtr, Ordering};

use libc::{off_t, size_t, socklen_t, ssize_t};

type GetSockOpt =
    unsafe extern "C" fn(*mut c_void, c_int, c_int, c_int, *mut c_void, *mut socklen_t) -> c_int;
type Close = unsafe extern "C" fn(*mut c_void, c_int) -> c_int;
type Sendfile = unsafe extern "C" fn(*mut c_void, c_int, c_int, *mut off_t, size_t) -> ssize_t;

type LibcGetSockOpt =
    unsafe extern "C" fn(c_int, c_int, c_int, *mut c_void, *mut socklen_t) -> c_int;
type LibcClose = unsafe extern "C" fn(c_int) -> c_int;
type LibcSendfile = unsafe extern "C" fn(c_int, c_int, *mut off_t, size_t) -> ssize_t;

/// The plug-in's functions.
#[derive(Clone, Copy)]
struct Hooks {
    userdata: *mut c_void,
    getsockopt: GetSockOpt,
    close: Close,
    sendfile: Sendfile,
}

/// What is attached: null, or a leaked value (there is one per run of the tool).
static HOOKS: AtomicPtr<Hooks> = AtomicPtr::new(std::ptr::null_mut());
/// Descriptors from here on are the plug-in's …
static FIRST: AtomicI32 = AtomicI32::new(0);
/// … up to this one, which is not.
static END: AtomicI32 = AtomicI32::new(0);

/// The plug-in tells which descriptors are its own and what to call for them; without functions it says good-bye.
// SAFETY: no other library has a function of this name.
#[unsafe(no_mangle)]
pub extern "C" fn millrace_drill_attach(
    userdata: *mut c_void,
    first: c_int,
    end: c_int,
    getsockopt: Option<GetSockOpt>,
    close: Option<Close>,
    sendfile: Option<Sendfile>,
) {
    let hooks = match (getsockopt, close, sendfile) {
        (Some(getsockopt), Some(close), Some(sendfile)) => Box::into_raw(Box::new(Hooks {
            userdata,
            getsockopt,
            close,
            sendfile,
        })),
        _ => std::ptr::null_mut(),
    };
    FIRST.store(first, Ordering::Relaxed);
    END.store(end, Ordering::Relaxed);
    HOOKS.store(hooks, Ordering::Release);
}

/// The plug-in's functions, if the descriptor is one of its own.
fn hooks(fd: c_int) -> Option<Hooks> {
    let hooks = HOOKS.load(Ordering::Acquire);
    let range = FIRST.load(Ordering::Relaxed)..END.load(Ordering::Relaxed);
    // SAFETY: null, or a value that is never freed.
    let hooks = unsafe { hooks.as_ref() }?;
    range.contains(&fd).then_some(*hooks)
}

/// libc's function of a name, behind this library.
fn libc_function(name: &CStr) -> *mut c_void {
    // SAFETY: the name ends with a zero.
    let found = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) };
    if found.is_null() {
        // SAFETY: it takes nothing and does not return. There is no libc without these functions.
        unsafe { libc::abort() }
    }
    found
}

/// getsockopt(2).
///
/// # Safety
/// As libc's.
// SAFETY: it takes the place of libc's function, with its arguments and its meaning.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getsockopt(
    fd: c_int,
    level: c_int,
    name: c_int,
    value: *mut c_void,
    len: *mut socklen_t,
) -> c_int {
    match hooks(fd) {
        // SAFETY: the plug-in asks of the pointers what libc asks.
        Some(hooks) => unsafe { (hooks.getsockopt)(hooks.userdata, fd, level, name, value, len) },
        None => {
            let next = libc_function(c"getsockopt");
            // SAFETY: it is libc's function of that name, and this its type.
            let next = unsafe { std::mem::transmute::<*mut c_void, LibcGetSockOpt>(next) };
            // SAFETY: the caller's arguments, as they came.
            unsafe { next(fd, level, name, value, len) }
        }
    }
}

/// close(2).
///
/// # Safety
/// As libc's.
// SAFETY: it takes the place of libc's function, with its arguments and its meaning.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn close(fd: c_int) -> c_int {
    match hooks(fd) {
        // SAFETY: the plug-in is there as long as it is attached.
        Some(hooks) => unsafe { (hooks.close)(hooks.userdata, fd) },
        None => {
            let next = libc_function(c"close");
            // SAFETY: it is libc's function of that name, and this its type.
            let next = unsafe { std::mem::transmute::<*mut c_void, LibcClose>(next) };
            // SAFETY: the caller's argument, as it came.
            unsafe { next(fd) }
        }
    }
}

/// sendfile(2).
///
/// # Safety
/// As libc's.
// SAFETY: it takes the place of libc's function, with its arguments and its meaning.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sendfile(
    to: c_int,
    from: c_int,
    offset: *mut off_t,
    len: size_t,
) -> ssize_t {
    match hooks(to) {
        // SAFETY: the plug-in asks of the pointer what libc asks.
        Some(hooks) => unsafe { (hooks.sendfile)(hooks.userdata, to, from, offset, len) },
        None => {
            let next = libc_function(c"sendfile");
            // SAFETY: it is libc's function of that name, and this its type.
            let next = unsafe { std::mem::transmute::<*mut c_void, LibcSendfile>(next) };
            // SAFETY: the caller's arguments, as they came.
            unsafe { next(to, from, offset, len) }
        }
    }
}

/// sendfile(2) under the name that programs with 64-bit offsets call.
///
/// # Safety
/// As libc's.
// SAFETY: as for `sendfile`, which it is where `off_t` has 64 bits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sendfile64(
    to: c_int,
    from: c_int,
    offset: *mut off_t,
    len: size_t,
) -> ssize_t {
    // SAFETY: the caller's arguments, as they came.
    unsafe { sendfile(to, from, offset, len) }
}
