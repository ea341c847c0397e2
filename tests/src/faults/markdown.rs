//! Writes the rows as a table of Markdown, for the documentation.

use super::judge::Row;
use super::round::Outcome;

/// A column: its head, and what stands in it.
type Column = (&'static str, fn(&Row) -> String);

const SEEN: &[Column] = &[
    ("entry", |row| row.id.clone()),
    ("expected", |row| row.forced.as_ref().map_or_else(|| row.expected.clone(), |of| format!("forced {of}"))),
    ("detected", |row| word(row.detected)),
    ("s", |row| seconds(row.detect_s)),
    ("what was said", |row| code(row.kind.as_deref())),
    ("about", |row| code(row.subject.as_deref())),
];

const DONE: &[Column] = &[
    ("matched", |row| word(row.matched)),
    ("SOP", |row| code(row.sop.as_deref())),
    ("fixed", |row| word(row.fixed)),
    ("s", |row| seconds(row.recover_s)),
    ("back exactly", |row| word(row.rollback_exact)),
    ("harm", |row| word(row.harm)),
    ("steps before approval", |row| row.steps_before_approval.map_or_else(dash, |steps| steps.to_string())),
];

/// Returns the table: of what was seen only, or also of what was done.
pub fn table(outcomes: &[Outcome], detect_only: bool) -> String {
    let columns: Vec<Column> = match detect_only {
        true => SEEN.to_vec(),
        false => SEEN.iter().chain(DONE).copied().collect(),
    };
    let mut text = line(columns.iter().map(|(head, _)| (*head).to_owned()));
    text.push_str(&line(columns.iter().map(|_| "---".to_owned())));
    for outcome in outcomes {
        match outcome {
            Outcome::Judged(verdict) => {
                text.push_str(&line(columns.iter().map(|(_, of)| of(&verdict.row))));
            }
            Outcome::Skipped(row) => {
                let rest = columns.iter().skip(3).map(|_| String::new());
                let head = [row.id.clone(), row.expected.clone(), row.reason.clone()];
                text.push_str(&line(head.into_iter().chain(rest)));
            }
        }
    }
    text
}

fn line(cells: impl Iterator<Item = String>) -> String {
    let cells: Vec<String> = cells.map(|cell| cell.replace('|', "\\|").replace('\n', " ")).collect();
    format!("| {} |\n", cells.join(" | "))
}

fn dash() -> String {
    "–".to_owned()
}

fn word(answer: Option<bool>) -> String {
    answer.map_or_else(dash, |yes| if yes { "yes".to_owned() } else { "**no**".to_owned() })
}

fn seconds(value: Option<f64>) -> String {
    value.map_or_else(dash, |seconds| format!("{seconds:.1}"))
}

fn code(text: Option<&str>) -> String {
    text.map_or_else(dash, |text| format!("`{text}`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::judge::Verdict;

    #[test]
    fn a_row_has_as_many_cells_as_the_head() {
        let row = Row {
            id: "A-1".into(),
            expected: "fix".into(),
            detected: Some(true),
            detect_s: Some(1.25),
            matched: Some(false),
            sop: None,
            fixed: None,
            recover_s: None,
            rollback_exact: None,
            harm: Some(false),
            steps_before_approval: Some(0),
            reason: "skipped: needs vm".into(),
            kind: Some("unit.failed".into()),
            subject: Some("unit:a|b".into()),
            other_incidents: vec![],
            forced: None,
        };
        let outcomes =
            [Outcome::Judged(Verdict { row: row.clone(), passed: true }), Outcome::Skipped(row.clone())];
        for (detect_only, cells) in [(true, 6), (false, 13)] {
            let text = table(&outcomes, detect_only);
            for line in text.lines() {
                assert_eq!(line.replace("\\|", "").matches('|').count(), cells + 1, "{line}");
            }
            assert!(text.contains("| A-1 | fix | yes | 1.2 | `unit.failed` | `unit:a\\|b` |"), "{text}");
            assert!(text.contains("| A-1 | fix | skipped: needs vm |"), "{text}");
        }
    }
}
