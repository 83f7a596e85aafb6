//! Who hears of what happens to a socket: an in-loop service, or somebody who polls it.

use crate::core::Stack;
use crate::ids::SockId;
use crate::sock::error::SockError;
use crate::sock::readiness::Readiness;
use crate::tcp::sock::hot::Features;

impl Stack {
    /// Gives the socket to an in-loop service: bytes and readiness go to [`crate::Service`] with this value. The
    /// children of a listener inherit it.
    ///
    /// # Errors
    /// EBADF.
    pub fn attach(&mut self, s: SockId, user: u64) -> Result<(), SockError> {
        let sk = self.sock(s)?;
        sk.rx.features.insert(Features::ATTACHED);
        sk.warm.user = user;
        self.settle(s);
        Ok(())
    }

    /// From now on every wake-up of the socket goes to [`crate::Service::ready`] with this value, as the kernel wakes
    /// those who wait on it: new data, room after a full buffer, an error, and [`Readiness::CHANGE`] for changes of
    /// state. Octets stay in the ring, and children of a listener are not watched.
    ///
    /// # Errors
    /// EBADF.
    pub fn watch(&mut self, s: SockId, user: u64) -> Result<(), SockError> {
        let sk = self.sock(s)?;
        if !sk.rx.features.intersects(Features::OWNED) {
            // What happened so far is to be seen by `readiness`.
            sk.warm.pending = Readiness::NONE;
            if let Some(listen) = &mut sk.cold.listen {
                listen.arrived = 0;
            }
        }
        sk.rx.features.insert(Features::WATCHED);
        sk.warm.user = user;
        Ok(())
    }

    /// Ends [`Stack::watch`].
    ///
    /// # Errors
    /// EBADF.
    pub fn unwatch(&mut self, s: SockId) -> Result<(), SockError> {
        self.sock(s)?.rx.features.remove(Features::WATCHED);
        Ok(())
    }
}
