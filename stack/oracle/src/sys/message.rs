//! `recvmsg` and `sendmsg` with control messages.

use std::os::fd::RawFd;

use millrace_posix::call::{Buffer, Cmsg, Out, Received, Return, SockAddr};

use super::{NOWHERE, address, returned, with};

/// Octets of `struct cmsghdr`.
const HEADER: usize = size_of::<libc::cmsghdr>();

/// Length rounded up as `CMSG_ALIGN` does.
const fn aligned(len: usize) -> usize {
    len.next_multiple_of(size_of::<usize>())
}

/// Control messages are laid out on eight-octet boundaries.
fn control_buffer(len: usize) -> Vec<u64> {
    vec![0; len.div_ceil(8)]
}

/// recvmsg(2); the message is empty where memory is not given.
pub fn receive(fd: RawFd, room: &Buffer<usize>, control_room: usize, flags: i32) -> Return {
    let (mut data, pointer, len) = match *room {
        Buffer::Given(len) => (vec![0u8; len], None, len),
        Buffer::Null(len) => (Vec::new(), Some(NOWHERE), len),
    };
    let mut iov = libc::iovec {
        iov_base: pointer.unwrap_or(data.as_mut_ptr().cast()),
        iov_len: len,
    };
    let mut name = [0u8; 128];
    let mut control = control_buffer(control_room);
    // SAFETY: all zeros is a valid `msghdr` (null pointers, no lengths).
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_name = name.as_mut_ptr().cast();
    message.msg_namelen = name.len() as u32;
    message.msg_iov = &raw mut iov;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = control_room;
    // SAFETY: every pointer in `message` is to memory of the length given beside it, or null, which the kernel
    // answers with EFAULT; all of it outlives the call.
    let count = unsafe { libc::recvmsg(fd, &raw mut message, flags) };
    with(count as i64, || {
        data.truncate(if pointer.is_some() { 0 } else { count as usize });
        let octets: Vec<u8> = control.iter().flat_map(|word| word.to_ne_bytes()).collect();
        Out::Msg(Received {
            data,
            name: (message.msg_namelen > 0)
                .then(|| address::decode(&name[..(message.msg_namelen as usize).min(name.len())])),
            flags: message.msg_flags,
            control: decode(&octets[..message.msg_controllen.min(octets.len())]),
        })
    })
}

/// sendmsg(2).
pub fn send(
    fd: RawFd,
    data: &Buffer<Vec<u8>>,
    to: Option<&SockAddr>,
    control: &[Cmsg],
    flags: i32,
) -> Return {
    let mut iov = match data {
        Buffer::Given(bytes) => libc::iovec {
            iov_base: bytes.as_ptr().cast_mut().cast(),
            iov_len: bytes.len(),
        },
        Buffer::Null(len) => libc::iovec {
            iov_base: NOWHERE,
            iov_len: *len,
        },
    };
    let mut name = to.map(address::encode).unwrap_or_default();
    let (mut words, control_len) = encode(control);
    // SAFETY: all zeros is a valid `msghdr` (null pointers, no lengths).
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    if !name.is_empty() {
        message.msg_name = name.as_mut_ptr().cast();
        message.msg_namelen = name.len() as u32;
    }
    message.msg_iov = &raw mut iov;
    message.msg_iovlen = 1;
    if control_len > 0 {
        message.msg_control = words.as_mut_ptr().cast();
        message.msg_controllen = control_len;
    }
    // SAFETY: as for `recvmsg` above; the kernel only reads from the memory.
    returned(unsafe { libc::sendmsg(fd, &raw const message, flags | libc::MSG_NOSIGNAL) } as i64)
}

fn encode(list: &[Cmsg]) -> (Vec<u64>, usize) {
    let mut bytes = Vec::new();
    for cmsg in list {
        bytes.extend((HEADER + cmsg.data.len()).to_ne_bytes());
        bytes.extend(cmsg.level.to_ne_bytes());
        bytes.extend(cmsg.ty.to_ne_bytes());
        bytes.extend(&cmsg.data);
        bytes.resize(aligned(bytes.len()), 0);
    }
    let words = bytes
        .chunks_exact(8)
        .map(|eight| u64::from_ne_bytes(std::array::from_fn(|at| eight[at])))
        .collect();
    (words, bytes.len())
}

/// read(2): what is left of [`receive`] for a descriptor that is no socket.
pub fn read(fd: RawFd, room: usize) -> Return {
    let mut data = vec![0u8; room];
    // SAFETY: the buffer is as long as the length says.
    let count = unsafe { libc::read(fd, data.as_mut_ptr().cast(), room) };
    with(count as i64, || {
        data.truncate(count as usize);
        Out::Msg(Received {
            data,
            ..Received::default()
        })
    })
}

/// write(2): what is left of [`send`] for a descriptor that is no socket.
pub fn write(fd: RawFd, data: &[u8]) -> Return {
    // SAFETY: the buffer is as long as the length says.
    returned(unsafe { libc::write(fd, data.as_ptr().cast(), data.len()) } as i64)
}

/// The control messages in the octets that the kernel has filled.
pub(super) fn decode(mut bytes: &[u8]) -> Vec<Cmsg> {
    let mut list = Vec::new();
    while let Some(header) = bytes.get(..HEADER) {
        let (len, rest) = header.split_at(8);
        let len = usize::from_ne_bytes(std::array::from_fn(|at| len[at]));
        let word = |at: usize| i32::from_ne_bytes(std::array::from_fn(|byte| rest[at + byte]));
        let Some(data) = bytes.get(HEADER..len) else {
            break;
        };
        list.push(Cmsg {
            level: word(0),
            ty: word(4),
            data: data.to_vec(),
        });
        bytes = bytes.get(aligned(len)..).unwrap_or(&[]);
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_messages_there_and_back() {
        let list = vec![
            Cmsg {
                level: libc::SOL_SOCKET,
                ty: libc::SO_TIMESTAMPING,
                data: vec![1, 2, 3],
            },
            Cmsg {
                level: libc::IPPROTO_IP,
                ty: libc::IP_TTL,
                data: vec![9; 8],
            },
        ];
        let (words, len) = encode(&list);
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        assert_eq!(decode(&bytes[..len]), list);
        assert!(decode(&[0; 15]).is_empty());
        assert!(decode(&[0xff; 32]).is_empty());
    }
}
