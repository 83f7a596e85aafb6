//! Descriptors: the stack's own numbers, and those that the tool sees, which no real file has.

use std::ops::Range;

use millrace_posix::call::{Fd, Out, Return};

use crate::plug::FDS;

/// What is added to the stack's numbers: far above any descriptor that the tool opens.
const BASE: Fd = 10_000;

/// A number that is never open.
const NEVER: Fd = Fd::MAX;

/// Descriptors that are the stack's, as the tool sees them.
pub(crate) const RESERVED: Range<Fd> = BASE..BASE + FDS as Fd;

/// The stack's number: real files are not open here, negative numbers stay what they are.
pub(crate) fn inner(fd: Fd) -> Fd {
    if RESERVED.contains(&fd) {
        fd - BASE
    } else if fd < 0 {
        fd
    } else {
        NEVER
    }
}

/// The result of a call that opens descriptors, as the tool sees it.
pub(crate) fn opened(mut returned: Return) -> Return {
    if returned.value < 0 {
        return returned;
    }
    if let Out::Fds(fds) = &mut returned.out {
        *fds = fds.map(|fd| fd + BASE);
    } else {
        returned.value += i64::from(BASE);
    }
    returned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_there_and_back() {
        assert_eq!(opened(Return::ok(3)).value, 10_003);
        assert_eq!(opened(Return::fail(24)), Return::fail(24));
        let pipe = opened(Return::with(0, Out::Fds([3, 4])));
        assert_eq!(pipe, Return::with(0, Out::Fds([10_003, 10_004])));
        assert_eq!([inner(10_003), inner(-1), inner(3)], [3, -1, Fd::MAX]);
    }
}
