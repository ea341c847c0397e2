//! The norms themselves: what each is called, where it comes from, how bad a breach is and why.

use crate::watcher::report::{Fault, Tolerance};
use sopwith_domain::signal::{Severity, Subject};
use sopwith_domain::value::{AbsPath, UnitName, Value, Word};
use std::time::Duration;

/// One norm.
#[derive(Debug, PartialEq, Eq)]
pub struct Norm {
    /// Its name, also the end of the rule's name.
    pub id: &'static str,
    pub kind: &'static str,
    pub severity: Severity,
    /// Where it is written: a section of the CIS benchmark for Debian 12, or a manual page.
    pub reference: &'static str,
    pub why: &'static str,
    /// How long a breach must last before it counts.
    pub tolerance: Duration,
}

use Severity::{Critical, Information, Warning};

macro_rules! norms {
    ($($name:ident: $id:literal, $kind:literal, $severity:ident, $reference:literal, $tolerance_s:literal, $why:literal;)*) => {
        $(pub const $name: &Norm = &Norm {
            id: $id, kind: $kind, severity: $severity, reference: $reference, why: $why,
            tolerance: Duration::from_secs($tolerance_s),
        };)*
        /// All of them.
        pub const ALL: &[&Norm] = &[$($name),*];
    };
}

