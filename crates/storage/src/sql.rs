//! The statements that SQLite and PostgreSQL both run, one text for both. `$1` is PostgreSQL's way to name a
//! parameter; SQLite numbers such names in the order in which they first appear, so they appear in order here.

pub(crate) const JOURNAL_HEAD: &str = "SELECT coalesce(max(seq), 0) FROM journal";
pub(crate) const JOURNAL_APPEND: &str = "INSERT INTO journal (seq, event) VALUES ($1, $2)";
pub(crate) const JOURNAL_READ: &str = "SELECT seq, event FROM journal WHERE seq >= $1 ORDER BY seq LIMIT $2";

pub(crate) const STATE_GET: &str =
    "SELECT value, version, expires FROM keyed_state WHERE space = $1 AND key = $2 AND expires > $3";
/// Stores unless there is an entry that has not expired; counts one row if it stored.
pub(crate) const STATE_PUT_IF_ABSENT: &str = "INSERT INTO keyed_state (space, key, value, version, expires)
    VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (space, key) DO UPDATE
    SET value = excluded.value, version = excluded.version, expires = excluded.expires
    WHERE keyed_state.expires <= $6";
pub(crate) const STATE_PUT: &str = "INSERT INTO keyed_state (space, key, value, version, expires)
    VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (space, key) DO UPDATE
    SET value = excluded.value, version = excluded.version, expires = excluded.expires";
pub(crate) const STATE_SWAP: &str = "UPDATE keyed_state SET value = $1, version = $2, expires = $3
    WHERE space = $4 AND key = $5 AND version = $6 AND expires > $7";
pub(crate) const STATE_DELETE: &str = "DELETE FROM keyed_state WHERE space = $1 AND key = $2 RETURNING expires";
pub(crate) const STATE_LIST: &str = "SELECT key, value, version, expires FROM keyed_state
    WHERE space = $1 AND key > $2 AND expires > $3 ORDER BY key LIMIT $4";
pub(crate) const STATE_SWEEP: &str = "DELETE FROM keyed_state WHERE expires <= $1";

/// Counts one row if the scope and tag had no key.
pub(crate) const KEY_PUT: &str = "INSERT INTO key (id, scope, tag, wrapped, created) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (scope, tag) DO NOTHING";
pub(crate) const KEY_GET: &str = "SELECT scope, tag, wrapped, created FROM key WHERE id = $1";
pub(crate) const KEY_BY_TAG: &str = "SELECT id, wrapped, created FROM key WHERE scope = $1 AND tag = $2";
pub(crate) const KEY_IS_BURIED: &str = "SELECT destroyed_at FROM tombstone WHERE id = $1";
pub(crate) const KEY_DESTROY: &str = "DELETE FROM key WHERE id = $1";
pub(crate) const KEY_DESTROY_BY_TAG: &str = "DELETE FROM key WHERE scope = $1 AND tag = $2 RETURNING id";
pub(crate) const KEY_BURY: &str = "INSERT INTO tombstone (id, destroyed_at) VALUES ($1, $2)";
pub(crate) const KEY_PAGE: &str = "SELECT id, scope, tag, wrapped, created FROM key WHERE id > $1 ORDER BY id LIMIT $2";
pub(crate) const TOMBSTONE_PAGE: &str = "SELECT id, destroyed_at FROM tombstone WHERE id > $1 ORDER BY id LIMIT $2";
