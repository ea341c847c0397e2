//! Accounts: who is root under another name, who needs no password, whose account has run out though it works by
//! itself, and whom nobody has seen for long.

use super::host::{Host, Looked};
use super::logins;
use super::norm::{self, Breach};
use sopwith_domain::declaration::Declaration;
use std::collections::{BTreeMap, BTreeSet};

/// Shells of accounts that nobody logs in to.
const NO_SHELLS: &[&str] = &["nologin", "false", "sync", "shutdown", "halt"];
/// So many days after its creation an unused account of a person is still new.
const NEVER: i64 = -1;

/// A line of /etc/passwd.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Account {
    pub name: String,
    pub password: String,
    pub uid: u32,
    pub home: String,
    pub shell: String,
}

/// A line of /etc/shadow; days are counted from 1970.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Shadow {
    pub password: String,
    pub changed: Option<i64>,
    pub max_days: Option<i64>,
    pub inactive_days: Option<i64>,
    pub expires: Option<i64>,
}

/// Reads /etc/passwd.
pub fn accounts(text: &str) -> Vec<Account> {
    let one = |line: &str| {
        let parts: Vec<&str> = line.split(':').collect();
        let [name, password, uid, _, _, home, shell] = parts.as_slice() else { return None };
        let of = |text: &str| text.to_owned();
        Some(Account {
            name: of(name),
            password: of(password),
            uid: uid.parse().ok()?,
            home: of(home),
            shell: of(shell),
        })
    };
    text.lines().filter_map(one).collect()
}

fn shadows(text: &str) -> BTreeMap<String, Shadow> {
    let one = |line: &str| {
        let parts: Vec<&str> = line.split(':').collect();
        let number = |index: usize| parts.get(index).and_then(|part| part.parse::<i64>().ok());
        let password = (*parts.get(1)?).to_owned();
        let shadow = Shadow {
            password,
            changed: number(2),
            max_days: number(4),
            inactive_days: number(6),
            expires: number(7),
        };
        Some(((*parts.first()?).to_owned(), shadow))
    };
    text.lines().filter_map(one).collect()
}

impl Account {
    fn has_shell(&self) -> bool {
        let name = self.shell.rsplit('/').next().unwrap_or_default();
        !NO_SHELLS.contains(&name)
    }
}

impl Shadow {
    /// Says whether a password opens it.
    fn has_hash(&self) -> bool {
        self.password.starts_with('$') || self.password.len() == 13 && !self.password.starts_with(['!', '*'])
    }

    /// Says why the account is refused today, as PAM would.
    fn refused(&self, today: i64) -> Option<&'static str> {
        if self.expires.is_some_and(|day| day >= 0 && today >= day) {
            return Some("account-expired");
        }
        let changed = self.changed?;
        if changed == 0 {
            return Some("password-must-change");
        }
        match self.max_days {
            Some(max) if (0..10_000).contains(&max) && today > changed + max => Some("password-expired"),
            _ => None,
        }
    }
}

pub fn look(host: &Host<'_>, looked: &mut Looked) {
    let Some(passwd) = host.text("/etc/passwd", looked) else { return };
    let accounts = accounts(&passwd);
    let shadow = host.text("/etc/shadow", looked);
    let shadows = shadows(shadow.as_deref().unwrap_or_default());
    of_passwd(host, &accounts, &shadows, looked);
    if shadow.is_none() {
        return;
    }
    of_shadow(host, &accounts, &shadows, looked);
    stale(host, &accounts, &shadows, looked);
}

/// Says whether nobody can come in as the account in any way: then it is only a name.
fn closed(host: &Host<'_>, account: &Account, shadows: &BTreeMap<String, Shadow>) -> bool {
    let shut = |shadow: &Shadow| {
        shadow.password.starts_with(['!', '*']) && shadow.refused(host.today()) == Some("account-expired")
    };
    !account.has_shell() && account.password == "x" && shadows.get(&account.name).is_some_and(shut)
}

