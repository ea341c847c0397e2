//! The tables beside the journal: projections, which can be dropped and rebuilt, and credentials, which cannot.
//! Only the ledger's connection writes them. Times are milliseconds since 1970; secrets are stored as hashes.

/// Tables that [`super::projection`] writes, for reports and other programs.
pub const PROJECTIONS: &str = "
CREATE TABLE IF NOT EXISTS incidents (
    id INTEGER PRIMARY KEY, host TEXT NOT NULL, rule TEXT NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL,
    priority TEXT NOT NULL, phase TEXT NOT NULL, opened_at INTEGER NOT NULL, closed_at INTEGER,
    signals INTEGER NOT NULL, attempts INTEGER NOT NULL, playbook TEXT, needs_person TEXT
) STRICT;
CREATE TABLE IF NOT EXISTS runs (
    run TEXT PRIMARY KEY, host TEXT NOT NULL, incident INTEGER, playbook TEXT, version INTEGER,
    records INTEGER NOT NULL, began_at INTEGER, ended_at INTEGER, ended TEXT, reason TEXT
) STRICT;
CREATE TABLE IF NOT EXISTS problems (
    id INTEGER PRIMARY KEY, fingerprint TEXT NOT NULL, host TEXT NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL,
    opened_at INTEGER NOT NULL, why TEXT NOT NULL, incidents INTEGER NOT NULL, closed_at INTEGER, closed_by TEXT,
    root_cause TEXT
) STRICT;
CREATE TABLE IF NOT EXISTS hosts (
    host TEXT PRIMARY KEY, epoch TEXT NOT NULL, state TEXT NOT NULL, enrolled_at INTEGER NOT NULL,
    items_through INTEGER NOT NULL, records_through INTEGER NOT NULL, items_lost INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS host_epochs (
    host TEXT NOT NULL, epoch TEXT NOT NULL, began_at INTEGER NOT NULL, PRIMARY KEY (host, epoch)
) STRICT;
CREATE TABLE IF NOT EXISTS inspections (
    host TEXT NOT NULL, day TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (host, day)
) STRICT;
CREATE TABLE IF NOT EXISTS policies (
    version INTEGER PRIMARY KEY, set_at INTEGER NOT NULL, set_by TEXT NOT NULL, signer TEXT NOT NULL,
    text TEXT NOT NULL
) STRICT;
";

/// Names of the projection tables.
pub const PROJECTION_TABLES: [&str; 7] =
    ["incidents", "runs", "problems", "hosts", "host_epochs", "inspections", "policies"];

/// Credentials and remembered answers.
pub const ACCESS: &str = "
CREATE TABLE IF NOT EXISTS accounts (
    name TEXT PRIMARY KEY, password_hash TEXT NOT NULL, changed_at INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS sessions (
    hash BLOB PRIMARY KEY, name TEXT NOT NULL, created_at INTEGER NOT NULL, seen_at INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS last_logins (
    name TEXT PRIMARY KEY, at INTEGER NOT NULL, how TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS tokens (
    id TEXT PRIMARY KEY, hash BLOB NOT NULL UNIQUE, name TEXT NOT NULL, label TEXT NOT NULL,
    created_at INTEGER NOT NULL, expires_at INTEGER, revoked_at INTEGER
) STRICT;
CREATE TABLE IF NOT EXISTS one_time_logins (
    hash BLOB PRIMARY KEY, name TEXT NOT NULL, expires_at INTEGER NOT NULL, used_at INTEGER
) STRICT;
CREATE TABLE IF NOT EXISTS join_tokens (
    hash BLOB PRIMARY KEY, host TEXT, created_by TEXT NOT NULL, expires_at INTEGER NOT NULL,
    used_at INTEGER, used_by TEXT
) STRICT;
CREATE TABLE IF NOT EXISTS host_keys (
    host TEXT PRIMARY KEY, key_digest BLOB NOT NULL, not_after INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS host_heads (
    host TEXT PRIMARY KEY, epoch TEXT NOT NULL, seq INTEGER NOT NULL, hash BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS idempotency (
    name TEXT NOT NULL, key TEXT NOT NULL, request BLOB NOT NULL, status INTEGER, answer BLOB,
    created_at INTEGER NOT NULL, PRIMARY KEY (name, key)
) STRICT;
";
