//! Believes a server whose chain contains the CA certificate with a known digest, and is signed by it; name and dates
//! are checked as ever. For whoever was told no more of the server than that digest.

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme};
use sopwith_domain::ids::Digest;
use std::sync::Arc;

#[derive(Debug)]
pub struct PinnedCa {
    pin: Digest,
    algorithms: WebPkiSupportedAlgorithms,
}

/// Why the server is not believed, as people read it.
#[derive(Debug, thiserror::Error)]
enum NotPinned {
    #[error(
        "the server shows no CA, so that the digest {0} cannot be looked for; pin it by the CA's file instead"
    )]
    Hidden(Digest),
    #[error(
        "the server's CA is {shown}, not the pinned {pin}; is this the right server, and the right digest?"
    )]
    Other { shown: String, pin: Digest },
}

impl PinnedCa {
    pub fn new(pin: Digest) -> Self {
        Self { pin, algorithms: ring::default_provider().signature_verification_algorithms }
    }
}

impl ServerCertVerifier for PinnedCa {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let ca = intermediates.iter().find(|certificate| Digest::of(certificate) == self.pin);
        let ca = ca.ok_or_else(|| {
            let shown: Vec<String> = intermediates.iter().map(|c| Digest::of(c).to_string()).collect();
            let why = match shown.as_slice() {
                [] => NotPinned::Hidden(self.pin),
                _ => NotPinned::Other { shown: shown.join(", "), pin: self.pin },
            };
            Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(why))))
        })?;
        let mut roots = RootCertStore::empty();
        roots.add(ca.clone().into_owned())?;
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|e| Error::General(e.to_string()))?;
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

    fn ca() -> (CertificateDer<'static>, Issuer<'static, KeyPair>) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("signed").der().clone();
        (certificate, Issuer::new(params, key))
    }

    fn server(issuer: &Issuer<'static, KeyPair>, name: &str) -> CertificateDer<'static> {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        params.signed_by(&key, issuer).expect("signed").der().clone()
    }

    #[test]
    fn only_the_pinned_ca_is_believed_and_only_for_what_it_signed() {
        let ((ours, issuer), (other, other_issuer)) = (ca(), ca());
        let verifier = PinnedCa::new(Digest::of(&ours));
        let right = server(&issuer, "192.0.2.10");
        let foreign = server(&other_issuer, "192.0.2.10");
        for (what, leaf, chain, name, believed) in [
            ("the right server", &right, vec![ours.clone()], "192.0.2.10", true),
            ("among others", &right, vec![other.clone(), ours.clone()], "192.0.2.10", true),
            ("another name", &right, vec![ours.clone()], "192.0.2.11", false),
            ("without its CA", &right, vec![], "192.0.2.10", false),
            ("another CA", &foreign, vec![other.clone()], "192.0.2.10", false),
            ("another CA beside ours", &foreign, vec![ours.clone(), other.clone()], "192.0.2.10", false),
            ("the CA as the server", &ours, vec![], "192.0.2.10", false),
        ] {
            let name = ServerName::try_from(name).expect("a name");
            let seen = verifier.verify_server_cert(leaf, &chain, &name, &[], UnixTime::now());
            assert_eq!(seen.is_ok(), believed, "{what}: {seen:?}");
        }
    }
}
