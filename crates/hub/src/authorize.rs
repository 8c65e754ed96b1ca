//! May they? Facts from the model go to the policies once; what comes back is a permit that is checked by counters.
//!
//! Permits and readers are kept while they hold, so that the hot path evaluates no policy. A refusal goes on record.

use std::sync::Arc;

use quick_cache::sync::Cache;
use tokio::sync::watch;
use tradelane_audit::{Leaf, Outcome, Word};
use tradelane_model::journal::{Change, Entry};
use tradelane_model::{
    Class, CredentialId, ErrorCode, Grant, Model, OrgId, Organization, Product, ProductId, Timestamp, codes,
};
use tradelane_policy::{Action, Authorizer, Denial, Epochs, Permit, Request, Resource, Scope};

use crate::Hub;
use crate::audit_trail::{REFUSE, hub_leaf};
use crate::doorway::Caller;
use crate::error::{HubError, Result};
use crate::health::add;
use crate::read::Reader;

/// What somebody wants to do, as use cases name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Act {
    Discover,
    ListGrants,
    RequestAccess,
    ReturnGrant,
    Read,
    Publish,
    Explain,
    Detokenize,
    Quarantine,
    ManageProducts,
    ManageGrants,
    ManagePrincipals,
    ManagePolicies,
    ManageHub,
    Erase,
    Audit,
}

