//! Where results go: standard output, or a file that is there only when it is complete.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {source}", path.display())]
pub struct OutputError {
    path: PathBuf,
    source: io::Error,
}

/// Writes all of `text` to standard output.
///
/// # Errors
///
/// A sentence.
pub fn print(text: &str) -> Result<(), String> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|e| format!("cannot write to standard output: {e}"))
}

/// A destination.
pub enum Output {
    /// Standard output.
    Stdout,
    /// Something that is no regular file (`/dev/null`, a FIFO): written as it comes.
    Special(File),
    /// A regular file: written beside its place and moved there at the end.
    File(PartFile),
}

/// A file under way; removed when it is dropped unfinished.
pub struct PartFile {
    file: File,
    part: PathBuf,
    /// `None` once it is there.
    whole: Option<PathBuf>,
}

impl Output {
    /// Opens `path`, or standard output.
    ///
    /// # Errors
    ///
    /// [`OutputError`].
    pub fn open(path: Option<&Path>) -> Result<Self, OutputError> {
        let Some(path) = path else {
            return Ok(Self::Stdout);
        };
        let fail = |source| OutputError {
            path: path.to_owned(),
            source,
        };
        if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
            return OpenOptions::new()
                .write(true)
                .open(path)
                .map(Self::Special)
                .map_err(fail);
        }
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        let file = File::create(&part).map_err(fail)?;
        Ok(Self::File(PartFile {
            file,
            part,
            whole: Some(path.to_owned()),
        }))
    }

    /// Writes all of `bytes` to what was opened as `path`, and finishes.
    ///
    /// # Errors
    ///
    /// [`OutputError`].
    pub fn fill(mut self, path: &Path, bytes: &[u8]) -> Result<(), OutputError> {
        self.write_all(bytes).map_err(|source| OutputError {
            path: path.to_owned(),
            source,
        })?;
        self.finish()
    }

    /// Everything was written.
    ///
    /// # Errors
    ///
    /// [`OutputError`].
    pub fn finish(mut self) -> Result<(), OutputError> {
        self.flush().map_err(|source| OutputError {
            path: PathBuf::from("standard output"),
            source,
        })?;
        if let Self::File(file) = &mut self
            && let Some(whole) = &file.whole
        {
            fs::rename(&file.part, whole).map_err(|source| OutputError {
                path: whole.clone(),
                source,
            })?;
            file.whole = None;
        }
        Ok(())
    }
}

impl Write for Output {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout => io::stdout().write(buf),
            Self::Special(file) => file.write(buf),
            Self::File(part) => part.file.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout => io::stdout().flush(),
            Self::Special(file) => file.flush(),
            Self::File(part) => part.file.flush(),
        }
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        if self.whole.is_some() {
            // If even this fails, the name says what it is.
            let _ = fs::remove_file(&self.part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_there_only_when_it_is_complete() {
        let path = std::env::temp_dir().join(format!("millrace-output-{}", std::process::id()));
        let mut output = Output::open(Some(&path)).expect("open");
        output.write_all(b"half").expect("write");
        drop(output);
        assert!(!path.exists() && !path.with_extension("part").exists());

        let mut output = Output::open(Some(&path)).expect("open");
        output.write_all(b"whole").expect("write");
        output.finish().expect("finish");
        assert_eq!(fs::read(&path).expect("read"), b"whole");
        fs::remove_file(&path).expect("remove");
    }

    #[test]
    fn devices_are_written_directly() {
        let mut output = Output::open(Some(Path::new("/dev/null"))).expect("open");
        output.write_all(b"x").expect("write");
        output.finish().expect("finish");
        assert!(Path::new("/dev/null").exists());
    }

    #[test]
    fn a_full_device_is_told() {
        let path = Path::new("/dev/full");
        let output = Output::open(Some(path)).expect("open");
        let error = output.fill(path, b"x").expect_err("full");
        assert!(
            error.to_string().contains("/dev/full: No space left"),
            "{error}"
        );
    }

    #[test]
    fn a_missing_folder_is_named() {
        let error = Output::open(Some(Path::new("/nowhere/file")))
            .map(|_| ())
            .expect_err("no folder");
        assert!(error.to_string().contains("/nowhere/file"));
    }
}
