//! The host calls of proxy-wasm 0.2.1, answered as Envoy's host answers them.
#![expect(clippy::too_many_arguments, reason = "the ABI has as many")]

use wasmi::errors::LinkerError;
use wasmi::{Caller, Error, Linker, Module};

use super::memory::{decode, encode, give, read, text, write};
use super::shared;
use super::state::{HttpCall, LocalResponse, Vm, status};

/// The host calls that the module makes.
pub(crate) const CALLED: [&str; 24] = [
    "proxy_add_header_map_value",
    "proxy_close_stream",
    "proxy_continue_stream",
    "proxy_define_metric",
    "proxy_dequeue_shared_queue",
    "proxy_done",
    "proxy_enqueue_shared_queue",
    "proxy_get_buffer_bytes",
    "proxy_get_header_map_pairs",
    "proxy_get_header_map_value",
    "proxy_get_property",
    "proxy_get_shared_data",
    "proxy_http_call",
    "proxy_increment_metric",
    "proxy_log",
    "proxy_record_metric",
    "proxy_register_shared_queue",
    "proxy_replace_header_map_value",
    "proxy_send_local_response",
    "proxy_set_buffer_bytes",
    "proxy_set_effective_context",
    "proxy_set_property",
    "proxy_set_shared_data",
    "proxy_set_tick_period_milliseconds",
];

/// Further calls that it may import, since its SDK refers to them, but never makes.
pub(crate) const NEVER_CALLED: [&str; 11] = [
    "proxy_call_foreign_function",
    "proxy_get_current_time_nanoseconds",
    "proxy_get_status",
    "proxy_grpc_call",
    "proxy_grpc_cancel",
    "proxy_grpc_close",
    "proxy_grpc_send",
    "proxy_grpc_stream",
    "proxy_remove_header_map_value",
    "proxy_resolve_shared_queue",
    "proxy_set_header_map_pairs",
];

/// What a host call returns: a status of the ABI, or a trap.
pub(super) type Answer = Result<u32, Error>;

pub(super) fn link(linker: &mut Linker<Vm>, module: &Module) -> Result<(), LinkerError> {
    linker
        .func_wrap("env", "proxy_add_header_map_value", add_map_value)?
        .func_wrap("env", "proxy_close_stream", close_stream)?
        .func_wrap("env", "proxy_continue_stream", continue_stream)?
        .func_wrap("env", "proxy_done", done)?
        .func_wrap("env", "proxy_get_buffer_bytes", get_buffer)?
        .func_wrap("env", "proxy_get_header_map_pairs", get_map)?
        .func_wrap("env", "proxy_get_header_map_value", get_map_value)?
        .func_wrap("env", "proxy_get_property", get_property)?
        .func_wrap("env", "proxy_http_call", http_call)?
        .func_wrap("env", "proxy_log", log)?
        .func_wrap("env", "proxy_replace_header_map_value", replace_map_value)?
        .func_wrap("env", "proxy_send_local_response", send_local_response)?
        .func_wrap("env", "proxy_set_buffer_bytes", set_buffer)?
        .func_wrap("env", "proxy_set_effective_context", set_effective_context)?
        .func_wrap("env", "proxy_set_property", set_property)?
        .func_wrap("env", "proxy_set_tick_period_milliseconds", set_tick_period)?;
    shared::link(linker)?;
    for import in module.imports() {
        let (name, kind) = (import.name(), import.ty().func());
        if let (true, Some(kind)) = (NEVER_CALLED.contains(&name), kind) {
            let trap = move |_: Caller<'_, Vm>, _: &[_], _: &mut [_]| {
                Err(Error::new("a host call that the module never makes"))
            };
            linker.func_new("env", name, kind.clone(), trap)?;
        }
    }
    Ok(())
}

fn log(mut caller: Caller<'_, Vm>, level: u32, data: u32, size: u32) -> Answer {
    let text = text(&caller, data, size)?;
    caller.data_mut().log.push((level, text));
    Ok(status::OK)
}

fn done(mut caller: Caller<'_, Vm>) -> Answer {
    let context = caller.data_mut().current();
    let waits = context.done == Some(false);
    if waits {
        context.done = Some(true);
    }
    Ok(if waits { status::OK } else { status::NOT_FOUND })
}

fn set_effective_context(mut caller: Caller<'_, Vm>, context: u32) -> Answer {
    let vm = caller.data_mut();
    if !vm.contexts.contains_key(&context) {
        return Ok(status::BAD_ARGUMENT);
    }
    vm.effective = context;
    Ok(status::OK)
}

fn set_tick_period(mut caller: Caller<'_, Vm>, millis: u32) -> Answer {
    // A timer belongs to the root, whichever of its contexts asks for it.
    let vm = caller.data_mut();
    let root = match vm.current().root {
        0 => vm.effective,
        root => root,
    };
    if let Some(root) = vm.contexts.get_mut(&root) {
        root.tick_millis = Some(millis);
    }
    Ok(status::OK)
}

fn get_property(mut caller: Caller<'_, Vm>, path: u32, size: u32, data: u32, len: u32) -> Answer {
    let path = read(&caller, path, size)?;
    let Some(value) = caller.data().property(&path) else {
        return Ok(status::NOT_FOUND);
    };
    give(&mut caller, &value, data, len)?;
    Ok(status::OK)
}

