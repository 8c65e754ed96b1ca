//! Keys while they are in use: log keys under which events are sealed at rest, and data keys of subjects and products.
//!
//! Every key is random, is kept in the key store wrapped under the root key and bound to its scope, and is cached
//! here. A destroyed key is remembered as destroyed, so that nothing decrypts with a copy that outlived it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use bytes::Bytes;
use quick_cache::sync::Cache;
use tradelane_keys::{AeadKey, RootKey, SecretBytes, random_array};
use tradelane_model::{OrgId, ProductId, Timestamp, codes};
use tradelane_seal::{
    DataKey, DataKeyState, Dictionary, Header, LogKey, OpeningKeys, ProductContext, SealingKeys, SubjectTag,
    SubjectTagger,
};
use tradelane_storage::key_store::SINGLETON;
use tradelane_storage::{KeyRecord, KeyRef, KeyState, KeyStore, NewKey};

use crate::dictionaries::Dictionaries;
use crate::error::{HubError, Result};
use crate::state::Space;

/// Uses of one log key before the next is drawn: a tenth of what AES-GCM bears with nonces that never repeat.
const LOG_KEY_USES: u64 = 1 << 28;

pub(crate) struct Keyring {
    store: Arc<dyn KeyStore>,
    root: RootKey,
    by_tag: Cache<(Arc<str>, [u8; 32]), Arc<DataKey>>,
    by_id: Cache<u64, DataKeyState>,
    log_keys: Cache<u64, Arc<AeadKey>>,
    sealing: Cache<ProductId, Arc<LogKey>>,
    pub(crate) dictionaries: Arc<Dictionaries>,
    /// Moves whenever data keys are destroyed or forgotten, together with the caches above: what was fetched before may
    /// not be kept after.
    generation: RwLock<u64>,
}

impl Keyring {
    pub(crate) fn new(store: Arc<dyn KeyStore>, root: RootKey, dictionaries: Space) -> Self {
        Self {
            store,
            root,
            dictionaries: Arc::new(Dictionaries::new(dictionaries)),
            by_tag: Cache::new(100_000),
            by_id: Cache::new(200_000),
            log_keys: Cache::new(10_000),
            sealing: Cache::new(10_000),
            generation: RwLock::default(),
        }
    }

    /// A key that follows from the root key and a purpose: index keys, pseudonym keys, at-rest keys.
    pub(crate) fn derive(&self, purpose: &[&[u8]]) -> SecretBytes<32> {
        self.root.derive(purpose)
    }

    /// What turns identities of an organization's subjects into tags.
    pub(crate) fn tagger(&self, org: &OrgId) -> SubjectTagger {
        SubjectTagger::new(&self.derive(&[b"subjects", org.as_str().as_bytes()]))
    }

    fn new_key(&self, scope: &str, tag: [u8; 32], created: Timestamp) -> (NewKey, SecretBytes<32>) {
        let key = SecretBytes::<32>::random();
        let wrapped = Bytes::from(self.root.wrap(scope.as_bytes(), &key));
        let record = KeyRecord { id: new_key_id(), wrapped, created };
        (NewKey { scope: scope.to_owned(), tag, record }, key)
    }

    fn unwrap(&self, scope: &str, record: &KeyRecord) -> Result<SecretBytes<32>> {
        let key = self.root.unwrap(scope.as_bytes(), &record.wrapped);
        key.map_err(|_| HubError::of(codes::KEYS_UNAVAILABLE).because(format!("key {} does not unwrap", record.id)))
    }

    async fn put_one(&self, new: NewKey) -> Result<KeyRecord> {
        let record = self.store.put_if_absent(vec![new]).await?.into_iter().next();
        record.ok_or_else(|| HubError::of(codes::KEYS_UNAVAILABLE))
    }

    /// The key of what belongs to nobody in this product; durable when this returns.
    async fn default_key(&self, product: &ProductId, now: Timestamp) -> Result<Arc<DataKey>> {
        let scope: Arc<str> = product_scope(product).into();
        if let Some(key) = self.by_tag.get(&(scope.clone(), SINGLETON)) {
            return Ok(key);
        }
        let record = self.put_one(self.new_key(&scope, SINGLETON, now).0).await?;
        let key = Arc::new(DataKey::with_schedule(record.id, self.unwrap(&scope, &record)?));
        self.by_id.insert(record.id, DataKeyState::Live(key.clone()));
        self.by_tag.insert((scope, SINGLETON), key.clone());
        Ok(key)
    }

    /// The key under which events of this product are sealed by this process.
    async fn log_key(&self, product: &ProductId, now: Timestamp) -> Result<Arc<LogKey>> {
        if let Some(key) = self.sealing.get(product)
            && key.used() < LOG_KEY_USES
        {
            return Ok(key);
        }
        let scope = log_scope(product);
        // A tag of its own for every key: the secret below was drawn just now and has sealed nothing yet.
        let (new, secret) = self.new_key(&scope, random_array(), now);
        let record = self.put_one(new).await?;
        let key = Arc::new(LogKey::new(record.id, &secret));
        self.log_keys.insert(record.id, key.opening());
        self.sealing.insert(product.clone(), key.clone());
        Ok(key)
    }

