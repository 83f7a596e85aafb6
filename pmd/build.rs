//! Compiles the steering program with clang when the `af-xdp` feature is on; does nothing otherwise.

use std::env;
use std::path::PathBuf;
use std::process::Command;

const SOURCE: &str = "xdp/steer.bpf.c";
const HINT: &str = "install what AF_XDP needs with `apt-get install clang llvm libclang-dev libbpf-dev libelf-dev zlib1g-dev m4 make pkg-config`, \
                    or build without it: `--no-default-features`";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={SOURCE}");
    println!("cargo::rerun-if-env-changed=CLANG");
    if env::var_os("CARGO_FEATURE_AF_XDP").is_none() {
        return;
    }
    if let Err(why) = compile() {
        println!("cargo::error={why}; {HINT}");
    }
}

fn compile() -> Result<(), String> {
    let var = |name: &str| env::var(name).map_err(|err| format!("{name}: {err}"));
    let object = PathBuf::from(var("OUT_DIR")?).join("steer.bpf.o");
    // Debian keeps the kernel's `asm/` headers under the target's triple.
    let headers = format!("-I/usr/include/{}-linux-gnu", var("CARGO_CFG_TARGET_ARCH")?);
    let clang = env::var("CLANG").unwrap_or_else(|_| "clang".to_owned());
    let output = Command::new(&clang)
        .args([
            "-O2", "-g", "-Wall", "-Werror", "-target", "bpf", "-mcpu=v3", &headers, "-c", SOURCE,
            "-o",
        ])
        .arg(&object)
        .output()
        .map_err(|err| format!("cannot run {clang}: {err}"))?;
    if output.status.success() {
        return Ok(());
    }
    let first_line = String::from_utf8_lossy(&output.stderr)
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned();
    Err(format!("{clang} cannot compile {SOURCE}: {first_line}"))
}
