//! The receiving half: fill and receive rings.
//!
//! Frames come out of the receive ring, are lent, and go back to the fill ring before the call returns, so the fill ring is
//! as full as can be between polls. A frame in one chunk is lent where it lies. One in several (an MTU that needs it) is
//! copied into one piece first, because the stack takes a frame as one slice; its chunks go back at once.

use std::sync::Arc;

use arrayvec::ArrayVec;
use millrace_wire::frame::{RxFrame, RxMeta};

use super::ring::{CONTINUED, Consumer, Desc, Producer};
use super::socket::Socket;
use super::umem::{Region, Umem};
use crate::af_xdp::open::Polling;
use crate::af_xdp::sizes::Sizes;
use crate::queue::{MAX_BURST, RxQueue};

/// The receiving half of a queue.
pub(super) struct Rx {
    umem: Arc<Umem>,
    ring: Consumer<Desc>,
    fill: Fill,
    owners: Owners,
    /// Where frames of several chunks are put together: one place per frame of a burst. Empty when there are none such.
    joined: Box<[u8]>,
    max_frame: usize,
    max_pieces: u32,
    rest: Rest,
    socket: Arc<Socket>,
    polling: Polling,
    pub(super) packets: u64,
    pub(super) bytes: u64,
    pub(super) kicks: u64,
    /// Descriptors and packets that could not be.
    invalid: u64,
}

/// What to do with the next descriptors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Rest {
    Take,
    /// They belong to a packet longer than any frame: drop up to its end.
    Skip,
}

impl Rx {
    /// All chunks of `region` go to the kernel.
    pub(super) fn new(
        umem: Arc<Umem>,
        region: Region,
        sizes: Sizes,
        (ring, fill): (Consumer<Desc>, Producer<u64>),
        socket: Arc<Socket>,
        polling: Polling,
    ) -> Self {
        let mut owners = Owners::new(region);
        let mut fill = Fill {
            ring: fill,
            idle: Vec::with_capacity(region.count as usize),
        };
        for number in region.first..region.first + region.count {
            fill.give(number, &umem, &mut owners);
        }
        fill.ring.publish();
        let places = match sizes.chunks_per_frame {
            1 => 0,
            _ => MAX_BURST,
        };
        Self {
            umem,
            ring,
            fill,
            owners,
            joined: vec![0; places * sizes.max_frame].into_boxed_slice(),
            max_frame: sizes.max_frame,
            max_pieces: sizes.chunks_per_frame,
            rest: Rest::Take,
            socket,
            polling,
            packets: 0,
            bytes: 0,
            kicks: 0,
            invalid: 0,
        }
    }

    /// Descriptors and indices that the kernel cannot have meant.
    pub(super) fn invalid(&self) -> u64 {
        self.invalid + self.ring.broken() + self.fill.ring.broken()
    }

    /// Whether a poll would find something.
    pub(super) fn is_ready(&mut self) -> bool {
        self.ring.available() > 0
    }

    /// Sees that something can come: the device has chunks, and is awake.
    #[inline]
    fn nothing_came(&mut self) {
        if !self.fill.idle.is_empty() {
            self.fill.publish(&self.umem, &mut self.owners);
        }
        if self.polling == Polling::Busy || self.fill.ring.needs_wakeup() {
            self.kicks += 1;
            self.socket.wake_rx();
        }
    }
}

