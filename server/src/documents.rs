//! Installs signed playbooks and the policy from the server's folders, at start and when told to look again. A bad
//! file is refused with its reason, in the log, on /readyz and as a metric, and what was installed before stays.

use crate::app::App;
use crate::ledger::Failed;
use sopwith_domain::command::Command;
use sopwith_domain::ids::AccountName;
use sopwith_domain::order::SignedText;
use sopwith_domain::people::SERVER_ACCOUNT;
use sopwith_domain::playbook::{PLAYBOOK_BYTES_MAX, Playbook};
use sopwith_domain::policy::{POLICY_BYTES_MAX, Policy};
use sopwith_protocol::signature::{PLAYBOOK_NAMESPACE, POLICY_NAMESPACE};
use std::path::{Path, PathBuf};

/// Longest signature file, in bytes.
const SIGNATURE_BYTES_MAX: u64 = 16 * 1024;
/// Most playbooks read from the folder.
const PLAYBOOKS_MAX: usize = 1000;

/// A file that was not installed, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RefusedFile {
    pub path: PathBuf,
    pub reason: String,
}

/// Reads signers, playbooks and policy, and installs what is new. What could not be used is remembered in the app.
pub async fn load(app: &App) {
    let mut refused = Vec::new();
    if let Err(reason) = app.signers.reload() {
        refused.push(RefusedFile { path: app.config.data_dir.join("allowed_signers"), reason });
    }
    if let Some(folder) = &app.config.playbooks_dir {
        match playbook_files(folder) {
            Ok(files) => {
                for path in files {
                    if let Err(reason) = install(app, &path).await {
                        refused.push(RefusedFile { path, reason });
                    }
                }
            }
            Err(reason) => refused.push(RefusedFile { path: folder.clone(), reason }),
        }
    }
    if let Some(path) = &app.config.policy
        && let Err(reason) = set_policy(app, path).await
    {
        refused.push(RefusedFile { path: path.clone(), reason });
    }
    for RefusedFile { path, reason } in &refused {
        tracing::error!(path = %path.display(), reason, "a signed document was refused");
    }
    app.refused_files(refused);
}

fn playbook_files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            tracing::info!(folder = %folder.display(), "there is no folder of playbooks");
            return Ok(Vec::new());
        }
        Err(error) => return Err(format!("failed to list the folder: {error}")),
    };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut files: Vec<PathBuf> = paths.filter(|p| p.extension().is_some_and(|e| e == "yaml")).collect();
    files.sort();
    if files.len() > PLAYBOOKS_MAX {
        return Err(format!("it holds {} playbooks, at most {PLAYBOOKS_MAX} are read", files.len()));
    }
    Ok(files)
}

/// Reads a document with the signature beside it (`NAME.sig`).
fn read(path: &Path, bytes_max: usize) -> Result<SignedText, String> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".sig");
    Ok(SignedText {
        text: read_bounded(path, bytes_max as u64)?,
        signature: read_bounded(Path::new(&beside), SIGNATURE_BYTES_MAX)?,
    })
}

fn read_bounded(path: &Path, bytes_max: u64) -> Result<String, String> {
    use std::io::Read;
    let failed = |error: std::io::Error| format!("failed to read {}: {error}", path.display());
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(bytes_max + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > bytes_max {
        return Err(format!("{} has more than {bytes_max} bytes", path.display()));
    }
    Ok(text)
}

fn by_server() -> Result<AccountName, String> {
    AccountName::new(SERVER_ACCOUNT).map_err(|error| error.to_string())
}

async fn install(app: &App, path: &Path) -> Result<(), String> {
    let signed = read(path, PLAYBOOK_BYTES_MAX)?;
    let signer = app.signers.verify(PLAYBOOK_NAMESPACE, &signed).map_err(|error| error.to_string())?;
    let playbook = Playbook::parse(&signed.text)
        .map_err(|findings| findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))?;
    let newer = app.ledger.state().playbooks.get(&playbook.id).is_none_or(|known| {
        known.playbook.version < playbook.version
            || (known.playbook.version == playbook.version && known.playbook.digest != playbook.digest)
    });
    if !newer || app.ledger.index().was_retired(&playbook) {
        return Ok(());
    }
    let command = Command::InstallPlaybook { playbook: signed, signer, by: by_server()? };
    decided(app, command).await
}

async fn set_policy(app: &App, path: &Path) -> Result<(), String> {
    let signed = read(path, POLICY_BYTES_MAX)?;
    let signer = app.signers.verify(POLICY_NAMESPACE, &signed).map_err(|error| error.to_string())?;
    let policy = Policy::parse(&signed.text).map_err(|finding| finding.to_string())?;
    let known = app.ledger.state().policy.as_ref().map(|p| (p.policy.version, p.policy.digest));
    match known {
        Some((_, digest)) if digest == policy.digest => Ok(()),
        Some((version, _)) if version > policy.version => Ok(()),
        Some((version, _)) if version == policy.version => {
            Err(format!("policy version {version} is in force; a changed text needs a higher version"))
        }
        _ => decided(app, Command::SetPolicy { policy: signed, signer, by: by_server()? }).await,
    }
}

async fn decided(app: &App, command: Command) -> Result<(), String> {
    match app.ledger.decide(command).await {
        Ok(_) => Ok(()),
        Err(Failed::Refused(refusal)) => Err(refusal.to_string()),
        Err(other) => Err(other.to_string()),
    }
}
