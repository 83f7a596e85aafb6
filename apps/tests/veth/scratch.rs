//! A folder for the files of one test, and bytes to put into them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use sha2::{Digest, Sha256};

/// A folder of its own, removed on drop. In memory where the machine has /dev/shm: some tests hold hundreds of megabytes.
pub struct Scratch(PathBuf);

impl Scratch {
    /// A new empty folder.
    pub fn new() -> Scratch {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let base = match Path::new("/dev/shm") {
            shm if shm.is_dir() => shm.to_owned(),
            _ => std::env::temp_dir(),
        };
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = base.join(format!("millrace-test-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).expect("a scratch folder");
        Scratch(path)
    }

    /// The path of `name` in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The same as text, for command lines.
    pub fn text(&self, name: &str) -> String {
        self.path(name).to_string_lossy().into_owned()
    }

    /// Writes `bytes` pseudo-random bytes to `name` and returns their sha256.
    pub fn random_file(&self, name: &str, bytes: usize, seed: u64) -> String {
        let mut content = vec![0; bytes];
        Pattern::new(seed).fill(&mut content);
        fs::write(self.path(name), &content).expect("write a scratch file");
        sha256(&content)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Best effort: what is left lies in a temporary folder.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// sha256 of a file as hex.
#[track_caller]
pub fn file_sha256(path: &Path) -> String {
    sha256(&fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
}

/// sha256 as hex.
pub fn sha256(bytes: &[u8]) -> String {
    hex(Sha256::digest(bytes).as_slice())
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An endless reproducible stream of bytes (xorshift64*), so that lost, doubled or swapped bytes show.
pub struct Pattern(u64);

impl Pattern {
    /// The stream of `seed`.
    pub fn new(seed: u64) -> Pattern {
        Pattern(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next `buffer.len()` bytes. Only whole multiples of eight continue the stream without a gap.
    pub fn fill(&mut self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            let word = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }
}
