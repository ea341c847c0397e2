//! The shipped SOPs: each checks clean and is complete, its cases hold among all of them, no signal leaves two of them
//! equally good, whatever a signal says, and the handbook names every action and check.

use sopwith_domain::action::ACTIONS;
use sopwith_domain::check::CHECKS;
use sopwith_domain::ids::{Digest, Epoch, HostId, IncidentId};
use sopwith_domain::matching::{Choice, choose};
use sopwith_domain::plan::{Plan, Target};
use sopwith_domain::playbook::{Answers, Case, Playbook, Risk};
use sopwith_domain::policy::Policy;
use sopwith_domain::protect;
use sopwith_domain::signal::{Signal, Subject};
use sopwith_domain::value::{ProcessRef, Value, ValueType, Word};
use sopwith_tests::model::vocabulary;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests folder lies in the project")
        .to_path_buf()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Returns the YAML files of a folder by their names.
fn files(folder: &str) -> BTreeMap<String, String> {
    let folder = root().join(folder);
    let entries = std::fs::read_dir(&folder).expect("the folder can be listed");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .filter(|path| path.extension().is_some_and(|ext| ext == "yaml"))
        .map(|path| (path.file_stem().expect("a name").to_string_lossy().into_owned(), read(&path)))
        .collect()
}

fn shipped() -> Vec<Playbook> {
    let parse = |(name, text): (String, String)| match Playbook::parse(&text) {
        Ok(playbook) => playbook,
        Err(findings) => panic!("{name}.yaml: {findings:#?}"),
    };
    files("playbooks").into_iter().map(parse).collect()
}

fn cases() -> Vec<(String, Case)> {
    let of = |(name, text): (String, String)| {
        let cases =
            Case::parse_all(&text).unwrap_or_else(|findings| panic!("cases/{name}.yaml: {findings:#?}"));
        cases.into_iter().map(move |case| (name.clone(), case))
    };
    files("playbooks/cases").into_iter().flat_map(of).collect()
}

#[test]
fn every_shipped_sop_is_complete() {
    for playbook in shipped() {
        let id = &playbook.id;
        assert!(files("playbooks").contains_key(id.as_str()), "{id} lies in a file of its name");
        for (what, text) in [("risk_because", &playbook.risk_because), ("escalation", &playbook.escalation)] {
            assert!(text.len() > 20, "{id} says its {what}");
        }
        let bare: Vec<_> = playbook.parameters.iter().filter(|(_, p)| p.about.is_empty()).collect();
        assert!(bare.is_empty(), "{id}: what are {bare:?}?");
        if playbook.risk == Risk::Look {
            assert!(!playbook.preconditions.is_empty() && !playbook.cautions.is_empty(), "{id}");
        }
        if matches!(playbook.risk, Risk::Never | Risk::Look) {
            continue;
        }
        assert!(!playbook.preconditions.is_empty() && !playbook.cautions.is_empty(), "{id}");
        assert!(playbook.soak_ms >= 5_000 && playbook.limits.at_once.is_some(), "{id}");
        assert!(playbook.limits.attempts_per_day.is_some_and(|n| n <= 2), "{id}: two tries, then a person");
        for parameter in playbook.parameters.values().filter(|p| p.value_type == ValueType::Integer) {
            assert!(parameter.min.is_some(), "{id}: numbers are bounded");
        }
    }
}

/// A service that fails a few seconds after each start must not pass for mended.
#[test]
fn every_start_is_watched_for_ten_seconds() {
    for playbook in shipped() {
        let starts = playbook.steps.iter().any(|s| s.action == "unit.start" || s.action == "unit.restart");
        assert!(!starts || playbook.soak_ms >= 10_000, "{}", playbook.id);
    }
}

#[test]
fn all_cases_hold_and_every_sop_has_some_for_and_some_against() {
    let (playbooks, cases) = (shipped(), cases());
    let failed: Vec<String> = cases
        .iter()
        .filter_map(|(file, case)| {
            let why = case.hold(&playbooks).err()?;
            Some(format!("cases/{file}.yaml:{}: {}: {why}", case.line, case.name))
        })
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    for playbook in &playbooks {
        let own = || cases.iter().filter(|(file, _)| file == playbook.id.as_str());
        let of = |case: &Case| match playbook.risk {
            Risk::Look => case.looks.clone(),
            _ => case.chosen.clone(),
        };
        let chosen = own().filter(|(_, case)| of(case).as_ref() == Some(&playbook.id)).count();
        assert!(chosen >= 1 && own().count() > chosen, "{} has cases for and against it", playbook.id);
    }
}

