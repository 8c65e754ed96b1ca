//! The hub's configuration: one TOML file, with environment variables on top. What is not understood is refused, so that
//! a misspelt setting never silently means its default.

mod cluster;
pub(crate) mod kafka;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use toml::Value;
use tradelane_http::{HttpConfig, MetricsFor, Rate, ServerLimits, Transport};
use tradelane_hub::{HubConfig, SystemClock};
use tradelane_kafka::KafkaConfig;

use crate::failure::{Failure, Result};

/// Environment variables of the command line and of the tests around it, which are no settings of the hub.
const CLIENT_VARIABLES: [&str; 9] =
    ["URL", "CA", "KEY", "KEY_FILE", "PROFILE", "CONFIG", "LOG", "REQUIRE_SERVERS", "CI_DIR"];
const PREFIX: &str = "TRADELANE_";

/// All settings. Relative paths are relative to the file's folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// The folder of the stores and the audit log.
    pub(crate) data: PathBuf,
    /// The file of the root key, made if absent; without it all data is lost. Best on another volume than the data.
    pub(crate) root_key: PathBuf,
    /// The hub's URL as partners write it: issuer and audience of access tokens. Empty: made from the address.
    pub(crate) public_url: String,
    /// The audit log's name in its checkpoints. Never changes once the hub has started.
    pub(crate) audit_origin: String,
    pub(crate) listen: Listen,
    pub(crate) kafka: kafka::Kafka,
    pub(crate) cluster: cluster::Cluster,
    pub(crate) tls: Tls,
    pub(crate) storage: Storage,
    pub(crate) retention: Retention,
    pub(crate) limits: Limits,
    pub(crate) rates: Rates,
    pub(crate) log: Log,
    pub(crate) metrics: Metrics,
}

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Listen {
    pub(crate) address: SocketAddr,
}

/// How the hub proves who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum TlsMode {
    /// A certificate of a development authority that the hub makes in its data folder.
    Development,
    /// A certificate of one's own.
    Certificate,
    /// None: loopback only, behind a proxy.
    PlainLoopback,
}

/// TLS.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Tls {
    pub(crate) mode: TlsMode,
    /// PEM, leaf first. For `certificate`.
    pub(crate) certificate: PathBuf,
    /// PEM. For `certificate`.
    pub(crate) key: PathBuf,
    /// Names beyond localhost that a development certificate is for.
    pub(crate) names: Vec<String>,
}

/// Stores.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Storage {
    /// URL of a PostgreSQL database for journal, keys and small state, for more than one node. Empty: SQLite in `data`.
    pub(crate) postgres: String,
    /// Memory for rendered events that further readers of an equal view get for free.
    pub(crate) render_cache_mib: u64,
    /// Seconds by which clocks may differ.
    pub(crate) clock_tolerance_seconds: i64,
}

/// Retention is promised by contracts; this is how often it is carried out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Retention {
    pub(crate) sweep_seconds: u64,
}

/// Limits on size, number and time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Limits {
    pub(crate) connections: usize,
    pub(crate) connections_per_peer: usize,
    pub(crate) event_body_bytes: usize,
    pub(crate) manifest_body_bytes: usize,
    pub(crate) page_events: u32,
    pub(crate) page_bytes: usize,
    pub(crate) streams_per_credential: usize,
    pub(crate) request_seconds: u64,
    pub(crate) longest_wait_seconds: u64,
    pub(crate) heartbeat_seconds: u64,
    pub(crate) drain_seconds: u64,
}

/// Requests a second, and how far ahead of that a caller may be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Rates {
    pub(crate) per_credential: f64,
    pub(crate) per_credential_burst: u32,
    pub(crate) per_organization: f64,
    pub(crate) per_organization_burst: u32,
    pub(crate) per_peer: f64,
    pub(crate) per_peer_burst: u32,
    pub(crate) refusals_per_peer: f64,
    pub(crate) refusals_per_peer_burst: u32,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The log, on stderr.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Log {
    pub(crate) format: LogFormat,
    /// `error`, `warn`, `info`, `debug`, `trace`, or per target: `info,tradelane=debug`.
    pub(crate) level: String,
}

