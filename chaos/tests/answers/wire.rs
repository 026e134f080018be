//! A connection of HTTP/1 on which every byte is the test's own.

use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use velocitygate_chaos::stack::KEY_HEADER;

use crate::common::{Running, Seen};

const DEADLINE: Duration = Duration::from_secs(30);

/// Header fields of an answer at most.
const FIELDS_MAX: usize = 64;

pub(crate) struct Wire {
    pub(crate) stream: TcpStream,
    unread: Vec<u8>,
}

impl Wire {
    pub(crate) async fn to(running: &Running) -> Self {
        let front = running.envoys()[0].ports().front;
        Self::over(TcpStream::connect(front).await.unwrap())
    }

    pub(crate) fn over(stream: TcpStream) -> Self {
        let unread = Vec::new();
        Self { stream, unread }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Reads one answer, with a body if its head announces one. An interim one (`100`) is one, too.
    pub(crate) async fn answer(&mut self) -> Seen {
        let mut seen = self.head().await;
        assert!(!seen.headers.contains_key("transfer-encoding"), "{seen:?}");
        let length = seen.header("content-length").parse().unwrap_or(0);
        while self.unread.len() < length {
            assert!(self.read().await > 0, "the body of {seen:?} was cut");
        }
        let body = self.unread.drain(..length).collect();
        seen.body = String::from_utf8(body).unwrap();
        seen
    }

    /// Reads the head of an answer, which is all there is of one to a HEAD request.
    pub(crate) async fn head(&mut self) -> Seen {
        loop {
            let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
            let mut parsed = httparse::Response::new(&mut fields);
            if let httparse::Status::Complete(size) = parsed.parse(&self.unread).unwrap() {
                let headers = parsed.headers.iter().map(|field| {
                    let name: HeaderName = field.name.parse().unwrap();
                    (name, HeaderValue::from_bytes(field.value).unwrap())
                });
                let seen = Seen {
                    status: parsed.code.unwrap(),
                    headers: HeaderMap::from_iter(headers),
                    body: String::new(),
                };
                self.unread.drain(..size);
                return seen;
            }
            assert!(self.read().await > 0, "closed before an answer");
        }
    }

    /// Reads exactly this many bytes of what follows a `101`.
    pub(crate) async fn bytes(&mut self, count: usize) -> Vec<u8> {
        while self.unread.len() < count {
            assert!(self.read().await > 0, "closed early");
        }
        self.unread.drain(..count).collect()
    }

    /// Whether the peer closes without another word.
    pub(crate) async fn closes(&mut self) -> bool {
        self.read().await == 0 && self.unread.is_empty()
    }

    /// Bytes read; 0 at the end, however the connection came to it.
    async fn read(&mut self) -> usize {
        let read = self.stream.read_buf(&mut self.unread);
        timeout(DEADLINE, read).await.expect("in time").unwrap_or(0)
    }
}

/// The head of a request, whose other fields are `more` (each ends its line).
pub(crate) fn request(line: &str, key: &str, more: &str) -> String {
    format!("{line}\r\nhost: a\r\n{KEY_HEADER}: {key}\r\n{more}\r\n")
}
