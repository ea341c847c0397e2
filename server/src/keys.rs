//! The server's own keys, files of mode 0600 in the data folder, made on first use: the CA that certifies hosts and
//! the server itself, the server's TLS key, and the order key whose signatures hosts expect on orders and leases.
//! Private keys never leave this machine; hosts make theirs themselves.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
};
use sha2::{Digest as _, Sha256};
use sopwith_domain::ids::{Digest, HostId};
use sopwith_domain::order::SignedText;
use sopwith_protocol::exchange::SERVER_NAMESPACE;
use sopwith_protocol::signature::sign;
use ssh_key::private::Ed25519Keypair;
use std::fs;
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use time::{Duration, OffsetDateTime};

/// How long a host's certificate holds.
pub const HOST_CERTIFICATE_DAYS: i64 = 90;
const SERVER_CERTIFICATE_DAYS: i64 = 397;
/// The server's own certificate is made anew this long before its end.
const SERVER_RENEWAL_DAYS: i64 = 30;
const CA_CERTIFICATE_DAYS: i64 = 3650;
/// Certificates begin this much earlier, for hosts whose clock is behind.
const SKEW: Duration = Duration::hours(1);

/// Why keys could not be had or used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("failed to read or write {path}: {error}")]
    File { path: PathBuf, error: std::io::Error },
    #[error("failed to make or use a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    #[error("failed to use the order key: {0}")]
    Order(#[from] ssh_key::Error),
    #[error("failed to read the names for the server's certificate: {0}")]
    Name(String),
}

/// All keys of the server.
pub struct Keys {
    pub ca_pem: String,
    /// SHA-256 of the CA's certificate in DER, for agents to pin.
    pub ca_sha256: Digest,
    pub server_pem: String,
    pub server_key_pem: String,
    issuer: Issuer<'static, KeyPair>,
    order: ssh_key::PrivateKey,
}

/// A certificate for a host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostCertificate {
    pub pem: String,
    /// SHA-256 of the host's public key (SubjectPublicKeyInfo in DER), which is its identity.
    pub key_digest: [u8; 32],
    pub not_after_ms: i64,
}

impl Keys {
    /// Loads the keys of a data folder, making those that are missing.
    ///
    /// # Errors
    /// Names the file that is in the way.
    pub fn open(data: &Path, names: &[String]) -> Result<Self, KeyError> {
        let (ca_pem, issuer) = authority(data)?;
        let order = order_key(&data.join("order.key"))?;
        let server_key_pem = kept(&data.join("server.key"), || Ok(KeyPair::generate()?.serialize_pem()))?;
        let server_pem = server_certificate(data, &server_key_pem, &issuer, names)?;
        let der = pem_der(&ca_pem)?;
        let ca_sha256 = Digest(Sha256::digest(&der).into());
        Ok(Self { ca_pem, ca_sha256, server_pem, server_key_pem, issuer, order })
    }

    /// Certifies a host's public key from its request; nothing else of the request is used.
    ///
    /// # Errors
    /// Says what is wrong with the request.
    pub fn certify(
        &self,
        csr_pem: &str,
        host: &HostId,
        now: OffsetDateTime,
    ) -> Result<HostCertificate, KeyError> {
        let request = CertificateSigningRequestParams::from_pem(csr_pem)?;
        let not_after = now + Duration::days(HOST_CERTIFICATE_DAYS);
        let mut params = lasting(now - SKEW, not_after, host.as_str());
        let uri = format!("sopwith:host:{host}");
        params.subject_alt_names = vec![SanType::URI(uri.as_str().try_into()?)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&request.public_key, &self.issuer)?;
        Ok(HostCertificate {
            pem: certificate.pem(),
            key_digest: Sha256::digest(request.public_key.subject_public_key_info()).into(),
            not_after_ms: i64::try_from(not_after.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX),
        })
    }

    /// Returns the order key's public half, as an OpenSSH line.
    ///
    /// # Errors
    /// Returns the key's error.
    pub fn order_public(&self) -> Result<String, KeyError> {
        Ok(self.order.public_key().to_openssh()?)
    }

    /// Signs what a host is told.
    ///
    /// # Errors
    /// Returns the key's error.
    pub fn seal<T: serde::Serialize>(&self, what: &T) -> Result<SignedText, KeyError> {
        let text = serde_json::to_string(what).map_err(|_| ssh_key::Error::FormatEncoding)?;
        Ok(sign(&self.order, SERVER_NAMESPACE, &text)?)
    }
}

fn lasting(from: OffsetDateTime, to: OffsetDateTime, name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = from;
    params.not_after = to;
    let mut serial = rand::random::<[u8; 16]>();
    serial[0] &= 0x7f;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.distinguished_name = DistinguishedName::new();
    // X.509 bounds a common name; who is meant stands in the alternative names.
    params.distinguished_name.push(DnType::CommonName, name.chars().take(64).collect::<String>());
    params.use_authority_key_identifier_extension = true;
    params
}

