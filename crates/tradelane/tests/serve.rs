//! A hub as its operator and its users have it: started from a file, talked to from the shell, stopped, started again.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

/// A hub in a folder, and the client's half of it.
struct Hub {
    folder: Option<tempfile::TempDir>,
    process: Child,
    url: String,
    ca: String,
}

impl Hub {
    fn start(folder: tempfile::TempDir) -> Self {
        let config = folder.path().join("tradelane.toml");
        std::fs::write(&config, "[listen]\naddress = \"127.0.0.1:0\"\n[log]\nlevel = \"warn\"\n").unwrap();
        let mut process = command(&["--json", "serve", "--operator-key-file", &path(&folder, "operator.key")])
            .arg("-c")
            .arg(&config)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap();
        let text = |name: &str| said[name].as_str().unwrap().to_owned();
        Self { url: text("url"), ca: text("ca"), folder: Some(folder), process }
    }

    /// Ends it as a service manager does; what it kept stays.
    fn stop(mut self) -> tempfile::TempDir {
        assert!(Command::new("kill").arg(self.process.id().to_string()).status().unwrap().success());
        assert!(self.process.wait().unwrap().success(), "SIGTERM ends a hub in good order");
        self.folder.take().unwrap()
    }

    fn path(&self, name: &str) -> String {
        path(self.folder.as_ref().unwrap(), name)
    }

    fn run(&self, key: &str, arguments: &[&str]) -> (i32, Value, String) {
        self.run_with(key, arguments, "")
    }

    fn run_with(&self, key: &str, arguments: &[&str], input: &str) -> (i32, Value, String) {
        let mut child = command(arguments)
            .args(["--json", "--url", &self.url, "--ca", &self.ca, "--key-file", &self.path(key)])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that reads nothing may have ended by now.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
        let stdout = String::from_utf8(stdout).unwrap();
        let first = stdout.lines().next().unwrap_or("null");
        (status.code().unwrap(), serde_json::from_str(first).unwrap(), String::from_utf8(stderr).unwrap())
    }

    fn must(&self, key: &str, arguments: &[&str]) -> Value {
        let (code, answer, stderr) = self.run(key, arguments);
        assert_eq!(code, 0, "{arguments:?}: {answer} {stderr}");
        answer
    }
}

impl Drop for Hub {
    /// A test that failed leaves no hub behind.
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tradelane"));
    command.args(arguments).env_clear().env("PATH", "/usr/bin:/bin").env("HOME", "/nonexistent");
    command
}

fn path(folder: &tempfile::TempDir, name: &str) -> String {
    folder.path().join(name).display().to_string()
}

fn example(name: &str) -> String {
    let root: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    root.join(name).canonicalize().unwrap().display().to_string()
}

