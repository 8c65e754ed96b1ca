//! Where the demo plays: a hub in a temporary folder, a client that trusts its authority, everyone's keys, and the
//! facts that the steps found out.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use comfy_table::Table;
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::client::Client;
use crate::config::Config;
use crate::failure::{Failure, Result};
use crate::out::{Out, Tone};
use crate::profile::{Key, Profile};
use crate::stopwatch::Stopwatch;
use crate::wiring::{self, Started};

/// A hub and all that the demo knows of it.
pub(super) struct Stage {
    pub(super) out: Out,
    pub(super) started: Started,
    pub(super) ca: PathBuf,
    pub(super) folder: TempDir,
    client: Client,
    keys: BTreeMap<String, Key>,
    runtime: Runtime,
    step: usize,
    facts: Map<String, Value>,
}

impl Stage {
    /// Starts a hub on a free port of the loopback, with stores, root key and authority made on the spot.
    pub(super) fn open(out: Out) -> Result<Self> {
        let begin = Stopwatch::start();
        let folder = tempfile::Builder::new().prefix("tradelane-demo-").tempdir();
        let folder = folder.map_err(|error| Failure::failed(format!("no temporary folder: {error}")))?;
        let mut config =
            Config { data: folder.path().join("data"), root_key: folder.path().join("root.key"), ..Config::default() };
        config.listen.address.set_port(0);
        config.kafka.enabled = true;
        config.kafka.address.set_port(0);
        config.check()?;
        let runtime = wiring::runtime()?;
        let started = runtime.block_on(wiring::start(&config))?;
        let ca = started.ca_file.clone().ok_or_else(|| Failure::failed("the hub has no development authority"))?;
        let ca_pem = std::fs::read_to_string(&ca).map_err(|error| Failure::file(&ca, error))?;
        let key = started.operator_key.as_ref().map(|key| Key::new(key.expose()));
        let profile = Profile { url: started.url.clone(), ca_pem: Some(ca_pem), key: None };
        let client = Client::new(&profile)?;
        client.get("/healthz")?;
        let first_answer = begin.elapsed();
        let keys = key.into_iter().map(|key| (OPERATOR.to_owned(), key)).collect();
        let facts = Map::new();
        let mut stage = Self { out, started, ca, folder, client, keys, runtime, step: 0, facts };
        stage.heading("A hub, from nothing");
        let url = stage.started.url.clone();
        stage.say(format!("{} over TLS 1.3, authority made on the spot: {}", url, stage.ca.display()));
        stage.say(format!("Stores, keys and audit log in {}", stage.folder.path().join("data").display()));
        stage.say(format!("Start to first answer: {}", milliseconds(first_answer)));
        stage.fact("url", json!(url));
        stage.fact("startToFirstAnswerMs", json!(millis(first_answer)));
        Ok(stage)
    }

    /// Stops the hub and removes its folder.
    pub(super) fn close(self) {
        let Self { started, runtime, folder, client, .. } = self;
        // Open connections of the client would keep the listener waiting.
        drop(client);
        runtime.block_on(started.stop());
        runtime.shutdown_timeout(Duration::from_secs(5));
        drop(folder);
    }

    /// The heading of the next step.
    pub(super) fn heading(&mut self, title: &str) {
        self.step += 1;
        let heading = self.out.paint(Tone::Accent, format!("{:>2}  {title}", self.step));
        self.out.line(format!("\n{heading}"));
    }

    /// A line of a step.
    pub(super) fn say(&self, text: impl AsRef<str>) {
        self.out.line(format!("    {}", text.as_ref()));
    }

    /// A table of a step.
    pub(super) fn table(&self, table: &Table) {
        table.lines().for_each(|line| self.say(line.trim_end()));
    }

    /// A line that says that something is as promised.
    pub(super) fn holds(&self, text: impl AsRef<str>) {
        self.say(format!("{} {}", self.out.paint(Tone::Good, "✓"), text.as_ref()));
    }

    /// A line that says how something was refused, as it should be.
    pub(super) fn refused(&self, text: impl AsRef<str>) {
        self.say(format!("{} {}", self.out.paint(Tone::Bad, "✗"), text.as_ref()));
    }

    /// Keeps a fact for the summary and for `--json`.
    pub(super) fn fact(&mut self, name: &str, value: Value) {
        self.facts.insert(name.to_owned(), value);
    }

    /// A fact that an earlier step found.
    pub(super) fn known(&self, name: &str) -> &Value {
        self.facts.get(name).unwrap_or(&Value::Null)
    }

    /// What was promised must hold, or the demo has failed.
    pub(super) fn must(&self, holds: bool, promise: &str) -> Result<()> {
        if holds { Ok(()) } else { Err(Failure::no(format!("step {}: {promise}: this does not hold", self.step))) }
    }

    /// The client of this principal.
    pub(super) fn of(&self, principal: &str) -> Client {
        self.client.with_key(self.keys.get(principal).cloned())
    }

    /// Gives a principal its key.
    pub(super) fn hand_key(&mut self, principal: &str, key: Key) {
        self.keys.insert(principal.to_owned(), key);
    }

    /// The key of a principal.
    pub(super) fn key(&self, principal: &str) -> &str {
        self.keys.get(principal).map_or("", Key::expose)
    }

    /// For programs: all facts as one value.
    pub(super) fn finish(&mut self) {
        self.facts.insert("ok".into(), Value::Bool(true));
        self.out.value(&Value::Object(self.facts.clone()));
    }

    /// Waits until someone stops the process.
    pub(super) fn wait_for_signal(&self) {
        use tokio::signal::unix::{SignalKind, signal};
        self.runtime.block_on(async {
            let both = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
            if let (Ok(mut int), Ok(mut term)) = both {
                tokio::select! { _ = int.recv() => {} _ = term.recv() => {} }
            }
        });
    }
}

/// The first operator, whose key the hub made at its first start.
pub(super) const OPERATOR: &str = "hub.operator";

/// A duration in milliseconds with two decimals, as a number.
pub(super) fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 100_000.0).round() / 100.0
}

/// A duration for people.
pub(super) fn milliseconds(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1_000.0;
    if ms < 10.0 { format!("{ms:.2} ms") } else { format!("{ms:.0} ms") }
}