#[test]
fn a_tie_is_nobodys() {
    let mut playbooks = shipped();
    let (_, case) = &cases().into_iter().find(|(file, _)| file == "service-not-running").expect("a case");
    let twin = read(&root().join("playbooks/service-not-running.yaml"));
    let twin = twin.replace("id: service-not-running", "id: a-twin-of-it");
    playbooks.push(Playbook::parse(&twin).expect("the twin parses"));
    let (choice, _) = choose(&playbooks, &case.signal);
    assert!(matches!(choice, Choice::Tie(ref ids) if ids.len() == 2), "{choice:?}");
    assert!(
        case.hold(&playbooks)
            .expect_err("nobody")
            .contains("a tie between a-twin-of-it, service-not-running")
    );
}

/// A small generator (xorshift): the same signals in every run, and many of them.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % n as u64).expect("small")
    }
    fn of<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}

/// Whatever combination of fields a signal carries: at most one SOP is best, and what it plans has steps, checks,
/// bounds that hold and targets that a plan may touch.
#[test]
fn no_signal_leaves_two_equally_good_and_no_values_mean_all() {
    let (playbooks, vocabulary) = (shipped(), vocabulary());
    let some = cases().remove(0).1.signal;
    // What somebody can do something about comes more often than what nobody can.
    let often = |p: &Playbook| if matches!(p.risk, Risk::Never | Risk::Look) { 1 } else { 4 };
    let answers: Vec<&Answers> = playbooks
        .iter()
        .flat_map(|p| p.answers.iter().flat_map(|a| std::iter::repeat_n(a, often(p))))
        .collect();
    let subject = |kind: &str, random: &mut Random| -> Subject {
        let usual: &[&str] = match kind.split('.').next() {
            Some("unit") => &["unit:x.service", "unit:x.service", "unit:dbus.service"],
            Some("filesystem" | "mount") => &["mount:/srv/x", "mount:/"],
            Some("sysctl" | "ports") => &["sysctl:net.ipv4.ip_local_port_range", "host"],
            Some("file") => &["path:/etc/resolv.conf"],
            Some("sudoers" | "keys" | "logrotate") => &["path:/etc/sudoers.d/x"],
            Some("policy" | "sshd") => &["check:x"],
            Some("certificate") => &["check:x", "path:/etc/web/cert.pem"],
            Some("timer" | "cron" | "limit") => &["unit:x.timer", "unit:cron.service"],
            Some("account") => &["account:toor"],
            Some("package") => &["package:x", "host"],
            Some("link" | "port") => &["check:tcp:80"],
            Some("log") => &["address:203.0.113.9", "address:127.0.0.1", "check:x"],
            Some("process") => &["process:x", "unit:x.service"],
            Some("metric") => &["unit:x.service", "unit:dbus.service", "check:x"],
            Some("backup" | "check" | "dns" | "http" | "postgresql" | "redis" | "source" | "tcp") => {
                &["check:x"]
            }
            _ => &["host"],
        };
        let any = ["host", "unit:x.service", "path:/etc"];
        let text = if random.below(20) == 0 { random.of(&any) } else { random.of(usual) };
        text.parse().expect("a subject")
    };
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let mut planned = BTreeSet::new();
    for _ in 0..40_000 {
        let mut fields = BTreeMap::new();
        let there = 1 + random.below(4);
        for (name, values) in &vocabulary {
            if random.below(4) < there {
                fields.insert(Word::new(*name).expect("a word"), random.of(values).clone());
            }
        }
        let answer = *random.of(&answers);
        // Every other signal is one that this answer is meant for, as far as its fields go.
        if random.below(2) == 0 {
            fit(&mut fields, answer, &vocabulary, &mut random);
        }
        let kind = answer.kind.clone();
        let subject = subject(kind.as_str(), &mut random);
        let signal = Signal { kind, subject, fields, ..some.clone() };
        let (choice, _) = choose(&playbooks, &signal);
        assert!(!matches!(choice, Choice::Tie(_)), "{choice:?} for {signal:?}");
        let Choice::One(playbook) = choice else { continue };
        if let Some(plan) = plan(playbook, &signal) {
            sound(playbook, &plan);
            planned.insert(playbook.id.clone());
        }
    }
    let able = playbooks.iter().filter(|p| !matches!(p.risk, Risk::Never | Risk::Look)).count();
    assert!(planned.len() + 1 >= able, "only {planned:?} came to a plan, so that little was looked at");
}

