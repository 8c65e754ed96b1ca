//! The one doorway. Who comes in is a [`Caller`], which only authentication makes; what goes out is an [`Audited`],
//! which only the audit makes. A use case that forgets either does not compile, and a listener has no other way in.

use std::sync::Arc;

use tradelane_model::{CredentialId, Organization, Principal, Timestamp};

/// Someone whose credentials were checked. Holds no secret.
#[derive(Debug, Clone)]
pub struct Caller {
    pub(crate) principal: Arc<Principal>,
    pub(crate) organization: Arc<Organization>,
    pub(crate) credential: CredentialId,
    /// Scopes of an access token; none for an API key, which may all that its principal may.
    pub(crate) scopes: Option<Arc<[String]>>,
    /// The end of the credential or token, whichever is first.
    pub(crate) until: Timestamp,
}

impl Caller {
    /// Who.
    pub fn principal(&self) -> &Arc<Principal> {
        &self.principal
    }

    /// Of which organization.
    pub fn organization(&self) -> &Arc<Organization> {
        &self.organization
    }

    /// By which credential; the key for rate limits.
    pub fn credential(&self) -> &CredentialId {
        &self.credential
    }

    /// When the credential or token ends, whichever is first.
    pub fn until(&self) -> Timestamp {
        self.until
    }

    /// May the token be used for this (`read`, `publish`, `manage`) on that product? Keys may always; a token needs
    /// the scope `action:product`, `action:*`, or `action`.
    pub(crate) fn in_scope(&self, action: &str, product: Option<&str>) -> bool {
        let Some(scopes) = &self.scopes else { return true };
        scopes.iter().any(|scope| match scope.split_once(':') {
            None => scope == action,
            Some((verb, of)) => verb == action && (of == "*" || Some(of) == product),
        })
    }
}

/// A result whose access is on record: the number of its leaf in the audit log.
#[derive(Debug, Clone, Copy)]
pub struct Audited<T> {
    pub(crate) value: T,
    pub(crate) leaf: u64,
}

impl<T> Audited<T> {
    /// The result.
    pub fn value(&self) -> &T {
        &self.value
    }

    /// The result and its leaf's number.
    pub fn into_parts(self) -> (T, u64) {
        (self.value, self.leaf)
    }

    /// The number of the leaf; its receipt is asked for with [`crate::Hub::receipt`].
    pub fn leaf(&self) -> u64 {
        self.leaf
    }

    /// Another form of the same result.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Audited<U> {
        Audited { value: f(self.value), leaf: self.leaf }
    }
}
