//! A host for tests: a folder with files in it, and answers of programs.

use super::{Answer, Asked, Elsewhere, Host, Looked};
use crate::config::{Config, Norms};
use sopwith_domain::declaration::Declaration;
use sopwith_domain::value::UnitName;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;

/// Noon of a day in 2026.
pub const NOW_S: i64 = 1_770_120_000;
pub const TODAY: i64 = NOW_S / 86_400;

pub struct Fixture {
    pub folder: tempfile::TempDir,
    pub norms: Norms,
    pub answers: BTreeMap<Asked, Answer>,
    pub declared: Vec<Declaration>,
    pub running: Vec<String>,
    pub known: Vec<UnitName>,
    pub elsewhere: Elsewhere,
}

impl Fixture {
    pub fn new(norms: &str) -> Self {
        let text = format!("norms: {{watch: all{norms}}}\n");
        let config = Config::parse(&text).unwrap_or_else(|e| panic!("{text}: {e:?}"));
        Self {
            folder: tempfile::tempdir().expect("a folder"),
            norms: config.norms,
            answers: BTreeMap::new(),
            declared: Vec::new(),
            running: Vec::new(),
            known: Vec::new(),
            elsewhere: Elsewhere::default(),
        }
    }

    /// Writes a file, with the folders above it.
    pub fn file(&self, path: &str, text: impl AsRef<[u8]>) -> &Self {
        let place = self.folder.path().join(path.trim_start_matches('/'));
        std::fs::create_dir_all(place.parent().expect("a folder")).expect("made");
        std::fs::write(&place, text).expect("written");
        self
    }

    pub fn mode(&self, path: &str, mode: u32) -> &Self {
        let place = self.folder.path().join(path.trim_start_matches('/'));
        std::fs::set_permissions(place, std::fs::Permissions::from_mode(mode)).expect("chmod");
        self
    }

    pub fn answer(&mut self, asked: Asked, code: i32, output: &str, errors: &str) -> &mut Self {
        let said = Answer::Said { code, output: output.into(), errors: errors.into() };
        self.answers.insert(asked, said);
        self
    }

    pub fn looked(&self, look: impl Fn(&Host<'_>, &mut Looked)) -> Looked {
        let host = Host {
            root: self.folder.path(),
            norms: &self.norms,
            answers: &self.answers,
            declared: &self.declared,
            running: &self.running,
            known: &self.known,
            elsewhere: &self.elsewhere,
            now_s: NOW_S,
        };
        let mut looked = Looked::default();
        look(&host, &mut looked);
        looked
    }

    /// Returns each breach as its norm and subject, and troubles as they are.
    pub fn told(&self, look: impl Fn(&Host<'_>, &mut Looked)) -> String {
        let looked = self.looked(look);
        let breaches = looked.breaches.iter().map(|b| format!("{} {}", b.norm.id, b.subject));
        let later = looked.later.iter().map(|reason| format!("later: {reason}"));
        breaches
            .chain(later)
            .chain(looked.troubles.iter().map(|t| format!("! {t}")))
            .collect::<Vec<_>>()
            .join("; ")
    }
}

/// Returns the fields of a breach as text.
pub fn fields(looked: &Looked) -> String {
    let first = looked.breaches.first().expect("there is a breach");
    first.fields.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}
