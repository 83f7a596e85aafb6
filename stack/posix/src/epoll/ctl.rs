//! epoll_ctl(2): the checks in the kernel's order, and what happens to the item.

use millrace_net::Stack;

use super::{Item, Key, Watcher};
use crate::call::{EpollEvent, Fd};
use crate::file::{FileId, Kind};
use crate::process::Process;

/// Always reported.
const ALWAYS: u32 = (libc::EPOLLERR | libc::EPOLLHUP) as u32;
const EXCLUSIVE: u32 = libc::EPOLLEXCLUSIVE as u32;
/// What may be asked for besides EPOLLEXCLUSIVE.
const EXCLUSIVE_OK: u32 = (libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLWAKEUP | libc::EPOLLET)
    as u32
    | ALWAYS
    | EXCLUSIVE;
/// Longest chain of epolls that watch each other (Linux `EP_MAX_NESTS`).
const MAX_NESTS: usize = 4;

/// epoll_ctl(2).
pub(crate) fn ctl(
    process: &mut Process,
    stack: &mut Stack,
    (epfd, op, fd, event): (Fd, i32, Fd, Option<EpollEvent>),
) -> Result<i64, i32> {
    let takes_event = op != libc::EPOLL_CTL_DEL;
    if takes_event && event.is_none() {
        return Err(libc::EFAULT);
    }
    let event = event.unwrap_or(EpollEvent { events: 0, data: 0 });
    let (epoll, _) = process.file(epfd)?;
    let (target, file) = process.file(fd)?;
    if matches!(file.kind, Kind::Zeros) {
        return Err(libc::EPERM);
    }
    if epoll == target || !process.is_epoll(epoll) {
        return Err(libc::EINVAL);
    }
    let exclusive = takes_event && event.events & EXCLUSIVE != 0;
    if exclusive {
        let adds = op == libc::EPOLL_CTL_ADD;
        let legal = event.events & !EXCLUSIVE_OK == 0 && !process.is_epoll(target);
        if op == libc::EPOLL_CTL_MOD || adds && !legal {
            return Err(libc::EINVAL);
        }
    }
    if op == libc::EPOLL_CTL_ADD && process.is_epoll(target) {
        process.check_nesting(epoll, target)?;
    }
    let key = (target, fd);
    let item = process.epoll(epoll).and_then(|e| e.items.get(&key));
    let events = event.events | ALWAYS;
    match (op, item.map(|item| item.events)) {
        (libc::EPOLL_CTL_ADD, None) => process.insert(stack, (epoll, key), events, event.data),
        (libc::EPOLL_CTL_ADD, Some(_)) => return Err(libc::EEXIST),
        (libc::EPOLL_CTL_DEL, Some(_)) => process.remove_item(stack, epoll, key),
        (libc::EPOLL_CTL_MOD, Some(old)) if old & EXCLUSIVE != 0 => return Err(libc::EINVAL),
        (libc::EPOLL_CTL_MOD, Some(_)) => process.modify(stack, (epoll, key), events, event.data),
        (libc::EPOLL_CTL_DEL | libc::EPOLL_CTL_MOD, None) => return Err(libc::ENOENT),
        _ => return Err(libc::EINVAL),
    }
    Ok(0)
}

impl Process {
    /// Linux `ep_insert`.
    fn insert(&mut self, stack: &mut Stack, (epoll, key): (FileId, Key), events: u32, data: u64) {
        let item = Item {
            events,
            data,
            listed: false,
        };
        if let Some(epoll) = self.epoll(epoll) {
            epoll.items.insert(key, item);
        }
        let exclusive = events & EXCLUSIVE != 0;
        let watcher = Watcher {
            epoll,
            key,
            exclusive,
        };
        let queue = self.watchers.entry(key.0).or_default();
        if exclusive {
            queue.push_back(watcher);
        } else {
            queue.push_front(watcher);
        }
        if let Some(sock) = self.socket_in(key.0) {
            // The file is open, so its socket is there.
            let _ = stack.watch(sock, key.0.to_u64());
        }
        self.list_if_ready(stack, epoll, key);
    }

    /// Linux `ep_modify`.
    fn modify(&mut self, stack: &mut Stack, (epoll, key): (FileId, Key), events: u32, data: u64) {
        if let Some(item) = self.epoll(epoll).and_then(|e| e.items.get_mut(&key)) {
            item.events = events;
            item.data = data;
        }
        self.list_if_ready(stack, epoll, key);
    }

    fn list_if_ready(&mut self, stack: &mut Stack, epoll: FileId, key: Key) {
        if self.item_mask(stack, epoll, key) != 0 {
            self.list_and_wake(epoll, key);
        }
    }

    /// ELOOP when `epoll` would watch itself through `target`, or the chain became too long (Linux `ep_loop_check`).
    fn check_nesting(&mut self, epoll: FileId, target: FileId) -> Result<(), i32> {
        let below = self.depth_below(target, epoll, 0).ok_or(libc::ELOOP)?;
        let above = self.height_above(epoll, 0);
        if below + 1 + above > MAX_NESTS {
            return Err(libc::ELOOP);
        }
        Ok(())
    }

    /// The longest way down from `from`; `None` when it is too long or leads to `forbidden`.
    fn depth_below(&mut self, from: FileId, forbidden: FileId, level: usize) -> Option<usize> {
        if from == forbidden || level > MAX_NESTS {
            return None;
        }
        let items = self.epoll(from).map(|e| e.items.keys().copied().collect());
        let items: Vec<Key> = items.unwrap_or_default();
        let mut deepest = 0;
        for (file, _) in items {
            if self.is_epoll(file) {
                deepest = deepest.max(1 + self.depth_below(file, forbidden, level + 1)?);
            }
        }
        Some(deepest)
    }

    /// The longest way up to `from`.
    fn height_above(&self, from: FileId, level: usize) -> usize {
        if level > MAX_NESTS {
            return 0;
        }
        let watchers = self.watchers.get(&from).into_iter().flatten();
        let height = |watcher: &Watcher| 1 + self.height_above(watcher.epoll, level + 1);
        watchers.map(height).max().unwrap_or(0)
    }
}