/// Who may read /metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum MetricsReaders {
    /// This machine.
    Loopback,
    /// Whoever reaches the listener.
    Anyone,
}

/// Metrics.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Metrics {
    pub(crate) readers: MetricsReaders,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data: "data".into(),
            root_key: "root.key".into(),
            public_url: String::new(),
            audit_origin: "localhost/tradelane".into(),
            listen: Listen::default(),
            kafka: kafka::Kafka::default(),
            cluster: cluster::Cluster::default(),
            tls: Tls::default(),
            storage: Storage::default(),
            retention: Retention::default(),
            limits: Limits::default(),
            rates: Rates::default(),
            log: Log::default(),
            metrics: Metrics::default(),
        }
    }
}

impl Default for Listen {
    fn default() -> Self {
        Self { address: SocketAddr::from(([127, 0, 0, 1], 7443)) }
    }
}

impl Default for Tls {
    fn default() -> Self {
        Self { mode: TlsMode::Development, certificate: PathBuf::new(), key: PathBuf::new(), names: Vec::new() }
    }
}

impl Default for Storage {
    fn default() -> Self {
        Self { postgres: String::new(), render_cache_mib: 64, clock_tolerance_seconds: 30 }
    }
}

impl Default for Retention {
    fn default() -> Self {
        Self { sweep_seconds: 3_600 }
    }
}

impl Default for Limits {
    fn default() -> Self {
        let own = ServerLimits::default();
        Self {
            connections: own.connections,
            connections_per_peer: own.connections_per_peer,
            event_body_bytes: own.event_body,
            manifest_body_bytes: own.manifest_body,
            page_events: own.page_events,
            page_bytes: own.page_bytes,
            streams_per_credential: own.streams_per_credential,
            request_seconds: own.request.as_secs(),
            longest_wait_seconds: own.longest_wait.as_secs(),
            heartbeat_seconds: own.heartbeat.as_secs(),
            drain_seconds: own.drain.as_secs(),
        }
    }
}

