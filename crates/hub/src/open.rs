//! Opening a hub: stores, keys, audit log, and the model as the journal tells it. And the very first operator.

use std::collections::HashMap;
use std::io::Read;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use quick_cache::sync::Cache;
use tradelane_audit::{AuditLog, Leaf, Outcome, Signer, Word};
use tradelane_keys::{
    AccessClaims, AtRest, CredentialText, MacKey, RootKey, SecretBytes, SigningKey, TokenIssuer, TokenVerifier,
    random_array,
};
use tradelane_model::journal::{Change, Entry};
use tradelane_model::organization::{CredentialKind, PrincipalKind};
use tradelane_model::{Model, OrgId, Organization, Principal, PrincipalId, ProductId, Role, Timestamp, codes};
use tradelane_storage::sqlite::{LogOptions, SqliteControl, SqliteKeys, SqliteLog};
use tradelane_storage::{EventLog, Journal, KeyStore, Put, StreamId};

use crate::authenticate::to_hex;
use crate::authorize::Authority;
use crate::clock::Clock;
use crate::compact::Cleaned;
use crate::control::{SharedModel, replay};
use crate::elsewhere::ClusterLog;
use crate::error::{HubError, Result};
use crate::evolve::{Noted, Versions};
use crate::health::Counters;
use crate::keyring::Keyring;
use crate::native::Meanings;
use crate::publish::InFlight;
use crate::publish::sealing::Cores;
use crate::read::RenderCache;
use crate::state::{Space, Spaces};
use crate::topics::TopicIds;
use crate::views::Views;

/// The organization of those who run the hub.
const HUB_ORG: &str = "hub";
/// The first principal there is.
const FIRST_OPERATOR: &str = "hub.operator";
/// How often a hub whose journal is shared looks for other nodes' changes.
const FOLLOW: Duration = Duration::from_millis(500);

/// Where a hub keeps things and what it calls itself.
#[derive(Clone)]
pub struct HubConfig {
    /// The folder of the stores and the audit log.
    pub data: PathBuf,
    /// The file of the root key, made if absent. Better on another volume than the data.
    pub root_key: PathBuf,
    /// The name of the audit log, as in its checkpoints: a host name and path of one's own, `hub.example/audit`.
    pub origin: String,
    /// The issuer and audience of access tokens: the hub's public URL.
    pub issuer: String,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// Seconds by which clocks may differ.
    pub clock_tolerance: i64,
    /// Bytes of rendered events that are kept for further readers of equal views.
    pub render_cache: u64,
    /// A PostgreSQL URL for journal, keys and keyed state, when there is more than one node.
    pub postgres: Option<String>,
}

/// What opening did, for the operator: one sentence per store.
#[derive(Debug, Clone)]
pub struct Opened {
    /// What each store found and did.
    pub recovered: Vec<String>,
    /// Is this the first start?
    pub is_new: bool,
}

/// A hub that is being opened.
pub(crate) type Opening = Pin<Box<dyn Future<Output = Result<(Hub, Opened)>> + Send>>;

/// The stores below.
pub(crate) struct Stores {
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) state: Spaces,
}

pub(crate) struct Inner {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) clock_tolerance: i64,
    pub(crate) issuer: String,
    pub(crate) model: RwLock<SharedModel>,
    pub(crate) changing: tokio::sync::Mutex<()>,
    /// Do other nodes write to the journal?
    pub(crate) has_others: bool,
    /// How often the journal was begun to be read after the start, unless in vain.
    pub(crate) heard: AtomicU64,
    pub(crate) stores: Stores,
    /// Keeps the events, if it is not the log.
    pub(crate) cluster: Option<Arc<dyn ClusterLog>>,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) in_flight: InFlight,
    pub(crate) cores: Cores,
    pub(crate) audit: AuditLog,
    pub(crate) authority: Authority,
    pub(crate) views: Views,
    pub(crate) meanings: Meanings,
    pub(crate) versions: Versions,
    pub(crate) noted: Noted,
    pub(crate) rendered: RenderCache,
    pub(crate) cleaned: Mutex<HashMap<StreamId, Cleaned>>,
    pub(crate) token_issuer: TokenIssuer,
    pub(crate) token_verifier: TokenVerifier,
    pub(crate) tokens_seen: Cache<[u8; 32], Arc<AccessClaims>>,
    /// Digests of what is sent, so that stored digests say nothing without it.
    pub(crate) dedup_key: MacKey,
    pub(crate) topic_ids: TopicIds,
    pub(crate) counters: Counters,
}

