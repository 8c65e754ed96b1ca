//! Governed evolution: what a change of a contract would do to those who read under it, whether it may be made, and the
//! time in which an earlier major version is still served.
//!
//! A change is held against the compatibility that is set for the product (`config` of its subject `PRODUCT-value` in the
//! registry). One that breaks needs a higher major version and a notice period; grants that were active then stay with the
//! version that they had until they move or the notice is over. [`impact`](Hub::impact) says beforehand who would notice.
//! It does not know how views are rendered; `evolve/pinned.rs` gives them the contract and `evolve/down.rs` the conversion.

mod breaking;
mod down;
mod groups;
mod impact;
mod pinned;
mod tightened;
mod written;

use serde::Serialize;
use tradelane_model::evolution::Pin;
use tradelane_model::journal::Change;
use tradelane_model::{Grant, GrantId, Model, OrgId, ProductId, codes};

use crate::Hub;
use crate::audit_trail::{CHANGE, LIST, hub_leaf};
use crate::authorize::{Act, On};
use crate::doorway::{Audited, Caller};
use crate::error::{HubError, Result};
use crate::read::Reader;

pub(crate) use breaking::govern;
pub(crate) use down::Down;
pub use groups::GroupImpact;
pub(crate) use groups::Noted;
pub use impact::{ContractImpact, FieldChange, FieldImpact, GrantImpact, ReaderImpact};
pub(crate) use pinned::Pinned;
pub(crate) use tightened::tightened;
pub(crate) use written::{Held, Kept, Versions};

/// What a consumer is told of a version that ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Notice {
    /// The product.
    pub product: ProductId,
    /// The grant that stays with the earlier version.
    pub grant: GrantId,
    /// Who reads by it.
    pub consumer: OrgId,
    /// The version of the contract that is served to it.
    pub version: String,
    /// The version that it is served afterwards.
    pub next: String,
    /// When that was announced, and since when the other is deprecated.
    #[serde(flatten)]
    pub pin: Pin,
}

impl Hub {
    /// The notices in which the caller's organization has a part: of what it reads, and of its own products.
    pub async fn notices(&self, caller: &Caller) -> Result<Audited<Vec<Notice>>> {
        self.allow(caller, Act::ListGrants, On::Own)?;
        let model = self.model();
        let own = &caller.organization.id;
        let owns = |grant: &Grant| model.products.get(&grant.product).is_some_and(|product| product.owner == *own);
        let mine = model.grants.values().filter(|grant| grant.consumer == *own || owns(grant));
        let notices: Vec<Notice> = mine.filter_map(|grant| self.notice(&model, grant)).collect();
        let mut leaf = hub_leaf(self.now(), caller, LIST);
        leaf.count = notices.len() as u64;
        self.audited(leaf, notices).await
    }

    /// The consumer takes the newest version before its notice is over. There is no way back.
    pub async fn move_grant(&self, caller: &Caller, id: &GrantId) -> Result<Audited<Grant>> {
        let grant = self.model().grants.get(id).cloned();
        let grant = grant.filter(|grant| grant.consumer == caller.organization.id).ok_or_else(HubError::not_found)?;
        self.allow(caller, Act::ReturnGrant, On::Own)?;
        let mut leaf = hub_leaf(self.now(), caller, CHANGE);
        leaf.product = Some(grant.product.clone());
        leaf.owner = self.owner_of(&grant.product);
        leaf.grant = Some(id.clone());
        let decide = |model: &Model, at| {
            let old = model.grants.get(id).ok_or_else(HubError::not_found)?;
            if old.pinned(at).is_none() || !old.is_live(at) {
                let detail = "The grant is not held at an earlier version: it reads the newest one.";
                return Err(HubError::new(codes::CONFLICT, detail));
            }
            let new = Grant { pin: None, ..(**old).clone() };
            Ok((vec![Change::GrantPut(new.clone())], new))
        };
        let (value, leaf) = self.change(&caller.principal.id, leaf, decide).await?;
        Ok(Audited { value, leaf })
    }

    /// What the users of a grant are told, if it is held at an earlier version.
    pub(crate) fn notice(&self, model: &Model, grant: &Grant) -> Option<Notice> {
        let now = self.now();
        let pin = grant.pinned(now).filter(|_| grant.is_live(now))?;
        let history = model.contract_of(&grant.product)?;
        let (_, old) = history.of_major(pin.major)?;
        Some(Notice {
            product: grant.product.clone(),
            grant: grant.id.clone(),
            consumer: grant.consumer.clone(),
            version: old.version.clone(),
            next: history.current().version.clone(),
            pin: pin.clone(),
        })
    }

    /// What a reader is told with every answer.
    pub fn notice_of(&self, reader: &Reader) -> Option<Notice> {
        self.notice(&self.model(), reader.grant.as_deref()?)
    }
}
