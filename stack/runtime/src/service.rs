//! Applications inside a worker's loop, several to a worker.
//!
//! The stack knows one [`Service`] and a number (`user`) for each socket. The top 16 bits of that number name the
//! application that owns the socket; the other 48 are the application's own.

use millrace_net::{Instant, Readiness, Service, SockId, Stack};

/// The place of an application in its worker.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ServiceId(u16);

impl ServiceId {
    /// Bits of `user` that belong to the application.
    const OWN_BITS: u32 = 48;

    /// The number to attach a socket of this application with; the top 16 bits of `own` are ignored.
    pub const fn user(self, own: u64) -> u64 {
        ((self.0 as u64) << Self::OWN_BITS) | (own & ((1 << Self::OWN_BITS) - 1))
    }

    /// The application's own part of a socket's number.
    pub const fn own(user: u64) -> u64 {
        user & ((1 << Self::OWN_BITS) - 1)
    }

    /// Whose socket this is.
    const fn of(user: u64) -> Self {
        // The shift leaves 16 bits.
        Self((user >> Self::OWN_BITS) as u16)
    }
}

/// An application that lives in a worker's loop.
///
/// The calls of [`Service`] come first; [`App::tick`] follows once in each iteration, when nothing of the
/// stack is on the way: the place to close sockets and to look after timeouts.
pub trait App: Service + Send {
    /// It has joined a worker: what to attach sockets of its own with.
    fn joined(&mut self, _id: ServiceId) {}

    /// Ends what has ended; called once in each iteration.
    fn tick(&mut self, stack: &mut Stack, now: Instant);

    /// When [`App::tick`] has something to do even if nothing arrives.
    fn next_deadline(&self) -> Option<Instant> {
        None
    }

    /// No new connections come: end those that wait for the peer's next request, and each other one after what
    /// it is doing.
    fn drain(&mut self, stack: &mut Stack, now: Instant);

    /// Resets every connection.
    fn abort(&mut self, stack: &mut Stack, now: Instant);

    /// Connections that are open.
    fn open(&self) -> usize;
}

/// A worker's applications; routes the stack's calls to them.
#[derive(Default)]
pub struct Services {
    apps: Vec<Box<dyn App>>,
    /// Calls for a socket whose number names no application.
    unrouted: u64,
}

impl Services {
    /// Takes in an application. At most 65,536 fit; the place of further ones is that of the last.
    pub fn add(&mut self, mut app: Box<dyn App>) -> ServiceId {
        let id = ServiceId(u16::try_from(self.apps.len()).unwrap_or(u16::MAX));
        app.joined(id);
        self.apps.push(app);
        id
    }

    /// [`App::tick`] of all.
    pub fn tick(&mut self, stack: &mut Stack, now: Instant) {
        for app in &mut self.apps {
            app.tick(stack, now);
        }
    }

    /// The earliest [`App::next_deadline`].
    pub fn next_deadline(&self) -> Option<Instant> {
        self.apps.iter().filter_map(|app| app.next_deadline()).min()
    }

    /// [`App::drain`] of all.
    pub fn drain(&mut self, stack: &mut Stack, now: Instant) {
        for app in &mut self.apps {
            app.drain(stack, now);
        }
    }

    /// [`App::abort`] of all.
    pub fn abort(&mut self, stack: &mut Stack, now: Instant) {
        for app in &mut self.apps {
            app.abort(stack, now);
        }
    }

    /// Open connections of all.
    pub fn open(&self) -> usize {
        self.apps.iter().map(|app| app.open()).sum()
    }

    /// Calls that no application answers for.
    pub fn unrouted(&self) -> u64 {
        self.unrouted
    }

    fn app(&mut self, user: u64) -> Option<&mut Box<dyn App>> {
        let ServiceId(place) = ServiceId::of(user);
        let app = self.apps.get_mut(usize::from(place));
        if app.is_none() {
            self.unrouted += 1;
        }
        app
    }
}

impl Service for Services {
    fn data(
        &mut self,
        stack: &mut Stack,
        now: Instant,
        sock: SockId,
        user: u64,
        bytes: &[u8],
    ) -> usize {
        match self.app(user) {
            Some(app) => app.data(stack, now, sock, user, bytes),
            None => bytes.len(),
        }
    }

    fn ready(
        &mut self,
        stack: &mut Stack,
        now: Instant,
        sock: SockId,
        user: u64,
        ready: Readiness,
    ) {
        if let Some(app) = self.app(user) {
            app.ready(stack, now, sock, user, ready);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_top_bits_name_the_application() {
        let id = ServiceId(0xABCD);
        let user = id.user(0x1234_5678_9ABC);
        assert_eq!(user, 0xABCD_1234_5678_9ABC);
        assert_eq!(ServiceId::of(user), id);
        assert_eq!(ServiceId::own(user), 0x1234_5678_9ABC);
        assert_eq!(ServiceId::of(id.user(u64::MAX)), id);
    }
}