/// A hub. Cloning shares it.
#[derive(Clone)]
pub struct Hub(Arc<Inner>);

/// A hub that may be closed by now.
pub(crate) struct WeakHub(std::sync::Weak<Inner>);

impl WeakHub {
    pub(crate) fn upgrade(&self) -> Option<Hub> {
        self.0.upgrade().map(Hub)
    }
}

impl Hub {
    /// Opens the hub in its folder, or begins one. Recovers by itself from whatever stopped the last process.
    pub async fn open(config: HubConfig) -> Result<(Self, Opened)> {
        Self::open_with(config, None).await
    }

    /// Boxed, so that all of it is compiled here and not once more where a hub is opened.
    pub(crate) fn open_with(config: HubConfig, cluster: Option<Arc<dyn ClusterLog>>) -> Opening {
        Box::pin(Self::begin(config, cluster))
    }

    async fn begin(config: HubConfig, cluster: Option<Arc<dyn ClusterLog>>) -> Result<(Self, Opened)> {
        std::fs::create_dir_all(&config.data).map_err(|error| unusable(&config.data, error))?;
        let (root, is_new) = RootKey::load_or_create(&config.root_key)
            .map_err(|error| HubError::new(codes::KEYS_UNAVAILABLE, "The root key cannot be used.").because(error))?;
        let mut recovered = Vec::new();
        let (stores, key_store) = open_stores(&config, &root, &mut recovered).await?;
        let keyring = Arc::new(Keyring::new(key_store, root, stores.state.dictionaries.clone()));
        let now = config.clock.now();
        let signing = |seed: SecretBytes<32>| SigningKey::from_seed(&seed);
        let signer = Signer::new(&config.origin, signing(keyring.named_secret("audit-signer", now).await?));
        let signer = signer.ok_or_else(|| HubError::new(codes::BAD_PARAMETER, "The audit log's name is no origin."))?;
        if config.postgres.is_some() {
            claim_origin(&config, &stores.state.audit_origins, now).await?;
        }
        let audit_key = AtRest::new(&keyring.derive(&[b"at-rest", b"audit"]));
        let (audit, recovery) = AuditLog::open(&config.data.join("audit"), signer, audit_key)
            .map_err(|error| HubError::of(error.code()).because(error))?;
        recovered.push(recovery.to_string());
        let token_key = signing(keyring.named_secret("token-signer", now).await?);
        let (model, _) = replay(stores.journal.as_ref(), Model::default()).await?;
        let authority = Authority::new(&model)?;
        let verifier =
            TokenVerifier::new(&config.issuer, &config.issuer, &[token_key.public_key()], config.clock_tolerance);
        let inner = Inner {
            clock: config.clock,
            clock_tolerance: config.clock_tolerance,
            model: RwLock::new(Arc::new(model)),
            changing: tokio::sync::Mutex::new(()),
            has_others: config.postgres.is_some(),
            heard: AtomicU64::new(0),
            stores,
            cluster,
            topic_ids: TopicIds::new(&keyring),
            dedup_key: MacKey::new(keyring.derive(&[b"dedup"]).expose()),
            keyring,
            in_flight: InFlight::default(),
            cores: Cores::new(),
            audit,
            authority,
            views: Views::default(),
            meanings: Meanings::default(),
            versions: Versions::default(),
            noted: Noted::default(),
            rendered: RenderCache::new(config.render_cache),
            token_issuer: TokenIssuer::new(&token_key, &*config.issuer, &*config.issuer),
            token_verifier: verifier,
            cleaned: Mutex::default(),
            tokens_seen: Cache::new(10_000),
            issuer: config.issuer,
            counters: Counters::default(),
        };
        let hub = Self(Arc::new(inner));
        let operator = FIRST_OPERATOR.parse().map_err(|error| HubError::of(codes::INTERNAL).because(error))?;
        let finished = hub.finish_erasures(&operator).await?;
        if finished > 0 {
            recovered.push(format!("erasures: finished {finished} that a crash had interrupted"));
        }
        if config.postgres.is_some() {
            hub.follow_journal();
        }
        Ok((hub, Opened { recovered, is_new }))
    }

