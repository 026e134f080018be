//! One HTTP request.

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, GrpcStatusCode, MapType};

use super::host;
use super::limiter::{Fate, Limiter, SharedLimiter, borrow, carry_out};
use crate::answer::{Answer, GrpcStatus, is_list, yields};
use crate::engine::Step;
use crate::matching::{Request, is_grpc};

pub(super) struct LimiterHttp {
    context_id: u32,
    /// `None` only when the root was never configured; then every request passes.
    limiter: Option<SharedLimiter>,
}

impl LimiterHttp {
    pub(super) const fn new(context_id: u32, limiter: Option<SharedLimiter>) -> Self {
        Self {
            context_id,
            limiter,
        }
    }

    fn with_limiter<T>(&self, event: impl FnOnce(&mut Limiter) -> T) -> Option<T> {
        let mut limiter = borrow(self.limiter.as_ref()?)?;
        let outcome = event(&mut limiter);
        carry_out(&mut limiter);
        Some(outcome)
    }
}

impl Context for LimiterHttp {}

impl HttpContext for LimiterHttp {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        let stream = self.context_id;
        let action = self.with_limiter(|limiter| {
            let now = limiter.now();
            let request = Request::new(&host::CurrentRequest);
            match limiter.engine.request(stream, &request, now) {
                Step::Pass => Action::Continue,
                Step::Wait => Action::Pause,
                Step::Done(verdict) => match limiter.conclude(stream, verdict) {
                    Fate::Passes => Action::Continue,
                    Fate::Answered => Action::Pause,
                },
            }
        });
        action.unwrap_or(Action::Continue)
    }

    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        let map = MapType::HttpResponseHeaders;
        let fields = self
            .with_limiter(|limiter| limiter.take_fields(self.context_id))
            .flatten();
        let mut fields = fields.unwrap_or_default();
        if yields(&fields, || host::headers(map)) {
            fields.retain(|(name, _)| is_list(name));
        }
        for (name, value) in fields {
            let _ = if is_list(name) {
                hostcalls::add_map_value(map, name, &value)
            } else {
                hostcalls::set_map_value(map, name, Some(&value))
            };
        }
        Action::Continue
    }
}

/// The host deletes the context of every stream that ends, however it ends.
impl Drop for LimiterHttp {
    fn drop(&mut self) {
        let stream = self.context_id;
        self.with_limiter(|limiter| {
            limiter.engine.stream_ended(stream);
            limiter.take_fields(stream);
        });
    }
}

/// Answers the current stream here, in the way of gRPC when that is what it speaks.
pub(super) fn send(answer: &Answer) {
    let fields = answer.headers.iter();
    let fields = fields.map(|(name, value)| (name.as_ref(), value.as_str()));
    if is_grpc(&host::request_header("content-type").unwrap_or_default()) {
        let status = match answer.grpc_status {
            GrpcStatus::ResourceExhausted => GrpcStatusCode::ResourceExhausted,
            GrpcStatus::Unavailable => GrpcStatusCode::Unavailable,
        };
        let metadata = fields.filter(|(name, _)| *name != "content-type");
        let metadata = metadata.map(|(name, value)| (name, value.as_bytes()));
        let _ = hostcalls::send_grpc_response(status, None, metadata.collect());
    } else {
        let body = Some(answer.body.as_bytes());
        let _ = hostcalls::send_http_response(answer.status, fields.collect(), body);
    }
}
