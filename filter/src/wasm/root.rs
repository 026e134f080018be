//! The root of the HTTP filter: it owns every call to Redis, because the SDK drops the answer to a
//! call whose context is gone, and a root never is while its requests live.

use std::cell::RefCell;
use std::rc::Rc;

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{BufferType, ContextType, MapType};

use super::http::LimiterHttp;
use super::limiter::{Limiter, SharedLimiter, borrow, carry_out};
use super::metrics;
use crate::config::Config;
use crate::engine::CallEnd;

pub(super) struct LimiterRoot {
    context_id: u32,
    limiter: Option<SharedLimiter>,
}

impl LimiterRoot {
    pub(super) const fn new(context_id: u32) -> Self {
        Self {
            context_id,
            limiter: None,
        }
    }

    /// Runs one event on the limiter and carries out what comes of it.
    fn with_limiter(&self, event: impl FnOnce(&mut Limiter)) {
        if let Some(mut limiter) = self.limiter.as_ref().and_then(borrow) {
            event(&mut limiter);
            carry_out(&mut limiter);
            limiter.let_go();
        }
    }
}

impl Context for LimiterRoot {
    fn on_http_call_response(&mut self, token: u32, headers: usize, body: usize, _trailers: usize) {
        self.with_limiter(|limiter| {
            let Some(id) = limiter.take_call(token) else {
                return;
            };
            let now = limiter.now();
            let bytes = reply_bytes(body);
            let end = match reply_status(headers).as_deref() {
                Some(b"200") => CallEnd::Replied(&bytes),
                Some(b"504") => CallEnd::TimedOut,
                Some(b"502") => CallEnd::Malformed,
                _ => CallEnd::Unreachable,
            };
            limiter.engine.call_ended(id, end, now);
        });
    }

    fn on_done(&mut self) -> bool {
        let limiter = self.limiter.as_ref().and_then(borrow);
        limiter.is_none_or(|mut limiter| limiter.retire())
    }
}

/// `None` when the call was reset: there are no headers then, and asking for one would trap.
fn reply_status(headers: usize) -> Option<Vec<u8>> {
    if headers == 0 {
        return None;
    }
    hostcalls::get_map_value_bytes(MapType::HttpCallResponseHeaders, ":status")
        .ok()
        .flatten()
}

fn reply_bytes(size: usize) -> Vec<u8> {
    hostcalls::get_buffer(BufferType::HttpCallResponseBody, 0, size)
        .ok()
        .flatten()
        .unwrap_or_default()
}

impl RootContext for LimiterRoot {
    fn on_configure(&mut self, size: usize) -> bool {
        let document = hostcalls::get_buffer(BufferType::PluginConfiguration, 0, size);
        match Config::parse(&document.ok().flatten().unwrap_or_default()) {
            Ok(config) => {
                let limiter = Limiter::new(config, self.context_id);
                self.limiter = limiter.map(|limiter| Rc::new(RefCell::new(limiter)));
                self.limiter.is_some()
            }
            Err(problems) => {
                log::error!("configuration refused: {problems}");
                metrics::count_rejection();
                false
            }
        }
    }

    fn on_queue_ready(&mut self, queue: u32) {
        let _ = hostcalls::dequeue_shared_queue(queue);
        self.with_limiter(|limiter| {
            let now = limiter.now();
            limiter.engine.turn(now);
        });
    }

    fn on_tick(&mut self) {
        self.with_limiter(Limiter::tick);
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(LimiterHttp::new(context_id, self.limiter.clone())))
    }
}
