//! What the simulated installation is set up with: playbooks of several shapes, policies, people, hosts. Parsed
//! once a thread; every schedule begins with a copy of the same first journal.

use super::clock::WALL_START;
use sopwith_domain::command::Command;
use sopwith_domain::decide::decide;
use sopwith_domain::event::{Event, Recorded};
use sopwith_domain::evolve::evolve;
use sopwith_domain::ids::{AccountName, Epoch, HostId};
use sopwith_domain::order::SignedText;
use sopwith_domain::people::Role;
use sopwith_domain::playbook::{Playbook, Risk};
use sopwith_domain::policy::Policy;
use sopwith_domain::state::State;
use sopwith_domain::time::Timestamp;
use std::rc::Rc;

/// Most agents of one schedule.
pub const HOSTS_MAX: usize = 3;

/// Kinds of sickness, in the order of [`KINDS`].
pub const KINDS: [&str; 7] =
    ["svc.down", "svc.stuck", "fs.full", "job.stuck", "svc.flap", "disk.dying", "job.lost"];

const RESTART: &str = r#"
id: restart
version: 1
title: Restart a service that is down
purpose: The service answers again.
scope: Services.
risk: auto
answers: [{kind: svc.down}]
parameters: {unit: {type: unit, from: subject}}
steps:
  - {name: restart, do: unit.restart, with: {unit: $unit}, timeout_s: 10}
verify: [{check: unit.active, with: {unit: $unit}}]
soak_s: 3
stronger: [clean]
escalation: Look at the service's log.
"#;

const RECONFIGURE: &str = r#"
id: reconfigure
version: 1
title: Put back a configuration and restart
purpose: The service runs with what is known to be good.
scope: Services with one configuration file.
risk: auto
answers: [{kind: svc.stuck, has: [path]}]
parameters:
  unit: {type: unit, from: subject}
  path: {type: path, from: path, within: [/srv]}
  level: {type: integer, from: level, default: "1", min: 1, max: 9}
steps:
  - {name: write, do: file.write, with: {path: $path, content: good}, timeout_s: 10}
  - {name: rotate, do: file.rotate, with: {path: $path, keep: $level}, timeout_s: 10}
  - {name: restart, do: unit.restart, with: {unit: $unit}, timeout_s: 20, expect: [{check: unit.active, with: {unit: $unit}}]}
verify: [{check: unit.active, with: {unit: $unit}}]
soak_s: 20
limits: {attempts_per_day: 2, at_once: 2}
escalation: Compare the configuration by hand.
"#;

const CLEAN: &str = r#"
id: clean
version: 1
title: Stop, empty, write and start again
purpose: Room on the file system.
scope: Services that fill their own files.
risk: approval
answers: [{kind: fs.full}]
parameters:
  unit: {type: unit, from: subject}
  path: {type: path, from: path, within: [/srv]}
  level: {type: integer, from: level, default: "1", min: 1, max: 9}
steps:
  - {name: stop, do: unit.stop, with: {unit: $unit}, timeout_s: 10}
  - {name: empty, do: file.truncate, with: {path: $path}, timeout_s: 10, require: [{check: unit.not-active, with: {unit: $unit}}]}
  - {name: rotate, do: file.rotate, with: {path: $path, keep: $level}, timeout_s: 30}
  - {name: start, do: unit.start, with: {unit: $unit}, timeout_s: 10}
verify: [{check: unit.active, with: {unit: $unit}}]
soak_s: 8
escalation: Find out what fills it.
"#;

const UNSTICK: &str = r#"
id: unstick
version: 1
title: Restart and drop the queue
purpose: Jobs flow again.
scope: Job runners.
risk: auto
answers: [{kind: job.stuck}]
parameters: {unit: {type: unit, from: subject}}
steps:
  - {name: restart, do: unit.restart, with: {unit: $unit}, timeout_s: 10}
  - {name: drop, do: command, with: {argv: [/usr/bin/drop, $unit], touches: ["path:/srv/b.conf"]}, timeout_s: 10, irreversible_because: a queue is made anew}
