//! What a benchmark says: a table for people, and rows for other programs. Pure.

use super::figures::Figures;
use serde::{Deserialize, Serialize};
use std::fmt::Write;

/// One comparison. The names of the fields are a contract: other programs read them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    pub work: String,
    /// Our median.
    pub ours: f64,
    /// The peer's median.
    pub peer: f64,
    pub peer_name: String,
    pub unit: String,
    /// `ours / peer`.
    pub ratio: f64,
    pub goal_ratio: f64,
    pub higher_is_better: bool,
}

impl Row {
    /// Compares two measurements of the same work, in milliseconds.
    pub fn times(work: &str, ours: &Figures, peer: &Figures, peer_name: &str, goal_ratio: f64) -> Row {
        Row::of(work, (ours.median, peer.median), peer_name, "ms", goal_ratio)
    }

    /// Compares two values in a unit of their own, ours first; less is better.
    pub fn of(work: &str, (ours, peer): (f64, f64), peer_name: &str, unit: &str, goal_ratio: f64) -> Row {
        Row {
            work: work.into(),
            ours: rounded(ours),
            peer: rounded(peer),
            peer_name: peer_name.into(),
            unit: unit.into(),
            ratio: rounded(ours / peer),
            goal_ratio,
            higher_is_better: false,
        }
    }

    /// Compares two speeds of the same work, in megabytes per second of processor time.
    pub fn speeds(work: &str, ours: &Figures, peer: &Figures, peer_name: &str, goal_ratio: f64) -> Row {
        Row {
            unit: "MB/s".into(),
            higher_is_better: true,
            ..Row::times(work, ours, peer, peer_name, goal_ratio)
        }
    }

    pub fn met(&self) -> bool {
        if self.higher_is_better { self.ratio >= self.goal_ratio } else { self.ratio <= self.goal_ratio }
    }
}

/// More digits than these are noise.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// Prints the comparisons.
pub fn table(rows: &[Row]) -> String {
    let work = width(rows, |row| &row.work);
    let peer = width(rows, |row| &row.peer_name);
    let mut text = format!(
        "{:<work$}  {:>9}  {:>9}  {:<peer$}  {:<4}  {:>6}  {:>6}\n",
        "work", "ours", "peer", "", "unit", "ratio", "goal"
    );
    for row in rows {
        let word = if row.met() { "ok" } else { "miss" };
        let _ = writeln!(
            text,
            "{:<work$}  {:>9.2}  {:>9.2}  {:<peer$}  {:<4}  {:>6.3}  {:>6.3}  {word}",
            row.work, row.ours, row.peer, row.peer_name, row.unit, row.ratio, row.goal_ratio
        );
    }
    text
}

fn width(rows: &[Row], of: impl Fn(&Row) -> &str) -> usize {
    rows.iter().map(|row| of(row).chars().count()).max().unwrap_or(0)
}

/// Prints measurements with their ranges; each has a name, and nothing where no round told it.
pub fn ranges(title: &str, measured: &[(String, Option<Figures>)]) -> String {
    ranges_in(title, "ms", measured)
}

/// The same in another unit.
pub fn ranges_in(title: &str, unit: &str, measured: &[(String, Option<Figures>)]) -> String {
    let name = measured.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let mut text = format!("{title} ({unit})\n");
    for (what, figures) in measured {
        let _ = match figures {
            None => writeln!(text, "  {what:<name$}  not measured"),
            Some(f) => writeln!(
                text,
                "  {what:<name$}  median {:>7.1}  from {:>7.1} to {:>7.1}, 90 % within {:>7.1}  ({} rounds)",
                f.median, f.least, f.most, f.p90, f.rounds
            ),
        };
    }
    text
}

/// Writes the rows as JSON.
pub fn json(rows: &[Row]) -> Result<String, serde_json::Error> {
    Ok(serde_json::to_string_pretty(rows)? + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn rows() -> Vec<Row> {
        let ours = Figures::of(&[20.0, 41.25, 90.0]).expect("rounds");
        let peer = Figures::of(&[400.0, 500.0]).expect("rounds");
        vec![Row::times("a → b", &ours, &peer, "Peer 1", 0.1), Row::times("b", &ours, &peer, "Peer 1", 0.05)]
    }

    #[test]
    fn rows_are_written_in_the_agreed_form() {
        let text = super::json(&rows()).expect("JSON");
        let value: Value = serde_json::from_str(&text).expect("JSON");
        let expected = json!({"work": "a → b", "ours": 41.25, "peer": 450.0, "peer_name": "Peer 1", "unit": "ms",
            "ratio": 0.092, "goal_ratio": 0.1, "higher_is_better": false});
        assert_eq!(value[0], expected);
        assert_eq!(value.as_array().map(Vec::len), Some(2));
    }

    #[test]
    fn the_table_says_what_met_its_goal() {
        let text = table(&rows());
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].starts_with("a → b") && lines[1].ends_with("ok"), "{text}");
        assert!(lines[2].ends_with("miss"), "{text}");
        let faster = Row { higher_is_better: true, ratio: 3.0, goal_ratio: 2.0, ..rows().remove(0) };
        assert!(faster.met());
    }

    #[test]
    fn ranges_say_what_was_not_measured() {
        let text = ranges("t", &[("x".into(), Figures::of(&[1.0])), ("y".into(), None)]);
        assert!(text.contains("x  median     1.0") && text.contains("y  not measured"), "{text}");
    }
}
