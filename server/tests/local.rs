//! Commands on the server's own machine: through the running server's socket, or by opening the ledger when it does
//! not run; never two writers.

mod common;

use common::{World, name};
use sopwith_domain::people::Role;
use sopwith_server::app::{App, OpenFailed};
use sopwith_server::local::{Answer, Ask, LocalFailed, ask};
use std::os::unix::fs::PermissionsExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

#[tokio::test(flavor = "multi_thread")]
async fn a_running_server_is_asked_and_a_resting_one_is_opened() {
    let world = World::start().await;
    let config = common::config(world.dir.path());
    assert!(matches!(App::open(config.clone()), Err(OpenFailed::Locked(_))), "there is one writer");
    let add = Ask::AddPerson {
        name: name("alice"),
        role: Role::Operator,
        password: "correct horse battery".into(),
    };
    assert_eq!(ask(config.clone(), add.clone()).await.unwrap(), Answer::Done);
    assert!(world.running.app.ledger.state().people.contains_key(&name("alice")), "in the running server");
    let refused = ask(config.clone(), add).await.unwrap_err();
    assert!(matches!(&refused, LocalFailed::Refused(why) if why.contains("already")), "{refused}");
    let role = Ask::ChangeRole { name: name("alice"), role: Role::Approver };
    assert_eq!(ask(config.clone(), role).await.unwrap(), Answer::Done);
    let login = ask(config.clone(), Ask::OneTimeLogin { name: name("alice") }).await.unwrap();
    assert!(matches!(login, Answer::OneTimeLogin { path } if path.starts_with("/login/once/spo_")));
    let token = ask(config.clone(), Ask::JoinToken { host: None, valid_s: 60 }).await.unwrap();
    assert!(matches!(token, Answer::JoinToken { token } if token.command.contains("--ca-sha256")));
    let short = Ask::SetPassword { name: name("alice"), password: "short".into() };
    assert!(matches!(ask(config.clone(), short).await, Err(LocalFailed::Refused(_))));

    // The last admin stays, and the server's own name is nobody's.
    let last = Ask::DisablePerson { name: name("admin") };
    assert!(matches!(ask(config.clone(), last).await, Err(LocalFailed::Refused(_))));
    let own = Ask::AddPerson { name: name("sopwith"), role: Role::Admin, password: "x".repeat(20) };
    assert!(matches!(ask(config.clone(), own).await, Err(LocalFailed::Refused(_))));

    let socket = world.dir.path().join("data/admin.sock");
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    let before = world.running.app.ledger.head();
    for line in ["{\n".to_owned(), "x".repeat(20_000), "{\"ask\":\"be_root\"}\n".into(), "\n".into()] {
        let mut stream = UnixStream::connect(&socket).await.unwrap();
        // A line that is too long is not read to its end, so that writing it may fail.
        let _ = stream.write_all(line.as_bytes()).await;
        let mut answer = String::new();
        let read = stream.read_to_string(&mut answer).await;
        assert!(read.is_err() || answer.contains("refused"), "{answer}");
    }
    assert_eq!(world.running.app.ledger.head(), before);

    let World { dir, running, .. } = world;
    running.stop().await;
    // The database's owner may still be ending; the lock says when it has.
    let disable = Ask::DisablePerson { name: name("alice") };
    loop {
        match ask(config.clone(), disable.clone()).await {
            Ok(answer) => break assert_eq!(answer, Answer::Done),
            Err(LocalFailed::Socket(_)) => tokio::task::yield_now().await,
            Err(other) => panic!("{other}"),
        }
    }
    drop(dir);
}
