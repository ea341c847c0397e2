//! SOPs on this machine and on the server: check, read, sign, install.

mod cases;
mod check;
mod diff;
mod install;
mod show;
mod text;

pub use install::{read_signature, write_signature};

use crate::client::Client;
use crate::failure::Failure;
use crate::keys;
use crate::ui::Ui;
use clap::Subcommand;
use sopwith_domain::playbook::PLAYBOOK_BYTES_MAX;
use std::io::Read;
use std::path::Path;

#[derive(Subcommand, Debug)]
pub enum Playbook {
    /// Checks playbook files without a server; every finding is shown.
    Check(check::Check),
    /// Says who answers the signal of a case, and why the others do not.
    Explain(cases::Explain),
    /// Holds the cases of a folder against its playbooks.
    Test(cases::Test),
    /// Says what changes from one version of a playbook to another.
    Diff(diff::Diff),
    /// Prints the form of a playbook as JSON Schema, for editors.
    #[command(
        after_help = "Example:\n  sopwith playbook schema > playbook.schema.json\n  and in a playbook's first line:\n  # yaml-language-server: $schema=playbook.schema.json"
    )]
    Schema,
    /// Shows a playbook as people read it.
    Show(show::Show),
    /// Signs a playbook that checks.
    Sign(install::Sign),
    /// Hands a signed playbook to the server.
    Install(install::Install),
    /// Lists the installed playbooks.
    List,
    /// Makes a key to sign with.
    #[command(hide = true)]
    Keygen(keys::Keygen),
}

pub async fn run(args: Playbook, ui: &Ui) -> Result<(), Failure> {
    match args {
        Playbook::Check(args) => check::check(args, ui),
        Playbook::Explain(args) => cases::explain(args, ui),
        Playbook::Test(args) => cases::test(args, ui),
        Playbook::Diff(args) => diff::diff(args, ui).await,
        Playbook::Schema => {
            let schema = sopwith_domain::playbook::schema();
            ui.show(&schema, || serde_json::to_string_pretty(&schema).unwrap_or_default())
        }
        Playbook::Show(args) => show::show(args, ui).await,
        Playbook::Sign(args) => install::sign(args, ui),
        Playbook::Install(args) => install::install(args, &Client::from_session()?, ui).await,
        Playbook::List => show::list(&Client::from_session()?, ui).await,
        Playbook::Keygen(args) => keys::generate(&args),
    }
}

/// Reads a document for people, within the bounds that its parser has anyway.
pub fn read(path: &Path) -> Result<String, Failure> {
    let failed = |e: &dyn std::fmt::Display| Failure::failed(format!("cannot read {}: {e}", path.display()));
    let file = std::fs::File::open(path).map_err(|e| failed(&e))?;
    let mut text = String::new();
    file.take(PLAYBOOK_BYTES_MAX as u64 + 1).read_to_string(&mut text).map_err(|e| failed(&e))?;
    Ok(text)
}
