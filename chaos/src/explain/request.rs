//! The request as the command line describes it.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use axum::http::uri::Authority;
use axum::http::{HeaderName, HeaderValue, Uri};
use clap::Args;
use velocitygate::matching::Host;

/// The property that `--client-ip` describes.
const CLIENT: &str = "source.address";

/// What `chaos explain` is told.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The filter's JSON, or an Envoy configuration that holds it.
    pub file: PathBuf,
    /// A URL, or only its path and query.
    pub url: String,
    /// The method.
    #[arg(long, default_value = "GET")]
    pub method: String,
    /// A header; more than one by repeating it.
    #[arg(long, value_name = "'NAME: VALUE'")]
    pub header: Vec<String>,
    /// The client's address, as Envoy trusts it.
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    pub client_ip: Option<IpAddr>,
    /// A property or metadata, its path joined by dots; more than one by repeating it.
    #[arg(long, value_name = "PATH=VALUE")]
    pub property: Vec<String>,
}

/// A request that never was.
#[derive(Debug)]
pub(super) struct Described {
    /// As Envoy has them: names in lower case, and a `Host` header is the authority.
    headers: Vec<(String, Vec<u8>)>,
    properties: Vec<(String, Vec<u8>)>,
    /// Properties that were asked for.
    asked: RefCell<BTreeSet<String>>,
}

impl Arguments {
    pub(super) fn described(&self) -> Result<Described> {
        let url = self.url()?;
        let target = url.path_and_query().map_or("/", |target| target.as_str());
        let given = self.headers()?;
        let mut headers = vec![(":method", self.method()?), (":path", target)];
        headers.extend(url.scheme_str().map(|scheme| (":scheme", scheme)));
        let mut headers: Vec<_> = headers.into_iter().map(owned).collect();
        headers.extend(authority(&url, &given)?);
        headers.extend(given.into_iter().filter(|(name, _)| name != "host"));
        Ok(Described {
            headers,
            properties: self.properties()?,
            asked: RefCell::default(),
        })
    }

    fn url(&self) -> Result<Uri> {
        let expected = || {
            format!(
                "expected a URL such as https://api.example.com/, or a path that begins with \"/\", \
                 found {:?}",
                self.url
            )
        };
        let url: Uri = self.url.parse().with_context(expected)?;
        // A name alone would be read as a host, though who writes one may mean a path.
        ensure!(
            url.scheme().is_some() || self.url.starts_with('/'),
            expected()
        );
        Ok(url)
    }

    /// As the filter compares it: a rule cannot name any other.
    fn method(&self) -> Result<&str> {
        let allowed = |byte: u8| {
            byte.is_ascii_uppercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_')
        };
        ensure!(
            !self.method.is_empty() && self.method.bytes().all(allowed),
            "--method: expected one in upper case such as \"GET\", found {:?}",
            self.method
        );
        Ok(&self.method)
    }

    fn headers(&self) -> Result<Vec<(String, Vec<u8>)>> {
        let mut headers = Vec::new();
        for header in &self.header {
            let parsed = named(header, ':').filter(|(name, value)| {
                HeaderName::from_bytes(name.as_bytes()).is_ok()
                    && HeaderValue::from_str(value).is_ok()
            });
            headers.push(owned(parsed.with_context(|| {
                format!("--header: expected 'name: value', found {header:?}")
            })?));
        }
        Ok(headers)
    }

    fn properties(&self) -> Result<Vec<(String, Vec<u8>)>> {
        let mut properties = Vec::new();
        for property in &self.property {
            let (path, value) = named(property, '=').with_context(|| {
                format!(
                    "--property: expected path=value, such as xds.route_name=login, found \
                     {property:?}"
                )
            })?;
            properties.push((path.to_owned(), value.into()));
        }
        if let Some(ip) = self.client_ip {
            let address = SocketAddr::new(ip, 0).to_string();
            properties.push((CLIENT.to_owned(), address.into()));
        }
        Ok(properties)
    }
}

/// What Envoy makes the authority: a `Host` header says more than the URL, which may be there only
/// to name a path.
fn authority(url: &Uri, given: &[(String, Vec<u8>)]) -> Result<Option<(String, Vec<u8>)>> {
    let mut hosts = given.iter().filter(|(name, _)| name == "host");
    let host = hosts.next().map(|(_, value)| value.clone());
    if hosts.next().is_some() {
        bail!("--header: expected one host, found more");
    }
    // No client sends the user and password of a URL as its host.
    let without_user = |it: &Authority| it.as_str().rsplit('@').next().map(Into::into);
    let of_url = url.authority().and_then(without_user);
    Ok(host
        .or(of_url)
        .map(|value| (":authority".to_owned(), value)))
}

fn address(text: &str) -> Result<IpAddr, String> {
    let expected =
        "expected an address such as 203.0.113.7 or 2001:db8::7, without brackets, port or mask";
    text.parse().map_err(|_| expected.to_owned())
}

fn named(text: &str, separator: char) -> Option<(&str, &str)> {
    let (name, value) = text.split_once(separator)?;
    (!name.trim().is_empty()).then(|| (name.trim(), value.trim()))
}

fn owned((name, value): (&str, &str)) -> (String, Vec<u8>) {
    (name.to_ascii_lowercase(), value.into())
}

impl Described {
    /// The path and its query.
    pub(super) fn target(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.header(":path"))
    }

    /// The arguments that describe what was asked for and is not described.
    pub(super) fn hints(&self) -> Vec<String> {
        let asked = self.asked.borrow();
        let lacking = asked.iter().filter(|path| self.described(path).is_none());
        let hint = |path: &String| match &**path {
            CLIENT => "--client-ip ADDRESS".to_owned(),
            path => format!("--property {path}=VALUE"),
        };
        lacking.map(hint).collect()
    }

    /// The arguments that describe what was not asked for.
    pub(super) fn unread(&self) -> Vec<String> {
        let asked = self.asked.borrow();
        let paths = self.properties.iter().map(|(path, _)| path);
        let argument = |path: &String| match &**path {
            CLIENT => "--client-ip".to_owned(),
            path => format!("--property {path}"),
        };
        paths
            .filter(|path| !asked.contains(*path))
            .map(argument)
            .collect()
    }

    fn described(&self, path: &str) -> Option<&[u8]> {
        value_of(&self.properties, path)
    }

    fn header(&self, name: &str) -> &[u8] {
        value_of(&self.headers, name).unwrap_or_default()
    }
}

fn value_of<'d>(described: &'d [(String, Vec<u8>)], name: &str) -> Option<&'d [u8]> {
    let mut known = described.iter();
    known.find(|(it, _)| it == name).map(|(_, value)| &**value)
}

impl Host for Described {
    fn headers(&self) -> Vec<(String, Vec<u8>)> {
        self.headers.clone()
    }

    fn property(&self, path: &[String]) -> Option<Vec<u8>> {
        let path = path.join(".");
        let found = self.described(&path).map(<[u8]>::to_vec);
        self.asked.borrow_mut().insert(path);
        found
    }
}

impl fmt::Display for Described {
    /// The request line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [method, host] = [":method", ":authority"].map(|it| self.header(it));
        let [method, host] = [method, host].map(String::from_utf8_lossy);
        write!(f, "{method} {host}{}", self.target())
    }
}