/// Gives a signal the fields that an answer asks for, and takes from it those that it must lack.
fn fit(
    fields: &mut BTreeMap<Word, Value>,
    answer: &Answers,
    vocabulary: &BTreeMap<&'static str, Vec<Value>>,
    random: &mut Random,
) {
    for (field, wanted) in &answer.fields {
        let known = vocabulary.get(field.as_str()).into_iter().flatten();
        let fitting: Vec<&Value> = known.filter(|value| wanted.contains(&value.to_string())).collect();
        if !fitting.is_empty() {
            fields.insert(field.clone(), (*random.of(&fitting)).clone());
        }
    }
    for field in &answer.has {
        if let Some(values) = vocabulary.get(field.as_str()) {
            fields.insert(field.clone(), random.of(values).clone());
        }
    }
    fields.retain(|field, _| !answer.lacks.contains(field) && !answer.unless.contains_key(field));
}

fn target(subject: Subject) -> Target {
    Target {
        host: HostId::new("host-1").expect("a host name"),
        epoch: Epoch(1),
        incident: IncidentId(1),
        attempt: 1,
        subject,
        fingerprint: Digest::of(b""),
    }
}

fn plan(playbook: &Playbook, signal: &Signal) -> Option<Plan> {
    let values =
        sopwith_domain::plan::parameters(playbook, signal).expect("who is chosen has its parameters");
    Plan::build(playbook, target(signal.subject.clone()), values).ok()
}

fn sound(playbook: &Playbook, plan: &Plan) {
    assert!(!plan.steps.is_empty() && playbook.risk != Risk::Never);
    assert!(
        plan.verify.is_empty() == (playbook.risk == Risk::Look)
            && plan.only_looks() == (playbook.risk == Risk::Look)
    );
    for step in &plan.steps {
        assert_eq!(protect::refuse(&step.action), None);
        if playbook.risk == Risk::Look {
            continue;
        }
        let touches = step.action.touches();
        assert!(!touches.is_empty() && !touches.contains(&Subject::Host), "{:?}", step.action);
    }
    for (name, value) in &plan.parameters {
        assert_eq!(playbook.parameters[name].fault(value), None, "{}", playbook.id);
    }
    let again =
        Plan::build(playbook, plan.target.clone(), plan.parameters.clone()).expect("it was built before");
    assert_eq!(again.digest(), plan.digest());
}

/// The same with values of any type for any parameter, as a server that lies might send them.
#[test]
fn values_of_any_type_never_make_a_plan_that_is_not_sound() {
    let (playbooks, vocabulary) = (shipped(), vocabulary());
    let mut values: Vec<Value> = vocabulary.into_values().flatten().collect();
    values.extend([Value::Integer(i64::MIN), Value::Integer(i64::MAX), Value::Boolean(false)]);
    values.push(Value::Process(ProcessRef { pid: 0, start_ticks: u64::MAX }));
    let mut random = Random(7);
    let mut built = 0;
    for round in 0..20_000 {
        let playbook = &playbooks[round % playbooks.len()];
        let mut given = BTreeMap::new();
        for (name, parameter) in &playbook.parameters {
            let fitting: Vec<_> = values.iter().filter(|v| v.value_type() == parameter.value_type).collect();
            match random.below(6) {
                0 => {}
                1 => drop(given.insert(name.clone(), random.of(&values).clone())),
                _ => drop(given.insert(name.clone(), (*random.of(&fitting)).clone())),
            }
        }
        if let Ok(plan) = Plan::build(playbook, target(Subject::Host), given) {
            sound(playbook, &plan);
            built += 1;
        }
    }
    assert!(built > 500, "only {built} plans were built, so that little was looked at");
}

/// The SOPs know classes of faults: no name of the victim host of the fault catalogue stands in one.
#[test]
fn no_sop_knows_the_victim() {
    let folders = ["playbooks", "playbooks/cases"];
    for (name, text) in folders.iter().flat_map(|folder| files(folder)) {
        for word in ["demo-", "/demo", "8081", "redis-server", "203.0.113.8", "203.0.113.7"] {
            assert!(!text.contains(word), "{name}.yaml names {word}");
        }
    }
}

#[test]
fn the_files_of_the_fault_runner_name_shipped_sops_only() {
    let ids: BTreeSet<String> = shipped().iter().map(|p| p.id.to_string()).collect();
    let policy = Policy::parse(&read(&root().join("tests/faults/policy.yaml"))).expect("the policy parses");
    for id in &policy.auto {
        let playbook = shipped().into_iter().find(|p| p.id == *id);
        assert!(playbook.is_some_and(|p| p.risk == Risk::Auto), "{id} is shipped and may be automatic");
    }
    let map: BTreeMap<String, Vec<String>> =
        serde_saphyr::from_str(&read(&root().join("tests/faults/sop-map.yaml"))).expect("the map parses");
    let unknown: Vec<_> = map.values().flatten().filter(|id| !ids.contains(*id)).collect();
    assert!(unknown.is_empty(), "{unknown:?} are not shipped");
}