fn of_passwd(host: &Host<'_>, accounts: &[Account], shadows: &BTreeMap<String, Shadow>, looked: &mut Looked) {
    for account in accounts {
        let (name, subject) = (account.name.as_str(), norm::account(&account.name));
        if account.uid == 0 && name != "root" && !closed(host, account, shadows) {
            let text = format!("account {name} has UID 0");
            looked.breach(
                Breach::new(norm::UID_ZERO, subject.clone(), text)
                    .exact("account", name)
                    .integer("uid", account.uid)
                    .word("shell", &account.shell)
                    .path("path", "/etc/passwd"),
            );
        }
        if account.password.is_empty() {
            let text = format!("account {name} needs no password (second field of /etc/passwd)");
            looked.breach(
                Breach::new(norm::NO_PASSWORD, subject.clone(), text)
                    .exact("account", name)
                    .path("path", "/etc/passwd"),
            );
        } else if account.password.starts_with('$') {
            let text = format!("the password hash of account {name} stands in /etc/passwd");
            looked.breach(
                Breach::new(norm::UNSHADOWED, subject, text)
                    .exact("account", name)
                    .path("path", "/etc/passwd"),
            );
        }
    }
    let mut by_uid: BTreeMap<u32, Vec<&str>> = BTreeMap::new();
    accounts.iter().for_each(|a| by_uid.entry(a.uid).or_default().push(&a.name));
    // A second UID 0 is told as what it is.
    for (uid, names) in by_uid.into_iter().filter(|(uid, names)| *uid != 0 && names.len() > 1) {
        let text = format!("accounts {} share UID {uid}", names.join(", "));
        let breach = Breach::new(norm::DUPLICATE, norm::account(names[1]), text);
        looked.breach(breach.exact("account", names[1]).exact("other", names[0]).integer("uid", uid));
    }
    let mut seen = BTreeSet::new();
    for account in accounts.iter().filter(|a| !seen.insert(a.name.as_str())) {
        let text = format!("there are two accounts named {}", account.name);
        let breach = Breach::new(norm::DUPLICATE, norm::account(&account.name), text);
        looked.breach(breach.exact("account", &account.name).integer("uid", account.uid));
    }
}

fn of_shadow(host: &Host<'_>, accounts: &[Account], shadows: &BTreeMap<String, Shadow>, looked: &mut Looked) {
    let workers = workers(host, looked);
    for account in accounts {
        let name = account.name.as_str();
        let Some(shadow) = shadows.get(name) else { continue };
        let subject = norm::account(name);
        if shadow.password.is_empty() && account.password == "x" {
            let text = format!("account {name} has an empty password");
            looked.breach(
                Breach::new(norm::NO_PASSWORD, subject.clone(), text)
                    .exact("account", name)
                    .integer("uid", account.uid)
                    .path("path", "/etc/shadow"),
            );
        }
        let job = workers.get(name);
        if let (Some(reason), Some(job)) = (shadow.refused(host.today()), job) {
            let text = format!("account {name} is refused ({reason}): {job} does not run");
            let mut breach = Breach::new(norm::ACCOUNT_EXPIRED, subject.clone(), text)
                .exact("account", name)
                .word("reason", reason)
                .path("job", job);
            for (field, days) in [
                ("expires_day", shadow.expires),
                ("changed_day", shadow.changed),
                ("max_days", shadow.max_days),
            ] {
                if let Some(days) = days {
                    breach = breach.integer(field, days);
                }
            }
            looked.breach(breach);
        }
        if let (Some(wanted), true) = (policy_days(host), shadow.has_hash()) {
            // Without a number, or with a negative one, it lasts for ever.
            let days = shadow.max_days.filter(|days| *days >= 0).unwrap_or(99_999);
            if !wanted.holds(&days.to_string()) {
                let text =
                    format!("the password of account {name} may be {days} days old, declared is {wanted}");
                let breach = Breach::new(norm::PASSWORD_AGE, subject, text).exact("account", name);
                looked.breach(
                    breach.integer("max_days", days).word("wanted", &wanted.target().unwrap_or_default()),
                );
            }
        }
    }
}

fn policy_days<'a>(host: &'a Host<'_>) -> Option<&'a crate::config::Wanted> {
    host.norms.login_defs.iter().find(|(key, _)| key.as_str() == "PASS_MAX_DAYS").map(|(_, wanted)| &**wanted)
}

