//! What `bench veth` measures: one [`Case`] for each row of its table.

use crate::epoll::Idle;

/// Who serves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Contender {
    /// `millrace serve` over AF_XDP, the service in the worker's loop.
    Millrace,
    /// Kernel sockets under the plainest epoll loop; HTTP with a fixed reply.
    Epoll,
    /// Kernel sockets under nginx (HTTP only).
    Nginx,
}

/// Who asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Client {
    /// `millrace load` over kernel sockets, spinning.
    Kernel,
    /// `millrace load` over AF_XDP, spinning.
    Millrace,
    /// wrk.
    Wrk,
}

/// What is asked of a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Work {
    /// So many bytes there and back, one request under way per connection.
    Echo {
        /// Of a request and of its reply.
        bytes: u32,
    },
    /// Connect, 64 B there and back, close.
    Connect,
    /// GET of 128 B with keep-alive.
    Http,
}

/// Names of groups of cases, for `--only`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Group {
    /// Request and response over open connections.
    Echo,
    /// A connection for each request.
    Connect,
    /// HTTP/1.1 by wrk, beside nginx and a fixed reply.
    Http,
    /// Our stack at both ends.
    Millrace,
}

/// A row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Case {
    /// The group it belongs to.
    pub group: Group,
    /// What is asked.
    pub work: Work,
    /// Connections, or connects under way.
    pub connections: usize,
    /// Who asks.
    pub client: Client,
    /// Who serves.
    pub server: Contender,
}

impl Contender {
    /// As printed in the table.
    pub fn name(self) -> &'static str {
        match self {
            Contender::Millrace => "millrace",
            Contender::Epoll => "epoll",
            Contender::Nginx => "nginx",
        }
    }
}

impl Client {
    /// As printed in the table.
    pub fn name(self) -> &'static str {
        match self {
            Client::Kernel => "kernel",
            Client::Millrace => "millrace",
            Client::Wrk => "wrk",
        }
    }
}

impl Work {
    /// As printed in the table.
    pub fn name(self) -> String {
        match self {
            Work::Echo { bytes } if bytes.is_multiple_of(1024) => {
                format!("{} KiB echo", bytes / 1024)
            }
            Work::Echo { bytes } => format!("{bytes} B echo"),
            Work::Connect => "connect".to_owned(),
            Work::Http => "HTTP 128 B".to_owned(),
        }
    }
}

impl Case {
    /// What a kernel server does while nothing comes: with one connection both ends spin, with more it never waits long.
    pub fn server_idle(&self) -> Idle {
        if self.connections == 1 && self.server != Contender::Nginx {
            Idle::Spin
        } else {
            Idle::Sleep
        }
    }
}

/// All cases of `groups`, or of all groups, the servers of each in turn.
pub fn cases(groups: &[Group], connections: &[usize], sizes: &[u32]) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |group: Group, work, connections, client, servers: &[Contender]| {
        if groups.is_empty() || groups.contains(&group) {
            cases.extend(servers.iter().map(|&server| Case {
                group,
                work,
                connections,
                client,
                server,
            }));
        }
    };
    let both = [Contender::Millrace, Contender::Epoll];
    for &bytes in sizes {
        for &connections in connections {
            add(
                Group::Echo,
                Work::Echo { bytes },
                connections,
                Client::Kernel,
                &both,
            );
        }
    }
    add(Group::Connect, Work::Connect, 32, Client::Kernel, &both);
    let all = [Contender::Millrace, Contender::Epoll, Contender::Nginx];
    for connections in [32, 256] {
        add(Group::Http, Work::Http, connections, Client::Wrk, &all);
    }
    for &connections in connections {
        let work = Work::Echo { bytes: 64 };
        add(
            Group::Millrace,
            work,
            connections,
            Client::Millrace,
            &[Contender::Millrace],
        );
    }
    cases
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_size_and_count_has_both_servers() {
        let all = cases(&[], &[1, 32, 256, 1024], &[64, 1024, 16384]);
        assert_eq!(all.len(), 3 * 4 * 2 + 2 + 2 * 3 + 4);
        let some = cases(&[Group::Connect], &[1], &[64]);
        assert_eq!(some.len(), 2);
        assert!(some.iter().all(|case| case.work == Work::Connect));
    }

    #[test]
    fn only_kernel_servers_with_one_connection_spin() {
        let spin = |case: &&Case| case.server_idle() == Idle::Spin;
        let all = cases(&[], &[1, 32], &[64]);
        assert!(all.iter().filter(spin).all(|case| case.connections == 1));
        assert_eq!(all.iter().filter(spin).count(), 3);
    }
}