verify: [{check: unit.active, with: {unit: $unit}}]
soak_s: 3
escalation: Look at the queue.
"#;

const PURGE: &str = r#"
id: purge
version: 1
title: Drop the queue, then restart
purpose: Jobs flow again.
scope: Job runners.
risk: approval
answers: [{kind: job.lost}]
parameters: {unit: {type: unit, from: subject}}
steps:
  - {name: drop, do: command, with: {argv: [/usr/bin/drop, $unit], touches: ["path:/srv/b.conf"]}, timeout_s: 10, irreversible_because: a queue is made anew}
  - {name: restart, do: unit.restart, with: {unit: $unit}, timeout_s: 10}
verify: [{check: unit.active, with: {unit: $unit}}]
soak_s: 3
escalation: Look at the queue.
"#;

const RESET: &str = r#"
id: reset
version: 1
title: Forget the failure and start
purpose: The service may start again.
scope: Services.
risk: auto
answers: [{kind: svc.flap}]
parameters: {unit: {type: unit, from: subject}}
steps:
  - {name: forget, do: unit.reset-failed, with: {unit: $unit}, timeout_s: 5}
  - {name: start, do: unit.start, with: {unit: $unit}, timeout_s: 5}
verify: [{check: unit.active, with: {unit: $unit}}]
soak_s: 0
stronger: [restart]
escalation: Look at the service's log.
"#;

const TELL: &str = r#"
id: tell
version: 1
title: Replace the disk
purpose: Nothing is lost.
scope: Disks.
risk: never
answers: [{kind: disk.dying}]
steps: []
verify: [{check: unit.active, with: {unit: a.service}}]
soak_s: 0
escalation: Call the data centre.
"#;

const LOOK: &str = r#"
id: look
version: 1
title: Look at the host
purpose: Who is called finds more than the fault.
scope: The host.
risk: look
answers: [{kind: disk.dying}, {kind: svc.down}, {kind: svc.stuck}, {kind: job.stuck}, {kind: svc.flap}]
steps:
  - {name: see, do: look.processes, with: {by: cpu, most: 3}, timeout_s: 10}
escalation: Read it.
"#;

/// What no reader of playbooks lets pass, in the hands of a server that lies: it says that it looks, and does more.
const WOLF: &str = r#"
id: wolf
version: 1
title: Look at the host
purpose: Harm.
scope: All.
risk: auto
answers: [{kind: disk.dying}]
steps:
  - {name: stop, do: unit.stop, with: {unit: a.service}, timeout_s: 10}
verify: [{check: unit.not-active, with: {unit: a.service}}]
soak_s: 0
escalation: None.
"#;

/// A playbook that the owners never signed: hosts do not trust it.
const UNSIGNED: &str = r#"
id: restart
version: 9
title: Not what the owners signed
purpose: Harm.
scope: All.
risk: auto
answers: [{kind: svc.down}]
parameters: {unit: {type: unit, from: subject}}
steps:
  - {name: stop, do: unit.stop, with: {unit: $unit}, timeout_s: 10}
verify: [{check: unit.not-active, with: {unit: $unit}}]
soak_s: 0
escalation: None.
"#;

const AUTO: &str = "auto: [restart, reconfigure, unstick, reset]\nhosts: all\n";
/// The approvals of the second and the fourth policy outlive a lease, all others end before one does.
const TIMES: [&str; 2] = [
    "proposal_valid_s: 60\napproval_valid_s: 30\nquiet_s: 10\n",
    "proposal_valid_s: 60\napproval_valid_s: 200\nquiet_s: 10\n",
];