/// Returns the accounts that something is started for, and what: crontabs of their own and the host's, the services
/// that the administrator wrote, and what he says himself.
fn workers(host: &Host<'_>, looked: &mut Looked) -> BTreeMap<String, String> {
    let mut workers = BTreeMap::new();
    let own = "/var/spool/cron/crontabs";
    for name in host.names(own, looked) {
        workers.insert(name.clone(), format!("{own}/{name}"));
    }
    let parts = host.names("/etc/cron.d", looked).into_iter().map(|name| format!("/etc/cron.d/{name}"));
    for path in std::iter::once("/etc/crontab".to_owned()).chain(parts.collect::<Vec<_>>()) {
        let text = host.text(&path, looked).unwrap_or_default();
        for user in text.lines().filter_map(crontab_user) {
            workers.entry(user.to_owned()).or_insert_with(|| path.clone());
        }
    }
    let folder = "/etc/systemd/system";
    let services = host.names(folder, looked).into_iter().filter(|name| name.ends_with(".service"));
    for path in services.map(|name| format!("{folder}/{name}")) {
        // A link leads to a unit of a package, or to nothing.
        if std::fs::symlink_metadata(host.at(&path)).is_ok_and(|metadata| metadata.is_file()) {
            let text = host.text(&path, looked).unwrap_or_default();
            for user in text.lines().filter_map(|line| line.trim().strip_prefix("User=")) {
                workers.entry(user.trim().to_owned()).or_insert_with(|| path.clone());
            }
        }
    }
    for declared in host.declared {
        if let Declaration::Account { name, human: false } = declared {
            workers.entry(name.to_string()).or_insert_with(|| "/etc/passwd".into());
        }
    }
    workers
}

/// Returns whose job a line of a system crontab is.
fn crontab_user(line: &str) -> Option<&str> {
    let line = line.trim();
    let mut words = line.split_whitespace();
    let first = words.next()?;
    if first.starts_with('@') {
        return words.next();
    }
    let is_time = first.chars().all(|c| c.is_ascii_digit() || "*,-/".contains(c));
    if is_time { words.nth(4) } else { None }
}

/// Accounts of people that could be used and are not.
fn stale(host: &Host<'_>, accounts: &[Account], shadows: &BTreeMap<String, Shadow>, looked: &mut Looked) {
    let definitions = host.text("/etc/login.defs", looked).unwrap_or_default();
    let number = |key: &str, usual: u32| {
        let found = super::policy::setting(&definitions, key).and_then(|value| value.parse().ok());
        found.unwrap_or(usual)
    };
    let people = number("UID_MIN", 1000)..=number("UID_MAX", 60_000);
    let seen = logins::last(host, accounts, looked);
    let limit = i64::from(*host.norms.stale_days);
    for account in accounts {
        let name = account.name.as_str();
        let said = host.declared.iter().find_map(|declared| match declared {
            Declaration::Account { name: of, human } if of.to_string() == name => Some(*human),
            _ => None,
        });
        let person = said.unwrap_or_else(|| people.contains(&account.uid));
        let Some(shadow) = shadows.get(name) else { continue };
        let keys = host.is_there(&format!("{}/.ssh/authorized_keys", account.home));
        let usable = account.has_shell()
            && (shadow.has_hash() || keys)
            && shadow.refused(host.today()) != Some("account-expired");
        if !person || !usable {
            continue;
        }
        let login = seen.get(&account.uid).map_or(NEVER, |at_s| at_s.div_euclid(86_400));
        // Who set a password was there; that of a new account is set when it is made.
        let last = login.max(shadow.changed.unwrap_or(0));
        let days = host.today() - last;
        if days > limit {
            let text = match login {
                NEVER => format!("nobody has ever logged in as {name}; its password is {days} days old"),
                _ => format!("nobody has logged in as {name} for {days} days"),
            };
            let breach = Breach::new(norm::ACCOUNT_STALE, norm::account(name), text).exact("account", name);
            looked.breach(
                breach
                    .integer("uid", account.uid)
                    .integer("idle_days", days)
                    .integer("limit_days", limit)
                    .with("ever_logged_in", sopwith_domain::value::Value::Boolean(login != NEVER)),
            );
        }
    }
}

#[cfg(test)]
mod tests;
