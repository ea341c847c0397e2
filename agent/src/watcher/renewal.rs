//! The host's certificate is renewed long before it ends, for the key that the host has: who may speak for a host does
//! not change by it, and what was revoked stays so. It is tried until it succeeds; whoever looks sees how old it is.

use super::clock;
use super::identity::Files;
use super::metrics::Metrics;
use reqwest::Client;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sopwith_domain::value::Url;
use sopwith_protocol::api::Problem;
use sopwith_protocol::exchange::{RenewRequest, RenewResponse};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

/// Age at which a certificate, which is good for 90 days, is renewed.
const RENEWED_AFTER: Duration = Duration::from_secs(30 * 24 * 3600);
/// Pause between tries.
const TRIED_EVERY_MS: u64 = 3_600_000;
const TIME_MAX: Duration = Duration::from_secs(30);
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Why a certificate was not renewed.
#[derive(Debug, thiserror::Error)]
pub enum RenewError {
    #[error("failed to make a request for a certificate: {0}")]
    Key(String),
    #[error("failed to ask for a certificate: {0}")]
    Unreachable(String),
    #[error("failed to get a certificate: the server answered {status}: {detail}")]
    Refused { status: u16, detail: String },
    #[error("failed to use the server's answer: {0}")]
    Answer(String),
    #[error("failed to keep the certificate: {0}")]
    Write(std::io::Error),
}

/// When renewal was tried, and whether a new certificate waits to be used.
#[derive(Clone, Debug, Default)]
pub struct Renewal {
    tried_ms: Option<u64>,
    renewed: Arc<AtomicBool>,
}

impl Renewal {
    /// Asks for a new certificate in the background, if it is time.
    pub fn go_on(&mut self, files: &Files, client: &Client, server: &Url, metrics: &Metrics) {
        let written = written(files);
        let since_epoch = written.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
        metrics.certificate_written.set(since_epoch.map_or(0.0, |since| since.as_secs_f64()));
        // A file from the future says nothing of its age.
        let age = written.and_then(|at| SystemTime::now().duration_since(at).ok());
        let now_ms = clock::boot_ms();
        let rested = self.tried_ms.is_none_or(|then_ms| now_ms - then_ms >= TRIED_EVERY_MS);
        if !rested || age.is_some_and(|age| age < RENEWED_AFTER) {
            return;
        }
        self.tried_ms = Some(now_ms);
        let (files, client, server) = (files.clone(), client.clone(), server.clone());
        let renewed = Arc::clone(&self.renewed);
        tokio::spawn(async move {
            match renew(&files, &client, &server).await {
                Ok(()) => {
                    tracing::info!("this host has a new certificate");
                    renewed.store(true, Ordering::Relaxed);
                }
                Err(e) => tracing::warn!("the certificate of this host was not renewed: {e}"),
            }
        });
    }

    /// Says, once, that there is a new certificate to speak with.
    pub fn done(&self) -> bool {
        self.renewed.swap(false, Ordering::Relaxed)
    }
}

/// Returns when the certificate was written.
fn written(files: &Files) -> Option<SystemTime> {
    std::fs::metadata(files.certificate()).and_then(|meta| meta.modified()).ok()
}

async fn renew(files: &Files, client: &Client, server: &Url) -> Result<(), RenewError> {
    let key = std::fs::read_to_string(files.key()).map_err(|e| RenewError::Key(e.to_string()))?;
    let csr_pem = request(&key).map_err(|e| RenewError::Key(e.to_string()))?;
    let address = format!("{}/agent/v1/renew", server.as_str().trim_end_matches('/'));
    let unreachable = |e: reqwest::Error| RenewError::Unreachable(super::uplink::chain(&e));
    let asked = client.post(address).json(&RenewRequest { csr_pem }).timeout(TIME_MAX).send().await;
    let mut response = asked.map_err(unreachable)?;
    let status = response.status();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(RenewError::Answer(format!("it has more than {ANSWER_BYTES_MAX} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    if !status.is_success() {
        let detail = serde_json::from_slice::<Problem>(&body).map_or_else(|_| String::new(), |p| p.detail);
        return Err(RenewError::Refused { status: status.as_u16(), detail });
    }
    let answer: RenewResponse =
        serde_json::from_slice(&body).map_err(|e| RenewError::Answer(e.to_string()))?;
    CertificateDer::from_pem_slice(answer.certificate_pem.as_bytes())
        .map_err(|e| RenewError::Answer(format!("the certificate cannot be read: {e}")))?;
    let file = files.certificate();
    let before = std::fs::read_to_string(&file).map_err(RenewError::Write)?;
    files.write(&file, &answer.certificate_pem, 0o644).map_err(RenewError::Write)?;
    // One that does not go with this host's key would cut it off.
    if let Err(e) = files.tls() {
        files.write(&file, &before, 0o644).map_err(RenewError::Write)?;
        return Err(RenewError::Answer(e.to_string()));
    }
    Ok(())
}

fn request(key_pem: &str) -> Result<String, rcgen::Error> {
    let key = rcgen::KeyPair::from_pem(key_pem)?;
    rcgen::CertificateParams::new(Vec::new())?.serialize_request(&key)?.pem()
}
