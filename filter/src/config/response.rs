//! `response`: what a refused request is told instead of the usual.

use super::scalar::{NAME_BYTES_MAX, TEST_VALUE_BYTES_MAX, is_token};
use super::value::Value;

/// The longest body, in bytes: it is sent to everybody who is refused.
pub const BODY_BYTES_MAX: usize = 16_384;
/// The most header fields.
pub const RESPONSE_HEADERS_MAX: usize = 16;

/// What a refused request is told; where it says nothing, the usual.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// 400 to 599; gRPC requests have statuses of their own.
    pub status: Option<u32>,
    /// Plain text unless a header says otherwise; at most [`BODY_BYTES_MAX`]. May be empty.
    pub body: Option<String>,
    /// Names in lower case and values, at most [`RESPONSE_HEADERS_MAX`].
    pub headers: Vec<(String, String)>,
}

/// Fields that Envoy makes itself, or that this filter does.
const RESERVED: [&str; 17] = [
    "connection",
    "content-length",
    "grpc-message",
    "grpc-status",
    "host",
    "keep-alive",
    "proxy-connection",
    "ratelimit",
    "ratelimit-policy",
    "retry-after",
    "transfer-encoding",
    "upgrade",
    "x-envoy-ratelimited",
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
    "x-velocitygate",
];

impl Response {
    pub(super) fn read(value: &Value<'_>) -> Option<Self> {
        value.object(|fields| {
            let status = fields.or("status", Some(None), |value| {
                let status = value.whole(400..=599)?;
                u32::try_from(status).ok().map(Some)
            });
            let body = fields.or("body", Some(None), |value| {
                let body = value.short_text(BODY_BYTES_MAX)?;
                Some(Some(body.to_owned()))
            });
            let headers = fields.or("headers", Vec::new(), |value| {
                value.members((1, RESPONSE_HEADERS_MAX), header)
            });
            Some(Self {
                status: status?,
                body: body?,
                headers: headers?,
            })
        })
    }
}

fn header(name: &str, value: &Value<'_>) -> Option<(String, String)> {
    let allowed = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
    let text = value.text(
        "visible ASCII characters and blanks",
        TEST_VALUE_BYTES_MAX,
        allowed,
    );
    let name = name.to_ascii_lowercase();
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(is_token) {
        return value.refuse("expected this field's name to be that of a header");
    }
    if RESERVED.contains(&name.as_str()) {
        return value.refuse("Envoy or this filter sets this header itself");
    }
    Some((name, text?.to_owned()))
}
