//! `playbook show` and `playbook list`.

use super::{read, text};
use crate::client::{Client, escape};
use crate::failure::Failure;
use crate::ui::{Cell, Ui};
use crate::words;
use clap::Args;
use sopwith_domain::ids::PlaybookId;
use sopwith_domain::playbook::Playbook;
use sopwith_protocol::api::{PlaybookView, TrustView};
use std::path::Path;

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  sopwith playbook show playbooks/restart-failed-unit.yaml
  sopwith playbook show restart-failed-unit --markdown > sop.md")]
pub struct Show {
    /// A file, or the id of an installed playbook.
    #[arg(value_name = "FILE|ID")]
    what: String,
    /// As Markdown, to print or to publish.
    #[arg(long)]
    markdown: bool,
}

pub async fn show(args: Show, ui: &Ui) -> Result<(), Failure> {
    let (source, signer, raw) = source(&args.what).await?;
    let playbook = Playbook::parse(&source).map_err(|findings| {
        let mut failure = Failure::failed(format!("{} does not check", args.what));
        failure.details = findings.iter().map(|f| format!("{}:{f}", args.what)).collect();
        failure
    })?;
    let raw = raw.unwrap_or_else(|| {
        serde_json::json!({
            "id": playbook.id, "version": playbook.version, "title": playbook.title,
            "risk": playbook.risk, "digest": playbook.digest, "text": source,
        })
    });
    ui.show(&raw, || match args.markdown {
        true => playbook.to_markdown(),
        false => text::terminal(&playbook, signer.as_deref(), ui),
    })
}

/// Returns the text of a file, or of an installed playbook with its signer and the server's whole answer.
pub async fn source(what: &str) -> Result<(String, Option<String>, Option<serde_json::Value>), Failure> {
    let path = Path::new(what);
    if path.exists() {
        return Ok((words::clean(&read(path)?), None, None));
    }
    let id = PlaybookId::new(what)
        .map_err(|_| Failure::usage(format!("there is no file {what}, and it is no id of a playbook")))?;
    let client = Client::from_session()?;
    let answer = client.get::<PlaybookView>(&format!("/playbooks/{}", escape(id.as_str()))).await?;
    Ok((answer.view.text, Some(answer.view.signer), Some(answer.raw)))
}

/// Lists what is installed.
pub async fn list(client: &Client, ui: &Ui) -> Result<(), Failure> {
    let raw = client.get_raw("/playbooks").await?;
    // The list is short and may come as a page or bare.
    let items = raw.get("items").unwrap_or(&raw).clone();
    let playbooks: Vec<PlaybookView> = crate::client::view(&items)?;
    ui.show(&items, || {
        if playbooks.is_empty() {
            return "No SOP is installed. `sopwith playbook install FILE` hands one to the server.".into();
        }
        let rows = playbooks.iter().map(|p| {
            vec![
                Cell::new(&p.id),
                Cell::number(p.version),
                Cell::new(&p.risk),
                Cell::new(trust(&p.trust)),
                Cell::new(&p.signer),
                Cell::new(&p.title),
            ]
        });
        ui.table(&["SOP", "VERSION", "RISK", "TRUST", "SIGNED BY", "WHAT IT DOES"], 5, rows.collect())
    })
}

/// Returns how far an SOP is trusted; where there are several environments, in how many it runs by itself.
fn trust(trust: &[TrustView]) -> String {
    match trust {
        [] => "–".into(),
        [one] if one.stage == "auto" => "auto".into(),
        [one] => format!("{} {}/{}", one.stage, one.count, one.runs),
        several => {
            let auto = several.iter().filter(|one| one.stage == "auto").count();
            format!("auto in {auto} of {}", several.len())
        }
    }
}
