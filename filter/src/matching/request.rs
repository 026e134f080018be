//! The view of a request that matching needs. It asks the host as little as the rules allow, and
//! never assumes that a value is UTF-8.

use std::borrow::Cow;
use std::cell::{OnceCell, RefCell};
use std::net::IpAddr;

use super::address::parse_address;
use super::pairs;

/// What the host knows of a request. Each question is a call out of the VM, the dearest thing that
/// a request can ask for.
pub trait Host {
    /// The header map with lower-case names, including `:method`, `:authority` and `:path`.
    fn headers(&self) -> Vec<(String, Vec<u8>)>;

    /// A property by its path, such as `["source", "address"]`; `None` when the host lacks it. One
    /// that is a number or a flag is its text, see [`super::Attribute`].
    fn property(&self, path: &[String]) -> Option<Vec<u8>>;
}

/// A request as its host shows it. The host is asked when a rule first needs the answer, and for
/// each thing at most once.
pub struct Request<'a> {
    host: &'a dyn Host,
    headers: OnceCell<Vec<(String, Vec<u8>)>>,
    properties: RefCell<Vec<Property>>,
}

/// What the host said of a property: its path and its value.
type Property = (Vec<String>, Option<Vec<u8>>);

impl<'a> Request<'a> {
    /// A view of the request that `host` knows; nothing is asked yet.
    pub fn new(host: &'a dyn Host) -> Self {
        Self {
            host,
            headers: OnceCell::new(),
            properties: RefCell::default(),
        }
    }

    /// The method in upper case, as some upstreams read it: a client gains neither a way past a rule
    /// nor a counter by `post`, which Envoy lets pass on HTTP/2.
    pub fn method(&self) -> Option<Cow<'_, [u8]>> {
        let method = self.first(":method")?;
        Some(if method.iter().any(u8::is_ascii_lowercase) {
            method.to_ascii_uppercase().into()
        } else {
            method.into()
        })
    }

    /// The host without its port and without the dot that ends a fully qualified name, in lower
    /// case, so that a client gains no second counter by spelling the name differently.
    pub fn host(&self) -> Option<Cow<'_, [u8]>> {
        let host = without_port(self.first(":authority")?);
        let host = host.strip_suffix(b".").unwrap_or(host);
        Some(if host.iter().any(u8::is_ascii_uppercase) {
            Cow::Owned(host.to_ascii_lowercase())
        } else {
            Cow::Borrowed(host)
        })
    }

    /// The path without its query and fragment.
    pub fn path(&self) -> Option<&[u8]> {
        let target = self.first(":path")?;
        target.split(|byte| matches!(byte, b'?' | b'#')).next()
    }

    /// What an upstream may read in the header `name` (lower case): each of its values and, where
    /// there are several, all of them in their order, joined with `,`. An empty value is present.
    pub fn header_readings<'s>(&'s self, name: &str) -> impl Iterator<Item = Cow<'s, [u8]>> {
        let several = self.header_values(name).nth(1).is_some();
        let joined = several.then(|| {
            let values: Vec<&[u8]> = self.header_values(name).collect();
            Cow::Owned(values.join(&b','))
        });
        self.header_values(name).map(Cow::Borrowed).chain(joined)
    }

    /// The values of a parameter of the query, in their order, decoded as forms are.
    pub fn parameters<'s>(&'s self, name: &'s str) -> impl Iterator<Item = Cow<'s, [u8]>> {
        let query = self.query().into_iter();
        query.flat_map(move |query| pairs::parameters(query, name))
    }

    /// The values of a cookie, in their order, decoded.
    pub fn cookies<'s>(&'s self, name: &'s str) -> impl Iterator<Item = Cow<'s, [u8]>> {
        let headers = self.header_values("cookie");
        headers.flat_map(move |header| pairs::cookies(header, name))
    }

    /// A property, see [`Host::property`].
    pub fn property(&self, path: &[String]) -> Option<Vec<u8>> {
        let mut known = self.properties.borrow_mut();
        if let Some((_, value)) = known.iter().find(|(asked, _)| asked == path) {
            return value.clone();
        }
        let value = self.host.property(path);
        known.push((path.to_vec(), value.clone()));
        value
    }

    /// Envoy's trusted address of the client, if known.
    pub fn client_ip(&self) -> Option<IpAddr> {
        let address = self.property(&["source".to_owned(), "address".to_owned()])?;
        parse_address(&address)
    }

    /// What stands between the first `?` and the fragment.
    fn query(&self) -> Option<&[u8]> {
        let target = self.first(":path")?;
        let target = target.split(|byte| *byte == b'#').next()?;
        target.splitn(2, |byte| *byte == b'?').nth(1)
    }

    fn first(&self, name: &str) -> Option<&[u8]> {
        self.header_values(name).next()
    }

    /// The values of the header `name` (lower case) in their order, not joined.
    pub fn header_values<'s>(&'s self, name: &str) -> impl Iterator<Item = &'s [u8]> {
        self.headers
            .get_or_init(|| self.host.headers())
            .iter()
            .filter(move |(header, _)| header == name)
            .map(|(_, value)| value.as_slice())
    }
}

