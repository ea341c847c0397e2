//! `sopwith run --dry-run INCIDENT`: what each step of the plan would change on the real host. Nothing is changed, so
//! nothing is asked before; the question and its answer stand in the audit.

use crate::client::Client;
use crate::failure::Failure;
use crate::ui::{Tone, Ui};
use crate::{incident, words};
use reqwest::Method;
use sopwith_domain::ids::IncidentId;
use sopwith_protocol::api::{AskedView, DryRunView};

/// Asks the host and prints what it found.
pub async fn dry_run(id: IncidentId, client: &Client, ui: &Ui) -> Result<(), Failure> {
    let path = format!("{}/dry-run", incident::path(id));
    let raw = client.send(Method::POST, &path, None::<&()>, None).await?;
    let view: DryRunView = crate::client::view(&raw)?;
    ui.show(&raw, || {
        let head = format!("  {}  plan {}\n", ui.paint(Tone::Strong, &id.to_string()), view.plan.short());
        let mut out = format!("{head}{}", text(&view, ui));
        if view.state == "looked" {
            out.push_str(&format!("\n  Nothing was changed. To go on: sopwith approve {id}\n"));
        }
        out
    })?;
    match view.state.as_str() {
        "looked" => Ok(()),
        // What there was to say has been said.
        _ => Err(Failure::told()),
    }
}

/// Returns a dry run as people read it.
pub fn text(view: &DryRunView, ui: &Ui) -> String {
    let mut out = String::new();
    let by = format!("asked by {} {}", view.asked_by, words::when(&view.asked_at, ui.now));
    let (tone, word) = match view.state.as_str() {
        "looked" => (Tone::Good, "✓ looked, nothing changed"),
        "refused" => (Tone::Attention, "✗ the host did not look"),
        "asked" => (Tone::Attention, "… the host has not answered yet"),
        _ => (Tone::Attention, "✗ the host did not answer"),
    };
    out.push_str(&format!("  {}\n", ui.paint(tone, word)));
    let mut row = |label: &str, text: &str| ui.labelled(&mut out, 2, label, text);
    row("asked", &by);
    view.reason.iter().for_each(|reason| row("because", reason));
    view.against.iter().for_each(|against| row("refused", &format!("as things stand: {against}")));
    for (n, step) in view.steps.iter().enumerate() {
        ui.hanging(&mut out, 4, 3, &(n + 1).to_string(), &step.sentence);
        for would in &step.would {
            ui.hanging(&mut out, 7, 2, "→", would);
        }
        step.require.iter().for_each(|asked| check(&mut out, 7, asked, ui));
        if let Some(cannot) = &step.cannot {
            ui.hanging(&mut out, 7, 2, "!", cannot);
        }
    }
    if !view.verify.is_empty() {
        out.push_str("    verified afterwards; as it stands now\n");
        view.verify.iter().for_each(|asked| check(&mut out, 7, asked, ui));
    }
    out
}

fn check(out: &mut String, indent: usize, asked: &AskedView, ui: &Ui) {
    let glyph = match asked.holds {
        Some(true) => "✓",
        Some(false) => "✗",
        None => "?",
    };
    let detail = if asked.detail.is_empty() { String::new() } else { format!(": {}", asked.detail) };
    ui.hanging(out, indent, 2, glyph, &format!("{}{detail}", asked.check));
}
