//! Actions on processes: what a deleted file held open, and signals.

use super::*;

#[test]
fn a_deleted_file_that_is_held_open_is_emptied_and_its_bytes_kept() {
    let mut world = World::new();
    world.file("held.log", "bytes", 5);
    let path = world.real("held.log");
    let inode = fs::metadata(&path).map(|m| m.ino()).expect("there");
    let script = "exec 3>>\"$1\"; rm \"$1\"; read -r _";
    let mut holder = std::process::Command::new("/bin/sh")
        .args(["-c", script, "sh"])
        .arg(&path)
        .stdin(Stdio::piped())
        .spawn()
        .expect("sh");
    while path.exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let seen = processes::look(holder.id()).expect("there");
    let process = ProcessRef { pid: seen.pid, start_ticks: seen.start_ticks };
    let inode = i64::try_from(inode).expect("fits");
    let reclaiming = step(Action::FileReclaimDeleted { process, path: world.path("held.log"), inode });
    let prior = capture(&mut world.bench, context(&reclaiming)).expect("captured");
    assert!(matches!(probe(&mut world.bench, context(&reclaiming), &prior), Effect::None { .. }));
    let outcome = perform(&mut world.bench, context(&reclaiming), &prior);
    assert!(matches!(outcome, StepResult::Done { .. }), "{outcome:?}");
    assert!(matches!(probe(&mut world.bench, context(&reclaiming), &prior), Effect::Took { .. }));
    assert!(!restored(&undo(&mut world.bench, context(&reclaiming), &prior)));
    let kept = world.bench.quarantine.folder(context(&reclaiming)).join("file");
    assert_eq!(fs::read_to_string(kept).expect("kept"), "bytes");
    let other = step(Action::FileReclaimDeleted { process, path: world.path("held.log"), inode: inode + 1 });
    assert!(capture(&mut world.bench, context(&other)).is_err(), "another inode");
    drop(holder.stdin.take());
    holder.wait().expect("ended");
    assert!(capture(&mut world.bench, context(&reclaiming)).is_err(), "the holder is gone");
}

#[test]
fn a_process_is_signalled_by_number_and_start_time() {
    let mut world = World::new();
    let mut child = std::process::Command::new("/bin/sleep").arg("1000").spawn().expect("sleep");
    let seen = processes::look(child.id()).expect("there");
    let right = ProcessRef { pid: seen.pid, start_ticks: seen.start_ticks };
    let signal = |process| step(Action::ProcessSignal { process, signal: ProcessSignal::Term });
    for wrong in [
        ProcessRef { start_ticks: seen.start_ticks + 1, ..right },
        ProcessRef { pid: 1, start_ticks: processes::look(1).expect("there").start_ticks },
        ProcessRef {
            pid: std::process::id(),
            start_ticks: processes::look(std::process::id()).expect("there").start_ticks,
        },
    ] {
        assert!(capture(&mut world.bench, context(&signal(wrong))).is_err(), "{wrong:?}");
    }
    let step = signal(right);
    let prior = capture(&mut world.bench, context(&step)).expect("captured");
    assert!(matches!(probe(&mut world.bench, context(&step), &prior), Effect::Unknown { .. }));
    let outcome = perform(&mut world.bench, context(&step), &prior);
    assert!(matches!(&outcome, StepResult::Done { output } if output.contains("ended")), "{outcome:?}");
    assert!(matches!(probe(&mut world.bench, context(&step), &prior), Effect::Took { .. }));
    assert!(matches!(perform(&mut world.bench, context(&step), &prior), StepResult::Failed { .. }));
    child.wait().expect("ended");
}
