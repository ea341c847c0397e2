//! What happens in one schedule: everything that a seed, or a pair of crash points, decides before it begins.

use super::catalogue::{HOSTS_MAX, KINDS, POLICIES};
use super::machine::Rates;
use super::rng::Rng;
use sopwith_journal::{Fault, FaultPlan, Rest};

/// Something that the world does at a set time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Happening {
    Sick {
        agent: usize,
        unit: usize,
        kind: usize,
        stubborn: bool,
    },
    /// Every host gets the same sickness within seconds.
    Epidemic {
        unit: usize,
        kind: usize,
        stubborn: bool,
    },
    /// Whatever mends the unit brings about the other sickness a while later.
    Haunted {
        agent: usize,
        unit: usize,
        kinds: [usize; 2],
    },
    Well {
        agent: usize,
    },
    Level {
        agent: usize,
        unit: usize,
    },
    Cut {
        agent: usize,
        ms: i64,
    },
    /// Every host is cut off.
    CutAll {
        ms: i64,
    },
    KillServer,
    KillAgent {
        agent: usize,
    },
    ServerClock {
        ms: i64,
    },
    AgentClock {
        agent: usize,
        ms: i64,
    },
    Stop,
    Resume,
    LocalStop {
        agent: usize,
        on: bool,
    },
    Cancel,
    Declare {
        agent: usize,
        what: u8,
    },
    Install {
        which: usize,
    },
    Retire,
    Backup,
    Restore,
    Image {
        agent: usize,
    },
    SetBack {
        agent: usize,
    },
    Lie {
        agent: usize,
        how: u8,
    },
}

/// How often messages go wrong, in permille.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Network {
    pub lost: u32,
    pub doubled: u32,
    pub delayed: u32,
}

/// How people answer, in permille of plans that one of them looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct People {
    pub speaks: u32,
    pub denies: u32,
    pub late: u32,
}

#[derive(Clone, Debug)]
pub struct Schedule {
    pub seed: u64,
    pub agents: usize,
    pub policy: usize,
    pub demand_signatures: bool,
    pub json: bool,
    pub rates: Rates,
    pub network: Network,
    pub people: People,
    /// True time at which all faults end.
    pub heal_at: i64,
    pub happenings: Vec<(i64, Happening)>,
    pub server_faults: FaultPlan,
    /// Of each agent's spool and run journal.
    pub agent_faults: Vec<(FaultPlan, FaultPlan)>,
}

const YEARS_10_MS: i64 = 10 * 365 * 86_400_000;

impl Schedule {
    /// A schedule without any chance: one fault on one host, nobody in the way.
    pub fn quiet(seed: u64, policy: usize, kind: usize) -> Self {
        let sick = Happening::Sick { agent: 0, unit: 0, kind, stubborn: false };
        Self {
            seed,
            agents: 1,
            policy,
            demand_signatures: false,
            json: true,
            rates: Rates::default(),
            network: Network::default(),
            people: People { speaks: 1000, denies: 0, late: 0 },
            heal_at: 30_000,
            happenings: vec![(1_000, sick)],
            server_faults: FaultPlan::none(),
            agent_faults: vec![(FaultPlan::none(), FaultPlan::none())],
        }
    }

