//! The caller's memory: the only place that follows the pointers which C hands over.
//!
//! A [`Ptr`] cannot be made from an address here; it only arrives as an argument of a table entry, or inside of a
//! structure that one points to. What the system call of that name asks of its pointers is what keeps them valid: each
//! is null or points to as many values as the call's lengths say, for as long as the call runs.

mod message;

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::Arc;

use millrace_posix::call::{Buffer, SockAddr};

use crate::plug::Plug;

pub(crate) use message::Message;

/// A pointer argument: null, or to one or more `T`. Structures of C are read and written unaligned, some are packed.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct Ptr<T>(*mut T);

impl<T> Clone for Ptr<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Ptr<T> {}

impl<T: Copy> Ptr<T> {
    pub(crate) fn is_null(self) -> bool {
        self.0.is_null()
    }

    /// The value; `None` for a null pointer.
    pub(crate) fn get(self) -> Option<T> {
        self.get_at(0)
    }

    /// The value at an index below the length that came with the pointer.
    pub(crate) fn get_at(self, index: usize) -> Option<T> {
        if self.0.is_null() {
            return None;
        }
        // SAFETY: not null, so it points to at least `index + 1` values (module comment).
        Some(unsafe { self.0.add(index).read_unaligned() })
    }

    /// Writes the value; nothing is written through a null pointer.
    pub(crate) fn set(self, value: T) {
        self.set_at(0, value);
    }

    /// Writes at an index below the length that came with the pointer.
    pub(crate) fn set_at(self, index: usize, value: T) {
        if !self.0.is_null() {
            // SAFETY: not null, so it points to room for at least `index + 1` values (module comment).
            unsafe { self.0.add(index).write_unaligned(value) }
        }
    }
}

impl<T> Ptr<T> {
    /// `len` octets from here; a null pointer is told as one.
    pub(crate) fn bytes(self, len: usize) -> Buffer<Vec<u8>> {
        if self.0.is_null() {
            return Buffer::Null(len);
        }
        // SAFETY: not null, so it points to `len` octets that the caller has filled in (module comment).
        let bytes = unsafe { std::slice::from_raw_parts(self.0.cast::<u8>(), len) };
        Buffer::Given(bytes.to_vec())
    }

    /// Copies `bytes`, which are no more than the room that came with the pointer.
    pub(crate) fn fill(self, bytes: &[u8]) {
        if !self.0.is_null() {
            // SAFETY: not null, so it points to room for that many octets (module comment), which nobody else
            // touches during the call.
            unsafe {
                std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.0.cast::<u8>(), bytes.len())
            }
        }
    }

    /// Room for `len` octets, if it is there.
    pub(crate) fn room(self, len: usize) -> Buffer<usize> {
        if self.0.is_null() {
            Buffer::Null(len)
        } else {
            Buffer::Given(len)
        }
    }
}

impl Ptr<libc::sockaddr> {
    /// Writes as much of an address as fits the room, and tells its length.
    pub(crate) fn put_addr(self, addr: &SockAddr, room: libc::socklen_t) -> libc::socklen_t {
        let bytes = addr.to_bytes();
        self.fill(&bytes[..bytes.len().min(room as usize)]);
        bytes.len() as libc::socklen_t
    }
}

/// A C string argument.
#[derive(Debug)]
#[repr(transparent)]
pub struct Text(*const c_char);

impl Text {
    /// The text; a null pointer is an empty one.
    pub(crate) fn read(&self) -> String {
        if self.0.is_null() {
            return String::new();
        }
        // SAFETY: not null, so it is a string that ends with a zero (module comment).
        let text = unsafe { CStr::from_ptr(self.0) };
        text.to_string_lossy().into_owned()
    }
}

/// The first argument of every entry: what [`Userdata::new`] put into the table.
#[derive(Debug, Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Userdata(*const c_void);

impl Userdata {
    pub(crate) fn new(plug: Arc<Plug>) -> Self {
        Self(Arc::into_raw(plug).cast())
    }

    /// The plug-in, which stays as long as this call runs, even if another thread frees it meanwhile.
    pub(crate) fn plug(self) -> Arc<Plug> {
        let plug = self.0.cast::<Plug>();
        // SAFETY: it comes from `Arc::into_raw` in `new`, and the table's own count is given up by `free` alone,
        // after which the caller makes no more calls.
        unsafe {
            Arc::increment_strong_count(plug);
            Arc::from_raw(plug)
        }
    }

    /// Gives up the table's count.
    pub(crate) fn free(self) {
        // SAFETY: as in `plug`; the caller frees once.
        drop(unsafe { Arc::from_raw(self.0.cast::<Plug>()) });
    }
}

/// Sets `errno` of this thread.
pub(crate) fn set_errno(errno: c_int) {
    // SAFETY: libc gives the address of this thread's own `errno`.
    unsafe { *libc::__errno_location() = errno }
}