/// What with.
#[derive(Debug, Clone, Copy)]
pub(crate) enum On<'a> {
    Hub,
    /// The caller's own organization.
    Own,
    Organization(&'a OrgId),
    Product(&'a ProductId),
    Grant(&'a Grant),
}

impl Act {
    fn action(self, on: On<'_>) -> Action {
        match self {
            Self::Discover => Action::Discover,
            Self::ListGrants => Action::ListGrants,
            Self::RequestAccess => Action::RequestAccess,
            Self::ReturnGrant => Action::ReturnGrant,
            Self::Read => Action::Read,
            Self::Publish => Action::Publish,
            Self::Explain => Action::Explain,
            Self::Detokenize => Action::Detokenize,
            Self::Quarantine => Action::ReadQuarantine,
            // What does not exist yet is a matter of the organization that will own it.
            Self::ManageProducts | Self::ManageGrants if matches!(on, On::Own | On::Organization(_)) => {
                Action::CreateProduct
            }
            Self::ManageProducts => Action::ManageProduct,
            Self::ManageGrants => Action::DecideGrant,
            Self::ManagePrincipals => Action::ManagePrincipals,
            Self::ManagePolicies => Action::ManagePolicies,
            Self::ManageHub => Action::ManageOrganizations,
            Self::Erase => Action::EraseSubject,
            Self::Audit => Action::ReadAudit,
        }
    }

    /// What an access token's scopes call it.
    fn scope(self) -> &'static str {
        match self {
            Self::Discover | Self::ListGrants | Self::RequestAccess | Self::Read => "read",
            Self::Publish => "publish",
            Self::Audit => "audit",
            _ => "manage",
        }
    }
}

/// How often work is begun, at most, if what its permit rests on changes each time before it is done.
const CHANGES: usize = 5;

/// Does work that may find at its end that something changed under its permit, and does it anew then: who may no longer is
/// refused at its beginning, and who still may hears nothing of it.
pub(crate) async fn through_changes<T, W: Future<Output = Result<T>>>(mut work: impl FnMut() -> W) -> Result<T> {
    for _ in 0..CHANGES {
        match work().await {
            Err(error) if error.code == codes::GRANT_ENDED => {}
            done => return done,
        }
    }
    // That it cannot be done now is no refusal: whoever asks is to come again.
    Err(HubError::of(codes::OVERLOADED).retry(1))
}

type PermitKey = (CredentialId, Act, String);
/// Whose reader: the credential, the product, the purpose that was asked for.
pub(crate) type ReaderKey = (CredentialId, ProductId, Option<String>);

/// The authorizer with all that it has answered and that still holds.
pub(crate) struct Authority {
    authorizer: Authorizer,
    permits: Cache<PermitKey, Arc<Permit>>,
    pub(crate) readers: Cache<ReaderKey, Reader>,
    changes: watch::Sender<u64>,
}

impl Authority {
    pub(crate) fn new(model: &Model) -> Result<Self> {
        let authorizer = Authorizer::new(Arc::new(Epochs::new()));
        for (organization, text) in &model.policies {
            let unusable = |error| HubError::of(codes::FILTER_INVALID).because(format!("{organization}: {error}"));
            authorizer.set_policies(organization, text).map_err(unusable)?;
        }
        let (changes, _) = watch::channel(0);
        Ok(Self { authorizer, permits: Cache::new(50_000), readers: Cache::new(50_000), changes })
    }

    /// Ends every permit that rests on what these entries changed. The new model is in place by now.
    pub(crate) fn moved(&self, model: &Model, entries: &[Entry]) {
        let epochs = self.authorizer.epochs();
        for entry in entries {
            match &entry.change {
                Change::OrganizationPut(organization) => epochs.bump(&Scope::Org(organization.id.clone())),
                Change::OrganizationDeleted(id) => epochs.bump(&Scope::Org(id.clone())),
                Change::PrincipalPut(principal) => epochs.bump(&Scope::Principal(principal.id.clone())),
                Change::PrincipalDeleted(id) => epochs.bump(&Scope::Principal(id.clone())),
                Change::CredentialRevoked(id) | Change::CredentialRetired { id, .. } => {
                    if let Some(credential) = model.credentials.get(id) {
                        epochs.bump(&Scope::Principal(credential.principal.clone()));
                    }
                }
                Change::ProductPut(product) => epochs.bump(&Scope::Product(product.id.clone())),
                Change::ProductDeleted(id) => epochs.bump(&Scope::Product(id.clone())),
                Change::ContractPut { owner, text } => match model.contract_with(owner, text) {
                    Some(contract) => model
                        .products_with(contract)
                        .for_each(|product| epochs.bump(&Scope::Product(product.id.clone()))),
                    None => epochs.bump(&Scope::Global),
                },
                // No product keeps it any more; those that did were changed or deleted before.
                Change::ContractDeleted(_) => {}
                Change::GrantPut(grant) => epochs.bump(&Scope::Grant(grant.id.clone())),
                Change::GrantDeleted(id) => epochs.bump(&Scope::Grant(id.clone())),
                Change::PolicyPut { organization, text } => self.put_policies(organization, text),
                Change::CredentialIssued(_)
                | Change::SubjectErased { .. }
                | Change::QueryPut { .. }
                | Change::QueryDeleted { .. }
                | Change::SchemaRegistered { .. }
                | Change::SchemaDeleted { .. }
                | Change::SchemaSettingsPut { .. } => {}
            }
        }
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// Policies were checked before they went to the journal. Should another release have let in what this one cannot
    /// read, nothing is permitted until somebody corrects it: everything ends, and the error says why.
    fn put_policies(&self, organization: &OrgId, text: &str) {
        if text.is_empty() {
            return self.authorizer.remove_policies(organization);
        }
        if let Err(error) = self.authorizer.set_policies(organization, text) {
            tracing::error!(%organization, %error, "policies in the journal cannot be used; all permits end");
            self.authorizer.epochs().bump(&Scope::Global);
        }
    }

    /// Moves with every change that may end a permit.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

impl Hub {
    /// The permit, or a refusal that is on record.
    pub(crate) fn allow(&self, caller: &Caller, act: Act, on: On<'_>) -> Result<Arc<Permit>> {
        let result = self.decide(caller, act, on);
        if let Err(error) = &result {
            let product = match on {
                On::Product(product) => Some(product),
                On::Grant(grant) => Some(&grant.product),
                _ => None,
            };
            self.record_refusal(caller, &Word::near(act.action(on).as_str()), product, error.code);
        }
        result
    }

    /// As [`Hub::allow`], but nobody is told: for questions that the hub asks itself.
    pub(crate) fn decide(&self, caller: &Caller, act: Act, on: On<'_>) -> Result<Arc<Permit>> {
        for _ in 0..CHANGES {
            match self.decide_now(caller, act, on) {
                Err(error) if error.code == codes::CONFLICT => {}
                decided => return decided,
            }
        }
        Err(HubError::of(codes::OVERLOADED).retry(1))
    }

    fn decide_now(&self, caller: &Caller, act: Act, on: On<'_>) -> Result<Arc<Permit>> {
        let model = self.model();
        let product = match on {
            On::Product(id) => Some(model.products.get(id).ok_or_else(HubError::not_found)?),
            On::Grant(grant) => Some(model.products.get(&grant.product).ok_or_else(HubError::not_found)?),
            _ => None,
        };
        let is_in_scope = caller.in_scope(act.scope(), product.map(|product| product.id.as_str()));
        // What the caller may not know of is not there, neither to be asked about nor to be out of a token's scope.
        if (!is_in_scope || matches!(act, Act::Discover | Act::RequestAccess))
            && product.is_some_and(|product| !self.may_know_of(&model, caller, product))
        {
            return Err(HubError::not_found());
        }
        if !is_in_scope {
            let detail = format!("The access token's scope does not cover this: it needs {}.", act.scope());
            return Err(HubError::new(codes::FORBIDDEN, detail));
        }
        let now = self.now();
        // A permit that a newer token of the same credential was given is none for one that has run out.
        if now >= caller.until.plus_seconds(self.inner().clock_tolerance) {
            return Err(HubError::of(codes::CREDENTIALS_EXPIRED));
        }
        let key = (caller.credential.clone(), act, key_of(on));
        let authority = &self.inner().authority;
        if let Some(permit) = authority.permits.get(&key)
            && permit.check(now).is_ok()
        {
            return Ok(permit);
        }
        let permit = Arc::new(self.ask(&model, caller, act, on, product, now)?);
        authority.permits.insert(key, permit.clone());
        Ok(permit)
    }

    fn ask(
        &self,
        model: &Model,
        caller: &Caller,
        act: Act,
        on: On<'_>,
        product: Option<&Arc<Product>>,
        now: Timestamp,
    ) -> Result<Permit> {
        let authorizer = &self.inner().authority.authorizer;
        let grant = if let On::Grant(grant) = on { Some(grant) } else { None };
        let owner_id = match on {
            On::Organization(id) => Some(id),
            On::Own => Some(&caller.organization.id),
            _ => product.map(|product| &product.owner),
        };
        // Before any other fact is looked at: what changes from here on ends the permit.
        let snapshot = authorizer.snapshot(
            &caller.principal.id,
            &caller.organization.id,
            owner_id,
            product.map(|product| &product.id),
            grant.map(|grant| &grant.id),
        );
        let fresh = self.model();
        let active = fresh.active_principal(&caller.principal.id);
        let (principal, organization) = active.ok_or_else(|| HubError::of(codes::CREDENTIALS_EXPIRED))?;
        let live = fresh.credentials.get(&caller.credential).is_some_and(|credential| credential.is_live(now));
        if !live {
            return Err(HubError::of(codes::CREDENTIALS_EXPIRED));
        }
        let contract = product.and_then(|product| fresh.contract_of(&product.id)).map(|history| history.current());
        let classes = contract.map(|contract| contract.shape.classes()).unwrap_or_default();
        let reveals: Vec<Class> = grant.map(|grant| revealed(&classes, grant)).unwrap_or_default();
        let owner: Option<&Arc<Organization>> = owner_id.and_then(|id| fresh.organizations.get(id));
        let resource = match (on, product, owner) {
            (On::Hub, ..) => Resource::Hub,
            (On::Product(_) | On::Grant(_), Some(product), Some(owner)) => Resource::Product {
                product,
                owner,
                region: contract.and_then(|contract| contract.region.as_deref()),
                classes: &classes,
            },
            (On::Own | On::Organization(_), _, Some(organization)) => Resource::Organization(organization),
            _ => return Err(HubError::not_found()),
        };
        // A grant as the model has it now, not as it was when the caller found it.
        let grant = grant.and_then(|grant| fresh.grants.get(&grant.id)).map(|grant| &**grant);
        let request = Request {
            principal,
            org: organization,
            action: act.action(on),
            resource,
            grant,
            reveals: &reveals,
            purpose: grant.map(|grant| grant.purpose.as_str()),
            region: None,
            ip: None,
            now,
            until: caller.until.plus_seconds(self.inner().clock_tolerance),
            snapshot,
        };
        let permit = authorizer.authorize(request).map_err(|denial| self.denied(model, caller, product, denial))?;
        // Something changed meanwhile.
        permit.check(now).map_err(|_| HubError::of(codes::CONFLICT))?;
        Ok(permit)
    }

    /// What the caller may not even know of looks like what does not exist.
    fn denied(&self, model: &Model, caller: &Caller, product: Option<&Arc<Product>>, denial: Denial) -> HubError {
        if product.is_some_and(|product| !self.may_know_of(model, caller, product)) {
            return HubError::not_found().because(denial);
        }
        HubError::new(denial.code(), denial.sentence.clone()).because(denial.policies.join(", "))
    }

    /// May the caller's organization know that there is such a product? It may if it can be discovered, or if the
    /// organization has a part in it: also one whose grant has ended.
    pub(crate) fn may_know_of(&self, model: &Model, caller: &Caller, product: &Product) -> bool {
        let own = &caller.organization.id;
        product.discoverable || product.owner == *own || !model.grants_of(own, &product.id).is_empty()
    }

    /// Are these policies usable?
    pub(crate) fn check_policies(&self, organization: &OrgId, text: &str) -> Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        let checked = self.inner().authority.authorizer.check_policies(organization, text);
        checked.map_err(|error| HubError::new(error.code(), format!("policies of {organization}: {error}")))
    }

    /// Puts a refusal on record. It does not wait: what was refused did not happen.
    pub(crate) fn record_refusal(&self, caller: &Caller, action: &Word, product: Option<&ProductId>, code: ErrorCode) {
        add(&self.inner().counters.refusals, 1);
        let mut leaf: Leaf = hub_leaf(self.now(), caller, REFUSE).because(code);
        leaf.outcome = Outcome::Refused;
        leaf.action = Word::near(&format!("{REFUSE}:{action}"));
        leaf.owner = product.and_then(|product| self.owner_of(product)).filter(|owner| *owner != leaf.org);
        leaf.product = product.cloned();
        if let Err(error) = self.inner().audit.submit(&[leaf]).map(drop) {
            tracing::warn!(code = %error.code(), "a refusal could not be recorded");
        }
    }
}

fn key_of(on: On<'_>) -> String {
    match on {
        On::Hub => "hub".to_owned(),
        On::Own => "own".to_owned(),
        On::Organization(id) => format!("o/{id}"),
        On::Product(id) => format!("p/{id}"),
        On::Grant(grant) => format!("g/{}", grant.id),
    }
}

/// The classes of which a grant's view shows anything, in whatever form.
fn revealed(classes: &[Class], grant: &Grant) -> Vec<Class> {
    use tradelane_model::view::Action as Shown;
    let view = &grant.conditions.view;
    let hides = |action: &Shown| matches!(action, Shown::Drop | Shown::Redact);
    // A field that is shown against its class may be of any: what is not known counts as shown.
    let against = view.fields.values().any(|action| !hides(action));
    classes.iter().filter(|class| against || !hides(&view.class_action(class))).cloned().collect()
}