impl Default for Rates {
    fn default() -> Self {
        let own = ServerLimits::default();
        Self {
            per_credential: own.per_credential.per_second,
            per_credential_burst: own.per_credential.burst,
            per_organization: own.per_organization.per_second,
            per_organization_burst: own.per_organization.burst,
            per_peer: own.per_peer.per_second,
            per_peer_burst: own.per_peer.burst,
            refusals_per_peer: own.refusals_per_peer.per_second,
            refusals_per_peer_burst: own.refusals_per_peer.burst,
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".into() }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self { readers: MetricsReaders::Loopback }
    }
}

impl Config {
    /// Reads the file, puts the environment on top, and checks the whole.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Failure::file(path, error).remedy("`tradelane config print-default` prints a file to begin with")
        })?;
        let mut config = Self::read(&text, crate::environment::all()).map_err(|mut failure| {
            failure.message = format!("{}: {}", path.display(), failure.message);
            failure
        })?;
        config.anchor(path.parent().unwrap_or(Path::new(".")));
        config.check()?;
        Ok(config)
    }

    /// The settings that a file's text and these environment variables amount to.
    pub(crate) fn read(text: &str, environment: impl Iterator<Item = (String, String)>) -> Result<Self> {
        let mut table: toml::Table = text
            .parse()
            .map_err(|error: toml::de::Error| Failure::no(not_toml(&error, text)).remedy("correct the file"))?;
        let known = Value::try_from(Self::default()).unwrap_or(Value::Boolean(false));
        for (name, value) in environment {
            let Some(setting) = name.strip_prefix(PREFIX).filter(|rest| !CLIENT_VARIABLES.contains(rest)) else {
                continue;
            };
            override_setting(&mut table, &known, setting, &value)?;
        }
        table.try_into().map_err(|error| {
            Failure::no(no_setting(&error)).remedy("`tradelane config print-default` shows every setting")
        })
    }

    fn anchor(&mut self, folder: &Path) {
        let root = |path: &mut PathBuf| {
            if !path.as_os_str().is_empty() && path.is_relative() {
                *path = folder.join(&*path);
            }
        };
        root(&mut self.data);
        root(&mut self.root_key);
        root(&mut self.tls.certificate);
        root(&mut self.tls.key);
        self.cluster.anchor(root);
    }

    /// What no type can say: settings that do not go together, and values that cannot be meant.
    pub(crate) fn check(&self) -> Result<()> {
        let no = |setting: &str, reason: &str| Err(Failure::no(format!("`{setting}` {reason}")));
        if self.data.as_os_str().is_empty() || self.root_key.as_os_str().is_empty() {
            return no("data", "and `root_key` must be paths");
        }
        if self.root_key.starts_with(&self.data) {
            return no("root_key", "must lie outside `data`: a backup of the data must not hold the key to it");
        }
        let own = self.tls.mode == TlsMode::Certificate;
        if own == self.tls.certificate.as_os_str().is_empty() || own == self.tls.key.as_os_str().is_empty() {
            return no("tls", "needs `certificate` and `key` with mode \"certificate\", and neither with another mode");
        }
        if self.tls.mode == TlsMode::PlainLoopback && !self.listen.address.ip().is_loopback() {
            return no("tls.mode", "is \"plain-loopback\", so `listen.address` must be a loopback address");
        }
        let plain = self.kafka.plain_loopback || self.tls.mode == TlsMode::PlainLoopback;
        if self.kafka.enabled && plain && !self.kafka.address.ip().is_loopback() {
            return no("kafka.address", "must be a loopback address without TLS");
        }
        if self.has_cluster()
            && let Some((setting, reason)) = self.cluster.problem()
        {
            return no(setting, reason);
        }
        if !self.kafka.enabled && self.kafka.engine == kafka::Engine::Kafka {
            return no(
                "kafka.enabled",
                "must be true for `kafka.engine = \"kafka\"`: it is the listener that stands in front of the cluster",
            );
        }
        if !self.storage.postgres.is_empty() && !cfg!(feature = "postgres") {
            return no(
                "storage.postgres",
                "is set, but this build has no PostgreSQL: build with `--features postgres`, or leave it out",
            );
        }
        if !self.public_url.is_empty() && !self.public_url.starts_with("https://") {
            return no("public_url", "must start with https://");
        }
        let positive = [
            ("limits.connections", self.limits.connections),
            ("limits.connections_per_peer", self.limits.connections_per_peer),
            ("limits.event_body_bytes", self.limits.event_body_bytes),
            ("limits.manifest_body_bytes", self.limits.manifest_body_bytes),
            ("limits.page_events", self.limits.page_events as usize),
            ("limits.page_bytes", self.limits.page_bytes),
            ("limits.request_seconds", self.limits.request_seconds as usize),
            ("limits.heartbeat_seconds", self.limits.heartbeat_seconds as usize),
            ("retention.sweep_seconds", self.retention.sweep_seconds as usize),
        ];
        if let Some((setting, _)) = positive.into_iter().chain(self.kafka.positive()).find(|(_, value)| *value == 0) {
            return no(setting, "must be above 0: no limit can be switched off");
        }
        let rates = &self.rates;
        let rates = [rates.per_credential, rates.per_organization, rates.per_peer, rates.refusals_per_peer];
        if rates.iter().any(|rate| !rate.is_finite() || *rate <= 0.0) {
            return no("rates", "must be above 0: no limit can be switched off");
        }
        if !(0..=600).contains(&self.storage.clock_tolerance_seconds) {
            return no("storage.clock_tolerance_seconds", "is 0 to 600");
        }
        if tracing_subscriber::EnvFilter::try_new(&self.log.level).is_err() {
            return no("log.level", "is error, warn, info, debug or trace, or such per target");
        }
        Ok(())
    }

    /// What the hub is told.
    pub(crate) fn hub(&self) -> HubConfig {
        let issuer = if self.public_url.is_empty() {
            format!("https://localhost:{}", self.listen.address.port())
        } else {
            self.public_url.trim_end_matches('/').to_owned()
        };
        HubConfig {
            data: self.data.clone(),
            root_key: self.root_key.clone(),
            origin: self.audit_origin.clone(),
            issuer,
            clock: Arc::new(SystemClock),
            clock_tolerance: self.storage.clock_tolerance_seconds,
            render_cache: self.storage.render_cache_mib << 20,
            postgres: (!self.storage.postgres.is_empty()).then(|| self.storage.postgres.clone()),
        }
    }

    /// Where the development authority is kept.
    pub(crate) fn authority(&self) -> PathBuf {
        self.data.join("tls")
    }

    fn transport(&self) -> Transport {
        match self.tls.mode {
            TlsMode::Development => {
                Transport::Development { directory: self.authority(), names: self.tls.names.clone() }
            }
            TlsMode::Certificate => {
                Transport::Certificate { chain: self.tls.certificate.clone(), key: self.tls.key.clone() }
            }
            TlsMode::PlainLoopback => Transport::PlainLoopback,
        }
    }

    /// Does a cluster of Apache Kafka keep the records?
    pub(crate) fn has_cluster(&self) -> bool {
        self.kafka.enabled && self.kafka.engine == kafka::Engine::Kafka
    }

    /// What the Kafka listener is told; nothing if there is none.
    pub(crate) fn kafka(&self) -> Option<KafkaConfig> {
        self.kafka.listener(self.transport(), Duration::from_secs(self.limits.drain_seconds))
    }

    /// What the listener is told.
    pub(crate) fn http(&self) -> HttpConfig {
        let transport = self.transport();
        let limits = &self.limits;
        let rates = &self.rates;
        let rate = |per_second, burst| Rate { per_second, burst };
        HttpConfig {
            listen: self.listen.address,
            transport,
            limits: ServerLimits {
                connections: limits.connections,
                connections_per_peer: limits.connections_per_peer,
                event_body: limits.event_body_bytes,
                manifest_body: limits.manifest_body_bytes,
                page_events: limits.page_events,
                page_bytes: limits.page_bytes,
                streams_per_credential: limits.streams_per_credential,
                request: Duration::from_secs(limits.request_seconds),
                longest_wait: Duration::from_secs(limits.longest_wait_seconds),
                heartbeat: Duration::from_secs(limits.heartbeat_seconds),
                drain: Duration::from_secs(limits.drain_seconds),
                per_credential: rate(rates.per_credential, rates.per_credential_burst),
                per_organization: rate(rates.per_organization, rates.per_organization_burst),
                per_peer: rate(rates.per_peer, rates.per_peer_burst),
                refusals_per_peer: rate(rates.refusals_per_peer, rates.refusals_per_peer_burst),
                ..ServerLimits::default()
            },
            metrics_for: match self.metrics.readers {
                MetricsReaders::Loopback => MetricsFor::Loopback,
                MetricsReaders::Anyone => MetricsFor::Anyone,
            },
        }
    }

    /// The defaults as a file, each setting with what it means.
    pub(crate) fn default_text() -> &'static str {
        include_str!("../tradelane.default.toml")
    }
}

