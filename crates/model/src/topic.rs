//! The names under which organizations find products among their Kafka topics. A product's topic is its id, for
//! everybody, unless a grant gives its consumer another name: then that consumer finds it under that name only.
//!
//! It knows nothing of Kafka's protocol, nor of who may do what with a topic.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};

use crate::grant::{Grant, GrantState};
use crate::id::{GrantId, OrgId, ProductId};
use crate::product::Product;
use crate::state::{Misfit, Model};

/// The most characters of a topic's name, as Kafka has it.
const LONGEST: usize = 249;

/// A name that a Kafka topic can have: 1 to 249 characters of `a-z A-Z 0-9 . _ -`, neither `.` nor `..`. Names that begin with
/// `__` are Kafka's own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct TopicName(Arc<str>);

/// A word that is no topic's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a topic is 1 to 249 characters of a-z, A-Z, 0-9, '.', '_' or '-', is neither '.' nor '..', and does not begin with '__'"
)]
pub struct InvalidTopic;

impl TopicName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for TopicName {
    type Err = InvalidTopic;
    fn from_str(word: &str) -> Result<Self, InvalidTopic> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let ok = (1..=LONGEST).contains(&word.len())
            && word.bytes().all(plain)
            && word != "."
            && word != ".."
            && !word.starts_with("__");
        if ok { Ok(Self(Arc::from(word))) } else { Err(InvalidTopic) }
    }
}

impl std::fmt::Display for TopicName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Every id is a topic's name.
impl From<&ProductId> for TopicName {
    fn from(id: &ProductId) -> Self {
        Self(Arc::from(id.as_str()))
    }
}

impl<'de> Deserialize<'de> for TopicName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Model {
    /// The name under which an organization finds a product, if it may. That of its active grants; where there is none
    /// any more, that of the last which ended; else the product's id.
    pub fn topic_of(&self, organization: &OrgId, product: &ProductId) -> TopicName {
        let own = self.products.get(product).is_some_and(|product| product.owner == *organization);
        if own {
            return product.into();
        }
        let grants = self.grants_of(organization, product);
        let active = grants.iter().find(|grant| is_active(grant) && grant.conditions.topic.is_some());
        let ended = || {
            let ended = |grant: &&&Arc<Grant>| match grant.status {
                GrantState::Revoked { at, .. } => Some(at),
                _ => None,
            };
            grants.iter().filter(|grant| ended(grant).is_some()).max_by_key(|grant| ended(grant))
        };
        let named = active.or_else(|| if grants.iter().any(|grant| is_active(grant)) { None } else { ended() });
        named.and_then(|grant| grant.conditions.topic.clone()).unwrap_or_else(|| product.into())
    }

    /// The product that an organization finds under a name, if it may see it: at most one, and each product under one
    /// name. None also if the name is the id of a product that it finds under another.
    pub fn product_named(&self, organization: &OrgId, name: &str) -> Option<ProductId> {
        let mut given = self.grants_naming(organization, name);
        if let Some(grant) = given.clone().find(|grant| is_active(grant)) {
            return Some(grant.product.clone());
        }
        let by_id = self.products.get_key_value(name).map(|(id, _)| id);
        let by_id = by_id.filter(|id| self.topic_of(organization, id).as_str() == name);
        if let Some(id) = by_id.filter(|id| self.holds(organization, id)) {
            return Some(id.clone());
        }
        // What was under that name until its grant ended; so that whether there is a product of that id cannot be told.
        let ended = given.find(|grant| self.topic_of(organization, &grant.product).as_str() == name);
        ended.map(|grant| grant.product.clone()).or_else(|| by_id.cloned())
    }

    /// A number that no other product has or had, also none of the same id.
    pub fn number_of(&self, product: &ProductId) -> Option<u64> {
        self.numbers.get(product).copied()
    }

    /// Products that an organization owns or has or had a grant for.
    pub fn known_to<'a>(&'a self, organization: &'a OrgId) -> impl Iterator<Item = &'a ProductId> {
        let own = self.products.values().filter(move |product| product.owner == *organization);
        own.map(|product| &product.id).chain(self.granted_to(organization))
    }

