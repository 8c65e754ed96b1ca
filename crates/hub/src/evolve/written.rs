//! Events of an earlier revision of their contract, published while a later one holds: what they must keep, whose rules cut
//! them, and who is shown them in which form.
//!
//! An event says its version by the schema that it names, or its publisher does. Of the same major version it must keep the
//! newest revision, in whose form its readers can have it. Of an earlier major version it must keep that one's last
//! revision while its notice lasts; afterwards it is taken only if it can be brought into the newest form. Either way it is
//! cut by what both revisions restrict, stored as it was written, and given to readers of a later major version in their form.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tradelane_model::product::Format;
use tradelane_model::registry::SchemaKind;
use tradelane_model::state::ContractHistory;
use tradelane_model::{Contract, ContractId, ProductId, codes};
use tradelane_registry::{STEPS, Schema};

use super::Down;
use crate::Hub;
use crate::error::{HubError, Result};
use crate::native::{Cut, referred_to};
use crate::views::{CompiledContract, GrantView};

/// The most registered schemas whose versions are remembered; beyond, all are worked out again.
const MAX_KNOWN: usize = 4_096;

/// What an event is held to.
#[derive(Clone)]
pub(crate) struct Held {
    /// Whose rules cut it.
    pub(crate) cut: Arc<CompiledContract>,
    /// What it must keep; none: what cuts it.
    pub(crate) kept: Option<Kept>,
}

/// The contract that an event must keep.
#[derive(Clone)]
pub(crate) struct Kept {
    pub(crate) contract: Arc<CompiledContract>,
    /// Must it be possible to bring the event into that contract's schema?
    pub(crate) must_fit: bool,
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Held").field("cut", &self.cut.revision).finish_non_exhaustive()
    }
}

impl Held {
    /// The newest revision's own.
    pub(crate) fn newest(contract: Arc<CompiledContract>) -> Self {
        Self { cut: contract, kept: None }
    }
}

/// Which major version of a contract registered JSON Schemas are of, by contract, its newest revision, and the schema's id.
#[derive(Default)]
pub(crate) struct Versions(Mutex<HashMap<(ContractId, u32, u32), Option<u32>>>);

impl Hub {
    /// What an event is held to that was written by that revision while `current` holds. None: it is too far back.
    pub(crate) fn held_to(
        &self,
        current: &Arc<CompiledContract>,
        product: &ProductId,
        written: u32,
    ) -> Result<Option<Held>> {
        let Some(back) = current.revision.checked_sub(written).filter(|back| *back > 0) else {
            return Ok(Some(Held::newest(current.clone())));
        };
        let Some(number) = (Cut { revision: current.revision, back, laid: true }).number() else { return Ok(None) };
        let model = self.model();
        let history = model.contract_of(product).ok_or_else(HubError::not_found)?;
        let cut = self.contract_at(&model, product, number)?;
        let earlier = history.at(written).and_then(|written| earlier_major(written, &current.contract));
        let kept = match earlier.and_then(|major| self.still_taken(history, major)) {
            Some(last) => Kept { contract: self.contract_at(&model, product, last)?, must_fit: false },
            None => Kept { contract: current.clone(), must_fit: earlier.is_some() },
        };
        Ok(Some(Held { cut, kept: Some(kept) }))
    }

    /// What events are held to that their publisher says are of that major version. None: of the newest one, as all are.
    pub(crate) fn held_to_version(
        &self,
        current: &Arc<CompiledContract>,
        product: &ProductId,
        major: u32,
    ) -> Result<Option<Held>> {
        if current.contract.major() == Some(major) {
            return Ok(None);
        }
        let model = self.model();
        let history = model.contract_of(product).ok_or_else(HubError::not_found)?;
        if history.of_major(major).is_none() {
            let detail = format!("The product's contract has no version {major}.");
            return Err(HubError::new(codes::BAD_PARAMETER, detail));
        }
        let held = self.still_taken(history, major).map(|last| self.held_to(current, product, last)).transpose()?;
        let ended = || {
            let detail = format!("Version {major} is not taken any more; the newest is {}.", current.contract.version);
            HubError::new(codes::VERSION_ENDED, detail)
        };
        held.flatten().map(Some).ok_or_else(ended)
    }

