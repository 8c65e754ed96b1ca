//! The model: what all the journal's changes add up to. Pure and in memory, so that authorization never waits for a
//! database, and any past state is a matter of applying fewer entries.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::contract::Contract;
use crate::grant::{Grant, GrantState};
use crate::id::{ContractId, CredentialId, GrantId, OrgId, PrincipalId, ProductId};
use crate::journal::{Change, Entry};
use crate::organization::{Credential, Organization, Principal};
use crate::product::{Format, MAX_PARTITIONS, Product};
use crate::registry::Registry;
use crate::time::Timestamp;
use crate::topic::TopicName;

/// Why a change does not fit the state that it meets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// It refers to something that is not there.
    #[error("there is no {kind} {id}; create it first")]
    Missing {
        /// What kind of thing.
        kind: &'static str,
        /// Which.
        id: String,
    },
    /// It would leave something hanging.
    #[error("{kind} {id} is still used by {by}; remove that first")]
    InUse {
        /// What kind of thing.
        kind: &'static str,
        /// Which.
        id: String,
        /// By what.
        by: String,
    },
    /// It would change what cannot change.
    #[error("{what} cannot change; delete it and create another")]
    Fixed {
        /// What.
        what: String,
    },
    /// The contract cannot be used.
    #[error("contract {0}")]
    Contract(#[from] crate::contract::ContractError),
    /// It is not valid in itself.
    #[error("{0}")]
    Invalid(String),
    /// A topic's name would mean two things to one organization.
    #[error("{0}")]
    Topic(String),
}

/// The revisions of one contract.
#[derive(Debug, Clone)]
pub struct ContractHistory {
    /// Whose it is.
    pub owner: OrgId,
    /// Revision 1 is at index 0. An event says under which revision it was sealed.
    pub revisions: Vec<Arc<Contract>>,
    /// When each of them was applied.
    pub applied: Vec<Timestamp>,
}

impl ContractHistory {
    /// The newest revision.
    pub fn current(&self) -> &Arc<Contract> {
        self.revisions.last().expect("a history is made with its first revision")
    }

    /// The number of the newest revision.
    pub fn revision(&self) -> u32 {
        u32::try_from(self.revisions.len()).unwrap_or(u32::MAX)
    }

    /// That revision, from 1.
    pub fn at(&self, revision: u32) -> Option<&Arc<Contract>> {
        self.revisions.get(usize::try_from(revision.checked_sub(1)?).ok()?)
    }
}

/// Everything the control plane knows.
#[derive(Debug, Clone, Default)]
pub struct Model {
    /// The number of the last entry applied; 0: none.
    pub seq: u64,
    /// Organizations by id.
    pub organizations: BTreeMap<OrgId, Arc<Organization>>,
    /// Principals by id.
    pub principals: BTreeMap<PrincipalId, Arc<Principal>>,
    /// Credentials by id.
    pub credentials: BTreeMap<CredentialId, Arc<Credential>>,
    /// Contracts by id.
    pub contracts: BTreeMap<ContractId, Arc<ContractHistory>>,
    /// Products by id.
    pub products: BTreeMap<ProductId, Arc<Product>>,
    /// Grants by id.
    pub grants: BTreeMap<GrantId, Arc<Grant>>,
    /// Grants by who reads what: found without looking at all of them.
    by_consumer: BTreeMap<(OrgId, ProductId), BTreeSet<GrantId>>,
    /// Grants that name a topic, by who finds what under that name.
    pub(crate) by_topic: BTreeMap<(OrgId, TopicName), BTreeSet<GrantId>>,
    /// Products by when they were made, and how many were.
    pub(crate) numbers: BTreeMap<ProductId, u64>,
    made: u64,
    /// Organizations' own Cedar policies.
    pub policies: BTreeMap<OrgId, Arc<str>>,
    /// Named EPCIS queries by organization and name.
    pub queries: BTreeMap<(OrgId, String), Arc<serde_json::Value>>,
    /// How many persons have been erased, by organization.
    pub erasures: BTreeMap<OrgId, u64>,
    /// Registered schemas.
    pub registry: Arc<Registry>,
}

impl Model {
    /// Applies the next entry, or says why it does not fit and stays as it was.
    pub fn apply(&mut self, entry: &Entry) -> Result<(), Misfit> {
        self.apply_change(&entry.change, entry.at)?;
        self.seq += 1;
        Ok(())
    }

