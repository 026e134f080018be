//! Envoy's attributes that are no texts. Envoy hands over their bytes without their type, which is
//! known only from its documentation; rules and keys have them as text.

/// What an attribute is, when it is no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attribute {
    /// A whole number: 8 bytes, the least first.
    Number,
    /// True or false: one byte.
    Flag,
}

/// The numbers that a request can have. One text, since a table costs the module four times as much.
const NUMBERS: &str = "connection.id destination.port request.headers_bytes request.size \
    request.total_size source.port upstream.num_endpoints upstream.port \
    upstream.request_attempt_count xds.listener_direction";
/// The flags.
const FLAGS: &str = "connection.mtls";
/// Those that rules look at the most, beside the numbers and flags: what Envoy's documents write with
/// a dot are two parts of a path.
const TEXTS: &str = "connection.requested_server_name connection.tls_version \
    connection.uri_san_peer_certificate destination.address metadata.filter_metadata request.headers \
    request.host request.method request.path request.protocol request.query request.scheme \
    request.url_path request.useragent source.address upstream.address xds.cluster_name \
    xds.filter_chain_name xds.listener_metadata xds.route_metadata xds.route_name \
    xds.virtual_host_name";

impl Attribute {
    /// What the attribute of a path is; `None` for a text, and for all that nobody knows.
    #[inline(never)]
    pub fn of(path: &[String]) -> Option<Self> {
        let path = path.join(".");
        let is_path = |name: &str| name == path;
        if any(NUMBERS, &is_path) {
            return Some(Self::Number);
        }
        any(FLAGS, &is_path).then_some(Self::Flag)
    }

    /// Whether this one part is an attribute's whole name, or begins with one: Envoy finds nothing
    /// under it. (What another filter has set may have dots in its name.)
    pub fn is_dotted(part: &str) -> bool {
        let begins = |name: &str| {
            let rest = part.strip_prefix(name);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        [NUMBERS, FLAGS, TEXTS]
            .iter()
            .any(|names| any(names, &begins))
    }

    /// The text of what Envoy hands over for a path: `8080`, `true`. Bytes that are not what they
    /// should be stay as they are.
    pub fn text(path: &[String], bytes: Vec<u8>) -> Vec<u8> {
        let text = match (Self::of(path), &*bytes) {
            (Some(Self::Number), bytes) => {
                let number = bytes.try_into().map(u64::from_le_bytes);
                number.map(|it| it.to_string()).ok()
            }
            (Some(Self::Flag), [flag @ (0 | 1)]) => Some((*flag == 1).to_string()),
            _ => None,
        };
        text.map_or(bytes, String::into_bytes)
    }
}

#[inline(never)]
fn any(names: &str, fits: &dyn Fn(&str) -> bool) -> bool {
    names.split(' ').any(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &str, bytes: &[u8]) -> Vec<u8> {
        let path: Vec<String> = path.split('.').map(Into::into).collect();
        Attribute::text(&path, bytes.to_vec())
    }

    #[test]
    fn a_number_and_a_flag_become_text() {
        for (number, expected) in [(0, "0"), (8080, "8080"), (u64::MAX, "18446744073709551615")] {
            let bytes = number.to_le_bytes();
            assert_eq!(text("source.port", &bytes), expected.as_bytes());
        }
        assert_eq!(text("connection.mtls", &[0]), b"false");
        assert_eq!(text("connection.mtls", &[1]), b"true");
    }

    #[test]
    fn all_else_stays_as_it_is() {
        let eight = b"\x90\x1f\0\0\0\0\0\0";
        for path in ["source.address", "source", "source.port.x", "port.source"] {
            assert_eq!(text(path, eight), eight, "{path}");
        }
        for bytes in [b"".as_slice(), b"8080", b"123456789"] {
            assert_eq!(text("source.port", bytes), bytes);
        }
        for bytes in [b"".as_slice(), b"\x02", b"\x01\0"] {
            assert_eq!(text("connection.mtls", bytes), bytes);
        }
    }
}
