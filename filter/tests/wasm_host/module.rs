//! The module as `make wasm` built it: never one that is older than its sources.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::SystemTime;

use wasmi::{Engine, Module};

static BUILT: OnceLock<Result<(Engine, Module), String>> = OnceLock::new();

/// The engine and the module, compiled once for all tests.
pub(crate) fn built() -> &'static (Engine, Module) {
    let built = BUILT.get_or_init(|| {
        let engine = Engine::default();
        let module = Module::new(&engine, fresh_bytes()?).map_err(|error| error.to_string())?;
        Ok((engine, module))
    });
    built.as_ref().unwrap_or_else(|why| panic!("{why}"))
}

fn fresh_bytes() -> Result<Vec<u8>, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/wasm32-wasip1/release");
    let wasm = folder.join("velocitygate.wasm");
    let built = changed(&wasm)?;
    // What cargo compiled, exactly: a newer file that is only part of the tests makes it no older.
    let list = folder.join("velocitygate.d");
    let list = fs::read_to_string(&list).map_err(|error| run_make(&list, &error.to_string()))?;
    for source in sources(&list) {
        if changed(&source)? > built {
            return Err(run_make(&wasm, &format!("older than {}", source.display())));
        }
    }
    fs::read(&wasm).map_err(|error| run_make(&wasm, &error.to_string()))
}

/// The files after the colon of a one-line make rule; a space inside a name has a backslash.
fn sources(rule: &str) -> Vec<PathBuf> {
    let (_, files) = rule.trim_end().split_once(": ").unwrap_or_default();
    let files = files.replace("\\ ", "\0");
    files
        .split(' ')
        .map(|file| PathBuf::from(file.replace('\0', " ")))
        .collect()
}

fn changed(path: &Path) -> Result<SystemTime, String> {
    let changed = fs::metadata(path).and_then(|metadata| metadata.modified());
    changed.map_err(|error| run_make(path, &error.to_string()))
}

fn run_make(path: &Path, why: &str) -> String {
    format!("{}: {why}; run make wasm", path.display())
}