#[test]
fn everything_a_hub_does_can_be_done_from_the_shell() {
    let hub = Hub::start(tempfile::tempdir().unwrap());
    let plan = hub.must("operator.key", &["apply", "-f", &example("network/organizations.yaml"), "--dry-run"]);
    assert_eq!(plan["applied"], false);
    assert!(hub.must("operator.key", &["products"])["products"].as_array().unwrap().is_empty());
    let (code, _, stderr) = hub.run("operator.key", &["apply", "-f", &example("network/organizations.yaml")]);
    assert!(code == 2, "nobody is there to confirm: {stderr}");
    hub.must("operator.key", &["apply", "-f", &example("network/organizations.yaml"), "--yes"]);
    for who in ["acme-desk", "medidis-desk", "corner-desk"] {
        hub.must("operator.key", &["keys", "issue", who, "--days", "1", "-o", &hub.path(who)]);
    }
    hub.must("acme-desk", &["apply", "-f", &example("network/acme"), "--yes"]);
    let again = hub.must("acme-desk", &["apply", "-f", &example("network/acme"), "--yes"]);
    assert!(again["plan"].as_array().unwrap().iter().all(|step| step["verb"] == "no-op"));

    let captured = hub.must("acme-desk", &["publish", "acme-shipments", &example("epcis/acme-shipments.json")]);
    assert_eq!(captured["captured"], 6);
    let stock = example("json/acme-stock.ndjson");
    let published = hub.must("acme-desk", &["publish", "acme-stock", &stock, "--idempotency-key", "first"]);
    assert_eq!(published["published"], 6);
    let retried = hub.must("acme-desk", &["publish", "acme-stock", &stock, "--idempotency-key", "first"]);
    assert_eq!(retried["answers"][0]["duplicate"], true);
    let (code, answer, _) =
        hub.run("acme-desk", &["publish", "acme-shipments", &example("epcis/invalid-shipment.json")]);
    assert_eq!(code, 1);
    assert!(answer.to_string().contains("/epcisBody/eventList/0/action"), "{answer}");

    let first = hub.must("medidis-desk", &["read", "acme-shipments", "--limit", "1"]);
    let seen = &first["event"]["acme:shipTo"];
    assert!(seen["acme:name"].as_str().unwrap().starts_with("p-") && seen.get("acme:note").is_none(), "{seen}");
    let explained = hub.must("acme-desk", &["explain", "acme-shipments", "--as", "medidis", "--offset", "0"]);
    let phone = explained["fields"].as_array().unwrap().iter().find(|f| f["pointer"] == "/acme:shipTo/acme:phone");
    assert_eq!(phone.unwrap()["rendered"], "\"***567\"");
    let (code, answer, _) = hub.run("corner-desk", &["quarantine", "acme-stock"]);
    assert_eq!((code, answer["error"]["code"].as_str().unwrap().starts_with("TL-3")), (1, true));

    let (code, erased, _) = hub.run_with("acme-desk", &["erase", "-", "--yes"], "jana.novak@mail.example\n");
    assert_eq!((code, &erased["keysDestroyed"]), (0, &Value::from(1)));
    hub.must("acme-desk", &["grants", "revoke", "acme-shipments-medidis", "--reason", "over"]);
    let (code, answer, _) = hub.run("medidis-desk", &["tail", "acme-shipments"]);
    assert_eq!((code, answer["error"]["code"].as_str()), (1, Some("TL-3004")));

    proofs(&hub);
    let folder = hub.stop();
    let hub = Hub::start(folder);
    assert_eq!(hub.must("corner-desk", &["read", "acme-stock", "--limit", "1"])["offset"], 0);
    let (code, _, _) = hub.run("medidis-desk", &["read", "acme-shipments"]);
    assert_eq!(code, 1, "what was revoked stays revoked");
    hub.stop();
}

fn proofs(hub: &Hub) {
    let key = hub.must("acme-desk", &["audit", "key"])["key"].as_str().unwrap().to_owned();
    let trail = hub.must("medidis-desk", &["audit", "trail", "--product", "acme-shipments"]);
    let read = trail["entries"].as_array().unwrap().iter().find(|entry| entry["leaf"]["action"] == "read").unwrap();
    let receipt = hub.path("read.tlog-proof");
    hub.must("medidis-desk", &["audit", "receipt", &read["index"].to_string(), "-o", &receipt]);
    let proven = hub.must("medidis-desk", &["audit", "verify", &receipt, "--key", &key]);
    assert_eq!((&proven["verified"], &proven["leaf"]["action"]), (&Value::from(true), &Value::from("read")));
    let log = hub.path("log");
    hub.must("acme-desk", &["audit", "export", &log]);
    let verified = hub.must("acme-desk", &["audit", "verify", &log, "--key", &key, "--receipt", &receipt]);
    assert!(verified["leaves"].as_u64().unwrap() > 10 && verified["receipts"] == 1);
    hub.must("acme-desk", &["audit", "verify", &hub.url, "--key", &key]);
    let entries = std::fs::read_dir(Path::new(&log).join("tile/entries")).unwrap().next().unwrap().unwrap().path();
    let bundle = match entries.is_dir() {
        true => std::fs::read_dir(&entries).unwrap().next().unwrap().unwrap().path(),
        false => entries,
    };
    let mut bytes = std::fs::read(&bundle).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&bundle, bytes).unwrap();
    let (code, _, _) = hub.run("acme-desk", &["audit", "verify", &log, "--key", &key]);
    assert_eq!(code, 1, "one flipped bit is noticed");
}
