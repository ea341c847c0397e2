//! Reads what the host's administrator declared, afresh each time it is asked. Whatever cannot be read, trusted or
//! understood counts as broken, and then nothing runs here.

use super::trusted;
use sopwith_domain::declaration::{DECLARATIONS_MAX, Declaration, Declarations};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Longest file of declarations, in bytes.
const FILE_BYTES_MAX: usize = 256 * 1024;

/// Reads all `*.yaml` of a folder, each a list of declarations. A folder that is not there states nothing.
pub fn read(folder: &Path) -> Declarations {
    let mut declarations = Declarations::default();
    match files(folder) {
        Err(reason) => declarations.broken.push(reason),
        Ok(paths) => {
            for path in paths {
                match file(&path) {
                    Ok(stated) => declarations.stated.extend(stated),
                    Err(reason) => declarations.broken.push(reason),
                }
            }
        }
    }
    if declarations.stated.len() > DECLARATIONS_MAX {
        let count = declarations.stated.len();
        declarations.broken.push(format!("{count} declarations, at most {DECLARATIONS_MAX}"));
    }
    declarations
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let failed = |e: &dyn std::fmt::Display| format!("{}: {e}", folder.display());
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(failed(&e)),
    };
    trusted::folder(folder).map_err(|e| failed(&e))?;
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| failed(&e))?.path();
        if path.extension().is_some_and(|e| e == "yaml") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn file(path: &Path) -> Result<Vec<Declaration>, String> {
    let text = trusted::read(path, FILE_BYTES_MAX).map_err(|e| e.to_string())?;
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    sopwith_domain::yaml::from_str(&text).map_err(|e| format!("{}:{e}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sopwith_domain::signal::Subject;
    use sopwith_domain::time::Timestamp;

    #[test]
    fn what_cannot_be_read_forbids_everything() {
        let folder = tempfile::tempdir().expect("tempdir");
        let forbids = |path: &Path| read(path).forbid(&[Subject::Host], Timestamp(0)).is_some();
        assert!(!forbids(&folder.path().join("absent")));
        assert!(!forbids(folder.path()));
        let write = |text: &str| std::fs::write(folder.path().join("a.yaml"), text).expect("write");
        write("");
        assert!(!forbids(folder.path()));
        write("- {kind: hold, scope: [host], by: a, reason: b}");
        assert!(forbids(folder.path()));
        write("- {kind: hold, scope: [\"unit:x.service\"], by: a, reason: b}");
        assert!(forbids(folder.path()), "the whole host includes the unit");
        for broken in ["- {kind: hold, scope: [], by: a", "- {kind: unknown}", "kind: hold", "\u{0}"] {
            write(broken);
            assert!(!read(folder.path()).broken.is_empty(), "{broken:?}");
        }
        write("- {kind: fact, name: role, value: web}");
        assert!(!forbids(folder.path()));
        std::fs::write(folder.path().join("ignored.txt"), "::::").expect("write");
        assert!(!forbids(folder.path()));
    }
}
