//! Commands: on the machine's shell, or what they mean.

use super::Runner;
use crate::drill::command::Unsuccessful;
use crate::drill::verdict::Stop;
use crate::machine::Machine;

impl<M: Machine + ?Sized> Runner<'_, '_, M> {
    pub(super) fn command(&mut self, line: u32, text: &str) -> Result<(), Stop> {
        self.note(line, || format!("`{text}`"));
        match self.shell.run(self.machine, text) {
            Ok(()) => Ok(()),
            Err(Unsuccessful::Status { status, output }) => {
                let got = format!("{status} {}", output.trim());
                Err(Stop::fail(line, "exit status", 0, got.trim_end()))
            }
            Err(Unsuccessful::Unsupported(what)) => Err(Stop::unsupported(line, what)),
            Err(Unsuccessful::Broken(why)) => Err(Stop::Broken { line, why }),
        }
    }
}
