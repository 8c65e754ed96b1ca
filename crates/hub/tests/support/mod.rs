//! A hub in a folder of its own, with an operator, an owner and two partners.
#![allow(dead_code, unreachable_pub, missing_docs)] // every test file uses a part of it

pub mod records;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tradelane_hub::publish::{Body, Publish};
use tradelane_hub::{Caller, Clock, ClusterLog, From, Hub, HubConfig, NewCredential, Presented, ReadLimits};
use tradelane_keys::RootKey;
use tradelane_model::organization::CredentialKind;
use tradelane_model::{ProductId, Timestamp};
use tradelane_storage::KeyedState;
use tradelane_storage::sqlite::SqliteControl;

/// A clock that the test moves.
pub struct TestClock(AtomicI64);

impl TestClock {
    pub fn pass(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        // Every look is a little later, so that no two things happen at once.
        Timestamp(self.0.fetch_add(1, Ordering::SeqCst))
    }
}

pub struct World {
    pub hub: Hub,
    pub clock: Arc<TestClock>,
    pub dir: tempfile::TempDir,
    pub operator: Caller,
    pub owner: Caller,
    pub publisher: Caller,
    pub privacy: Caller,
    pub auditor: Caller,
    pub near: Caller,
    pub far: Caller,
    pub near_key: String,
    pub owner_key: String,
    pub publisher_key: String,
    pub operator_key: String,
}

pub const NETWORK: &str = r#"
apiVersion: tradelane/v1
kind: Organization
spec: {id: acme, name: Acme}
---
apiVersion: tradelane/v1
kind: Organization
spec: {id: near, name: Near}
---
apiVersion: tradelane/v1
kind: Organization
spec: {id: far, name: Far}
---
apiVersion: tradelane/v1
kind: Principal
spec: {id: acme.owner, organization: acme, kind: user, roles: [admin, data-owner]}
---
apiVersion: tradelane/v1
kind: Principal
spec: {id: acme.wms, organization: acme, roles: [publisher]}
---
apiVersion: tradelane/v1
kind: Principal
spec: {id: acme.dpo, organization: acme, kind: user, roles: [privacy]}
---
apiVersion: tradelane/v1
kind: Principal
spec: {id: acme.audit, organization: acme, kind: user, roles: [auditor]}
---
apiVersion: tradelane/v1
kind: Principal
spec: {id: near.app, organization: near, roles: [consumer, auditor]}
---
apiVersion: tradelane/v1
kind: Principal
spec: {id: far.app, organization: far, roles: [consumer]}
"#;

pub const CONTRACT: &str = r#"
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
      - {name: sku, logicalType: string, required: true, classification: public}
      - {name: qty, logicalType: integer, required: true, classification: internal}
      - {name: price, logicalType: number, classification: confidential}
      - name: customer
        logicalType: object
        classification: pii
        customProperties: [{property: subject, value: /customer/email}]
        properties:
          - {name: email, logicalType: string, required: true}
          - {name: name, logicalType: string}
    quality:
      - {type: custom, engine: cel, name: some-quantity, severity: error, implementation: "event.qty > 0"}
slaProperties:
  - {property: retention, value: 30, unit: d}
customProperties:
  - {property: tradelane, value: {purposes: [replenishment, claims]}}
"#;

pub const PRODUCT: &str = r#"
apiVersion: tradelane/v1
kind: Product
spec: {id: acme-orders, owner: acme, name: Orders, contract: acme-orders, discoverable: true}
---
apiVersion: tradelane/v1
kind: Grant
spec:
  id: near-orders
  product: acme-orders
  consumer: near
  purpose: replenishment
  view: {classes: {pii: pseudonym}}
  filter: event.sku in reader.skus
  attributes: {skus: [A, B]}
---
apiVersion: tradelane/v1
kind: Grant
spec:
  id: far-orders
  product: acme-orders
  consumer: far
  purpose: claims
  view: {classes: {pii: pseudonym, confidential: reveal}}
"#;

pub fn product() -> ProductId {
    "acme-orders".parse().unwrap()
}

