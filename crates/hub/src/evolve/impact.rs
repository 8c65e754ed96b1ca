//! Who would notice a change, and how: beforehand, and without doing anything.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use tradelane_audit::Filter;
use tradelane_model::manifest::Manifest;
use tradelane_model::pattern::Pattern;
use tradelane_model::shape::{Shape, Types};
use tradelane_model::state::ContractHistory;
use tradelane_model::view::{Action, ViewSpec};
use tradelane_model::{
    Class, Contract, ContractId, Grant, GrantId, Model, OrgId, PrincipalId, ProductId, Timestamp, codes,
};
use tradelane_policy::RowFilter;

use super::breaking;
use super::down::class_at;
use super::groups::GroupImpact;
use crate::Hub;
use crate::apply::{File, parse};
use crate::audit_trail::{PLAN, READ, hub_leaf};
use crate::control::misfit;
use crate::doorway::{Audited, Caller};
use crate::error::{HubError, Result};
use crate::views;

/// Who read within that time is told as a reader, in seconds.
pub(super) const LATELY: i64 = 30 * 86_400;
/// The most leaves of the audit log that are looked at for readers of a product.
const MAX_LEAVES: usize = 20_000;

/// What one changed contract would do.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ContractImpact {
    /// The contract.
    pub contract: ContractId,
    /// Its version now.
    pub from: String,
    /// Its version afterwards.
    pub to: String,
    /// The levels of compatibility that are set for its products.
    pub compatibility: Vec<&'static str>,
    /// What breaks; nothing: the change may be made as it is.
    pub breaks: Vec<String>,
    /// Can it be applied? A breaking change needs a higher major version and a notice period.
    pub may_apply: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// Until when grants of now would be served the version of now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// The grants on its products, each with what would change for it.
    pub grants: Vec<GrantImpact>,
}

/// What would change for the readers of a grant.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GrantImpact {
    /// The grant.
    pub grant: GrantId,
    /// Its product.
    pub product: ProductId,
    /// Who reads by it.
    pub consumer: OrgId,
    /// What for.
    pub purpose: String,
    /// Does anything change for it?
    pub is_affected: bool,
    /// Fields that its view shows before or after.
    pub fields: Vec<FieldImpact>,
    /// Why its view could not be used any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub view: Option<String>,
    /// What its row filter looks at and would not find as it was.
    pub filter: Vec<String>,
    /// Who read by it within thirty days, the last one first.
    pub readers: Vec<ReaderImpact>,
    /// The Kafka consumer groups of the organization that committed offsets of the product within thirty days, by
    /// whichever of its grants, the last one first.
    pub groups: Vec<GroupImpact>,
}

/// What would happen to a field that a view shows.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldImpact {
    /// Where it is.
    pub at: String,
    /// What happens.
    pub change: FieldChange,
    /// How it was: types or action.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// How it would be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// What can happen to a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FieldChange {
    /// It is shown and would not be.
    Disappears,
    /// It is not shown and would be.
    Appears,
    /// It would hold something else.
    Type,
    /// It would be masked otherwise.
    Mask,
}

/// Somebody who reads.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReaderImpact {
    /// Who.
    pub principal: PrincipalId,
    /// When last.
    pub last_read: Timestamp,
    /// How many events lately.
    pub events: u64,
}

/// Readers of a product by grant.
type Readers = HashMap<GrantId, BTreeMap<PrincipalId, (Timestamp, u64)>>;

impl Hub {
    /// What an apply of these files would do to those who read under the contracts in them. Changes nothing, and is for
    /// those who may apply them.
    pub async fn impact(&self, caller: &Caller, files: &[File]) -> Result<Audited<Vec<ContractImpact>>> {
        let manifests = parse(files)?;
        self.may_apply(caller, &manifests)?;
        let model = self.model();
        let mut impacts = Vec::new();
        for manifest in &manifests {
            let Manifest::Contract { owner, contract } = manifest else { continue };
            // Another organization's contract of that id is none of the caller's.
            let history = model.contracts.get(&contract.id).filter(|history| history.owner == *owner);
            let Some(history) = history else { continue };
            let mut contract = contract.clone();
            contract.resolve(&model.registry, owner).map_err(|error| misfit(error.into()))?;
            views::compile_contract(&contract)?;
            impacts.push(self.impact_of(&model, history, &contract).await?);
        }
        let mut leaf = hub_leaf(self.now(), caller, PLAN);
        leaf.count = impacts.len() as u64;
        self.audited(leaf, impacts).await
    }

    async fn impact_of(&self, model: &Model, history: &ContractHistory, new: &Contract) -> Result<ContractImpact> {
        let old = history.current();
        let now = self.now();
        let breaks = breaking::breaks(model, history, new)?;
        let permitted = match breaks.is_empty() {
            true => Ok(None),
            false => breaking::permitted(old, new, &[], now).map(Some),
        };
        let mut grants = Vec::new();
        for product in model.products.values().filter(|product| product.contract == new.id) {
            let readers = self.lately(&product.owner, &product.id, now).await?;
            let live = model.grants.values().filter(|grant| grant.product == product.id && grant.is_live(now));
            let groups = self.groups_of(&product.id, now).await?;
            let groups = |grant: &Grant| groups.get(&grant.consumer).cloned().unwrap_or_default();
            grants.extend(live.map(|grant| of_grant(grant, old, new, &readers, groups(grant))));
        }
        let (until, refused) = match permitted {
            Ok(pin) => (pin.map(|pin| pin.until), None),
            Err(error) => (None, Some(error.detail.to_string())),
        };
        Ok(ContractImpact {
            contract: new.id.clone(),
            from: old.version.clone(),
            to: new.version.clone(),
            compatibility: breaking::modes(model, history).into_iter().map(|mode| mode.as_str()).collect(),
            may_apply: refused.is_none(),
            breaks,
            refused,
            until,
            grants,
        })
    }