norms! {
    UID_ZERO: "account-uid-zero", "account.uid-zero", Critical, "CIS-5.4.2.1", 0,
        "Whoever has UID 0 is root under another name, and is overlooked where only root is watched.";
    NO_PASSWORD: "account-no-password", "account.no-password", Critical, "CIS-7.2.2", 0,
        "An account with an empty password lets in whoever knows its name.";
    UNSHADOWED: "account-unshadowed", "account.unshadowed", Critical, "CIS-7.2.1", 0,
        "A password hash in /etc/passwd can be read, and guessed at, by everybody.";
    DUPLICATE: "account-duplicate", "account.duplicate", Warning, "CIS-7.2.5", 0,
        "Two accounts of one number own each other's files, and nobody can tell who did what.";
    ACCOUNT_EXPIRED: "account-expired", "account.expired", Critical, "man:shadow.5", 0,
        "Cron and su refuse an account whose password or term has run out: its jobs silently no longer run.";
    ACCOUNT_STALE: "account-stale", "account.stale", Warning, "CIS-5.4.1.5", 0,
        "An account that nobody uses is noticed by nobody when somebody else does.";
    PASSWORD_AGE: "account-password-age", "account.password-age", Warning, "CIS-5.4.1.1", 0,
        "The account's own terms are looser than the declared policy, which counts for new accounts only.";
    SUDOERS_WRITABLE: "sudoers-writable", "sudoers.writable", Critical, "CIS-5.2.1", 0,
        "Who may write what sudo reads is root; sudo itself then refuses the file and what it grants.";
    SUDOERS_INVALID: "sudoers-invalid", "sudoers.invalid", Critical, "man:visudo.8", 0,
        "sudo leaves out, or refuses to work with, what it does not understand.";
    SUDOERS_NOPASSWD: "sudoers-nopasswd", "sudoers.nopasswd", Warning, "CIS-5.2.4", 0,
        "Everything as root without a password: who gets the account has the host.";
    KEYS_OPEN: "keys-open", "keys.writable", Critical, "man:sshd.8", 0,
        "Who may write authorized_keys, or the folders above it, may log in as its owner.";
    KEYS_UNLISTED: "keys-unlisted", "keys.unlisted", Critical, "CIS-7.2.10", 0,
        "Keys that the declared baseline does not know let somebody in whom nobody declared.";
    FILE_DRIFT: "file-drift", "file.drifted", Warning, "CIS-6.3.1", 0,
        "A file is not what it was declared to be, in content, owner or mode.";
    SSHD_INVALID: "sshd-invalid", "sshd.invalid", Critical, "man:sshd.8", 0,
        "The running sshd still serves; the next start fails and locks everybody out.";
    SSHD_DRIFT: "sshd-drift", "sshd.drifted", Warning, "CIS-5.1", 0,
        "What sshd really does is not what is declared, or what nobody should do.";
    LOGIN_DEFS_DRIFT: "login-defs-drift", "policy.drifted", Warning, "CIS-5.4.1", 0,
        "New accounts and new passwords follow this file.";
    PWQUALITY_DRIFT: "pwquality-drift", "policy.drifted", Warning, "CIS-5.3.3.2", 0,
        "New passwords are checked by this file.";
    ROTATION_INVALID: "rotation-invalid", "rotation.broken", Warning, "man:logrotate.8", 0,
        "logrotate leaves out what it does not understand: those logs grow until the disk is full.";
    ROTATION_STOPPED: "rotation-stopped", "rotation.stopped", Warning, "man:logrotate.8", 0,
        "Logs are to be rotated daily and have not been: they grow until the disk is full.";
    LOG_UNROTATED: "log-unrotated", "log.unrotated", Warning, "man:logrotate.8", 0,
        "A log that is not rotated grows until the disk is full.";
    LOG_RETENTION: "log-retention", "log.retention", Warning, "CIS-6.2", 0,
        "Logs must reach back far enough for those who ask what happened.";
    CLOCK_DAEMON: "clock-daemon", "clock.daemon-stopped", Warning, "CIS-2.3.1.1", 30,
        "Nothing keeps the clock right; certificates, logs, databases and one-time passwords rely on it.";
    CLOCK_UNSYNCHRONISED: "clock-unsynchronised", "clock.unsynchronised", Warning, "CIS-2.3.1.1", 3600,
        "The clock runs by itself, because no time server answers.";
    CLOCK_OFFSET: "clock-offset", "clock.offset", Warning, "CIS-2.3.1.1", 60,
        "The clock is off by more than is allowed.";
    CRON_STOPPED: "cron-stopped", "cron.stopped", Critical, "CIS-2.4.1.1", 15,
        "There are cron jobs, and nothing runs them.";
    TIMER_STOPPED: "timer-stopped", "timer.stopped", Warning, "man:systemd.timer.5", 60,
        "A timer that is enabled does not run: what it starts does not happen, and nothing fails.";
    PACKAGE_BROKEN: "package-broken", "package.broken", Warning, "man:dpkg.1", 20,
        "A package that is half installed may not work, and keeps all other updates away.";
    REBOOT_REQUIRED: "reboot-required", "host.reboot-required", Information, "man:update-notifier", 0,
        "An update is installed and not in use: what it mends is still open.";
    SYSCTL_DRIFT: "sysctl-drift", "sysctl.drifted", Warning, "CIS-3.3", 0,
        "The kernel does not run with what is declared; after the next start it would.";
    LIMIT_DRIFT: "limit-drift", "limit.drifted", Warning, "man:limits.conf.5", 0,
        "The service runs with less than it was given, usually since it was started before.";
    CERTIFICATE: "certificate", "certificate.expiring", Warning, "man:x509.1", 0,
        "When a certificate runs out, everybody who checks it is turned away at the same moment.";
    CERTIFICATE_EXPIRED: "certificate-expired", "certificate.expired", Critical, "man:x509.1", 0,
        "Everybody who checks this certificate is turned away.";
}

/// One breach of a norm.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Breach {
    pub norm: &'static Norm,
    pub severity: Severity,
    pub subject: Subject,
    pub summary: String,
    pub fields: Vec<(&'static str, Value)>,
    /// What was read, for people.
    pub shown: String,
}

impl Breach {
    pub fn new(norm: &'static Norm, subject: Subject, summary: impl Into<String>) -> Self {
        let severity = norm.severity;
        Self { norm, severity, subject, summary: summary.into(), fields: Vec::new(), shown: String::new() }
    }

