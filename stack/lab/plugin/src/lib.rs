//! The stack behind the shared-object interface of the packetdrill tool, in virtual time: the tool's scripts, and the
//! tool itself as the judge.
//!
//! `packetdrill --so_filename=libmillrace_drill.so [--so_flags=FLAGS] SCRIPT`, with `libmillrace_drill_preload.so` in
//! `LD_PRELOAD`. Flags are `name=value` with commas between: `mss=N` (what `--mss` is for the tool), `mtu=N`,
//! `local_ip=A[/N]` (as `--local_ip`), `sysctl_dir=PATH` (settings follow the files below, `/proc/sys/net` as a rule)
//! and `net.ipv4.NAME=VALUE`.

mod entry;
mod fds;
mod flags;
mod hooks;
mod memory;
mod plug;
mod sysctls;
mod table;
mod train;

use std::mem::MaybeUninit;

use crate::flags::Flags;
use crate::memory::{Text, Userdata};
use crate::plug::{Plug, fatal};
pub use crate::table::Interface;

/// Fills in the table; wrong flags are told on standard error and end the tool.
// SAFETY: no other library has a function of this name.
#[unsafe(no_mangle)]
pub extern "C" fn packetdrill_interface_init(flags: Text, table: &mut MaybeUninit<Interface>) {
    let plug = match Flags::parse(&flags.read()) {
        Ok(flags) => Plug::new(flags),
        Err(error) => Err(error.to_string()),
    };
    let plug = plug.unwrap_or_else(|why| fatal(&why));
    let userdata = Userdata::new(plug);
    hooks::attach(userdata);
    table.write(entry::table(userdata));
}
