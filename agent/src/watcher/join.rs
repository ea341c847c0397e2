//! Makes this machine a managed host: a key that never leaves it, a certificate for that key from the server whose CA
//! was named by its digest, and the key by which the runner knows the server's orders. Nothing is written before the
//! server has agreed, and a host that has joined is not joined again by accident.

use super::identity::{Files, IdentityError, Joined, client_builder};
use crate::config::Config;
use crate::runner_protocol::{Client, Request, Response};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sopwith_domain::ids::{Digest, Epoch};
use sopwith_domain::value::Url;
use sopwith_protocol::api::Problem;
use sopwith_protocol::exchange::{JoinRequest, JoinResponse};
use sopwith_protocol::pinned::PinnedCa;
use sopwith_protocol::signature::AllowedSigners;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// Longest time for the whole conversation.
const TIME_MAX: Duration = Duration::from_secs(30);
/// Largest answer, in bytes.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// User of the watcher, where the package made one.
const USER: &str = "sopwith";

/// What `join` is told.
#[derive(clap::Args, Debug)]
pub struct JoinArguments {
    /// Address of the server's agent port, as in https://192.0.2.10:8443.
    #[arg(long)]
    pub server: String,
    /// Single-use token from `sopwith host join-token`.
    #[arg(long)]
    pub token: String,
    /// SHA-256 of the server's CA certificate, in hexadecimal.
    #[arg(long)]
    pub ca_sha256: String,
    /// Join although this host has joined already; the old certificate is thrown away.
    #[arg(long)]
    pub again: bool,
}

