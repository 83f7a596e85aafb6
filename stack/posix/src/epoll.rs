//! epoll (Linux `fs/eventpoll.c`): what is watched, the list of what may be ready, and who waits for it.
//!
//! Being on the ready list means that something woke the item since it was last looked at. Whether it is ready shows
//! when the events are collected: an item that is not leaves the list, one that is level-triggered goes to its tail.

mod ctl;
mod wait;
mod wake;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use millrace_net::Stack;

use crate::call::{Fd, Return};
use crate::file::{FileId, Kind};
use crate::poll;
use crate::process::Process;

pub(crate) use ctl::ctl;
pub(crate) use wait::{EpollWait, wait};
pub(crate) use wake::Whom;

/// Bits that say how, not what (Linux `EP_PRIVATE_BITS`).
const HOW: u32 =
    (libc::EPOLLWAKEUP | libc::EPOLLONESHOT | libc::EPOLLET | libc::EPOLLEXCLUSIVE) as u32;

/// An item's name: the file, and the descriptor by which it was added.
type Key = (FileId, Fd);

/// `struct epitem`.
#[derive(Debug)]
struct Item {
    events: u32,
    data: u64,
    /// It stands in the ready list.
    listed: bool,
}

/// Who is woken when something happens to a file: an entry of its wait queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Watcher {
    epoll: FileId,
    key: Key,
    exclusive: bool,
}

/// `struct eventpoll`.
#[derive(Debug, Default)]
pub(crate) struct Epoll {
    items: BTreeMap<Key, Item>,
    ready: VecDeque<Key>,
    /// Calls that wait; the last one is woken first.
    waiters: Vec<u64>,
    /// Calls that were woken and have not looked yet.
    woken: BTreeSet<u64>,
}

impl Epoll {
    /// Puts an item at the tail of the ready list, unless it stands there.
    fn list(&mut self, key: Key) {
        if let Some(item) = self.items.get_mut(&key)
            && !item.listed
        {
            item.listed = true;
            self.ready.push_back(key);
        }
    }

    fn wake_one(&mut self) {
        if let Some(waiter) = self.waiters.pop() {
            self.woken.insert(waiter);
        }
    }
}

/// epoll_create1(2).
pub(crate) fn create(process: &mut Process, flags: i32) -> Return {
    if flags & !libc::EPOLL_CLOEXEC != 0 {
        return Return::fail(libc::EINVAL);
    }
    let Some(fd) = process.files.reserve() else {
        return Return::fail(libc::EMFILE);
    };
    let cloexec = flags & libc::EPOLL_CLOEXEC != 0;
    let kind = Kind::Epoll(Box::default());
    process.files.install(fd, kind, libc::O_RDWR, cloexec);
    Return::ok(fd.into())
}

impl Process {
    fn epoll(&mut self, file: FileId) -> Option<&mut Epoll> {
        match &mut self.files.get_mut(file)?.kind {
            Kind::Epoll(epoll) => Some(epoll),
            _ => None,
        }
    }

    fn is_epoll(&self, file: FileId) -> bool {
        let kind = self.files.get(file).map(|file| &file.kind);
        matches!(kind, Some(Kind::Epoll(_)))
    }

    /// What an item is ready for now, of what it asks (Linux `ep_item_poll`).
    fn item_mask(&mut self, stack: &mut Stack, epoll: FileId, key: Key) -> u32 {
        let asked = self
            .epoll(epoll)
            .and_then(|e| Some(e.items.get(&key)?.events));
        asked.map_or(0, |asked| self.mask(stack, key.0) & asked)
    }

    /// An epoll can be read when one of its items is ready; those that are not leave the list.
    pub(crate) fn epoll_mask(&mut self, stack: &mut Stack, file: FileId) -> u32 {
        while let Some(key) = self.epoll(file).and_then(|e| e.ready.front().copied()) {
            if self.item_mask(stack, file, key) != 0 {
                return poll::IN;
            }
            if let Some(epoll) = self.epoll(file) {
                epoll.ready.pop_front();
                if let Some(item) = epoll.items.get_mut(&key) {
                    item.listed = false;
                }
            }
        }
        0
    }

    /// A file goes: nobody watches it any more, and it watches nothing.
    pub(crate) fn unwatch_file(&mut self, stack: &mut Stack, file: FileId) {
        for watcher in self.watchers.remove(&file).unwrap_or_default() {
            self.remove_item(stack, watcher.epoll, watcher.key);
        }
        let items = self.epoll(file).map(|e| e.items.keys().copied().collect());
        let items: Vec<Key> = items.unwrap_or_default();
        for key in items {
            self.remove_item(stack, file, key);
        }
    }

    /// Linux `ep_remove`.
    fn remove_item(&mut self, stack: &mut Stack, epoll: FileId, key: Key) {
        if let Some(epoll) = self.epoll(epoll) {
            epoll.items.remove(&key);
            epoll.ready.retain(|listed| *listed != key);
        }
        let Some(queue) = self.watchers.get_mut(&key.0) else {
            return;
        };
        queue.retain(|watcher| (watcher.epoll, watcher.key) != (epoll, key));
        if queue.is_empty() {
            self.watchers.remove(&key.0);
            if let Some(sock) = self.socket_in(key.0) {
                // It fails only for a socket that is gone, which nobody watches.
                let _ = stack.unwatch(sock);
            }
        }
    }
}
