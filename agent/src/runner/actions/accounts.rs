//! Looks up users and groups in /etc/passwd and /etc/group. Directory services are not asked: the runner has no
//! network, and an owner that only a network knows is not one to rely on in a repair.

use sopwith_domain::value::Word;
use std::fs;

/// Returns number and first group of a user.
pub fn user(name: &str) -> Option<(u32, u32)> {
    let text = fs::read_to_string("/etc/passwd").ok()?;
    let fields = entry(&text, name)?;
    Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?))
}

/// Returns the number of a group.
pub fn group(name: &str) -> Option<u32> {
    let text = fs::read_to_string("/etc/group").ok()?;
    entry(&text, name)?.get(2)?.parse().ok()
}

/// Returns the numbers of a user and a group, by their names or as they are.
///
/// # Errors
/// This host knows no such user or group.
pub fn numbers(user: &Word, group: &Word) -> Result<(u32, u32), String> {
    let number = |name: &Word| name.as_str().parse::<u32>().ok();
    let uid = number(user).or_else(|| self::user(user.as_str()).map(|(uid, _)| uid));
    let gid = number(group).or_else(|| self::group(group.as_str()));
    let uid = uid.ok_or_else(|| format!("there is no user {user} on this host"))?;
    Ok((uid, gid.ok_or_else(|| format!("there is no group {group} on this host"))?))
}

fn entry<'a>(text: &'a str, name: &str) -> Option<Vec<&'a str>> {
    text.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields[0] == name)
}

#[cfg(test)]
mod tests {
    #[test]
    fn root_is_known_and_nobody_else_by_chance() {
        assert_eq!(super::user("root"), Some((0, 0)));
        assert_eq!(super::group("root"), Some(0));
        assert_eq!(super::user("roo"), None);
        assert_eq!(super::user(""), None);
    }
}