/// Whether a request with this `content-type` is gRPC by Envoy's own test: `application/grpc` or
/// `application/grpc+proto` and the like, but not gRPC-Web, which has other content types.
pub fn is_grpc(content_type: &[u8]) -> bool {
    let suffix = content_type.strip_prefix(b"application/grpc");
    suffix.is_some_and(|suffix| suffix.is_empty() || suffix.starts_with(b"+"))
}

/// Cuts `:port` off. The colons inside the brackets of an IPv6 literal are not a port's.
fn without_port(authority: &[u8]) -> &[u8] {
    match authority.iter().rposition(|&byte| byte == b':') {
        Some(colon) if !authority.ends_with(b"]") => authority.get(..colon).unwrap_or(authority),
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::FakeHost;

    fn host_of(authority: &str) -> Vec<u8> {
        let host = FakeHost::with_headers(&[(":authority", authority)]);
        Request::new(&host).host().unwrap().into_owned()
    }

    #[test]
    fn a_host_is_compared_without_case_port_or_final_dot() {
        for authority in [
            "api.example.com",
            "API.Example.Com:8443",
            "api.example.com.",
            "api.example.com.:80",
        ] {
            assert_eq!(host_of(authority), b"api.example.com", "{authority}");
        }
        assert_eq!(host_of("[2001:DB8::1]:443"), b"[2001:db8::1]");
        assert_eq!(host_of("[2001:db8::1]"), b"[2001:db8::1]");
        assert_eq!(host_of(""), b"");
    }

    #[test]
    fn a_path_ends_before_its_query() {
        for (target, path) in [
            ("/a/b?c=/d?e", "/a/b"),
            ("/a", "/a"),
            ("?", ""),
            ("", ""),
            ("/a#b?c", "/a"),
        ] {
            let host = FakeHost::with_headers(&[(":path", target)]);
            let request = Request::new(&host);
            assert_eq!(request.path(), Some(path.as_bytes()), "{target}");
        }
    }

    #[test]
    fn a_repeated_header_is_each_of_its_values_and_all_of_them_joined() {
        let mut host = FakeHost::with_headers(&[("x", "1"), ("y", ""), ("x", "2"), ("x", "3")]);
        host.headers[2].1 = b"\xff".to_vec();
        let request = Request::new(&host);
        let readings = |name| request.header_readings(name).collect::<Vec<_>>();
        let expected: [&[u8]; 4] = [b"1", b"\xff", b"3", b"1,\xff,3"];
        assert_eq!(readings("x"), expected);
        assert_eq!(readings("y"), [b"".as_slice()]);
        assert!(readings("z").is_empty());
    }

    #[test]
    fn grpc_is_what_envoy_takes_for_grpc() {
        for (content_type, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc-web+proto", false),
            ("application/grpcx", false),
            ("application/json", false),
            ("", false),
        ] {
            assert_eq!(is_grpc(content_type.as_bytes()), expected, "{content_type}");
        }
    }

    #[test]
    fn what_the_request_lacks_is_none() {
        let host = FakeHost::default();
        let request = Request::new(&host);
        assert_eq!(request.method(), None);
        assert_eq!(request.host(), None);
        assert_eq!(request.path(), None);
        assert_eq!(request.client_ip(), None);
    }

    /// HTTP/2 lets it pass as it is, and HTTP/1 does not.
    #[test]
    fn a_method_is_the_same_in_any_case() {
        let host = FakeHost::with_headers(&[(":method", "pOsT")]);
        assert_eq!(Request::new(&host).method().as_deref(), Some(&b"POST"[..]));
    }

    #[test]
    fn the_host_is_asked_for_each_thing_at_most_once() {
        let host =
            FakeHost::with_headers(&[(":path", "/")]).property("source.address", "192.0.2.1:9");
        let request = Request::new(&host);
        assert!(host.asked.borrow().is_empty(), "nobody needed anything yet");
        for _ in 0..2 {
            assert_eq!(request.path(), Some(b"/".as_slice()));
            assert_eq!(request.header_values("x").next(), None);
            assert!(request.client_ip().is_some());
            assert_eq!(request.property(&["absent".to_owned()]), None);
        }
        assert_eq!(
            *host.asked.borrow(),
            ["headers", "source.address", "absent"]
        );
    }
}
