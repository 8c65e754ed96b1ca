//! The cluster's own ids of products' topics (KIP-516). They stay inside: clients see ids of their organization's own.
//!
//! An id is a topic's for ever; a topic that was deleted and made anew has another. So the newest is what a product leads to,
//! and older ones still lead to their product.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use tradelane_model::ProductId;
use uuid::Uuid;

/// So many are remembered; then it begins anew, as all of it can be asked for again.
const REMEMBERED: usize = 100_000;

/// Those that are known.
#[derive(Default)]
pub(crate) struct Ids(RwLock<Known>);

#[derive(Default)]
struct Known {
    products: HashMap<Uuid, ProductId>,
    newest: HashMap<ProductId, Uuid>,
}

impl Ids {
    /// The cluster says that the product's topic has this id; the nil one says nothing.
    pub(super) fn learn(&self, product: &ProductId, id: Uuid) {
        if id.is_nil() || self.of(product) == Some(id) {
            return;
        }
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.products.len() >= REMEMBERED {
            *known = Known::default();
        }
        known.products.insert(id, product.clone());
        known.newest.insert(product.clone(), id);
    }

    /// The id of a product's topic.
    pub(super) fn of(&self, product: &ProductId) -> Option<Uuid> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).newest.get(product).copied()
    }

    /// The product whose topic has or had that id.
    pub(super) fn product(&self, id: Uuid) -> Option<ProductId> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).products.get(&id).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_that_was_made_anew_is_known_by_both_its_ids_and_leads_to_the_newer() {
        let (ids, orders) = (Ids::default(), "acme-orders".parse().unwrap());
        ids.learn(&orders, Uuid::nil());
        assert_eq!(ids.of(&orders), None);
        let (first, second) = (Uuid::from_u128(1), Uuid::from_u128(2));
        ids.learn(&orders, first);
        ids.learn(&orders, second);
        assert_eq!(ids.of(&orders), Some(second));
        assert_eq!((ids.product(first), ids.product(second)), (Some(orders.clone()), Some(orders)));
        assert_eq!(ids.product(Uuid::from_u128(3)), None);
    }
}
