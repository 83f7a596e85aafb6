//! Pipes, splice, and files of zeros.

use millrace_posix::call::{Call, Fd, Out};
use millrace_wire::tcp::TcpFlags;

use super::peer::{Lab, errno, read, recv, write};

const ACK: TcpFlags = TcpFlags::ACK;

fn pipe(lab: &mut Lab, flags: i32) -> [Fd; 2] {
    match lab.call(Call::Pipe { flags }).out {
        Out::Fds(fds) => fds,
        other => panic!("{other:?}"),
    }
}

fn splice(from: Fd, to: Fd, len: usize) -> Call {
    Call::Splice {
        from,
        to,
        len,
        flags: 0,
    }
}

#[test]
fn a_pipe_carries_octets_and_knows_its_ends() {
    let mut lab = Lab::new();
    let [r, w] = pipe(&mut lab, libc::O_NONBLOCK);
    assert_eq!((lab.ready(r), lab.ready(w)), (0, 0x104));
    assert_eq!(lab.value(read(r, 1)), errno(libc::EAGAIN));
    assert_eq!(lab.value(write(w, 1)), 1);
    assert_eq!((lab.ready(r), lab.ready(w)), (0x41, 0x104));
    assert_eq!(lab.value(read(w, 1)), errno(libc::EBADF));
    assert_eq!(lab.value(write(r, 1)), errno(libc::EBADF));
    assert_eq!(lab.value(recv(r, 1, libc::MSG_PEEK)), errno(libc::ENOTSOCK));
    lab.close(w);
    assert_eq!(lab.ready(r), 0x51);
    assert_eq!(lab.value(read(r, 9)), 1);
    assert_eq!(lab.value(read(r, 9)), 0);
    let [r, w] = pipe(&mut lab, 0);
    lab.close(r);
    assert_eq!(lab.ready(w), 0x10c);
    assert_eq!(lab.value(write(w, 1)), errno(libc::EPIPE));
}

#[test]
fn a_full_pipe_holds_its_writer() {
    let mut lab = Lab::new();
    let [r, w] = pipe(&mut lab, 0);
    let writing = lab.waits(write(w, 100_000));
    assert_eq!(lab.ready(w), 0);
    assert_eq!(lab.value(read(r, 65_536)), 65_536);
    assert_eq!(lab.returned(writing), Some((100_000, 0)));
    assert_eq!(lab.value(read(r, 65_536)), 100_000 - 65_536);
    let reading = lab.waits(read(r, 10));
    assert_eq!(lab.value(write(w, 4)), 4);
    assert_eq!(lab.returned(reading), Some((4, 0)));
}

#[test]
fn splice_moves_what_has_come() {
    let mut lab = Lab::new();
    let listener = lab.listener();
    let fd = lab.child(listener);
    let [r, w] = pipe(&mut lab, 0);
    let waiting = lab.waits(splice(fd, w, 5_000));
    lab.segment(ACK, 1, 1, 1_000);
    assert_eq!(lab.returned(waiting), Some((1_000, 0)));
    lab.sent();
    assert_eq!(lab.value(splice(r, fd, 5_000)), 1_000);
    let sent = lab.sent();
    assert_eq!((sent.len(), sent[0].len), (1, 1_000));
    let waiting = lab.waits(splice(r, fd, 10));
    assert_eq!(lab.value(write(w, 3)), 3);
    assert_eq!(lab.returned(waiting), Some((3, 0)));
    lab.close(w);
    assert_eq!(lab.value(splice(r, fd, 10)), 0);
}

#[test]
fn splice_wants_one_pipe_and_two_directions() {
    let mut lab = Lab::new();
    let listener = lab.listener();
    let fd = lab.child(listener);
    let [r, w] = pipe(&mut lab, 0);
    assert_eq!(lab.value(splice(fd, fd, 0)), 0, "nothing is looked at");
    assert_eq!(lab.value(splice(fd, fd, 1)), errno(libc::EINVAL));
    assert_eq!(lab.value(splice(w, fd, 1)), errno(libc::EBADF));
    assert_eq!(lab.value(splice(fd, r, 1)), errno(libc::EBADF));
    let nonblocking = Call::Splice {
        from: r,
        to: fd,
        len: 1,
        flags: libc::SPLICE_F_NONBLOCK,
    };
    assert_eq!(lab.value(nonblocking), errno(libc::EAGAIN));
}

#[test]
fn sendfile_sends_zeros() {
    let mut lab = Lab::new();
    let listener = lab.listener();
    let fd = lab.child(listener);
    let open = |path: &str| Call::Open {
        path: path.to_owned(),
        flags: libc::O_RDONLY,
    };
    assert_eq!(lab.value(open("/nowhere")), errno(libc::ENOENT));
    let from = lab.value(open("/dev/zero")) as Fd;
    assert_eq!(lab.ready(from), 0x145);
    lab.sent();
    let sendfile = |to, from| Call::Sendfile {
        to,
        from,
        offset: Some(0),
        len: 3_000,
    };
    assert_eq!(lab.value(sendfile(fd, from)), 3_000);
    let lens: Vec<_> = lab.sent().iter().map(|s| s.len).collect();
    assert_eq!(lens, [1460, 1460, 80]);
    assert_eq!(lab.value(sendfile(from, fd)), errno(libc::EINVAL));
    assert_eq!(lab.value(sendfile(fd, 99)), errno(libc::EBADF));
}