    /// Everything at random.
    pub fn random(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let agents = 1 + usize::from(rng.chance(350)) + usize::from(rng.chance(120));
        let heal_at = rng.between(30_000, 150_000);
        let mut schedule = Self {
            seed,
            agents: agents.min(HOSTS_MAX),
            policy: *rng.pick(&[0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 6, 7, 8]) % POLICIES.len(),
            demand_signatures: rng.chance(200),
            json: rng.chance(30),
            rates: rates(&mut rng),
            network: network(&mut rng),
            people: People { speaks: 700, denies: *rng.pick(&[0, 100, 300]), late: *rng.pick(&[0, 150]) },
            heal_at,
            happenings: Vec::new(),
            server_faults: FaultPlan::none(),
            agent_faults: Vec::new(),
        };
        // What is said of many hosts needs them.
        if POLICIES[schedule.policy].common == 2 || POLICIES[schedule.policy].storm == 2 {
            schedule.agents = HOSTS_MAX;
        }
        schedule.server_faults = disk(&mut rng, 60);
        schedule.agent_faults =
            (0..schedule.agents).map(|_| (disk(&mut rng, 10), disk(&mut rng, 25))).collect();
        let first = sick(&mut rng, schedule.agents);
        schedule.happenings.push((rng.between(100, 5_000), first));
        if POLICIES[schedule.policy].common == 2 && rng.chance(600) {
            domains(&mut schedule, &mut rng);
        }
        if POLICIES[schedule.policy].promotion > 0 {
            repeated(&mut schedule, &mut rng);
        }
        for _ in 0..rng.between(1, 9) {
            happen(&mut schedule, &mut rng);
        }
        // Where both memories of a run are lost, or the server's with both sides' sense of time, nobody can know.
        let has = |wanted: fn(&Happening) -> bool| schedule.happenings.iter().any(|(_, h)| wanted(h));
        let clocks = |h: &Happening| matches!(h, Happening::ServerClock { ms } if *ms < 0);
        if has(|h| matches!(h, Happening::SetBack { .. } | Happening::AgentClock { .. })) || has(clocks) {
            schedule.happenings.retain(|(_, h)| *h != Happening::Restore);
        }
        schedule.happenings.sort_by_key(|(at, _)| *at);
        schedule
    }
}

/// Hosts in two failure domains get the same fault.
fn domains(schedule: &mut Schedule, rng: &mut Rng) {
    for agent in 0..schedule.agents {
        let what = if rng.chance(500) { 5 } else { 6 };
        schedule.happenings.push((50, Happening::Declare { agent, what }));
    }
    let unit = rng.below(2) as usize;
    let kind = *rng.pick(&[0, 1, 4]);
    schedule.happenings.push((rng.between(300, 10_000), Happening::Epidemic { unit, kind, stubborn: false }));
}

/// The same faults come again and again, so that a playbook can earn something, and lose it.
fn repeated(schedule: &mut Schedule, rng: &mut Rng) {
    schedule.heal_at = 200_000;
    let kind = *rng.pick(&[0, 4]);
    for n in 0..rng.between(4, 9) {
        let agent = rng.below(schedule.agents as u64) as usize;
        let (unit, stubborn) = (rng.below(2) as usize, rng.chance(150));
        let at = n * 20_000 + rng.between(500, 15_000);
        schedule.happenings.push((at, Happening::Sick { agent, unit, kind, stubborn }));
        // A run that fails because its host is set back meanwhile counts like any other.
        if n > 2 && rng.chance(150) {
            set_back_in_run(schedule, rng, agent, at);
        }
    }
}

/// The host is set back to an image from within a run, as likely as not while it is cut off; then one more process writes
/// before a server is heard.
fn set_back_in_run(schedule: &mut Schedule, rng: &mut Rng, agent: usize, sick_at: i64) {
    let image_at = sick_at + rng.between(500, 9_000);
    let back_at = image_at + rng.between(1_000, 6_000);
    schedule.happenings.push((image_at, Happening::Image { agent }));
    schedule.happenings.push((back_at, Happening::SetBack { agent }));
    if rng.chance(500) {
        schedule.happenings.push((back_at - 200, Happening::Cut { agent, ms: rng.between(10_000, 40_000) }));
        schedule.happenings.push((back_at + rng.between(4_000, 12_000), Happening::KillAgent { agent }));
    }
}

fn rates(rng: &mut Rng) -> Rates {
    let mut rate = |max: u64| if rng.chance(300) { rng.below(max) as u32 } else { 0 };
    Rates {
        step_fails: rate(300),
        step_half: rate(300),
        step_lies: rate(300),
        step_hangs: rate(200),
        dies_in_step: rate(400),
        unknown: rate(500),
        undo_fails: rate(400),
        flaps: rate(120),
        slow_capture: rate(250),
    }
}

fn network(rng: &mut Rng) -> Network {
    let mut rate = |max: u64| if rng.chance(350) { rng.below(max) as u32 } else { 0 };
    Network { lost: rate(300), doubled: rate(300), delayed: rate(250) }
}

/// Returns a plan of up to three faults among the first writes of a disk.
fn disk(rng: &mut Rng, writes: i64) -> FaultPlan {
    let mut plan = FaultPlan::none();
    while rng.chance(330) {
        plan = plan.and(rng.between(2, writes) as u64, fault(rng));
    }
    plan
}

