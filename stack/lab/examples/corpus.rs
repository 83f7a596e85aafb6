//! Writes the first members of the fuzz corpora into `stack/fuzz/corpus`.

use std::io;
use std::path::Path;

use millrace_lab::fuzz::seeds::{self, Seed};

fn main() -> io::Result<()> {
    write("listening", &seeds::listening())?;
    write("established", &seeds::established())
}

fn write(target: &str, seeds: &[Seed]) -> io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz/corpus")
        .join(target);
    std::fs::create_dir_all(&folder)?;
    seeds
        .iter()
        .try_for_each(|seed| std::fs::write(folder.join(seed.name), &seed.bytes))
}
