//! What a pattern cannot match without: a small set of literals of which at least one is in every line that fits, so
//! that everything else is passed over at the speed of a search for words. Pure.

use regex_syntax::hir::literal::{ExtractKind, Extractor, Seq};
use regex_syntax::hir::{Class, ClassBytes, ClassBytesRange, ClassUnicode, ClassUnicodeRange};
use regex_syntax::hir::{Hir, HirKind, Look, Repetition};

/// Shortest literal that is worth a search.
const LITERAL_BYTES_MIN: usize = 3;
/// Most literals of one pattern.
const LITERALS_MAX: usize = 32;
/// A longer literal than this is not better.
const LITERAL_BYTES_GOOD: usize = 10;

/// Reads a pattern as it is asked of one line: no part of it can match a line break, and its ends are the line's.
///
/// # Errors
/// It is no pattern.
pub(super) fn of_a_line(pattern: &str) -> Result<Hir, Box<regex_syntax::Error>> {
    Ok(within_a_line(parse(pattern)?))
}

/// Reads a pattern as it is asked of a record of several lines.
///
/// # Errors
/// It is no pattern.
pub(super) fn of_a_record(pattern: &str) -> Result<Hir, Box<regex_syntax::Error>> {
    parse(pattern)
}

fn parse(pattern: &str) -> Result<Hir, Box<regex_syntax::Error>> {
    let mut parser = regex_syntax::ParserBuilder::new();
    let mut parser = parser.utf8(false).unicode(false).multi_line(true).crlf(true).build();
    parser.parse(pattern).map_err(Box::new)
}

fn within_a_line(hir: Hir) -> Hir {
    match hir.into_kind() {
        HirKind::Empty => Hir::empty(),
        HirKind::Literal(literal) if literal.0.contains(&b'\n') => Hir::fail(),
        HirKind::Literal(literal) => Hir::literal(literal.0),
        HirKind::Class(Class::Bytes(mut class)) => {
            class.difference(&ClassBytes::new([ClassBytesRange::new(b'\n', b'\n')]));
            Hir::class(Class::Bytes(class))
        }
        HirKind::Class(Class::Unicode(mut class)) => {
            class.difference(&ClassUnicode::new([ClassUnicodeRange::new('\n', '\n')]));
            Hir::class(Class::Unicode(class))
        }
        HirKind::Look(Look::Start) => Hir::look(Look::StartCRLF),
        HirKind::Look(Look::End) => Hir::look(Look::EndCRLF),
        HirKind::Look(look) => Hir::look(look),
        HirKind::Repetition(r) => Hir::repetition(Repetition { sub: Box::new(within_a_line(*r.sub)), ..r }),
        HirKind::Capture(mut capture) => {
            capture.sub = Box::new(within_a_line(*capture.sub));
            Hir::capture(capture)
        }
        HirKind::Concat(parts) => Hir::concat(parts.into_iter().map(within_a_line).collect()),
        HirKind::Alternation(parts) => Hir::alternation(parts.into_iter().map(within_a_line).collect()),
    }
}

/// Returns literals of which one at least is in whatever matches; nothing where there are no good ones.
pub(super) fn required(hir: &Hir) -> Option<Vec<Vec<u8>>> {
    let found = best(hir)?;
    good(&found).then_some(found)
}

fn good(literals: &[Vec<u8>]) -> bool {
    let shortest = literals.iter().map(Vec::len).min().unwrap_or(0);
    shortest >= LITERAL_BYTES_MIN && literals.len() <= LITERALS_MAX
}

/// Longer literals are rarer, and fewer of them are found faster.
fn score(literals: &[Vec<u8>]) -> usize {
    let shortest = literals.iter().map(Vec::len).min().unwrap_or(0).min(LITERAL_BYTES_GOOD);
    (shortest * 8).saturating_sub(literals.len())
}

