//! Manifests: a plan first, then the same plan carried out whole or not at all.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Known;

use serde::Serialize;
use tradelane_model::journal::Change;
use tradelane_model::manifest::{self, Manifest};
use tradelane_model::plan::{self, Plan, Verb};
use tradelane_model::{Model, OrgId, Product, ProductId, codes};
use tradelane_storage::journal::MAX_EVENTS;

use crate::Hub;
use crate::audit_trail::{CHANGE, PLAN, hub_leaf};
use crate::authorize::{Act, On};
use crate::control::misfit;
use crate::doorway::{Audited, Caller};
use crate::error::{HubError, Result};
use crate::evolve;
use crate::views;

/// A manifest file: its name for messages, and its text.
pub type File = (String, String);

/// The most files, changes and bytes in one apply. It is carried out as a whole, so all its changes are one append to the
/// journal.
const MAX_FILES: usize = MAX_EVENTS;
const MAX_BYTES: usize = 8 << 20;

/// One line of a plan, for people and programs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlanLine {
    /// `create`, `change`, `delete`, `no-op`
    pub verb: Verb,
    /// `organization`, `principal`, `contract`, `product`, `grant`, `policy`
    pub kind: &'static str,
    /// Which.
    pub id: String,
}

impl Hub {
    /// What an apply of these files would do. Changes nothing.
    pub async fn plan(&self, caller: &Caller, files: &[File], prune: bool) -> Result<Audited<Vec<PlanLine>>> {
        let manifests = parse(files)?;
        self.may_apply(caller, &manifests)?;
        let (plan, _) = self.plan_for(caller, &self.model(), &manifests, prune)?;
        let mut leaf = hub_leaf(self.now(), caller, PLAN);
        leaf.count = plan.steps.len() as u64;
        self.audited(leaf, lines(&plan)).await
    }

    /// Makes the model as these files say.
    pub async fn apply(&self, caller: &Caller, files: &[File], prune: bool) -> Result<Audited<Vec<PlanLine>>> {
        let manifests = parse(files)?;
        self.may_apply(caller, &manifests)?;
        let leaf = hub_leaf(self.now(), caller, CHANGE);
        let decide = |model: &Model, _| {
            let (plan, pins) = self.plan_for(caller, model, &manifests, prune)?;
            Ok((plan.changes().cloned().chain(pins).collect(), lines(&plan)))
        };
        let (value, leaf) = self.change(&caller.principal.id, leaf, decide).await?;
        self.forget_deleted_products().await;
        Ok(Audited { value, leaf })
    }

    /// The plan, and what a breaking change of a contract does beside it.
    fn plan_for(
        &self,
        caller: &Caller,
        model: &Model,
        manifests: &[Manifest],
        prune: bool,
    ) -> Result<(Plan, Vec<Change>)> {
        let plan = plan::plan(model, manifests, prune, &caller.principal.id, self.now()).map_err(misfit)?;
        let mut after = model.clone();
        for change in plan.changes() {
            let entry =
                tradelane_model::Entry { at: self.now(), by: caller.principal.id.clone(), change: change.clone() };
            after.apply(&entry).map_err(misfit)?;
        }
        // What compiles only with a library of its own is tried before anything is said to be fine.
        let mut rules = HashMap::new();
        for manifest in manifests {
            match manifest {
                // As it will be: with what it refers to.
                Manifest::Contract { contract, .. } => {
                    let applied = after.contracts.get(&contract.id).map(|history| history.current());
                    drop(views::compile_contract(applied.map_or(contract, |applied| applied))?);
                }
                Manifest::Grant(grant) => {
                    let rules = match rules.entry(&grant.product) {
                        Known::Occupied(known) => known.into_mut(),
                        Known::Vacant(new) => new.insert(views::rules_of(&after, &grant.product)?),
                    };
                    views::check_conditions(rules, &grant.conditions)?;
                }
                Manifest::Policy { organization, text } => self.check_policies(organization, text)?,
                Manifest::Product(product) => self.check_cleanup(product)?,
                _ => {}
            }
        }
        let pins = evolve::govern(model, &plan, &after, self.now())?;
        let changes = plan.changes().count() + pins.len();
        if changes > MAX_EVENTS {
            let detail = format!(
                "This would be {changes} changes, and an apply makes at most {MAX_EVENTS}, all or none. Apply it in parts: \
                 organizations and principals first, then contracts and products, then grants."
            );
            return Err(HubError::new(codes::TOO_LARGE, detail));
        }
        Ok((plan, pins))
    }

