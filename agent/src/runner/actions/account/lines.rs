//! Lines of passwd and shadow: found by the account's name, and what they become. Pure. All other lines, whatever is
//! in them, stay as they are, byte for byte.

/// The day after 1970-01-01: an account that expires then has expired for everybody. `usermod -e 1` says the same.
pub const LONG_AGO: &str = "1";
/// The shell of those who have none, as Debian has it.
pub const NO_SHELL: &str = "/usr/sbin/nologin";

const SHADOW_FIELDS: usize = 9;
const PASSWD_FIELDS: usize = 7;
const PASSWORD: usize = 1;
const CHANGED: usize = 2;
const MAX_DAYS: usize = 4;
const INACTIVE: usize = 6;
const EXPIRES: usize = 7;
const SHELL: usize = 6;

/// What becomes of an account.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    Lock { close_shell: bool },
    Unlock,
    Last { days: u32 },
}

/// Returns where the one line of an account begins and ends, without its line break.
///
/// # Errors
/// There is none, or there are several.
pub fn find(table: &[u8], name: &str) -> Result<(usize, usize), String> {
    let (mut from, mut found) = (0, None);
    for line in table.split(|byte| *byte == b'\n') {
        let to = from + line.len();
        if line.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.first() == Some(&b':')) {
            if found.is_some() {
                return Err(format!("there are two accounts named {name}"));
            }
            found = Some((from, to));
        }
        from = to + 1;
    }
    found.ok_or_else(|| format!("there is no account {name} on this host"))
}

/// Returns the line of an account as text.
///
/// # Errors
/// There is not exactly one, or it is no text.
pub fn line(table: &[u8], name: &str) -> Result<String, String> {
    let (from, to) = find(table, name)?;
    String::from_utf8(table[from..to].to_vec()).map_err(|_| format!("the line of {name} is no text"))
}

/// Returns the table with another line for an account.
///
/// # Errors
/// There is not exactly one.
pub fn with_line(table: &[u8], name: &str, line: &str) -> Result<Vec<u8>, String> {
    let (from, to) = find(table, name)?;
    Ok([&table[..from], line.as_bytes(), &table[to..]].concat())
}

fn fields(line: &str, count: usize) -> Result<Vec<String>, String> {
    let fields: Vec<String> = line.split(':').map(str::to_owned).collect();
    (fields.len() == count).then_some(fields).ok_or_else(|| format!("its line has not {count} fields"))
}

/// Returns what the line in shadow becomes.
///
/// # Errors
/// The line is broken, or the change makes no sense of it.
pub fn shadow(line: &str, change: Change, today: i64) -> Result<String, String> {
    let mut fields = fields(line, SHADOW_FIELDS)?;
    match change {
        Change::Lock { .. } => {
            if !fields[PASSWORD].starts_with('!') {
                fields[PASSWORD].insert(0, '!');
            }
            fields[EXPIRES] = LONG_AGO.into();
        }
        Change::Unlock => {
            if let Some(rest) = fields[PASSWORD].strip_prefix('!') {
                if rest.is_empty() {
                    return Err("it has no password that could be unlocked".into());
                }
                fields[PASSWORD] = rest.to_owned();
            }
            if fields[EXPIRES] == LONG_AGO {
                fields[EXPIRES].clear();
            }
        }
        Change::Last { days } => last(&mut fields, today, i64::from(days))?,
    }
    Ok(fields.join(":"))
}

/// Lets an account, and its password where that has an end, last until a day.
fn last(fields: &mut [String], today: i64, days: i64) -> Result<(), String> {
    let number = |text: &str| text.parse::<i64>().ok().filter(|number| *number >= 0);
    let until = today + days;
    if number(&fields[CHANGED]) == Some(0) {
        return Err("its password must be changed by whoever has it; no date helps".into());
    }
    if number(&fields[EXPIRES]).is_some_and(|day| day < until) {
        fields[EXPIRES] = until.to_string();
        fields[INACTIVE].clear();
    }
    if let (Some(changed), Some(max)) = (number(&fields[CHANGED]), number(&fields[MAX_DAYS]))
        && changed + max < until
    {
        fields[MAX_DAYS] = (until - changed).to_string();
        fields[INACTIVE].clear();
    }
    Ok(())
}

/// Returns what the line in passwd becomes.
///
/// # Errors
/// The line is broken.
pub fn passwd(line: &str, change: Change) -> Result<String, String> {
    let mut fields = fields(line, PASSWD_FIELDS)?;
    if let Change::Lock { close_shell } = change {
        if close_shell {
            fields[SHELL] = NO_SHELL.into();
        }
        // A password that stands here is not locked by shadow.
        if fields[PASSWORD] != "x" && !fields[PASSWORD].starts_with(['!', '*']) {
            fields[PASSWORD].insert(0, '!');
        }
    }
    Ok(fields.join(":"))
}

/// Says why an account is not open, or nothing where a password or a key opens it.
pub fn closed(shadow: &str, today: i64) -> Option<&'static str> {
    let Ok(fields) = fields(shadow, SHADOW_FIELDS) else { return Some("its line in shadow is broken") };
    if expired(&fields, today) {
        return Some("it has expired");
    }
    fields[PASSWORD].starts_with(['!', '*']).then_some("its password is locked")
}

