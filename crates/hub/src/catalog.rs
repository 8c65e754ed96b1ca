//! The catalog: what there is to ask for. Names, contracts and schemas; never an event.

use serde::Serialize;
use serde_json::Value;
use tradelane_audit::Leaf;
use tradelane_model::grant::GrantState;
use tradelane_model::product::Format;
use tradelane_model::{Class, ContractId, Model, OrgId, Product, ProductId, TopicName, ViewSpec};

use crate::Hub;
use crate::audit_trail::{CATALOG, hub_leaf};
use crate::authorize::{Act, On};
use crate::doorway::{Audited, Caller};
use crate::error::{HubError, Result};
use crate::evolve::Notice;
use crate::views;

/// A field as the catalog shows it.
#[derive(Debug, Clone, Serialize)]
pub struct CatalogField {
    /// Where it is.
    pub at: String,
    /// What it is, if a rule says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<Class>,
}

/// What a partner can know of a product without a grant.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CatalogEntry {
    /// Its id.
    pub id: ProductId,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Whose it is.
    pub owner: OrgId,
    /// What its events are.
    pub format: Format,
    /// Its contract.
    pub contract: ContractId,
    /// The contract's version.
    pub version: String,
    /// What it may be used for; empty: any.
    pub purposes: Vec<String>,
    /// Where it may be kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Seconds that events are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_seconds: Option<i64>,
    /// Promises.
    pub sla: Vec<tradelane_model::contract::Sla>,
    /// The sequences that its events are spread over.
    pub partitions: u32,
    /// Its fields and their classes.
    pub fields: Vec<CatalogField>,
    /// `owner`, `granted`, `requested` or `none`.
    pub access: &'static str,
    /// The Kafka topic to subscribe or publish to; none if it is none for the caller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<TopicName>,
    /// What the caller is told of a version that it reads and that ends.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notices: Vec<Notice>,
}

impl Hub {
    /// The products that the caller may know of.
    pub async fn catalog(&self, caller: &Caller) -> Result<Audited<Vec<CatalogEntry>>> {
        let model = self.model();
        let may_see = |product: &&std::sync::Arc<Product>| {
            self.is_visible(&model, caller, product)
                && self.decide(caller, Act::Discover, On::Product(&product.id)).is_ok()
        };
        let seen = model.products.values().filter(may_see);
        let entries: Vec<CatalogEntry> = seen.filter_map(|product| self.entry(&model, caller, product)).collect();
        let mut leaf = hub_leaf(self.now(), caller, CATALOG);
        leaf.count = entries.len() as u64;
        self.audited(leaf, entries).await
    }

    /// One product.
    pub async fn product(&self, caller: &Caller, id: &ProductId) -> Result<Audited<CatalogEntry>> {
        let model = self.model();
        let product = self.visible(&model, caller, id)?;
        self.allow(caller, Act::Discover, On::Product(id))?;
        let entry = self.entry(&model, caller, product).ok_or_else(HubError::not_found)?;
        self.audited(self.catalog_leaf(caller, product), entry).await
    }

    /// The JSON Schema of what the caller reads: of its grant's view, or the contract's own for the owner. Without a
    /// grant it is the schema of a view that reveals nothing but what is public and internal.
    pub async fn product_schema(
        &self,
        caller: &Caller,
        id: &ProductId,
        purpose: Option<&str>,
    ) -> Result<Audited<Value>> {
        let model = self.model();
        let product = self.visible(&model, caller, id)?;
        self.allow(caller, Act::Discover, On::Product(id))?;
        let history = model.contract_of(id).ok_or_else(HubError::not_found)?;
        let contract = history.current();
        let schema = if product.owner == caller.organization.id {
            crate::references::json_schema(contract)?.into_owned()
        } else {
            let now = self.now();
            let mut grants = model.live_grants(&caller.organization.id, id, now);
            let grant = grants.find(|grant| purpose.is_none_or(|purpose| grant.purpose == purpose));
            match grant {
                Some(grant) => {
                    let contract = &self.grant_view(grant)?.current.contract;
                    views::schema_of_view(contract, &grant.conditions.view)?
                }
                None => views::schema_of_view(contract, &ViewSpec::default())?,
            }
        };
        self.audited(self.catalog_leaf(caller, product), schema).await
    }

    fn catalog_leaf(&self, caller: &Caller, product: &Product) -> Leaf {
        let mut leaf = hub_leaf(self.now(), caller, CATALOG);
        leaf.product = Some(product.id.clone());
        leaf.owner = Some(product.owner.clone());
        leaf.count = 1;
        leaf
    }

    fn visible<'a>(&self, model: &'a Model, caller: &Caller, id: &ProductId) -> Result<&'a Product> {
        let product = model.products.get(id).filter(|product| self.is_visible(model, caller, product));
        product.map(|product| &**product).ok_or_else(HubError::not_found)
    }

    fn is_visible(&self, model: &Model, caller: &Caller, product: &Product) -> bool {
        let own = &caller.organization.id;
        product.discoverable
            || product.owner == *own
            || model.live_grants(own, &product.id, self.now()).next().is_some()
    }

    fn entry(&self, model: &Model, caller: &Caller, product: &Product) -> Option<CatalogEntry> {
        let contract = model.contract_of(&product.id)?.current().clone();
        let named = contract.shape.places().into_iter().filter(|(_, place)| place.is_leaf() || place.class.is_some());
        let fields = named.map(|(at, place)| CatalogField { at: at.to_string(), class: place.class.clone() }).collect();
        Some(CatalogEntry {
            id: product.id.clone(),
            name: product.name.clone(),
            description: product.description.clone(),
            owner: product.owner.clone(),
            format: contract.format,
            contract: contract.id.clone(),
            version: contract.version.clone(),
            purposes: contract.purposes.clone(),
            region: contract.region.clone(),
            retention_seconds: contract.retention,
            sla: contract.sla.clone(),
            partitions: product.partitions,
            fields,
            access: self.access_of(model, caller, product),
            topic: self.topic(caller, &product.id).map(|topic| topic.name),
            notices: self.notices_on(model, caller, product),
        })
    }

    /// Those of the caller's own grants; the owner finds those of all in the list of notices.
    fn notices_on(&self, model: &Model, caller: &Caller, product: &Product) -> Vec<Notice> {
        let live = model.live_grants(&caller.organization.id, &product.id, self.now());
        live.filter_map(|grant| self.notice(model, grant)).collect()
    }

    fn access_of(&self, model: &Model, caller: &Caller, product: &Product) -> &'static str {
        let own = &caller.organization.id;
        if product.owner == *own {
            return "owner";
        }
        if model.live_grants(own, &product.id, self.now()).next().is_some() {
            return "granted";
        }
        let asked = |grant: &tradelane_model::Grant| {
            grant.consumer == *own && grant.product == product.id && grant.status == GrantState::Requested
        };
        if model.grants.values().any(|grant| asked(grant)) { "requested" } else { "none" }
    }
}
