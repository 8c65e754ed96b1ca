//! The permit: proof that authorization said yes, demanded by whatever reads or writes events.

use tradelane_model::{ErrorCode, GrantId, OrgId, PrincipalId, ProductId, Timestamp, codes};

use crate::authorize::Action;
use crate::epoch::Snapshot;

/// That a principal may do something, for a while. Only [`crate::Authorizer`] makes one; it cannot be cloned into more
/// than it is, written down, or sent elsewhere.
#[derive(Debug)]
pub struct Permit {
    pub(crate) principal: PrincipalId,
    pub(crate) org: OrgId,
    pub(crate) action: Action,
    pub(crate) owner: Option<OrgId>,
    pub(crate) product: Option<ProductId>,
    pub(crate) grant: Option<GrantId>,
    pub(crate) purpose: Option<String>,
    pub(crate) expires: Timestamp,
    pub(crate) snapshot: Snapshot,
}

/// Why a permit is worth nothing. Ask the authorizer again: it may say yes anew, or say why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// What the decision rested on has changed: a grant, a role, a policy, a suspension.
    #[error("the permission changed since it was given; ask again")]
    Moved,
    /// Its time is over.
    #[error("the permission has run out; ask again")]
    Expired,
    /// It is for another action or product.
    #[error("the permission is for something else")]
    Elsewhere,
}

impl Refusal {
    /// The stable code for a caller.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Moved | Self::Expired => codes::GRANT_ENDED,
            Self::Elsewhere => codes::FORBIDDEN,
        }
    }
}

impl Permit {
    /// Whether it still holds at `now`. The hot path: a few loads, no look-up, no policy, whatever the number of grants.
    #[inline]
    pub fn check(&self, now: Timestamp) -> Result<(), Refusal> {
        if !self.snapshot.holds() {
            return Err(Refusal::Moved);
        }
        if now >= self.expires {
            return Err(Refusal::Expired);
        }
        Ok(())
    }

    /// Whether it still holds at `now`, and is for this action on this product.
    pub fn covers(&self, action: Action, product: &ProductId, now: Timestamp) -> Result<(), Refusal> {
        if self.action != action || self.product.as_ref() != Some(product) {
            return Err(Refusal::Elsewhere);
        }
        self.check(now)
    }

    /// Who may.
    pub fn principal(&self) -> &PrincipalId {
        &self.principal
    }

    /// The principal's organization.
    pub fn org(&self) -> &OrgId {
        &self.org
    }

    /// What may be done.
    pub fn action(&self) -> Action {
        self.action
    }

    /// The organization that owns what it is done to; `None` for the hub itself.
    pub fn owner(&self) -> Option<&OrgId> {
        self.owner.as_ref()
    }

    /// The product it is done to, if it is one.
    pub fn product(&self) -> Option<&ProductId> {
        self.product.as_ref()
    }

    /// The grant on which it rests; `None` for the owner itself.
    pub fn grant(&self) -> Option<&GrantId> {
        self.grant.as_ref()
    }

    /// What for.
    pub fn purpose(&self) -> Option<&str> {
        self.purpose.as_deref()
    }

    /// When it runs out.
    pub fn expires(&self) -> Timestamp {
        self.expires
    }
}
