//! Views of the frames in a socket's memory. All slices of that memory are made here.
//!
//! Every frame belongs at any time to exactly one of: the kernel (it lies in the fill, transmit or completion ring or in
//! the device), the receive half, or the transmit half. A half makes a slice only of a frame that it owns, and the slice
//! borrows the descriptor that stands for the frame.

use ::xsk_rs::{FrameDesc, Umem};
use millrace_wire::frame::{RxFrame, RxMeta};

/// The memory of one socket, shared by its two halves.
#[derive(Clone)]
pub(super) struct Frames {
    umem: Umem,
    max_frame: usize,
}

impl Frames {
    /// # Safety
    ///
    /// Descriptors passed to this value must come from `umem`, from its rings or from its creation, and stand for
    /// frames that the caller owns. `max_frame` bytes must fit behind each descriptor's address as it came from creation.
    pub(super) unsafe fn new(umem: Umem, max_frame: usize) -> Self {
        Self { umem, max_frame }
    }

    pub(super) fn max_frame(&self) -> usize {
        self.max_frame
    }

    /// The received frame behind `desc`, as long as the kernel said.
    #[inline]
    pub(super) fn received<'a>(&'a self, desc: &'a mut FrameDesc) -> RxFrame<'a> {
        // SAFETY: by the contract of `new` the descriptor is one of this memory's and ours; it stays borrowed with the frame.
        let bytes = unsafe { self.whole(desc) };
        let len = desc.lengths().data().min(bytes.len());
        RxFrame::new(&mut bytes[..len], RxMeta::default())
    }

    /// The empty frame behind `desc`, `len` bytes of it, which the descriptor is set to. `None` when it is longer than a frame.
    #[inline]
    pub(super) fn slot<'a>(&'a self, desc: &'a mut FrameDesc, len: usize) -> Option<&'a mut [u8]> {
        if len > self.max_frame {
            return None;
        }
        // SAFETY: as above.
        unsafe { self.umem.data_mut(desc) }.cursor().set_pos(len);
        // SAFETY: as above.
        let bytes = unsafe { self.whole(desc) };
        bytes.get_mut(..len)
    }

    /// All bytes from the descriptor's address to the end of its frame.
    ///
    /// # Safety
    ///
    /// The frame must be the caller's, and stay it for `'a`.
    #[inline]
    #[expect(
        clippy::mut_from_ref,
        reason = "the memory is outside Rust's; the caller vouches for the frame"
    )]
    unsafe fn whole<'a>(&'a self, desc: &FrameDesc) -> &'a mut [u8] {
        let mut view = *desc;
        // SAFETY: the descriptor is one of this memory's and the frame is ours.
        let mut data = unsafe { self.umem.data_mut(&mut view) };
        let mut cursor = data.cursor();
        let capacity = cursor.buf_len();
        cursor.set_pos(capacity);
        let bytes = data.contents_mut();
        // SAFETY: the slice just made, with the lifetime of the mapping instead of the view's: the mapping lives as long
        // as `self`, and nobody else makes a slice of this frame for `'a`.
        unsafe { core::slice::from_raw_parts_mut(bytes.as_mut_ptr(), bytes.len()) }
    }
}