impl World {
    pub async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        #[cfg(feature = "postgres")]
        postgres::choose(&dir);
        Self::begin(dir, None).await
    }

    /// With the audit log in a folder of its own.
    pub async fn with_audit_at(folder: &std::path::Path) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("data")).unwrap();
        std::os::unix::fs::symlink(folder, dir.path().join("data/audit")).unwrap();
        Self::begin(dir, None).await
    }

    /// With journal, keys and small state in that PostgreSQL database.
    pub async fn on_database(url: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(DATABASE), url).unwrap();
        Self::begin(dir, None).await
    }

    /// In front of a cluster.
    pub async fn before(cluster: Arc<dyn ClusterLog>) -> Self {
        Self::begin(tempfile::tempdir().unwrap(), Some(cluster)).await
    }

    /// With its files in a folder in which a test may have put something before.
    pub async fn begin(dir: tempfile::TempDir, cluster: Option<Arc<dyn ClusterLog>>) -> Self {
        let clock = Arc::new(TestClock(AtomicI64::new(1_800_000_000_000_000)));
        let (hub, _) = match cluster {
            None => Hub::open(config(&dir, &clock)).await.unwrap(),
            Some(cluster) => Hub::open_before_cluster(config(&dir, &clock), cluster).await.unwrap(),
        };
        let key = hub.bootstrap().await.unwrap().unwrap();
        let operator = hub.authenticate(Presented::ApiKey(key.expose())).unwrap();
        hub.apply(&operator, &[("network.yaml".into(), NETWORK.into())], false).await.unwrap();
        let (owner, owner_key) = issue(&hub, &operator, "acme.owner").await;
        let (publisher, publisher_key) = issue(&hub, &operator, "acme.wms").await;
        let (privacy, _) = issue(&hub, &operator, "acme.dpo").await;
        let (auditor, _) = issue(&hub, &operator, "acme.audit").await;
        let (near, near_key) = issue(&hub, &operator, "near.app").await;
        let (far, _) = issue(&hub, &operator, "far.app").await;
        let files = [("contract.yaml".into(), CONTRACT.into()), ("product.yaml".into(), PRODUCT.into())];
        hub.apply(&owner, &files, false).await.unwrap();
        let operator_key = key.expose().to_owned();
        Self {
            hub,
            clock,
            dir,
            operator,
            owner,
            publisher,
            privacy,
            auditor,
            near,
            far,
            near_key,
            owner_key,
            publisher_key,
            operator_key,
        }
    }

    pub async fn publish(&self, text: &str) -> tradelane_hub::Result<u64> {
        let body = Body::Lines(text.to_owned().into());
        let request =
            Publish { product: product(), body, idempotency_key: None, proceed: false, partition: None, version: None };
        self.hub.publish(&self.publisher, request).await.map(|published| published.value().only().unwrap().offset)
    }

    /// Everything that a caller reads, line by line.
    pub async fn read(&self, caller: &Caller) -> tradelane_hub::Result<Vec<serde_json::Value>> {
        let reader = self.hub.reader(caller, &product(), None).await?;
        let page = self.hub.read(&reader, From::Earliest, limits(Duration::ZERO)).await?;
        let lines: Vec<u8> = page.value().chunks.iter().flat_map(|chunk| chunk.lines().to_vec()).collect();
        let text = String::from_utf8(lines).unwrap();
        Ok(text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["event"].clone()).collect())
    }
}

pub fn config(dir: &tempfile::TempDir, clock: &Arc<TestClock>) -> HubConfig {
    HubConfig {
        data: dir.path().join("data"),
        root_key: dir.path().join("root.key"),
        origin: "hub.test/audit".into(),
        issuer: "https://hub.test".into(),
        clock: clock.clone(),
        clock_tolerance: 5,
        render_cache: 8 << 20,
        postgres: std::fs::read_to_string(dir.path().join(DATABASE)).ok(),
    }
}

/// The small state of a hub that is closed, as it is stored.
pub async fn keyed_state(dir: &tempfile::TempDir) -> Arc<dyn KeyedState> {
    let (root, _) = RootKey::load_or_create(&dir.path().join("root.key")).unwrap();
    let key = root.derive(&[b"at-rest", b"control"]);
    #[cfg(feature = "postgres")]
    if let Ok(url) = std::fs::read_to_string(dir.path().join(DATABASE)) {
        return Arc::new(tradelane_storage::postgres::PgControl::open(&url, &key).await.unwrap());
    }
    loop {
        // The last tasks of the hub give its files up.
        match SqliteControl::open(&dir.path().join("data/control.db"), &key) {
            Ok(control) => return Arc::new(control),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// In a hub's folder: where its PostgreSQL database is, if it has one.
pub const DATABASE: &str = "database.url";

/// PostgreSQL under the tests that ask for it, one throw-away cluster per test program.
#[cfg(feature = "postgres")]
pub mod postgres {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    use tradelane_testkit::PostgresCluster;

    /// An empty database; none where PostgreSQL is not installed.
    pub fn database() -> Option<String> {
        static CLUSTER: OnceLock<Option<PostgresCluster>> = OnceLock::new();
        static DATABASES: AtomicU32 = AtomicU32::new(0);
        let cluster = CLUSTER.get_or_init(PostgresCluster::start).as_ref()?;
        Some(cluster.create_database(&format!("hub{}", DATABASES.fetch_add(1, Ordering::Relaxed))))
    }

    /// Tests that `tests/postgres.rs` takes over from other files run on PostgreSQL there; where this module lies tells.
    pub(super) fn choose(dir: &tempfile::TempDir) {
        if module_path!().starts_with("postgres::")
            && let Some(url) = database()
        {
            std::fs::write(dir.path().join(super::DATABASE), url).unwrap();
        }
    }
}

pub fn limits(wait: Duration) -> ReadLimits {
    ReadLimits { max_events: 10_000, max_bytes: 8 << 20, wait }
}

async fn issue(hub: &Hub, by: &Caller, principal: &str) -> (Caller, String) {
    let new = NewCredential {
        principal: principal.parse().unwrap(),
        kind: CredentialKind::ApiKey,
        lifetime_seconds: 90 * 86_400,
        replaces: None,
        overlap_seconds: 0,
    };
    let issued = hub.issue_credential(by, new).await.unwrap();
    let text = issued.value().text.expose().to_owned();
    (hub.authenticate(Presented::ApiKey(&text)).unwrap(), text)
}
