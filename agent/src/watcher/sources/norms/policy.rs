//! The rules for passwords: login.defs and pwquality, against what is declared.

use super::host::{Host, Looked};
use super::norm::{self, Breach, Norm};
use crate::config::{At, Wanted};
use sopwith_domain::signal::Subject;
use sopwith_domain::value::Word;
use std::collections::BTreeMap;

const LOGIN_DEFS: &str = "/etc/login.defs";
const PWQUALITY: &str = "/etc/security/pwquality.conf";
/// Values that count where login.defs says nothing.
const USUAL: &[(&str, &str)] =
    &[("PASS_MAX_DAYS", "99999"), ("PASS_MIN_DAYS", "-1"), ("PASS_WARN_AGE", "-1"), ("UMASK", "022")];

pub fn look(host: &Host<'_>, looked: &mut Looked) {
    if !host.norms.login_defs.is_empty() {
        match host.text(LOGIN_DEFS, looked) {
            None => missing(LOGIN_DEFS, norm::LOGIN_DEFS_DRIFT, looked),
            Some(text) => {
                let of = |key: &str| {
                    let usual =
                        USUAL.iter().find(|(name, _)| *name == key).map(|(_, value)| (*value).to_owned());
                    setting(&text, key).map(str::to_owned).or(usual)
                };
                compare(LOGIN_DEFS, norm::LOGIN_DEFS_DRIFT, &host.norms.login_defs, of, looked);
            }
        }
    }
    if !host.norms.pwquality.is_empty() {
        let parts = host.names(&format!("{PWQUALITY}.d"), looked);
        let parts = parts
            .into_iter()
            .filter(|name| name.ends_with(".conf"))
            .map(|name| format!("{PWQUALITY}.d/{name}"));
        let texts: Vec<String> = parts.chain([PWQUALITY.to_owned()]).collect();
        let text: Vec<_> = texts.iter().filter_map(|path| host.text(path, looked)).collect();
        if text.is_empty() {
            return missing(PWQUALITY, norm::PWQUALITY_DRIFT, looked);
        }
        let text = text.join("\n");
        compare(PWQUALITY, norm::PWQUALITY_DRIFT, &host.norms.pwquality, |key| quality(&text, key), looked);
    }
}

fn missing(path: &str, norm: &'static Norm, looked: &mut Looked) {
    if looked.troubles.is_empty() {
        let breach = Breach::new(norm, norm::file(path), format!("{path} is not there"));
        looked.breach(breach.path("path", path).word("reason", "missing"));
    }
}

fn compare(
    path: &str,
    norm: &'static Norm,
    declared: &BTreeMap<Word, At<Wanted>>,
    of: impl Fn(&str) -> Option<String>,
    looked: &mut Looked,
) {
    for (key, wanted) in declared {
        let actual = of(key.as_str());
        if actual.as_deref().is_some_and(|actual| wanted.holds(actual)) {
            continue;
        }
        let told = actual.clone().unwrap_or_else(|| "unset".into());
        let text = format!("{path} says {key} {told}, declared is {}", **wanted);
        // Each setting is a breach of its own; several of one file have one subject only where they are one.
        let name = norm::word(&format!("{}.{key}", norm.id.trim_end_matches("-drift")));
        let breach = Breach::new(norm, name.map_or(Subject::Host, Subject::Check), text);
        let breach = breach.path("path", path).word("key", key.as_str()).word("actual", &told);
        let breach = breach.exact("wanted", &wanted.target().unwrap_or_default());
        looked.breach(breach.word("format", if path == LOGIN_DEFS { "login-defs" } else { "pwquality" }));
    }
}

/// Returns a setting of login.defs: `KEY VALUE`; of several the last counts.
pub fn setting<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let one = |line: &'a str| {
        let line = line.trim();
        let (name, value) = line.split_once(char::is_whitespace)?;
        (name == key).then(|| value.trim().trim_matches('"'))
    };
    text.lines().filter_map(one).next_back()
}

/// Returns a setting of pwquality: `key = value`, or a key alone, which is 1; of several the last counts.
fn quality(text: &str, key: &str) -> Option<String> {
    let one = |line: &str| {
        let line = line.split('#').next().unwrap_or_default().trim();
        let (name, value) = line.split_once('=').unwrap_or((line, "1"));
        (name.trim() == key).then(|| value.trim().to_owned())
    };
    text.lines().filter_map(one).next_back()
}

#[cfg(test)]
mod tests {
    use super::super::host::fixture::{Fixture, fields};
    use super::*;

    #[test]
    fn passwords_follow_the_declared_rules() {
        let norms = ", login_defs: {PASS_MAX_DAYS: '<=90', ENCRYPT_METHOD: YESCRYPT|SHA512}, pwquality: {minlen: '>=14'}";
        let good = "# PASS_MAX_DAYS 5\nPASS_MAX_DAYS\t90\nENCRYPT_METHOD SHA512\n";
        for (defs, quality, says) in [
            (good, "minlen = 14\n", ""),
            (&good.replace("90", "99999"), "minlen=14", "login-defs-drift check:login-defs.PASS_MAX_DAYS"),
            ("ENCRYPT_METHOD yescrypt\n", "minlen = 14", "login-defs-drift check:login-defs.PASS_MAX_DAYS"),
            (
                "PASS_MAX_DAYS 60\nENCRYPT_METHOD MD5\n",
                "minlen = 14",
                "login-defs-drift check:login-defs.ENCRYPT_METHOD",
            ),
            (good, "# minlen = 14\n", "pwquality-drift check:pwquality.minlen"),
            (good, "minlen = 14\nminlen = 8 # less\n", "pwquality-drift check:pwquality.minlen"),
        ] {
            let fixture = Fixture::new(norms);
            fixture.file(LOGIN_DEFS, defs).file(PWQUALITY, quality);
            assert_eq!(fixture.told(look), says, "{defs} {quality}");
        }
        let fixture = Fixture::new(norms);
        fixture.file(LOGIN_DEFS, good.replace("90", "120")).file(PWQUALITY, "minlen = 14");
        assert_eq!(
            fields(&fixture.looked(look)),
            "path=/etc/login.defs key=PASS_MAX_DAYS actual=120 wanted=90 format=login-defs"
        );
        // What has been added in the folder counts, unless the file itself says otherwise.
        let parts = Fixture::new(norms);
        parts
            .file(LOGIN_DEFS, good)
            .file(PWQUALITY, "")
            .file(&format!("{PWQUALITY}.d/10.conf"), "minlen = 20\n");
        assert_eq!(parts.told(look), "");
        assert_eq!(Fixture::new("").told(look), "", "nothing is declared");
        assert!(Fixture::new(norms).told(look).contains("login-defs-drift path:/etc/login.defs"));
    }
}
