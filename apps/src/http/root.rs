//! Files below a directory, and nothing outside it.
//!
//! The path is decoded and refused where it has `..`; the kernel then resolves it with `openat2(RESOLVE_BENEATH)`, so no
//! symbolic link, however it is changed in the meantime, leads out. Linux 5.6.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Dir, FileType, Mode, OFlags, ResolveFlags, fstat, open, openat2};
use rustix::io::Errno;

use super::Status;

#[cfg(test)]
mod tests;

/// The most entries in a listing.
const MAX_ENTRIES: usize = 10_000;

/// A directory whose files are served.
pub struct Root {
    dir: OwnedFd,
}

/// What a request target names.
#[derive(Debug)]
pub enum Found {
    /// A regular file.
    File {
        /// Open for reading.
        file: File,
        /// Its length in bytes.
        len: u64,
        /// Its type, by its name.
        content_type: &'static str,
    },
    /// A directory without index: a page of links.
    Listing(Vec<u8>),
    /// A directory whose name was given without the slash: the name with it.
    Redirect(String),
    /// Nothing that is served.
    Refused(Status),
}

impl Root {
    /// Opens the directory.
    ///
    /// # Errors
    ///
    /// When it does not exist, is no directory, or may not be read.
    pub fn open(path: &Path) -> io::Result<Self> {
        let dir = open(
            path,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        Ok(Self { dir })
    }

    /// What `target`, the path and query of a request, names.
    pub fn find(&self, target: &str) -> Found {
        let path = match RelativePath::decode(target) {
            Ok(path) => path,
            Err(status) => return Found::Refused(status),
        };
        self.look_up(&path).unwrap_or_else(|errno| {
            Found::Refused(match errno {
                Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG => Status::NotFound,
                // EXDEV: the path leads outside.
                Errno::XDEV | Errno::LOOP | Errno::ACCESS | Errno::PERM | Errno::NXIO => {
                    Status::Forbidden
                }
                _ => Status::InternalServerError,
            })
        })
    }

    fn look_up(&self, path: &RelativePath) -> Result<Found, Errno> {
        let name = path.names.join("/");
        let fd = self.open_below(if name.is_empty() { "." } else { &name })?;
        let stat = fstat(&fd)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile if path.slash == Slash::Absent => Ok(file(fd, &stat, &name)),
            FileType::RegularFile => Err(Errno::NOTDIR),
            FileType::Directory if path.slash == Slash::Absent => {
                Ok(Found::Redirect(path.with_slash()))
            }
            FileType::Directory => self.index(&name).or_else(|errno| match errno {
                Errno::NOENT => listing(fd, path),
                other => Err(other),
            }),
            _ => Err(Errno::ACCESS),
        }
    }

    fn index(&self, dir: &str) -> Result<Found, Errno> {
        let name = if dir.is_empty() {
            "index.html".to_owned()
        } else {
            format!("{dir}/index.html")
        };
        let fd = self.open_below(&name)?;
        let stat = fstat(&fd)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok(file(fd, &stat, &name)),
            _ => Err(Errno::NOENT),
        }
    }

    /// Opens without ever blocking (a FIFO) or leaving the root.
    fn open_below(&self, name: &str) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        openat2(
            &self.dir,
            name,
            flags,
            Mode::empty(),
            ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS,
        )
    }
}

fn file(fd: OwnedFd, stat: &rustix::fs::Stat, name: &str) -> Found {
    Found::File {
        file: File::from(fd),
        len: u64::try_from(stat.st_size).unwrap_or(0),
        content_type: content_type(name),
    }
}

/// Whether a path ends with a slash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Slash {
    Present,
    Absent,
}

/// A decoded path: names without `.`, `..` and empty ones.
#[derive(PartialEq, Eq, Debug)]
struct RelativePath {
    names: Vec<String>,
    slash: Slash,
}

impl RelativePath {
    fn decode(target: &str) -> Result<Self, Status> {
        let path = target.split(['?', '#']).next().unwrap_or_default();
        let path = percent_decode(path.strip_prefix('/').ok_or(Status::BadRequest)?)
            .ok_or(Status::BadRequest)?;
        let mut names = Vec::new();
        for name in path.split('/') {
            match name {
                "" | "." => {}
                ".." => return Err(Status::Forbidden),
                name => names.push(name.to_owned()),
            }
        }
        let slash = if path.is_empty() || path.ends_with('/') || path == "." || path.ends_with("/.")
        {
            Slash::Present
        } else {
            Slash::Absent
        };
        Ok(Self { names, slash })
    }

    /// As a target again, with a slash at the end. Made from the names, so that it can lead nowhere else.
    fn with_slash(&self) -> String {
        let mut target = String::from("/");
        for name in &self.names {
            percent_encode(name, &mut target);
            target.push('/');
        }
        target
    }
}

/// `None` for malformed escapes, NUL, and what is not UTF-8.
fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let (byte, tail) = match (first, tail) {
            (b'%', [high, low, tail @ ..]) => {
                let digit = |b: u8| {
                    char::from(b)
                        .to_digit(16)
                        .and_then(|d| u8::try_from(d).ok())
                };
                (digit(*high)? << 4 | digit(*low)?, tail)
            }
            (b'%', _) => return None,
            (&byte, tail) => (byte, tail),
        };
        if byte == 0 {
            return None;
        }
        bytes.push(byte);
        rest = tail;
    }
    String::from_utf8(bytes).ok()
}

/// All but the unreserved characters of RFC 3986 as escapes.
fn percent_encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
}

fn html_escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
}

/// A page of links to the entries of a directory, sorted by name.
fn listing(dir: OwnedFd, path: &RelativePath) -> Result<Found, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(&dir)?.take(MAX_ENTRIES) {
        let entry = entry?;
        // Names that are not UTF-8 cannot be asked for either.
        let Ok(name) = entry.file_name().to_str() else {
            continue;
        };
        if name != "." && name != ".." {
            let mark = if entry.file_type() == FileType::Directory {
                "/"
            } else {
                ""
            };
            names.push(format!("{name}{mark}"));
        }
    }
    names.sort_unstable();

    let mut title = String::new();
    html_escape(
        &format!(
            "/{}",
            path.names
                .iter()
                .map(|name| format!("{name}/"))
                .collect::<String>()
        ),
        &mut title,
    );
    let mut page = format!(
        "<!DOCTYPE html>\n<meta charset=\"utf-8\">\n<title>{title}</title>\n<h1>{title}</h1>\n<ul>\n"
    );
    if !path.names.is_empty() {
        page.push_str("<li><a href=\"../\">../</a>\n");
    }
    for name in &names {
        page.push_str("<li><a href=\"");
        let bare = name.strip_suffix('/');
        percent_encode(bare.unwrap_or(name), &mut page);
        page.push_str(if bare.is_some() { "/\">" } else { "\">" });
        html_escape(name, &mut page);
        page.push_str("</a>\n");
    }
    page.push_str("</ul>\n");
    Ok(Found::Listing(page.into_bytes()))
}

/// The media type by the end of a file's name.
fn content_type(name: &str) -> &'static str {
    let extension = name
        .rsplit_once('.')
        .map_or("", |(_, extension)| extension)
        .to_ascii_lowercase();
    match extension.as_str() {
        "html" | "htm" => "text/html; charset=utf-8",
        "txt" | "md" | "log" => "text/plain; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "json" => "application/json",
        "xml" => "application/xml",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "ico" => "image/x-icon",
        "pdf" => "application/pdf",
        "wasm" => "application/wasm",
        "gz" => "application/gzip",
        "zip" => "application/zip",
        _ => "application/octet-stream",
    }
}
