//! Opening a database file: who may, what state the last process left it in, which schema it has.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};

use super::reserve::Reserve;
use super::{At, wal};
use crate::error::{Result, StorageError};
use crate::recovery::{Integrity, Recovery};
use crate::sealing::KeyCheck;

/// Files up to this size are checked page by page when they are opened.
const CHECKED_UP_TO: u64 = 32 << 20;

/// One kind of database file.
pub(crate) struct Kind {
    /// SQLite's application id: tells our files from others.
    pub(crate) application_id: i32,
    /// Bytes per page; fixed when the file is created.
    pub(crate) page_size: u32,
    /// Zero what is deleted.
    pub(crate) secure_delete: bool,
    /// One connection only, and no shared-memory file.
    pub(crate) exclusive: bool,
    /// Give freed pages back to the file system in steps.
    pub(crate) vacuum: bool,
    /// Checkpoint after so many pages in the log; 0 if somebody else does it.
    pub(crate) autocheckpoint: u32,
    /// Each commit is synced. What is not so is found elsewhere after a loss of power.
    pub(crate) synced: bool,
    /// The statements that lead from each schema version to the next; version 0 is an empty file.
    pub(crate) migrations: &'static [&'static str],
}

/// An open database: the connection that writes, and what opening it did.
pub(crate) struct Opened {
    pub(crate) connection: Connection,
    pub(crate) recovery: Recovery,
    pub(crate) place: String,
    /// Held as long as the store is open: two processes that write would not see each other's state in memory.
    pub(crate) lock: File,
}

/// The path of a file that belongs to the database, such as its `-wal`.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Opens or creates the file, recovers and migrates it, and checks that the key is the one it was created with.
#[expect(clippy::disallowed_methods, reason = "measures how long opening took")]
pub(crate) fn open(path: &Path, kind: &Kind, key: &KeyCheck) -> Result<Opened> {
    let began = Instant::now();
    let place = path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned());
    let io = |error: std::io::Error| StorageError::Unavailable { cause: format!("{place}: {error}") };

    let lock = lock(path, &place)?;
    let created = create(path).map_err(io)?;
    let scan = wal::scan(&beside(path, "-wal")).map_err(io)?;
    if let Some(frame) = scan.damaged.filter(|_| kind.synced) {
        return Err(StorageError::Corrupt { place: format!("{place}-wal, frame {frame}") });
    }

    let reserve = Reserve::beside(path);
    let (connection, migrated_from) = match start(path, kind, &place, key) {
        Err(StorageError::Full) if reserve.release() => start(path, kind, &place, key)?,
        other => other?,
    };
    if !kind.exclusive {
        reserve.restore();
    }
    let length = std::fs::metadata(path).map_err(io)?.len();
    let integrity = if length > CHECKED_UP_TO { Integrity::TooBig(length) } else { quick_check(&connection, &place)? };
    // What was recovered moves into the database now, so that it is not recovered again after the next crash.
    connection
        .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
        .or_else(full_disk_is_no_reason)
        .at(&place)?;

    let recovery = Recovery {
        store: place.clone(),
        created,
        unclean: scan.present,
        wal_commits: scan.commits,
        wal_frames: scan.frames,
        replayed: 0,
        torn_bytes: scan.torn_bytes,
        migrated_from,
        integrity,
        took: began.elapsed(),
    };
    tracing::info!(store = %recovery.store, "{recovery}");
    Ok(Opened { connection, recovery, place, lock })
}

/// Connects, sets up and migrates; what a full disk can get in the way of.
fn start(path: &Path, kind: &Kind, place: &str, key: &KeyCheck) -> Result<(Connection, Option<u32>)> {
    let connection = connect(path, place, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    configure(&connection, kind, place)?;
    let migrated_from = migrate(&connection, kind, place, key)?;
    Ok((connection, migrated_from))
}

/// On a full disk the log cannot be moved into the database; everything in it can still be read.
fn full_disk_is_no_reason(error: rusqlite::Error) -> rusqlite::Result<()> {
    match super::explain("", &error) {
        StorageError::Full => Ok(()),
        _ => Err(error),
    }
}

fn lock(path: &Path, place: &str) -> Result<File> {
    let unavailable = |error: std::io::Error| StorageError::Unavailable { cause: format!("{place}-lock: {error}") };
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true);
    private(&mut options);
    let file = options.open(beside(path, "-lock")).map_err(unavailable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StorageError::Locked { store: place.to_owned() }),
        Err(TryLockError::Error(error)) => Err(unavailable(error)),
    }
}

#[cfg(unix)]
pub(crate) fn private(options: &mut OpenOptions) {
    use std::os::unix::fs::OpenOptionsExt;
    options.mode(0o600);
}

