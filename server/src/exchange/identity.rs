//! Which host speaks: its certificate names it, and the certificate's key must be the one it joined with. Asked with
//! each request, so that a revocation takes effect at the next one.

use crate::app::App;
use crate::problem::Fault;
use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use rusqlite::OptionalExtension;
use rustls_pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};
use sopwith_domain::ids::{Digest, HostId};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// The certificate that the connection was made with, if any; the TLS layer has checked that our CA made it.
#[derive(Clone, Default, Debug)]
pub struct PeerCertificate(pub Option<CertificateDer<'static>>);

/// A host that was identified by the guard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AgentHost {
    pub host: HostId,
}

impl<S: Send + Sync> FromRequestParts<S> for AgentHost {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Fault> {
        parts.extensions.get::<Self>().cloned().ok_or_else(no_certificate)
    }
}

fn no_certificate() -> Fault {
    Fault::new(
        StatusCode::UNAUTHORIZED,
        "no-certificate",
        "Join first",
        "no client certificate of this server's CA came with the connection",
    )
    .help("Run `sopwith-agent join` with a token on this host.")
}

impl PeerCertificate {
    /// Returns the host that the certificate stands for.
    ///
    /// # Errors
    /// Refuses a connection without certificate, an unknown or revoked host, and a key that was replaced.
    pub async fn authenticate(&self, app: &App) -> Result<AgentHost, Fault> {
        let der = self.0.as_ref().ok_or_else(no_certificate)?;
        let (host, key) = named(der).map_err(Fault::forbidden)?;
        let asked = host.clone();
        let enrolled: Option<Vec<u8>> = app
            .readers
            .read(move |db| {
                let mut select = db.prepare_cached("SELECT key_digest FROM host_keys WHERE host = ?1")?;
                Ok(select.query_row([asked.as_str()], |row| row.get(0)).optional()?)
            })
            .await?;
        let revoked = app.ledger.state().hosts.get(&host).is_none_or(|known| known.revoked);
        match enrolled {
            None => Err(Fault::forbidden(format!("host {host} has not joined this server"))),
            Some(digest) if digest != key => Err(Fault::new(
                StatusCode::FORBIDDEN,
                "other-key",
                "This is not permitted",
                format!("host {host} has joined again with another key; this one holds no more"),
            )),
            Some(_) if revoked => Err(Fault::new(
                StatusCode::FORBIDDEN,
                "host-revoked",
                "This is not permitted",
                format!("host {host} is revoked"),
            )),
            Some(_) => Ok(AgentHost { host }),
        }
    }
}

/// Returns the digest of the certificate's key, by which its owner is told from others.
pub fn key_digest(der: &[u8]) -> Option<Digest> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some(Digest(Sha256::digest(certificate.public_key().raw).into()))
}

/// Returns the host's name from `URI:sopwith:host:NAME`, and the digest of its key.
fn named(der: &[u8]) -> Result<(HostId, [u8; 32]), String> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|e| e.to_string())?;
    let names = certificate.subject_alternative_name().map_err(|e| e.to_string())?;
    let names = names.map(|extension| extension.value.general_names.clone()).unwrap_or_default();
    let name = names.iter().find_map(|name| match name {
        GeneralName::URI(uri) => uri.strip_prefix("sopwith:host:"),
        _ => None,
    });
    let host = HostId::new(name.ok_or("the certificate names no host")?).map_err(|e| e.to_string())?;
    Ok((host, Sha256::digest(certificate.public_key().raw).into()))
}