    /// Who read a product lately, as the audit log has it.
    async fn lately(&self, owner: &OrgId, product: &ProductId, now: Timestamp) -> Result<Readers> {
        let mut filter = Filter {
            org: Some(owner.clone()),
            product: Some(product.clone()),
            action: Some(READ),
            from: Some(now.plus_seconds(-LATELY)),
            ..Filter::default()
        };
        let hub = self.clone();
        let look = move || -> Result<Readers> {
            let (mut readers, mut seen) = (Readers::new(), 0);
            loop {
                let page = hub.inner().audit.query(&filter);
                let page = page.map_err(|error| HubError::of(error.code()).because(error))?;
                seen += page.leaves.len();
                for (_, leaf) in page.leaves {
                    let (Some(grant), Some(principal)) = (leaf.grant, leaf.principal) else { continue };
                    let known = readers.entry(grant).or_default().entry(principal).or_insert((leaf.time, 0));
                    *known = (known.0.max(leaf.time), known.1 + leaf.count);
                }
                match page.next.filter(|_| seen < MAX_LEAVES) {
                    Some(next) => filter.start = next,
                    None => return Ok(readers),
                }
            }
        };
        tokio::task::spawn_blocking(look).await.map_err(|error| HubError::of(codes::INTERNAL).because(error))?
    }
}

fn of_grant(grant: &Grant, old: &Contract, new: &Contract, readers: &Readers, groups: Vec<GroupImpact>) -> GrantImpact {
    let spec = &grant.conditions.view;
    let fields = fields(&old.shape, &new.shape, spec);
    let view = views::schema_of_view(new, spec).err();
    let view =
        view.map(|_| "it names a field that the contract no longer has, or an action that it does not take".to_owned());
    let filter = grant.conditions.filter.as_deref().map(|text| filter(text, old, new)).unwrap_or_default();
    let mut known: Vec<ReaderImpact> = readers
        .get(&grant.id)
        .into_iter()
        .flatten()
        .map(|(principal, (last_read, events))| ReaderImpact {
            principal: principal.clone(),
            last_read: *last_read,
            events: *events,
        })
        .collect();
    known.sort_by_key(|reader| std::cmp::Reverse(reader.last_read));
    GrantImpact {
        grant: grant.id.clone(),
        product: grant.product.clone(),
        consumer: grant.consumer.clone(),
        purpose: grant.purpose.clone(),
        is_affected: !fields.is_empty() || view.is_some() || !filter.is_empty(),
        fields,
        view,
        filter,
        readers: known,
        groups,
    }
}

/// What a view shows of each place that has nothing named below it.
fn shown(shape: &Shape, spec: &ViewSpec) -> BTreeMap<Pattern, (Types, Class, Action)> {
    let leaves = shape.places().into_iter().filter(|(at, place)| place.is_leaf() && !at.segments().is_empty());
    let each = leaves.map(|(at, place)| {
        let (class, action) = action_at(shape, spec, &at);
        (at, (place.types, class, action))
    });
    each.filter(|(_, (.., action))| *action != Action::Drop).collect()
}

/// The class of a place and what a view does with it: the action of the nearest pattern at or above it, or that of its class.
pub(super) fn action_at(shape: &Shape, spec: &ViewSpec, at: &Pattern) -> (Class, Action) {
    let class = class_at(shape, at);
    let action = spec.action_at(at, &class);
    (class, action)
}

fn fields(old: &Shape, new: &Shape, spec: &ViewSpec) -> Vec<FieldImpact> {
    let (before, after) = (shown(old, spec), shown(new, spec));
    let mut impacts = Vec::new();
    let mut tell = |at: &Pattern, change, from: Option<String>, to: Option<String>| {
        impacts.push(FieldImpact { at: at.to_string(), change, from, to });
    };
    for (at, (types, class, action)) in &before {
        match after.get(at) {
            None => {
                let to = new.place(at).map(|_| format!("class {}", class_at(new, at)));
                tell(at, FieldChange::Disappears, Some(format!("class {class}")), to);
            }
            Some((other_types, _, other_action)) => {
                if types != other_types {
                    tell(at, FieldChange::Type, Some(types.names().join(", ")), Some(other_types.names().join(", ")));
                }
                if action != other_action {
                    tell(at, FieldChange::Mask, Some(word(action)), Some(word(other_action)));
                }
            }
        }
    }
    for (at, (_, class, action)) in after.iter().filter(|(at, _)| !before.contains_key(at)) {
        tell(at, FieldChange::Appears, None, Some(format!("class {class}, {}", word(action))));
    }
    impacts
}

fn word(action: &Action) -> String {
    let text = serde_json::to_string(action).unwrap_or_default();
    text.trim_matches('"').to_owned()
}

/// Fields that a filter looks at and that would be gone or of another type: it could not decide, and would admit nothing.
fn filter(text: &str, old: &Contract, new: &Contract) -> Vec<String> {
    let Ok(filter) = RowFilter::compile(text) else { return vec!["it cannot be compiled".to_owned()] };
    let mut told = Vec::new();
    for path in filter.paths() {
        let Ok(at) = Pattern::parse(path.as_str()) else { continue };
        match (old.shape.place(&at), new.shape.place(&at)) {
            (Some(_), None) => told.push(format!("it looks at {}, which is no more", path.as_str())),
            (Some(before), Some(after)) if before.types != after.types => {
                told.push(format!("it looks at {}, which changes its type", path.as_str()));
            }
            _ => {}
        }
    }
    told
}