impl RxQueue for Rx {
    #[inline]
    fn rx(&mut self, budget: usize, f: &mut dyn FnMut(&mut [RxFrame<'_>])) -> usize {
        let budget = budget.min(MAX_BURST);
        let available = self.ring.available();
        if available == 0 {
            self.nothing_came();
            return 0;
        }
        let Self {
            umem,
            ring,
            fill,
            owners,
            ..
        } = self;
        let umem = &**umem;
        let mut places = self.joined.chunks_exact_mut(self.max_frame);
        // Pushed one by one: a collected array would be moved, all 64 places of it.
        let mut frames = ArrayVec::<RxFrame<'_>, MAX_BURST>::new();
        let mut lent = ArrayVec::<u32, MAX_BURST>::new();
        let (mut at, mut bytes) = (0, 0);
        while frames.len() < budget && at < available {
            let desc = ring.peek(at);
            let data = match (self.rest, desc.options & CONTINUED) {
                (Rest::Take, 0) => {
                    at += 1;
                    let Some((number, addr)) = owners.claim(&desc, umem) else {
                        self.invalid += 1;
                        continue;
                    };
                    lent.push(number);
                    // SAFETY: `claim` says that the chunk is ours from now on; it goes back to the kernel after the frame.
                    unsafe { umem.bytes(addr, desc.len as usize) }
                }
                (Rest::Take, _) => {
                    let count = match chain(ring, at, available, self.max_pieces) {
                        Chain::Whole(count) => count,
                        Chain::Unfinished => break,
                        Chain::TooLong => {
                            self.invalid += 1;
                            self.rest = Rest::Skip;
                            continue;
                        }
                    };
                    let Some(place) = places.next() else { break };
                    let mut len = Some(0);
                    for piece in at..at + count {
                        // After a piece that could not be, the others are only given back.
                        let room = len.map_or(&mut [][..], |len| &mut place[len..]);
                        let more = fill.join(&ring.peek(piece), room, umem, owners);
                        len = len.zip(more).map(|(len, more)| len + more);
                    }
                    at += count;
                    let Some(len) = len else {
                        self.invalid += 1;
                        continue;
                    };
                    &mut place[..len]
                }
                (Rest::Skip, more) => {
                    at += 1;
                    if let Some((number, _)) = owners.claim(&desc, umem) {
                        fill.give(number, umem, owners);
                    }
                    if more == 0 {
                        self.rest = Rest::Take;
                    }
                    continue;
                }
            };
            bytes += data.len() as u64;
            frames.push(RxFrame::new(data, RxMeta::default()));
        }
        ring.release(at);
        let count = frames.len();
        if count > 0 {
            self.packets += count as u64;
            self.bytes += bytes;
            f(&mut frames);
        }
        drop(frames);
        for number in lent {
            fill.give(number, umem, owners);
        }
        fill.publish(umem, owners);
        count
    }
}

/// The pieces of a packet that has more than one.
enum Chain {
    Whole(u32),
    /// The kernel has not shown all of it yet.
    Unfinished,
    TooLong,
}

/// Looks for the end of the packet that begins at `at`.
fn chain(ring: &Consumer<Desc>, at: u32, available: u32, max_pieces: u32) -> Chain {
    let shown = (available - at).min(max_pieces);
    match (1..shown).find(|piece| ring.peek(at + piece).options & CONTINUED == 0) {
        Some(last) => Chain::Whole(last + 1),
        None if shown < max_pieces => Chain::Unfinished,
        None => Chain::TooLong,
    }
}

/// The ring by which the kernel gets chunks to receive into.
struct Fill {
    ring: Producer<u64>,
    /// Ours, because the ring had no place for them. Empty unless something is wrong with its indices.
    idle: Vec<u32>,
}

impl Fill {
    /// Gives chunk `number` to the kernel, which sees it after [`Self::publish`].
    #[inline]
    fn give(&mut self, number: u32, umem: &Umem, owners: &mut Owners) {
        match self.ring.push(umem.addr(number)) {
            Ok(()) => owners.set(number, Owner::Kernel),
            Err(_) => self.idle.push(number),
        }
    }

    #[inline]
    fn publish(&mut self, umem: &Umem, owners: &mut Owners) {
        if !self.idle.is_empty() {
            self.give_idle(umem, owners);
        }
        self.ring.publish();
    }

    #[cold]
    fn give_idle(&mut self, umem: &Umem, owners: &mut Owners) {
        for number in core::mem::take(&mut self.idle) {
            self.give(number, umem, owners);
        }
    }

    /// Copies a piece of a packet to the beginning of `place` and gives its chunk back; the piece's length. `None` when it
    /// could not be, or does not fit.
    fn join(
        &mut self,
        desc: &Desc,
        place: &mut [u8],
        umem: &Umem,
        owners: &mut Owners,
    ) -> Option<usize> {
        let (number, addr) = owners.claim(desc, umem)?;
        let len = desc.len as usize;
        let room = place.get_mut(..len);
        let fits = room.map(|room| {
            // SAFETY: `claim` says that the chunk is ours; it goes back to the kernel below, after the copy.
            room.copy_from_slice(unsafe { umem.bytes(addr, len) });
            len
        });
        self.give(number, umem, owners);
        fits
    }
}

/// Whose a chunk is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Owner {
    Us,
    Kernel,
}

/// Whose each chunk of the half is, so that no descriptor can name one that is not the kernel's to give.
struct Owners {
    region: Region,
    table: Box<[Owner]>,
}

impl Owners {
    fn new(region: Region) -> Self {
        Self {
            region,
            table: vec![Owner::Us; region.count as usize].into_boxed_slice(),
        }
    }

    #[inline]
    fn set(&mut self, number: u32, owner: Owner) {
        if let Some(place) = self.region.place(u64::from(number)) {
            self.table[place] = owner;
        }
    }

    /// Takes the chunk that `desc` lies in from the kernel: its number, and where the bytes begin. `None` if it was not the
    /// kernel's, or if the bytes are not all in it.
    #[inline]
    fn claim(&mut self, desc: &Desc, umem: &Umem) -> Option<(u32, u64)> {
        let (number, offset) = umem.locate(desc.addr);
        let owner = &mut self.table[self.region.place(number)?];
        if *owner == Owner::Us || offset + desc.len as usize > umem.chunk() {
            return None;
        }
        *owner = Owner::Us;
        Some((number as u32, desc.addr))
    }
}