    #[must_use]
    pub fn with(mut self, name: &'static str, value: Value) -> Self {
        self.fields.push((name, value));
        self
    }

    /// Adds a word; of a text that is none, what can be one.
    #[must_use]
    pub fn word(self, name: &'static str, text: &str) -> Self {
        match word(text) {
            Some(word) => self.with(name, Value::Word(word)),
            None => self,
        }
    }

    /// Adds a word that is to name or be something on the host: a text that is none is left out, not made one, since
    /// what it became could be somebody else's name.
    #[must_use]
    pub fn exact(self, name: &'static str, text: &str) -> Self {
        match Word::new(text) {
            Ok(word) => self.with(name, Value::Word(word)),
            Err(_) => self,
        }
    }

    #[must_use]
    pub fn integer(self, name: &'static str, number: impl TryInto<i64>) -> Self {
        self.with(name, Value::Integer(number.try_into().unwrap_or(i64::MAX)))
    }

    #[must_use]
    pub fn path(self, name: &'static str, path: &str) -> Self {
        match AbsPath::new(path) {
            Ok(path) => self.with(name, Value::Path(path)),
            Err(_) => self,
        }
    }

    #[must_use]
    pub fn unit(self, name: &'static str, unit: &str) -> Self {
        match UnitName::new(unit) {
            Ok(unit) => self.with(name, Value::Unit(unit)),
            Err(_) => self,
        }
    }

    #[must_use]
    pub fn show(mut self, text: impl Into<String>) -> Self {
        self.shown = text.into();
        self
    }

    #[must_use]
    pub fn severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    /// Returns it as the watcher tells it.
    pub fn fault(self) -> (Fault, Tolerance) {
        let rule = format!("norms.{}", self.norm.id);
        let mut fault = Fault::new(&rule, self.norm.kind, self.subject, self.severity, self.summary);
        self.fields.into_iter().for_each(|(name, value)| fault.field(name, value));
        fault.word("reference", self.norm.reference);
        fault.show("what was found", &self.shown);
        fault.show("why it matters", &format!("{} ({})", self.norm.why, self.norm.reference));
        (fault, Tolerance::For(self.norm.tolerance))
    }
}

/// Makes a word of a text, with `_` in place of what a word cannot have.
pub fn word(text: &str) -> Option<Word> {
    let kept = text.trim().trim_start_matches('-').chars().take(128);
    let kept: String =
        kept.map(|c| if c.is_ascii_alphanumeric() || "_.:@/+-".contains(c) { c } else { '_' }).collect();
    Word::new(kept).ok()
}

/// Returns the subject of an account.
pub fn account(name: &str) -> Subject {
    word(name).map_or(Subject::Host, Subject::Account)
}

/// Returns the subject of a file.
pub fn file(path: &str) -> Subject {
    AbsPath::new(path).map_or(Subject::Host, Subject::Path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sopwith_domain::ids::RuleId;
    use sopwith_domain::signal::SignalKind;
    use std::collections::BTreeSet;

    #[test]
    fn every_norm_is_named_once_and_well() {
        let ids: BTreeSet<_> = ALL.iter().map(|norm| norm.id).collect();
        assert_eq!(ids.len(), ALL.len());
        for norm in ALL {
            assert!(
                SignalKind::new(norm.kind).is_ok() && RuleId::new(format!("norms.{}", norm.id)).is_ok(),
                "{norm:?}"
            );
            assert!(Word::new(norm.reference).is_ok() && norm.why.ends_with('.'), "{norm:?}");
        }
    }

    #[test]
    fn texts_become_words() {
        for (text, is) in
            [("a b", Some("a_b")), ("--x", Some("x")), (" ", None), ("32768\t60999", Some("32768_60999"))]
        {
            assert_eq!(word(text).as_ref().map(Word::as_str), is);
        }
    }
}
