//! The contract under which a grant reads: the newest one, or the last of the major version that it stays with.
//!
//! What the newest contract restricts further is restricted at once, notice or not: notice is of the form of events, and a
//! person's data is not shown for longer because a form changes.

use std::sync::Arc;

use tradelane_keys::Sha256;
use tradelane_model::contract::Contract;
use tradelane_model::{Grant, Timestamp};
use tradelane_seal::Rules;

use super::{Down, tightened};
use crate::Hub;
use crate::error::{HubError, Result};
use crate::native::Cut;
use crate::views::CompiledContract;

/// Tells the rules of a tightened revision from those of the revision itself: a [`Cut`]'s number with this bit is of an event
/// of an earlier revision.
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
