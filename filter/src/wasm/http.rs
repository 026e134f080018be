//! One HTTP request.

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, GrpcStatusCode, MapType};

use super::host;
use super::limiter::{Fate, Limiter, SharedLimiter, carry_out};
use crate::answer::Answer;
use crate::engine::Step;
use crate::matching::{Request, parse_address};

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
        let mut limiter = self.limiter.as_ref()?.try_borrow_mut().ok()?;
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
            let headers = host::request_headers();
            let client_ip = limiter
                .config
                .needs_client_ip()
                .then(|| host::property(&["source", "address"]))
                .flatten()
                .and_then(|address| parse_address(&address));
            let now = limiter.now();
            match limiter
                .engine
                .request(stream, &Request::new(&headers, client_ip), now)
            {
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
        let fields = self
            .with_limiter(|limiter| limiter.take_fields(self.context_id))
            .flatten();
        for (name, value) in fields.unwrap_or_default() {
            let _ = hostcalls::set_map_value(MapType::HttpResponseHeaders, name, Some(&value));
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

/// Answers the current stream here.
pub(super) fn send(answer: &Answer) {
    let headers = || {
        answer
            .headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
    };
    if is_grpc() {
        let status = if answer.grpc_status == 8 {
            GrpcStatusCode::ResourceExhausted
        } else {
            GrpcStatusCode::Unavailable
        };
        let metadata = headers().filter(|(name, _)| *name != "content-type");
        let metadata = metadata
            .map(|(name, value)| (name, value.as_bytes()))
            .collect();
        let _ = hostcalls::send_grpc_response(status, None, metadata);
    } else {
        let body = Some(answer.body.as_bytes());
        let _ = hostcalls::send_http_response(answer.status, headers().collect(), body);
    }
}

fn is_grpc() -> bool {
    hostcalls::get_map_value_bytes(MapType::HttpRequestHeaders, "content-type")
        .ok()
        .flatten()
        .is_some_and(|value| value.starts_with(b"application/grpc"))
}