/// How the policies of the schedules differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PolicyFacts {
    pub automatic: bool,
    pub approvers: usize,
    pub overall: usize,
    pub per_host: usize,
    pub per_playbook: usize,
    pub per_hour: usize,
    /// Automatic runs an hour on one service.
    pub per_service: usize,
    /// From so many hosts on a fault is told as one.
    pub common: usize,
    pub bake_ms: i64,
    pub failures: usize,
    /// So many sick hosts are a storm.
    pub storm: usize,
    /// Looks an hour at one host.
    pub looks: usize,
    /// Verified runs that lift a playbook by one stage; it begins where people approve. 0 asks nothing of it.
    pub promotion: u32,
}

const fn facts(automatic: bool, approvers: usize, at_once: [usize; 3], per_hour: usize) -> PolicyFacts {
    let [overall, per_host, per_playbook] = at_once;
    PolicyFacts {
        automatic,
        approvers,
        overall,
        per_host,
        per_playbook,
        per_hour,
        per_service: 4,
        common: 3,
        bake_ms: 20_000,
        failures: 2,
        storm: 99,
        looks: 1,
        promotion: 0,
    }
}

/// The policies, told apart by number. Oracles read these facts, never the parsed policy.
pub const POLICIES: [PolicyFacts; 9] = [
    facts(true, 1, [10, 3, 10], 60),
    facts(true, 2, [10, 1, 10], 60),
    facts(true, 1, [1, 1, 1], 60),
    PolicyFacts { looks: 0, ..facts(true, 1, [10, 3, 2], 3) },
    // Nothing is named, so nothing is automatic: once for want of playbooks, once for want of hosts.
    facts(false, 1, [10, 3, 10], 60),
    facts(false, 2, [10, 3, 10], 60),
    // Many hosts: one failure stops, two hosts are common.
    PolicyFacts { common: 2, failures: 1, per_service: 1, ..facts(true, 1, [10, 3, 10], 60) },
    // Two sick hosts are a storm.
    PolicyFacts { storm: 2, ..facts(true, 1, [10, 3, 10], 60) },
    // What runs by itself has earned it, one run of a playbook after another.
    PolicyFacts { promotion: 2, ..facts(true, 1, [10, 3, 1], 60) },
];
/// How long a storm lasts at least, in seconds.
const COOL_DOWN_S: u32 = 30;

fn policy_text(number: usize) -> String {
    let f = POLICIES[number];
    let promotion = match f.promotion {
        0 => String::new(),
        runs => format!("promotion: {{runs: {runs}, from: suggest}}\n"),
    };
    let who = match number {
        4 => "auto: []\nhosts: all\n",
        5 => "auto: [restart, reconfigure, unstick, reset]\nhosts: {named: []}\n",
        _ => AUTO,
    };
    let looks = match f.looks {
        0 => String::new(),
        looks => format!("diagnosis: {{per_host: {looks}}}\n"),
    };
    format!(
        "version: {}\n{looks}{who}{}approvers: {}\nat_once: {{overall: {}, per_host: {}, per_playbook: {}}}\nper_hour: {}\n\
         budgets: {{per_service: {}}}\nfleet: {{hosts: {}, window_s: 300, bake_s: {}, failures: {}}}\n\
         storm: {{sick_percent: 50, sick_hosts: {}, cool_down_s: {COOL_DOWN_S}}}\n{promotion}",
        number + 1,
        TIMES[usize::from(matches!(number, 1 | 3))],
        f.approvers,
        f.overall,
        f.per_host,
        f.per_playbook,
        f.per_hour,
        f.per_service,
        f.common,
        f.bake_ms / 1000,
        f.failures,
        f.storm
    )
}

/// A signed document, parsed.
#[derive(Debug)]
pub struct Doc<T> {
    pub signed: SignedText,
    pub parsed: T,
}

/// The first events of every schedule with a policy, and what they come to.
#[derive(Debug)]
pub struct Base {
    pub events: Vec<Rc<Recorded<Event>>>,
    pub state: State,
}

#[derive(Debug)]
pub struct Catalogue {
    pub playbooks: Vec<Doc<Playbook>>,
    /// Newer versions of some of them, signed as well.
    pub newer: Vec<Doc<Playbook>>,
    pub unsigned: Doc<Playbook>,
    pub look: Doc<Playbook>,
    pub wolf: Doc<Playbook>,
    pub policies: Vec<Doc<Policy>>,
    pub bases: Vec<Base>,
}

