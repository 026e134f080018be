//! The view of a request that matching needs. It borrows Envoy's header map and never assumes
//! that a value is UTF-8.

use std::borrow::Cow;
use std::net::IpAddr;

/// A request as Envoy shows it: the header map with lower-case names, including `:method`,
/// `:authority` and `:path`, and the client's address when the configuration needs it.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    headers: &'a [(String, Vec<u8>)],
    client_ip: Option<IpAddr>,
}

impl<'a> Request<'a> {
    /// A view of `headers`. `client_ip` may be `None` when it is unknown, or when
    /// [`needs_client_ip`](crate::config::Config::needs_client_ip) says that nobody will ask.
    pub const fn new(headers: &'a [(String, Vec<u8>)], client_ip: Option<IpAddr>) -> Self {
        Self { headers, client_ip }
    }

    /// The method, in the case it was sent.
    pub fn method(&self) -> Option<&'a [u8]> {
        self.first(":method")
    }

    /// The host without its port and without the dot that ends a fully qualified name, in lower
    /// case, so that a client gains no second counter by spelling the name differently.
    pub fn host(&self) -> Option<Cow<'a, [u8]>> {
        let host = without_port(self.first(":authority")?);
        let host = host.strip_suffix(b".").unwrap_or(host);
        Some(if host.iter().any(u8::is_ascii_uppercase) {
            Cow::Owned(host.to_ascii_lowercase())
        } else {
            Cow::Borrowed(host)
        })
    }

    /// The path without its query and fragment.
    pub fn path(&self) -> Option<&'a [u8]> {
        let target = self.first(":path")?;
        target.split(|byte| matches!(byte, b'?' | b'#')).next()
    }

    /// The value of the header `name` (lower case). The values of a repeated header are joined
    /// with `,` in their order, as Envoy's own matchers do. An empty value is present.
    pub fn header(&self, name: &str) -> Option<Cow<'a, [u8]>> {
        let mut values = self.values(name);
        let first = values.next()?;
        let Some(second) = values.next() else {
            return Some(Cow::Borrowed(first));
        };
        let mut joined = [first, second].join(&b',');
        for value in values {
            joined.push(b',');
            joined.extend_from_slice(value);
        }
        Some(Cow::Owned(joined))
    }

    /// The address of the client, if known.
    pub const fn client_ip(&self) -> Option<IpAddr> {
        self.client_ip
    }

    fn first(&self, name: &str) -> Option<&'a [u8]> {
        self.values(name).next()
    }

    fn values(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.headers
            .iter()
            .filter(move |(header, _)| header == name)
            .map(|(_, value)| value.as_slice())
    }
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

    fn headers(pairs: &[(&str, &[u8])]) -> Vec<(String, Vec<u8>)> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.to_vec()))
            .collect()
    }

    fn host_of(authority: &str) -> Vec<u8> {
        let map = headers(&[(":authority", authority.as_bytes())]);
        Request::new(&map, None).host().unwrap().into_owned()
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
            let map = headers(&[(":path", target.as_bytes())]);
            assert_eq!(
                Request::new(&map, None).path(),
                Some(path.as_bytes()),
                "{target}"
            );
        }
    }

    #[test]
    fn a_repeated_header_is_one_value_joined_with_commas() {
        let map = headers(&[("x", b"1"), ("y", b""), ("x", b"\xff"), ("x", b"3")]);
        let request = Request::new(&map, None);
        assert_eq!(request.header("x").as_deref(), Some(b"1,\xff,3".as_slice()));
        assert_eq!(request.header("y").as_deref(), Some(b"".as_slice()));
        assert_eq!(request.header("z"), None);
    }

    #[test]
    fn what_the_request_lacks_is_none() {
        let request = Request::new(&[], None);
        assert_eq!(request.method(), None);
        assert_eq!(request.host(), None);
        assert_eq!(request.path(), None);
        assert_eq!(request.client_ip(), None);
    }
}
