//! Which requests a rule counts. Tests are compiled from the configuration once; matching a
//! request allocates only when it sends a header twice, its host in upper case or an escape in its
//! query, or when a property is read.

use super::{Request, TextTest, ValueTest};

/// The tests of a rule; all of them must hold. The default matches every request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matcher {
    /// The method is one of these, in the same case; empty: any.
    pub methods: Vec<String>,
    /// The host fits one of these; empty: any.
    pub hosts: Vec<HostPattern>,
    /// The path without its query passes this test.
    pub path: Option<TextTest>,
    /// The headers pass all of these.
    pub headers: Vec<NamedTest>,
    /// The parameters of the query pass all of these.
    pub query: Vec<NamedTest>,
    /// The properties pass all of these. Tried last, since each costs a host call.
    pub properties: Vec<PropertyTest>,
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

/// A test of what stands under a name, of which any value may pass: a header in lower case, see
/// [`Request::header_readings`], or a parameter of the query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedTest {
    /// The name.
    pub name: String,
    /// What is asked of its value.
    pub test: ValueTest,
}

/// A test of a property of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PropertyTest {
    /// The property's path.
    pub path: Vec<String>,
    /// What is asked of its value. One that is empty is not there: the host does not tell.
    pub test: ValueTest,
}

/// A test that a request does not pass: the first one, in the order of trying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch<'m> {
    /// Its method is none of these.
    Method(&'m [String]),
    /// Its host fits none of these.
    Host(&'m [HostPattern]),
    /// Of its path.
    Path(&'m TextTest),
    /// Of a header.
    Header(&'m NamedTest),
    /// Of a parameter of the query.
    Query(&'m NamedTest),
    /// Of a property.
    Property(&'m PropertyTest),
}

impl Matcher {
    /// Whether every test holds. A test of something that the request lacks does not.
    pub fn matches(&self, request: &Request<'_>) -> bool {
        self.mismatch(request).is_none()
    }

    /// The first test that does not hold; `None` when the request matches.
    pub fn mismatch(&self, request: &Request<'_>) -> Option<Mismatch<'_>> {
        if !self.method_matches(request) {
            return Some(Mismatch::Method(&self.methods));
        }
        if !self.host_matches(request) {
            return Some(Mismatch::Host(&self.hosts));
        }
        if let Some(test) = &self.path
            && !request.path().is_some_and(|path| test.holds(path))
        {
            return Some(Mismatch::Path(test));
        }
        let header = || {
            let mut tests = self.headers.iter();
            tests.find(|it| !it.test.holds(request.header_readings(&it.name)))
        };
        let parameter = || {
            let mut tests = self.query.iter();
            tests.find(|it| !it.test.holds(request.parameters(&it.name)))
        };
        let property = || {
            let mut tests = self.properties.iter();
            tests.find(|it| !it.test.holds(request.property(&it.path).into_iter()))
        };
        header()
            .map(Mismatch::Header)
            .or_else(|| parameter().map(Mismatch::Query))
            .or_else(|| property().map(Mismatch::Property))
    }

    /// How many regular expressions the tests hold.
    pub fn patterns(&self) -> usize {
        let named = self.headers.iter().chain(&self.query);
        let tests = named.map(|named| &named.test);
        let tests = tests.chain(self.properties.iter().map(|property| &property.test));
        let texts = tests.filter_map(|test| match test {
            ValueTest::Is(text) => Some(text),
            ValueTest::Present(_) => None,
        });
        texts
            .chain(&self.path)
            .filter(|text| matches!(text, TextTest::Regex(_)))
            .count()
    }

    fn method_matches(&self, request: &Request<'_>) -> bool {
        if self.methods.is_empty() {
            return true;
        }
        let sent = request.method();
        sent.is_some_and(|sent| self.methods.iter().any(|it| *it.as_bytes() == *sent))
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
    fn a_method_is_compared_in_upper_case() {
        let matcher = Matcher {
            methods: vec!["GET".into(), "POST".into()],
            ..Matcher::default()
        };
        assert!(holds(&matcher, &[(":method", "POST")]));
        assert!(holds(&matcher, &[(":method", "post")]));
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
            path: Some(TextTest::Prefix("/api/".into())),
            ..Matcher::default()
        };
        assert!(holds(&prefix, &[(":path", "/api/v1?x")]));
        assert!(!holds(&prefix, &[(":path", "/?/api/")]));
        let exact = Matcher {
            path: Some(TextTest::Exact("/api".into())),
            ..Matcher::default()
        };
        assert!(holds(&exact, &[(":path", "/api?x")]));
        assert!(!holds(&exact, &[(":path", "/api/")]));
        assert!(!holds(&exact, &[]));
    }

    #[test]
    fn a_header_test_holds_of_any_value_and_of_all_joined() {
        let with = |test| Matcher {
            headers: vec![NamedTest {
                name: "x-plan".into(),
                test,
            }],
            ..Matcher::default()
        };
        let exact = with(ValueTest::Is(TextTest::Exact("free".into())));
        assert!(holds(&exact, &[("x-plan", "free")]));
        assert!(holds(&exact, &[("x-plan", "gold"), ("x-plan", "free")]));
        assert!(!holds(&exact, &[("x-plan", "free,gold")]));
        let both = with(ValueTest::Is(TextTest::Exact("gold,free".into())));
        assert!(holds(&both, &[("x-plan", "gold"), ("x-plan", "free")]));
        assert!(!holds(&exact, &[]));
        assert!(holds(&with(ValueTest::Present(true)), &[("x-plan", "")]));
        assert!(!holds(&with(ValueTest::Present(true)), &[]));
        assert!(holds(&with(ValueTest::Present(false)), &[]));
        assert!(!holds(&with(ValueTest::Present(false)), &[("x-plan", "")]));
    }

    #[test]
    fn a_query_test_holds_of_any_value_in_any_spelling() {
        let with = |test| Matcher {
            query: vec![NamedTest {
                name: "plan".into(),
                test,
            }],
            ..Matcher::default()
        };
        let path = |target: &'static str| [(":path", target)];
        let exact = with(ValueTest::Is(TextTest::Exact("free".into())));
        for target in [
            "/?plan=free",
            "/?plan=gold&pl%61n=%66ree",
            "/?plan=free#x",
            "/?a?b&plan=free",
        ] {
            assert!(holds(&exact, &path(target)), "{target}");
        }
        for target in [
            "/",
            "/?",
            "/plan=free",
            "/?plan=free2",
            "/?Plan=free",
            "/#?plan=free",
        ] {
            assert!(!holds(&exact, &path(target)), "{target}");
        }
        let absent = with(ValueTest::Present(false));
        assert!(holds(&absent, &path("/?plans")) && holds(&absent, &[]));
        assert!(!holds(&absent, &path("/?plan")));
    }

    #[test]
    fn a_property_is_asked_for_only_when_all_else_holds() {
        let test = |path: &str, test| PropertyTest {
            path: path.split('.').map(Into::into).collect(),
            test,
        };
        let matcher = Matcher {
            methods: vec!["GET".into()],
            properties: vec![
                test(
                    "xds.route_name",
                    ValueTest::Is(TextTest::Prefix("api".into())),
                ),
                test("absent", ValueTest::Present(false)),
            ],
            ..Matcher::default()
        };
        for (method, route, expected, asked) in [
            ("GET", "api-v1", true, 2),
            ("GET", "web", false, 1),
            ("PUT", "api-v1", false, 0),
        ] {
            let host =
                FakeHost::with_headers(&[(":method", method)]).property("xds.route_name", route);
            assert_eq!(matcher.matches(&Request::new(&host)), expected);
            let asked_for = host
                .asked
                .borrow()
                .iter()
                .filter(|what| *what != "headers")
                .count();
            assert_eq!(asked_for, asked, "{method} {route}");
        }
    }

    #[test]
    fn all_tests_must_hold() {
        let matcher = Matcher {
            methods: vec!["GET".into()],
            path: Some(TextTest::Prefix("/".into())),
            ..Matcher::default()
        };
        assert!(holds(&matcher, &[(":method", "GET"), (":path", "/")]));
        assert!(!holds(&matcher, &[(":method", "PUT"), (":path", "/")]));
        assert!(!holds(&matcher, &[(":method", "GET"), (":path", "*")]));
    }

    #[test]
    fn of_several_tests_that_fail_the_first_is_named() {
        let named = |name: &str| NamedTest {
            name: name.into(),
            test: ValueTest::Present(true),
        };
        let mut matcher = Matcher {
            methods: vec!["GET".into()],
            hosts: vec![HostPattern::Exact("a.test".into())],
            path: Some(TextTest::Prefix("/api".into())),
            headers: vec![named("x"), named("y")],
            query: vec![named("q")],
            properties: vec![PropertyTest {
                path: vec!["p".into()],
                test: ValueTest::Present(true),
            }],
        };
        let mismatch = |matcher: &Matcher| {
            let host = FakeHost::with_headers(&[("x", "1")]);
            let found = matcher.mismatch(&Request::new(&host));
            found.map(|it| format!("{it:?}"))
        };
        let begins = |matcher: &Matcher, with: &str| {
            let found = mismatch(matcher).unwrap();
            assert!(found.starts_with(with), "{found}");
        };
        begins(&matcher, "Method([\"GET\"");
        matcher.methods.clear();
        begins(&matcher, "Host([Exact");
        matcher.hosts.clear();
        begins(&matcher, "Path(Prefix");
        matcher.path = None;
        begins(&matcher, "Header(NamedTest { name: \"y\"");
        matcher.headers.pop();
        begins(&matcher, "Query(NamedTest { name: \"q\"");
        matcher.query.clear();
        begins(&matcher, "Property(PropertyTest { path: [\"p\"]");
        matcher.properties.clear();
        assert_eq!(mismatch(&matcher), None);
    }
}