fn set_property(mut caller: Caller<'_, Vm>, path: u32, size: u32, data: u32, len: u32) -> Answer {
    let path = text(&caller, path, size)?;
    let value = read(&caller, data, len)?;
    caller.data_mut().current().filter_state.insert(path, value);
    Ok(status::OK)
}

fn get_buffer(
    mut caller: Caller<'_, Vm>,
    kind: u32,
    start: u32,
    size: u32,
    data: u32,
    len: u32,
) -> Answer {
    let Some(buffer) = caller.data().buffers.get(&kind) else {
        return Ok(status::NOT_FOUND);
    };
    let rest = buffer.get(start as usize..).unwrap_or_default();
    let part = rest[..rest.len().min(size as usize)].to_vec();
    give(&mut caller, &part, data, len)?;
    Ok(status::OK)
}

fn set_buffer(
    mut caller: Caller<'_, Vm>,
    kind: u32,
    start: u32,
    size: u32,
    data: u32,
    len: u32,
) -> Answer {
    let bytes = read(&caller, data, len)?;
    let Some(buffer) = caller.data_mut().buffers.get_mut(&kind) else {
        return Ok(status::NOT_FOUND);
    };
    let start = buffer.len().min(start as usize);
    let end = buffer.len().min(start + size as usize);
    buffer.splice(start..end, bytes);
    Ok(status::OK)
}

/// A map that is not there reads as empty.
fn get_map(mut caller: Caller<'_, Vm>, kind: u32, data: u32, len: u32) -> Answer {
    let pairs = caller.data_mut().map(kind).cloned().unwrap_or_default();
    give(&mut caller, &encode(&pairs), data, len)?;
    Ok(status::OK)
}

/// Unlike all its entries, one entry of a map that is not there is a fault of the caller's.
fn get_map_value(
    mut caller: Caller<'_, Vm>,
    kind: u32,
    name: u32,
    size: u32,
    data: u32,
    len: u32,
) -> Answer {
    let name = text(&caller, name, size)?;
    let Some(map) = caller.data_mut().map(kind) else {
        return Ok(status::BAD_ARGUMENT);
    };
    let Some((_, value)) = map.iter().find(|(known, _)| *known == name).cloned() else {
        return Ok(status::NOT_FOUND);
    };
    give(&mut caller, &value, data, len)?;
    Ok(status::OK)
}

fn add_map_value(
    mut caller: Caller<'_, Vm>,
    kind: u32,
    name: u32,
    size: u32,
    data: u32,
    len: u32,
) -> Answer {
    let entry = (text(&caller, name, size)?, read(&caller, data, len)?);
    let Some(map) = caller.data_mut().map(kind) else {
        return Ok(status::BAD_ARGUMENT);
    };
    map.push(entry);
    Ok(status::OK)
}

fn replace_map_value(
    mut caller: Caller<'_, Vm>,
    kind: u32,
    name: u32,
    size: u32,
    data: u32,
    len: u32,
) -> Answer {
    let name = text(&caller, name, size)?;
    let value = read(&caller, data, len)?;
    let Some(map) = caller.data_mut().map(kind) else {
        return Ok(status::BAD_ARGUMENT);
    };
    map.retain(|(known, _)| *known != name);
    map.push((name, value));
    Ok(status::OK)
}

/// Lets the paused request of the effective context go on; its headers are out of reach then.
fn continue_stream(mut caller: Caller<'_, Vm>, _kind: u32) -> Answer {
    let context = caller.data_mut().current();
    context.resumed += 1;
    context.request = None;
    Ok(status::OK)
}

fn close_stream(mut caller: Caller<'_, Vm>, _kind: u32) -> Answer {
    caller.data_mut().current().closed = true;
    Ok(status::OK)
}

fn send_local_response(
    mut caller: Caller<'_, Vm>,
    code: u32,
    _details: u32,
    _details_size: u32,
    body: u32,
    body_size: u32,
    headers: u32,
    headers_size: u32,
    grpc_status: i32,
) -> Answer {
    let response = LocalResponse {
        status: code,
        grpc_status,
        headers: decode(&read(&caller, headers, headers_size)?),
        body: read(&caller, body, body_size)?,
    };
    caller.data_mut().current().responses.push(response);
    Ok(status::OK)
}

fn http_call(
    mut caller: Caller<'_, Vm>,
    cluster: u32,
    cluster_size: u32,
    headers: u32,
    headers_size: u32,
    body: u32,
    body_size: u32,
    _trailers: u32,
    _trailers_size: u32,
    timeout_millis: u32,
    return_token: u32,
) -> Answer {
    let token = caller.data().process.borrow().tokens + 1;
    let call = HttpCall {
        token,
        context: caller.data().effective,
        cluster: text(&caller, cluster, cluster_size)?,
        headers: decode(&read(&caller, headers, headers_size)?),
        body: read(&caller, body, body_size)?,
        timeout_millis,
    };
    let vm = caller.data_mut();
    if vm.dispatch_status != status::OK {
        return Ok(vm.dispatch_status);
    }
    vm.process.borrow_mut().tokens = token;
    vm.calls.push(call);
    write(&mut caller, return_token, &token.to_le_bytes())?;
    Ok(status::OK)
}