    /// What sealing a batch of this product needs.
    pub(crate) async fn for_sealing(
        self: &Arc<Self>,
        owner: &OrgId,
        product: &ProductId,
        now: Timestamp,
    ) -> Result<BatchKeys> {
        Ok(BatchKeys {
            keyring: self.clone(),
            scope: subject_scope(owner).into(),
            default: self.default_key(product, now).await?,
            log_key: self.log_key(product, now).await?,
            now,
            new: Mutex::default(),
        })
    }

    /// Fetches the log keys and dictionaries that these sealed events of a product need, so that opening need not wait.
    pub(crate) async fn preload<'a>(
        &self,
        product: &ProductId,
        context: &ProductContext,
        sealed: impl Iterator<Item = &'a [u8]>,
        now: Timestamp,
    ) -> Result<()> {
        let scope = log_scope(product);
        let mut before = None;
        for header in sealed.filter_map(Header::read) {
            // Events that were published together need the same.
            let needs = Some((header.log_key, header.dictionary()));
            if needs == before {
                continue;
            }
            before = needs;
            if let Some(number) = header.dictionary() {
                self.dictionaries.preload(context, number, now).await?;
            }
            let id = header.log_key;
            if self.log_keys.get(&id).is_some() {
                continue;
            }
            if let KeyState::Live(stored) = self.store.get(id).await?
                && stored.scope == scope
            {
                let secret = self.unwrap(&scope, &stored.record)?;
                self.log_keys.insert(id, Arc::new(LogKey::opening_cipher(&secret)));
            }
        }
        Ok(())
    }

    /// The same for data keys, which are known by their ids alone.
    pub(crate) async fn preload_data_keys(&self, ids: impl Iterator<Item = u64>) -> Result<()> {
        for id in ids {
            while self.by_id.get(&id).is_none() {
                let begun = *self.generation();
                let state = match self.store.get(id).await? {
                    KeyState::Live(stored) => {
                        DataKeyState::Live(Arc::new(DataKey::new(id, self.unwrap(&stored.scope, &stored.record)?)))
                    }
                    KeyState::Destroyed(_) => DataKeyState::Destroyed,
                    KeyState::Unknown => break,
                };
                // If it was destroyed between the store's answer and here, the copy must not outlive it.
                let generation = self.generation();
                if *generation == begun {
                    self.by_id.insert(id, state);
                }
            }
        }
        Ok(())
    }

    fn generation(&self) -> RwLockReadGuard<'_, u64> {
        self.generation.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does work that looks up data keys; done again while it finds keys that had to be fetched first. Work stops at the
    /// first key that it misses in a record, so a round may bring new ones to light. Keys that were fetched and are
    /// missing still are in no store, unless an erasure emptied the cache in between.
    pub(crate) async fn with_data_keys<T>(&self, work: impl Fn(&NotingKeys<'_>) -> T) -> Result<T> {
        let (mut fetched, mut begun) = (HashSet::new(), *self.generation());
        loop {
            let keys = NotingKeys::new(self);
            let done = work(&keys);
            let now = *self.generation();
            if now != begun {
                (fetched, begun) = (HashSet::new(), now);
            }
            let new: Vec<u64> = keys.missing().into_iter().filter(|id| fetched.insert(*id)).collect();
            if new.is_empty() {
                return Ok(done);
            }
            self.preload_data_keys(new.into_iter()).await?;
        }
    }

    /// Destroys the key of this subject of an organization; returns how many there were.
    pub(crate) async fn destroy_subject(&self, org: &OrgId, tag: &SubjectTag, at: Timestamp) -> Result<u32> {
        let scope: Arc<str> = subject_scope(org).into();
        let key = KeyRef::Tag { scope: scope.to_string(), tag: *tag.as_bytes() };
        let gone = self.store.destroy(vec![key], at).await?;
        let mut generation = self.generation.write().unwrap_or_else(PoisonError::into_inner);
        *generation += 1;
        self.by_tag.remove(&(scope, *tag.as_bytes()));
        for tombstone in &gone {
            self.by_id.insert(tombstone.id, DataKeyState::Destroyed);
        }
        Ok(u32::try_from(gone.len()).unwrap_or(u32::MAX))
    }

    /// Forgets every data key that is cached, so that the store is asked again: another node may have destroyed some.
    pub(crate) fn forget_data_keys(&self) {
        let mut generation = self.generation.write().unwrap_or_else(PoisonError::into_inner);
        *generation += 1;
        self.by_tag.clear();
        self.by_id.clear();
    }

    /// A random secret of the hub that has a name and never changes (signing seeds), made when first asked for.
    pub(crate) async fn named_secret(&self, name: &str, now: Timestamp) -> Result<SecretBytes<32>> {
        let scope = format!("hub/{name}");
        let record = self.put_one(self.new_key(&scope, SINGLETON, now).0).await?;
        self.unwrap(&scope, &record)
    }
}

