//! The head of a call, as Envoy's HTTP/1.1 client writes it.

use super::{MAX_BODY_BYTES, MAX_HEAD_BYTES, MAX_REPLIES, REPLIES_HEADER, Refusal};

/// Headers of the largest head.
const MAX_HEADERS: usize = 64;

/// What the bridge needs to know of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Call {
    /// Bytes from the start of the call to its body.
    pub(super) head_bytes: usize,
    /// Bytes of the body, 1 to [`MAX_BODY_BYTES`].
    pub(super) body_bytes: usize,
    /// Commands in the body, 1 to [`MAX_REPLIES`].
    pub(super) replies: usize,
}

impl Call {
    /// Reads the head at the start of `input`; `None` while it is not all there.
    pub(super) fn read(input: &[u8]) -> Result<Option<Self>, Refusal> {
        let window = input.get(..MAX_HEAD_BYTES).unwrap_or(input);
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        let head_bytes = match request.parse(window) {
            Ok(httparse::Status::Complete(bytes)) => bytes,
            Ok(httparse::Status::Partial) if window.len() < MAX_HEAD_BYTES => return Ok(None),
            Ok(httparse::Status::Partial) | Err(_) => return Err(Refusal::Head),
        };
        if (request.method, request.path, request.version) != (Some("POST"), Some("/"), Some(1)) {
            return Err(Refusal::RequestLine);
        }
        if named(request.headers, "transfer-encoding").next().is_some() {
            return Err(Refusal::TransferEncoding);
        }
        let body_bytes = number(request.headers, "content-length", MAX_BODY_BYTES)
            .ok_or(Refusal::ContentLength)?;
        let replies =
            number(request.headers, REPLIES_HEADER, MAX_REPLIES).ok_or(Refusal::Replies)?;
        Ok(Some(Self {
            head_bytes,
            body_bytes,
            replies,
        }))
    }
}

fn named<'a>(headers: &'a [httparse::Header<'a>], name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    headers
        .iter()
        .filter(move |header| header.name.eq_ignore_ascii_case(name))
        .map(|header| header.value)
}

/// The value of a header that must be there once and hold a number from 1 to `max`.
fn number(headers: &[httparse::Header<'_>], name: &str, max: usize) -> Option<usize> {
    let mut values = named(headers, name);
    let value = values.next()?;
    // `parse` alone would take a plus sign, which HTTP does not.
    let digits = value.iter().all(u8::is_ascii_digit);
    let number = str::from_utf8(value).ok()?.parse().ok()?;
    (digits && values.next().is_none() && (1..=max).contains(&number)).then_some(number)
}
