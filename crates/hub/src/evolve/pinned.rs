//! The contract under which a grant reads: the newest one, or the last of the major version that it stays with.
//!
//! What the newest contract restricts further is restricted at once, notice or not: notice is of the form of events, and a
//! person's data is not shown for longer because a form changes.

use std::sync::Arc;

use tradelane_keys::Sha256;
use tradelane_model::contract::Contract;
use tradelane_model::shape::{Place, Shape};
use tradelane_model::{Class, Grant, Timestamp};
use tradelane_seal::Rules;

use super::Down;
use crate::Hub;
use crate::error::{HubError, Result};
use crate::native::Cut;
use crate::views::CompiledContract;

/// Tells the rules of a tightened revision from those of the revision itself: a bit that no [`Cut`]'s number has.
const TIGHTENED: u32 = 1 << 31;

/// What holds for a grant that stays with an earlier major version.
pub(crate) struct Pinned {
    /// The last revision of that version.
    pub(crate) revision: u32,
    /// The newest revision of the contract.
    newest: u32,
    /// When it ends.
    until: Timestamp,
    /// How later events are brought into its form.
    down: Arc<Down>,
}

impl Pinned {
    /// Is the notice over?
    pub(crate) fn is_over(&self, now: Timestamp) -> bool {
        now >= self.until
    }

    /// How events that were cut so ([`Cut`]'s number) are brought into the form that is read. What is written in a schema
    /// that the earlier version had, or one before it, is left in it, whichever revision cut it.
    pub(crate) fn down_from(&self, cut: u32) -> Option<&Arc<Down>> {
        (Cut::of(cut).schema() > self.revision).then_some(&self.down)
    }

    /// The digest of the view, which depends on the newest revision as well.
    pub(crate) fn digest(&self, of_view: [u8; 32]) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(b"tradelane/pinned/v1");
        hash.update(&of_view);
        hash.update(&self.newest.to_le_bytes());
        hash.finish()
    }
}

impl Hub {
    /// The contract under which a grant reads now.
    pub(crate) fn contract_read_by(&self, grant: &Grant) -> Result<(Arc<CompiledContract>, Option<Pinned>)> {
        let newest = self.contract(&grant.product)?;
        let model = self.model();
        let found = grant.pinned(self.now()).and_then(|pin| {
            let (revision, old) = model.contract_of(&grant.product)?.of_major(pin.major)?;
            (revision < newest.revision).then_some((pin, revision, old))
        });
        let Some((pin, revision, old)) = found else { return Ok((newest, None)) };
        let shape = tightened(&old.shape, &newest.contract.shape);
        let contract = Arc::new(Contract { shape, ..(**old).clone() });
        let rules = Rules::compile(&contract.shape, revision | TIGHTENED)
            .map_err(|error| HubError::of(error.code()).because(error))?;
        let base = self.contract_at(&model, &grant.product, revision)?;
        // A view that was written for the newer version names fields that this one has not. To leave them out could show
        // others that they stand for: such a grant reads the newer version.
        let codec = base.native.as_ref().map(|native| native.codec.clone());
        let Ok(down) = Down::compile(&contract, &grant.conditions.view, codec).map(Arc::new) else {
            return Ok((newest, None));
        };
        // Keys and headers have no version: the newest contract's rules hold for them.
        let current = Arc::new(base.for_reading(contract, Arc::new(rules), newest.envelope.clone()));
        let pinned = Pinned { revision, newest: newest.revision, until: pin.until, down };
        Ok((current, Some(pinned)))
    }
}

/// The old shape, each place at least as restricted as in the new one.
fn tightened(old: &Shape, new: &Shape) -> Shape {
    let mut shape = old.clone();
    shape.own_classes.extend(new.own_classes.iter().map(|(own, like)| (own.clone(), like.clone())));
    let top = Class::unclassified();
    tighten(old, new, &mut shape.root, Some(&new.root), (&top, &top));
    shape
}

/// `was` and `is`: the classes that are inherited in the old shape and in the new one.
fn tighten(old: &Shape, new: &Shape, place: &mut Place, there: Option<&Place>, (was, is): (&Class, &Class)) {
    // What the new contract does not name at all is in older events only, and as restricted as it was.
    let Some(there) = there else { return };
    let was = place.class.clone().unwrap_or_else(|| was.clone());
    let is = there.class.clone().unwrap_or_else(|| is.clone());
    if new.rank(&is) > old.rank(&was) {
        place.class = Some(is.clone());
    }
    for (name, child) in &mut place.properties {
        let there = there.properties.get(name).or(there.any_property.as_deref());
        // A class of its own would hide that what it inherits is restricted further.
        if there.is_none() && child.class.is_none() {
            child.class = Some(was.clone());
        }
        tighten(old, new, child, there, (&was, &is));
    }
    if let Some(any) = &mut place.any_property {
        tighten(old, new, any, there.any_property.as_deref(), (&was, &is));
    }
    if let Some(items) = &mut place.items {
        tighten(old, new, items, there.items.as_deref(), (&was, &is));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(properties: &str) -> Shape {
        let text = format!(
            "apiVersion: v3.1.0\nkind: DataContract\nid: c\nversion: 1.0.0\nstatus: active\nschema:\n  - name: e\n    properties:\n{properties}"
        );
        Contract::parse(&text).unwrap().shape
    }

    #[test]
    fn what_the_newest_contract_restricts_further_is_restricted_and_nothing_is_opened() {
        let old = shape(
            "      - {name: a, logicalType: string, classification: public}\n      \
             - {name: b, logicalType: string, classification: pii}\n      \
             - {name: gone, logicalType: string, classification: internal}\n      \
             - name: c\n        logicalType: object\n        classification: internal\n        properties: [{name: x, logicalType: string}, {name: y, logicalType: string, classification: public}]\n",
        );
        let new = shape(
            "      - {name: a, logicalType: string, classification: pii}\n      \
             - {name: b, logicalType: string, classification: public}\n      \
             - name: c\n        logicalType: object\n        classification: confidential\n        properties: [{name: x, logicalType: string}, {name: y, logicalType: string, classification: public}]\n",
        );
        let now = tightened(&old, &new);
        let class = |at: &str| {
            super::super::down::class_at(&now, &tradelane_model::pattern::Pattern::parse(at).unwrap()).to_string()
        };
        assert_eq!(
            ["/a", "/b", "/gone", "/c/x", "/c/y"].map(class),
            ["pii", "pii", "internal", "confidential", "public"]
        );
    }
}
