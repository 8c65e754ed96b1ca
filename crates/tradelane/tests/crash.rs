//! A hub that is killed with SIGKILL again and again while publishers, readers and administrators use it over HTTP.
//!
//! After each kill it must start by itself, say what it found, and hold everything that was acknowledged: events once per
//! idempotency key and in order, changes, revocations, erasures, and an audit log that grew from the checkpoint seen last.
//! `TRADELANE_CRASH_ROUNDS` makes the loop longer than the few rounds of an ordinary run.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

const ROUNDS: u64 = 12;
const PUBLISHERS: usize = 2;
const PRODUCT: &str = "/v1/products/acme-orders/events";

const NETWORK: &str = r#"
apiVersion: tradelane/v1
kind: Organization
spec: {id: acme, name: Acme}
---
apiVersion: tradelane/v1
kind: Organization
spec: {id: near, name: Near}
---
apiVersion: tradelane/v1
kind: Principal
spec: {id: acme.all, organization: acme, kind: user, roles: [admin, data-owner, publisher, privacy, auditor]}
---
apiVersion: tradelane/v1
kind: Principal
spec: {id: near.app, organization: near, roles: [consumer]}
"#;

const CONTRACT: &str = r#"
apiVersion: v3.1.0
kind: DataContract
id: acme-orders
tenant: acme
version: 1.0.0
status: active
name: Orders
schema:
  - name: order
    properties:
      - {name: id, logicalType: string, required: true, classification: public}
      - name: customer
        logicalType: object
        classification: pii
        customProperties: [{property: subject, value: /customer/email}]
        properties: [{name: email, logicalType: string, required: true}]
customProperties:
  - {property: tradelane, value: {purposes: [replenishment, claims]}}
"#;

const PRODUCT_AND_GRANT: &str = r#"
apiVersion: tradelane/v1
kind: Product
spec: {id: acme-orders, owner: acme, name: Orders, contract: acme-orders}
---
apiVersion: tradelane/v1
kind: Grant
spec: {id: near-orders, product: acme-orders, consumer: near, purpose: replenishment}
"#;

/// A number that nobody chose, below `below`.
fn odd(below: u64) -> u64 {
    RandomState::new().hash_one(0) % below
}

/// A running hub's process. Its log goes to a file.
struct Process(Child);

impl Process {
    fn spawn(folder: &Path) -> (Self, PathBuf) {
        let log = folder.join("hub.log");
        let child = Command::new(env!("CARGO_BIN_EXE_tradelane"))
            .args(["--json", "serve", "--operator-key-file"])
            .arg(folder.join("operator.key"))
            .arg("-c")
            .arg(folder.join("tradelane.toml"))
            .env_clear()
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        (Self(child), log)
    }

