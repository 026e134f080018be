//! The request as the command line describes it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context, Result};
use axum::http::Uri;
use clap::Args;
use velocitygate::matching::Host;

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
    #[arg(long, value_name = "ADDRESS")]
    pub client_ip: Option<IpAddr>,
    /// A property or metadata, its path joined by dots; more than one by repeating it.
    #[arg(long, value_name = "PATH=VALUE")]
    pub property: Vec<String>,
}

/// A request that never was.
#[derive(Debug)]
pub(super) struct Described {
    headers: Vec<(String, Vec<u8>)>,
    properties: Vec<(String, Vec<u8>)>,
}

impl Arguments {
    pub(super) fn described(&self) -> Result<Described> {
        let url: Uri = self.url.parse().with_context(|| {
            format!(
                "expected a URL or a path that begins with \"/\", found {:?}",
                self.url
            )
        })?;
        let target = url.path_and_query().map_or("/", |target| target.as_str());
        let mut headers = vec![(":method", self.method.as_str()), (":path", target)];
        headers.extend(url.authority().map(|host| (":authority", host.as_str())));
        headers.extend(url.scheme_str().map(|scheme| (":scheme", scheme)));
        let mut headers: Vec<_> = headers.into_iter().map(owned).collect();
        for header in &self.header {
            headers.push(owned(named(header, ':').with_context(|| {
                format!("--header: expected 'name: value', found {header:?}")
            })?));
        }
        let mut properties = Vec::new();
        for property in &self.property {
            properties.push(owned(named(property, '=').with_context(|| {
                format!("--property: expected path=value, found {property:?}")
            })?));
        }
        if let Some(ip) = self.client_ip {
            let address = SocketAddr::new(ip, 0).to_string();
            properties.push(owned(("source.address", &address)));
        }
        Ok(Described {
            headers,
            properties,
        })
    }
}

fn named(text: &str, separator: char) -> Option<(&str, &str)> {
    let (name, value) = text.split_once(separator)?;
    (!name.trim().is_empty()).then(|| (name.trim(), value.trim()))
}

fn owned((name, value): (&str, &str)) -> (String, Vec<u8>) {
    (name.to_owned(), value.as_bytes().to_vec())
}

impl Host for Described {
    /// As Envoy has them: names in lower case, and a `Host` header is the authority.
    fn headers(&self) -> Vec<(String, Vec<u8>)> {
        let headers = self.headers.iter();
        let lower = headers.map(|(name, value)| match name.to_ascii_lowercase() {
            host if host == "host" => (":authority".to_owned(), value.clone()),
            name => (name, value.clone()),
        });
        lower.collect()
    }

    fn property(&self, path: &[String]) -> Option<Vec<u8>> {
        let path = path.join(".");
        let mut known = self.properties.iter();
        let found = known.find(|(name, _)| *name == path);
        found.map(|(_, value)| value.clone())
    }
}

impl fmt::Display for Described {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let get = |name: &str| {
            let mut headers = self.headers.iter();
            let found = headers.find(|(header, _)| header == name);
            found.map_or(String::new(), |(_, value)| {
                String::from_utf8_lossy(value).into_owned()
            })
        };
        write!(
            f,
            "{} {}{}",
            get(":method"),
            get(":authority"),
            get(":path")
        )
    }
}
