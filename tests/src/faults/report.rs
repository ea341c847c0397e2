//! Prints the rows as a table of at most 100 columns, and writes them as JSON.

use super::catalogue::Expected;
use super::judge::{Row, Verdict};
use super::round::Outcome;

const WIDTH: usize = 100;

/// Returns the rows, judged or skipped, in order: what goes into the JSON file.
pub fn rows(outcomes: &[Outcome]) -> Vec<&Row> {
    outcomes
        .iter()
        .map(|outcome| match outcome {
            Outcome::Judged(verdict) => &verdict.row,
            Outcome::Skipped(row) => row,
        })
        .collect()
}

/// Returns the table; reasons stand below the rows that need them.
pub fn table(outcomes: &[Outcome]) -> String {
    let head = format!(
        "{:<12}{:<19}{:<9}{:>7}  {:<8}{:<6}{:>7}  {:<6}{:<5}{:<6}{}\n",
        "entry", "expected", "detected", "s", "matched", "fixed", "s", "back", "harm", "early", "verdict"
    );
    let mut text = head;
    for outcome in outcomes {
        let (row, verdict) = match outcome {
            Outcome::Judged(Verdict { row, passed: true }) => (row, "ok"),
            Outcome::Judged(Verdict { row, .. }) => (row, "FAILED"),
            Outcome::Skipped(row) => (row, "skipped"),
        };
        text.push_str(&line(row, verdict));
        if !row.reason.is_empty() {
            text.push_str(&format!("    {}\n", shortened(&row.reason)));
        }
        if !row.other_incidents.is_empty() {
            let others = format!("other incidents: {}", row.other_incidents.join(", "));
            text.push_str(&format!("    {}\n", shortened(&others)));
        }
    }
    text
}

fn line(row: &Row, verdict: &str) -> String {
    format!(
        "{:<12}{:<19}{:<9}{:>7}  {:<8}{:<6}{:>7}  {:<6}{:<5}{:<6}{verdict}\n",
        row.id,
        row.forced.as_ref().map_or_else(|| row.expected.clone(), |forced| format!("forced {forced}")),
        word(row.detected),
        seconds(row.detect_s),
        word(row.matched),
        word(row.fixed),
        seconds(row.recover_s),
        word(row.rollback_exact),
        word(row.harm),
        row.steps_before_approval.map_or("-".to_owned(), |steps| steps.to_string()),
    )
}

fn word(answer: Option<bool>) -> &'static str {
    match answer {
        Some(true) => "yes",
        Some(false) => "no",
        None => "-",
    }
}

fn seconds(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |seconds| format!("{seconds:.2}"))
}

fn shortened(text: &str) -> String {
    let one_line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if one_line.chars().count() <= WIDTH - 4 {
        return one_line;
    }
    one_line.chars().take(WIDTH - 5).chain(['…']).collect()
}

/// Returns the last line: what came of all entries.
pub fn totals(outcomes: &[Outcome]) -> String {
    let judged: Vec<&Verdict> = outcomes
        .iter()
        .filter_map(|outcome| match outcome {
            Outcome::Judged(verdict) => Some(verdict),
            Outcome::Skipped(_) => None,
        })
        .collect();
    let passed = judged.iter().filter(|verdict| verdict.passed).count();
    let share = |pick: fn(&Row) -> Option<bool>| {
        let answers: Vec<bool> = judged.iter().filter_map(|verdict| pick(&verdict.row)).collect();
        format!("{}/{}", answers.iter().filter(|answer| **answer).count(), answers.len())
    };
    let harmed = judged.iter().filter(|verdict| verdict.row.harm == Some(true)).count();
    let harm_judged = judged.iter().filter(|verdict| verdict.row.harm.is_some()).count();
    format!(
        "{} trials: {passed} ok, {} failed, {} skipped; detected {}, matched {}, fixed {}{}, exact {}, \
         harm {harmed}/{harm_judged}",
        outcomes.len(),
        judged.len() - passed,
        outcomes.len() - judged.len(),
        share(|row| row.detected.filter(|_| row.expected != Expected::Refrain.name())),
        share(|row| row.matched),
        share(|row| row.fixed),
        recovery(&judged),
        share(|row| row.rollback_exact),
    )
}

/// Says within what time those were well again that needed no person: the median and the 95th percentile.
fn recovery(judged: &[&Verdict]) -> String {
    let automatic = |row: &Row| row.expected == Expected::Fix.name();
    let rows = judged.iter().map(|verdict| &verdict.row).filter(|row| automatic(row));
    let mut took: Vec<f64> = rows.filter_map(|row| row.recover_s).collect();
    took.sort_by(f64::total_cmp);
    let Some(last) = took.len().checked_sub(1) else { return String::new() };
    format!(
        " (automatic: median {:.1} s, p95 {:.1} s)",
        took[last / 2],
        took[(took.len() * 95).div_ceil(100) - 1]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str, reason: &str) -> Row {
        Row {
            id: id.into(),
            expected: "fix_after_approval".into(),
            detected: Some(true),
            detect_s: Some(123.456),
            matched: Some(true),
            sop: Some("x".into()),
            fixed: Some(false),
            recover_s: None,
            rollback_exact: None,
            harm: Some(false),
            steps_before_approval: Some(0),
            reason: reason.into(),
            kind: Some("unit.failed".into()),
            subject: None,
            other_incidents: Vec::new(),
            forced: None,
        }
    }

    #[test]
    fn the_table_is_aligned_and_fits() {
        let long = "why ".repeat(60);
        let outcomes = [
            Outcome::Judged(Verdict { row: row("FS-01", ""), passed: true }),
            Outcome::Judged(Verdict { row: row("SVC-09/fail", &long), passed: false }),
            Outcome::Skipped(row("NET-06", "skipped: needs vm\nnot a container")),
        ];
        let text = table(&outcomes);
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        let column = |line: &str| line.find("fix_after_approval").or_else(|| line.find("expected"));
        assert!(
            text.lines().filter(|line| !line.starts_with(' ')).all(|line| column(line) == Some(12)),
            "{text}"
        );
        assert!(text.contains("needs vm not a container"));
        assert_eq!(
            totals(&outcomes),
            "3 trials: 1 ok, 1 failed, 1 skipped; detected 2/2, matched 2/2, fixed 0/2, exact 0/0, harm 0/2"
        );
        let fixed = |seconds: f64| {
            let row = Row { expected: "fix".into(), recover_s: Some(seconds), ..row("A", "") };
            Outcome::Judged(Verdict { row, passed: true })
        };
        let many: Vec<Outcome> = (1..=20).map(|second| fixed(f64::from(second))).collect();
        assert!(totals(&many).contains("(automatic: median 10.0 s, p95 19.0 s)"), "{}", totals(&many));
    }

    #[test]
    fn the_json_has_exactly_the_agreed_fields() {
        let value = serde_json::to_value(rows(&[Outcome::Skipped(row("A", "b"))])).expect("plain data");
        let mut keys: Vec<&String> = value[0].as_object().expect("object").keys().collect();
        keys.sort();
        let mut agreed = [
            "id",
            "expected",
            "detected",
            "detect_s",
            "matched",
            "sop",
            "fixed",
            "recover_s",
            "rollback_exact",
            "harm",
            "steps_before_approval",
            "reason",
            "kind",
            "subject",
            "other_incidents",
        ];
        agreed.sort_unstable();
        assert_eq!(keys, agreed);
        assert_eq!(value[0]["recover_s"], serde_json::Value::Null);
    }
}
