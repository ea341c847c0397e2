use super::*;
use std::path::Path;

struct World(tempfile::TempDir);

impl World {
    fn write(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, text).expect("written");
    }

    /// A process: its processor time in ticks, its private pages.
    fn process(&self, pid: u32, name: &str, start: u64, ticks: u64, pages: u64, group: &str) {
        let stat =
            format!("{pid} ({name}) R 1 1 1 0 -1 4194304 0 0 0 0 {ticks} 0 0 0 20 5 2 0 {start} 0 {pages} 0");
        self.write(&format!("proc/{pid}/stat"), &stat);
        self.write(&format!("proc/{pid}/statm"), &format!("9999 {pages} 0 1 0 1 0"));
        self.write(&format!("proc/{pid}/cgroup"), &format!("1:name=systemd:{group}\n0::/else\n"));
    }

    fn files(&self) -> Files {
        Files::below(self.0.path().to_str().expect("a path")).expect("opened")
    }
}

fn told(usage: &Usage) -> Vec<String> {
    let page = rustix::param::page_size() as u64;
    usage
        .units()
        .map(|(n, _, u)| format!("{n} {} {} {}", u.memory_bytes / page, u.cpu_seconds, u.processes))
        .collect()
}

const WINDOW: Duration = Duration::from_secs(20);

#[test]
fn units_are_the_sum_of_their_processes_or_what_their_group_says() {
    let world = World(tempfile::tempdir().expect("a folder"));
    world.process(10, "a (b) c", 5, 700, 100, "/system.slice/web.service");
    world.process(11, "web", 6, 100, 50, "/system.slice/web.service/child");
    world.process(12, "bash", 7, 0, 10, "/user.slice/user-1000.slice/session-3.scope");
    world.process(13, "outside", 8, 0, 10, "/../x.service");
    world.process(14, "free", 9, 0, 10, "/");
    let mut files = world.files();
    let mut usage = Usage { took: Duration::ZERO, ..Usage::default() };
    assert!(usage.look(&mut files, 0, WINDOW).expect("looked"));
    assert!(!usage.look(&mut files, 1, WINDOW).expect("not so soon"));
    assert_eq!(told(&usage), ["web.service 150 0 2", "session-3.scope 10 0 1"]);
    // Its time goes on, another begins, one ends.
    world.process(10, "a (b) c", 5, 900, 300, "/system.slice/web.service");
    world.process(15, "new", 99, 50, 1, "/system.slice/web.service");
    std::fs::remove_dir_all(world.0.path().join("proc/12")).expect("removed");
    usage.looked = None;
    usage.looked = Some(Instant::now() - LOOK_EVERY_MIN);
    usage.took = Duration::ZERO;
    assert!(usage.look(&mut files, 5000, WINDOW).expect("looked"));
    assert_eq!(told(&usage), ["web.service 351 2.5 3"]);
    // The kernel accounts for the group: in the new way, and the old.
    for (stat, cpu, limit, text, key) in [
        ("memory.stat", "cpu.stat", "memory.max", "file 1\nanon 40960\n", "usage_usec 7000000\n"),
        (
            "memory/system.slice/web.service/memory.stat",
            "cpuacct/system.slice/web.service/cpuacct.usage",
            "memory/system.slice/web.service/memory.limit_in_bytes",
            "cache 1\ntotal_rss 40960\n",
            "7000000000\n",
        ),
    ] {
        let at = |file: &str| match file.contains('/') {
            true => format!("sys/fs/cgroup/{file}"),
            false => format!("sys/fs/cgroup/system.slice/web.service/{file}"),
        };
        world.write(&at(stat), text);
        world.write(&at(cpu), key);
        usage.sum(&mut files);
        let group = usage.units.keys().next().expect("a unit").clone();
        let unit = &usage.units[&group];
        assert_eq!((unit.memory_bytes, unit.cpu_seconds), (40_960, 7.0));
        for (limit_text, is) in [("max\n", None), ("1000\n", Some(1000)), ("9223372036854771712\n", None)] {
            world.write(&at(limit), limit_text);
            assert_eq!(group_limit(&mut files, &group), is, "{limit_text}");
        }
        std::fs::remove_dir_all(world.0.path().join("sys")).expect("removed");
    }
    assert!(Path::new("/proc/1").exists());
}

#[test]
fn a_busy_process_is_one_that_goes_on() {
    let world = World(tempfile::tempdir().expect("a folder"));
    let mut files = world.files();
    let mut usage = Usage::default();
    // Every 5 seconds: processor time in hundredths of a second, whether 60 % over 20 s were taken.
    let course = [
        (0, false),
        (400, false),
        (800, false),
        (1200, false),
        (1600, true),
        (1610, false), // it rests, and all begins anew
        (2010, false),
        (2410, false),
        (2610, false),
        (3110, true), // 1500 in 20 s
        (3260, true), // 1250 in 20 s
        (3410, false),
        (3560, true), // 950 in 20 s, and 5 s for which it waited
    ];
    for (step, (ticks, is)) in course.into_iter().enumerate() {
        world.process(10, "loop", 5, ticks, 1, "/");
        let waited_ns = if step > 11 { 5_000_000_000_u64 } else { 7_000_000 };
        world.write("proc/10/schedstat", &format!("1 {waited_ns} 3\n"));
        (usage.looked, usage.took) = (Some(Instant::now() - LOOK_EVERY_MIN), Duration::ZERO);
        usage.look(&mut files, step as u64 * 5000, WINDOW).expect("looked");
        let busy = usage.busy(&mut files, 0.6, WINDOW);
        assert_eq!(!busy.is_empty(), is, "{step}: {busy:?}");
        if let Some(busy) = busy.first() {
            assert_eq!((busy.pid, busy.start_ticks, busy.name.as_str(), busy.nice), (10, 5, "loop", 5));
        }
    }
}