    /// Makes the first operator of a hub that has none yet, and its API key. The key is shown this once.
    pub async fn bootstrap(&self) -> Result<Option<CredentialText>> {
        if self.model().seq > 0 {
            return Ok(None);
        }
        let internal = |error| HubError::of(codes::INTERNAL).because(error);
        let organization: OrgId = HUB_ORG.parse().map_err(internal)?;
        let principal: PrincipalId = FIRST_OPERATOR.parse().map_err(internal)?;
        let lifetime = 366 * 86_400;
        let (credential, text) = self.make_credential(&principal, CredentialKind::ApiKey, lifetime)?;
        let leaf = Leaf::new(self.now(), organization.clone(), Word::literal("bootstrap"), Outcome::Allowed);
        let decide = |model: &Model, _: Timestamp| {
            if model.seq > 0 {
                return Err(HubError::of(codes::CONFLICT));
            }
            let changes = vec![
                Change::OrganizationPut(Organization {
                    id: organization.clone(),
                    name: "Operators of this hub".into(),
                    attributes: Default::default(),
                    suspended: false,
                }),
                Change::PrincipalPut(Principal {
                    id: principal.clone(),
                    organization: organization.clone(),
                    kind: PrincipalKind::User,
                    roles: [Role::Operator, Role::Admin, Role::Auditor].into(),
                    attributes: Default::default(),
                    suspended: false,
                }),
                Change::CredentialIssued(credential.clone()),
            ];
            Ok((changes, ()))
        };
        self.change(&principal, leaf, decide).await?;
        Ok(Some(text))
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.0
    }

    /// Now, by the hub's clock.
    pub fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// The control plane as it is now. The value never changes; ask again for what came later.
    pub(crate) fn model(&self) -> SharedModel {
        self.0.model.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn owner_of(&self, product: &ProductId) -> Option<OrgId> {
        self.model().products.get(product).map(|product| product.owner.clone())
    }

    /// Puts the next model in place and moves the epochs of all that changed, so that every permit which depends on
    /// it is asked for anew.
    pub(crate) fn publish_model(&self, after: Model, entries: &[Entry]) {
        let after = Arc::new(after);
        *self.0.model.write().unwrap_or_else(PoisonError::into_inner) = after.clone();
        // Compiled views go before the permits end: a reader that is made anew must not find an old view.
        self.0.views.forget(&after, entries);
        self.0.authority.moved(&after, entries);
        let any = |is: fn(&Change) -> bool| entries.iter().any(|entry| is(&entry.change));
        if any(|change| matches!(change, Change::SubjectErased { .. })) {
            self.0.keyring.forget_data_keys();
            self.0.rendered.clear();
        }
        // A product of the same name begins at offset 0 again.
        if any(|change| matches!(change, Change::ProductDeleted(_))) {
            self.0.rendered.clear();
        }
    }

    /// A reference that does not keep the hub open.
    pub(crate) fn downgrade(&self) -> WeakHub {
        WeakHub(Arc::downgrade(&self.0))
    }

    fn follow_journal(&self) {
        let weak = self.downgrade();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(FOLLOW).await;
                let Some(hub) = weak.upgrade() else { return };
                if let Err(error) = hub.catch_up().await {
                    tracing::warn!(code = %error.code, cause = error.cause, "the journal cannot be followed");
                }
            }
        });
    }
}

