//! Why Sopwith does what it does about an incident: this SOP, not the others, or nothing.

use crate::client::Client;
use crate::failure::Failure;
use crate::incident;
use crate::ui::{Tone, Ui};
use clap::Args;
use sopwith_domain::ids::IncidentId;
use sopwith_domain::matching::Candidate;
use sopwith_protocol::api::IncidentView;

#[derive(Args, Debug)]
#[command(after_help = "Example:\n  sopwith explain INC-7")]
pub struct Explain {
    /// As in INC-7.
    incident: IncidentId,
}

pub async fn explain(args: Explain, client: &Client, ui: &Ui) -> Result<(), Failure> {
    let answer = client.get::<IncidentView>(&incident::path(args.incident)).await?;
    ui.show(&answer.raw, || text(&answer.view, ui))
}

fn text(incident: &IncidentView, ui: &Ui) -> String {
    let mut out = incident::head(incident, ui);
    incident::section(&mut out, "Why this is done", ui);
    for line in ui.wrap(&outcome(incident), 2) {
        out.push_str(&format!("  {line}\n"));
    }
    let chosen = incident.summary.playbook.as_deref();
    let is_chosen = |c: &&Candidate| Some(c.playbook.as_str()) == chosen;
    for candidate in incident.candidates.iter().filter(is_chosen) {
        incident::section(&mut out, &format!("Why {} version {}", candidate.playbook, candidate.version), ui);
        reasons(&mut out, candidate, ui);
    }
    for candidate in incident.candidates.iter().filter(|c| !is_chosen(c)) {
        let title = format!("Why not {} version {}", candidate.playbook, candidate.version);
        incident::section(&mut out, &title, ui);
        reasons(&mut out, candidate, ui);
        if candidate.matches && chosen.is_some() {
            let text = format!("  its priority {} is not the highest\n", candidate.priority);
            out.push_str(&text);
        }
    }
    out
}

/// Says in a sentence or two what became of the matching.
fn outcome(incident: &IncidentView) -> String {
    let matching = incident.candidates.iter().filter(|c| c.matches).count();
    let best = match (&incident.summary.playbook, incident.candidates.len(), matching) {
        (Some(playbook), ..) => format!("The SOP {playbook} answers this fault."),
        (None, 0, _) => format!(
            "No installed SOP answers {}: a person must look. `sopwith playbook list` shows what there is.",
            incident.summary.kind
        ),
        (None, _, 0) => "SOPs answer this kind of fault, but none fits what the host reported.".into(),
        (None, _, 1) => "One SOP fits, and nothing was proposed with it.".into(),
        (None, _, several) => {
            format!(
                "{several} SOPs fit equally well. That is nobody's choice but a person's: give one a higher priority."
            )
        }
    };
    let why_not = incident
        .why_not
        .as_ref()
        .map_or_else(String::new, |why| format!(" Nothing is done now: {}.", why.trim_end_matches('.')));
    format!("{best}{why_not} At present: {}.", incident.summary.status.trim_end_matches('.'))
}

fn reasons(out: &mut String, candidate: &Candidate, ui: &Ui) {
    for reason in &candidate.reasons {
        let (tone, glyph) = if reason.speaks_for { (Tone::Good, "✓") } else { (Tone::Bad, "✗") };
        let mut lines = ui.wrap(&reason.text, 4).into_iter();
        out.push_str(&format!("  {} {}\n", ui.paint(tone, glyph), lines.next().unwrap_or_default()));
        lines.for_each(|line| out.push_str(&format!("    {line}\n")));
    }
}
