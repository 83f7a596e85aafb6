//! The control socket of a worker without devices: what it answers, and what bad callers do to it.

#[path = "control/callers.rs"]
mod callers;
#[path = "control/commands.rs"]
mod commands;
#[path = "control/process.rs"]
mod process;