    /// In front of a cluster nothing is compacted by the hub, and nobody is to believe so.
    fn check_cleanup(&self, product: &Product) -> Result<()> {
        if self.inner().cluster.is_none() || product.cleanup.is_delete() {
            return Ok(());
        }
        let detail =
            format!("product {}: `cleanup` is the topic's `cleanup.policy`, which is set at the cluster", product.id);
        Err(HubError::new(codes::MANIFEST_INVALID, detail))
    }

    /// An operator may apply anything but what only an owner decides; an owner may apply what is its own.
    pub(crate) fn may_apply(&self, caller: &Caller, manifests: &[Manifest]) -> Result<()> {
        let model = self.model();
        let new: HashMap<&ProductId, &OrgId> = manifests
            .iter()
            .filter_map(|manifest| match manifest {
                Manifest::Product(product) => Some((&product.id, &product.owner)),
                _ => None,
            })
            .collect();
        for manifest in manifests {
            match manifest {
                Manifest::Organization(_) => drop(self.allow(caller, Act::ManageHub, On::Hub)?),
                Manifest::Principal(principal) => {
                    let operator_role = principal.roles.contains(&tradelane_model::Role::Operator);
                    if operator_role || principal.organization != caller.organization.id {
                        self.allow(caller, Act::ManageHub, On::Hub)?;
                    } else {
                        self.allow(caller, Act::ManagePrincipals, On::Organization(&principal.organization))?;
                    }
                }
                Manifest::Policy { organization, .. } => {
                    self.allow(caller, Act::ManagePolicies, On::Organization(organization))?;
                }
                Manifest::Contract { owner, .. } => {
                    self.allow(caller, Act::ManageProducts, On::Organization(owner))?;
                }
                Manifest::Product(product) => {
                    self.allow(caller, Act::ManageProducts, On::Organization(&product.owner))?;
                }
                Manifest::Grant(grant) => {
                    let absent = || {
                        let detail = format!("grant {}: there is no product {}", grant.id, grant.product);
                        HubError::new(codes::MANIFEST_INVALID, detail)
                    };
                    let old = model.products.get(&grant.product);
                    let owner = old.map(|product| &product.owner).or_else(|| new.get(&grant.product).copied());
                    let owner = owner.ok_or_else(absent)?;
                    let allowed = self.allow(caller, Act::ManageGrants, On::Organization(owner));
                    let is_hidden = old.is_some_and(|product| !self.may_know_of(&model, caller, product));
                    drop(allowed.map_err(|error| if is_hidden { absent().because(error) } else { error })?);
                }
            }
        }
        Ok(())
    }
}

pub(crate) fn parse(files: &[File]) -> Result<Vec<Manifest>> {
    let bytes: usize = files.iter().map(|(_, text)| text.len()).sum();
    if files.len() > MAX_FILES || bytes > MAX_BYTES {
        let detail = format!("An apply has at most {MAX_FILES} files and {MAX_BYTES} bytes; apply it in parts.");
        return Err(HubError::new(codes::TOO_LARGE, detail));
    }
    let mut manifests = Vec::new();
    for (name, text) in files {
        let parsed = manifest::parse(name, text);
        manifests.extend(parsed.map_err(|error| HubError::new(codes::MANIFEST_INVALID, error.to_string()))?);
    }
    Ok(manifests)
}

fn lines(plan: &Plan) -> Vec<PlanLine> {
    plan.steps.iter().map(|step| PlanLine { verb: step.verb, kind: step.kind, id: step.id.clone() }).collect()
}
