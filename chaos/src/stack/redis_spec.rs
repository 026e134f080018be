//! Which Redis to start, and how it is reached.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use crate::tools::{Tools, ToolsError};

/// The name in a Redis's certificate, which `envoy/tls.yaml` asks for.
const SERVER_NAME: &str = "redis.example.com";

/// Which server runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RedisProgram {
    /// The one that `make tools` found or installed.
    #[default]
    Installed,
    /// The oldest supported Redis.
    Oldest,
    /// Valkey.
    Valkey,
}

/// A Redis to start. The default is an open one without TLS.
#[derive(Debug, Clone, Default)]
pub struct RedisSpec {
    /// Which server.
    pub program: RedisProgram,
    /// More of its command line, such as `["--maxmemory", "1mb"]`.
    pub options: Vec<String>,
    /// The one user it knows; nobody else gets in. The password is put into the file
    /// `redis-password` beside the log.
    pub login: Option<Login>,
    /// Whether Envoy has to come by TLS, on a port of its own; observers never do. The certificate
    /// of its authority is put into the file `redis-ca.pem` beside the log.
    pub tls: bool,
}

/// A user with all rights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The name.
    pub user: String,
    /// The password.
    pub password: String,
}

impl RedisProgram {
    pub(super) fn path(self) -> Result<PathBuf, ToolsError> {
        let tools = Tools::find()?;
        match self {
            Self::Installed => tools.redis(),
            Self::Oldest => tools.redis_oldest(),
            Self::Valkey => tools.valkey(),
        }
    }
}

impl RedisSpec {
    /// The arguments for who may come and how, and the files in `dir` that they name.
    pub(super) fn prepare(&self, tls: Option<SocketAddr>, dir: &Path) -> Result<Vec<OsString>> {
        let mut arguments: Vec<OsString> = self.options.iter().map(OsString::from).collect();
        if let Some(Login { user, password }) = &self.login {
            write(dir, "redis-password", password)?;
            let secret = format!(">{password}");
            let rights = ["--user", user, "on", &secret, "~*", "&*", "+@all"];
            arguments.extend(rights.map(OsString::from));
            arguments.extend(["--user", "default", "off"].map(OsString::from));
        }
        if let Some(address) = tls {
            let [authority, certificate, key] = certify(dir)?;
            let port = address.port().to_string();
            arguments.extend(["--tls-port", &port, "--tls-auth-clients", "no"].map(OsString::from));
            for (option, path) in [
                ("--tls-ca-cert-file", authority),
                ("--tls-cert-file", certificate),
                ("--tls-key-file", key),
            ] {
                arguments.extend([option.into(), path.into_os_string()]);
            }
        }
        Ok(arguments)
    }
}

/// Makes an authority and a certificate by it; the paths of its certificate, of the other, and of
/// that one's key.
fn certify(dir: &Path) -> Result<[PathBuf; 3]> {
    let mut authority = CertificateParams::default();
    // Two of one name would count as one that signed itself.
    authority
        .distinguished_name
        .push(DnType::CommonName, "authority of one run");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let certificate =
        CertificateParams::new([SERVER_NAME.to_owned()])?.signed_by(&key, &authority)?;
    Ok([
        write(dir, "redis-ca.pem", &authority.pem())?,
        write(dir, "redis.pem", &certificate.pem())?,
        write(dir, "redis-key.pem", &key.serialize_pem())?,
    ])
}

fn write(dir: &Path, name: &str, text: &str) -> Result<PathBuf> {
    let path = dir.join(name);
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}