/// Says whether no password opens the account and it has expired.
pub fn locked(shadow: &str, passwd: &str, today: i64) -> bool {
    let (Ok(shadow), Ok(passwd)) = (fields(shadow, SHADOW_FIELDS), fields(passwd, PASSWD_FIELDS)) else {
        return false;
    };
    let open = passwd[PASSWORD] != "x" && !passwd[PASSWORD].starts_with(['!', '*']);
    shadow[PASSWORD].starts_with(['!', '*']) && expired(&shadow, today) && !open
}

fn expired(fields: &[String], today: i64) -> bool {
    fields[EXPIRES].parse::<i64>().is_ok_and(|day| day >= 0 && day <= today)
}

/// Says why cron and su would refuse the account, or nothing.
pub fn refused(shadow: &str, today: i64) -> Option<&'static str> {
    let Ok(fields) = fields(shadow, SHADOW_FIELDS) else { return Some("its line in shadow is broken") };
    let number = |text: &str| text.parse::<i64>().ok().filter(|number| *number >= 0);
    if expired(&fields, today) {
        return Some("the account has expired");
    }
    match (number(&fields[CHANGED]), number(&fields[MAX_DAYS])) {
        (Some(0), _) => Some("its password must be changed"),
        (Some(changed), Some(max)) if changed + max < today => Some("its password has expired"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TODAY: i64 = 20_000;

    #[test]
    fn what_becomes_of_a_line() {
        let lock = Change::Lock { close_shell: false };
        let last = Change::Last { days: 90 };
        for (change, before, after) in [
            (lock, "a:$y$h:19000:0:99999:7:::", Some("a:!$y$h:19000:0:99999:7::1:")),
            (lock, "a:!$y$h:19000:0:99999:7:::", Some("a:!$y$h:19000:0:99999:7::1:")),
            (lock, "a:*:19000:0:99999:7::19999:", Some("a:!*:19000:0:99999:7::1:")),
            (lock, "a::19000:0:99999:7:::", Some("a:!:19000:0:99999:7::1:")),
            (lock, "a:x", None),
            (Change::Unlock, "a:!$y$h:19000:0:99999:7::1:", Some("a:$y$h:19000:0:99999:7:::")),
            (Change::Unlock, "a:!:19000:0:99999:7::1:", None),
            (Change::Unlock, "a:$y$h:19000:0:99999:7::19000:", Some("a:$y$h:19000:0:99999:7::19000:")),
            (last, "a:$y$h:19000:0:99999:7::19999:", Some("a:$y$h:19000:0:99999:7::20090:")),
            (last, "a:$y$h:19000:0:90:7:0:19999:", Some("a:$y$h:19000:0:1090:7::20090:")),
            (last, "a:$y$h:19000:0:90:7:::", Some("a:$y$h:19000:0:1090:7:::")),
            // What lasts longer anyway stays.
            (last, "a:$y$h:19000:0:99999:7:5:20500:", Some("a:$y$h:19000:0:99999:7:5:20500:")),
            (last, "a:$y$h:0:0:99999:7::19999:", None),
        ] {
            assert_eq!(shadow(before, change, TODAY).ok().as_deref(), after, "{before} {change:?}");
        }
        let row = "a:x:1000:1000:A,,:/home/a:/bin/bash";
        assert_eq!(passwd(row, lock).as_deref(), Ok(row));
        let closed = passwd(row, Change::Lock { close_shell: true });
        assert_eq!(closed.as_deref(), Ok("a:x:1000:1000:A,,:/home/a:/usr/sbin/nologin"));
        assert_eq!(passwd("a:h:0:0::/:/bin/sh", lock).as_deref(), Ok("a:!h:0:0::/:/bin/sh"));
    }

    #[test]
    fn one_line_is_found_and_all_else_stays() {
        let table = b"root:x:0\n\xff\xfe\naa:1\na:2\nb:3";
        assert_eq!(with_line(table, "a", "a:9").as_deref(), Ok(&b"root:x:0\n\xff\xfe\naa:1\na:9\nb:3"[..]));
        assert_eq!(line(table, "b").as_deref(), Ok("b:3"));
        assert!(find(b"a:1\na:2", "a").is_err() && find(table, "c").is_err() && find(b"ab:1", "a").is_err());
    }

    #[test]
    fn who_is_refused_and_who_is_locked() {
        for (shadow, refuses, locks) in [
            ("a:$y$h:19999:0:99999:7:::", false, false),
            ("a:!$y$h:19999:0:99999:7:::", false, false),
            ("a:!$y$h:19999:0:99999:7::1:", true, true),
            ("a:$y$h:19999:0:99999:7::1:", true, false),
            ("a:$y$h:19000:0:90:7:::", true, false),
            ("a:$y$h:19999:0:99999:7::20001:", false, false),
            ("a:*:19999:0:99999:7::20000:", true, true),
        ] {
            assert_eq!(refused(shadow, TODAY).is_some(), refuses, "{shadow}");
            assert_eq!(locked(shadow, "a:x:1:1::/:/bin/sh", TODAY), locks, "{shadow}");
        }
        assert!(!locked("a:!:1:0:9:7::1:", "a:hash:1:1::/:/bin/sh", TODAY), "a password in passwd opens it");
    }
}