fn authority(data: &Path) -> Result<(String, Issuer<'static, KeyPair>), KeyError> {
    let key_pem = kept(&data.join("ca.key"), || Ok(KeyPair::generate()?.serialize_pem()))?;
    let ca_pem = kept(&data.join("ca.pem"), || {
        let now = OffsetDateTime::now_utc();
        let mut params = lasting(now - SKEW, now + Duration::days(CA_CERTIFICATE_DAYS), "Sopwith CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Ok(params.self_signed(&KeyPair::from_pem(&key_pem)?)?.pem())
    })?;
    let issuer = Issuer::from_ca_cert_pem(&ca_pem, KeyPair::from_pem(&key_pem)?)?;
    Ok((ca_pem, issuer))
}

/// Returns the server's certificate, made anew when it is for other names or near its end.
fn server_certificate(
    data: &Path,
    key_pem: &str,
    issuer: &Issuer<'static, KeyPair>,
    names: &[String],
) -> Result<String, KeyError> {
    let path = data.join("server.pem");
    let about = data.join("server.names");
    let now = OffsetDateTime::now_utc();
    let not_after = now + Duration::days(SERVER_CERTIFICATE_DAYS);
    let renew_at = |text: &str| text.lines().next().and_then(|line| line.parse::<i64>().ok());
    let listed = names.join("\n");
    if let (Ok(pem), Ok(kept)) = (fs::read_to_string(&path), fs::read_to_string(&about)) {
        let fresh = renew_at(&kept).is_some_and(|at| now.unix_timestamp() < at);
        if fresh && kept.split_once('\n').is_some_and(|(_, names)| names == listed) {
            return Ok(pem);
        }
    }
    let name = names.first().map_or("sopwith-server", String::as_str);
    let mut params = lasting(now - SKEW, not_after, name);
    params.subject_alt_names = names.iter().map(|name| alternative(name)).collect::<Result<_, _>>()?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let pem = params.signed_by(&KeyPair::from_pem(key_pem)?, issuer)?.pem();
    let renewal = (not_after - Duration::days(SERVER_RENEWAL_DAYS)).unix_timestamp();
    write(&path, &pem)?;
    write(&about, &format!("{renewal}\n{listed}"))?;
    Ok(pem)
}

fn alternative(name: &str) -> Result<SanType, KeyError> {
    match name.parse::<IpAddr>() {
        Ok(address) => Ok(SanType::IpAddress(address)),
        Err(_) => Ok(SanType::DnsName(name.try_into().map_err(|_| KeyError::Name(name.into()))?)),
    }
}

fn order_key(path: &Path) -> Result<ssh_key::PrivateKey, KeyError> {
    let text = kept(path, || {
        let pair = Ed25519Keypair::from_seed(&rand::random::<[u8; 32]>());
        let mut key = ssh_key::PrivateKey::from(pair);
        key.set_comment("sopwith order key");
        Ok(key.to_openssh(ssh_key::LineEnding::LF)?.to_string())
    })?;
    Ok(ssh_key::PrivateKey::from_openssh(text)?)
}

/// Returns a file's text; where there is none it is made first.
fn kept(path: &Path, make: impl FnOnce() -> Result<String, KeyError>) -> Result<String, KeyError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let text = make()?;
            write(path, &text)?;
            Ok(text)
        }
        Err(error) => Err(KeyError::File { path: path.into(), error }),
    }
}

/// Writes a file whole or not at all, readable by its owner only.
fn write(path: &Path, text: &str) -> Result<(), KeyError> {
    let failed = |error| KeyError::File { path: path.into(), error };
    let fresh = path.with_extension("new");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&fresh)
        .map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    fs::rename(&fresh, path).map_err(failed)?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
}

/// Returns the bytes of the first PEM block of a certificate.
///
/// # Errors
/// Says that there is none.
pub fn pem_der(pem: &str) -> Result<Vec<u8>, KeyError> {
    use rustls_pki_types::pem::PemObject;
    rustls_pki_types::CertificateDer::from_pem_slice(pem.as_bytes())
        .map(|der| der.to_vec())
        .map_err(|_| KeyError::Certificate(rcgen::Error::CouldNotParseCertificate))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn keys_are_made_once_and_only_their_owner_reads_them() {
        let data = tempfile::tempdir().unwrap();
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let first = Keys::open(data.path(), &names).unwrap();
        let second = Keys::open(data.path(), &names).unwrap();
        assert_eq!(first.ca_sha256, second.ca_sha256);
        assert_eq!(first.server_pem, second.server_pem);
        assert_eq!(first.order_public().unwrap(), second.order_public().unwrap());
        let renamed = Keys::open(data.path(), &["other.example".to_owned()]).unwrap();
        assert_ne!(renamed.server_pem, second.server_pem, "other names, other certificate");
        assert_eq!(renamed.ca_sha256, second.ca_sha256);
        for file in fs::read_dir(data.path()).unwrap() {
            let mode = file.unwrap().metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn only_the_key_of_a_request_counts() {
        let data = tempfile::tempdir().unwrap();
        let keys = Keys::open(data.path(), &["localhost".to_owned()]).unwrap();
        let pair = KeyPair::generate().unwrap();
        let mut asked = CertificateParams::new(vec!["evil.example".to_owned()]).unwrap();
        asked.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let csr = asked.serialize_request(&pair).unwrap().pem().unwrap();
        let host = HostId::new("web-1").unwrap();
        let made = keys.certify(&csr, &host, OffsetDateTime::now_utc()).unwrap();
        let der = pem_der(&made.pem).unwrap();
        let (_, parsed) = x509_parser::parse_x509_certificate(&der).unwrap();
        assert!(!parsed.is_ca());
        let names = parsed.subject_alternative_name().unwrap().unwrap();
        assert_eq!(format!("{}", names.value.general_names[0]), "URI(sopwith:host:web-1)");
        assert_eq!(names.value.general_names.len(), 1);
        assert!(keys.certify("nonsense", &host, OffsetDateTime::now_utc()).is_err());
    }
}
