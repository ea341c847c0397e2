//! Has nginx test its configuration on disk. A configuration that is broken while the old one still serves is found by
//! nobody until the next restart, which then is an outage.

use crate::config::{Check, NginxProbe};
use crate::watcher::files;
use crate::watcher::process::{Done, Ended};
use crate::watcher::sources::checks::seen::{Finding, Seen, one_line};
use sopwith_domain::inspection::Verdict;
use sopwith_domain::value::AbsPath;

/// Reads what `nginx -t -q` printed and how it ended.
///
/// # Errors
/// It could not be run.
pub(super) fn read(check: &Check, probe: &NginxProbe, done: &Done) -> Result<Seen, String> {
    let text = String::from_utf8_lossy(&done.output);
    let how = match done.ended {
        Ended::Exited(0) => {
            let mut seen = Seen::well("the configuration on disk is one that nginx would start with");
            // It may still warn.
            seen.more = text.trim().to_owned();
            return Ok(seen);
        }
        Ended::Exited(code @ (126 | 127)) => {
            return Err(format!("{} cannot be run: exit code {code}", probe.program.as_str()));
        }
        Ended::Exited(code) => format!("exit code {code}"),
        Ended::Signalled(signal) => format!("ended by signal {signal}"),
        Ended::TimedOut => format!("not done within {:?}", check.timeout.0),
    };
    let telling = text.lines().find(|line| line.contains("[emerg]") || line.contains("[alert]"));
    let running = files::named_process(probe.pidfile.path()).is_some();
    let said = telling.and_then(|line| line.split_once("] ")).map_or(how.as_str(), |(_, said)| said);
    let still = if running { "; the old one still serves" } else { "" };
    let mut finding = Finding::new("check.failed", Verdict::Critical, format!("{}{still}", one_line(said)))
        .boolean("running", running)
        .word("reason", "configuration");
    if let Ended::Exited(code) = done.ended {
        finding = finding.integer("exit_status", code);
    }
    if let Some((path, line)) = telling.and_then(place) {
        finding = finding.path("error_path", &path).integer("error_line", line);
    }
    let mut seen = Seen::wrong(finding);
    seen.more = crate::watcher::report::bounded(text.trim(), super::super::seen::MORE_BYTES_MAX);
    Ok(seen)
}

/// Takes file and line of nginx's complaint, as in `… in /etc/nginx/nginx.conf:12`.
fn place(line: &str) -> Option<(AbsPath, u32)> {
    let (_, place) = line.rsplit_once(" in ")?;
    let (path, number) = place.trim().rsplit_once(':')?;
    Some((AbsPath::new(path).ok()?, number.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn what_nginx_says() {
        let folder = tempfile::tempdir().expect("a folder");
        let pidfile = folder.path().join("nginx.pid");
        std::fs::write(&pidfile, std::process::id().to_string()).expect("written");
        for (output, ended, pid, line, fields) in [
            ("", Ended::Exited(0), true, "the configuration on disk is one that nginx would start with", ""),
            (
                "nginx: [emerg] unknown directive \"sevrer\" in /etc/nginx/sites-enabled/shop:3\n\
                 nginx: configuration file /etc/nginx/nginx.conf test failed\n",
                Ended::Exited(1),
                true,
                "unknown directive \"sevrer\" in /etc/nginx/sites-enabled/shop:3; the old one still serves",
                "error_line=3 error_path=/etc/nginx/sites-enabled/shop exit_status=1 reason=configuration running=true",
            ),
            (
                "nginx: [emerg] cannot load certificate \"/x.pem\": BIO_new_file() failed\n",
                Ended::Exited(1),
                false,
                "cannot load certificate \"/x.pem\": BIO_new_file() failed",
                "exit_status=1 reason=configuration running=false",
            ),
            ("", Ended::TimedOut, false, "not done within 10s", "reason=configuration running=false"),
        ] {
            let pidfile = if pid { pidfile.display().to_string() } else { "/does/not/exist".into() };
            let text = format!("checks:\n- {{name: c, nginx: {{pidfile: {pidfile}}}}}\n");
            let config = Config::parse(&text).unwrap_or_else(|e| panic!("{text}: {e:?}"));
            let check = &config.checks[0];
            let crate::config::Kind::Nginx(probe) = check.kind() else { panic!("no nginx") };
            let done = Done { ended, output: output.as_bytes().to_vec(), cut: 0 };
            let seen = read(check, probe, &done).expect("it was run");
            let told = seen.findings.iter().flat_map(|f| &f.fields).map(|(n, v)| format!("{n}={v}"));
            assert_eq!((seen.line.as_str(), told.collect::<Vec<_>>().join(" ").as_str()), (line, fields));
            assert_eq!(check.argv().expect("a program").join(" "), "/usr/sbin/nginx -t -q");
        }
    }
}
