//! `struct msghdr` with what it points to, and lists of `struct iovec`.

use libc::{cmsghdr, iovec, msghdr};
use millrace_posix::call::{Buffer, Cmsg, Received};

use super::Ptr;

/// Octets of `struct cmsghdr`.
const HEADER: usize = size_of::<cmsghdr>();

/// Scattered memory in order: pointers and lengths.
#[derive(Debug, Default)]
pub(crate) struct Pieces(Vec<(Ptr<u8>, usize)>);

impl Pieces {
    fn len(&self) -> usize {
        self.0
            .iter()
            .fold(0, |sum, (_, len)| sum.saturating_add(*len))
    }

    fn has_null(&self) -> bool {
        self.0.iter().any(|(ptr, len)| ptr.is_null() && *len > 0)
    }

    /// All octets; null when any piece is.
    pub(crate) fn gather(&self) -> Buffer<Vec<u8>> {
        if self.has_null() {
            return Buffer::Null(self.len());
        }
        let mut all = Vec::new();
        for (ptr, len) in &self.0 {
            if let Buffer::Given(bytes) = ptr.bytes(*len) {
                all.extend(bytes);
            }
        }
        Buffer::Given(all)
    }

    pub(crate) fn room(&self) -> Buffer<usize> {
        if self.has_null() {
            Buffer::Null(self.len())
        } else {
            Buffer::Given(self.len())
        }
    }

    /// Fills the pieces in order.
    pub(crate) fn scatter(&self, mut bytes: &[u8]) {
        for (ptr, len) in &self.0 {
            let (now, later) = bytes.split_at(bytes.len().min(*len));
            ptr.fill(now);
            bytes = later;
        }
    }
}

impl Ptr<iovec> {
    /// The pieces of `count` vectors: EINVAL for a bad count, EFAULT for none.
    pub(crate) fn pieces(self, count: usize) -> Result<Pieces, i32> {
        if count > libc::UIO_MAXIOV as usize {
            return Err(libc::EINVAL);
        }
        let piece = |index| {
            let one = self.get_at(index).ok_or(libc::EFAULT)?;
            Ok((Ptr(one.iov_base.cast()), one.iov_len))
        };
        (0..count).map(piece).collect::<Result<_, _>>().map(Pieces)
    }
}

/// A message header as it was handed over.
pub(crate) struct Message {
    at: Ptr<msghdr>,
    header: msghdr,
    /// Its data.
    pub(crate) data: Pieces,
}

impl Message {
    /// EFAULT without a header; EMSGSIZE with too many pieces.
    pub(crate) fn read(at: Ptr<msghdr>) -> Result<Self, i32> {
        let header = at.get().ok_or(libc::EFAULT)?;
        let pieces = Ptr(header.msg_iov).pieces(header.msg_iovlen);
        let data = pieces.map_err(|errno| match errno {
            libc::EINVAL => libc::EMSGSIZE,
            other => other,
        })?;
        Ok(Self { at, header, data })
    }

    /// Where it goes, if it says so.
    pub(crate) fn name(&self) -> (Ptr<libc::sockaddr>, libc::socklen_t) {
        (Ptr(self.header.msg_name.cast()), self.header.msg_namelen)
    }

    /// Room for control messages, octets.
    pub(crate) fn control_room(&self) -> usize {
        if self.header.msg_control.is_null() {
            return 0;
        }
        self.header.msg_controllen
    }

    /// Its control messages: EINVAL when one does not fit what is there.
    pub(crate) fn control(&self) -> Result<Vec<Cmsg>, i32> {
        let control: Ptr<u8> = Ptr(self.header.msg_control.cast());
        let Buffer::Given(bytes) = control.bytes(self.control_room()) else {
            return Ok(Vec::new());
        };
        parse_control(&bytes)
    }

    /// Fills in what was received.
    pub(crate) fn fill(&self, received: &Received) {
        self.data.scatter(&received.data);
        let control = put_control(&received.control, self.control_room());
        Ptr(self.header.msg_control.cast::<u8>()).fill(&control);
        let mut header = self.header;
        header.msg_controllen = control.len();
        header.msg_flags = received.flags;
        let (name, room) = self.name();
        header.msg_namelen = match &received.name {
            Some(addr) => name.put_addr(addr, room),
            None => 0,
        };
        self.at.set(header);
    }
}

fn parse_control(mut bytes: &[u8]) -> Result<Vec<Cmsg>, i32> {
    let mut all = Vec::new();
    while bytes.len() >= HEADER {
        let word = |at: usize| {
            i32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let len = bytes
            .first_chunk()
            .map_or(0, |raw| usize::from_ne_bytes(*raw));
        let data = bytes.get(HEADER..len).ok_or(libc::EINVAL)?;
        all.push(Cmsg {
            level: word(8),
            ty: word(12),
            data: data.to_vec(),
        });
        bytes = bytes
            .get(len.next_multiple_of(size_of::<usize>())..)
            .unwrap_or(&[]);
    }
    Ok(all)
}

/// Control messages as they stand in memory, cut at the room (the last one may lack its padding).
fn put_control(control: &[Cmsg], room: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for cmsg in control {
        bytes.extend((HEADER + cmsg.data.len()).to_ne_bytes());
        bytes.extend(cmsg.level.to_ne_bytes());
        bytes.extend(cmsg.ty.to_ne_bytes());
        bytes.extend(&cmsg.data);
        bytes.resize(bytes.len().next_multiple_of(size_of::<usize>()), 0);
    }
    bytes.truncate(room);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_messages_go_to_memory_and_back() {
        let all = vec![
            Cmsg {
                level: 6,
                ty: 36,
                data: vec![1, 2, 3, 4],
            },
            Cmsg {
                level: 1,
                ty: 37,
                data: vec![9; 16],
            },
        ];
        let bytes = put_control(&all, 1000);
        assert_eq!(bytes.len(), 24 + 32);
        assert_eq!(parse_control(&bytes), Ok(all.clone()));
        assert_eq!(put_control(&all[..1], 20).len(), 20);
        assert_eq!(parse_control(&put_control(&all, 40)), Err(libc::EINVAL));
    }
}
