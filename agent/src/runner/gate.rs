//! What a warrant is asked against on this host, gathered afresh before every step: lease, stop, declarations,
//! budget, signatures. Whatever cannot be found out counts against the step.

use super::admission::{self, Signers};
use super::budget::Budget;
use super::desk::Desk;
use super::settings::Settings;
use super::{clock, declarations};
use sopwith_domain::action::Action;
use sopwith_domain::ids::Epoch;
use sopwith_domain::order::Order;
use sopwith_domain::plan::Plan;
use sopwith_domain::warrant::Facts;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

/// Longest reason read from the stop file, in bytes.
const STOP_REASON_BYTES_MAX: usize = 512;

/// Gathers [`Facts`].
#[derive(Debug)]
pub struct Gate {
    pub settings: Arc<Settings>,
    pub desk: Arc<Desk>,
    pub epoch: Epoch,
    pub budget: Budget,
}

impl Gate {
    /// Returns what holds now for a plan and the order that it comes from.
    pub fn facts(&self, order: &Order, plan: &Plan) -> Facts {
        let (wall, boot_ms) = (clock::wall(), clock::boot_ms());
        let (server_now, server_stop) = self.desk.lease(boot_ms);
        let signers = Signers::read(&self.settings.allowed_signers);
        let revoked = || admission::documents(order, &signers).err().map(|refusal| refusal.to_string());
        let mut subjects: Vec<_> = plan.touches().into_iter().collect();
        // What a command of the administrator's touches only the configuration here says.
        for step in &plan.steps {
            if let Action::OperatorCommand { command, .. } = &step.action
                && let Some(named) = self.settings.commands.get(command)
            {
                subjects.extend(named.touches.iter().cloned());
            }
        }
        let stated = declarations::read(&self.settings.declarations_dir);
        // The window is in the administrator's time; a wrong clock of either side can only close it longer.
        let forbidden = stated
            .forbid(&subjects, wall)
            .or_else(|| server_now.and_then(|server_now| stated.forbid(&subjects, server_now)));
        Facts {
            host: self.settings.host.clone(),
            epoch: self.epoch,
            server_now,
            stop: Self::stop_file_says(&self.settings.stop_file).or(server_stop).or_else(revoked),
            forbidden,
            automatic_tries: self.budget.tries(order, plan, wall, boot_ms),
            automatic_tries_max: self.settings.automatic_tries_max,
            demand_signatures: self.settings.demand_signatures,
            signed_by: admission::approvers(order, &signers),
            reported: false,
            accepted_ago_ms: 0,
        }
    }

    /// Returns why the host's own stop is set. The file stops by being there, whoever made it.
    pub fn stop_file_says(path: &Path) -> Option<String> {
        match fs::symlink_metadata(path) {
            Err(e) if e.kind() == ErrorKind::NotFound => None,
            Err(e) => Some(format!("the stop file {} cannot be looked at: {e}", path.display())),
            Ok(_) => {
                let text = super::trusted::read(path, STOP_REASON_BYTES_MAX).unwrap_or_default();
                let reason = text.trim();
                let reason = if reason.is_empty() { "no reason given" } else { reason };
                Some(format!("stopped on this host: {reason}"))
            }
        }
    }
}
