//! The bridge: HTTP/1.1 on one side, RESP on the other, inside one Envoy.
//!
//! proxy-wasm lets a filter call out over HTTP only. The call goes to an internal listener of the
//! same Envoy, where a network filter with this [`Session`] for a brain takes the body, raw RESP
//! commands, out of the call, and wraps the raw replies into the call's answer. What stands behind
//! it, `redis_proxy` or `tcp_proxy`, sees nothing but RESP.
//!
//! Replies carry no name of the call they belong to; only their order tells. So the session
//! forwards a call only if its body is exactly the stated number of whole commands, and at the
//! first reply that is malformed, oversized or one too many it is over: what a confused store says
//! next is never credited to a later call.

mod answer;
mod call;
mod session;
#[cfg(test)]
mod tests;

pub use answer::{Fault, Refusal};
pub use session::{Downstream, Session, Upstream};

/// The request header that says how many commands the body holds, and so how many replies to wait
/// for; 1 to [`MAX_REPLIES`].
pub const REPLIES_HEADER: &str = "x-velocitygate-replies";

/// The response header that names a [`Refusal`] (status 400) or a [`Fault`] (status 502).
pub const FAULT_HEADER: &str = "x-velocitygate-bridge";

/// Commands of the largest call.
pub const MAX_REPLIES: usize = 1024;

/// Bytes of the longest head of a call, from `POST` to the empty line. Envoy adds some
/// `x-envoy-*` and tracing headers to the few that we set.
pub const MAX_HEAD_BYTES: usize = 8 * 1024;

/// Bytes of the longest body of a call: what Envoy buffers for a connection by default.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;

/// Bytes of all replies to one call together: what Envoy buffers for a connection by default.
pub const MAX_ANSWER_BYTES: usize = 1024 * 1024;