    fn apply_change(&mut self, change: &Change, at: Timestamp) -> Result<(), Misfit> {
        match change {
            Change::OrganizationPut(org) => drop(self.organizations.insert(org.id.clone(), Arc::new(org.clone()))),
            Change::OrganizationDeleted(id) => self.delete_organization(id)?,
            Change::PrincipalPut(principal) => self.put_principal(principal)?,
            Change::PrincipalDeleted(id) => self.delete_principal(id)?,
            Change::CredentialIssued(credential) => self.put_credential(credential)?,
            Change::CredentialRevoked(id) => self.revoke_credential(id, at)?,
            Change::CredentialRetired { id, at } => {
                let credential = self.credentials.get_mut(id).ok_or_else(|| missing("credential", id))?;
                let credential = Arc::make_mut(credential);
                credential.expires = credential.expires.min(*at);
            }
            Change::ContractPut { owner, text } => self.put_contract(owner, text, at)?,
            Change::ContractDeleted(id) => self.delete_contract(id)?,
            Change::ProductPut(product) => self.put_product(product)?,
            Change::ProductDeleted(id) => self.delete_product(id)?,
            Change::GrantPut(grant) => self.put_grant(grant)?,
            Change::GrantDeleted(id) => {
                let grant = self.grants.remove(id).ok_or_else(|| missing("grant", id))?;
                self.unindex(&grant);
                self.unindex_topic(&grant);
            }
            Change::PolicyPut { organization, text } => self.put_policy(organization, text)?,
            Change::SubjectErased { organization, .. } => {
                *self.erasures.entry(organization.clone()).or_default() += 1;
            }
            Change::QueryPut { organization, name, query } => {
                self.organization(organization)?;
                self.queries.insert((organization.clone(), name.clone()), Arc::new(query.clone()));
            }
            Change::QueryDeleted { organization, name } => {
                let key = (organization.clone(), name.clone());
                self.queries.remove(&key).ok_or_else(|| missing("query", name))?;
            }
            Change::SchemaRegistered { owner, subject, version, id, schema } => {
                self.organization(owner)?;
                Arc::make_mut(&mut self.registry).register(owner, subject, *version, *id, schema)?;
            }
            Change::SchemaDeleted { owner, subject, version, permanent } => {
                Arc::make_mut(&mut self.registry).delete(owner, subject, *version, *permanent)?;
            }
            Change::SchemaSettingsPut { owner, subject, settings } => {
                self.organization(owner)?;
                Arc::make_mut(&mut self.registry).set(owner, subject, *settings);
            }
        }
        Ok(())
    }

    fn organization(&self, id: &OrgId) -> Result<&Arc<Organization>, Misfit> {
        self.organizations.get(id).ok_or_else(|| missing("organization", id))
    }

    fn delete_organization(&mut self, id: &OrgId) -> Result<(), Misfit> {
        self.organization(id)?;
        let uses = self.products.values().find(|p| p.owner == *id).map(|p| format!("product {}", p.id));
        let uses = uses.or(self.contracts.iter().find(|(_, c)| c.owner == *id).map(|(id, _)| format!("contract {id}")));
        let uses = uses.or(self.grants.values().find(|g| g.consumer == *id).map(|g| format!("grant {}", g.id)));
        let uses =
            uses.or(self.principals.values().find(|p| p.organization == *id).map(|p| format!("principal {}", p.id)));
        if let Some(by) = uses {
            return Err(in_use("organization", id, by));
        }
        self.organizations.remove(id);
        self.policies.remove(id);
        self.queries.retain(|(org, _), _| org != id);
        Arc::make_mut(&mut self.registry).forget_owner(id);
        Ok(())
    }

    fn put_principal(&mut self, principal: &Principal) -> Result<(), Misfit> {
        self.organization(&principal.organization)?;
        if let Some(old) = self.principals.get(&principal.id)
            && old.organization != principal.organization
        {
            return Err(Misfit::Fixed { what: format!("the organization of principal {}", principal.id) });
        }
        self.principals.insert(principal.id.clone(), Arc::new(principal.clone()));
        Ok(())
    }

    fn delete_principal(&mut self, id: &PrincipalId) -> Result<(), Misfit> {
        self.principals.remove(id).ok_or_else(|| missing("principal", id))?;
        self.credentials.retain(|_, credential| credential.principal != *id);
        Ok(())
    }

    fn put_credential(&mut self, credential: &Credential) -> Result<(), Misfit> {
        if !self.principals.contains_key(&credential.principal) {
            return Err(missing("principal", &credential.principal));
        }
        if self.credentials.contains_key(&credential.id) {
            return Err(Misfit::Fixed { what: format!("credential {}", credential.id) });
        }
        self.credentials.insert(credential.id.clone(), Arc::new(credential.clone()));
        Ok(())
    }

