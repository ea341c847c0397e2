//! When each account was last used to log in: by lastlog, by its successor's database, and by the end of wtmp.

use super::accounts::Account;
use super::host::{Host, Looked};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// Size of a record of lastlog: the time, the line, the host.
const LASTLOG_RECORD: u64 = 4 + 32 + 256;
/// Size of a record of wtmp and where in it type, user and time stand (64 bit Linux).
const WTMP_RECORD: usize = 384;
const WTMP_USER: usize = 44;
const WTMP_TIME: usize = 340;
/// Type of a record of wtmp that says that somebody logged in.
const USER_PROCESS: i16 = 7;
/// How much of the end of wtmp is read.
const WTMP_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Returns the time of the last login by user number, in seconds since 1970.
pub fn last(host: &Host<'_>, accounts: &[Account], looked: &mut Looked) -> BTreeMap<u32, i64> {
    let mut seen = BTreeMap::new();
    let by_name: BTreeMap<&str, u32> = accounts.iter().map(|a| (a.name.as_str(), a.uid)).collect();
    let mut note = |uid: u32, at_s: i64| {
        let entry = seen.entry(uid).or_insert(at_s);
        *entry = (*entry).max(at_s);
    };
    match lastlog(&host.at("/var/log/lastlog"), accounts) {
        Ok(found) => found.into_iter().for_each(|(uid, at_s)| note(uid, at_s)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => looked.trouble(format!("failed to read /var/log/lastlog: {e}")),
    }
    let named =
        lastlog2(&host.at("/var/lib/lastlog/lastlog2.db")).into_iter().chain(wtmp(&host.at("/var/log/wtmp")));
    for (name, at_s) in named {
        if let Some(uid) = by_name.get(name.as_str()) {
            note(*uid, at_s);
        }
    }
    seen
}

/// Reads the records of these accounts; the file is as long as the greatest number of a user, and nearly all holes.
fn lastlog(path: &Path, accounts: &[Account]) -> std::io::Result<Vec<(u32, i64)>> {
    let mut file = File::open(path)?;
    let mut found = Vec::new();
    for account in accounts {
        let mut time = [0; 4];
        file.seek(SeekFrom::Start(u64::from(account.uid) * LASTLOG_RECORD))?;
        if file.read_exact(&mut time).is_ok() {
            let at_s = u32::from_ne_bytes(time);
            found.extend((at_s > 0).then_some((account.uid, i64::from(at_s))));
        }
    }
    Ok(found)
}

/// Reads the database of lastlog2, where there is one.
fn lastlog2(path: &Path) -> Vec<(String, i64)> {
    use rusqlite::{Connection, OpenFlags};
    if !path.exists() {
        return Vec::new();
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let read = || {
        let database = Connection::open_with_flags(path, flags)?;
        let mut rows = database.prepare("SELECT Name, Time FROM Lastlog2")?;
        let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.collect::<rusqlite::Result<Vec<(String, i64)>>>()
    };
    // Of another shape than expected it says nothing; wtmp may.
    read().unwrap_or_default()
}

fn wtmp(path: &Path) -> Vec<(String, i64)> {
    let read = || {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        let from = length.saturating_sub(WTMP_BYTES_MAX) / WTMP_RECORD as u64 * WTMP_RECORD as u64;
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.take(WTMP_BYTES_MAX + WTMP_RECORD as u64).read_to_end(&mut bytes)?;
        Ok::<_, std::io::Error>(bytes)
    };
    let bytes = read().unwrap_or_default();
    let mut seen = BTreeMap::new();
    for record in bytes.chunks_exact(WTMP_RECORD) {
        if i16::from_ne_bytes([record[0], record[1]]) != USER_PROCESS {
            continue;
        }
        let name = record[WTMP_USER..WTMP_USER + 32].split(|byte| *byte == 0).next().unwrap_or_default();
        let time = [record[WTMP_TIME], record[WTMP_TIME + 1], record[WTMP_TIME + 2], record[WTMP_TIME + 3]];
        seen.insert(String::from_utf8_lossy(name).into_owned(), i64::from(u32::from_ne_bytes(time)));
    }
    seen.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::super::accounts;
    use super::super::host::fixture::{Fixture, NOW_S};

    #[test]
    fn logins_are_read_from_all_three() {
        let fixture = Fixture::new("");
        let passwd =
            "a:x:3:1::/a:/bin/sh\nb:x:4:1::/b:/bin/sh\nc:x:5:1::/c:/bin/sh\nd:x:900000:1::/d:/bin/sh\n";
        let mut lastlog = vec![0; 292 * 4];
        lastlog[292 * 3..292 * 3 + 4].copy_from_slice(&7_u32.to_ne_bytes());
        let mut login = vec![0; 384];
        login[0] = 7;
        login[44] = b'b';
        login[340..344].copy_from_slice(&9_u32.to_ne_bytes());
        let mut logout = login.clone();
        (logout[0], logout[340]) = (8, 99);
        fixture.file("/var/log/lastlog", lastlog).file("/var/log/wtmp", [login, logout].concat());
        fixture.file("/var/lib/lastlog/x", "");
        let database = rusqlite::Connection::open(fixture.folder.path().join("var/lib/lastlog/lastlog2.db"))
            .expect("made");
        let made = format!(
            "CREATE TABLE Lastlog2 (Name TEXT PRIMARY KEY, Time INTEGER); INSERT INTO Lastlog2 VALUES ('c', {NOW_S})"
        );
        database.execute_batch(&made).expect("written");
        let accounts = accounts::accounts(passwd);
        let seen = std::cell::RefCell::new(None);
        let looked =
            fixture.looked(|host, looked| *seen.borrow_mut() = Some(super::last(host, &accounts, looked)));
        assert!(looked.troubles.is_empty(), "{looked:?}");
        let seen: Vec<_> = seen.into_inner().expect("looked").into_iter().collect();
        assert_eq!(seen, [(3, 7), (4, 9), (5, NOW_S)]);
    }
}
