//! What goes to the terminal: tables, colour, wrapping, questions. Colour is only used where standard output is a
//! terminal and `NO_COLOR` is not set, and never says anything that a word does not say too.

use crate::failure::Failure;
use crate::words::clean;
use clap::ValueEnum;
use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Row, Table, Width};
use serde::Serialize;
use sopwith_domain::time::Timestamp;
use sopwith_protocol::plain::misleading;
use std::io::{BufRead, IsTerminal, Write};
use std::time::{SystemTime, UNIX_EPOCH};

/// Width of what is printed where no terminal says otherwise.
const WIDTH_DEFAULT: usize = 80;
/// Widest text; longer lines are hard to read.
const WIDTH_MAX: usize = 160;
/// Width of the column of labels, the gap included.
const LABEL_WIDTH: usize = 11;

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// As the API answers, for programs.
    Json,
    /// The same as YAML.
    Yaml,
}

/// What a colour means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tone {
    Good,
    Attention,
    Bad,
    Quiet,
    Strong,
}

#[derive(Clone, Debug)]
pub struct Ui {
    pub format: Format,
    pub colour: bool,
    pub width: usize,
    pub now: Timestamp,
}

impl Ui {
    pub fn new(format: Format) -> Self {
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|v| v == "dumb");
        let terminal = std::io::stdout().is_terminal();
        Self { format, colour: terminal && !no_colour && !dumb, width: width(terminal), now: now() }
    }

    /// Prints the value as the format asks: the API's own form for programs, `human` for people.
    pub fn show<T: Serialize>(&self, raw: &T, human: impl FnOnce() -> String) -> Result<(), Failure> {
        let unprintable =
            |e: &dyn std::fmt::Display| Failure::failed(format!("cannot print the answer: {e}"));
        let text = match self.format {
            Format::Table => human(),
            Format::Json => escaped(&serde_json::to_string_pretty(raw).map_err(|e| unprintable(&e))?),
            Format::Yaml => clean(&serde_saphyr::to_string(raw).map_err(|e| unprintable(&e))?),
        };
        print_out(&text)
    }

    /// Prints words for people: to standard output, or to standard error where that belongs to a program.
    pub fn say(&self, text: &str) -> Result<(), Failure> {
        if self.format == Format::Table {
            return print_out(text);
        }
        eprintln!("{}", text.trim_end());
        Ok(())
    }

    /// Colours a word.
    pub fn paint(&self, tone: Tone, text: &str) -> String {
        if self.colour { format!("{}{text}\x1b[0m", code(tone)) } else { text.to_owned() }
    }

    /// Colours a word that goes to standard error.
    pub fn bad_on_stderr(&self, text: &str) -> String {
        let colour =
            std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        if colour { format!("{}{text}\x1b[0m", code(Tone::Bad)) } else { text.to_owned() }
    }

    /// Asks whether to go on; what it is about has been shown before.
    ///
    /// # Errors
    /// Usage, if nobody can be asked; failed, if the answer is anything but yes.
    pub fn confirm(&self, question: &str, yes: bool) -> Result<(), Failure> {
        if yes {
            return Ok(());
        }
        if !std::io::stdin().is_terminal() {
            return Err(Failure::usage("nobody can be asked, because standard input is no terminal")
                .help("add --yes if you are sure"));
        }
        eprint!("{question} [y/N] ");
        let _ = std::io::stderr().flush();
        let mut answer = String::new();
        let read = std::io::stdin().lock().read_line(&mut answer);
        match (read, answer.trim().to_lowercase().as_str()) {
            (Ok(_), "y" | "yes") => Ok(()),
            _ => Err(Failure::failed("nothing was done")),
        }
    }

    /// Lays out rows under a header in aligned columns; the column `flexible` gives way, the others do not.
    pub fn table(&self, header: &[&str], flexible: usize, rows: Vec<Vec<Cell>>) -> String {
        let mut table = Table::new();
        table.load_preset(comfy_table::presets::NOTHING);
        table.force_no_tty().set_width(u16::try_from(self.width).unwrap_or(u16::MAX));
        table.set_content_arrangement(ContentArrangement::Dynamic).set_truncation_indicator("…");
        // No word ends a line early: a cell that is cut is cut at the column's edge.
        table.set_delimiter('\0');
        let mut first = Row::from(header.iter().map(|h| (*h).to_owned()).collect::<Vec<_>>());
        first.max_height(1);
        table.set_header(first);
        for row in &rows {
            let cells = row.iter().map(|c| comfy_table::Cell::new(&c.text));
            let mut row = Row::from(cells.collect::<Vec<_>>());
            row.max_height(1);
            table.add_row(row);
        }
        let fixed = table.column_max_content_widths();
        for (n, column) in table.column_iter_mut().enumerate() {
            column.set_padding((0, if n + 1 == header.len() { 0 } else { 2 }));
            if n != flexible {
                let width = fixed[n].saturating_add(column.padding_width());
                column.set_constraint(ColumnConstraint::Absolute(Width::Fixed(width)));
            }
            if rows.iter().any(|r| r.get(n).is_some_and(|c| c.right)) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        self.colour_cells(&table.trim_fmt(), &rows)
    }

    /// Colours the cells of a finished table, so that escape codes never take part in the layout.
    fn colour_cells(&self, table: &str, rows: &[Vec<Cell>]) -> String {
        let mut lines: Vec<String> = table.lines().map(str::to_owned).collect();
        if !self.colour {
            return lines.join("\n");
        }
        for (line, row) in lines.iter_mut().skip(1).zip(rows) {
            for cell in row {
                if let Some(tone) = cell.tone
                    && let Some(at) = line.find(&cell.text)
                {
                    line.replace_range(at..at + cell.text.len(), &self.paint(tone, &cell.text));
                }
            }
        }
        if let Some(head) = lines.first_mut() {
            *head = self.paint(Tone::Quiet, head);
        }
        lines.join("\n")
    }

    /// Breaks text into lines that fit beside `indent` columns.
    pub fn wrap(&self, text: &str, indent: usize) -> Vec<String> {
        let room = self.width.saturating_sub(indent).max(20);
        text.lines().flat_map(|line| wrap_line(line, room)).collect()
    }

    /// Appends text behind a label, its further lines hanging under the first.
    pub fn labelled(&self, out: &mut String, indent: usize, label: &str, text: &str) {
        self.hanging(out, indent, LABEL_WIDTH, label, text);
    }

    /// The same with a label column of a given width.
    pub fn hanging(&self, out: &mut String, indent: usize, width: usize, label: &str, text: &str) {
        let hang = indent + width.max(label.chars().count() + 1);
        let mut lines = self.wrap(text, hang).into_iter();
        let first = lines.next().unwrap_or_default();
        let gap = hang - indent - label.chars().count();
        let label = self.paint(Tone::Quiet, label);
        out.push_str(&format!("{:indent$}{label}{:gap$}{first}\n", "", ""));
        for line in lines {
            out.push_str(&format!("{:hang$}{line}\n", ""));
        }
    }

    /// Appends names and what they stand for, aligned among themselves.
    pub fn pairs<'a>(
        &self,
        out: &mut String,
        indent: usize,
        pairs: impl IntoIterator<Item = (&'a str, String)>,
    ) {
        let pairs: Vec<(&str, String)> = pairs.into_iter().collect();
        let longest = pairs.iter().map(|(name, _)| name.chars().count() + 2).max().unwrap_or(0);
        for (name, text) in pairs {
            self.hanging(out, indent, longest.max(LABEL_WIDTH), name, &text);
        }
    }
}

