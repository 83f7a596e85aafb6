//! smoltcp in the place of our stack: the same round trips over the same kind of pair, with its defaults and checksums on.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use smoltcp::iface::{Config, Interface, PollIngressSingleResult, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, IpAddress, IpCidr};

use crate::bulk::PIECE;
use crate::pair::SIZE;

/// What one turn of the loop takes in virtual time, microseconds.
const TURN: i64 = 2;
const PORT: u16 = 7;
/// Octets of each socket's buffers.
const BUFFER: usize = 4096;
/// The same for bulk: as much as its window can say without loss to our default.
const BULK_BUFFER: usize = 1 << 18;
const MTU: usize = 1514;

/// One direction of the wire. Frames that were read are written again, so that nothing is allocated on the way.
#[derive(Default)]
struct Line {
    full: VecDeque<Vec<u8>>,
    empty: Vec<Vec<u8>>,
}

type Shared = Rc<RefCell<Line>>;

/// One end of the wire.
struct End {
    rx: Shared,
    tx: Shared,
}

struct Arrived {
    frame: Vec<u8>,
    from: Shared,
}

struct Leaving {
    to: Shared,
}

impl RxToken for Arrived {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        let result = f(&self.frame);
        self.from.borrow_mut().empty.push(self.frame);
        result
    }
}

impl TxToken for Leaving {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = self.to.borrow_mut().empty.pop().unwrap_or_default();
        frame.resize(len, 0);
        let result = f(&mut frame);
        self.to.borrow_mut().full.push_back(frame);
        result
    }
}

impl Device for End {
    type RxToken<'a> = Arrived;
    type TxToken<'a> = Leaving;

    fn receive(&mut self, _: Instant) -> Option<(Arrived, Leaving)> {
        let frame = self.rx.borrow_mut().full.pop_front()?;
        let arrived = Arrived {
            frame,
            from: self.rx.clone(),
        };
        let to = self.tx.clone();
        Some((arrived, Leaving { to }))
    }

    fn transmit(&mut self, _: Instant) -> Option<Leaving> {
        let to = self.tx.clone();
        Some(Leaving { to })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut caps = DeviceCapabilities::default();
        caps.medium = Medium::Ethernet;
        caps.max_transmission_unit = MTU;
        caps
    }
}

/// One stack and its end of the wire.
struct Host {
    end: End,
    iface: Interface,
    sockets: SocketSet<'static>,
    handles: Vec<SocketHandle>,
}

impl Host {
    fn new(rx: &Shared, tx: &Shared, last: u8) -> Result<Host, String> {
        let mut end = End {
            rx: rx.clone(),
            tx: tx.clone(),
        };
        let mac = EthernetAddress([2, 0, 0, 0, 0, last]);
        let mut iface = Interface::new(Config::new(mac.into()), &mut end, Instant::ZERO);
        let mut full = false;
        iface.update_ip_addrs(|addrs| {
            let addr = IpCidr::new(IpAddress::v4(10, 0, 0, last), 24);
            full = addrs.push(addr).is_err();
        });
        if full {
            return Err(String::from("smoltcp takes no address"));
        }
        Ok(Host {
            end,
            iface,
            sockets: SocketSet::new(Vec::new()),
            handles: Vec::new(),
        })
    }

    fn add_socket(&mut self, octets: usize) -> SocketHandle {
        let buffer = || SocketBuffer::new(vec![0; octets]);
        let handle = self.sockets.add(Socket::new(buffer(), buffer()));
        self.handles.push(handle);
        handle
    }

    /// Takes what has come, as our stack's `rx`.
    fn take(&mut self, now: i64) {
        let now = Instant::from_micros(now);
        while self
            .iface
            .poll_ingress_single(now, &mut self.end, &mut self.sockets)
            != PollIngressSingleResult::None
        {}
    }

    /// Sends what is to be sent, as our stack's `tx`: after the application, so that answers carry their ACKs.
    fn send(&mut self, now: i64) {
        let now = Instant::from_micros(now);
        self.iface
            .poll_egress(now, &mut self.end, &mut self.sockets);
    }

    /// Sends back what has come.
    fn echo(&mut self) -> Result<(), String> {
        let mut bytes = [0; BUFFER];
        for &handle in &self.handles {
            let socket = self.sockets.get_mut::<Socket<'_>>(handle);
            if socket.can_recv() {
                let len = socket.recv_slice(&mut bytes).map_err(broken)?;
                let sent = socket.send_slice(&bytes[..len]).map_err(broken)?;
                if sent != len {
                    return Err(String::from("smoltcp: no room for an answer"));
                }
            }
        }
        Ok(())
    }

