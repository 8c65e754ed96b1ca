//! Erasure: a person's key is destroyed, and with it everything that was ever sealed under it, wherever copies of the
//! log are. What remains says that somebody was erased, not who.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tradelane_audit::{Leaf, Outcome};
use tradelane_keys::{MacKey, random_array};
use tradelane_model::journal::Change;
use tradelane_model::{Model, OrgId, PrincipalId, Timestamp, codes};
use tradelane_seal::SubjectTag;

use crate::Hub;
use crate::audit_trail::{CHANGE, ERASE, hub_leaf};
use crate::authenticate::{parse_hex, to_hex};
use crate::authorize::{Act, On};
use crate::doorway::{Audited, Caller};
use crate::error::{HubError, Result};
use crate::health::add;

/// The longest identity of a person.
const MAX_IDENTITY: usize = 1_024;

/// An erasure that was begun: whose product data, and the keyed tag of whom.
#[derive(Serialize, Deserialize)]
struct Pending {
    organization: OrgId,
    tag: String,
}

/// Proof of an erasure.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Erasure {
    /// Keys that were destroyed: 1, or 0 if the hub held nothing of that person.
    pub keys_destroyed: u32,
    /// HMAC-SHA-256 of the identity under `key`, lower-case hex: what journal and audit keep.
    pub commitment: String,
    /// The key of the commitment, lower-case hex. The hub does not keep it: whoever asked can prove what was erased,
    /// and nobody else can find out who it was.
    pub key: String,
    /// When.
    pub at: Timestamp,
}

impl Hub {
    /// Erases a person from all products of the caller's organization. `identity` is what their contracts name as the
    /// subject: an e-mail address, a customer number.
    pub async fn erase(&self, caller: &Caller, identity: &str) -> Result<Audited<Erasure>> {
        self.allow(caller, Act::Erase, On::Own)?;
        if identity.is_empty() || identity.len() > MAX_IDENTITY {
            let detail = format!("The subject's identity has 1 to {MAX_IDENTITY} bytes.");
            return Err(HubError::new(codes::BAD_PARAMETER, detail));
        }
        let organization = &caller.organization.id;
        let tag = self.inner().keyring.tagger(organization).tag(identity);
        let key: [u8; 32] = random_array();
        let mac = MacKey::new(&key).mac(identity.as_bytes());
        let commitment = to_hex(&mac);
        // The order matters. The order to erase outlives a crash; the leaf comes before the deed; and the journal tells
        // other nodes to forget their copies only when the store has no key to give them any more.
        let pending = Pending { organization: organization.clone(), tag: to_hex(tag.as_bytes()) };
        self.remember(&pending).await?;
        let mut leaf = hub_leaf(self.now(), caller, ERASE);
        leaf.digest = Some(mac);
        let leaf = self.record(leaf).await?;
        let at = self.now();
        let keys_destroyed = self.inner().keyring.destroy_subject(organization, &tag, at).await?;
        self.forget_rendered();
        self.journal_erasure(&caller.principal.id, organization, &commitment).await?;
        self.forget(&pending).await?;
        add(&self.inner().counters.erasures, 1);
        let erasure = Erasure { keys_destroyed, commitment, key: to_hex(&key), at };
        Ok(Audited { value: erasure, leaf })
    }

    async fn journal_erasure(&self, by: &PrincipalId, organization: &OrgId, commitment: &str) -> Result<()> {
        let change = Change::SubjectErased { organization: organization.clone(), commitment: commitment.to_owned() };
        let mut leaf = Leaf::new(self.now(), organization.clone(), CHANGE, Outcome::Allowed);
        leaf.principal = Some(by.clone());
        let decide = |_: &Model, _| Ok((vec![change.clone()], ()));
        self.change(by, leaf, decide).await.map(drop)
    }

    async fn remember(&self, pending: &Pending) -> Result<()> {
        let value = serde_json::to_vec(pending).map_err(|error| HubError::of(codes::INTERNAL).because(error))?;
        let erasing = &self.inner().stores.state.erasing;
        erasing.put(pending.tag.as_bytes(), Bytes::from(value), Timestamp::MAX).await
    }

    async fn forget(&self, pending: &Pending) -> Result<()> {
        self.inner().stores.state.erasing.delete(pending.tag.as_bytes(), self.now()).await
    }

    /// Finishes erasures that a crash interrupted; returns how many.
    pub(crate) async fn finish_erasures(&self, by: &PrincipalId) -> Result<usize> {
        let pending = self.inner().stores.state.erasing.list(&[], 1_000, self.now()).await?;
        for (_, entry) in &pending {
            let damaged = || HubError::of(codes::STORAGE_CORRUPT).because("a pending erasure does not read");
            let pending: Pending = serde_json::from_slice(&entry.value).map_err(|_| damaged())?;
            let tag = parse_hex(&pending.tag).map(SubjectTag::from_bytes).ok_or_else(damaged)?;
            let mac = MacKey::new(&random_array::<32>()).mac(tag.as_bytes());
            let mut leaf = Leaf::new(self.now(), pending.organization.clone(), ERASE, Outcome::Allowed);
            leaf.digest = Some(mac);
            self.record(leaf).await?;
            self.inner().keyring.destroy_subject(&pending.organization, &tag, self.now()).await?;
            self.journal_erasure(by, &pending.organization, &to_hex(&mac)).await?;
            self.forget(&pending).await?;
        }
        Ok(pending.len())
    }

    /// Forgets whatever was rendered and kept: it may hold what was just erased.
    fn forget_rendered(&self) {
        self.inner().rendered.clear();
        self.inner().views.clear_stand_ins();
    }
}
