//! What a filter lets through.

use std::net::Ipv4Addr;

use millrace::Ipv4Net;

use crate::control::protocol::Sock;

/// A filter.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Filter {
    /// States that it names, if it does.
    pub states: Option<u16>,
    /// The expression, if there is one.
    pub expression: Option<Expression>,
}

/// An expression.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Expression {
    /// One of both.
    Or(Box<Self>, Box<Self>),
    /// Both.
    And(Box<Self>, Box<Self>),
    /// Everything else.
    Not(Box<Self>),
    /// `src`, `dst`: an address and a port; what is not given may be anything.
    Host(End, Option<Ipv4Net>, Option<u16>),
    /// `sport`, `dport`.
    Port(End, Compare, u16),
}

/// Which end of the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// Ours.
    Source,
    /// The peer's.
    Destination,
}

/// How ports are compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Compare {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Filter {
    /// Whether the expression lets a socket through. (States are chosen where the sockets are.)
    pub fn matches(&self, sock: &Sock) -> bool {
        self.expression.as_ref().is_none_or(|e| e.matches(sock))
    }
}

impl Expression {
    fn matches(&self, sock: &Sock) -> bool {
        match self {
            Self::Or(a, b) => a.matches(sock) || b.matches(sock),
            Self::And(a, b) => a.matches(sock) && b.matches(sock),
            Self::Not(a) => !a.matches(sock),
            Self::Host(end, net, port) => {
                let (addr, at) = end.of(sock);
                net.is_none_or(|net| net.contains(&addr)) && port.is_none_or(|port| port == at)
            }
            Self::Port(end, how, port) => how.holds(end.of(sock).1, *port),
        }
    }
}

impl End {
    fn of(self, sock: &Sock) -> (Ipv4Addr, u16) {
        let end = match self {
            Self::Source => sock.local,
            Self::Destination => sock.peer,
        };
        (*end.ip(), end.port())
    }
}

impl Compare {
    fn holds(self, left: u16, right: u16) -> bool {
        match self {
            Self::Equal => left == right,
            Self::NotEqual => left != right,
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
        }
    }
}
