//! The schemas of views. They are not registered but worked out from contract and grant, so that a read never waits for
//! the journal: a version is a revision of the contract, and an id is made from the schema itself and never means another.

use std::sync::{Arc, PoisonError};

use tradelane_model::product::Format;
use tradelane_model::registry::{FIRST_VIEW_ID, SchemaKind, SchemaText, value_subject};
use tradelane_model::{Contract, Grant, ProductId, ViewSpec, codes};

use super::{SchemaRecord, WhichVersion};
use crate::Hub;
use crate::authorize::{Act, On};
use crate::doorway::Caller;
use crate::error::{HubError, Result};
use crate::native::{self, Cut};
use crate::views::{GrantView, schema_of_view};

/// What is said of events that were sealed under an earlier revision: both revisions decide what is shown of them.
const EARLIER: &str = r#"{"$schema":"https://json-schema.org/draft/2020-12/schema","title":"An event that was published under an earlier revision of the contract"}"#;

impl Hub {
    /// The id that a reader with this view finds in front of an event that was sealed under that revision; none for the
    /// owner, who finds the writer's.
    pub(crate) fn reader_schema(&self, view: &GrantView, product: &ProductId, revision: u32) -> Option<u32> {
        if view.is_owners {
            return None;
        }
        let revision = match self.is_converted(view, product, revision) {
            true => view.current.revision,
            false => Cut::of(revision).schema(),
        };
        if view.current.native.is_none() && revision != view.current.revision {
            return Some(id_of(EARLIER));
        }
        let mut known = view.schemas.lock().unwrap_or_else(PoisonError::into_inner);
        Some(*known.entry(revision).or_insert_with(|| {
            let model = self.model();
            let history = model.contracts.get(&view.current.contract.id);
            let own = view.pinned.as_ref().filter(|pinned| pinned.revision == revision).map(|_| &view.current.contract);
            let contract = own.or(history.and_then(|history| history.at(revision)));
            let text = contract.and_then(|contract| text_of(contract, &view.spec).ok());
            text.map_or_else(|| id_of(EARLIER), |text| id_of(&text.text))
        }))
    }

    pub(super) fn revisions(&self, product: &ProductId) -> Result<u32> {
        self.model().contract_of(product).map(|history| history.revision()).ok_or_else(HubError::not_found)
    }

    pub(super) fn view_version(&self, product: &ProductId, grant: &Grant, which: WhichVersion) -> Result<SchemaRecord> {
        let model = self.model();
        let history = model.contract_of(product).ok_or_else(HubError::not_found)?;
        let view = self.grant_view(grant)?;
        let held = view.pinned.as_ref().map(|pinned| pinned.revision);
        let version = match which {
            WhichVersion::Latest => held.unwrap_or(history.revision()),
            WhichVersion::Number(number) => number,
        };
        let contract = match held {
            // What its newest contract restricts further is not in its schema either.
            Some(revision) if revision == version => Some(&view.current.contract),
            _ => history.at(version),
        };
        let contract = contract.ok_or_else(|| HubError::of(codes::SCHEMA_VERSION_UNKNOWN))?;
        let schema = text_of(contract, &grant.conditions.view)?;
        let subject = value_subject(model.topic_of(&grant.consumer, product));
        let id = id_of(&schema.text);
        Ok(SchemaRecord { id, schema: Arc::new(schema), subject, version })
    }

    /// The subject of a view's schemas: of the topic under which the caller finds the product.
    pub(super) fn view_subject(&self, caller: &Caller, product: &ProductId) -> String {
        value_subject(self.model().topic_of(&caller.organization.id, product))
    }

    /// Products of others that the caller reads, each with the grant.
    pub(super) fn viewed(&self, caller: &Caller) -> Vec<(ProductId, Arc<Grant>)> {
        let model = self.model();
        let own = &caller.organization.id;
        let theirs = model.products.values().filter(|product| product.owner != *own);
        theirs.filter_map(|product| Some((product.id.clone(), self.readable(caller, &product.id)?))).collect()
    }

    pub(super) fn view_by_id(&self, caller: &Caller, id: u32) -> Option<SchemaRecord> {
        let model = self.model();
        let live = model.grants.values().filter(|grant| grant.consumer == caller.organization.id);
        let mut live = live.filter(|grant| self.decide(caller, Act::Read, On::Grant(grant)).is_ok());
        live.find_map(|grant| {
            let revisions = self.revisions(&grant.product).ok()?;
            if id == id_of(EARLIER) && revisions > 1 {
                let subject = value_subject(model.topic_of(&grant.consumer, &grant.product));
                return Some(SchemaRecord { subject, version: 1, id, schema: Arc::new(earlier()) });
            }
            let mut all = (1..=revisions).rev();
            all.find_map(|revision| {
                let record = self.view_version(&grant.product, grant, WhichVersion::Number(revision));
                record.ok().filter(|record| record.id == id)
            })
        })
    }
}

fn earlier() -> SchemaText {
    SchemaText { kind: SchemaKind::Json, text: EARLIER.to_owned(), references: Vec::new() }
}

/// The schema of a view: in the language of the events' own encoding, or JSON Schema.
fn text_of(contract: &Contract, spec: &ViewSpec) -> Result<SchemaText> {
    let schema = |kind, text| SchemaText { kind, text, references: Vec::new() };
    match native::view_schema(contract, spec)? {
        Some(text) if contract.format == Format::Protobuf => Ok(schema(SchemaKind::Protobuf, text)),
        Some(text) => Ok(schema(SchemaKind::Avro, text)),
        None => Ok(schema(SchemaKind::Json, schema_of_view(contract, spec)?.to_string())),
    }
}

/// Thirty bits of the schema's digest, above all ids that are registered. A consumer has few views, and only its own count.
fn id_of(text: &str) -> u32 {
    let [a, b, c, d, ..] = tradelane_keys::sha256(text.as_bytes());
    FIRST_VIEW_ID | (u32::from_be_bytes([a, b, c, d]) >> 2)
}
