//! What a host, a log or a plugin says is shown on a terminal and commands none: the real program, with text as an
//! attacker would write it wherever text comes from.

use sopwith_protocol::plain::misleading;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

const CANARIES: [&str; 9] = [
    "CANARY;touch c",
    "CANARY$(touch c)",
    "../../CANARY",
    "--output=CANARY",
    "{{CANARY}}${CANARY}",
    "CANARY\u{1b}[2J\u{1b}]0;x\u{7}",
    "CANARY\u{202e}txt.exe\u{200b}\u{feff}",
    "CANARY\u{9b}31m\r",
    "CANARY\0nul",
];

fn config(folder: &Path) -> String {
    let plugin = folder.join("plugin").display().to_string();
    let log = folder.join("app.log").display().to_string();
    let state = folder.join("state").display().to_string();
    format!(
        "host: web-1\nstate_dir: {state}\nruntime_dir: {state}/run\nchecks:\n  - {{name: hostile, plugin: [{plugin}], every: 60s}}\n\
         logs:\n  - name: app\n    paths: [{log}]\n    rules:\n      - {{name: any, pattern: 'failed for (?P<user>\\S+)', captures: {{user: word}}}}\n"
    )
}

fn agent(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sopwith-agent"));
    command.args(arguments).arg("--config").arg(folder.join("agent.yaml")).current_dir(folder);
    command.output().expect("it runs")
}

/// Returns what was said, after seeing that none of it commands a terminal.
fn said(what: &str, output: &Output) -> String {
    let text = [&output.stdout[..], b"\n", &output.stderr[..]].concat();
    let text = String::from_utf8(text).unwrap_or_else(|e| panic!("{what}: {e}"));
    let raw = text.chars().find(|c| misleading(*c));
    assert_eq!(raw, None, "{what}: {text:?}");
    text
}

fn place() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("agent.yaml"), config(folder.path())).expect("written");
    let plugin = folder.path().join("plugin");
    fs::write(&plugin, "#!/bin/sh\n").expect("written");
    fs::set_permissions(&plugin, fs::Permissions::from_mode(0o755)).expect("runnable");
    folder
}

#[test]
fn lines_of_a_log_and_words_of_a_plugin_command_no_terminal() {
    let folder = place();
    let here = folder.path();
    let checked = agent(here, &["check-config"]);
    assert!(checked.status.success(), "{}", said("check-config", &checked));
    let plugin = here.join("plugin");
    let mega = format!("CANARY{}", "x".repeat(1 << 20));
    for canary in CANARIES.into_iter().chain([mega.as_str()]) {
        fs::write(here.join("app.log"), format!("failed for {canary}\n")).expect("written");
        let file = here.join("app.log").display().to_string();
        let shown =
            said(&format!("try-log, {canary:.30?}"), &agent(here, &["try-log", "app", &file, "--show"]));
        let long = canary.len() > 1000;
        assert!(shown.contains("failed for") || long, "{canary:.30?}: {shown:.200}");
        // A plugin is a program of the administrator's; what it says need not be.
        fs::write(&plugin, format!("#!/bin/sh\ncat <<'END'\nCRITICAL {canary} | x=1\nEND\nexit 2\n"))
            .expect("written");
        let shown = said(&format!("check, {canary:.30?}"), &agent(here, &["check", "hostile"]));
        assert!(shown.contains("CANARY") || long, "{canary:.30?}: {shown:.200}");
        assert!(shown.len() < 16 * 1024, "{canary:.30?}: {} bytes", shown.len());
    }
    assert!(!here.join("c").exists(), "a name was taken for a command");
}

#[test]
fn names_of_files_make_one_line_each() {
    let folder = place();
    for (n, canary) in CANARIES.iter().filter(|canary| !canary.contains(['\0', '/'])).enumerate() {
        let path = folder.path().join(canary);
        fs::write(&path, "x").expect("written");
        let path = path.display().to_string();
        let told = said(canary, &agent(folder.path(), &["norms", "--make-baseline", &path]));
        let lines = told.lines().filter(|line| !line.trim().is_empty()).count();
        assert_eq!(lines, 2, "{n}, {canary:?}: {told}");
    }
}
