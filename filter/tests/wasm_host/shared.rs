//! Host calls on what all VMs of the process share: data, queues and metrics.
#![expect(clippy::too_many_arguments, reason = "the ABI has as many")]

use std::collections::VecDeque;

use wasmi::errors::LinkerError;
use wasmi::{Caller, Linker};

use super::abi::Answer;
use super::memory::{give, read, text, write};
use super::state::{Metric, MetricKind, Queue, Vm, status};

pub(super) fn link(linker: &mut Linker<Vm>) -> Result<(), LinkerError> {
    linker
        .func_wrap("env", "proxy_get_shared_data", get_data)?
        .func_wrap("env", "proxy_set_shared_data", set_data)?
        .func_wrap("env", "proxy_register_shared_queue", register_queue)?
        .func_wrap("env", "proxy_enqueue_shared_queue", enqueue)?
        .func_wrap("env", "proxy_dequeue_shared_queue", dequeue)?
        .func_wrap("env", "proxy_define_metric", define_metric)?
        .func_wrap("env", "proxy_increment_metric", increment_metric)?
        .func_wrap("env", "proxy_record_metric", record_metric)?;
    Ok(())
}

fn get_data(
    mut caller: Caller<'_, Vm>,
    key: u32,
    key_size: u32,
    data: u32,
    size: u32,
    cas: u32,
) -> Answer {
    let key = read(&caller, key, key_size)?;
    let entry = caller.data().process.borrow().data.get(&key).cloned();
    let Some((value, version)) = entry else {
        return Ok(status::NOT_FOUND);
    };
    give(&mut caller, &value, data, size)?;
    write(&mut caller, cas, &version.to_le_bytes())?;
    Ok(status::OK)
}

/// A version that does not match is refused; 0 matches all, and so does any while there is no
/// such key.
fn set_data(
    caller: Caller<'_, Vm>,
    key: u32,
    key_size: u32,
    data: u32,
    size: u32,
    cas: u32,
) -> Answer {
    let (key, value) = (read(&caller, key, key_size)?, read(&caller, data, size)?);
    let mut process = caller.data().process.borrow_mut();
    let version = process.data.get(&key).map_or(0, |(_, version)| *version);
    if version != 0 && cas != 0 && cas != version {
        return Ok(status::CAS_MISMATCH);
    }
    process.data.insert(key, (value, version + 1));
    Ok(status::OK)
}

fn register_queue(mut caller: Caller<'_, Vm>, name: u32, size: u32, id: u32) -> Answer {
    let name = read(&caller, name, size)?;
    let (worker, root) = (caller.data().number, caller.data().effective);
    let number = {
        let mut process = caller.data().process.borrow_mut();
        let known = process.queues.iter().position(|queue| queue.name == name);
        let place = known.unwrap_or(process.queues.len());
        if known.is_none() {
            let messages = VecDeque::new();
            process.queues.push(Queue {
                name,
                worker,
                root,
                messages,
                wakes: 0,
            });
        }
        let queue = &mut process.queues[place];
        (queue.worker, queue.root) = (worker, root);
        place as u32 + 1
    };
    write(&mut caller, id, &number.to_le_bytes())?;
    Ok(status::OK)
}

fn enqueue(caller: Caller<'_, Vm>, id: u32, data: u32, size: u32) -> Answer {
    let message = read(&caller, data, size)?;
    let mut process = caller.data().process.borrow_mut();
    let Some(queue) = process.queues.get_mut((id as usize).wrapping_sub(1)) else {
        return Ok(status::NOT_FOUND);
    };
    queue.messages.push_back(message);
    queue.wakes += 1;
    Ok(status::OK)
}

fn dequeue(mut caller: Caller<'_, Vm>, id: u32, data: u32, size: u32) -> Answer {
    let message = {
        let mut process = caller.data().process.borrow_mut();
        let Some(queue) = process.queues.get_mut((id as usize).wrapping_sub(1)) else {
            return Ok(status::NOT_FOUND);
        };
        queue.messages.pop_front()
    };
    let Some(message) = message else {
        return Ok(status::EMPTY);
    };
    give(&mut caller, &message, data, size)?;
    Ok(status::OK)
}

/// Metrics of all VMs with one name are one metric.
fn define_metric(mut caller: Caller<'_, Vm>, kind: u32, name: u32, size: u32, id: u32) -> Answer {
    let name = text(&caller, name, size)?;
    let kind = match kind {
        0 => MetricKind::Counter,
        1 => MetricKind::Gauge,
        2 => MetricKind::Histogram,
        _ => return Ok(status::BAD_ARGUMENT),
    };
    let number = {
        let mut process = caller.data().process.borrow_mut();
        process.definitions += 1;
        let metrics = &mut process.metrics;
        let known = metrics
            .iter()
            .position(|metric| metric.name == name && metric.kind == kind);
        let place = known.unwrap_or(metrics.len());
        if known.is_none() {
            metrics.push(Metric {
                name,
                kind,
                value: 0,
            });
        }
        place as u32 + 1
    };
    write(&mut caller, id, &number.to_le_bytes())?;
    Ok(status::OK)
}

fn increment_metric(caller: Caller<'_, Vm>, id: u32, offset: i64) -> Answer {
    change_metric(&caller, id, |metric| match metric.kind {
        MetricKind::Counter if offset < 0 => status::BAD_ARGUMENT,
        MetricKind::Histogram => status::BAD_ARGUMENT,
        MetricKind::Counter | MetricKind::Gauge => {
            metric.value += offset;
            status::OK
        }
    })
}

fn record_metric(caller: Caller<'_, Vm>, id: u32, value: u64) -> Answer {
    change_metric(&caller, id, |metric| {
        match metric.kind {
            MetricKind::Counter => metric.value += value as i64,
            MetricKind::Gauge => metric.value = value as i64,
            MetricKind::Histogram => metric.value += 1,
        }
        status::OK
    })
}

fn change_metric(
    caller: &Caller<'_, Vm>,
    id: u32,
    change: impl FnOnce(&mut Metric) -> u32,
) -> Answer {
    let mut process = caller.data().process.borrow_mut();
    let metric = process.metrics.get_mut((id as usize).wrapping_sub(1));
    Ok(metric.map_or(status::NOT_FOUND, change))
}
