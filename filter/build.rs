//! Makes the script that ships out of its parts. Neither Redis nor the module has a use for their
//! comments, which are two fifths of the text.

use std::error::Error;
use std::path::Path;
use std::{env, fs};

use sha1::{Digest, Sha1};

/// The parts in `src/limit/lua`, each behind those that it uses.
const PARTS: [&str; 8] = [
    "bounds",
    "token_bucket",
    "fixed_window",
    "sliding_window",
    "sliding_log",
    "rules",
    "charge",
    "refund",
];

fn main() -> Result<(), Box<dyn Error>> {
    let mut script = String::new();
    for part in PARTS {
        let path = format!("src/limit/lua/{part}.lua");
        println!("cargo::rerun-if-changed={path}");
        script += &shipped(&fs::read_to_string(path)?);
    }
    let digest = Sha1::digest(&script);
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let out = env::var("OUT_DIR")?;
    fs::write(Path::new(&out).join("script.lua"), script)?;
    fs::write(Path::new(&out).join("script.sha1"), digest)?;
    Ok(())
}

/// The lines that do something, without their indentation.
fn shipped(text: &str) -> String {
    let is_long = text.contains("[[") || text.contains("[=");
    assert!(!is_long, "a long string or comment");
    let lines = text.lines().map(str::trim_start);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with("--"));
    lines.flat_map(|line| [line, "\n"]).collect()
}