/// Sets what `LISTEN_ADDRESS` names: the setting `address` of the section `listen`, in that setting's own type.
fn override_setting(table: &mut toml::Table, known: &Value, name: &str, text: &str) -> Result<()> {
    let unknown = || {
        Failure::no(format!("the environment variable {PREFIX}{name} names no setting"))
            .remedy("it is TRADELANE_<SECTION>_<SETTING>; `tradelane config print-default` shows them")
    };
    let wanted = name.to_ascii_lowercase();
    let sections = known.as_table().ok_or_else(unknown)?;
    if let Some(default) = sections.get(&wanted).filter(|value| !value.is_table()) {
        table.insert(wanted, typed(default, name, text)?);
        return Ok(());
    }
    let (section, setting, default) = sections
        .iter()
        .find_map(|(section, value)| {
            let setting = wanted.strip_prefix(section)?.strip_prefix('_')?;
            Some((section, setting, value.as_table()?.get(setting)?))
        })
        .ok_or_else(unknown)?;
    let value = typed(default, name, text)?;
    let entry = table.entry(section.clone()).or_insert_with(|| Value::Table(toml::Table::new()));
    if let Value::Table(entries) = entry {
        entries.insert(setting.to_owned(), value);
    }
    Ok(())
}

fn typed(like: &Value, name: &str, text: &str) -> Result<Value> {
    let wrong = |form: &str| Failure::no(format!("the environment variable {PREFIX}{name} must be {form}"));
    Ok(match like {
        Value::Integer(_) => Value::Integer(text.parse().map_err(|_| wrong("a whole number"))?),
        Value::Float(_) => Value::Float(text.parse().map_err(|_| wrong("a number"))?),
        Value::Boolean(_) => Value::Boolean(text.parse().map_err(|_| wrong("true or false"))?),
        Value::Array(_) => {
            let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
            Value::Array(parts.map(|part| Value::String(part.to_owned())).collect())
        }
        _ => Value::String(text.to_owned()),
    })
}

