//! The servers that are measured: this program again, as a hub and as its peer, each a process whose processor time the
//! system counts.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::wire::Wire;
use crate::bench::documents::{network, people};
use crate::failure::{Failure, Result};
use tradelane_model::Compression;
use tradelane_seal::bench_docs::{self, Size, schema_like};

/// What the bench's product is called.
pub(super) const PRODUCT: &str = "bench-shipments";

/// A server in a process of its own, which ends with this value.
pub(super) struct Server {
    process: Child,
    pub(super) url: String,
    ticks: f64,
}

fn broken(error: impl std::fmt::Display) -> Failure {
    Failure::failed(format!("the benchmark's servers: {error}"))
}

impl Server {
    /// Runs this program with these arguments; it must say its URL as JSON in its first line.
    fn start(arguments: &[&str], core: Option<&str>) -> Result<Self> {
        let own = std::env::current_exe().map_err(broken)?;
        let mut command = match core {
            None => Command::new(own),
            Some(core) => {
                let mut pinned = Command::new("taskset");
                pinned.args(["-c", core]).arg(own);
                pinned
            }
        };
        let process = command.arg("--json").args(arguments).env_clear().stdout(Stdio::piped()).spawn();
        let mut server = Self { process: process.map_err(broken)?, url: String::new(), ticks: ticks_a_second() };
        let mut line = String::new();
        let out = server.process.stdout.take().ok_or_else(|| broken("no output"))?;
        BufReader::new(out).read_line(&mut line).map_err(broken)?;
        let said: Value = serde_json::from_str(&line).map_err(|_| broken("one of them did not start"))?;
        said["url"].as_str().ok_or_else(|| broken("no URL"))?.clone_into(&mut server.url);
        Ok(server)
    }

    /// The server that does what a plain service does.
    pub(super) fn peer(folder: &Path, core: Option<&str>) -> Result<Self> {
        fs::create_dir_all(folder).map_err(broken)?;
        Self::start(&["bench", "peer", &folder.display().to_string()], core)
    }

    /// Seconds of processor time that it has used, of all its threads, in and out of the kernel.
    pub(super) fn cpu(&self) -> Result<f64> {
        let path = format!("/proc/{}/stat", self.process.id());
        let text = fs::read_to_string(path).map_err(broken)?;
        // The name, in brackets, may hold anything.
        let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let field = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok());
        let (user, system) = (field(11).ok_or_else(|| broken("no times"))?, field(12).unwrap_or(0.0));
        Ok((user + system) / self.ticks)
    }

    pub(super) fn connect(&self, key: Option<&str>) -> Result<Wire> {
        Wire::connect(&self.url, key)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn ticks_a_second() -> f64 {
    let asked = Command::new("getconf").arg("CLK_TCK").output().ok();
    let text = asked.and_then(|output| String::from_utf8(output.stdout).ok());
    text.and_then(|text| text.trim().parse().ok()).unwrap_or(100.0)
}

/// How a hub is to be.
#[derive(Clone, Copy)]
pub(super) struct Settings<'a> {
    /// How many partners read.
    pub(super) readers: usize,
    /// The cache of rendered batches, in MiB.
    pub(super) cache: u64,
    /// The core that it runs on.
    pub(super) core: Option<&'a str>,
    /// The cluster that keeps its events, if it does not itself.
    pub(super) cluster: Option<&'a str>,
    /// How events are packed.
    pub(super) compression: Compression,
}

impl Settings<'_> {
    fn file(self, folder: &Path) -> String {
        // The rates are not what is measured.
        let own = format!(
            "[listen]\naddress = \"127.0.0.1:0\"\n[tls]\nmode = \"plain-loopback\"\n[log]\nlevel = \"warn\"\n\
             [storage]\nrender_cache_mib = {}\n[rates]\nper_credential = 100000.0\nper_organization = 100000.0\n",
            self.cache
        );
        let Some(bootstrap) = self.cluster else { return own };
        // Each hub has topics of its own.
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let prefix = format!("bench-{}-{name}.", std::process::id());
        format!(
            "{own}[kafka]\nenabled = true\nengine = \"kafka\"\naddress = \"127.0.0.1:0\"\nplain_loopback = true\n\
             [cluster]\nbootstrap = [{bootstrap:?}]\ntopic_prefix = {prefix:?}\n"
        )
    }
}

/// A hub with the bench's product, its publisher's key and its readers' keys.
pub(super) struct Hub {
    pub(super) server: Server,
    pub(super) publisher: String,
    pub(super) readers: Vec<String>,
}

impl Hub {
    /// A new hub in that folder.
    pub(super) fn start(folder: &Path, settings: Settings<'_>) -> Result<Self> {
        fs::create_dir_all(folder).map_err(broken)?;
        let config = folder.join("tradelane.toml");
        fs::write(&config, settings.file(folder)).map_err(broken)?;
        let key_file = folder.join("operator.key");
        let (config, key) = (config.display().to_string(), key_file.display().to_string());
        let server = Server::start(&["serve", "-c", &config, "--operator-key-file", &key], settings.core)?;
        let operator = fs::read_to_string(&key_file).map_err(broken)?.trim().to_owned();
        let mut hub = Self { server, publisher: String::new(), readers: Vec::new() };
        hub.furnish(&operator, settings)?;
        Ok(hub)
    }

    fn furnish(&mut self, operator: &str, settings: Settings<'_>) -> Result<()> {
        let readers = settings.readers;
        let mut wire = self.server.connect(Some(operator))?;
        apply(&mut wire, &people(readers))?;
        self.publisher = key(&mut wire, "bench.owner")?;
        for n in 0..readers {
            self.readers.push(key(&mut wire, &format!("partner-{n}.app"))?);
        }
        let sample = serde_json::from_slice(&bench_docs::document(0, Size::Small, 0)).map_err(broken)?;
        let files = network(&bench_docs::shape(0, false), &schema_like(&sample), readers, settings.compression);
        apply(&mut self.server.connect(Some(&self.publisher))?, &files)
    }
}

fn apply(wire: &mut Wire, files: &[(String, String)]) -> Result<()> {
    let files: Vec<Value> = files.iter().map(|(name, text)| json!({"name": name, "text": text})).collect();
    send(wire, "/v1/apply", &json!({ "files": files })).map(drop)
}

fn key(wire: &mut Wire, principal: &str) -> Result<String> {
    let issued = send(
        wire,
        &format!("/v1/principals/{principal}/credentials"),
        &json!({"kind": "api-key", "lifetimeSeconds": 86_400}),
    )?;
    issued["secret"].as_str().map(str::to_owned).ok_or_else(|| broken("no key"))
}

fn send(wire: &mut Wire, path: &str, body: &Value) -> Result<Value> {
    let answer = wire.ask("POST", path, "application/json", body.to_string().as_bytes())?;
    if answer.status >= 300 {
        return Err(broken(String::from_utf8_lossy(wire.body())));
    }
    serde_json::from_slice(wire.body()).map_err(broken)
}
