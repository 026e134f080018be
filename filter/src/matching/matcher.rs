//! Which requests a rule counts. Tests are compiled from the configuration once; matching a
//! request allocates only when it sends a header twice or its host in upper case.

use super::Request;

/// The tests of a rule; all of them must hold. The default matches every request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matcher {
    /// The method is one of these, in the same case; empty: any.
    pub methods: Vec<String>,
    /// The host fits one of these; empty: any.
    pub hosts: Vec<HostPattern>,
    /// The path passes this test.
    pub path: Option<PathTest>,
    /// The headers pass all of these.
    pub headers: Vec<HeaderMatch>,
}

/// A test of the host, in lower case, without a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPattern {
    /// The host is this.
    Exact(String),
    /// The host ends with this, which begins with a dot, and something stands before it:
    /// `.example.org` fits `a.example.org` and `a.b.example.org`, but not `example.org`.
    Suffix(String),
}

/// A test of the path without its query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathTest {
    /// The path is this.
    Exact(String),
    /// The path begins with this.
    Prefix(String),
}

/// A header and what it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderMatch {
    /// The header's name in lower case.
    pub name: String,
    /// What is asked of its value.
    pub test: HeaderTest,
}

/// A test of a header's value; a repeated header is one value, joined with `,`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderTest {
    /// The header is there and its value is this.
    Exact(String),
    /// The header is there, be it empty (`true`), or is not (`false`).
    Present(bool),
}

impl Matcher {
    /// Whether every test holds. A test of something that the request lacks does not.
    pub fn matches(&self, request: &Request<'_>) -> bool {
        self.method_matches(request)
            && self.host_matches(request)
            && self.path.as_ref().is_none_or(|test| test.holds(request))
            && self.headers.iter().all(|header| header.holds(request))
    }

    fn method_matches(&self, request: &Request<'_>) -> bool {
        self.methods.is_empty()
            || request
                .method()
                .is_some_and(|sent| self.methods.iter().any(|method| method.as_bytes() == sent))
    }

    fn host_matches(&self, request: &Request<'_>) -> bool {
        self.hosts.is_empty()
            || request
                .host()
                .is_some_and(|host| self.hosts.iter().any(|pattern| pattern.fits(&host)))
    }
}

impl HostPattern {
    fn fits(&self, host: &[u8]) -> bool {
        match self {
            Self::Exact(name) => host == name.as_bytes(),
            Self::Suffix(suffix) => host
                .strip_suffix(suffix.as_bytes())
                .is_some_and(|rest| !rest.is_empty()),
        }
    }
}

impl PathTest {
    fn holds(&self, request: &Request<'_>) -> bool {
        let Some(path) = request.path() else {
            return false;
        };
        match self {
            Self::Exact(expected) => path == expected.as_bytes(),
            Self::Prefix(prefix) => path.starts_with(prefix.as_bytes()),
        }
    }
}

impl HeaderMatch {
    fn holds(&self, request: &Request<'_>) -> bool {
        let value = request.header(&self.name);
        match &self.test {
            HeaderTest::Exact(expected) => {
                value.is_some_and(|value| *value == *expected.as_bytes())
            }
            HeaderTest::Present(present) => value.is_some() == *present,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::FakeHost;

    fn holds(matcher: &Matcher, pairs: &[(&str, &str)]) -> bool {
        matcher.matches(&Request::new(&FakeHost::with_headers(pairs)))
    }

    #[test]
    fn without_tests_every_request_matches() {
        assert!(holds(&Matcher::default(), &[]));
    }

    #[test]
    fn a_method_is_compared_in_its_case() {
        let matcher = Matcher {
            methods: vec!["GET".into(), "POST".into()],
            ..Matcher::default()
        };
        assert!(holds(&matcher, &[(":method", "POST")]));
        assert!(!holds(&matcher, &[(":method", "post")]));
        assert!(!holds(&matcher, &[(":method", "PUT")]));
        assert!(!holds(&matcher, &[]));
    }

    #[test]
    fn a_suffix_needs_a_label_before_it() {
        let hosts = vec![
            HostPattern::Exact("api.example.com".into()),
            HostPattern::Suffix(".example.org".into()),
        ];
        let matcher = Matcher {
            hosts,
            ..Matcher::default()
        };
        for (host, expected) in [
            ("api.example.com", true),
            ("API.example.com:8443", true),
            ("a.example.org", true),
            ("a.b.example.org", true),
            ("example.org", false),
            (".example.org", false),
            ("badexample.org", false),
            ("a.example.org.evil.com", false),
        ] {
            assert_eq!(holds(&matcher, &[(":authority", host)]), expected, "{host}");
        }
    }

    #[test]
    fn a_path_test_does_not_see_the_query() {
        let prefix = Matcher {
            path: Some(PathTest::Prefix("/api/".into())),
            ..Matcher::default()
        };
        assert!(holds(&prefix, &[(":path", "/api/v1?x")]));
        assert!(!holds(&prefix, &[(":path", "/?/api/")]));
        let exact = Matcher {
            path: Some(PathTest::Exact("/api".into())),
            ..Matcher::default()
        };
        assert!(holds(&exact, &[(":path", "/api?x")]));
        assert!(!holds(&exact, &[(":path", "/api/")]));
        assert!(!holds(&exact, &[]));
    }

    #[test]
    fn a_header_test_sees_the_whole_joined_value() {
        let with = |test| Matcher {
            headers: vec![HeaderMatch {
                name: "x-plan".into(),
                test,
            }],
            ..Matcher::default()
        };
        let exact = with(HeaderTest::Exact("free".into()));
        assert!(holds(&exact, &[("x-plan", "free")]));
        assert!(!holds(&exact, &[("x-plan", "free"), ("x-plan", "gold")]));
        assert!(!holds(&exact, &[]));
        assert!(holds(&with(HeaderTest::Present(true)), &[("x-plan", "")]));
        assert!(!holds(&with(HeaderTest::Present(true)), &[]));
        assert!(holds(&with(HeaderTest::Present(false)), &[]));
        assert!(!holds(&with(HeaderTest::Present(false)), &[("x-plan", "")]));
    }

    #[test]
    fn all_tests_must_hold() {
        let matcher = Matcher {
            methods: vec!["GET".into()],
            path: Some(PathTest::Prefix("/".into())),
            ..Matcher::default()
        };
        assert!(holds(&matcher, &[(":method", "GET"), (":path", "/")]));
        assert!(!holds(&matcher, &[(":method", "PUT"), (":path", "/")]));
        assert!(!holds(&matcher, &[(":method", "GET"), (":path", "*")]));
    }
}
