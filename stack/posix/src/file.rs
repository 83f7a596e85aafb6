//! The file layer (Linux `files_struct`, `struct file`): descriptors, and the open files that they name.
//!
//! A call that waits holds its file: a close of the descriptor meanwhile frees the number at once, but the file is
//! released when the last holder lets go of it, as in the kernel.

use millrace_net::SockId;

use crate::call::Fd;
use crate::epoll::Epoll;
use crate::pipe::{End, PipeId};

/// First number given out: 0, 1 and 2 are the standard streams.
const FIRST: usize = 3;

/// Descriptors of a process unless said otherwise (`RLIMIT_NOFILE`'s usual soft limit).
pub(crate) const DEFAULT_LIMIT: usize = 1024;

/// An open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FileId(usize);

impl FileId {
    /// For the stack to keep.
    pub fn to_u64(self) -> u64 {
        self.0 as u64
    }

    /// The inverse; a number that is no file's is found out when it is looked up.
    pub fn from_u64(raw: u64) -> Self {
        Self(raw as usize)
    }
}

/// What stands behind an open file.
#[derive(Debug)]
pub(crate) enum Kind {
    /// A TCP socket.
    Socket(SockId),
    /// An epoll.
    Epoll(Box<Epoll>),
    /// An end of a pipe.
    Pipe(PipeId, End),
    /// A file of zeros.
    Zeros,
}

/// `struct file`.
#[derive(Debug)]
pub(crate) struct File {
    pub kind: Kind,
    /// `f_flags`: access mode and the status flags of `F_SETFL`.
    pub flags: i32,
    /// Descriptors and waiting calls that hold it.
    holders: u32,
}

impl File {
    /// O_NONBLOCK is set.
    pub fn nonblocking(&self) -> bool {
        self.flags & libc::O_NONBLOCK != 0
    }
}

/// A descriptor's place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    Free,
    /// Promised to a call that has not made its file yet.
    Reserved,
    Open {
        file: FileId,
        cloexec: bool,
    },
}

/// The table of descriptors, and the files.
#[derive(Debug)]
pub(crate) struct Files {
    slots: Vec<Slot>,
    files: Vec<Option<File>>,
    limit: usize,
}

impl Files {
    /// No descriptor at or above `limit` is given out.
    pub fn new(limit: usize) -> Self {
        Self {
            slots: vec![Slot::Reserved; FIRST.min(limit)],
            files: Vec::new(),
            limit,
        }
    }

    /// Promises the lowest free descriptor (Linux `get_unused_fd_flags`); `None` is EMFILE.
    pub fn reserve(&mut self) -> Option<Fd> {
        let free = self.slots.iter().position(|slot| *slot == Slot::Free);
        let at = match free {
            Some(at) => at,
            None if self.slots.len() < self.limit => {
                self.slots.push(Slot::Free);
                self.slots.len() - 1
            }
            None => return None,
        };
        self.slots[at] = Slot::Reserved;
        Fd::try_from(at).ok()
    }

    /// Takes a promise back.
    pub fn unreserve(&mut self, fd: Fd) {
        if let Some(slot) = self.slot_mut(fd) {
            *slot = Slot::Free;
        }
    }

    /// A new file behind a descriptor that was promised (Linux `fd_install`).
    pub fn install(&mut self, fd: Fd, kind: Kind, flags: i32, cloexec: bool) {
        let file = File {
            kind,
            flags,
            holders: 1,
        };
        let free = self.files.iter().position(Option::is_none);
        let id = FileId(free.unwrap_or(self.files.len()));
        match free {
            Some(at) => self.files[at] = Some(file),
            None => self.files.push(Some(file)),
        }
        if let Some(slot) = self.slot_mut(fd) {
            *slot = Slot::Open { file: id, cloexec };
        }
    }

    fn slot_mut(&mut self, fd: Fd) -> Option<&mut Slot> {
        self.slots.get_mut(usize::try_from(fd).ok()?)
    }

