//! Lets a test kill the process at its n-th commit. Without the feature `test-hooks` nothing of it is in the build.

/// Counts commits and dies where `SOPWITH_TEST_DIE_AT` says: `before-commit:N` or `after-commit:N`.
#[derive(Debug, Default)]
pub struct Hooks {
    #[cfg(feature = "test-hooks")]
    commits: u64,
}

impl Hooks {
    #[cfg(feature = "test-hooks")]
    pub fn before_commit(&mut self) {
        self.commits += 1;
        die_at("before-commit", self.commits);
    }

    #[cfg(feature = "test-hooks")]
    pub fn after_commit(&mut self) {
        die_at("after-commit", self.commits);
    }

    #[cfg(not(feature = "test-hooks"))]
    pub fn before_commit(&mut self) {}

    #[cfg(not(feature = "test-hooks"))]
    pub fn after_commit(&mut self) {}
}

#[cfg(feature = "test-hooks")]
fn die_at(place: &str, commit: u64) {
    if std::env::var("SOPWITH_TEST_DIE_AT").is_ok_and(|at| at == format!("{place}:{commit}")) {
        std::process::abort();
    }
}
