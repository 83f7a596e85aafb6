//! The table: columns as wide as what stands in them.

use std::io::{self, Write};
use std::net::SocketAddrV4;

use super::services::Services;
use crate::control::protocol::Sock;

/// How many columns there are.
const COUNT: usize = 8;
/// What stands above them. An address and its port are two columns with nothing in between.
const HEADS: [&str; COUNT] = [
    "Netid",
    "State",
    "Recv-Q",
    "Send-Q",
    "Local Address:",
    "Port",
    "Peer Address:",
    "Port",
];
/// What stands above what follows them.
const LAST_HEAD: &str = "Process";
/// Columns of addresses: written to the right.
const ADDRESSES: [usize; 2] = [4, 6];
/// Columns behind which there is no space.
const CLOSE: [usize; 3] = [4, 6, 7];
/// What the columns of queues take at the least.
const QUEUE_WIDTH: usize = 6;

/// Which columns there are.
#[derive(Clone, Copy, Debug)]
pub struct Columns {
    /// The kind of socket.
    pub netid: bool,
    /// Its state.
    pub state: bool,
    /// What stands above.
    pub header: bool,
}

/// All rows.
pub struct Table {
    columns: Columns,
    rows: Vec<([String; COUNT], String)>,
}

impl Table {
    /// No rows yet.
    pub fn new(columns: Columns) -> Self {
        Self {
            columns,
            rows: Vec::new(),
        }
    }

    /// Adds a socket, with names of ports if there are `names`, and what follows the columns.
    pub fn add(&mut self, sock: &Sock, names: Option<&Services>, details: String) {
        let (local, local_port) = end(sock.local, names);
        let (peer, peer_port) = end(sock.peer, names);
        let cells = [
            "tcp".to_owned(),
            sock.state.clone().into_owned(),
            format!("{:<QUEUE_WIDTH$}", sock.recv_q),
            format!("{:<QUEUE_WIDTH$}", sock.send_q),
            local,
            local_port,
            peer,
            peer_port,
        ];
        self.rows.push((cells, details));
    }

    /// Writes the table.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let mut widths = match self.columns.header {
            true => HEADS.map(str::len),
            false => [0; COUNT],
        };
        for (cells, _) in &self.rows {
            for (width, cell) in widths.iter_mut().zip(cells) {
                *width = cell.len().max(*width);
            }
        }
        if self.columns.header {
            self.line(out, &HEADS, &widths, LAST_HEAD)?;
        }
        for (cells, details) in &self.rows {
            let cells = core::array::from_fn(|column| cells[column].as_str());
            self.line(out, &cells, &widths, details)?;
        }
        Ok(())
    }

    fn line(
        &self,
        out: &mut impl Write,
        cells: &[&str; COUNT],
        widths: &[usize; COUNT],
        last: &str,
    ) -> io::Result<()> {
        let mut line = String::new();
        for (column, (cell, width)) in cells.iter().zip(widths).enumerate() {
            if column == 0 && !self.columns.netid || column == 1 && !self.columns.state {
                continue;
            }
            line += &match ADDRESSES.contains(&column) {
                true => format!("{cell:>width$}"),
                false => format!("{cell:<width$}"),
            };
            if !CLOSE.contains(&column) {
                line.push(' ');
            }
        }
        line += last;
        // What stands on a second line may be empty, but the line is there.
        writeln!(out, "{}", line.trim_end_matches(' '))
    }
}

/// An address with its colon, and a port.
fn end(end: SocketAddrV4, names: Option<&Services>) -> (String, String) {
    let port = match end.port() {
        0 => "*".to_owned(),
        port => match names.and_then(|names| names.name(port)) {
            Some(name) => name.to_owned(),
            None => port.to_string(),
        },
    };
    (format!("{}:", end.ip()), port)
}
