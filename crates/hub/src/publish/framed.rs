//! Events behind the prefix that a registry's serializers write: the id of a schema, which must be one of the product's.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use tradelane_model::registry::Registry;
use tradelane_model::{ProductId, codes};
use tradelane_registry::wire::{Framed, split};

use crate::Hub;
use crate::error::{Place, Result};
use crate::evolve::Held;
use crate::views::{CompiledContract, Verdict};

/// The schemas that events of a product may be written with, looked up when the first one names any.
#[derive(Clone)]
pub(super) struct Schemas {
    hub: Hub,
    registry: Arc<Registry>,
    contract: Arc<CompiledContract>,
    product: ProductId,
    /// What all events are held to that name no schema, if their publisher said so.
    held: Option<Held>,
    ids: Option<BTreeSet<u32>>,
    /// By id, what events that name it are held to.
    known: HashMap<u32, Option<Held>>,
}

impl Schemas {
    pub(super) fn of(hub: &Hub, contract: &Arc<CompiledContract>, product: &ProductId, held: Option<Held>) -> Self {
        Self {
            hub: hub.clone(),
            registry: hub.model().registry.clone(),
            contract: contract.clone(),
            product: product.clone(),
            held,
            ids: None,
            known: HashMap::new(),
        }
    }

    /// What an event is held to, and the event itself. One in a binary encoding must name a schema that the contract has,
    /// and in Protobuf the message of it that is the contract's.
    pub(super) fn contract<'e>(&mut self, schema: Option<u32>, event: &'e [u8]) -> Result<Verdict<(Held, &'e [u8])>> {
        if self.contract.native.is_none() {
            return Ok(Ok((self.of_json(schema)?, event)));
        }
        let refused = |message: &str| {
            let place = Place { pointer: String::new(), rule: "schema-id".into(), message: message.to_owned() };
            Ok(Err((codes::SCHEMA_ID_UNKNOWN, vec![place])))
        };
        let Some(id) = schema else {
            return refused("an event in a binary encoding names its schema: a zero byte, and the id in four bytes");
        };
        let known = match self.known.get(&id) {
            Some(known) => known.clone(),
            None => {
                let found = self.hub.contract_for(&self.contract, &self.product, id)?;
                self.known.insert(id, found.clone());
                found
            }
        };
        match known {
            Some(held) => match held.cut.native.as_ref().and_then(|native| native.event(event)) {
                Some(event) => Ok(Ok((held, event))),
                None => refused("the record is another message of its schema than the product's events"),
            },
            None => refused("no revision of the product's contract has the schema of this id"),
        }
    }

    /// What a JSON event is held to: what its publisher said, or the version that the schema is of which it names, or else
    /// the newest.
    fn of_json(&mut self, schema: Option<u32>) -> Result<Held> {
        let newest = || Held::newest(self.contract.clone());
        let Some(id) = schema.filter(|_| self.held.is_none()) else {
            return Ok(self.held.clone().unwrap_or_else(newest));
        };
        if let Some(known) = self.known.get(&id) {
            return Ok(known.clone().unwrap_or_else(newest));
        }
        let found = self.hub.held_to_schema(&self.contract, &self.product, id)?;
        self.known.insert(id, found.clone());
        Ok(found.unwrap_or_else(|| Held::newest(self.contract.clone())))
    }

    /// The schema that an event names, and the event itself.
    pub(super) fn split<'e>(&mut self, event: &'e [u8]) -> Verdict<(Option<u32>, &'e [u8])> {
        let refused = |message: &str| {
            let place = Place { pointer: String::new(), rule: "schema-id".into(), message: message.to_owned() };
            Err((codes::SCHEMA_ID_UNKNOWN, vec![place]))
        };
        match split(event) {
            Framed::Plain(event) => Ok((None, event)),
            Framed::Cut => refused("the record ends inside of the prefix that names its schema"),
            Framed::Named(id, event) => {
                let Self { registry, contract, product, ids, .. } = self;
                let ids = ids.get_or_insert_with(|| registry.value_ids(&contract.owner, product));
                if ids.contains(&id) {
                    Ok((Some(id), event))
                } else {
                    refused("no version of the product's subject has the schema of this id")
                }
            }
        }
    }
}