/// What people read of an SOP. `UPDATE_GOLDEN=1` writes the file anew.
/// A stronger SOP is one that can follow: with what signals of both say, its plan can be made.
#[test]
fn what_is_stronger_is_shipped_and_can_follow() {
    let (playbooks, cases) = (shipped(), cases());
    let of = |id: &str| -> Vec<&Signal> {
        cases.iter().filter(|(file, _)| file == id).map(|(_, case)| &case.signal).collect()
    };
    let mut ladders = 0;
    for (playbook, id) in playbooks.iter().flat_map(|p| p.stronger.iter().map(move |id| (p, id))) {
        let stronger = playbooks.iter().find(|p| p.id == *id).expect("it is shipped");
        assert!(stronger.risk != Risk::Never, "{id} of {} mends nothing", playbook.id);
        let follows = of(playbook.id.as_str()).iter().any(|signal| {
            of(id.as_str()).iter().any(|other| {
                let mut both = (*signal).clone();
                both.fields.extend(other.fields.clone());
                let values = sopwith_domain::plan::parameters(stronger, &both);
                values.is_ok_and(|v| Plan::build(stronger, target(both.subject.clone()), v).is_ok())
            })
        });
        assert!(follows, "{id} cannot follow {}", playbook.id);
        ladders += 1;
    }
    assert!(ladders > 0);
}

#[test]
fn an_sop_reads_as_a_document() {
    let playbooks = shipped();
    let names = ["service-config-broken", "ssh-attack-block", "filesystem-full"];
    let chosen = names.iter().map(|id| playbooks.iter().find(|p| p.id.as_str() == *id).expect("shipped"));
    let text = chosen.map(Playbook::to_markdown).collect::<Vec<_>>().join("\n---\n\n");
    let golden = root().join("tests/golden/playbooks.md");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(golden.parent().expect("a folder")).expect("made");
        std::fs::write(&golden, &text).expect("written");
    }
    assert!(read(&golden) == text, "{} differs; UPDATE_GOLDEN=1 writes it anew", golden.display());
}

#[test]
fn the_handbook_names_every_action_check_and_sop() {
    for (page, names) in [("actions", ACTIONS.to_vec()), ("checks", CHECKS.to_vec())] {
        let text = read(&root().join(format!("docs/handbook/{page}.md")));
        let missing: Vec<_> = names.iter().filter(|name| !text.contains(&format!("`{name}`"))).collect();
        assert!(missing.is_empty(), "docs/handbook/{page}.md does not name {missing:?}");
    }
    let text = read(&root().join("docs/handbook/playbooks.md"));
    let missing: Vec<_> = shipped().into_iter().filter(|p| !text.contains(&format!("`{}`", p.id))).collect();
    assert!(
        missing.is_empty(),
        "playbooks.md does not name {:?}",
        missing.iter().map(|p| &p.id).collect::<Vec<_>>()
    );
    let pages = ["signals", "backups", "inspections", "kernel", "logs", "metrics", "norms"];
    let text: String =
        pages.iter().map(|page| read(&root().join(format!("docs/handbook/{page}.md")))).collect();
    let names = vocabulary().into_keys().map(str::to_owned);
    let kinds = shipped().into_iter().flat_map(|p| p.answers.into_iter().map(|a| a.kind.to_string()));
    let missing: BTreeSet<_> =
        names.chain(kinds).filter(|name| !text.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "docs/handbook/{pages:?} do not name {missing:?}");
}

/// The examples of the handbook are a playbook, cases of it that hold, and the rest of a policy.
#[test]
fn the_handbooks_examples_are_ones() {
    let text = read(&root().join("docs/handbook/playbooks.md"));
    let blocks: Vec<&str> =
        text.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap_or("")).collect();
    let [playbook, cases, policy] = blocks.as_slice() else {
        panic!("three blocks of YAML, found {}", blocks.len())
    };
    Policy::parse(&format!("version: 1\n{policy}")).unwrap_or_else(|finding| panic!("{finding}"));
    let playbook = Playbook::parse(playbook).unwrap_or_else(|findings| panic!("{findings:#?}"));
    for case in Case::parse_all(cases).expect("the cases parse") {
        case.hold([&playbook]).unwrap_or_else(|why| panic!("{}: {why}", case.name));
    }
}
