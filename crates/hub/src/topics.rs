//! Topics: products as Kafka clients find them. Each organization has names and ids of its own for what it may see: a
//! product's topic is its id, or the name that a grant gives it, and its number follows from the hub's root key, the
//! organization and the product. So neither joins what two partners see.
//!
//! Names and ids lead to products; whether the caller may do anything with one is asked as everywhere.

use std::sync::Arc;

use quick_cache::sync::Cache;
use tradelane_keys::MacKey;
use tradelane_model::grant::GrantState;
use tradelane_model::{Cleanup, Model, OrgId, Product, ProductId, TopicName};

use crate::Hub;
use crate::authorize::{Act, On};
use crate::doorway::Caller;
use crate::keyring::Keyring;

/// Ids that were told to somebody and lead back at once.
const REMEMBERED: usize = 100_000;

/// A product as a Kafka client sees it.
#[derive(Debug, Clone)]
pub struct Topic {
    /// The product.
    pub product: ProductId,
    /// The name under which the caller's organization finds it.
    pub name: TopicName,
    /// Its partitions.
    pub partitions: u32,
    /// Its topic id (KIP-516), for the caller's organization: the same on every node and after a restart, another if the
    /// product is deleted and made anew.
    pub id: [u8; 16],
    /// May the caller read it?
    pub readable: bool,
    /// May the caller publish to it?
    pub publishable: bool,
    /// What becomes of its older events.
    pub cleanup: Cleanup,
    /// Seconds that its contract keeps events; none: for ever.
    pub retention: Option<i64>,
}

/// Makes topic ids, and knows those that it made.
pub(crate) struct TopicIds {
    key: MacKey,
    told: Cache<[u8; 16], ProductId>,
}

impl TopicIds {
    pub(crate) fn new(keyring: &Keyring) -> Self {
        Self { key: MacKey::new(keyring.derive(&[b"kafka-topic-ids"]).expose()), told: Cache::new(REMEMBERED) }
    }

    /// No organization has a NUL in its id.
    fn id(&self, organization: &OrgId, number: u64) -> [u8; 16] {
        let mac = self.key.mac_parts(&[organization.as_str().as_bytes(), b"\0", &number.to_be_bytes()]);
        mac.first_chunk().copied().unwrap_or_default()
    }

    fn of(&self, model: &Model, organization: &OrgId, product: &ProductId) -> Option<[u8; 16]> {
        Some(self.id(organization, model.number_of(product)?))
    }
}

impl Hub {
    /// The topics that exist for this caller.
    pub fn topics(&self, caller: &Caller) -> Vec<Topic> {
        self.model().products.values().filter_map(|product| self.topic_for(caller, product)).collect()
    }

    /// The topic of that product; none if there is none for this caller.
    pub fn topic(&self, caller: &Caller, product: &ProductId) -> Option<Topic> {
        self.topic_for(caller, self.model().products.get(product)?)
    }

    /// The product that the caller's organization finds under that name, or found until its grant ended. That there is one
    /// does not say that the caller may do anything with it, nor know of it.
    pub fn product_named(&self, caller: &Caller, name: &str) -> Option<ProductId> {
        self.model().product_named(&caller.organization.id, name)
    }

    /// The product of that topic id; as [`Hub::product_named`].
    pub fn product_with_id(&self, caller: &Caller, id: [u8; 16]) -> Option<ProductId> {
        let (model, own, ids) = (self.model(), &caller.organization.id, &self.inner().topic_ids);
        let is_it = |product: &ProductId| ids.of(&model, own, product) == Some(id);
        if let Some(product) = ids.told.get(&id).filter(|product| is_it(product)) {
            return Some(product);
        }
        let product = model.known_to(own).find(|product| is_it(product))?.clone();
        ids.told.insert(id, product.clone());
        Some(product)
    }

    /// What the caller's organization calls a product's topic, whether or not it may see it; none if there is no such
    /// product any more.
    pub fn topic_name(&self, caller: &Caller, product: &ProductId) -> Option<TopicName> {
        let model = self.model();
        model.products.contains_key(product).then(|| model.topic_of(&caller.organization.id, product))
    }

    /// Did the caller's organization have a grant for that product which has ended? It knows that there is such a product.
    pub fn had_topic(&self, caller: &Caller, product: &ProductId) -> bool {
        let (model, now) = (self.model(), self.now());
        model.grants_of(&caller.organization.id, product).iter().any(|grant| match grant.status {
            GrantState::Revoked { .. } => true,
            GrantState::Active { .. } => !grant.is_live(now),
            GrantState::Requested | GrantState::Denied { .. } => false,
        })
    }

    /// May the caller do away with what its organization keeps of a product's topic, such as the offsets of a group? Who may
    /// read it may; and everybody, where nobody of the organization can read it any more.
    pub fn may_forget(&self, caller: &Caller, product: &ProductId) -> bool {
        let (model, own) = (self.model(), &caller.organization.id);
        let Some(product) = model.products.get(product) else { return true };
        let is_read = product.owner == *own || model.live_grants(own, &product.id, self.now()).next().is_some();
        !is_read || self.is_readable(&model, caller, product)
    }

    fn is_readable(&self, model: &Model, caller: &Caller, product: &Product) -> bool {
        let own = &caller.organization.id;
        if product.owner == *own {
            return self.decide(caller, Act::Read, On::Product(&product.id)).is_ok();
        }
        let grant = model.live_grants(own, &product.id, self.now()).next().cloned();
        grant.is_some_and(|grant| self.decide(caller, Act::Read, On::Grant(&grant)).is_ok())
    }

    fn topic_for(&self, caller: &Caller, product: &Arc<Product>) -> Option<Topic> {
        let (model, organization) = (self.model(), &caller.organization.id);
        let readable = self.is_readable(&model, caller, product);
        let publishable = self.decide(caller, Act::Publish, On::Product(&product.id)).is_ok();
        if !(readable || publishable) {
            return None;
        }
        let name = model.topic_of(organization, &product.id);
        // An owner's policy may let others publish, whatever they call by that name already. One name is one topic.
        if model.product_named(organization, name.as_str()).as_ref() != Some(&product.id) {
            return None;
        }
        let ids = &self.inner().topic_ids;
        let id = ids.of(&model, organization, &product.id)?;
        if ids.told.get(&id).is_none() {
            ids.told.insert(id, product.id.clone());
        }
        let retention = model.contract_of(&product.id).and_then(|contract| contract.current().retention);
        let (partitions, cleanup) = (product.partitions, product.cleanup);
        Some(Topic { product: product.id.clone(), name, partitions, id, readable, publishable, cleanup, retention })
    }
}
