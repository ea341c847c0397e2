//! Who can still mend the host: the last account by which somebody becomes root is not locked. Groups and shadow are
//! looked at; what sudoers grants to single accounts is not, so that it rather refuses than locks out.

use super::lines::{self, NO_SHELL};
use super::tables::Tables;
use std::collections::BTreeSet;

/// Groups whose members may become root, as Debian and others have them.
const GROUPS: [&str; 3] = ["sudo", "admin", "wheel"];

/// Refuses to lock the last way to become root.
///
/// # Errors
/// Says that the account is the last.
pub fn spare_the_last(
    tables: &Tables,
    name: &str,
    passwd: &[u8],
    shadow: &[u8],
    today: i64,
) -> Result<(), String> {
    let (passwd, shadow) = (String::from_utf8_lossy(passwd), String::from_utf8_lossy(shadow));
    let groups = std::fs::read_to_string(tables.path("etc/group")).unwrap_or_default();
    let administrators = administrators(&passwd, &groups);
    if !administrators.contains(name) {
        return Ok(());
    }
    let opens = |name: &str| opens(tables, name, &passwd, &shadow, today);
    let others = administrators.iter().map(String::as_str).chain(["root"]);
    if !opens(name) || others.filter(|other| *other != name).any(opens) {
        return Ok(());
    }
    Err(format!("{name} is the last account by which anybody can become root here: it is not locked"))
}

/// Returns the members of the groups that may become root.
fn administrators(passwd: &str, groups: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for line in groups.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, gid, members] = fields[..] else { continue };
        if !GROUPS.contains(&name) {
            continue;
        }
        found.extend(members.split(',').filter(|member| !member.is_empty()).map(str::to_owned));
        let first = |line: &str| {
            let fields: Vec<&str> = line.split(':').collect();
            (fields.get(3) == Some(&gid)).then(|| fields[0].to_owned())
        };
        found.extend(passwd.lines().filter_map(first));
    }
    found
}

/// Says whether somebody can come in as this account.
fn opens(tables: &Tables, name: &str, passwd: &str, shadow: &str, today: i64) -> bool {
    let line =
        |table: &str| table.lines().find(|line| line.split(':').next() == Some(name)).map(str::to_owned);
    let (Some(passwd), Some(shadow)) = (line(passwd), line(shadow)) else { return false };
    let fields: Vec<&str> = passwd.split(':').collect();
    let (home, shell) =
        (fields.get(5).copied().unwrap_or_default(), fields.get(6).copied().unwrap_or_default());
    if shell == NO_SHELL || shell.ends_with("/nologin") || shell.ends_with("/false") {
        return false;
    }
    match lines::closed(&shadow, today) {
        None => true,
        Some("its password is locked") => {
            let keys = tables.at(&format!("{home}/.ssh/authorized_keys"));
            std::fs::metadata(keys).is_ok_and(|m| m.len() > 0)
        }
        Some(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_administrator_is_spared() {
        let passwd = "root:x:0:0::/root:/bin/bash\na:x:1000:1000::/home/a:/bin/bash\nb:x:1001:27::/home/b:/bin/bash\nc:x:1002:1::/home/c:/bin/bash\n";
        let hash = |name: &str| format!("{name}:$y$h:19000:0:99999:7:::\n");
        let shut = |name: &str| format!("{name}:!:19000:0:99999:7:::\n");
        for (shadow, who, spared) in [
            (shut("root") + &hash("a") + &shut("b") + &hash("c"), "a", true),
            (shut("root") + &hash("a") + &hash("b") + &hash("c"), "a", false),
            (shut("root") + &hash("a") + &hash("b") + &hash("c"), "b", false),
            (hash("root") + &hash("a") + &shut("b") + &hash("c"), "a", false),
            // No administrator.
            (shut("root") + &hash("a") + &shut("b") + &hash("c"), "c", false),
            // It opens nothing as it is.
            (shut("root") + &shut("a") + &shut("b") + &hash("c"), "a", false),
        ] {
            let folder = tempfile::tempdir().expect("a folder");
            std::fs::create_dir(folder.path().join("etc")).expect("made");
            std::fs::write(folder.path().join("etc/group"), "sudo:x:27:a\nusers:x:100:c\n").expect("written");
            let tables = Tables::below(folder.path());
            let told = spare_the_last(&tables, who, passwd.as_bytes(), shadow.as_bytes(), 20_000);
            assert_eq!(told.is_err(), spared, "{who} {shadow}");
        }
    }
}
