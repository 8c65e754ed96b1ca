//! Does a change of a contract break what is set for its products, and may it then be made?

use tradelane_model::evolution::Pin;
use tradelane_model::grant::GrantState;
use tradelane_model::journal::Change;
use tradelane_model::native::NativeSchema;
use tradelane_model::plan::Plan;
use tradelane_model::registry::{Compatibility, SchemaKind, value_subject};
use tradelane_model::state::ContractHistory;
use tradelane_model::{Contract, ContractId, Grant, Model, Product, Timestamp, codes};
use tradelane_registry::{STEPS, Schema, SchemaProblem};

use serde_json::{Map, Value};

use crate::error::{HubError, Result};

/// The most places that an answer names.
const MAX_TOLD: usize = 20;
/// How many revisions a transitive check looks back.
const MAX_BACK: usize = 100;

/// Holds every contract that a plan changes against the compatibility of its products. Returns what has to be done beside
/// the plan: grants stay with the version that they read.
///
/// # Errors
/// A breaking change without a higher major version or without its notice period.
pub(crate) fn govern(before: &Model, plan: &Plan, after: &Model, now: Timestamp) -> Result<Vec<Change>> {
    let mut pins = Vec::new();
    for history in changed(before, plan) {
        let id = &history.current().id;
        let Some(new) = after.contracts.get(id).map(|history| history.current().clone()) else { continue };
        let told = breaks(before, history, &new)?;
        if told.is_empty() {
            continue;
        }
        let pin = permitted(history.current(), &new, &told, now)?;
        let stays = |grant: &&std::sync::Arc<Grant>| {
            let was = before.grants.get(&grant.id).is_some_and(|old| is_active(old) && old.product == grant.product);
            let product = after.products.get(&grant.product);
            was && is_active(grant)
                && grant.pinned(now).is_none()
                && product.is_some_and(|product| product.contract == *id)
        };
        let held = after.grants.values().filter(stays);
        pins.extend(held.map(|grant| Change::GrantPut(Grant { pin: Some(pin.clone()), ..(**grant).clone() })));
    }
    Ok(pins)
}

fn is_active(grant: &Grant) -> bool {
    matches!(grant.status, GrantState::Active { .. })
}

/// The contracts that a plan gives another revision.
fn changed<'a>(before: &'a Model, plan: &'a Plan) -> impl Iterator<Item = &'a ContractHistory> {
    let ids = plan.steps.iter().filter(|step| matches!(step.change, Some(Change::ContractPut { .. })));
    ids.filter_map(|step| {
        let id: ContractId = step.id.parse().ok()?;
        before.contracts.get(&id).map(|history| &**history)
    })
}

/// What of the new revision breaks what is set for a product of the contract. A contract that no product keeps is free.
pub(super) fn breaks(model: &Model, history: &ContractHistory, new: &Contract) -> Result<Vec<String>> {
    let mut told: Vec<String> = Vec::new();
    for mode in modes(model, history) {
        let old = history.current();
        let of_major = |contract: &&std::sync::Arc<Contract>| contract.major() == old.major();
        let earlier: Vec<&Contract> = match mode.is_transitive() {
            true => history.revisions.iter().rev().filter(of_major).take(MAX_BACK).map(|one| &**one).collect(),
            false => vec![old],
        };
        let mut steps = STEPS;
        for old in earlier {
            for one in held_against(old, new, mode, &mut steps)? {
                if !told.contains(&one) && told.len() < MAX_TOLD {
                    told.push(one);
                }
            }
        }
    }
    Ok(told)
}

/// The levels that are set for the products of a contract.
pub(super) fn modes(model: &Model, history: &ContractHistory) -> Vec<Compatibility> {
    let id = &history.current().id;
    let products = model.products.values().filter(|product| product.contract == *id);
    let level =
        |product: &std::sync::Arc<Product>| model.registry.compatibility(&product.owner, &value_subject(&product.id));
    let mut modes: Vec<Compatibility> = Vec::new();
    for mode in products.map(level) {
        if !modes.contains(&mode) {
            modes.push(mode);
        }
    }
    modes
}