    fn revoke_credential(&mut self, id: &CredentialId, at: Timestamp) -> Result<(), Misfit> {
        let credential = self.credentials.get_mut(id).ok_or_else(|| missing("credential", id))?;
        Arc::make_mut(credential).revoked.get_or_insert(at);
        Ok(())
    }

    fn put_contract(&mut self, owner: &OrgId, text: &str, at: Timestamp) -> Result<(), Misfit> {
        self.organization(owner)?;
        let mut contract = Contract::parse(text)?;
        contract.resolve(&self.registry, owner)?;
        let contract = Arc::new(contract);
        let new = || Arc::new(ContractHistory { owner: owner.clone(), revisions: Vec::new(), applied: Vec::new() });
        if let Some(history) = self.contracts.get(&contract.id) {
            if history.owner != *owner {
                return Err(Misfit::Fixed { what: format!("the owner of contract {}", contract.id) });
            }
            if history.current().format != contract.format {
                return Err(Misfit::Fixed { what: format!("the format of contract {}", contract.id) });
            }
        }
        let history = self.contracts.entry(contract.id.clone()).or_insert_with(new);
        let history = Arc::make_mut(history);
        history.revisions.push(contract);
        history.applied.push(at);
        Ok(())
    }

    fn delete_contract(&mut self, id: &ContractId) -> Result<(), Misfit> {
        if let Some(product) = self.products.values().find(|p| p.contract == *id) {
            return Err(in_use("contract", id, format!("product {}", product.id)));
        }
        self.contracts.remove(id).map(drop).ok_or_else(|| missing("contract", id))
    }

    fn put_product(&mut self, product: &Product) -> Result<(), Misfit> {
        self.organization(&product.owner)?;
        let contract = self.contracts.get(&product.contract).ok_or_else(|| missing("contract", &product.contract))?;
        if contract.owner != product.owner {
            return Err(Misfit::Invalid(format!("contract {} belongs to another organization", product.contract)));
        }
        if let Some(old) = self.products.get(&product.id)
            && (old.owner != product.owner || old.contract != product.contract)
        {
            return Err(Misfit::Fixed { what: format!("the owner or contract of product {}", product.id) });
        }
        self.check_partitions(product, contract)?;
        if !self.products.contains_key(&product.id) {
            self.check_product_topic(product)?;
            self.made += 1;
            self.numbers.insert(product.id.clone(), self.made);
        }
        self.products.insert(product.id.clone(), Arc::new(product.clone()));
        Ok(())
    }

    /// Events keep their place, so a sequence can be added and never be taken away.
    fn check_partitions(&self, product: &Product, contract: &ContractHistory) -> Result<(), Misfit> {
        let invalid = |problem: String| Err(Misfit::Invalid(format!("product {}: {problem}", product.id)));
        if !(1..=MAX_PARTITIONS).contains(&product.partitions) {
            return invalid(format!("`partitions` is 1 to {MAX_PARTITIONS}"));
        }
        if contract.current().format == Format::Epcis && product.partitions > 1 {
            return invalid("EPCIS queries answer in the order of capture, which needs `partitions: 1`".into());
        }
        match self.products.get(&product.id) {
            Some(old) if old.partitions > product.partitions => {
                invalid(format!("`partitions` is {} and can only grow", old.partitions))
            }
            _ => Ok(()),
        }
    }

    fn delete_product(&mut self, id: &ProductId) -> Result<(), Misfit> {
        if !self.products.contains_key(id) {
            return Err(missing("product", id));
        }
        let active = |g: &&Arc<Grant>| g.product == *id && matches!(g.status, GrantState::Active { .. });
        if let Some(grant) = self.grants.values().find(active) {
            return Err(in_use("product", id, format!("grant {}", grant.id)));
        }
        self.grants.retain(|_, grant| grant.product != *id);
        self.by_consumer.retain(|(_, product), _| product != id);
        let grants = &self.grants;
        self.by_topic.retain(|_, ids| {
            ids.retain(|id| grants.contains_key(id));
            !ids.is_empty()
        });
        self.products.remove(id);
        self.numbers.remove(id);
        Ok(())
    }

