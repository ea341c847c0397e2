//! Checks of accounts, packages, certificates and of configurations that a program of the host's own understands. They
//! look and ask; they change nothing.

use super::actions::account::{self, Table, Tables, today};
use super::actions::{Programs, Workbench, command, file_edit, package_configure};
use crate::runner::profiles;
use sopwith_domain::action::FileFormat;
use sopwith_domain::check::Check;
use sopwith_domain::value::{AbsPath, Word};
use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use x509_parser::pem::Pem;

/// How long a program may take that only looks, in milliseconds.
const PROGRAM_MS_MAX: i64 = 10_000;
/// Longest certificate file, in bytes.
const CERTIFICATE_BYTES_MAX: u64 = 1024 * 1024;
/// Longest crontab that is looked through, in bytes.
const CRONTAB_BYTES_MAX: u64 = 256 * 1024;
const CRONTABS_MAX: usize = 1000;

type Seen = Result<(), String>;

/// Asks a check of these.
pub fn ask(bench: &mut Workbench, check: &Check) -> Seen {
    let programs = &bench.programs;
    match check {
        Check::UnitEnabled { unit } => bench.systemd.unit_file_state(unit).and_then(|state| {
            let starts = matches!(state.as_str(), "enabled" | "enabled-runtime" | "alias" | "generated");
            if starts { Ok(()) } else { Err(format!("it is {state}")) }
        }),
        Check::UnitNotEnabled { unit } => bench
            .systemd
            .unit_file_state(unit)
            .and_then(|state| if state == "disabled" { Ok(()) } else { Err(format!("it is {state}")) }),
        Check::FileKeyIs { path, format, key, value } => key_is(path, *format, key, value),
        Check::AccountLocked { account } => locked(&bench.tables, account),
        Check::AccountUsable { account } => usable(&bench.tables, account),
        Check::AccountUnused { account } => unused(&bench.tables, account),
        Check::PackageConfigured { package } => package_configure::configured(package.as_ref()),
        Check::PackageManagerFree {} => package_configure::manager_free(),
        Check::SudoersValid {} => says_yes(programs, &["/usr/sbin/visudo", "-c", "-q"]),
        Check::SshdValid {} => says_yes(programs, &["/usr/sbin/sshd", "-t"]),
        Check::SshdRunsWith { key, value } => sshd_runs_with(programs, key, value),
        Check::LogrotateValid { path } => logrotate(programs, path),
        Check::CertificateValid { path, days } => certificate(path, *days),
        other => Err(format!("this agent does not know the check {}", other.name())),
    }
}

fn key_is(path: &AbsPath, format: FileFormat, key: &Word, value: &Word) -> Seen {
    let text = file_edit::read(path)?;
    match file_edit::lines::value(&text, format, key.as_str()) {
        Some(now) if now == value.as_str() => Ok(()),
        Some(now) => Err(format!("it says {now}")),
        None => Err("it says nothing for it".into()),
    }
}

fn run(programs: &Programs, argv: &[&str]) -> Result<String, String> {
    let argv: Vec<String> = argv.iter().map(ToString::to_string).collect();
    let report = programs.run(&profiles::reading(), &argv, PROGRAM_MS_MAX, None)?;
    match command::fault(&report) {
        None => Ok(report.output),
        Some(how) => Err(format!("{}: {how}: {}", argv[0], report.output.trim())),
    }
}

fn says_yes(programs: &Programs, argv: &[&str]) -> Seen {
    run(programs, argv).map(drop)
}

fn sshd_runs_with(programs: &Programs, key: &Word, value: &Word) -> Seen {
    let output = run(programs, &["/usr/sbin/sshd", "-T"])?;
    let key = key.as_str().to_ascii_lowercase();
    let said = output.lines().filter_map(|line| line.trim().split_once(' ')).find(|(name, _)| *name == key);
    match said {
        Some((_, now)) if now.trim().eq_ignore_ascii_case(value.as_str()) => Ok(()),
        // An old name of the same.
        Some((_, "without-password")) if value.as_str() == "prohibit-password" => Ok(()),
        Some((_, now)) => Err(format!("it would run with {now}")),
        None => Err("sshd knows no such setting".into()),
    }
}

/// logrotate ends with 0 also after some mistakes; then it names them.
fn logrotate(programs: &Programs, path: &AbsPath) -> Seen {
    let output = run(programs, &["/usr/sbin/logrotate", "--debug", path.as_str()])?;
    match output.lines().find(|line| line.starts_with("error:")) {
        None => Ok(()),
        Some(line) => Err(line.to_owned()),
    }
}

fn lines(tables: &Tables, account: &Word) -> Result<(String, String), String> {
    let line = |table| account::line(&tables.read(table)?.bytes, account.as_str());
    Ok((line(Table::Shadow)?, line(Table::Passwd)?))
}

fn locked(tables: &Tables, account: &Word) -> Seen {
    let (shadow, passwd) = lines(tables, account)?;
    if account::locked(&shadow, &passwd, today()) { Ok(()) } else { Err("it is not".into()) }
}

fn usable(tables: &Tables, account: &Word) -> Seen {
    let (shadow, _) = lines(tables, account)?;
    account::refused(&shadow, today()).map_or(Ok(()), |why| Err(why.into()))
}

