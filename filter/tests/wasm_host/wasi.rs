//! The few calls of WASI that Rust's standard library makes.

use wasmi::errors::LinkerError;
use wasmi::{Caller, Error, Linker};

use super::memory::{read, write};
use super::state::Vm;

/// The name under which WASI is imported.
const MODULE: &str = "wasi_snapshot_preview1";

/// All of WASI that the module may import: nothing that reads or opens files, or blocks.
pub(crate) const WASI: [&str; 6] = [
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_write",
    "proc_exit",
    "random_get",
];

pub(super) fn link(linker: &mut Linker<Vm>) -> Result<(), LinkerError> {
    linker
        .func_wrap(MODULE, "clock_time_get", clock_time_get)?
        .func_wrap(MODULE, "environ_get", |_: u32, _: u32| 0u32)?
        .func_wrap(MODULE, "environ_sizes_get", environ_sizes_get)?
        .func_wrap(MODULE, "fd_write", fd_write)?
        .func_wrap(MODULE, "proc_exit", |code: u32| -> Result<(), Error> {
            Err(Error::new(format!("the module exited with {code}")))
        })?
        .func_wrap(MODULE, "random_get", random_get)?;
    Ok(())
}

fn clock_time_get(
    mut caller: Caller<'_, Vm>,
    clock: u32,
    _precision: u64,
    at: u32,
) -> Result<u32, Error> {
    let now = {
        let process = caller.data().process.borrow();
        if clock == 0 {
            process.wall
        } else {
            process.monotonic
        }
    };
    write(&mut caller, at, &now.to_le_bytes())?;
    Ok(0)
}

fn environ_sizes_get(mut caller: Caller<'_, Vm>, count: u32, size: u32) -> Result<u32, Error> {
    write(&mut caller, count, &[0; 4])?;
    write(&mut caller, size, &[0; 4])?;
    Ok(0)
}

/// Only the panic message of a module that is about to trap is ever written.
fn fd_write(
    mut caller: Caller<'_, Vm>,
    _file: u32,
    parts: u32,
    count: u32,
    written: u32,
) -> Result<u32, Error> {
    let mut all = Vec::new();
    for part in 0..count {
        let part = read(&caller, parts + part * 8, 8)?;
        let word = |at: usize| u32::from_le_bytes(part[at..at + 4].try_into().unwrap());
        all.extend(read(&caller, word(0), word(4))?);
    }
    write(&mut caller, written, &(all.len() as u32).to_le_bytes())?;
    let text = String::from_utf8_lossy(&all).into_owned();
    caller.data_mut().log.push((5, text));
    Ok(0)
}

/// SplitMix64, so that a failing test fails again. Source: Steele, Lea and Flood, "Fast
/// Splittable Pseudorandom Number Generators", 2014.
fn random_get(mut caller: Caller<'_, Vm>, at: u32, size: u32) -> Result<u32, Error> {
    let mut bytes = Vec::new();
    while bytes.len() < size as usize {
        let state = &mut caller.data_mut().random;
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend((mixed ^ (mixed >> 31)).to_le_bytes());
    }
    write(&mut caller, at, &bytes[..size as usize])?;
    Ok(0)
}
