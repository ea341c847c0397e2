//! Who this host is to the server: its key, its certificate and the server it joined, in `watcher/` of the state
//! folder. Only the watcher's user can read the key.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};
use sopwith_domain::ids::{Epoch, HostId};
use sopwith_domain::value::Url;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Name of the watcher's own folder in the state folder.
pub const FOLDER: &str = "watcher";
/// Largest file of an identity, in bytes.
const FILE_BYTES_MAX: u64 = 256 * 1024;

/// What is known of the join.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Joined {
    pub server: Url,
    pub host: HostId,
    /// Life of the host that was told at the join; the runner's own word counts from its first on.
    pub epoch: Epoch,
    pub ca_sha256: String,
}

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("failed to find out who this host is: it has not joined a server yet (`sopwith-agent join`)")]
    NotJoined,
    #[error("failed to read {}: {error}", .file.display())]
    Unreadable { file: PathBuf, error: io::Error },
    #[error("failed to use {}: {reason}", .file.display())]
    Unusable { file: PathBuf, reason: String },
}

/// The files of an identity.
#[derive(Clone, Debug)]
pub struct Files(PathBuf);

impl Files {
    pub fn of(state_dir: &Path) -> Self {
        Self(state_dir.join(FOLDER))
    }
    /// Speaks of another folder that is written in the same careful way.
    pub fn at(folder: PathBuf) -> Self {
        Self(folder)
    }
    pub fn folder(&self) -> &Path {
        &self.0
    }
    pub fn spool(&self) -> PathBuf {
        self.0.join("spool.db")
    }
    pub fn key(&self) -> PathBuf {
        self.0.join("key.pem")
    }
    pub fn certificate(&self) -> PathBuf {
        self.0.join("certificate.pem")
    }
    pub fn ca(&self) -> PathBuf {
        self.0.join("ca.pem")
    }
    pub fn joined(&self) -> PathBuf {
        self.0.join("joined.json")
    }

    /// Makes the folder, for its owner only.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn make_folder(&self) -> io::Result<()> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0)
    }

    /// Writes a file of the identity whole or not at all, for the owner of the folder.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, file: &Path, text: &str, mode: u32) -> io::Result<()> {
        let owner = std::fs::metadata(&self.0)?;
        let beside = file.with_extension("new");
        let _ = std::fs::remove_file(&beside);
        let mut out = std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::fchown(&out, Some(owner.uid()), Some(owner.gid()))?;
        }
        out.write_all(text.as_bytes())?;
        out.sync_all()?;
        std::fs::rename(&beside, file)?;
        std::fs::File::open(&self.0)?.sync_all()
    }

    /// Returns the join.
    ///
    /// # Errors
    /// There was none, or its file cannot be used.
    pub fn read_joined(&self) -> Result<Joined, IdentityError> {
        let file = self.joined();
        let text = match read(&file) {
            Err(IdentityError::Unreadable { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
                return Err(IdentityError::NotJoined);
            }
            other => other?,
        };
        serde_json::from_str(&text).map_err(|e| IdentityError::Unusable { file, reason: e.to_string() })
    }

    /// Returns the TLS configuration by which this host speaks with its server and nobody else.
    ///
    /// # Errors
    /// A file is missing or cannot be used.
    pub fn tls(&self) -> Result<rustls::ClientConfig, IdentityError> {
        let mut roots = rustls::RootCertStore::empty();
        for certificate in certificates(&self.ca())? {
            roots.add(certificate).map_err(|e| unusable(&self.ca(), &e))?;
        }
        let key = PrivateKeyDer::from_pem_slice(read(&self.key())?.as_bytes());
        let key = key.map_err(|e| unusable(&self.key(), &e))?;
        let chain = certificates(&self.certificate())?;
        let mut config = client_builder()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .map_err(|e| unusable(&self.certificate(), &e))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

/// Begins a TLS configuration on the one cryptography that this program carries.
pub fn client_builder() -> rustls::ConfigBuilder<rustls::ClientConfig, rustls::WantsVerifier> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has the default protocol versions")
}

fn unusable(file: &Path, error: &dyn std::fmt::Display) -> IdentityError {
    IdentityError::Unusable { file: file.into(), reason: error.to_string() }
}

fn read(file: &Path) -> Result<String, IdentityError> {
    use std::io::Read;
    let unreadable = |error| IdentityError::Unreadable { file: file.into(), error };
    let mut text = String::new();
    let opened = std::fs::File::open(file).map_err(unreadable)?;
    opened.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(unreadable)?;
    Ok(text)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let text = read(file)?;
    let found = CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<Vec<_>, _>>();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(unusable(file, &"there is no certificate in it")),
        Err(e) => Err(unusable(file, &e)),
    }
}