fn best(hir: &Hir) -> Option<Vec<Vec<u8>>> {
    let mut parts = Vec::new();
    flatten(hir, &mut parts);
    let mut found: Vec<Vec<Vec<u8>>> = Vec::new();
    for at in 0..parts.len() {
        // What matches the whole also matches from here on, and so begins here with one of these.
        let rest = Hir::concat(parts[at..].iter().map(|part| (*part).clone()).collect());
        found.extend(prefixes(&rest));
        match parts[at].kind() {
            HirKind::Alternation(branches) => {
                let each: Option<Vec<_>> = branches.iter().map(best).collect();
                found.extend(each.map(|each| each.concat()));
            }
            HirKind::Repetition(r) if r.min > 0 => found.extend(best(&r.sub)),
            _ => {}
        }
    }
    found.into_iter().filter(|literals| good(literals)).max_by_key(|literals| score(literals))
}

fn flatten<'a>(hir: &'a Hir, parts: &mut Vec<&'a Hir>) {
    match hir.kind() {
        HirKind::Concat(inner) => inner.iter().for_each(|part| flatten(part, parts)),
        HirKind::Capture(capture) => flatten(&capture.sub, parts),
        _ => parts.push(hir),
    }
}

fn prefixes(hir: &Hir) -> Option<Vec<Vec<u8>>> {
    let mut extractor = Extractor::new();
    extractor.kind(ExtractKind::Prefix).limit_class(4).limit_repeat(4).limit_total(LITERALS_MAX);
    let mut sequence: Seq = extractor.extract(hir);
    sequence.minimize_by_preference();
    let literals = sequence.literals()?;
    let literals: Vec<_> = literals.iter().map(|literal| literal.as_bytes().to_vec()).collect();
    (!literals.is_empty()).then_some(literals)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_that_a_pattern_needs() {
        for (pattern, expected) in [
            ("abc", Some("abc")),
            ("^.*(?P<x>error): \\d+$", Some("error: ")),
            (
                "sshd\\[\\d+\\]: Failed password for .* from (?P<ip>\\S+) port",
                Some("]: Failed password for "),
            ),
            ("(?:foo.*|\\d+bar)x", Some("bar|foo")),
            ("(?:foo|ba)", None),
            ("\\d+ \\w+", None),
            ("(?i)oom", Some("OOM|OOm|OoM|Oom|oOM|oOm|ooM|oom")),
            ("(?:abcd)+", Some("abcd")),
            ("(?:abcd)*", None),
            ("x?longer", Some("longer")),
            ("one\ntwo", None),
            (".*", None),
            ("", None),
        ] {
            let found = required(&of_a_line(pattern).expect(pattern)).map(|mut found| {
                found.sort();
                let texts = found.iter().map(|literal| String::from_utf8_lossy(literal).into_owned());
                texts.collect::<Vec<_>>().join("|")
            });
            let fits = match (&found, expected) {
                (Some(found), Some(expected)) => found.contains(expected),
                (found, expected) => found.as_deref() == expected,
            };
            assert!(fits, "{pattern}: {found:?}");
        }
    }

    #[test]
    fn within_a_line_nothing_matches_its_end() {
        for (pattern, text, fits) in [
            ("a\\sb", "a\nb", false),
            ("a\\sb", "a b", true),
            ("a[^x]b", "a\nb", false),
            ("(?s)a.b", "a\nb", false),
            ("\\Ab\\z", "a\nb\nc", true),
            ("a\nb", "a\nb", false),
            ("^b$", "a\r\nb\r\nc", true),
            ("(?u)a\\Wb", "a\nb", false),
            ("(?u)a\\w+b", "a\u{e9}b", true),
            ("a\\w+b", "a\u{e9}b", false),
            ("\\bword\\b", "a word.", true),
        ] {
            let hir = of_a_line(pattern).expect(pattern);
            let built = regex::bytes::Regex::new(&hir.to_string()).expect(pattern);
            assert_eq!(built.is_match(text.as_bytes()), fits, "{pattern} is {hir} on {text:?}");
        }
    }
}
