//! Code: its values are taken at its time, its text is run at the end.

use millrace_posix::call::{Call, Out};

use super::Runner;
use crate::drill::code::{self, Names, Program, Trouble};
use crate::drill::verdict::Stop;
use crate::machine::{Machine, Progress};

const SOL_SOCKET: i32 = 1;
const SO_MEMINFO: i32 = 55;
const SOL_TCP: i32 = 6;
const TCP_INFO: i32 = 11;
const TCP_CC_INFO: i32 = 26;

/// Room for `struct tcp_info`, today's and tomorrow's.
const ROOM: u32 = 512;

/// Code with the values of its time.
pub(super) struct Snapshot {
    line: u32,
    names: Names,
    program: Program,
}

impl<M: Machine + ?Sized> Runner<'_, '_, M> {
    pub(super) fn snapshot(&mut self, line: u32, text: &str) -> Result<(), Stop> {
        let program =
            code::parse(text).map_err(|what| Stop::unsupported(line, format!("code: {what}")))?;
        let tcp_info = self
            .option(SOL_TCP, TCP_INFO)
            .map_err(|why| Stop::unsupported(line, format!("code without TCP_INFO ({why})")))?;
        let mut names = code::tcp_info_names(&tcp_info);
        // Not every socket and algorithm has these.
        names.extend(code::cc_info(
            &self.option(SOL_TCP, TCP_CC_INFO).unwrap_or_default(),
        ));
        names.extend(code::meminfo(
            &self.option(SOL_SOCKET, SO_MEMINFO).unwrap_or_default(),
        ));
        self.snapshots.push(Snapshot {
            line,
            names,
            program,
        });
        Ok(())
    }

    /// An option of the socket under test.
    fn option(&mut self, level: i32, name: i32) -> Result<Vec<u8>, String> {
        let fd = self
            .under_test
            .ok_or("there is no descriptor of the socket under test")?;
        let call = Call::GetSockOpt {
            fd,
            level,
            name,
            room: ROOM,
        };
        match self.machine.start(call) {
            Ok(Progress::Done(returned)) => match returned.out {
                Out::Value(bytes) => Ok(bytes),
                _ => Err(crate::drill::symbols::errno_name(returned.errno)),
            },
            Ok(Progress::Waits(_)) => Err("getsockopt waits".to_owned()),
            Err(why) => Err(why.to_string()),
        }
    }
}

/// Runs all code, in order.
pub(super) fn run_code(snapshots: &[Snapshot]) -> Result<Vec<String>, Stop> {
    let blocks = snapshots
        .iter()
        .map(|snapshot| (snapshot.line, &snapshot.names, &snapshot.program));
    code::run(blocks).map_err(|(line, trouble)| match trouble {
        Trouble::Wrong { text, got } => Stop::fail(line, "assertion", text, got),
        Trouble::Unknown(name) => Stop::unsupported(line, format!("code: {name}")),
        Trouble::Error(what) => Stop::fail(line, "code", "a result", what),
    })
}