fn fault(rng: &mut Rng) -> Fault {
    match rng.below(7) {
        0 | 1 => Fault::CrashBefore,
        2 | 3 => Fault::CrashAfter,
        4 => {
            let rest = if rng.chance(500) { Rest::Missing } else { Rest::Zeros };
            Fault::Torn { keep_bytes: rng.below(110) as usize, rest }
        }
        5 => Fault::FsyncFails { survives: rng.chance(500) },
        _ => Fault::DiskFull,
    }
}

fn sick(rng: &mut Rng, agents: usize) -> Happening {
    let unit = *rng.pick(&[0, 0, 0, 1, 1, 2]);
    // The agent's own unit must not be touched, whatever ails it.
    let kind = if unit == 2 { 0 } else { *rng.pick(&[0, 0, 0, 1, 1, 1, 2, 2, 3, 4, 5, 6]) % KINDS.len() };
    Happening::Sick { agent: rng.below(agents as u64) as usize, unit, kind, stubborn: rng.chance(200) }
}

fn happen(schedule: &mut Schedule, rng: &mut Rng) {
    let agent = rng.below(schedule.agents as u64) as usize;
    let at = rng.between(500, schedule.heal_at - 1_000);
    let later = rng.between(at, schedule.heal_at);
    let jump = |rng: &mut Rng| *rng.pick(&[-YEARS_10_MS, YEARS_10_MS, -3_600_000, 3_600_000]);
    let mut add = |at: i64, happening: Happening| schedule.happenings.push((at, happening));
    match rng.below(24) {
        0..=3 => {
            let happening = sick(rng, schedule.agents);
            add(at, happening);
        }
        4 => add(at, Happening::Well { agent }),
        5 => add(at, Happening::Level { agent, unit: rng.below(2) as usize }),
        6 | 7 => add(at, Happening::Cut { agent, ms: rng.between(1_000, 120_000) }),
        8 => add(at, Happening::KillServer),
        9 => add(at, Happening::KillAgent { agent }),
        10 => {
            add(at, Happening::ServerClock { ms: jump(rng) });
            if rng.chance(500) {
                add(at + 1, Happening::KillServer);
            }
        }
        11 => add(at, Happening::AgentClock { agent, ms: jump(rng) }),
        12 => {
            add(at, Happening::Stop);
            add(later, Happening::Resume);
        }
        13 => {
            add(at, Happening::LocalStop { agent, on: true });
            add(later, Happening::LocalStop { agent, on: false });
        }
        14 => add(at, Happening::Cancel),
        15 => {
            add(at, Happening::Declare { agent, what: 1 + rng.below(6) as u8 });
            add(later, Happening::Declare { agent, what: 0 });
        }
        16 => add(
            at,
            if rng.chance(600) {
                Happening::Install { which: rng.below(2) as usize }
            } else {
                Happening::Retire
            },
        ),
        17 => {
            add(at, Happening::Backup);
            add(later, Happening::Restore);
        }
        18 if rng.chance(400) => {
            add(at, Happening::Sick { agent, unit: rng.below(2) as usize, kind: 0, stubborn: false });
            set_back_in_run(schedule, rng, agent, at);
        }
        18 => {
            add(at, Happening::Image { agent });
            add(later, Happening::SetBack { agent });
        }
        19 => add(
            at,
            Happening::Epidemic {
                unit: rng.below(2) as usize,
                kind: *rng.pick(&[0, 0, 1, 3, 4, 6]) % KINDS.len(),
                stubborn: rng.chance(300),
            },
        ),
        23 => add(at, Happening::CutAll { ms: rng.between(90_000, 200_000) }),
        22 => {
            let (unit, kinds) = (rng.below(2) as usize, *rng.pick(&[[0, 1], [1, 3], [0, 4], [3, 4]]));
            add(at.min(15_000), Happening::Haunted { agent, unit, kinds });
            add(at.min(15_000) + 1, Happening::Sick { agent, unit, kind: kinds[0], stubborn: false });
        }
        _ => add(at, Happening::Lie { agent, how: rng.below(10) as u8 }),
    }
}