    /// Is it the organization's own, or does it have an active grant for it?
    fn holds(&self, organization: &OrgId, product: &ProductId) -> bool {
        let own = self.products.get(product).is_some_and(|product| product.owner == *organization);
        own || self.grants_of(organization, product).iter().any(|grant| is_active(grant))
    }

    /// Grants of that consumer that give their product that name, whatever their state.
    fn grants_naming<'a>(
        &'a self,
        consumer: &OrgId,
        name: &str,
    ) -> impl Iterator<Item = &'a Arc<Grant>> + Clone + use<'a> {
        let ids: Option<&BTreeSet<GrantId>> = match name.parse() {
            Ok(name) => self.by_topic.get(&(consumer.clone(), name)),
            Err(InvalidTopic) => None,
        };
        ids.into_iter().flatten().filter_map(|id| self.grants.get(id))
    }

    /// A grant's name for its product must be its consumer's only one, and for nothing else. What is taken by what is not
    /// said: that is the consumer's.
    pub(crate) fn check_topic(&self, grant: &Grant) -> Result<(), Misfit> {
        if !matches!(grant.status, GrantState::Active { .. } | GrantState::Requested) {
            return Ok(());
        }
        let consumer = &grant.consumer;
        let own = self.products.get(&grant.product).is_some_and(|product| product.owner == *consumer);
        let others = self.grants_of(consumer, &grant.product).into_iter().filter(|other| other.id != grant.id);
        let given = others.filter(|other| is_active(other)).find_map(|other| other.conditions.topic.clone());
        let name = match (&grant.conditions.topic, given) {
            (Some(name), _) if own && name.as_str() != grant.product.as_str() => {
                let problem = "an owner finds its products under their ids";
                return Err(Misfit::Invalid(format!("grant {}: {problem}", grant.id)));
            }
            (Some(name), Some(given)) if *name != given => {
                let problem = format!("another grant of {consumer} on {} has the topic {given}", grant.product);
                return Err(Misfit::Topic(format!("grant {}: {problem}; name the same", grant.id)));
            }
            (Some(name), _) => name.clone(),
            (None, Some(given)) => given,
            (None, None) => (&grant.product).into(),
        };
        let taken_by_grant =
            self.grants_naming(consumer, name.as_str()).any(|other| is_active(other) && other.product != grant.product);
        let by_id = self.products.get_key_value(name.as_str()).map(|(id, _)| id).filter(|id| **id != grant.product);
        let taken_by_id =
            by_id.is_some_and(|id| self.holds(consumer, id) && self.topic_of(consumer, id).as_str() == id.as_str());
        if taken_by_grant || taken_by_id {
            let problem = format!("{consumer} has another topic named {name}; give `topic` another name");
            return Err(Misfit::Topic(format!("grant {}: {problem}", grant.id)));
        }
        Ok(())
    }

    /// A new product's id must not be what its owner finds something else under.
    pub(crate) fn check_product_topic(&self, product: &Product) -> Result<(), Misfit> {
        if self.grants_naming(&product.owner, product.id.as_str()).any(|grant| is_active(grant)) {
            let problem = format!("{} has another topic of that name, by a grant", product.owner);
            return Err(Misfit::Topic(format!("product {}: {problem}", product.id)));
        }
        Ok(())
    }

    pub(crate) fn index_topic(&mut self, grant: &Grant) {
        if let Some(topic) = &grant.conditions.topic {
            let key = (grant.consumer.clone(), topic.clone());
            self.by_topic.entry(key).or_default().insert(grant.id.clone());
        }
    }

    pub(crate) fn unindex_topic(&mut self, grant: &Grant) {
        let Some(topic) = &grant.conditions.topic else { return };
        let key = (grant.consumer.clone(), topic.clone());
        if let Some(ids) = self.by_topic.get_mut(&key) {
            ids.remove(&grant.id);
            if ids.is_empty() {
                self.by_topic.remove(&key);
            }
        }
    }
}

