//! A PostgreSQL server for one test run, from the binaries that Debian installs.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::{TempDir, require_or_skip, temp_dir};

/// Runs the server as its child and ends it when standard input closes: when the handle is dropped, and also when the
/// test's process dies in any other way. Then removes the files.
const SUPERVISOR: &str = r#"exec 3<&0
"$@" </dev/null 3<&- &
server=$!
cat <&3 >/dev/null
kill -QUIT "$server" 2>/dev/null
wait "$server"
rm -rf "$TRADELANE_CLUSTER"
"#;

/// A throw-away cluster that listens on a Unix socket only. It ends with the value, or with the process.
#[derive(Debug)]
pub struct PostgresCluster {
    binaries: PathBuf,
    supervisor: Child,
    directory: TempDir,
}

impl PostgresCluster {
    /// Starts one. `None`, with a word on stderr, where PostgreSQL is not installed.
    ///
    /// # Panics
    /// If it is installed and does not start; or if it is not and `TRADELANE_REQUIRE_SERVERS=1`.
    pub fn start() -> Option<Self> {
        let Some(binaries) = binaries() else {
            require_or_skip("PostgreSQL (/usr/lib/postgresql/*/bin)");
            return None;
        };
        let directory = temp_dir();
        let root = directory.path();
        let unprivileged = unprivileged(root);
        let data = root.join("data");
        let initialized = unprivileged(&binaries.join("initdb"))
            .args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync", "-D"])
            .arg(&data)
            .current_dir(root)
            .output()
            .expect("initdb can be run");
        assert!(initialized.status.success(), "initdb: {}", String::from_utf8_lossy(&initialized.stderr));

        let server = unprivileged(&binaries.join("postgres"));
        let log = std::fs::File::create(root.join("log")).expect("a log file can be made");
        let supervisor = Command::new("sh")
            .args(["-c", SUPERVISOR, "postgres"])
            .arg(server.get_program())
            .args(server.get_args())
            // What the tests lose with the machine they may lose.
            .args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "full_page_writes=off", "-D"])
            .arg(&data)
            .arg("-k")
            .arg(root)
            .env("TRADELANE_CLUSTER", root)
            .current_dir(root)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("a shell can be run");
        let cluster = Self { binaries, supervisor, directory };
        cluster.await_ready();
        Some(cluster)
    }

    /// Makes an empty database and answers how to connect to it: a connection string of the `key=value` form.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn create_database(&self, name: &str) -> String {
        self.sql("postgres", &format!("CREATE DATABASE \"{name}\""));
        format!("host={} user=postgres dbname={name}", self.directory.path().display())
    }

    /// Runs one statement through psql and answers what it prints, without headers.
    ///
    /// # Panics
    /// If it fails.
    pub fn sql(&self, database: &str, statement: &str) -> String {
        let output = Command::new(self.binaries.join("psql"))
            .args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", database, "-c", statement, "-h"])
            .arg(self.directory.path())
            .output()
            .expect("psql can be run");
        assert!(output.status.success(), "{statement}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// Cuts every connection to the database, as a restart or a failing network does.
    ///
    /// # Panics
    /// If the server cannot be reached.
    pub fn cut_connections(&self, database: &str) {
        let others = format!(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '{database}' AND pid <> pg_backend_pid()"
        );
        self.sql("postgres", &others);
    }

    #[expect(clippy::disallowed_methods, reason = "a deadline for a server that does not start")]
    fn await_ready(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let ready = Command::new(self.binaries.join("pg_isready"))
                .args(["-q", "-h"])
                .arg(self.directory.path())
                .status()
                .is_ok_and(|status| status.success());
            if ready {
                return;
            }
            assert!(Instant::now() < deadline, "PostgreSQL did not start: {}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for PostgresCluster {
    fn drop(&mut self) {
        drop(self.supervisor.stdin.take());
        drop(self.supervisor.wait());
    }
}

/// The newest version's binaries.
fn binaries() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let version = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.flatten().map(|entry| entry.path()).filter_map(|path| Some((version(&path)?, path))).max()?;
    let binaries = newest.1.join("bin");
    binaries.join("initdb").exists().then_some(binaries)
}

/// How to run a program as somebody who may run PostgreSQL: as oneself, or, for root, as `postgres` or `nobody`, who
/// is given the directory.
fn unprivileged(directory: &Path) -> impl Fn(&Path) -> Command + use<> {
    let root = std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    let user = ["postgres", "nobody"].into_iter().find_map(lookup).filter(|_| root);
    if let Some((uid, gid)) = user {
        std::os::unix::fs::chown(directory, Some(uid), Some(gid)).expect("root may give its directory away");
    }
    move |program| {
        let Some((uid, gid)) = user else { return Command::new(program) };
        let mut command = Command::new("setpriv");
        command.args([format!("--reuid={uid}"), format!("--regid={gid}"), "--clear-groups".into(), "--".into()]);
        command.arg(program);
        command
    }
}

fn lookup(name: &str) -> Option<(u32, u32)> {
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let found = fields.next()? == name;
        let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
        found.then_some((uid, gid))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_starts_serves_and_leaves_nothing_behind() {
        let Some(cluster) = PostgresCluster::start() else { return };
        let directory = cluster.directory.path().to_owned();
        let connection = cluster.create_database("tradelane");
        assert!(connection.contains("dbname=tradelane"));
        assert_eq!(cluster.sql("tradelane", "SELECT 1 + 1"), "2");
        drop(cluster);
        assert!(!directory.exists());
    }
}
