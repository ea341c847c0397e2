//! Trusts a server by its certificate authority alone: by the CA's certificate, or by its SHA-256, which is looked
//! for in the chain that the server shows. The host's name and the dates are checked in either case.

use crate::failure::Failure;
use crate::session::Trust;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sopwith_protocol::pinned::PinnedCa;
use std::sync::Arc;

/// Returns the TLS configuration for a pinned server, or nothing where the machine's roots decide.
pub fn config(trust: &Trust) -> Result<Option<rustls::ClientConfig>, Failure> {
    let builder = rustls::ClientConfig::builder();
    Ok(match trust {
        Trust::System => None,
        Trust::Pem(pem) => Some(builder.with_root_certificates(roots(pem)?).with_no_client_auth()),
        Trust::Sha256(digest) => {
            let verifier = Arc::new(PinnedCa::new(*digest));
            Some(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
        }
    })
}

fn roots(pem: &str) -> Result<RootCertStore, Failure> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate =
            certificate.map_err(|e| Failure::failed(format!("the CA certificate cannot be read: {e}")))?;
        roots
            .add(certificate)
            .map_err(|e| Failure::failed(format!("the CA certificate cannot be used: {e}")))?;
    }
    Ok(roots)
}