fn signed(text: &str) -> SignedText {
    SignedText { text: text.to_owned(), signature: "by the owners".to_owned() }
}

fn playbook(text: &str) -> Doc<Playbook> {
    Doc { parsed: Playbook::parse(text).expect("the catalogue is well formed"), signed: signed(text) }
}

pub fn host(agent: usize) -> HostId {
    HostId::new(format!("h-{agent}")).expect("a host name")
}

pub fn account(name: &str) -> AccountName {
    AccountName::new(name).expect("an account name")
}

/// The life in which an agent begins.
pub fn first_epoch(agent: usize) -> Epoch {
    Epoch(agent as u64 + 1)
}

impl Catalogue {
    fn new() -> Self {
        let playbooks: Vec<_> = [RESTART, RECONFIGURE, CLEAN, UNSTICK, RESET, TELL, PURGE, LOOK]
            .into_iter()
            .map(playbook)
            .collect();
        let newer =
            [RESTART, CLEAN].into_iter().map(|text| playbook(&text.replace("version: 1", "version: 2")));
        let policies: Vec<_> = (0..POLICIES.len())
            .map(|number| {
                let text = policy_text(number);
                Doc {
                    parsed: Policy::parse(&text).expect("the policies are well formed"),
                    signed: signed(&text),
                }
            })
            .collect();
        let bases = policies.iter().map(|policy| base(&playbooks, policy)).collect();
        let mut wolf = playbook(WOLF);
        wolf.parsed.risk = Risk::Look;
        wolf.parsed.verify.clear();
        let (unsigned, look) = (playbook(UNSIGNED), playbook(LOOK));
        Self { newer: newer.collect(), unsigned, look, wolf, policies, bases, playbooks }
    }

    /// Returns the playbook of this text if the owners signed it; stands for the check of the signature.
    pub fn trusted(&self, text: &SignedText) -> Option<&Playbook> {
        self.playbooks
            .iter()
            .chain(&self.newer)
            .chain([&self.wolf])
            .find(|doc| doc.signed == *text)
            .map(|doc| &doc.parsed)
    }

    pub fn trusted_policy(&self, text: &SignedText) -> Option<&Policy> {
        self.policies.iter().find(|doc| doc.signed == *text).map(|doc| &doc.parsed)
    }
}

fn base(playbooks: &[Doc<Playbook>], policy: &Doc<Policy>) -> Base {
    let root = account("root");
    let person = |name: &str, role| Command::AddPerson { name: account(name), role, by: root.clone() };
    let mut commands = vec![
        person("root", Role::Admin),
        person("alice", Role::Approver),
        person("bob", Role::Approver),
        person("carol", Role::Operator),
        Command::SetPolicy { policy: policy.signed.clone(), signer: "owners".into(), by: root.clone() },
    ];
    commands.extend(playbooks.iter().map(|doc| Command::InstallPlaybook {
        playbook: doc.signed.clone(),
        signer: "owners".into(),
        by: root.clone(),
    }));
    commands
        .extend((0..HOSTS_MAX).map(|agent| Command::Enrol { host: host(agent), epoch: first_epoch(agent) }));
    let mut base = Base { events: Vec::new(), state: State::default() };
    let at = Timestamp(WALL_START);
    for command in commands {
        for event in decide(&base.state, &command, at).expect("set-up is accepted") {
            let recorded = Recorded { seq: base.state.seq + 1, at, event };
            evolve(&mut base.state, &recorded);
            base.events.push(Rc::new(recorded));
        }
    }
    base
}

thread_local!(static CATALOGUE: Rc<Catalogue> = Rc::new(Catalogue::new()));

/// Returns this thread's catalogue. It must have been asked for before a mutant is switched on.
pub fn catalogue() -> Rc<Catalogue> {
    CATALOGUE.with(Rc::clone)
}
