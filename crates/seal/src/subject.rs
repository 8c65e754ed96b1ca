//! Who a field is about, as a keyed tag: the identity itself never leaves the event.

use std::fmt;

use tradelane_keys::{MacKey, SecretBytes};

/// HMAC-SHA-256 of a subject's identity under the tenant's key. Without that key it says nothing; with it, the same person
/// has the same tag in all of the tenant's products.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubjectTag([u8; 32]);

impl SubjectTag {
    /// From storage.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// For storage.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for SubjectTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SubjectTag(..)")
    }
}

/// Makes tags for one tenant.
#[derive(Debug, Clone)]
pub struct SubjectTagger {
    key: MacKey,
    /// Whose all is, whatever stands where the identity is looked for.
    all: Option<SubjectTag>,
}

impl SubjectTagger {
    /// Under the tenant's own key for this purpose.
    pub fn new(tenant_key: &SecretBytes<32>) -> Self {
        let key = tradelane_keys::hkdf(tenant_key.expose(), &[b"tradelane/subject/v1"]);
        Self { key: MacKey::new(key.expose()), all: None }
    }

    /// The tag of an identity: the decoded text of a string, or the text of a number as it stands in the event, so that
    /// `7` and `"7"` are one person and an operator can name a person without knowing the event's types.
    pub fn tag(&self, identity: &str) -> SubjectTag {
        self.all.unwrap_or_else(|| SubjectTag(self.key.mac(identity.as_bytes())))
    }

    /// For a document all of which belongs to one person, whom another one names.
    pub fn of_one(&self, identity: &str) -> Self {
        Self { key: self.key.clone(), all: Some(self.tag(identity)) }
    }
}