fn unused(tables: &Tables, account: &Word) -> Seen {
    let (_, passwd) = lines(tables, account)?;
    let uid: u32 =
        passwd.split(':').nth(2).and_then(|uid| uid.parse().ok()).ok_or("its line in passwd is broken")?;
    // Every process that there is belongs to some account; those of root say nothing of another with its number.
    let entries = fs::read_dir("/proc").map_err(|e| e.to_string())?.flatten();
    let mut processes = entries.filter(|entry| {
        entry.file_name().to_str().is_some_and(|name| name.bytes().all(|b| b.is_ascii_digit()))
            && entry.metadata().is_ok_and(|m| m.uid() == uid)
    });
    if let Some(process) = processes.next() {
        return Err(format!("process {} runs as it", process.file_name().to_string_lossy()));
    }
    match jobs(tables, account.as_str()) {
        Some(path) => Err(format!("{path} starts something as it")),
        None => Ok(()),
    }
}

/// Returns a crontab that speaks of an account.
fn jobs(tables: &Tables, name: &str) -> Option<String> {
    let own = tables.path("var/spool/cron/crontabs").join(name);
    if own.exists() {
        return Some(own.display().to_string());
    }
    let parts = fs::read_dir(tables.path("etc/cron.d")).into_iter().flatten().flatten();
    let parts = parts.take(CRONTABS_MAX).map(|entry| entry.path());
    let speaks = |path: &std::path::PathBuf| {
        let mut text = String::new();
        let read =
            fs::File::open(path).and_then(|file| file.take(CRONTAB_BYTES_MAX).read_to_string(&mut text));
        read.is_ok()
            && text
                .lines()
                .map(str::trim_start)
                .filter(|line| !line.starts_with('#'))
                .any(|line| line.split_whitespace().take(6).any(|word| word == name))
    };
    std::iter::once(tables.path("etc/crontab"))
        .chain(parts)
        .find(speaks)
        .map(|path| path.display().to_string())
}

fn certificate(path: &AbsPath, days: i64) -> Seen {
    let mut bytes = Vec::new();
    let file = fs::File::open(path.as_str()).map_err(|e| e.to_string())?;
    file.take(CERTIFICATE_BYTES_MAX).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    let pem = Pem::iter_from_buffer(&bytes).flatten().find(|pem| pem.label == "CERTIFICATE");
    let der = pem.as_ref().map_or(bytes.as_slice(), |pem| pem.contents.as_slice());
    let (_, certificate) =
        x509_parser::parse_x509_certificate(der).map_err(|_| "it holds no certificate".to_owned())?;
    let (now_s, validity) = (super::clock::wall().0.div_euclid(1000), certificate.validity());
    let left_s = validity.not_after.timestamp() - now_s;
    if validity.not_before.timestamp() > now_s {
        return Err("it is not valid yet".into());
    }
    if left_s >= days * 86_400 && left_s > 0 {
        return Ok(());
    }
    Err(format!("{} days are left", left_s.div_euclid(86_400)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &str) -> Word {
        Word::new(text).expect("a word")
    }

    #[test]
    fn accounts_are_unused_where_nothing_runs_as_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(path, text).expect("written");
        };
        let own = rustix::process::geteuid().as_raw();
        write(
            "etc/passwd",
            &format!(
                "me:x:{own}:1::/:/bin/sh\na:x:4242424:1::/:/bin/sh\nb:x:4242425:1::/:/bin/sh\nc:x:4242426:1::/:/bin/sh\n"
            ),
        );
        write("etc/shadow", "me:*:1::::::\na:*:1::::::\nb:*:1::::::\nc:*:1::::::\n");
        write("etc/cron.d/job", "# a is not meant\n*/5 * * * * b /bin/true a\n");
        write("var/spool/cron/crontabs/c", "");
        let tables = Tables::below(folder.path());
        assert_eq!(unused(&tables, &word("a")), Ok(()));
        for (name, why) in
            [("me", "runs as it"), ("b", "etc/cron.d/job"), ("c", "crontabs/c"), ("d", "no account")]
        {
            assert!(unused(&tables, &word(name)).is_err_and(|told| told.contains(why)), "{name}");
        }
    }

    #[test]
    fn certificates_last_so_many_days() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.pem");
        let mut parameters = rcgen::CertificateParams::new(vec!["a.example".into()]).expect("a name");
        parameters.not_after = rcgen::date_time_ymd(2100, 1, 1);
        let key = rcgen::KeyPair::generate().expect("a key");
        fs::write(&path, parameters.self_signed(&key).expect("signed").pem()).expect("written");
        let at = AbsPath::new(path.to_str().expect("text")).expect("a path");
        assert_eq!((certificate(&at, 0), certificate(&at, 30)), (Ok(()), Ok(())));
        assert!(certificate(&at, 3_000_000).is_err());
        parameters.not_after = rcgen::date_time_ymd(2001, 1, 1);
        parameters.not_before = rcgen::date_time_ymd(2000, 1, 1);
        fs::write(&path, parameters.self_signed(&key).expect("signed").pem()).expect("written");
        assert!(certificate(&at, 0).is_err());
        fs::write(&path, "text").expect("written");
        assert!(certificate(&at, 0).is_err());
    }
}
