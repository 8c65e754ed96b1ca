//! Apache Kafka for one test run, from what `tools/kafka/kafka.py fetch` put into the directory that `KAFKA_FOR_TESTS` names.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use crate::require_or_skip;

/// Where the jars are.
const DIRECTORY: &str = "KAFKA_FOR_TESTS";

/// How a listener of the cluster takes clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KafkaSecurity {
    /// As they come.
    Plaintext,
    /// SASL, PLAIN or SCRAM, without TLS.
    Sasl,
    /// The same, with TLS.
    SaslTls,
}

/// A throw-away cluster of brokers on loopback. It ends with the value, or with the process.
#[derive(Debug)]
pub struct Kafka {
    supervisor: Child,
    directory: PathBuf,
    facts: serde_json::Value,
}

impl Kafka {
    /// Starts one or three brokers. `None`, with a word on stderr, where there is no Kafka.
    ///
    /// # Panics
    /// If it is there and does not start; or if it is not and `TRADELANE_REQUIRE_SERVERS=1`.
    pub fn start(brokers: u32, security: KafkaSecurity) -> Option<Self> {
        let Some(directory) = directory() else {
            require_or_skip("Apache Kafka (tools/kafka/kafka.py fetch DIR, then KAFKA_FOR_TESTS=DIR)");
            return None;
        };
        let security = match security {
            KafkaSecurity::Plaintext => "plaintext",
            KafkaSecurity::Sasl => "sasl",
            KafkaSecurity::SaslTls => "sasl-tls",
        };
        let mut supervisor = script()
            .arg("run")
            .arg(&directory)
            .args(["--brokers", &brokers.to_string(), "--security", security])
            // It ends the brokers when its input ends, which the end of this process is.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 can be run");
        let mut line = String::new();
        let output = supervisor.stdout.take().expect("its output is piped");
        BufReader::new(output.take(64 << 10)).read_line(&mut line).expect("it says where it is");
        let facts = serde_json::from_str(&line);
        let facts = facts.unwrap_or_else(|error| panic!("Kafka did not start, it said {line:?}: {error}"));
        Some(Self { supervisor, directory, facts })
    }

    fn fact(&self, name: &str) -> &str {
        self.facts.get(name).and_then(serde_json::Value::as_str).unwrap_or_default()
    }

    /// `host:port`, with commas: the listener with the security that was asked for.
    pub fn bootstrap(&self) -> &str {
        self.fact("bootstrap")
    }

    /// The same of a listener without any, for looking behind the hub.
    pub fn plain(&self) -> &str {
        self.fact("plain")
    }

    /// Who may do everything, and the password.
    pub fn login(&self) -> (&str, &str) {
        (self.fact("user"), self.fact("password"))
    }

    /// The certificate of the authority that the brokers' are of, PEM.
    pub fn authority(&self) -> &Path {
        Path::new(self.fact("ca"))
    }

    /// The folder with the files of all brokers, segments of the log among them.
    pub fn data(&self) -> &Path {
        Path::new(self.fact("data"))
    }

    /// Runs a command-line tool of Kafka's to its end; `input` is what it reads.
    ///
    /// # Panics
    /// If it cannot be run.
    pub fn tool(&self, name: &str, arguments: &[&str], input: &[u8]) -> Output {
        let mut tool = script()
            .arg("tool")
            .arg(&self.directory)
            .arg(name)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("python3 can be run");
        let mut stdin = tool.stdin.take().expect("its input is piped");
        let input = input.to_vec();
        let writing = std::thread::spawn(move || drop(std::io::Write::write_all(&mut stdin, &input)));
        let output = tool.wait_with_output().expect("the tool's output can be read");
        drop(writing.join());
        output
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        drop(self.supervisor.stdin.take());
        drop(self.supervisor.wait());
    }
}

fn script() -> Command {
    let mut command = Command::new("python3");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/kafka/kafka.py"));
    command
}

#[expect(clippy::disallowed_methods, reason = "tests have no other configuration")]
fn directory() -> Option<PathBuf> {
    let directory = PathBuf::from(std::env::var_os(DIRECTORY)?);
    directory.join("complete").exists().then_some(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_takes_records_over_tls_and_leaves_nothing_behind() {
        let Some(kafka) = Kafka::start(1, KafkaSecurity::SaslTls) else { return };
        let data = kafka.data().to_owned();
        assert!(kafka.authority().exists());
        let created = kafka.tool("topics", &["--bootstrap-server", kafka.plain(), "--create", "--topic", "t"], b"");
        assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));
        drop(kafka);
        assert!(!data.exists());
    }
}
