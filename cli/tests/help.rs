//! What `--help` says, command by command, held by golden files, and that no line is wider than a terminal.

mod common;

use common::{Home, golden};

const COMMANDS: [&str; 18] = [
    "",
    "login",
    "incident",
    "incident list",
    "incident watch",
    "approve",
    "deny",
    "run",
    "playbook",
    "playbook sign",
    "playbook test",
    "playbook explain",
    "playbook diff",
    "backtest",
    "policy sign",
    "host join-token",
    "audit verify",
    "stop",
];

#[test]
fn help_is_golden() {
    let home = Home::new(None);
    let mut all = String::new();
    for command in COMMANDS {
        let args: Vec<&str> = command.split_whitespace().chain(["--help"]).collect();
        let ran = home.sopwith(&args);
        assert_eq!(ran.code, 0, "{ran:?}");
        let wide: Vec<&str> = ran.out.lines().filter(|line| line.chars().count() > 80).collect();
        assert!(wide.is_empty(), "{command}: {wide:#?}");
        all.push_str(&format!("$ sopwith {}\n{}\n", args.join(" "), ran.out));
    }
    golden("help.txt", &all);
}

#[test]
fn a_wrong_command_line_exits_2() {
    let home = Home::new(None);
    for args in [
        &["nonsense"][..],
        &["deny", "INC-1"],
        &["stop"],
        &["incident", "show", "x"],
        &["login", "https://x"],
    ] {
        let ran = home.sopwith(args);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{args:?}: {ran:?}");
    }
}

#[test]
fn completions_name_every_command() {
    let home = Home::new(None);
    for shell in ["bash", "zsh", "fish"] {
        let ran = home.sopwith(&["completions", shell]);
        assert!(ran.code == 0 && ran.out.contains("join-token"), "{shell}");
    }
}
