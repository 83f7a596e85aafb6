//! Which scripts to run, and the names of their captures.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Failure;

/// Deepest folder below a given one.
const MAX_DEPTH: usize = 16;

/// Files as given, and all `*.pkt` below folders, in the order of their names.
pub(super) fn scripts(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let before = files.len();
            collect(path, MAX_DEPTH, &mut files)?;
            if files.len() == before {
                return Err(Failure::Usage(format!(
                    "{}: no scripts (*.pkt) in this folder",
                    path.display()
                )));
            }
            files[before..].sort();
        } else {
            files.push(path.clone());
        }
    }
    Ok(files)
}

fn collect(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::Failed(format!("{}: {error}", folder.display()));
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() && depth > 0 {
            collect(&path, depth - 1, files)?;
        } else if path.extension().is_some_and(|extension| extension == "pkt") {
            files.push(path);
        }
    }
    Ok(())
}

/// A flat name, so that scripts of one name in two folders do not share a capture.
pub(super) fn capture_name(script: &Path) -> String {
    let parts: Vec<String> = script
        .with_extension("")
        .components()
        .filter_map(|part| match part {
            std::path::Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
            _ => None,
        })
        .collect();
    format!("{}.pcapng", parts.join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captures_have_flat_names() {
        assert_eq!(capture_name(Path::new("/a/../b c/d.pkt")), "a-b c-d.pcapng");
    }

    #[test]
    fn what_is_no_folder_is_a_file() {
        let files = scripts(&["no/such.pkt".into()]).expect("a file");
        assert_eq!(files, [PathBuf::from("no/such.pkt")]);
    }
}
