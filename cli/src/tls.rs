//! Trusts a server by its certificate authority alone: by the CA's certificate, or by its SHA-256, which is looked
//! for in the chain that the server shows. The host's name and the dates are checked in either case.

use crate::failure::Failure;
use crate::session::Trust;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use sopwith_domain::ids::Digest;
use std::sync::Arc;

/// Returns the TLS configuration for a pinned server, or nothing where the machine's roots decide.
pub fn config(trust: &Trust) -> Result<Option<rustls::ClientConfig>, Failure> {
    let builder = rustls::ClientConfig::builder();
    Ok(match trust {
        Trust::System => None,
        Trust::Pem(pem) => Some(builder.with_root_certificates(roots(pem)?).with_no_client_auth()),
        Trust::Sha256(digest) => {
            let schemes = rustls::crypto::ring::default_provider().signature_verification_algorithms;
            let verifier = Arc::new(Pinned { digest: *digest, schemes });
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

/// Accepts chains that hold the pinned CA and hang from it.
#[derive(Debug)]
struct Pinned {
    digest: Digest,
    schemes: rustls::crypto::WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let pinned = intermediates.iter().find(|c| Digest::of(c) == self.digest);
        let Some(ca) = pinned else {
            let shown: Vec<String> = intermediates.iter().map(|c| Digest::of(c).to_string()).collect();
            let text = match shown.as_slice() {
                [] => "the server does not show its CA; pin it by the CA's file instead".to_owned(),
                _ => format!("the server's CA is {}, not the pinned {}", shown.join(", "), self.digest),
            };
            return Err(Error::General(text));
        };
        let mut roots = RootCertStore::empty();
        roots.add(ca.clone().into_owned())?;
        let verifier = WebPkiServerVerifier::builder(Arc::new(roots))
            .build()
            .map_err(|e| Error::General(e.to_string()))?;
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.schemes)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.schemes)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    use std::time::Duration;

    struct Ca {
        der: CertificateDer<'static>,
        issuer: Issuer<'static, KeyPair>,
    }

    fn ca() -> Ca {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let der = params.self_signed(&key).expect("a certificate").der().clone();
        Ca { der, issuer: Issuer::new(params, key) }
    }

    fn leaf(ca: &Ca, name: &str) -> CertificateDer<'static> {
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        let key = KeyPair::generate().expect("a key");
        params.signed_by(&key, &ca.issuer).expect("a certificate").der().clone()
    }

    #[test]
    fn only_a_chain_that_hangs_from_the_pinned_ca_is_trusted() {
        let (ours, other) = (ca(), ca());
        let good = leaf(&ours, "sopwith.example");
        let foreign = leaf(&other, "sopwith.example");
        let pin = Digest::of(&ours.der);
        let (ours, other) = (vec![ours.der.clone()], vec![other.der.clone()]);
        let both = [ours.clone(), other.clone()].concat();
        let table: [(&str, &CertificateDer<'_>, &[CertificateDer<'_>], &str, bool); 6] = [
            ("the pinned CA", &good, &ours, "sopwith.example", true),
            ("other certificates beside it", &good, &both, "sopwith.example", true),
            ("another CA", &foreign, &other, "sopwith.example", false),
            ("another CA's leaf beside the pinned CA", &foreign, &both, "sopwith.example", false),
            ("another name", &good, &ours, "elsewhere.example", false),
            ("no CA shown", &good, &[], "sopwith.example", false),
        ];
        let provider = rustls::crypto::ring::default_provider();
        let pinned = Pinned { digest: pin, schemes: provider.signature_verification_algorithms };
        let _ = provider.install_default();
        let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let now = UnixTime::since_unix_epoch(since_1970.unwrap_or(Duration::ZERO));
        for (case, leaf, chain, name, trusted) in table {
            let name = ServerName::try_from(name).expect("a name");
            let verdict = pinned.verify_server_cert(leaf, chain, &name, &[], now);
            assert_eq!(verdict.is_ok(), trusted, "{case}: {verdict:?}");
        }
    }
}