/// Active, also if its time is over: what may be prolonged keeps its name.
fn is_active(grant: &Grant) -> bool {
    matches!(grant.status, GrantState::Active { .. })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{Change, Entry};
    use crate::manifest;
    use crate::plan::plan;
    use crate::time::Timestamp;

    const WORLD: &str = r#"
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
apiVersion: v3.1.0
kind: DataContract
id: acme-orders
tenant: acme
version: 1.0.0
status: active
name: Orders
schema: [{name: order, properties: [{name: id, logicalType: string, classification: public}]}]
customProperties: [{property: tradelane, value: {purposes: [planning, audit]}}]
---
apiVersion: tradelane/v1
kind: Product
spec: {id: acme-orders, owner: acme, contract: acme-orders}
---
apiVersion: tradelane/v1
kind: Product
spec: {id: acme-stock, owner: acme, contract: acme-orders}
"#;

    fn world() -> Model {
        let mut model = Model::default();
        apply(&mut model, WORLD).unwrap();
        model
    }

    fn apply(model: &mut Model, yaml: &str) -> Result<(), Misfit> {
        let (by, at) = ("op".parse().unwrap(), Timestamp(i64::try_from(model.seq).unwrap()));
        let manifests = manifest::parse("test", yaml).unwrap();
        let plan = plan(model, &manifests, false, &by, at)?;
        for change in plan.changes() {
            model.apply(&Entry { at, by: by.clone(), change: change.clone() })?;
        }
        Ok(())
    }

    fn grant(model: &mut Model, id: &str, product: &str, consumer: &str, topic: &str) -> Result<(), Misfit> {
        let topic = if topic.is_empty() { String::new() } else { format!(", topic: {topic}") };
        let spec = format!("{{id: {id}, product: {product}, consumer: {consumer}, purpose: planning{topic}}}");
        apply(model, &format!("apiVersion: tradelane/v1\nkind: Grant\nspec: {spec}\n"))
    }

    fn revoke(model: &mut Model, id: &str) {
        let at = Timestamp(i64::try_from(model.seq).unwrap());
        let mut grant = (*model.grants[id]).clone();
        grant.status = GrantState::Revoked { by: "op".parse().unwrap(), at, reason: String::new() };
        model.apply(&Entry { at, by: "op".parse().unwrap(), change: Change::GrantPut(grant) }).unwrap();
    }

    fn named(model: &Model, organization: &str, name: &str) -> Option<String> {
        model.product_named(&organization.parse().unwrap(), name).map(|id| id.to_string())
    }

    fn topic(model: &Model, organization: &str, product: &str) -> String {
        model.topic_of(&organization.parse().unwrap(), &product.parse().unwrap()).to_string()
    }

    #[test]
    fn a_name_is_one_that_kafka_takes() {
        for good in ["a", "supplier-a.stock", "A_b", "-", "...", "0"] {
            assert_eq!(good.parse::<TopicName>().unwrap().as_str(), good);
        }
        let long = "a".repeat(250);
        for bad in ["", ".", "..", "a b", "a/b", "ä", "a\n", "__consumer_offsets", long.as_str()] {
            assert_eq!(bad.parse::<TopicName>(), Err(InvalidTopic), "{bad:?}");
        }
    }

    #[test]
    fn a_consumer_finds_a_product_under_the_grants_name_and_nothing_under_its_id() {
        let mut model = world();
        grant(&mut model, "g1", "acme-orders", "near", "supplier-a.orders").unwrap();
        grant(&mut model, "g2", "acme-orders", "far", "orders").unwrap();
        for (organization, name) in [("near", "supplier-a.orders"), ("far", "orders"), ("acme", "acme-orders")] {
            assert_eq!(topic(&model, organization, "acme-orders"), name);
            assert_eq!(named(&model, organization, name).as_deref(), Some("acme-orders"), "{organization}");
        }
        for (organization, name) in [("near", "acme-orders"), ("near", "orders"), ("far", "acme-orders"), ("near", "x")]
        {
            assert_eq!(named(&model, organization, name), None, "{organization} {name}");
        }
    }

    #[test]
    fn a_name_is_taken_once_for_each_consumer() {
        let mut model = world();
        grant(&mut model, "g1", "acme-orders", "near", "stock").unwrap();
        let taken = |result: Result<(), Misfit>| assert!(matches!(result, Err(Misfit::Topic(_))), "{result:?}");
        taken(grant(&mut model, "g2", "acme-stock", "near", "stock"));
        taken(grant(&mut model, "g3", "acme-orders", "near", "other"));
        grant(&mut model, "g3", "acme-orders", "near", "").unwrap();
        assert_eq!(topic(&model, "near", "acme-orders"), "stock");
        grant(&mut model, "g2", "acme-stock", "far", "stock").unwrap();
        // The id of a product that it does not see may be a name, until it is to see that product.
        grant(&mut model, "g1", "acme-orders", "near", "acme-stock").unwrap();
        assert_eq!(named(&model, "near", "acme-stock").as_deref(), Some("acme-orders"));
        taken(grant(&mut model, "g4", "acme-stock", "near", ""));
        grant(&mut model, "g4", "acme-stock", "near", "acme-orders").unwrap();
        assert_eq!(named(&model, "near", "acme-orders").as_deref(), Some("acme-stock"));
        let invalid = grant(&mut model, "g5", "acme-orders", "acme", "mine");
        assert!(matches!(invalid, Err(Misfit::Invalid(_))), "{invalid:?}");
        let product = "apiVersion: tradelane/v1\nkind: Product\nspec: {id: mine, owner: acme, contract: acme-orders}\n";
        apply(&mut model, product).unwrap();
    }

    #[test]
    fn what_an_organization_calls_something_is_no_name_for_a_product_of_its_own() {
        let mut model = world();
        grant(&mut model, "g1", "acme-orders", "near", "near-own").unwrap();
        let contract = WORLD.split("---").nth(3).unwrap().replace("acme", "near");
        apply(&mut model, &contract).unwrap();
        let product =
            "apiVersion: tradelane/v1\nkind: Product\nspec: {id: near-own, owner: near, contract: near-orders}\n";
        assert!(matches!(apply(&mut model, product), Err(Misfit::Topic(_))));
        revoke(&mut model, "g1");
        apply(&mut model, product).unwrap();
        assert_eq!(named(&model, "near", "near-own").as_deref(), Some("near-own"));
    }

    #[test]
    fn a_name_stays_known_when_its_grant_ends_and_gives_way_to_a_new_one() {
        let mut model = world();
        grant(&mut model, "g1", "acme-orders", "near", "orders").unwrap();
        revoke(&mut model, "g1");
        assert_eq!(named(&model, "near", "orders").as_deref(), Some("acme-orders"));
        assert_eq!(named(&model, "near", "acme-orders"), None);
        grant(&mut model, "g2", "acme-stock", "near", "orders").unwrap();
        assert_eq!(named(&model, "near", "orders").as_deref(), Some("acme-stock"));
        grant(&mut model, "g3", "acme-orders", "near", "").unwrap();
        assert_eq!(topic(&model, "near", "acme-orders"), "acme-orders");
        assert_eq!(named(&model, "near", "acme-orders").as_deref(), Some("acme-orders"));
    }

    #[test]
    fn a_product_that_is_made_anew_has_another_number() {
        let mut model = world();
        let id: ProductId = "acme-stock".parse().unwrap();
        let first = model.number_of(&id).unwrap();
        let entry = |change| Entry { at: Timestamp(0), by: "op".parse().unwrap(), change };
        let product = (*model.products[&id]).clone();
        model.apply(&entry(Change::ProductPut(Product { name: "Stock".into(), ..product.clone() }))).unwrap();
        assert_eq!(model.number_of(&id), Some(first));
        model.apply(&entry(Change::ProductDeleted(id.clone()))).unwrap();
        assert_eq!(model.number_of(&id), None);
        model.apply(&entry(Change::ProductPut(product))).unwrap();
        assert!(model.number_of(&id).unwrap() > first);
    }
}
