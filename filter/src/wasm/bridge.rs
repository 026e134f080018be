//! The bridge's connections: host buffers in and out of a [`Session`].

use std::sync::atomic::{AtomicBool, Ordering};

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, RootContext, StreamContext};
use proxy_wasm::types::{Action, BufferType, ContextType};

use crate::bridge::{Downstream, Refusal, Session, Upstream};

/// The root of the network filter. It needs no configuration.
pub(super) struct BridgeRoot;

impl Context for BridgeRoot {}

impl RootContext for BridgeRoot {
    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::StreamContext)
    }

    fn create_stream_context(&self, _context_id: u32) -> Option<Box<dyn StreamContext>> {
        Some(Box::new(BridgeStream::default()))
    }
}

#[derive(Default)]
struct BridgeStream {
    session: Session,
}

impl Context for BridgeStream {}

impl StreamContext for BridgeStream {
    fn on_downstream_data(&mut self, size: usize, _end_of_stream: bool) -> Action {
        match self
            .session
            .on_downstream(&buffer(BufferType::DownstreamData, size))
        {
            Downstream::Forward(commands) => {
                replace(BufferType::DownstreamData, size, &commands);
                return Action::Continue;
            }
            Downstream::Wait => replace(BufferType::DownstreamData, size, b""),
            // There is no way to write to the caller from here, so the log must say why.
            Downstream::Refuse(refusal) => {
                warn_once(refusal);
                drop_connection(size);
            }
            Downstream::Close => drop_connection(size),
        }
        Action::Pause
    }

    fn on_upstream_data(&mut self, size: usize, end_of_stream: bool) -> Action {
        let answer = match self
            .session
            .on_upstream(&buffer(BufferType::UpstreamData, size))
        {
            Upstream::Answer(answer) => answer,
            // The answer says `connection: close`, so the caller closes once it has read it.
            Upstream::Fail(fault) => fault.response(),
            Upstream::Wait => Vec::new(),
            // The end of the store closes the connection. If we did, Envoy would forget this context
            // first, and then tell it of that end: a trap.
            Upstream::Close if end_of_stream => Vec::new(),
            Upstream::Close => {
                let _ = hostcalls::close_downstream();
                Vec::new()
            }
        };
        replace(BufferType::UpstreamData, size, &answer);
        Action::Continue
    }
}

/// Only a fault of our own, or a stranger who calls the internal listener, is ever refused: once
/// in the life of a VM tells as much as once a call.
fn warn_once(refusal: Refusal) {
    static WARNED: AtomicBool = AtomicBool::new(false);
    if !WARNED.swap(true, Ordering::Relaxed) {
        log::warn!("{refusal} (said once)");
    }
}

fn drop_connection(size: usize) {
    replace(BufferType::DownstreamData, size, b"");
    let _ = hostcalls::close_downstream();
}

fn buffer(which: BufferType, size: usize) -> Vec<u8> {
    hostcalls::get_buffer(which, 0, size)
        .ok()
        .flatten()
        .unwrap_or_default()
}

fn replace(which: BufferType, size: usize, bytes: &[u8]) {
    let _ = hostcalls::set_buffer(which, 0, size, bytes);
}