#[cfg(not(unix))]
pub(crate) fn private(_: &mut OpenOptions) {}

/// Makes a folder for its owner alone; when this returns, its name is on disk.
pub(crate) fn private_folder(path: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)?;
    sync_parent(path)
}

/// Puts the name of a new file or folder on disk.
fn sync_parent(path: &Path) -> std::io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

/// Creates the file for its owner alone (SQLite gives its companions the same mode); true if it was not there.
fn create(path: &Path) -> std::io::Result<bool> {
    let mut options = OpenOptions::new();
    options.create_new(true).write(true);
    private(&mut options);
    match options.open(path) {
        Ok(file) => {
            file.sync_all()?;
            sync_parent(path)?;
            Ok(true)
        }
        // An empty file is one whose creation was cut short.
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(std::fs::metadata(path)?.len() == 0),
        Err(error) => Err(error),
    }
}

/// Opens one more connection to a file that is open already.
pub(crate) fn connect(path: &Path, place: &str, mode: OpenFlags) -> Result<Connection> {
    let connection = Connection::open_with_flags(path, mode | OpenFlags::SQLITE_OPEN_NO_MUTEX).at(place)?;
    connection.busy_timeout(Duration::from_secs(5)).at(place)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

fn configure(connection: &Connection, kind: &Kind, place: &str) -> Result<()> {
    let application: i32 = connection.query_row("PRAGMA application_id", [], |row| row.get(0)).at(place)?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).at(place)?;
    if tables > 0 && application != kind.application_id {
        return Err(StorageError::Foreign { store: place.to_owned() });
    }
    let vacuum = if kind.vacuum { "INCREMENTAL" } else { "NONE" };
    let locking = if kind.exclusive { "EXCLUSIVE" } else { "NORMAL" };
    let secure = if kind.secure_delete { "ON" } else { "OFF" };
    let (page_size, autocheckpoint) = (kind.page_size, kind.autocheckpoint);
    // Page size and vacuum only take effect on an empty file; locking goes before the log is first touched.
    connection
        .execute_batch(&format!(
            "PRAGMA page_size={page_size}; PRAGMA auto_vacuum={vacuum}; PRAGMA locking_mode={locking};
             PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA secure_delete={secure};
             PRAGMA wal_autocheckpoint={autocheckpoint}; PRAGMA journal_size_limit=67108864;
             PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON; PRAGMA temp_store=MEMORY;"
        ))
        .at(place)?;
    let mode: String = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0)).at(place)?;
    if mode != "wal" {
        return Err(StorageError::Unavailable { cause: format!("{place}: the file system does not allow WAL mode") });
    }
    Ok(())
}

/// Brings the schema up to date in one transaction; answers the version it had, if it was an older one.
fn migrate(connection: &Connection, kind: &Kind, place: &str, key: &KeyCheck) -> Result<Option<u32>> {
    let supported = kind.migrations.len() as u32;
    let empty: bool = connection
        .query_row("SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'schema_version')", [], |row| {
            row.get(0)
        })
        .at(place)?;
    let found: u32 = if empty {
        0
    } else {
        connection.query_row("SELECT max(version) FROM schema_version", [], |row| row.get(0)).at(place)?
    };
    if found > supported {
        return Err(StorageError::NewerSchema { store: place.to_owned(), found, supported });
    }
    if !empty {
        let sealed: Vec<u8> =
            connection.query_row("SELECT value FROM meta WHERE name = 'key_check'", [], |row| row.get(0)).at(place)?;
        key.verify(&sealed, place)?;
    }
    if found == supported {
        return Ok(None);
    }
    connection.execute_batch("BEGIN IMMEDIATE").at(place)?;
    if empty {
        let application = kind.application_id;
        connection
            .execute_batch(&format!(
                "PRAGMA application_id={application};
                 CREATE TABLE schema_version (version INTEGER PRIMARY KEY) STRICT;
                 CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;"
            ))
            .at(place)?;
        connection.execute("INSERT INTO meta (name, value) VALUES ('key_check', ?1)", [key.seal()]).at(place)?;
    }
    for (index, statements) in kind.migrations.iter().enumerate().skip(found as usize) {
        connection.execute_batch(statements).at(place)?;
        connection.execute("INSERT INTO schema_version (version) VALUES (?1)", [index as u32 + 1]).at(place)?;
    }
    connection.execute_batch("COMMIT").at(place)?;
    Ok((found > 0).then_some(found))
}

fn quick_check(connection: &Connection, place: &str) -> Result<Integrity> {
    let answer: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).at(place)?;
    if answer == "ok" {
        return Ok(Integrity::Checked);
    }
    tracing::error!(store = place, "the check at the start failed: {answer}");
    Err(StorageError::Corrupt { place: place.to_owned() })
}