    /// Takes answers, and sends the next request for each whole one as long as `to_send` lasts. How many were whole.
    fn ask(&mut self, to_send: &mut u64, received: &mut [usize]) -> Result<u64, String> {
        let mut bytes = [0; BUFFER];
        let mut answered = 0;
        for (&handle, received) in self.handles.iter().zip(received) {
            let socket = self.sockets.get_mut::<Socket<'_>>(handle);
            if !socket.can_recv() {
                continue;
            }
            *received += socket.recv_slice(&mut bytes).map_err(broken)?;
            if *received >= SIZE {
                *received -= SIZE;
                answered += 1;
                request(socket, to_send)?;
            }
        }
        Ok(answered)
    }
}

fn broken(e: impl std::fmt::Display) -> String {
    format!("smoltcp: {e}")
}

fn request(socket: &mut Socket<'_>, to_send: &mut u64) -> Result<(), String> {
    if *to_send > 0 {
        *to_send -= 1;
        if socket.send_slice(&[0x5a; SIZE]).map_err(broken)? != SIZE {
            return Err(String::from("smoltcp: no room for a request"));
        }
    }
    Ok(())
}

/// Two hosts with `connections` connections whose buffers have `buffer` octets, and the time.
fn connect(connections: usize, buffer: usize) -> Result<(Host, Host, i64), String> {
    let (there, back) = (Shared::default(), Shared::default());
    let mut client = Host::new(&back, &there, 1)?;
    let mut server = Host::new(&there, &back, 2)?;
    let mut now = 0;
    for number in 0..connections {
        let listener = server.add_socket(buffer);
        let listener = server.sockets.get_mut::<Socket<'_>>(listener);
        listener.listen(PORT).map_err(broken)?;
        let handle = client.add_socket(buffer);
        let port = 10_000 + number as u16;
        client
            .sockets
            .get_mut::<Socket<'_>>(handle)
            .connect(
                client.iface.context(),
                (IpAddress::v4(10, 0, 0, 2), PORT),
                port,
            )
            .map_err(broken)?;
        for _ in 0..64 {
            now += TURN;
            client.take(now);
            client.send(now);
            server.take(now);
            server.send(now);
            if client.sockets.get::<Socket<'_>>(handle).state() == State::Established {
                break;
            }
        }
    }
    Ok((client, server, now))
}

/// As [`crate::bulk::bulk`].
///
/// # Errors
/// A sentence, when the stacks do not get there.
pub fn bulk(bytes: u64) -> Result<Duration, String> {
    let (mut client, mut server, mut now) = connect(1, BULK_BUFFER)?;
    let (Some(&from), Some(&to)) = (client.handles.first(), server.handles.first()) else {
        return Err(String::from("smoltcp has no connection"));
    };
    let piece = [0x5a; PIECE];
    let (mut to_send, mut arrived, mut idle) = (bytes, 0, 0);
    let begin = std::time::Instant::now();
    while arrived < bytes {
        now += TURN;
        client.take(now);
        let socket = client.sockets.get_mut::<Socket<'_>>(from);
        while to_send > 0 && socket.can_send() {
            let most = to_send.min(PIECE as u64) as usize;
            to_send -= socket.send_slice(&piece[..most]).map_err(broken)? as u64;
        }
        client.send(now);
        server.take(now);
        let before = arrived;
        let socket = server.sockets.get_mut::<Socket<'_>>(to);
        while socket.can_recv() {
            // Looked at where it lies, as our service does.
            arrived += socket
                .recv(|bytes| (bytes.len(), bytes.len()))
                .map_err(broken)? as u64;
        }
        server.send(now);
        idle = if arrived > before { 0 } else { idle + 1 };
        if idle > 100_000 {
            return Err(format!("smoltcp stuck after {arrived} B"));
        }
    }
    Ok(begin.elapsed())
}

/// As [`crate::pair::round_trips`].
///
/// # Errors
/// A sentence, when the stacks do not get there.
pub fn round_trips(connections: usize, round_trips: u64) -> Result<Duration, String> {
    let (mut client, mut server, mut now) = connect(connections, BUFFER)?;
    let begin = std::time::Instant::now();
    let mut to_send = round_trips;
    let mut received = vec![0; connections];
    for &handle in &client.handles {
        request(client.sockets.get_mut(handle), &mut to_send)?;
    }
    let mut answered = 0;
    for _ in 0..round_trips.saturating_mul(4) + 100_000 {
        if answered == round_trips {
            return Ok(begin.elapsed());
        }
        now += TURN;
        client.take(now);
        answered += client.ask(&mut to_send, &mut received)?;
        client.send(now);
        server.take(now);
        server.echo()?;
        server.send(now);
    }
    Err(format!("smoltcp stuck after {answered} round trips"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_trip_is_answered() {
        assert!(round_trips(1, 100).is_ok());
        assert!(round_trips(40, 1_000).is_ok());
        assert!(bulk(1_000_000).is_ok());
    }
}