async fn open_stores(
    config: &HubConfig,
    root: &RootKey,
    recovered: &mut Vec<String>,
) -> Result<(Stores, Arc<dyn KeyStore>)> {
    let log_key = root.derive(&[b"at-rest", b"log"]);
    let log = SqliteLog::open(&config.data.join("log.db"), &log_key, &LogOptions::default())?;
    recovered.push(log.recovery().to_string());
    let control_key = root.derive(&[b"at-rest", b"control"]);
    let keys_key = root.derive(&[b"at-rest", b"keys"]);
    if let Some(url) = &config.postgres {
        return open_postgres(url, log, &control_key, &keys_key, recovered).await;
    }
    let control = Arc::new(SqliteControl::open(&config.data.join("control.db"), &control_key)?);
    recovered.push(control.recovery().to_string());
    let keys = SqliteKeys::open(&config.data.join("keys.db"), &keys_key)?;
    recovered.push(keys.recovery().to_string());
    let state = Spaces::new(control.clone());
    Ok((Stores { log: Arc::new(log), journal: control, state }, Arc::new(keys)))
}

#[cfg(feature = "postgres")]
async fn open_postgres(
    url: &str,
    log: SqliteLog,
    control_key: &SecretBytes<32>,
    keys_key: &SecretBytes<32>,
    recovered: &mut Vec<String>,
) -> Result<(Stores, Arc<dyn KeyStore>)> {
    use tradelane_storage::postgres::{PgControl, PgKeys};
    let control = Arc::new(PgControl::open(url, control_key).await?);
    recovered.push(control.recovery().to_string());
    let keys = PgKeys::open(url, keys_key).await?;
    recovered.push(keys.recovery().to_string());
    let state = Spaces::new(control.clone());
    Ok((Stores { log: Arc::new(log), journal: control, state }, Arc::new(keys)))
}

#[cfg(not(feature = "postgres"))]
async fn open_postgres(
    _url: &str,
    _log: SqliteLog,
    _control_key: &SecretBytes<32>,
    _keys_key: &SecretBytes<32>,
    _recovered: &mut Vec<String>,
) -> Result<(Stores, Arc<dyn KeyStore>)> {
    let detail = "This build has no PostgreSQL: build with the feature `postgres`, or leave the setting out.";
    Err(HubError::new(codes::BAD_PARAMETER, detail))
}

/// Nodes that share a database each keep an audit log of their own. Two under one name would contradict each other, and
/// to a partner that is what a forged log looks like.
async fn claim_origin(config: &HubConfig, origins: &Space, now: Timestamp) -> Result<()> {
    let file = config.data.join("node.id");
    if !file.exists() {
        let id: [u8; 16] = random_array();
        std::fs::write(&file, to_hex(&id)).map_err(|error| unusable(&file, error))?;
    }
    let mut id = Vec::new();
    let read = std::fs::File::open(&file).and_then(|file| file.take(64).read_to_end(&mut id));
    read.map_err(|error| unusable(&file, error))?;
    let claim = origins.put_if_absent(config.origin.as_bytes(), Bytes::from(id.clone()), Timestamp::MAX, now);
    match claim.await? {
        Put::Stored(_) => Ok(()),
        Put::Exists(entry) if *entry.value == *id => Ok(()),
        Put::Exists(_) => {
            let detail =
                "Another node keeps its audit log under this name; give each node an `audit_origin` of its own.";
            Err(HubError::new(codes::BAD_PARAMETER, detail))
        }
    }
}

fn unusable(path: &std::path::Path, error: std::io::Error) -> HubError {
    HubError::of(codes::STORAGE_UNAVAILABLE).because(format!("{}: {error}", path.display()))
}
