use super::*;
use crate::runner::actions::tests::{World, context, step};
use sopwith_domain::action::Action;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;

fn abs(path: &Path) -> AbsPath {
    AbsPath::new(path.to_string_lossy().into_owned()).expect("a path")
}

#[test]
fn only_a_socket_at_which_nobody_listens_is_stale() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let _live = UnixListener::bind(at("live")).expect("bound");
    let _datagrams = UnixDatagram::bind(at("datagrams")).expect("bound");
    drop(UnixListener::bind(at("dead")).expect("bound"));
    drop(UnixDatagram::bind(at("dead-datagrams")).expect("bound"));
    fs::write(at("file"), "").expect("written");
    std::os::unix::fs::symlink("dead", at("link")).expect("linked");
    let table = [
        ("live", false),
        ("datagrams", false),
        ("dead", true),
        ("dead-datagrams", true),
        ("file", false),
        ("link", false),
        ("absent", false),
    ];
    for (name, expected) in table {
        assert_eq!(stale(&abs(&at(name))).is_ok(), expected, "{name}");
    }
}

#[test]
fn what_is_taken_away_comes_back_as_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.sock");
    drop(UnixListener::bind(&path).expect("bound"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o751)).expect("set");
    let was = fs::symlink_metadata(&path).expect("there");
    let target = abs(&path);
    let (mut world, step) = (World::new(), step(Action::SocketRemove { path: target.clone() }));
    let mut at = At { bench: &mut world.bench, step: context(&step) };
    let act = Remove { path: &target };
    let prior = act.capture(&mut at).expect("captured");
    assert!(matches!(act.probe(&mut at, &prior), Ok(Effect::None { .. })));
    act.perform(&mut at, &prior).expect("done");
    assert!(!path.exists());
    assert!(matches!(act.probe(&mut at, &prior), Ok(Effect::Took { .. })));
    // The service came up and was ended without tidying up: its socket is no more than the one before.
    drop(UnixListener::bind(&path).expect("bound"));
    for _ in 0..2 {
        act.undo(&mut at, &prior).expect("undone");
        let is = fs::symlink_metadata(&path).expect("there");
        assert!(is.file_type().is_socket());
        assert_eq!((is.mode(), is.uid(), is.gid()), (was.mode(), was.uid(), was.gid()));
        assert_eq!((is.mtime(), is.mtime_nsec()), (was.mtime(), was.mtime_nsec()));
    }
    assert!(stale(&target).is_ok());
    fs::remove_file(&path).expect("removed");
    let _other = UnixListener::bind(&path).expect("bound");
    assert!(act.undo(&mut at, &prior).is_err(), "somebody else's service listens now");
    assert!(act.perform(&mut at, &prior).is_err());
}
