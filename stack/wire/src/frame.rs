//! Lent frames: what a driver and the stack know of each other.
//!
//! A driver lends received frames for the length of one poll and empty slots for the length of one transmit
//! call. The stack keeps neither: what must live longer is copied into memory that the stack owns.

/// What the device says about the checksums of a received frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RxCsum {
    /// Nothing was checked: the stack verifies in software (Linux `CHECKSUM_NONE`).
    #[default]
    None,
    /// The transport checksum is known to be good (Linux `CHECKSUM_UNNECESSARY`).
    L4Ok,
}

/// What a driver knows about a received frame besides its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RxMeta {
    /// Checksum status.
    pub csum: RxCsum,
}

/// A received frame, lent by its driver until the end of the poll.
#[derive(Debug)]
pub struct RxFrame<'a> {
    data: &'a mut [u8],
    meta: RxMeta,
}

impl<'a> RxFrame<'a> {
    /// Lends `data`; called by drivers.
    pub fn new(data: &'a mut [u8], meta: RxMeta) -> Self {
        Self { data, meta }
    }

    /// The bytes, from the link header on.
    pub fn data(&self) -> &[u8] {
        self.data
    }

    /// The bytes, to be changed in place (NAT, TTL, tests).
    pub fn data_mut(&mut self) -> &mut [u8] {
        self.data
    }

    /// What the driver knows about the frame.
    pub fn meta(&self) -> &RxMeta {
        &self.meta
    }
}

/// Empty transmit slots, lent by a driver for the length of one transmit call.
///
/// A slot that was taken is sent: there is no way to give one back, so a caller takes a slot only when it knows
/// what to write into it.
pub trait TxBatch {
    /// How many more frames the device takes now.
    fn room(&self) -> usize;

    /// The next slot, exactly `len` bytes long (14..=`max_frame`), to be filled completely; its content on entry
    /// is unspecified. `None` when the device is full, or `len` is larger than the driver's frames.
    fn next(&mut self, len: usize) -> Option<&mut [u8]>;
}