/// One cell of a table.
#[derive(Clone, Debug)]
pub struct Cell {
    text: String,
    tone: Option<Tone>,
    right: bool,
}

impl Cell {
    pub fn new(text: impl Into<String>) -> Self {
        // A line break in what a host said must not look like another row.
        let text: String = text.into().replace(['\n', '\t'], " ");
        Self { text, tone: None, right: false }
    }

    pub fn toned((tone, text): (Tone, String)) -> Self {
        Self { tone: Some(tone), ..Self::new(text) }
    }

    pub fn number(number: impl std::fmt::Display) -> Self {
        Self { right: true, ..Self::new(number.to_string()) }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text)
    }
}

fn code(tone: Tone) -> &'static str {
    match tone {
        Tone::Good => "\x1b[32m",
        Tone::Attention => "\x1b[33m",
        Tone::Bad => "\x1b[31m",
        Tone::Quiet => "\x1b[2m",
        Tone::Strong => "\x1b[1m",
    }
}

fn width(terminal: bool) -> usize {
    let columns = std::env::var("COLUMNS").ok().and_then(|c| c.parse::<usize>().ok());
    let measured = || terminal.then(|| Table::new().width().map(usize::from)).flatten();
    columns.or_else(measured).unwrap_or(WIDTH_DEFAULT).clamp(40, WIDTH_MAX)
}

/// Returns the time now, by this machine's clock.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Prints to standard output. A reader who went away (`| head`) is no failure.
pub fn print_out(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let written = writeln!(out, "{}", text.trim_end_matches('\n')).and_then(|()| out.flush());
    match written {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("cannot write to standard output: {e}")))
        }
        _ => Ok(()),
    }
}

fn wrap_line(line: &str, room: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut current = String::new();
    for word in line.split(' ') {
        let length = current.chars().count();
        if length > 0 && length + 1 + word.chars().count() > room {
            lines.push(std::mem::take(&mut current));
        } else if length > 0 {
            current.push(' ');
        }
        current.push_str(word);
    }
    lines.push(current);
    lines
}

/// Writes out what a terminal would obey or hide. Outside of its strings JSON has no such characters, so that it
/// stays the same to whoever reads it.
fn escaped(json: &str) -> String {
    let mut units = [0; 2];
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        match misleading(c) {
            true => {
                c.encode_utf16(&mut units).iter().for_each(|unit| text.push_str(&format!("\\u{unit:04x}")));
            }
            false => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ui() -> Ui {
        Ui { format: Format::Table, colour: false, width: 80, now: Timestamp(0) }
    }

    #[test]
    fn a_table_fits_and_only_the_flexible_column_gives_way() {
        let rows = vec![
            vec![Cell::new("INC-1"), Cell::new("x".repeat(200)), Cell::new("3 min ago")],
            vec![Cell::new("INC-12345"), Cell::new("a\nb"), Cell::new("now")],
        ];
        let text = ui().table(&["INCIDENT", "TITLE", "AGE"], 1, rows);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines.iter().all(|l| l.chars().count() <= 80), "{text}");
        assert!(lines[1].ends_with("…  3 min ago"), "{text}");
        assert!(lines[2].starts_with("INC-12345  a b"), "{text}");
    }

    #[test]
    fn words_wrap_and_longer_ones_stay_whole() {
        assert_eq!(wrap_line("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap_line("0123456789", 4), ["0123456789"]);
    }
}