/// Why the host did not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    #[error("{0}")]
    Config(#[from] crate::config::ConfigError),
    #[error("failed to understand --{argument}: {reason}")]
    Argument { argument: &'static str, reason: String },
    #[error("failed to join {server}: this host has joined {earlier} already; `--again` joins anew")]
    JoinedAlready { server: Url, earlier: Url },
    #[error("failed to make a key or a request for a certificate: {0}")]
    Key(#[from] rcgen::Error),
    #[error("failed to speak with {server}: {reason}")]
    Unreachable { server: Url, reason: String },
    #[error("failed to join {server}: it answered {status}: {detail}")]
    Refused { server: Url, status: u16, detail: String },
    #[error("failed to use the server's answer: {0}")]
    Answer(String),
    #[error("failed to write {}: {error}", .file.display())]
    Write { file: PathBuf, error: io::Error },
    #[error("{0}")]
    Identity(#[from] IdentityError),
}

/// Joins, and says on the terminal what came of it.
pub fn join(config: &Path, arguments: &JoinArguments) -> ExitCode {
    match attempt(config, arguments) {
        Ok(joined) => {
            println!("{} has joined {}; start sopwith-agent to begin", joined.host, joined.server);
            ExitCode::SUCCESS
        }
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}

fn attempt(config: &Path, arguments: &JoinArguments) -> Result<Joined, JoinError> {
    let config = Config::load(config)?;
    let wrong = |argument: &'static str, reason: String| JoinError::Argument { argument, reason };
    let server = Url::new(arguments.server.as_str()).map_err(|e| wrong("server", e.to_string()))?;
    if !server.as_str().starts_with("https://") {
        return Err(wrong("server", "the address must begin with https://".into()));
    }
    let pin: Digest = arguments
        .ca_sha256
        .to_ascii_lowercase()
        .replace(':', "")
        .parse()
        .map_err(|e: sopwith_domain::ids::InvalidName| wrong("ca-sha256", e.to_string()))?;
    let files = Files::of(config.state_dir.path());
    match files.read_joined() {
        Ok(earlier) if !arguments.again => {
            return Err(JoinError::JoinedAlready { server, earlier: earlier.server });
        }
        Ok(_) | Err(IdentityError::NotJoined) => {}
        Err(e) if !arguments.again => return Err(e.into()),
        Err(_) => {}
    }
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let request = JoinRequest {
        token: arguments.token.clone(),
        host: config.host.clone().into_inner(),
        epoch: epoch(config.runtime_dir.path()),
        csr_pem: rcgen::CertificateParams::new(Vec::new())?.serialize_request(&key)?.pem()?,
    };
    let answer = ask(&server, pin, &request)?;
    check(&answer, pin)?;
    let joined = Joined { server, host: request.host, epoch: request.epoch, ca_sha256: pin.to_string() };
    keep(&config, &files, &key.serialize_pem(), &answer, &joined)?;
    Ok(joined)
}

/// Returns the life of the host by the runner's word, or a new one where the runner has not begun yet.
fn epoch(runtime_dir: &Path) -> Epoch {
    let asked = Client::connect(runtime_dir).and_then(|mut c| c.ask(&Request::Status { challenge: false }));
    match asked {
        Ok(Response::Status(status) | Response::Records { status, .. }) => status.epoch,
        Ok(
            Response::Refused { .. }
            | Response::Checked { .. }
            | Response::Blocked { .. }
            | Response::Live { .. }
            | Response::DryRun { .. },
        )
        | Err(_) => Epoch(rand::random_range(1..=u64::MAX)),
    }
}

fn ask(server: &Url, pin: Digest, request: &JoinRequest) -> Result<JoinResponse, JoinError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let unreachable = |reason: String| JoinError::Unreachable { server: server.clone(), reason };
    runtime.map_err(|e| unreachable(e.to_string()))?.block_on(async {
        let verifier = Arc::new(PinnedCa::new(pin));
        let mut tls = client_builder()
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&verifier) as Arc<_>)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIME_MAX)
            .build()
            .map_err(|e| unreachable(e.to_string()))?;
        let address = format!("{}/agent/v1/join", server.as_str().trim_end_matches('/'));
        let sent = client.post(address).json(request).send().await;
        let mut response = sent.map_err(|e| unreachable(super::uplink::chain(&e)))?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| unreachable(e.to_string()))? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(JoinError::Answer(format!("it has more than {ANSWER_BYTES_MAX} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        if !status.is_success() {
            let detail = serde_json::from_slice::<Problem>(&body)
                .map_or_else(|_| "no reason given".into(), |p| p.detail);
            return Err(JoinError::Refused { server: server.clone(), status: status.as_u16(), detail });
        }
        serde_json::from_slice(&body).map_err(|e| JoinError::Answer(e.to_string()))
    })
}

/// Checks everything of the answer before anything is written.
fn check(answer: &JoinResponse, pin: Digest) -> Result<(), JoinError> {
    let ca = CertificateDer::from_pem_slice(answer.ca_pem.as_bytes());
    let ca = ca.map_err(|e| JoinError::Answer(format!("its CA certificate cannot be read: {e}")))?;
    if Digest::of(&ca) != pin {
        return Err(JoinError::Answer("it names another CA than the one whose digest was given".into()));
    }
    if !answer.server_key.starts_with("ssh-") || answer.server_key.trim().lines().count() != 1 {
        return Err(JoinError::Answer("its order key is not one OpenSSH public key".into()));
    }
    AllowedSigners::parse(&answer.allowed_signers).map_err(|e| JoinError::Answer(e.to_string()))?;
    Ok(())
}

fn keep(
    config: &Config,
    files: &Files,
    key_pem: &str,
    answer: &JoinResponse,
    joined: &Joined,
) -> Result<(), JoinError> {
    let at = |file: &Path| {
        let file = file.to_owned();
        move |error| JoinError::Write { file, error }
    };
    std::fs::create_dir_all(config.state_dir.path()).map_err(at(config.state_dir.path()))?;
    let new = !files.folder().exists();
    files.make_folder().map_err(at(files.folder()))?;
    if new
        && rustix::process::geteuid().is_root()
        && let Some((uid, gid)) = user(USER)
    {
        std::os::unix::fs::chown(files.folder(), Some(uid), Some(gid)).map_err(at(files.folder()))?;
    }
    for (file, text, mode) in [
        (files.key(), key_pem, 0o600),
        (files.certificate(), &answer.certificate_pem, 0o644),
        (files.ca(), &answer.ca_pem, 0o644),
    ] {
        files.write(&file, text, mode).map_err(at(&file))?;
    }
    files.tls()?;
    let runner = Files::at(config.state_dir.path().join("runner"));
    runner.make_folder().map_err(at(runner.folder()))?;
    let server_key = runner.folder().join("server_key");
    let line = format!("{}\n", answer.server_key.trim());
    runner.write(&server_key, &line, 0o600).map_err(at(&server_key))?;
    let signers = config.allowed_signers.path();
    if !signers.exists() {
        let folder = Files::at(signers.parent().unwrap_or(Path::new("/")).to_owned());
        std::fs::create_dir_all(folder.folder()).map_err(at(folder.folder()))?;
        folder.write(signers, &answer.allowed_signers, 0o644).map_err(at(signers))?;
    }
    let text = serde_json::to_string_pretty(joined).expect("a join has string keys and no floats");
    files.write(&files.joined(), &text, 0o644).map_err(at(&files.joined()))
}

/// Returns the numbers of a user and his group, by the machine's own list.
fn user(name: &str) -> Option<(u32, u32)> {
    let list = std::fs::read_to_string("/etc/passwd").ok()?;
    let line = list.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut numbers = line.split(':').skip(2);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}
