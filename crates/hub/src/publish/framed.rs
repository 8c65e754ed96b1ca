//! Events behind the prefix that a registry's serializers write: the id of a schema, which must be one of the product's.

use std::collections::BTreeSet;
use std::sync::Arc;

use tradelane_model::registry::Registry;
use tradelane_model::{OrgId, ProductId, codes};
use tradelane_registry::wire::{Framed, split};

use crate::error::Place;
use crate::views::Verdict;

/// The schemas that events of a product may be written with, looked up when the first one names any.
pub(super) struct Schemas {
    registry: Arc<Registry>,
    owner: OrgId,
    product: ProductId,
    ids: Option<BTreeSet<u32>>,
}

impl Schemas {
    pub(super) fn of(registry: &Arc<Registry>, owner: &OrgId, product: &ProductId) -> Self {
        Self { registry: registry.clone(), owner: owner.clone(), product: product.clone(), ids: None }
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
                let Self { registry, owner, product, ids } = self;
                let ids = ids.get_or_insert_with(|| registry.value_ids(owner, product));
                if ids.contains(&id) {
                    Ok((Some(id), event))
                } else {
                    refused("no version of the product's subject has the schema of this id")
                }
            }
        }
    }
}
