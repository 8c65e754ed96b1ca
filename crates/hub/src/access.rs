//! Access: a consumer asks, the owner decides, the grant ends. Every step takes effect with the next read.

use tradelane_model::grant::{Conditions, Grant, GrantState};
use tradelane_model::journal::Change;
use tradelane_model::{GrantId, Model, ProductId, TopicName, codes};

use crate::Hub;
use crate::audit_trail::{CHANGE, LIST, hub_leaf};
use crate::authorize::{Act, On};
use crate::doorway::{Audited, Caller};
use crate::error::{HubError, Result};
use crate::views;

/// What a consumer asks for.
#[derive(Debug, Clone)]
pub struct AccessRequest {
    /// The product.
    pub product: ProductId,
    /// What for; one of the contract's purposes.
    pub purpose: String,
    /// A word to the owner; kept as the grant's terms until the owner writes them.
    pub note: String,
    /// The Kafka topic under which to find it; none: as the owner decides.
    pub topic: Option<TopicName>,
}

/// The most characters of a note or reason.
const MAX_TEXT: usize = 2_000;

impl Hub {
    /// Asks the owner of a product for a grant.
    pub async fn request_access(&self, caller: &Caller, request: AccessRequest) -> Result<Audited<Grant>> {
        self.allow(caller, Act::RequestAccess, On::Product(&request.product))?;
        short(&request.note)?;
        let mut leaf = hub_leaf(self.now(), caller, CHANGE);
        leaf.product = Some(request.product.clone());
        leaf.owner = self.owner_of(&request.product);
        let id = new_grant_id()?;
        let decide = |_: &Model, _| {
            let grant = Grant {
                id: id.clone(),
                product: request.product.clone(),
                consumer: caller.organization.id.clone(),
                purpose: request.purpose.clone(),
                conditions: Conditions {
                    terms: request.note.clone(),
                    topic: request.topic.clone(),
                    ..Conditions::default()
                },
                status: GrantState::Requested,
                pseudonym_epoch: 0,
                pin: None,
            };
            Ok((vec![Change::GrantPut(grant.clone())], grant))
        };
        let (value, leaf) = self.change(&caller.principal.id, leaf, decide).await?;
        Ok(Audited { value, leaf })
    }

    /// The grants in which the caller's organization has a part: those it uses, and those on its products.
    pub async fn grants(&self, caller: &Caller) -> Result<Audited<Vec<Grant>>> {
        self.allow(caller, Act::ListGrants, On::Own)?;
        let model = self.model();
        let own = &caller.organization.id;
        let owns = |grant: &Grant| model.products.get(&grant.product).is_some_and(|p| p.owner == *own);
        let mine = model.grants.values().filter(|grant| grant.consumer == *own || owns(grant));
        let grants: Vec<Grant> = mine.map(|grant| (**grant).clone()).collect();
        let mut leaf = hub_leaf(self.now(), caller, LIST);
        leaf.count = grants.len() as u64;
        self.audited(leaf, grants).await
    }

    /// The owner agrees to a request, or changes a grant. Where it names no topic, the one that was asked for stays.
    pub async fn approve(&self, caller: &Caller, id: &GrantId, conditions: Conditions) -> Result<Audited<Grant>> {
        let product = self.grant_on_own_product(caller, id)?.product.clone();
        views::check_conditions(&views::rules_of(&self.model(), &product)?, &conditions)?;
        short(&conditions.terms)?;
        self.decide_grant(caller, id, |old, at| {
            if !matches!(old.status, GrantState::Requested | GrantState::Active { .. }) {
                return Err(ended());
            }
            let status = GrantState::Active { by: caller.principal.id.clone(), at };
            let topic = conditions.topic.clone().or_else(|| old.conditions.topic.clone());
            Ok(Grant { conditions: Conditions { topic, ..conditions.clone() }, status, ..old.clone() })
        })
        .await
    }

    /// The owner refuses a request.
    pub async fn deny(&self, caller: &Caller, id: &GrantId, reason: &str) -> Result<Audited<Grant>> {
        self.grant_on_own_product(caller, id)?;
        short(reason)?;
        self.decide_grant(caller, id, |old, _| {
            if old.status != GrantState::Requested {
                return Err(ended());
            }
            let status = GrantState::Denied { by: caller.principal.id.clone(), reason: reason.to_owned() };
            Ok(Grant { status, ..old.clone() })
        })
        .await
    }

    /// The owner ends a grant, or the consumer gives it up. The next read is refused.
    pub async fn revoke(&self, caller: &Caller, id: &GrantId, reason: &str) -> Result<Audited<Grant>> {
        short(reason)?;
        let model = self.model();
        let own = model.grants.get(id).is_some_and(|grant| grant.consumer == caller.organization.id);
        if own {
            self.allow(caller, Act::ReturnGrant, On::Own)?;
        } else {
            self.grant_on_own_product(caller, id)?;
        }
        self.decide_grant(caller, id, |old, at| {
            if !matches!(old.status, GrantState::Active { .. } | GrantState::Requested) {
                return Err(ended());
            }
            let status = GrantState::Revoked { by: caller.principal.id.clone(), at, reason: reason.to_owned() };
            Ok(Grant { status, ..old.clone() })
        })
        .await
    }

    /// The grant, if it is on a product whose grants the caller may decide on. Otherwise it looks like none.
    fn grant_on_own_product(&self, caller: &Caller, id: &GrantId) -> Result<Grant> {
        let model = self.model();
        let grant = model.grants.get(id).ok_or_else(HubError::not_found)?;
        let owner = model.products.get(&grant.product).map(|product| &product.owner);
        if owner != Some(&caller.organization.id) && grant.consumer != caller.organization.id {
            return Err(HubError::not_found());
        }
        self.allow(caller, Act::ManageGrants, On::Product(&grant.product))?;
        Ok((**grant).clone())
    }

    async fn decide_grant(
        &self,
        caller: &Caller,
        id: &GrantId,
        next: impl Fn(&Grant, tradelane_model::Timestamp) -> Result<Grant>,
    ) -> Result<Audited<Grant>> {
        let grant = self.model().grants.get(id).cloned().ok_or_else(HubError::not_found)?;
        let mut leaf = hub_leaf(self.now(), caller, CHANGE);
        leaf.product = Some(grant.product.clone());
        leaf.grant = Some(id.clone());
        // The other side of a grant has a part in what happens to it.
        let owner = self.owner_of(&grant.product);
        leaf.owner = if owner.as_ref() == Some(&caller.organization.id) { Some(grant.consumer.clone()) } else { owner };
        let decide = |model: &Model, at| {
            let old = model.grants.get(id).ok_or_else(HubError::not_found)?;
            let new = next(old, at)?;
            Ok((vec![Change::GrantPut(new.clone())], new))
        };
        let (value, leaf) = self.change(&caller.principal.id, leaf, decide).await?;
        Ok(Audited { value, leaf })
    }
}

fn ended() -> HubError {
    HubError::new(codes::CONFLICT, "The grant is not in a state that allows this: it was answered or ended before.")
}

fn short(text: &str) -> Result<()> {
    if text.chars().count() <= MAX_TEXT {
        return Ok(());
    }
    Err(HubError::new(codes::BAD_PARAMETER, format!("A note, reason or terms have at most {MAX_TEXT} characters.")))
}

fn new_grant_id() -> Result<GrantId> {
    let random: [u8; 8] = tradelane_keys::random_array();
    let id = format!("grant-{}", crate::authenticate::to_hex(&random));
    id.parse().map_err(|error| HubError::of(codes::INTERNAL).because(error))
}
