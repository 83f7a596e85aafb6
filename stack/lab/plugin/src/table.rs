//! The table that the tool reads, in its order.

use std::ffi::{c_int, c_uint, c_ulong, c_void};

use libc::{
    epoll_event, iovec, loff_t, msghdr, nfds_t, pollfd, size_t, sockaddr, socklen_t, ssize_t,
    timeval, useconds_t,
};

use crate::memory::{Ptr, Userdata};

type FdFn<R> = extern "C" fn(Userdata, c_int) -> R;
type AddrFn = extern "C" fn(Userdata, c_int, Ptr<sockaddr>, socklen_t) -> c_int;
type AskAddrFn = extern "C" fn(Userdata, c_int, Ptr<sockaddr>, Ptr<socklen_t>) -> c_int;
type BytesFn = extern "C" fn(Userdata, c_int, Ptr<u8>, size_t) -> ssize_t;
type VectorFn = extern "C" fn(Userdata, c_int, Ptr<iovec>, c_int) -> ssize_t;
type FlaggedFn = extern "C" fn(Userdata, c_int, Ptr<u8>, size_t, c_int) -> ssize_t;
type MessageFn = extern "C" fn(Userdata, c_int, Ptr<msghdr>, c_int) -> ssize_t;

/// `struct packetdrill_interface`: one datum and 32 functions. What is variadic in C takes its one further argument
/// here in the place where the calling conventions of Linux put it.
#[repr(C)]
pub struct Interface {
    pub(crate) userdata: Userdata,
    pub(crate) free: extern "C" fn(Userdata),
    pub(crate) socket: extern "C" fn(Userdata, c_int, c_int, c_int) -> c_int,
    pub(crate) bind: AddrFn,
    pub(crate) listen: extern "C" fn(Userdata, c_int, c_int) -> c_int,
    pub(crate) accept: AskAddrFn,
    pub(crate) connect: AddrFn,
    pub(crate) read: BytesFn,
    pub(crate) readv: VectorFn,
    pub(crate) recv: FlaggedFn,
    pub(crate) recvfrom: extern "C" fn(
        Userdata,
        c_int,
        Ptr<u8>,
        size_t,
        c_int,
        Ptr<sockaddr>,
        Ptr<socklen_t>,
    ) -> ssize_t,
    pub(crate) recvmsg: MessageFn,
    pub(crate) write: BytesFn,
    pub(crate) writev: VectorFn,
    pub(crate) send: FlaggedFn,
    pub(crate) sendto:
        extern "C" fn(Userdata, c_int, Ptr<u8>, size_t, c_int, Ptr<sockaddr>, socklen_t) -> ssize_t,
    pub(crate) sendmsg: MessageFn,
    pub(crate) fcntl: extern "C" fn(Userdata, c_int, c_int, isize) -> c_int,
    pub(crate) ioctl: extern "C" fn(Userdata, c_int, c_ulong, Ptr<c_int>) -> c_int,
    pub(crate) close: FdFn<c_int>,
    pub(crate) shutdown: extern "C" fn(Userdata, c_int, c_int) -> c_int,
    pub(crate) getsockopt:
        extern "C" fn(Userdata, c_int, c_int, c_int, Ptr<u8>, Ptr<socklen_t>) -> c_int,
    pub(crate) setsockopt:
        extern "C" fn(Userdata, c_int, c_int, c_int, Ptr<u8>, socklen_t) -> c_int,
    pub(crate) poll: extern "C" fn(Userdata, Ptr<pollfd>, nfds_t, c_int) -> c_int,
    pub(crate) netdev_send: extern "C" fn(Userdata, Ptr<u8>, size_t) -> c_int,
    pub(crate) netdev_receive: extern "C" fn(Userdata, Ptr<u8>, Ptr<size_t>, Ptr<i64>) -> c_int,
    pub(crate) usleep: extern "C" fn(Userdata, useconds_t) -> c_int,
    pub(crate) gettimeofday: extern "C" fn(Userdata, Ptr<timeval>, *mut c_void) -> c_int,
    pub(crate) epoll_create: extern "C" fn(Userdata, c_int) -> c_int,
    pub(crate) epoll_ctl: extern "C" fn(Userdata, c_int, c_int, c_int, Ptr<epoll_event>) -> c_int,
    pub(crate) epoll_wait: extern "C" fn(Userdata, c_int, Ptr<epoll_event>, c_int, c_int) -> c_int,
    pub(crate) pipe: extern "C" fn(Userdata, Ptr<c_int>) -> c_int,
    pub(crate) splice:
        extern "C" fn(Userdata, c_int, Ptr<loff_t>, c_int, Ptr<loff_t>, size_t, c_uint) -> c_int,
}

const _: () = assert!(size_of::<Interface>() == 33 * size_of::<usize>());