    /// The file behind a descriptor; `None` is EBADF.
    pub fn lookup(&self, fd: Fd) -> Option<FileId> {
        match self.slots.get(usize::try_from(fd).ok()?)? {
            Slot::Open { file, .. } => Some(*file),
            Slot::Free | Slot::Reserved => None,
        }
    }

    /// A file; `None` only for an id that nobody holds.
    pub fn get(&self, id: FileId) -> Option<&File> {
        self.files.get(id.0)?.as_ref()
    }

    /// As [`Files::get`].
    pub fn get_mut(&mut self, id: FileId) -> Option<&mut File> {
        self.files.get_mut(id.0)?.as_mut()
    }

    /// The close-on-exec flag of a descriptor.
    pub fn cloexec(&mut self, fd: Fd) -> Option<&mut bool> {
        match self.slot_mut(fd)? {
            Slot::Open { cloexec, .. } => Some(cloexec),
            Slot::Free | Slot::Reserved => None,
        }
    }

    /// Descriptors are below this.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// The next one to let go is the last.
    pub fn is_held_once(&self, id: FileId) -> bool {
        self.get(id).is_some_and(|file| file.holders == 1)
    }

    /// One more holder.
    pub fn hold(&mut self, id: FileId) {
        if let Some(file) = self.get_mut(id) {
            file.holders += 1;
        }
    }

    /// One holder less; what is to be released with the last one.
    #[must_use]
    pub fn let_go(&mut self, id: FileId) -> Option<Kind> {
        let file = self.get_mut(id)?;
        file.holders -= 1;
        if file.holders > 0 {
            return None;
        }
        self.files[id.0].take().map(|file| file.kind)
    }

    /// Frees a descriptor; the file it named, still held for it.
    pub fn remove(&mut self, fd: Fd) -> Option<FileId> {
        let file = self.lookup(fd)?;
        if let Some(slot) = self.slot_mut(fd) {
            *slot = Slot::Free;
        }
        Some(file)
    }

    /// All descriptors in use, ascending.
    pub fn open(&self) -> Vec<Fd> {
        let open = |(at, slot): (usize, &Slot)| {
            matches!(slot, Slot::Open { .. }).then(|| Fd::try_from(at).ok())?
        };
        self.slots.iter().enumerate().filter_map(open).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket() -> Kind {
        Kind::Socket(SockId::from_u64(1))
    }

    #[test]
    fn the_lowest_free_number_is_given_out() {
        let mut files = Files::new(6);
        let fds: Vec<_> = (0..3).map(|_| files.reserve()).collect();
        assert_eq!(fds, [Some(3), Some(4), Some(5)]);
        assert_eq!(files.reserve(), None, "the limit");
        files.install(4, socket(), 0, false);
        let id = files.remove(4).expect("open");
        assert!(files.let_go(id).is_some());
        assert_eq!(files.reserve(), Some(4));
        files.unreserve(3);
        assert_eq!(files.reserve(), Some(3));
    }

    #[test]
    fn a_held_file_outlives_its_descriptor() {
        let mut files = Files::new(8);
        let fd = files.reserve().expect("room");
        files.install(fd, socket(), libc::O_NONBLOCK, true);
        let id = files.lookup(fd).expect("open");
        files.hold(id);
        assert_eq!(files.remove(fd), Some(id));
        assert!(files.let_go(id).is_none());
        assert!(files.lookup(fd).is_none());
        assert!(files.get(id).is_some_and(File::nonblocking));
        assert!(files.let_go(id).is_some());
        assert!(files.get(id).is_none());
    }

    #[test]
    fn a_promised_number_names_no_file() {
        let mut files = Files::new(8);
        let fd = files.reserve().expect("room");
        assert_eq!(files.lookup(fd), None);
        assert_eq!(files.lookup(0), None);
        assert_eq!(files.lookup(-1), None);
        assert_eq!(files.lookup(1000), None);
        assert!(files.open().is_empty());
    }
}
