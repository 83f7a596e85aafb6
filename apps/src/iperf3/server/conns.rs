//! The server's connections by a number of their own.

use std::net::SocketAddrV4;

use core::time::Duration;
use millrace::{Instant, SockId};

use super::super::params::MAX_STREAMS;
use super::super::protocol::{COOKIE, Cookie};

/// The most at a time: the streams of a test in both directions, and some who are told that it is busy.
const MOST: usize = 2 * MAX_STREAMS as usize + 64;

/// A connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Conn {
    /// Its socket.
    pub sock: SockId,
    /// Its other end.
    pub peer: SocketAddrV4,
    /// What it is.
    pub kind: Kind,
}

/// What a connection is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// Its cookie is not complete.
    New {
        /// What has come of it.
        cookie: Cookie,
        /// So many octets.
        got: usize,
        /// When it was accepted.
        since: Instant,
    },
    /// The control connection of the test.
    Control,
    /// A stream of the test, which has not begun.
    Waiting,
    /// A stream of the test: which.
    Stream(usize),
}

/// All of them.
#[derive(Default)]
pub(super) struct Conns(Vec<Option<Conn>>);

impl Conns {
    /// Takes in one that was accepted, unless there are too many.
    pub fn insert(&mut self, sock: SockId, peer: SocketAddrV4, now: Instant) -> Option<usize> {
        let conn = Conn {
            sock,
            peer,
            kind: Kind::New {
                cookie: [0; COOKIE],
                got: 0,
                since: now,
            },
        };
        if let Some(place) = self.0.iter().position(Option::is_none) {
            self.0[place] = Some(conn);
            return Some(place);
        }
        (self.0.len() < MOST).then(|| {
            self.0.push(Some(conn));
            self.0.len() - 1
        })
    }

    pub fn get(&self, place: usize) -> Option<&Conn> {
        self.0.get(place)?.as_ref()
    }

    pub fn get_mut(&mut self, place: usize) -> Option<&mut Conn> {
        self.0.get_mut(place)?.as_mut()
    }

    pub fn remove(&mut self, place: usize) -> Option<Conn> {
        self.0.get_mut(place)?.take()
    }

    pub fn set(&mut self, place: usize, kind: Kind) {
        if let Some(conn) = self.get_mut(place) {
            conn.kind = kind;
        }
    }

    /// The cookie of a new one, its socket and its other end.
    pub fn cookie(&self, place: usize) -> Option<(Cookie, SockId, SocketAddrV4)> {
        let conn = self.get(place)?;
        match conn.kind {
            Kind::New { cookie, got, .. } if got == COOKIE => Some((cookie, conn.sock, conn.peer)),
            _ => None,
        }
    }

    fn places(&self, wanted: impl Fn(&Kind) -> bool) -> Vec<usize> {
        let all = self.0.iter().enumerate();
        all.filter_map(|(place, conn)| {
            conn.as_ref()
                .filter(|conn| wanted(&conn.kind))
                .map(|_| place)
        })
        .collect()
    }

    pub fn all(&self) -> Vec<usize> {
        self.places(|_| true)
    }

    /// Those of the test.
    pub fn of_test(&self) -> Vec<usize> {
        self.places(|kind| !matches!(kind, Kind::New { .. }))
    }

    pub fn has_new(&self) -> bool {
        !self
            .places(|kind| matches!(kind, Kind::New { .. }))
            .is_empty()
    }

    /// New ones that have taken too long.
    pub fn silent(&self, now: Instant, limit: Duration) -> Vec<usize> {
        self.places(|kind| matches!(kind, Kind::New { since, .. } if now.since(*since) >= limit))
    }
}