    /// What JSON events are held to that name that registered schema: an earlier major version that is still taken, if that
    /// takes all that the schema lets be written, and no later one does. None: the newest, as all are.
    pub(crate) fn held_to_schema(
        &self,
        current: &Arc<CompiledContract>,
        product: &ProductId,
        schema: u32,
    ) -> Result<Option<Held>> {
        let model = self.model();
        let history = model.contract_of(product).ok_or_else(HubError::not_found)?;
        let mut majors: Vec<u32> = history.revisions.iter().filter_map(|contract| contract.major()).collect();
        majors.sort_unstable_by(|a, b| b.cmp(a));
        majors.dedup();
        majors.retain(|major| current.contract.major() > Some(*major) && self.still_taken(history, *major).is_some());
        if majors.is_empty() || current.contract.format != Format::Json {
            return Ok(None);
        }
        let key = (current.contract.id.clone(), current.revision, schema);
        let lock = || self.inner().versions.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = lock().get(&key).copied();
        let major = match known {
            Some(known) => known,
            None => {
                let found = self.version_of(history, current, &majors, schema);
                let mut versions = lock();
                if versions.len() >= MAX_KNOWN {
                    versions.clear();
                }
                versions.insert(key, found);
                found
            }
        };
        let last = major.and_then(|major| self.still_taken(history, major));
        last.map_or(Ok(None), |last| self.held_to(current, product, last))
    }

    fn version_of(
        &self,
        history: &ContractHistory,
        current: &CompiledContract,
        majors: &[u32],
        schema: u32,
    ) -> Option<u32> {
        let model = self.model();
        let registered = model.registry.schema(schema)?;
        let references = referred_to(&model.registry, &registered.owner, &registered.schema.references)?;
        let written = Schema::parse(registered.schema.kind, &registered.schema.text, &references).ok()?;
        let takes = |contract: &Contract| {
            let text = contract.json_schema.to_string();
            let read = Schema::parse(SchemaKind::Json, &text, &crate::references::files(contract));
            let changes = read.and_then(|read| tradelane_registry::compare(&written, &read, &mut { STEPS }));
            changes.is_ok_and(|changes| changes.iter().all(|change| change.is_compatible))
        };
        if takes(&current.contract) {
            return None;
        }
        let of = |major: &u32| history.of_major(*major).is_some_and(|(_, contract)| takes(contract));
        majors.iter().copied().find(|major| of(major))
    }

    /// The last revision of an earlier major version, while events of it are taken as such.
    fn still_taken(&self, history: &ContractHistory, major: u32) -> Option<u32> {
        let is_taken = history.taken_until(major).is_some_and(|until| self.now() < until);
        history.of_major(major).filter(|_| is_taken).map(|(last, _)| last)
    }

    /// Is an event that was cut so of an earlier major version than the reader's, and came when a later one held already?
    /// Such events are brought into the reader's form. What came before that is history, and stays as it was.
    pub(crate) fn is_brought_up(&self, view: &GrantView, product: &ProductId, cut: u32) -> bool {
        let (cut, model) = (Cut::of(cut), self.model());
        if view.is_owners || cut.back == 0 || cut.schema() >= view.current.revision {
            return false;
        }
        let written = model.contract_of(product).and_then(|history| history.at(cut.schema()));
        written.is_some_and(|written| earlier_major(written, &view.current.contract).is_some())
    }

    /// Is an event that was cut so shown in another version's form than it was written in?
    pub(crate) fn is_converted(&self, view: &GrantView, product: &ProductId, cut: u32) -> bool {
        let is_later = view.pinned.as_ref().is_some_and(|pinned| pinned.down_from(cut).is_some());
        is_later || self.is_brought_up(view, product, cut)
    }

    /// How events that were cut so are brought into the form that a reader has once they are rendered; none: they need not be.
    pub(crate) fn form_for(&self, view: &GrantView, product: &ProductId, cut: u32) -> Result<Option<Arc<Down>>> {
        if let Some(down) = view.pinned.as_ref().and_then(|pinned| pinned.down_from(cut)) {
            return Ok(Some(down.clone()));
        }
        // In an encoding of their own they are brought into it before they are masked.
        if view.current.native.is_some() || !self.is_brought_up(view, product, cut) {
            return Ok(None);
        }
        if let Some(known) = view.form.get() {
            return Ok(Some(known.clone()));
        }
        let form = Arc::new(Down::compile(&view.current.contract, &view.spec, None)?);
        Ok(Some(view.form.get_or_init(|| form).clone()))
    }
}

/// The major version of `written`, if that is an earlier one than the other's.
fn earlier_major(written: &Contract, other: &Contract) -> Option<u32> {
    written.major().filter(|major| other.major().is_some_and(|other| *major < other))
}
