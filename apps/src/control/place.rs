//! Where a control socket lies, and whose it is.
//!
//! A lock file beside the socket says whether its process is alive: it is locked for as long as the process runs, however
//! it ends. Who gets the lock may remove a socket that a dead process left.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// Callers that may wait to be let in.
const BACKLOG: i32 = 16;

/// Why a place cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// No default path for this user.
    #[error(
        "XDG_RUNTIME_DIR names no folder for the control socket; set it, or give --control PATH"
    )]
    NoFolder,
    /// Longer than a socket's address may be.
    #[error("the path {} is too long for a control socket; give one of at most 107 bytes with --control", .0.display())]
    TooLong(PathBuf),
    /// Its process runs.
    #[error("{} is the control socket of another process that runs; give another path with --control, or --no-control", .0.display())]
    InUse(PathBuf),
    /// Something else lies there.
    #[error("{} is there and is no socket; give another path with --control", .0.display())]
    NoSocket(PathBuf),
    /// The system refuses.
    #[error("cannot make the control socket {}: {source}; give another path with --control, or --no-control", .path.display())]
    Refused {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A place that belongs to this process, with a socket that listens. Dropping it removes both files.
#[derive(Debug)]
pub struct Seat {
    path: PathBuf,
    listener: UnixListener,
    /// Locked; goes last.
    _lock: File,
}

impl Seat {
    /// The socket, which does not block.
    pub fn listener(&self) -> &UnixListener {
        &self.listener
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        // The lock file last, while it is still locked: nobody takes the place in between.
        let _ = fs::remove_file(&self.path);
        let _ = fs::remove_file(lock_path(&self.path));
    }
}

/// The folder of this user's control sockets.
pub fn folder() -> Option<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Some(PathBuf::from("/run/millrace"));
    }
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty())?;
    Some(Path::new(&runtime).join("millrace"))
}

/// This process's place in that folder, which is made if need be and cleared of what dead processes left.
///
/// # Errors
///
/// [`PlaceError`].
pub fn default_path() -> Result<PathBuf, PlaceError> {
    let folder = folder().ok_or(PlaceError::NoFolder)?;
    let path = folder.join(format!("{}.sock", std::process::id()));
    let made = fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder);
    made.map_err(|source| PlaceError::Refused {
        path: path.clone(),
        source,
    })?;
    for left in sockets(&folder) {
        if let Ok(Some(_lock)) = lock(&left) {
            let _ = fs::remove_file(&left);
            let _ = fs::remove_file(lock_path(&left));
        }
    }
    Ok(path)
}

/// The sockets in a folder, in order.
pub fn sockets(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_socket()))
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "sock"))
        .collect();
    found.sort();
    found
}

/// Takes a place: removes what a dead process left there, and listens.
///
/// # Errors
///
/// [`PlaceError`]; nothing is left changed.
pub fn claim(path: &Path) -> Result<Seat, PlaceError> {
    let refused = |source: io::Error| PlaceError::Refused {
        path: path.to_owned(),
        source,
    };
    let address = SocketAddrUnix::new(path).map_err(|errno| match errno {
        Errno::NAMETOOLONG => PlaceError::TooLong(path.to_owned()),
        other => refused(other.into()),
    })?;
    let lock = lock(path)
        .map_err(refused)?
        .ok_or_else(|| PlaceError::InUse(path.to_owned()))?;
    let listener = free(path).and_then(|()| listen(path, &address).map_err(refused));
    match listener {
        Ok(listener) => Ok(Seat {
            path: path.to_owned(),
            listener,
            _lock: lock,
        }),
        Err(error) => {
            let _ = fs::remove_file(lock_path(path));
            Err(error)
        }
    }
}

/// Removes a socket that nobody owns any more, and nothing but a socket.
fn free(path: &Path) -> Result<(), PlaceError> {
    match fs::symlink_metadata(path) {
        Err(_) => Ok(()),
        Ok(there) if there.file_type().is_socket() => {
            fs::remove_file(path).map_err(|source| PlaceError::Refused {
                path: path.to_owned(),
                source,
            })
        }
        Ok(_) => Err(PlaceError::NoSocket(path.to_owned())),
    }
}

/// Nobody can connect before the permissions are right, because nobody listens.
fn listen(path: &Path, address: &SocketAddrUnix) -> io::Result<UnixListener> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::bind(&socket, address)?;
    let ready = fs::set_permissions(path, Permissions::from_mode(0o600))
        .and_then(|()| Ok(rustix::net::listen(&socket, BACKLOG)?));
    if let Err(error) = ready {
        let _ = fs::remove_file(path);
        return Err(error);
    }
    Ok(UnixListener::from(socket))
}

fn lock_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

/// The lock of a place; none if a living process has it.
fn lock(path: &Path) -> io::Result<Option<File>> {
    let path = lock_path(path);
    loop {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits() as i32)
            .open(&path)?;
        match flock(file.as_fd(), FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        }
        // The owner before us may have removed the file between our two steps: then the lock is nobody's.
        let ours = file.metadata()?;
        let there = fs::metadata(&path).ok();
        if there.is_some_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino())) {
            return Ok(Some(file));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    /// A folder of this test, removed at its end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("millrace-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).expect("a folder");
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_place_is_taken_once_and_left_empty() {
        let folder = Folder::new("place");
        let path = folder.0.join("a.sock");
        let seat = claim(&path).expect("free");
        let mode = fs::metadata(&path).expect("a socket").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        UnixStream::connect(&path).expect("it listens");
        assert_eq!(sockets(&folder.0), std::slice::from_ref(&path));

        let error = claim(&path).expect_err("taken");
        assert!(matches!(error, PlaceError::InUse(_)), "{error}");
        UnixStream::connect(&path).expect("the first one is not disturbed");

        drop(seat);
        assert_eq!(fs::read_dir(&folder.0).expect("a folder").count(), 0);
    }

    #[test]
    fn a_dead_process_leaves_nothing_that_matters() {
        let folder = Folder::new("stale");
        let path = folder.0.join("a.sock");
        // What a killed process leaves: a socket without a listener, and a lock file without a lock.
        drop(UnixListener::bind(&path).expect("bind"));
        fs::write(lock_path(&path), "").expect("a lock file");
        let _seat = claim(&path).expect("free");
        UnixStream::connect(&path).expect("it listens");
    }

    #[test]
    fn nothing_but_a_socket_is_removed() {
        let folder = Folder::new("file");
        let path = folder.0.join("a.sock");
        fs::write(&path, "precious").expect("a file");
        let error = claim(&path).expect_err("no socket");
        assert!(matches!(error, PlaceError::NoSocket(_)), "{error}");
        assert_eq!(fs::read_to_string(&path).expect("a file"), "precious");
        assert!(!lock_path(&path).exists());
    }

    #[test]
    fn paths_that_cannot_be() {
        let long = PathBuf::from(format!("/tmp/{}", "x".repeat(200)));
        assert!(matches!(claim(&long), Err(PlaceError::TooLong(_))));
        let nowhere = Path::new("/nonexistent/folder/a.sock");
        let error = claim(nowhere).expect_err("no folder").to_string();
        assert!(
            error.contains("--control") && error.contains("No such file"),
            "{error}"
        );
    }
}
