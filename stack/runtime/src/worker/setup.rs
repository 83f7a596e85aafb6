//! Putting a worker together: its core, its devices, its listeners.

use std::io;
use std::net::SocketAddrV4;

use core_affinity::CoreId;
use millrace_net::{IfaceId, SockError, SockId, SockOpt};
use millrace_pmd::{Port, Queue};

use super::{Role, Tx, Worker};
use crate::service::ServiceId;

/// A core that the calling thread cannot be pinned to.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// The machine, or the set of processors this process may use, does not have it.
    #[error(
        "core {core} is not one of this process's cores ({allowed}); give one of those with --core"
    )]
    NoSuchCore {
        /// The core that was asked for.
        core: usize,
        /// The cores there are.
        allowed: String,
    },
    /// The kernel refused.
    #[error(
        "the kernel does not let this thread be pinned to core {core}; look with `taskset -p $$`"
    )]
    Refused {
        /// The core that was asked for.
        core: usize,
    },
}

/// A processor core that exists.
#[derive(Clone, Copy, Debug)]
pub struct Core(CoreId);

impl Core {
    /// The core with this number.
    ///
    /// # Errors
    ///
    /// [`PinError::NoSuchCore`].
    pub fn find(core: usize) -> Result<Self, PinError> {
        let cores = core_affinity::get_core_ids().unwrap_or_default();
        match cores.iter().find(|id| id.id == core) {
            Some(id) => Ok(Self(*id)),
            None => {
                let allowed = cores.iter().map(|id| id.id.to_string()).collect::<Vec<_>>();
                Err(PinError::NoSuchCore {
                    core,
                    allowed: allowed.join(", "),
                })
            }
        }
    }

    /// Its number.
    pub fn number(self) -> usize {
        self.0.id
    }

    /// Pins the calling thread, which is to run a worker.
    ///
    /// # Errors
    ///
    /// [`PinError::Refused`].
    pub fn pin(self) -> Result<(), PinError> {
        if core_affinity::set_for_current(self.0) {
            Ok(())
        } else {
            Err(PinError::Refused { core: self.0.id })
        }
    }
}

/// A seed for a stack's keys from the kernel's random source.
///
/// # Errors
///
/// Those of `getrandom(2)`.
pub fn host_seed() -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    let mut filled = 0;
    while filled < seed.len() {
        match rustix::rand::getrandom(&mut seed[filled..], rustix::rand::GetRandomFlags::empty()) {
            Ok(n) => filled += n,
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(seed)
}

/// A listener that cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {addr}: {source}{}", hint(*.source, .addr))]
pub struct ListenError {
    /// Where.
    pub addr: SocketAddrV4,
    /// Why.
    pub source: SockError,
}

/// What mends it.
fn hint(why: SockError, addr: &SocketAddrV4) -> String {
    match why {
        SockError::AddrNotAvailable => format!(
            "; {} is not an address of this stack: give it with --addr",
            addr.ip()
        ),
        SockError::AddrInUse => "; choose another port with --port".to_owned(),
        _ => String::new(),
    }
}

impl Worker {
    /// Takes in the queues that serve an interface of the stack. The port is kept as long as the worker lives.
    pub fn add_queues(&mut self, iface: IfaceId, port: Box<dyn Port>, queues: Vec<Box<dyn Queue>>) {
        let tx = core::iter::once(Tx::All).chain(core::iter::repeat(Tx::Nothing));
        self.roles
            .extend(queues.iter().zip(tx).map(|(_, tx)| Role { iface, tx }));
        self.queues.extend(queues);
        self.ports.push(port);
    }

    /// Opens a listener whose connections belong to `service`; segments of a message leave at once (`TCP_NODELAY`),
    /// because services write whole answers.
    ///
    /// # Errors
    ///
    /// [`ListenError`]; nothing is left open.
    pub fn listen(
        &mut self,
        service: ServiceId,
        addr: SocketAddrV4,
        backlog: u32,
    ) -> Result<SockId, ListenError> {
        let fail = |source| ListenError { addr, source };
        let now = self.now;
        let sock = self.stack.tcp_socket().map_err(fail)?;
        let opened = self
            .stack
            .set_option(now, sock, SockOpt::ReuseAddr(true))
            .and_then(|()| self.stack.set_option(now, sock, SockOpt::NoDelay(true)))
            .and_then(|()| self.stack.bind(sock, addr))
            .and_then(|()| self.stack.listen(sock, backlog))
            .and_then(|()| self.stack.attach(sock, service.user(0)));
        if let Err(source) = opened {
            let _ = self.stack.close(now, sock);
            return Err(fail(source));
        }
        self.listeners.push(sock);
        Ok(sock)
    }
}
