//! Remembers what a source last said of one thing, so that what is not said again is over.

use crate::watcher::report::{Fault, Report, Tolerance};
use sopwith_domain::ids::RuleId;
use sopwith_domain::signal::Subject;
use std::collections::BTreeSet;

/// The conditions that one part of a source said to hold.
#[derive(Debug, Default)]
pub struct Standing(BTreeSet<(RuleId, Subject)>);

impl Standing {
    /// Returns the reports that make these the only conditions of this part.
    pub fn now(&mut self, faults: Vec<(Fault, Tolerance)>) -> Vec<Report> {
        let holds: BTreeSet<_> = faults.iter().map(|(f, _)| (f.rule.clone(), f.subject.clone())).collect();
        let before = std::mem::replace(&mut self.0, holds);
        let over = before.into_iter().filter(|key| !self.0.contains(key));
        let over = over.map(|(rule, subject)| Report::Over { rule, subject });
        let reports: Vec<_> = over.collect();
        reports
            .into_iter()
            .chain(faults.into_iter().map(|(fault, tolerance)| Report::holds(fault, tolerance)))
            .collect()
    }
}

impl Standing {
    /// Returns the reports that these hold as well; of the others nothing is known.
    pub fn also(&mut self, faults: Vec<(Fault, Tolerance)>) -> Vec<Report> {
        self.0.extend(faults.iter().map(|(f, _)| (f.rule.clone(), f.subject.clone())));
        faults.into_iter().map(|(fault, tolerance)| Report::holds(fault, tolerance)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sopwith_domain::signal::Severity;

    #[test]
    fn what_is_not_said_again_is_over() {
        let mut standing = Standing::default();
        let fault =
            |rule: &str| (Fault::new(rule, "x.y", Subject::Host, Severity::Warning, ""), Tolerance::NONE);
        let mut say = |rules: &[&str]| {
            let reports = standing.now(rules.iter().map(|r| fault(r)).collect());
            let told = reports.iter().map(|report| match report {
                Report::Holds { fault, .. } => format!("+{}", fault.rule),
                Report::Over { rule, .. } => format!("-{rule}"),
                other => format!("{other:?}"),
            });
            told.collect::<Vec<_>>().join(" ")
        };
        for (rules, told) in
            [(&["a", "b"][..], "+a +b"), (&["b"], "-a +b"), (&["b", "c"], "+b +c"), (&[], "-b -c"), (&[], "")]
        {
            assert_eq!(say(rules), told, "{rules:?}");
        }
    }
}
