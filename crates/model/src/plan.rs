//! Plans: what must change so that the model is as manifests say. Pure; carried out by the hub.

use crate::grant::{Grant, GrantState};
use crate::id::{OrgId, PrincipalId};
use crate::journal::{Change, Entry};
use crate::manifest::{GrantManifest, Manifest};
use crate::state::{Misfit, Model};
use crate::time::Timestamp;

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// It is not there yet.
    Create,
    /// It is there and differs.
    Change,
    /// It is there and no manifest names it.
    Delete,
    /// It is as it should be.
    NoOp,
}

/// One line of a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// What it does.
    pub verb: Verb,
    /// What kind of thing.
    pub kind: &'static str,
    /// Which.
    pub id: String,
    /// The change to make; none for a no-op.
    pub change: Option<Change>,
}

/// The steps, in the order in which they can be carried out.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    /// The steps.
    pub steps: Vec<Step>,
}

impl Plan {
    /// The changes to make.
    pub fn changes(&self) -> impl Iterator<Item = &Change> {
        self.steps.iter().filter_map(|step| step.change.as_ref())
    }
}

/// Compares manifests with the model. With `prune`, what the named owners have and no manifest names is deleted
/// (grants are revoked, not forgotten). The plan is tried on a copy of the model first: what does not fit is said
/// before anything is done.
pub fn plan(
    model: &Model,
    manifests: &[Manifest],
    prune: bool,
    by: &PrincipalId,
    at: Timestamp,
) -> Result<Plan, Misfit> {
    let mut steps: Vec<Step> = ordered(manifests).into_iter().map(|m| step(model, m, by, at)).collect();
    if prune {
        steps.extend(deletions(model, manifests, by, at));
    }
    let plan = Plan { steps };
    let mut trial = model.clone();
    for change in plan.changes() {
        trial.apply(&Entry { at, by: by.clone(), change: change.clone() })?;
    }
    Ok(plan)
}

/// Things before what refers to them, whatever order the files have.
fn ordered(manifests: &[Manifest]) -> Vec<&Manifest> {
    let mut all: Vec<&Manifest> = manifests.iter().collect();
    all.sort_by_key(|manifest| match manifest {
        Manifest::Organization(_) => 0,
        Manifest::Policy { .. } => 1,
        Manifest::Principal(_) => 2,
        Manifest::Contract { .. } => 3,
        Manifest::Product(_) => 4,
        Manifest::Grant(_) => 5,
    });
    all
}

fn step(model: &Model, manifest: &Manifest, by: &PrincipalId, at: Timestamp) -> Step {
    match manifest {
        Manifest::Organization(new) => {
            compare("organization", &new.id, model.organizations.get(&new.id).map(|old| **old == *new), || {
                Change::OrganizationPut(new.clone())
            })
        }
        Manifest::Principal(new) => {
            compare("principal", &new.id, model.principals.get(&new.id).map(|old| **old == *new), || {
                Change::PrincipalPut(new.clone())
            })
        }
        Manifest::Contract { owner, contract } => {
            let same =
                model.contracts.get(&contract.id).map(|h| h.owner == *owner && h.current().text == contract.text);
            compare("contract", &contract.id, same, || Change::ContractPut {
                owner: owner.clone(),
                text: contract.text.clone(),
            })
        }
        Manifest::Product(new) => {
            compare("product", &new.id, model.products.get(&new.id).map(|old| **old == *new), || {
                Change::ProductPut(new.clone())
            })
        }
        Manifest::Policy { organization, text } => {
            let same = model.policies.get(organization).map(|old| **old == **text);
            compare("policy", organization, same, || Change::PolicyPut {
                organization: organization.clone(),
                text: text.clone(),
            })
        }
        Manifest::Grant(new) => grant_step(model, new, by, at),
    }
}

fn grant_step(model: &Model, new: &GrantManifest, by: &PrincipalId, at: Timestamp) -> Step {
    let old = model.grants.get(&new.id);
    let same = old.map(|old| {
        old.product == new.product
            && old.consumer == new.consumer
            && old.purpose == new.purpose
            && old.conditions == new.conditions
            && old.pseudonym_epoch == new.pseudonym_epoch
            && matches!(old.status, GrantState::Active { .. })
    });
    compare("grant", &new.id, same, || {
        Change::GrantPut(Grant {
            id: new.id.clone(),
            product: new.product.clone(),
            consumer: new.consumer.clone(),
            purpose: new.purpose.clone(),
            conditions: new.conditions.clone(),
            status: GrantState::Active { by: by.clone(), at },
            pseudonym_epoch: new.pseudonym_epoch,
            // What a manifest does not say it does not take away.
            pin: old.filter(|old| old.product == new.product).and_then(|old| old.pin.clone()),
        })
    })
}

fn compare(kind: &'static str, id: impl ToString, same: Option<bool>, change: impl FnOnce() -> Change) -> Step {
    let verb = match same {
        None => Verb::Create,
        Some(false) => Verb::Change,
        Some(true) => Verb::NoOp,
    };
    let change = (verb != Verb::NoOp).then(change);
    Step { verb, kind, id: id.to_string(), change }
}

/// What the organizations that manifests name have beyond what manifests name. Grants first, contracts last.
fn deletions(model: &Model, manifests: &[Manifest], by: &PrincipalId, at: Timestamp) -> Vec<Step> {
    let owners: Vec<&OrgId> =
        manifests.iter().filter_map(|m| if let Manifest::Organization(o) = m { Some(&o.id) } else { None }).collect();
    let named = |test: &dyn Fn(&Manifest) -> bool| manifests.iter().any(test);
    let mut steps = Vec::new();
    let mut delete = |kind, id: String, change| steps.push(Step { verb: Verb::Delete, kind, id, change: Some(change) });
    let owned = |product| model.products.get(product).is_some_and(|p| owners.contains(&&p.owner));
    for grant in model.grants.values().filter(|g| owned(&g.product) && matches!(g.status, GrantState::Active { .. })) {
        if !named(&|m| matches!(m, Manifest::Grant(g) if g.id == grant.id)) {
            let mut revoked = (**grant).clone();
            revoked.status = GrantState::Revoked { by: by.clone(), at, reason: "no longer in the manifests".into() };
            delete("grant", grant.id.to_string(), Change::GrantPut(revoked));
        }
    }
    for product in model.products.values().filter(|p| owners.contains(&&p.owner)) {
        if !named(&|m| matches!(m, Manifest::Product(p) if p.id == product.id)) {
            delete("product", product.id.to_string(), Change::ProductDeleted(product.id.clone()));
        }
    }
    for (id, history) in model.contracts.iter().filter(|(_, h)| owners.contains(&&h.owner)) {
        if !named(&|m| matches!(m, Manifest::Contract { contract, .. } if contract.id == history.current().id)) {
            delete("contract", id.to_string(), Change::ContractDeleted(id.clone()));
        }
    }
    steps
}