    /// Waits until it serves; where, and what it said on the way.
    fn serving(&mut self, log: &Path) -> (String, String) {
        let mut line = String::new();
        BufReader::new(self.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said = std::fs::read_to_string(log).unwrap();
        let value: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("it did not start: {said}"));
        (value["url"].as_str().unwrap().to_owned(), said)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What users know: where the hub is, and what it acknowledged.
#[derive(Default)]
struct World {
    url: Mutex<String>,
    owner: String,
    near: String,
    stopping: AtomicBool,
    known: Mutex<Acknowledged>,
}

#[derive(Default, Clone)]
struct Acknowledged {
    /// Publisher and number of the request: first offset and how many.
    published: BTreeMap<(usize, u64), (u64, u64)>,
    organizations: BTreeSet<String>,
    revoked: BTreeSet<String>,
    erased: BTreeSet<String>,
    /// What a partner has read: by offset, the event's id.
    seen: BTreeMap<u64, String>,
    checkpoint: Option<String>,
    /// Requests that had to be sent again.
    retries: u64,
}

type Answer = (u16, Vec<u8>, Option<u64>);

impl World {
    /// One request to wherever the hub is now; none if it did not answer whole.
    fn ask(&self, agent: &ureq::Agent, method: &str, path: &str, key: &str, send: &Send<'_>) -> Option<Answer> {
        let url = format!("{}{path}", self.url.lock().unwrap());
        let mut request = ureq::http::Request::builder().method(method).uri(url);
        if !key.is_empty() {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        if let Some(idempotency) = send.idempotency {
            request = request.header("idempotency-key", format!("\"{idempotency}\""));
        }
        let answer = if method == "GET" {
            agent.run(request.body(()).unwrap())
        } else {
            agent.run(request.header("content-type", send.media).body(send.body.as_bytes()).unwrap())
        };
        let mut answer = answer.ok()?;
        let next = answer.headers().get("tradelane-next").and_then(|next| next.to_str().ok()?.parse().ok());
        let body = answer.body_mut().with_config().limit(64 << 20).read_to_vec().ok()?;
        Some((answer.status().as_u16(), body, next))
    }

    /// Sends it until it is answered, whatever happens to the hub meanwhile; none when the test ends.
    fn insist(&self, agent: &ureq::Agent, path: &str, key: &str, send: &Send<'_>) -> Option<(u16, Value)> {
        loop {
            if let Some((status, body, _)) = self.ask(agent, "POST", path, key, send)
                && !matches!(status, 409 | 429 | 503)
            {
                return Some((status, serde_json::from_slice(&body).unwrap()));
            }
            self.known.lock().unwrap().retries += 1;
            if self.stopping.load(Ordering::Relaxed) {
                return None;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// What a request carries.
struct Send<'a> {
    media: &'a str,
    body: &'a str,
    idempotency: Option<&'a str>,
}

const NOTHING: Send<'static> = Send { media: "application/json", body: "", idempotency: None };

fn json_of(body: &str) -> Send<'_> {
    Send { media: "application/json", body, idempotency: None }
}

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0);
    config.timeout_global(Some(Duration::from_secs(60))).build().new_agent()
}

fn event(id: &str, email: &str) -> String {
    json!({ "id": id, "customer": { "email": email } }).to_string()
}

/// Publishes batch after batch, each under a key of its own, each until it is acknowledged.
fn publish(world: &World, publisher: usize) {
    let agent = agent();
    for n in 0.. {
        if world.stopping.load(Ordering::Relaxed) {
            return;
        }
        let count = 1 + n * 7 % 12;
        let lines: Vec<String> = (0..count)
            .map(|at| event(&format!("{publisher}-{n}-{at}"), &format!("c{}@example.org", (n + at) % 40)))
            .collect();
        let (body, key) = (lines.join("\n"), format!("{publisher}-{n}"));
        let send = Send { media: "application/x-ndjson", body: &body, idempotency: Some(&key) };
        let Some((status, answer)) = world.insist(&agent, PRODUCT, &world.owner, &send) else { return };
        assert_eq!(status, 201, "{answer}");
        let told = (answer["offset"].as_u64().unwrap(), count);
        world.known.lock().unwrap().published.insert((publisher, n), told);
    }
}

/// Reads on and on from a cursor that it keeps to itself.
fn follow(world: &World) {
    let agent = agent();
    let mut at = 0;
    while !world.stopping.load(Ordering::Relaxed) {
        let path = format!("{PRODUCT}?from={at}&limit=500&wait=1&purpose=replenishment");
        match world.ask(&agent, "GET", &path, &world.near, &NOTHING) {
            Some((200, body, next)) => {
                let mut known = world.known.lock().unwrap();
                for line in String::from_utf8(body).unwrap().lines() {
                    let line: Value = serde_json::from_str(line).unwrap();
                    let (offset, id) = (line["offset"].as_u64().unwrap(), line["event"]["id"].as_str().unwrap());
                    assert!(!line.to_string().contains("example.org"), "{line}");
                    assert!(offset >= at, "{offset} after {at}");
                    let before = known.seen.insert(offset, id.to_owned());
                    assert!(before.is_none(), "offset {offset} twice");
                }
                at = next.unwrap();
            }
            Some((status, body, _)) if !matches!(status, 429 | 503) => {
                panic!("{status}: {}", String::from_utf8_lossy(&body))
            }
            _ => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Makes organizations and grants, revokes grants, erases persons, and keeps the newest checkpoint.
fn administer(world: &World, operator: &str) {
    let agent = agent();
    for n in 0.. {
        if world.stopping.load(Ordering::Relaxed) {
            return;
        }
        let id = format!("org-{n}");
        let Some(()) = apply(world, &agent, operator, &organization(&id)) else { return };
        world.known.lock().unwrap().organizations.insert(id);

        let grant = format!("extra-{n}");
        let spec = format!(
            "apiVersion: tradelane/v1\nkind: Grant\nspec: {{id: {grant}, product: acme-orders, consumer: near, purpose: claims}}\n"
        );
        let Some(()) = apply(world, &agent, &world.owner, &spec) else { return };
        let path = format!("/v1/grants/{grant}/revoke");
        // Revoking what a lost answer says nothing of is refused the second time: either way it is revoked.
        let Some((status, answer)) = world.insist(&agent, &path, &world.owner, &json_of(r#"{"reason":"over"}"#)) else {
            return;
        };
        assert!(status == 200 || status == 409, "{status} {answer}");
        world.known.lock().unwrap().revoked.insert(grant);

        let (person, key) = (format!("gone-{n}@example.org"), format!("gone-{n}"));
        let body = event(&key, &person);
        let send = Send { media: "application/json", body: &body, idempotency: Some(&key) };
        let Some(_) = world.insist(&agent, PRODUCT, &world.owner, &send) else { return };
        let body = json!({ "subject": person }).to_string();
        let Some((status, answer)) = world.insist(&agent, "/v1/erasures", &world.owner, &json_of(&body)) else {
            return;
        };
        assert_eq!(status, 200, "{answer}");
        world.known.lock().unwrap().erased.insert(person);

        if let Some((200, note, _)) = world.ask(&agent, "GET", "/tlog/checkpoint", "", &NOTHING) {
            world.known.lock().unwrap().checkpoint = Some(String::from_utf8(note).unwrap());
        }
    }
}

fn organization(id: &str) -> String {
    format!("apiVersion: tradelane/v1\nkind: Organization\nspec: {{id: {id}, name: O}}\n")
}

fn apply(world: &World, agent: &ureq::Agent, key: &str, text: &str) -> Option<()> {
    let body = json!({ "files": [{ "name": "x.yaml", "text": text }] }).to_string();
    let (status, answer) = world.insist(agent, "/v1/apply", key, &json_of(&body))?;
    assert_eq!(status, 200, "{answer}");
    Some(())
}

/// Everything that the owner can read: offset and event, in order.
fn everything(world: &World, agent: &ureq::Agent) -> Vec<(u64, Value)> {
    let (mut all, mut at) = (Vec::new(), 0);
    loop {
        let path = format!("{PRODUCT}?from={at}&limit=10000");
        let (status, body, next) = world.ask(agent, "GET", &path, &world.owner, &NOTHING).expect("it serves");
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
        for line in String::from_utf8(body).unwrap().lines() {
            let mut line: Value = serde_json::from_str(line).unwrap();
            all.push((line["offset"].as_u64().unwrap(), line["event"].take()));
        }
        if next == Some(at) {
            return all;
        }
        at = next.unwrap();
    }
}

/// All that was acknowledged before now is there; the load may go on meanwhile.
fn verify(world: &World, folder: &Path, operator: &str) {
    let agent = agent();
    let known = world.known.lock().unwrap().clone();
    let all = everything(world, &agent);
    if let Some(gap) = (0..).zip(&all).find(|(at, (offset, _))| at != offset) {
        let (_, aside, _) =
            world.ask(&agent, "GET", "/v1/products/acme-orders/quarantine", &world.owner, &NOTHING).unwrap();
        let log = std::fs::read_to_string(folder.join("hub.log")).unwrap();
        let log = log.lines().filter(|line| !line.contains("tradelane::request")).collect::<Vec<_>>().join("\n");
        panic!("a gap before {gap:?}: {}\n{log}", String::from_utf8_lossy(&aside));
    }
    let id = |offset: u64| all[usize::try_from(offset).unwrap()].1["id"].as_str().unwrap();
    for ((publisher, n), (offset, count)) in &known.published {
        for at in 0..*count {
            assert_eq!(id(offset + at), format!("{publisher}-{n}-{at}"), "request {n} of publisher {publisher}");
        }
    }
    for (offset, seen) in &known.seen {
        assert_eq!(id(*offset), seen, "what a partner has read stays");
    }
    let ids: BTreeSet<&str> = all.iter().map(|(_, event)| event["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), all.len(), "each request is stored once, however often it was sent");
    for publisher in 0..PUBLISHERS {
        let mine = all.iter().filter_map(|(_, event)| {
            let (who, rest) = event["id"].as_str()?.split_once('-')?;
            (who == publisher.to_string()).then(|| rest.split_once('-').map(|(n, _)| n.parse::<u64>().unwrap()))?
        });
        assert!(mine.is_sorted(), "in the order in which they were sent");
    }
    let text: String = all.iter().map(|(_, event)| event["customer"]["email"].as_str().unwrap_or_default()).collect();
    for person in &known.erased {
        assert!(!text.contains(person), "{person} was erased");
    }
    let (_, grants, _) = world.ask(&agent, "GET", "/v1/grants", &world.owner, &NOTHING).unwrap();
    let grants: Value = serde_json::from_slice(&grants).unwrap();
    for grant in &known.revoked {
        let found = grants["grants"].as_array().unwrap().iter().find(|one| one["id"] == json!(grant)).expect("a grant");
        assert_eq!(found["status"]["state"], "revoked", "{found}");
    }
    let manifests: Vec<String> = known.organizations.iter().map(|id| organization(id)).collect();
    let body = json!({ "files": [{ "name": "x.yaml", "text": manifests.join("---\n") }] }).to_string();
    let (status, plan, _) = world.ask(&agent, "POST", "/v1/apply?dry-run=true", operator, &json_of(&body)).unwrap();
    let plan: Value = serde_json::from_slice(&plan).unwrap();
    assert_eq!(status, 200, "{plan}");
    let steps = plan["steps"].as_array().unwrap();
    assert!(steps.len() >= manifests.len() && steps.iter().all(|step| step["verb"] == "no-op"), "{plan}");
    verify_record(world, folder, known.checkpoint.as_deref());
}

fn verify_record(world: &World, folder: &Path, checkpoint: Option<&str>) {
    let url = world.url.lock().unwrap().clone();
    let tradelane = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tradelane"));
        let output = command.arg("--json").args(arguments).env_clear().env("HOME", folder).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{arguments:?}: {text} {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_str::<Value>(&text).unwrap()
    };
    let key = tradelane(&["audit", "key", "--url", &url]);
    let key = key["key"].as_str().unwrap();
    let mut arguments = vec!["audit", "verify", &url, "--key", key];
    let since = folder.join("checkpoint.seen").display().to_string();
    if let Some(note) = checkpoint {
        std::fs::write(&since, note).unwrap();
        arguments.extend(["--since", &since]);
    }
    let verified = tradelane(&arguments);
    assert_eq!(verified["verified"], true);
    assert_eq!(verified["grownFrom"].is_null(), checkpoint.is_none(), "{verified}");
}

fn furnish(folder: &Path, url: String) -> (World, String) {
    let mut world = World { url: Mutex::new(url), ..World::default() };
    let agent = agent();
    let operator = std::fs::read_to_string(folder.join("operator.key")).unwrap().trim().to_owned();
    apply(&world, &agent, &operator, NETWORK).unwrap();
    let key = |principal: &str| {
        let path = format!("/v1/principals/{principal}/credentials");
        let body = json_of(r#"{"kind":"api-key","lifetimeSeconds":86400}"#);
        let (status, issued) = world.insist(&agent, &path, &operator, &body).unwrap();
        assert_eq!(status, 201, "{issued}");
        issued["secret"].as_str().unwrap().to_owned()
    };
    let (owner, near) = (key("acme.all"), key("near.app"));
    (world.owner, world.near) = (owner, near);
    apply(&world, &agent, &world.owner, CONTRACT).unwrap();
    apply(&world, &agent, &world.owner, PRODUCT_AND_GRANT).unwrap();
    (world, operator)
}

#[test]
fn a_hub_killed_again_and_again_under_load_starts_by_itself_and_loses_nothing_acknowledged() {
    #[expect(clippy::disallowed_methods, reason = "how long to run is the operator's choice")]
    let rounds = std::env::var("TRADELANE_CRASH_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(ROUNDS);
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path();
    let config = "[listen]\naddress = \"127.0.0.1:0\"\n[tls]\nmode = \"plain-loopback\"\n";
    std::fs::write(folder.join("tradelane.toml"), config).unwrap();
    let (mut process, log) = Process::spawn(folder);
    let (url, _) = process.serving(&log);
    let (world, operator) = furnish(folder, url);
    let world = Arc::new(world);
    let mut load: Vec<_> = (0..PUBLISHERS)
        .map(|publisher| {
            let world = Arc::clone(&world);
            std::thread::spawn(move || publish(&world, publisher))
        })
        .collect();
    let reader = Arc::clone(&world);
    load.push(std::thread::spawn(move || follow(&reader)));
    let (administrator, key) = (Arc::clone(&world), operator.clone());
    load.push(std::thread::spawn(move || administer(&administrator, &key)));

    for round in 0..rounds {
        std::thread::sleep(Duration::from_millis(100 + odd(900)));
        drop(process);
        if round % 4 == 3 {
            // And once more while it starts.
            let (starting, _) = Process::spawn(folder);
            std::thread::sleep(Duration::from_millis(odd(250)));
            drop(starting);
        }
        let (again, log) = Process::spawn(folder);
        process = again;
        let (url, said) = process.serving(&log);
        let recovery: Vec<&str> = said.lines().filter(|line| line.contains(".db") || line.contains("audit")).collect();
        assert!(recovery.len() >= 4, "it says what it found in each of its stores: {said}");
        *world.url.lock().unwrap() = url;
        verify(&world, folder, &operator);
        let alive = load.iter().all(|thread| !thread.is_finished());
        assert!(alive, "round {round}: a user of the hub met what must not be");
    }
    // A last while without a kill: everybody gets on.
    let before = world.known.lock().unwrap().clone();
    let progress = |known: &Acknowledged| (known.published.len() > before.published.len()).then_some(());
    while progress(&world.known.lock().unwrap()).is_none() {
        std::thread::sleep(Duration::from_millis(20));
    }
    world.stopping.store(true, Ordering::Relaxed);
    load.into_iter().for_each(|thread| thread.join().expect("nobody met what must not be"));
    verify(&world, folder, &operator);
    let known = world.known.lock().unwrap().clone();
    eprintln!(
        "{rounds} kills: {} publishes, {} events read, {} organizations, {} grants revoked, {} persons erased, {} retries",
        known.published.len(),
        known.seen.len(),
        known.organizations.len(),
        known.revoked.len(),
        known.erased.len(),
        known.retries
    );
    assert!(known.published.len() > 20 && known.seen.len() > 20 && !known.erased.is_empty() && known.retries > 0);
}
