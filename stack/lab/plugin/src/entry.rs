//! The functions of the table: arguments of C become a [`Call`], its result becomes what C expects.

mod message;
mod netdev;
pub(crate) mod options;
pub(crate) mod pipe;
mod poll;
pub(crate) mod socket;

use millrace_posix::call::{Call, Return};

use crate::hooks;
use crate::memory::{Userdata, set_errno};
use crate::table::Interface;

/// The table over a plug-in.
pub(crate) fn table(userdata: Userdata) -> Interface {
    Interface {
        userdata,
        free,
        socket: socket::socket,
        bind: socket::bind,
        listen: socket::listen,
        accept: socket::accept,
        connect: socket::connect,
        read: message::read,
        readv: message::readv,
        recv: message::recv,
        recvfrom: message::recvfrom,
        recvmsg: message::recvmsg,
        write: message::write,
        writev: message::writev,
        send: message::send,
        sendto: message::sendto,
        sendmsg: message::sendmsg,
        fcntl: options::fcntl,
        ioctl: options::ioctl,
        close: socket::close,
        shutdown: socket::shutdown,
        getsockopt: options::getsockopt,
        setsockopt: options::setsockopt,
        poll: poll::poll,
        netdev_send: netdev::send,
        netdev_receive: netdev::receive,
        usleep: netdev::usleep,
        gettimeofday: netdev::gettimeofday,
        epoll_create: poll::epoll_create,
        epoll_ctl: poll::epoll_ctl,
        epoll_wait: poll::epoll_wait,
        pipe: pipe::pipe,
        splice: pipe::splice,
    }
}

/// Waiting calls end, the stack goes.
extern "C" fn free(userdata: Userdata) {
    hooks::detach(userdata);
    userdata.plug().interrupt_all();
    userdata.free();
}

/// Makes a call.
fn call(userdata: Userdata, call: Call) -> Return {
    userdata.plug().call(call)
}

/// The number that C gets, with `errno` set.
fn number(returned: &Return) -> isize {
    if returned.value < 0 {
        set_errno(returned.errno);
    }
    returned.value as isize
}

/// As [`number`], for calls that return an `int`.
fn int(returned: &Return) -> i32 {
    number(returned) as i32
}

/// A call that fails before it is made.
fn refuse(errno: i32) -> isize {
    number(&Return::fail(errno))
}