    fn put_grant(&mut self, grant: &Grant) -> Result<(), Misfit> {
        self.organization(&grant.consumer)?;
        let contract = self.contract_of(&grant.product).ok_or_else(|| missing("product", &grant.product))?;
        if !contract.current().allows_purpose(&grant.purpose) {
            let known = contract.current().purposes.join(", ");
            return Err(Misfit::Invalid(format!("grant {}: the purpose must be one of: {known}", grant.id)));
        }
        if let Some(problem) = grant.conditions.view.problem() {
            return Err(Misfit::Invalid(format!("grant {}: {problem}", grant.id)));
        }
        if let Some(old) = self.grants.get(&grant.id)
            && (old.product != grant.product || old.consumer != grant.consumer)
        {
            return Err(Misfit::Fixed { what: format!("the product or consumer of grant {}", grant.id) });
        }
        self.check_topic(grant)?;
        let key = (grant.consumer.clone(), grant.product.clone());
        self.by_consumer.entry(key).or_default().insert(grant.id.clone());
        if let Some(old) = self.grants.insert(grant.id.clone(), Arc::new(grant.clone())) {
            self.unindex_topic(&old);
        }
        self.index_topic(grant);
        Ok(())
    }

    fn unindex(&mut self, grant: &Grant) {
        let key = (grant.consumer.clone(), grant.product.clone());
        if let Some(ids) = self.by_consumer.get_mut(&key) {
            ids.remove(&grant.id);
            if ids.is_empty() {
                self.by_consumer.remove(&key);
            }
        }
    }

    fn put_policy(&mut self, organization: &OrgId, text: &str) -> Result<(), Misfit> {
        self.organization(organization)?;
        if text.is_empty() {
            self.policies.remove(organization);
        } else {
            self.policies.insert(organization.clone(), Arc::from(text));
        }
        Ok(())
    }

    /// The contract that a product's events keep.
    pub fn contract_of(&self, product: &ProductId) -> Option<&Arc<ContractHistory>> {
        self.contracts.get(&self.products.get(product)?.contract)
    }

    /// The contract that a text of its owner is, or was, a revision of.
    pub fn contract_with(&self, owner: &OrgId, text: &str) -> Option<&ContractId> {
        let mut owned = self.contracts.iter().filter(|(_, history)| history.owner == *owner);
        owned.find(|(_, history)| history.revisions.iter().any(|revision| revision.text == text)).map(|(id, _)| id)
    }

    /// The products that keep that contract.
    pub fn products_with(&self, contract: &ContractId) -> impl Iterator<Item = &Arc<Product>> {
        self.products.values().filter(move |product| product.contract == *contract)
    }

    /// What the events of a product are.
    pub fn format_of(&self, product: &ProductId) -> Option<Format> {
        Some(self.contract_of(product)?.current().format)
    }

    /// All grants of that consumer on that product, whatever their state, by id.
    pub fn grants_of(&self, consumer: &OrgId, product: &ProductId) -> Vec<&Arc<Grant>> {
        let ids = self.by_consumer.get(&(consumer.clone(), product.clone()));
        ids.into_iter().flatten().filter_map(|id| self.grants.get(id)).collect()
    }

    /// Products that there are grants for that consumer on, whatever their state.
    pub(crate) fn granted_to<'a>(&'a self, consumer: &'a OrgId) -> impl Iterator<Item = &'a ProductId> {
        // No id comes before this one.
        let first = "0".parse().expect("a digit is an id");
        let all = self.by_consumer.range((consumer.clone(), first)..);
        all.map(|(key, _)| key).take_while(move |(of, _)| of == consumer).map(|(_, product)| product)
    }

    /// Grants of that consumer on that product that may be used now, by id.
    pub fn live_grants(
        &self,
        consumer: &OrgId,
        product: &ProductId,
        now: Timestamp,
    ) -> impl Iterator<Item = &Arc<Grant>> {
        self.grants_of(consumer, product).into_iter().filter(move |grant| grant.is_live(now))
    }

    /// The principal, if it and its organization may act.
    pub fn active_principal(&self, id: &PrincipalId) -> Option<(&Arc<Principal>, &Arc<Organization>)> {
        let principal = self.principals.get(id).filter(|p| !p.suspended)?;
        let organization = self.organizations.get(&principal.organization).filter(|o| !o.suspended)?;
        Some((principal, organization))
    }
}

fn missing(kind: &'static str, id: impl ToString) -> Misfit {
    Misfit::Missing { kind, id: id.to_string() }
}

fn in_use(kind: &'static str, id: impl ToString, by: String) -> Misfit {
    Misfit::InUse { kind, id: id.to_string(), by }
}