fn held_against(old: &Contract, new: &Contract, mode: Compatibility, steps: &mut usize) -> Result<Vec<String>> {
    if mode == Compatibility::None {
        return Ok(Vec::new());
    }
    let (before, after) = (schema_of(old)?, schema_of(new)?);
    let mut told = Vec::new();
    // Whoever reads by key relies on it: on the order of a key's events in one partition, and on the last of them.
    if let Some(from) = old.records.key_from().filter(|from| new.records.key_from() != Some(from)) {
        told.push(format!("events have their keys at {from} no more"));
    }
    let mut tell = |writer: &Schema, reader: &Schema, (reads, wrote): (&str, &str)| -> Result<()> {
        let changes = match tradelane_registry::compare(writer, reader, steps) {
            Err(SchemaProblem::Mixed) => {
                told.push("the format of the events changes".to_owned());
                return Ok(());
            }
            changes => changes.map_err(|problem| invalid(new, &problem))?,
        };
        told.extend(changes.iter().filter(|change| !change.is_compatible).map(|change| change.told(reads, wrote)));
        Ok(())
    };
    if mode.reads_old() {
        tell(&before, &after, ("new", "old"))?;
    }
    if mode.is_read_by_old() {
        tell(&after, &before, ("old", "new"))?;
    }
    Ok(told)
}

/// May a breaking change be made? Then grants stay with the old version so long. `told`: what the refusal names.
pub(super) fn permitted(old: &Contract, new: &Contract, told: &[String], now: Timestamp) -> Result<Pin> {
    let refuse = |why: &str| {
        let broken = if told.is_empty() { String::new() } else { format!(" What breaks: [{}]", told.join(", ")) };
        HubError::new(codes::CONTRACT_BREAKING, format!("contract {}: {why}{broken}", new.id))
    };
    let (Some(major), Some(next)) = (old.major(), new.major()) else {
        return Err(refuse(
            "its version must be a semantic version, so that a higher major version can say that it breaks.",
        ));
    };
    if next <= major {
        let version = &new.version;
        return Err(refuse(&format!("a breaking change needs a major version above {major}; this is {version}.")));
    }
    let Some(evolution) = &new.evolution else {
        return Err(refuse("a breaking change needs a notice period, `evolution: {notice: P90D}` of `tradelane`."));
    };
    if let Some(promised) = &old.evolution
        && evolution.notice_seconds() < promised.notice_seconds()
    {
        return Err(refuse(&format!("consumers were promised a notice of {}.", promised.notice)));
    }
    Ok(Pin { major, since: now, until: evolution.until(now) })
}

/// The schema of a contract's events. What a contract does not name is most restricted and not shown, so that objects are
/// closed to whoever reads, whatever they let in.
fn schema_of(contract: &Contract) -> Result<Schema> {
    let files = crate::references::files(contract);
    let schema = match &contract.native {
        Some(NativeSchema::Avro { text }) => Schema::parse(SchemaKind::Avro, text, &files),
        Some(NativeSchema::Protobuf { text, .. }) => tradelane_registry::in_one_file(text, &files)
            .and_then(|text| Schema::parse(SchemaKind::Protobuf, &text, &[])),
        None => Schema::parse(SchemaKind::Json, &closed(&contract.json_schema).to_string(), &files),
    };
    schema.map_err(|problem| invalid(contract, &problem))
}

fn invalid(contract: &Contract, problem: &SchemaProblem) -> HubError {
    HubError::new(codes::CONTRACT_INVALID, format!("contract {}: {problem}", contract.id))
}

/// The schema with objects that take no more than they name, where they do not say what else they take.
fn closed(schema: &Value) -> Value {
    const OPENERS: [&str; 5] = ["additionalProperties", "unevaluatedProperties", "patternProperties", "allOf", "$ref"];
    let Value::Object(members) = schema else { return schema.clone() };
    let each = |value: &Value| match value {
        Value::Object(named) => Value::Object(named.iter().map(|(name, one)| (name.clone(), closed(one))).collect()),
        other => other.clone(),
    };
    let mut out: Map<String, Value> = Map::new();
    for (word, value) in members {
        let value = match word.as_str() {
            "properties" | "$defs" | "definitions" => each(value),
            "items" => closed(value),
            _ => value.clone(),
        };
        out.insert(word.clone(), value);
    }
    if members.contains_key("properties") && !OPENERS.iter().any(|word| members.contains_key(*word)) {
        out.insert("additionalProperties".into(), Value::Bool(false));
    }
    Value::Object(out)
}