/// What is wrong with the text, and in which line. The line itself is not repeated: it may hold a database password.
fn not_toml(error: &toml::de::Error, text: &str) -> String {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.bytes().filter(|&b| b == b'\n').count() + 1;
    format!("not TOML: line {line}: {}", error.message().lines().next().unwrap_or_default())
}

/// What is wrong with a setting, and with which: the library says both, on two lines.
fn no_setting(error: &toml::de::Error) -> String {
    error.to_string().lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, environment: &[(&str, &str)]) -> Result<Config> {
        let pairs = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let config = Config::read(text, pairs)?;
        config.check().map(|()| config)
    }

    #[test]
    fn the_printed_default_is_the_default() {
        assert_eq!(read(Config::default_text(), &[]).unwrap(), Config::default());
        assert_eq!(read("", &[]).unwrap(), Config::default());
    }

    #[test]
    fn the_environment_wins_over_the_file_in_the_settings_own_type() {
        let text = "[listen]\naddress = \"127.0.0.1:1\"\n[limits]\npage_events = 5\n";
        let config = read(
            text,
            &[
                ("TRADELANE_LISTEN_ADDRESS", "127.0.0.1:2"),
                ("TRADELANE_DATA", "/srv/hub"),
                ("TRADELANE_RATES_PER_PEER", "12"),
                ("TRADELANE_TLS_NAMES", "hub.example, 10.0.0.1"),
                ("TRADELANE_URL", "https://of-the-client"),
                ("PATH", "/bin"),
            ],
        )
        .unwrap();
        assert_eq!(config.listen.address.port(), 2);
        assert_eq!(config.data, Path::new("/srv/hub"));
        assert_eq!(config.rates.per_peer, 12.0);
        assert_eq!(config.tls.names, ["hub.example", "10.0.0.1"]);
        assert_eq!(config.limits.page_events, 5);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);
        let cases: [Case<'_>; 11] = [
            ("dta = 'x'", &[], "dta"),
            ("[limits]\nconections = 1", &[], "conections"),
            ("[listen]\naddress = 'localhost'", &[], "address"),
            ("[limits]\npage_events = 0", &[], "limits.page_events"),
            ("[rates]\nper_peer = 0.0", &[], "rates"),
            ("[tls]\nmode = 'certificate'", &[], "certificate"),
            ("[tls]\nmode = 'plain-loopback'\n[listen]\naddress = '0.0.0.0:1'", &[], "plain-loopback"),
            ("root_key = 'data/root.key'", &[], "root_key"),
            ("[log]\nlevel = 'tradelane=loud'", &[], "log.level"),
            ("", &[("TRADELANE_LISTEN_ADRESS", "x")], "TRADELANE_LISTEN_ADRESS"),
            ("", &[("TRADELANE_LIMITS_PAGE_EVENTS", "many")], "whole number"),
        ];
        for (text, environment, named) in cases {
            let failure = read(text, environment).unwrap_err();
            assert!(failure.to_string().contains(named), "{failure} should name {named}");
        }
    }

    #[cfg(not(feature = "postgres"))]
    #[test]
    fn a_build_without_postgresql_says_so_and_not_the_password() {
        let failure = read("[storage]\npostgres = 'postgres://u:hunter2@db/x'", &[]).unwrap_err().to_string();
        assert!(failure.contains("--features postgres") && !failure.contains("hunter2"), "{failure}");
        let failure = read("storage.postgres = 'postgres://u:hunter2@db/x'\nstorage.postgres = 5", &[]).unwrap_err();
        assert!(!failure.to_string().contains("hunter2"), "{failure}");
    }
}
