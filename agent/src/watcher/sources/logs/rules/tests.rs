use super::*;
use crate::config::Config;

fn rules(rules: &[(&str, &str)]) -> Rules {
    let lines: Vec<_> = rules
        .iter()
        .enumerate()
        .map(|(n, (pattern, captures))| {
            format!("  - {{name: r{n}, pattern: '{pattern}', captures: {{{captures}}}}}")
        })
        .collect();
    let text = format!("logs:\n- name: l\n  paths: [/x]\n  rules:\n{}\n", lines.join("\n"));
    let config = Config::parse(&text).unwrap_or_else(|e| panic!("{text}: {e:?}"));
    Rules::new(config.logs[0].effective(), false).expect("they are small")
}

fn found(rules: &mut Rules, buffer: &[u8], records: Option<&[usize]>) -> Vec<String> {
    let mut found = Vec::new();
    rules.find(buffer, records, 0, &mut |hit| {
        let values: Vec<_> = hit.values.iter().map(|(n, v)| format!("{n}={v}")).collect();
        found.push(format!("{} {} !{} {}", hit.rule, values.join(","), hit.rejected, hit.line));
    });
    found
}

#[test]
fn each_fitting_line_is_found_once_and_nothing_across_lines() {
    let mut rules = rules(&[("^a.*z$", ""), ("b\\sc", ""), ("\\Ax", ""), ("[^q]+y$", "")]);
    for (buffer, expected) in [
        (&b"abz\nb c\nx\n"[..], &["0  !0 abz", "1  !0 b c", "2  !0 x"][..]),
        (b"a\nz\n", &[]),
        (b"b\nc\nb c\n", &["1  !0 b c"]),
        (b"az\r\naz\r\n", &["0  !0 az", "0  !0 az"]),
        (b"one\ntwo y\nthree\n", &["3  !0 two y"]),
        (b"\xff\xfe az\naz \xff\nab\xffz\n", &["0  !0 ab\u{fffd}z"]),
        (b"", &[]),
        (b"no end but az\nax", &[]),
        (b"\n\n\n", &[]),
    ] {
        assert_eq!(found(&mut rules, buffer, None), expected, "{:?}", String::from_utf8_lossy(buffer));
    }
}

/// Literals, overlapping ones among them, only pass over what cannot fit: the answer is that of asking every line.
#[test]
fn literals_change_nothing_but_the_time() {
    let patterns = [
        "disk error",
        "error",
        "error on (?P<dev>\\w+)",
        "(?i)fatal",
        "^kernel: .*sd[a-z]",
        "\\d+ms$",
        "x|y|error",
        "(?:time|read)out",
        "rror",
        "^$",
        ".",
    ];
    let with: Vec<_> = patterns.iter().map(|p| (*p, "")).collect();
    let mut rules = rules(&with);
    let plain: Vec<_> = patterns
        .iter()
        .map(|p| regex::bytes::RegexBuilder::new(p).unicode(false).build().expect("small"))
        .collect();
    let lines = [
        "disk error on sda",
        "kernel: sdb timeout",
        "all is well",
        "",
        "FATAL: readout took 15ms",
        "terror",
        "x",
        "error error error",
        "kernel: nothing",
        "Fatality",
    ];
    let buffer = lines.join("\n") + "\n";
    let expected: Vec<_> = lines
        .iter()
        .flat_map(|line| {
            let fits = plain.iter().enumerate().filter(|(_, p)| p.is_match(line.as_bytes()));
            fits.map(move |(n, _)| format!("{n}  !0 {line}"))
        })
        .collect();
    assert_eq!(found(&mut rules, buffer.as_bytes(), None), expected);
}

#[test]
fn records_are_asked_as_a_whole_and_one_by_one() {
    let text = "logs:\n- name: l\n  paths: [/x]\n  record: {start: '^E'}\n  rules:\n\
                - {name: a, pattern: 'first(?s:.)*last'}\n  - {name: b, pattern: '\\w+$'}\n";
    let text = text.replace("rules:\n-", "rules:\n  -");
    let config = Config::parse(&text).unwrap_or_else(|e| panic!("{e:?}"));
    let mut rules = Rules::new(config.logs[0].effective(), true).expect("small");
    let buffer = b"E first\n  last\nE first\nE last\n";
    let told = found(&mut rules, buffer, Some(&[0, 15, 23]));
    assert_eq!(told, ["0  !0 E first\n  last", "1  !0 E first\n  last", "1  !0 E first", "1  !0 E last"],);
}

#[test]
fn captures_are_taken_in_full_by_their_type_or_not_at_all() {
    let mut rules = rules(&[(
        "from (?P<ip>\\S+) port (?P<port>\\S+)(?P<rest> .*)?$",
        "ip: ip, port: integer, rest: word",
    )]);
    for (line, expected) in [
        ("from 192.0.2.1 port 22", "ip=192.0.2.1,port=22 !0"),
        ("from 2001:db8::1 port 22", "ip=2001:db8::1,port=22 !0"),
        ("from 192.0.2.1/24 port 22", "port=22 !1"),
        ("from $(id) port 22;id", " !2"),
        ("from 0x7f000001 port 99999999999999999999", " !2"),
        ("from 192.0.2.1 port 22 some words", "ip=192.0.2.1,port=22 !1"),
    ] {
        let told = found(&mut rules, format!("{line}\n").as_bytes(), None);
        assert_eq!(told, [format!("0 {expected} {line}")], "{line}");
    }
}

#[test]
fn nested_quantifiers_take_linear_time() {
    let mut rules = rules(&[("^(a+)+$", ""), ("[^q]*(a|aa)+[^q]*c$", "")]);
    let buffer = [vec![b'a'; 60_000], b"b\n".to_vec()].concat();
    assert!(found(&mut rules, &buffer, None).is_empty());
}

#[test]
fn a_rule_that_has_used_up_its_time_is_not_asked() {
    let mut rules = rules(&[("one", ""), ("two", "")]);
    rules.budgets[1].take(u64::MAX);
    let mut hits = 0;
    let asked = rules.find(b"one two\n", None, 0, &mut |hit| hits += 1 + hit.rule);
    assert_eq!((hits, asked.paused, rules.paused().count()), (1, vec![1], 1));
}
