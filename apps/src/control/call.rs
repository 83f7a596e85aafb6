//! A call to a process that runs: what `millrace stat` and `millrace ss` do.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use serde::de::DeserializeOwned;

use super::place;
use super::protocol::{About, Ask, Hello, Line, Request, VERSION, Versioned};
use crate::Failure;

/// How long the process may say nothing. It gives up on its own worker before that.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of the longest line that can be an answer.
const LONGEST_LINE: u64 = 16 << 20;

/// Which process to ask.
#[derive(Debug, Args)]
pub struct AskArgs {
    /// The control socket of the process [default: that of the only one that runs].
    #[arg(long, value_name = "PATH")]
    pub control: Option<PathBuf>,
}

/// An open call.
pub struct Call {
    lines: BufReader<UnixStream>,
    path: PathBuf,
    /// Who answers.
    pub about: About,
}

impl Call {
    /// Calls the process that `args` names, or the only one that runs.
    ///
    /// # Errors
    ///
    /// [`Failure`] when there is none, or several, or it does not answer.
    pub fn open(args: &AskArgs) -> Result<Self, Failure> {
        match &args.control {
            Some(path) => Self::over(connect(path)?, path),
            None => Self::to_the_only_one(),
        }
    }

    fn to_the_only_one() -> Result<Self, Failure> {
        let folder = place::folder().ok_or_else(|| {
            Failure::Failed(
                "XDG_RUNTIME_DIR does not say where control sockets are; give the one of the process with --control"
                    .to_owned(),
            )
        })?;
        // A socket that nobody listens on any more belongs to no process; one of another version is still one.
        let found = place::sockets(&folder).into_iter();
        let mut alive: Vec<_> = found
            .filter_map(|path| Some((connect(&path).ok()?, path)))
            .collect();
        match alive.len() {
            1 => {
                let (stream, path) = alive.remove(0);
                Self::over(stream, &path)
            }
            0 => Err(Failure::Failed(format!(
                "no millrace process with a control socket in {} runs; start one, or give its socket with --control",
                folder.display()
            ))),
            several => {
                let named: Vec<String> = alive
                    .into_iter()
                    .map(|(stream, path)| named(stream, &path))
                    .collect();
                Err(Failure::Failed(format!(
                    "{several} millrace processes run; choose one with --control: {}",
                    named.join(", ")
                )))
            }
        }
    }

    fn over(stream: UnixStream, path: &Path) -> Result<Self, Failure> {
        let mut lines = BufReader::new(stream);
        let about = greet(&mut lines, path)?;
        Ok(Self {
            lines,
            path: path.to_owned(),
            about,
        })
    }

    /// Where it goes.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Asks; once per call.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the process is gone.
    pub fn ask(&mut self, ask: Ask) -> Result<(), Failure> {
        let request = Request {
            millrace: VERSION,
            ask,
        };
        let mut line = serde_json::to_vec(&request).map_err(Failure::from_error)?;
        line.push(b'\n');
        let mut stream = self.lines.get_ref();
        stream
            .write_all(&line)
            .map_err(|error| lost(&self.path, &error))
    }

    /// The next line of the answer.
    ///
    /// # Errors
    ///
    /// [`Failure`] with what the process says instead of an answer, or when it falls silent.
    pub fn line(&mut self) -> Result<Line, Failure> {
        let bytes = read_line(&mut self.lines, &self.path)?;
        match parse(&bytes, &self.path)? {
            Line::Error(why) => Err(Failure::Failed(format!("{}: {why}", self.path.display()))),
            line => Ok(line),
        }
    }
}

/// A path and what its process does.
fn named(stream: UnixStream, path: &Path) -> String {
    match Call::over(stream, path) {
        Ok(call) => format!(
            "{} ({} over {})",
            path.display(),
            call.about.command,
            call.about.device
        ),
        Err(_) => path.display().to_string(),
    }
}

/// A connection; does not wait for a process that lets nobody in.
fn connect(path: &Path) -> Result<UnixStream, Failure> {
    let stream = try_connect(path).map_err(|error| {
        let shown = path.display();
        Failure::Failed(match error.kind() {
            ErrorKind::NotFound => format!(
                "no millrace process has its control socket at {shown}; look for it with `ps -C millrace -f`"
            ),
            ErrorKind::ConnectionRefused => format!(
                "nobody answers at {shown}: the process that made it has ended; start it again"
            ),
            ErrorKind::PermissionDenied => {
                format!("no permission for {shown}: run this as the user of the process, or as root")
            }
            ErrorKind::WouldBlock => {
                format!("the process at {shown} lets nobody in; is it stopped? look with `ps -C millrace -o pid,stat`")
            }
            _ => format!("cannot call {shown}: {error}"),
        })
    })?;
    stream
        .set_read_timeout(Some(PATIENCE))
        .and_then(|()| stream.set_write_timeout(Some(PATIENCE)))
        .map_err(|error| lost(path, &error))?;
    Ok(stream)
}

fn try_connect(path: &Path) -> io::Result<UnixStream> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    let stream = UnixStream::from(socket);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// Reads who it is.
fn greet(lines: &mut BufReader<UnixStream>, path: &Path) -> Result<About, Failure> {
    let bytes = read_line(lines, path)?;
    if let Ok(Line::Error(why)) = serde_json::from_slice(&bytes) {
        return Err(Failure::Failed(format!("{}: {why}", path.display())));
    }
    let versioned: Versioned = parse(&bytes, path)?;
    if versioned.millrace != VERSION {
        return Err(Failure::Failed(format!(
            "the process at {} speaks version {} on its control socket, and this program version {VERSION}; use the \
             `millrace` of the same build",
            path.display(),
            versioned.millrace
        )));
    }
    let hello: Hello = parse(&bytes, path)?;
    Ok(hello.process)
}

fn read_line(lines: &mut BufReader<UnixStream>, path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    lines
        .by_ref()
        .take(LONGEST_LINE)
        .read_until(b'\n', &mut bytes)
        .map_err(|error| lost(path, &error))?;
    if bytes.last() != Some(&b'\n') {
        return Err(Failure::Failed(format!(
            "the process at {} hung up in the midst of its answer: it may have ended",
            path.display()
        )));
    }
    Ok(bytes)
}

fn parse<T: DeserializeOwned>(bytes: &[u8], path: &Path) -> Result<T, Failure> {
    serde_json::from_slice(bytes).map_err(|error| {
        Failure::Failed(format!(
            "what answers at {} is no millrace process: {error}",
            path.display()
        ))
    })
}

fn lost(path: &Path, error: &io::Error) -> Failure {
    Failure::Failed(match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => format!(
            "nobody has answered at {} for {} s; is the process stopped?",
            path.display(),
            PATIENCE.as_secs()
        ),
        _ => format!("lost the process at {}: {error}", path.display()),
    })
}
