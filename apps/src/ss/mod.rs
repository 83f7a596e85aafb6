//! `millrace ss`: the sockets of a process that runs, as `ss` of iproute2 shows the kernel's.

mod columns;
mod details;
mod filter;
mod number;
mod parse;
mod services;
mod states;

use std::io::{self, BufWriter, Write};

use clap::Args;
use millrace::net::TcpState;

use crate::Failure;
use crate::control::protocol::{Ask, Line, Sock, VERSION};
use crate::control::{AskArgs, Call};
use crate::stat::{Reader, reader};

use columns::{Columns, Table};
use filter::Filter;
use services::Services;

/// `millrace ss`.
#[derive(Debug, Args)]
pub struct SsArgs {
    /// The process.
    #[command(flatten)]
    pub process: AskArgs,
    /// TCP sockets, the only kind there is: leaves out the column that says so.
    #[arg(short, long)]
    pub tcp: bool,
    /// Numbers instead of names of services, and exact rates.
    #[arg(short, long)]
    pub numeric: bool,
    /// Listeners, and sockets that are not connected, only.
    #[arg(short, long)]
    pub listening: bool,
    /// Sockets in all states.
    #[arg(short, long)]
    pub all: bool,
    /// What TCP knows of the connection.
    #[arg(short, long)]
    pub info: bool,
    /// The timer that comes up next; with --info, the options that were agreed.
    #[arg(short, long)]
    pub options: bool,
    /// Memory.
    #[arg(short, long)]
    pub memory: bool,
    /// The socket's number, and which directions are open.
    #[arg(short, long)]
    pub extended: bool,
    /// No header.
    #[arg(short = 'H', long)]
    pub no_header: bool,
    /// Everything about a socket on one line.
    #[arg(short = 'O', long)]
    pub oneline: bool,
    /// Print JSON, one object per socket.
    #[arg(long, conflicts_with_all = ["tcp", "numeric", "options", "memory", "extended", "no_header", "oneline"])]
    pub json: bool,
    /// Which: [state STATE | exclude STATE]… [EXPRESSION]
    #[arg(value_name = "FILTER", long_help = FILTER_HELP)]
    pub filter: Vec<String>,
}

/// The filter, as `man ss` has it.
const FILTER_HELP: &str = "Which sockets: [state STATE | exclude STATE]… [EXPRESSION]\n\n\
STATE: established, syn-sent, syn-recv, fin-wait-1, fin-wait-2, time-wait, closed, close-wait, last-ack, listening, \
closing; all, connected, synchronized, bucket, big\n\n\
EXPRESSION: {dst|src} ADDRESS[/PREFIX][:PORT]; {dport|sport} {=|!=|<|>|<=|>=} :PORT; with and, or, not and parentheses. \
For example: state established '( dport = :http or src 10.0.0.0/8 )'";

/// Runs the command.
///
/// # Errors
///
/// [`Failure`] when the filter makes no sense, or there is no process, or it has no answer.
pub fn run(args: &SsArgs) -> Result<(), Failure> {
    let services = Services::read();
    let filter = parse::filter(&args.filter.join(" "), &services).map_err(Failure::Usage)?;
    let states = filter
        .states
        .unwrap_or_else(|| states::default(args.listening, args.all));
    let mut call = Call::open(&args.process)?;
    call.ask(Ask::Sockets {
        states,
        info: args.info,
    })?;
    let mut out = BufWriter::new(io::stdout().lock());
    let printed = if args.json {
        print_json(&mut call, &filter, &mut out)?
    } else {
        print_table(&mut call, &filter, args, states, &services, &mut out)?
    };
    match printed {
        Reader::There => reader(out.flush()).map(drop),
        // What the buffer still holds is for nobody.
        Reader::Gone => {
            drop(out.into_parts());
            Ok(())
        }
    }
}

/// Hands on each socket that the filter lets through.
fn each(
    call: &mut Call,
    filter: &Filter,
    mut tell: impl FnMut(&Sock) -> Result<Reader, Failure>,
) -> Result<Reader, Failure> {
    loop {
        match call.line()? {
            Line::Sock(sock) if !filter.matches(&sock) => {}
            Line::Sock(sock) => {
                if tell(&sock)? == Reader::Gone {
                    return Ok(Reader::Gone);
                }
            }
            Line::End { .. } => return Ok(Reader::There),
            _ => {
                return Err(Failure::Failed(format!(
                    "the process at {} answers something else than sockets",
                    call.path().display()
                )));
            }
        }
    }
}

fn print_json(call: &mut Call, filter: &Filter, out: &mut impl Write) -> Result<Reader, Failure> {
    let pid = call.about.pid;
    each(call, filter, |sock| {
        let mut object = serde_json::json!({ "millrace": VERSION, "pid": pid });
        if let (Some(object), Ok(serde_json::Value::Object(fields))) =
            (object.as_object_mut(), serde_json::to_value(sock))
        {
            object.extend(fields);
        }
        reader(writeln!(out, "{object}"))
    })
}

fn print_table(
    call: &mut Call,
    filter: &Filter,
    args: &SsArgs,
    states: u16,
    services: &Services,
    out: &mut impl Write,
) -> Result<Reader, Failure> {
    let columns = Columns {
        netid: !args.tcp,
        // Where only one state is meant, nobody needs to be told which.
        state: states.count_ones() != 1,
        header: !args.no_header,
    };
    let mut table = Table::new(columns);
    let names = (!args.numeric).then_some(services);
    each(call, filter, |sock| {
        table.add(sock, names, details::text(sock, args));
        Ok(Reader::There)
    })?;
    reader(table.write(out))
}

/// All states that a socket can be in.
const ALL: u16 = {
    let (mut bits, mut at) = (0, 0);
    while at < TcpState::ALL.len() {
        bits |= TcpState::ALL[at].bit();
        at += 1;
    }
    bits
};