impl OpeningKeys for Keyring {
    fn log_key(&self, id: u64) -> Option<Arc<AeadKey>> {
        self.log_keys.get(&id)
    }

    fn data_key(&self, id: u64) -> DataKeyState {
        self.by_id.get(&id).unwrap_or(DataKeyState::Missing)
    }

    fn dictionary(&self, product: &ProductContext, number: u32) -> Option<Arc<Dictionary>> {
        self.dictionaries.get(product, number)
    }
}

/// Keys of new subjects, by tag.
type NewKeys = HashMap<[u8; 32], (NewKey, Arc<DataKey>)>;

/// Keys for sealing one batch. Keys of subjects who are new are drawn here, and must be stored before the batch is.
pub(crate) struct BatchKeys {
    keyring: Arc<Keyring>,
    scope: Arc<str>,
    default: Arc<DataKey>,
    pub(crate) log_key: Arc<LogKey>,
    now: Timestamp,
    new: Mutex<NewKeys>,
}

impl BatchKeys {
    /// Stores the keys of new subjects. False: another publisher was first with one of them, and what was sealed with
    /// these keys must be sealed again.
    pub(crate) async fn store_new(&self) -> Result<bool> {
        let new: Vec<(NewKey, Arc<DataKey>)> = {
            let mut new = self.new.lock().unwrap_or_else(PoisonError::into_inner);
            new.drain().map(|(_, key)| key).collect()
        };
        let mut all_ours = true;
        for part in new.chunks(tradelane_storage::key_store::MAX_KEYS) {
            let begun = *self.keyring.generation();
            let records = self.keyring.store.put_if_absent(part.iter().map(|(new, _)| new.clone()).collect()).await?;
            for ((new, key), record) in part.iter().zip(records) {
                let key = if record.id == new.record.id {
                    key.clone()
                } else {
                    all_ours = false;
                    Arc::new(DataKey::new(record.id, self.keyring.unwrap(&self.scope, &record)?))
                };
                // As in `preload_data_keys`: who was erased meanwhile is asked for again.
                let generation = self.keyring.generation();
                if *generation == begun {
                    self.keyring.by_id.insert(record.id, DataKeyState::Live(key.clone()));
                    self.keyring.by_tag.insert((self.scope.clone(), new.tag), key);
                }
            }
        }
        Ok(all_ours)
    }
}

impl SealingKeys for BatchKeys {
    fn subject_key(&self, subject: &SubjectTag) -> Option<Arc<DataKey>> {
        let tag = *subject.as_bytes();
        if let Some(key) = self.keyring.by_tag.get(&(self.scope.clone(), tag)) {
            return Some(key);
        }
        let mut new = self.new.lock().unwrap_or_else(PoisonError::into_inner);
        let made = new.entry(tag).or_insert_with(|| {
            let (new, secret) = self.keyring.new_key(&self.scope, tag, self.now);
            let key = Arc::new(DataKey::new(new.record.id, secret));
            (new, key)
        });
        Some(made.1.clone())
    }

    fn default_key(&self) -> Option<Arc<DataKey>> {
        Some(self.default.clone())
    }
}

/// Keys from the cache, noting which were not there.
pub(crate) struct NotingKeys<'a> {
    keyring: &'a Keyring,
    missing: Mutex<Vec<u64>>,
}

impl<'a> NotingKeys<'a> {
    fn new(keyring: &'a Keyring) -> Self {
        Self { keyring, missing: Mutex::default() }
    }

    fn missing(&self) -> Vec<u64> {
        let mut missing = std::mem::take(&mut *self.missing.lock().unwrap_or_else(PoisonError::into_inner));
        missing.sort_unstable();
        missing.dedup();
        missing
    }
}

impl OpeningKeys for NotingKeys<'_> {
    fn log_key(&self, id: u64) -> Option<Arc<AeadKey>> {
        OpeningKeys::log_key(self.keyring, id)
    }

    fn data_key(&self, id: u64) -> DataKeyState {
        let state = self.keyring.data_key(id);
        if matches!(state, DataKeyState::Missing) {
            self.missing.lock().unwrap_or_else(PoisonError::into_inner).push(id);
        }
        state
    }

    fn dictionary(&self, product: &ProductContext, number: u32) -> Option<Arc<Dictionary>> {
        self.keyring.dictionaries.get(product, number)
    }
}

fn subject_scope(org: &OrgId) -> String {
    format!("subject/{org}")
}

fn product_scope(product: &ProductId) -> String {
    format!("product/{product}")
}

fn log_scope(product: &ProductId) -> String {
    format!("log/{product}")
}

/// 1 to 2^63 - 1, at random.
fn new_key_id() -> u64 {
    (u64::from_le_bytes(random_array()) >> 1).max(1)
}
