//! Bytes in and out of the module's memory, and the ABI's encoding of header maps.

use wasmi::{Caller, Error, Extern, Memory};

use super::state::{Pairs, Vm};

fn memory(caller: &Caller<'_, Vm>) -> Result<Memory, Error> {
    let memory = caller.get_export("memory").and_then(Extern::into_memory);
    memory.ok_or_else(|| Error::new("the module exports no memory"))
}

pub(super) fn read(caller: &Caller<'_, Vm>, at: u32, size: u32) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; size as usize];
    let memory = memory(caller)?;
    memory
        .read(caller, at as usize, &mut bytes)
        .map_err(|error| Error::new(error.to_string()))?;
    Ok(bytes)
}

pub(super) fn text(caller: &Caller<'_, Vm>, at: u32, size: u32) -> Result<String, Error> {
    String::from_utf8(read(caller, at, size)?).map_err(|error| Error::new(error.to_string()))
}

pub(super) fn write(caller: &mut Caller<'_, Vm>, at: u32, bytes: &[u8]) -> Result<(), Error> {
    let memory = memory(caller)?;
    memory
        .write(caller, at as usize, bytes)
        .map_err(|error| Error::new(error.to_string()))
}

/// Hands `bytes` over in memory that the module allocates for them; nothing is a null pointer.
pub(super) fn give(
    caller: &mut Caller<'_, Vm>,
    bytes: &[u8],
    return_data: u32,
    return_size: u32,
) -> Result<(), Error> {
    let mut at = 0;
    if !bytes.is_empty() {
        let allocate = caller
            .get_export("proxy_on_memory_allocate")
            .and_then(Extern::into_func);
        let allocate = allocate.ok_or_else(|| Error::new("the module exports no allocator"))?;
        let allocate = allocate.typed::<u32, u32>(&*caller)?;
        at = allocate.call(&mut *caller, bytes.len() as u32)?;
        write(caller, at, bytes)?;
    }
    write(caller, return_data, &at.to_le_bytes())?;
    write(caller, return_size, &(bytes.len() as u32).to_le_bytes())
}

/// Count, then the sizes of all names and values, then their bytes, each with a zero behind it.
pub(super) fn encode(pairs: &Pairs) -> Vec<u8> {
    let mut bytes = (pairs.len() as u32).to_le_bytes().to_vec();
    for (name, value) in pairs {
        bytes.extend((name.len() as u32).to_le_bytes());
        bytes.extend((value.len() as u32).to_le_bytes());
    }
    for (name, value) in pairs {
        bytes.extend([name.as_bytes(), &[0], value, &[0]].concat());
    }
    bytes
}

/// The map that `encode` writes.
pub(super) fn decode(bytes: &[u8]) -> Pairs {
    if bytes.is_empty() {
        return Vec::new();
    }
    let word = |place: usize| {
        let bytes = bytes[place * 4..place * 4 + 4].try_into().unwrap();
        u32::from_le_bytes(bytes) as usize
    };
    let count = word(0);
    let mut at = 4 + count * 8;
    let mut take = |size: usize| {
        let part = bytes[at..at + size].to_vec();
        at += size + 1;
        part
    };
    (0..count)
        .map(|entry| {
            let name = String::from_utf8(take(word(1 + entry * 2))).unwrap();
            (name, take(word(2 + entry * 2)))
        })
        .collect()
}
