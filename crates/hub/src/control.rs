//! Changing the control plane: audit first, then the journal, then the model that everyone reads.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use tradelane_audit::{Leaf, Outcome};
use tradelane_model::journal::{Change, Entry};
use tradelane_model::state::Misfit;
use tradelane_model::{Model, PrincipalId, Timestamp, codes};
use tradelane_storage::{Journal, Journaled};

use crate::Hub;
use crate::error::{HubError, Result};

/// Entries read from the journal at once.
const PAGE: usize = 1_000;
/// How often a change is tried again when another node was first.
const ATTEMPTS: usize = 16;

impl Hub {
    /// Makes the changes that `decide` finds right for the model as it is now: all of them or none.
    ///
    /// `decide` is asked again when another node changed the model in between. The leaf is on record before the
    /// journal has the entries; should the journal refuse them, a second leaf says so.
    pub(crate) async fn change<T>(
        &self,
        by: &PrincipalId,
        leaf: Leaf,
        decide: impl Fn(&Model, Timestamp) -> Result<(Vec<Change>, T)>,
    ) -> Result<(T, u64)> {
        let _one_at_a_time = self.inner().changing.lock().await;
        let mut recorded = None;
        for _ in 0..ATTEMPTS {
            let at = self.now();
            let before = self.model();
            let (changes, value) = decide(&before, at)?;
            let mut after = (*before).clone();
            let entries = apply_all(&mut after, by, at, changes)?;
            let payloads = entries.iter().map(encode).collect::<Result<Vec<Bytes>>>()?;
            if recorded.is_none() {
                let mut leaf = leaf.clone();
                leaf.time = at;
                leaf.count = entries.len() as u64;
                leaf.digest = Some(digest(&payloads));
                recorded = Some(self.record(leaf).await?);
            }
            match self.inner().stores.journal.append(before.seq, payloads).await {
                Ok(Journaled::At(_)) => {
                    self.publish_model(after, &entries);
                    return Ok((value, recorded.unwrap_or_default()));
                }
                Ok(Journaled::Conflict { .. }) => self.catch_up_locked().await?,
                Err(error) => {
                    self.record_failure(&leaf).await;
                    return Err(error.into());
                }
            }
        }
        self.record_failure(&leaf).await;
        Err(HubError::of(codes::CONFLICT).retry(1))
    }

    async fn record_failure(&self, leaf: &Leaf) {
        let mut leaf = leaf.clone().because(codes::CONFLICT);
        leaf.time = self.now();
        leaf.outcome = Outcome::Failed;
        if let Err(error) = self.record(leaf).await {
            tracing::error!(code = %error.code, "a change failed, and that could not be recorded either");
        }
    }

    /// Applies what other nodes wrote to the journal.
    pub(crate) async fn catch_up(&self) -> Result<()> {
        let _one_at_a_time = self.inner().changing.lock().await;
        self.catch_up_locked().await
    }

    /// Hears at once what other nodes have written to the journal, so that nobody is refused only because this node has not
    /// heard yet why it may. Nothing happens on a hub of one node. An error: the journal cannot be read now.
    pub async fn hear_others(&self) -> Result<()> {
        if !self.inner().has_others {
            return Ok(());
        }
        let heard = &self.inner().heard;
        let before = heard.load(Ordering::Acquire);
        let _one_at_a_time = self.inner().changing.lock().await;
        // Somebody began after this was asked: all that was there then is known. So many who ask at once read it twice at most.
        if heard.load(Ordering::Acquire) > before {
            return Ok(());
        }
        self.catch_up_locked().await
    }

    async fn catch_up_locked(&self) -> Result<()> {
        let before = self.model();
        self.inner().heard.fetch_add(1, Ordering::AcqRel);
        let read = replay(self.inner().stores.journal.as_ref(), (*before).clone()).await;
        if read.is_err() {
            self.inner().heard.fetch_sub(1, Ordering::AcqRel);
        }
        let (after, entries) = read?;
        if !entries.is_empty() {
            self.publish_model(after, &entries);
        }
        Ok(())
    }
}

/// Applies everything in the journal after the model's own entry; returns what was applied.
pub(crate) async fn replay(journal: &dyn Journal, mut model: Model) -> Result<(Model, Vec<Entry>)> {
    let mut entries = Vec::new();
    loop {
        let page = journal.read(model.seq + 1, PAGE).await?;
        if page.is_empty() {
            return Ok((model, entries));
        }
        for (seq, payload) in page {
            let damaged =
                || HubError::of(codes::STORAGE_CORRUPT).because(format!("journal entry {seq} does not apply"));
            let entry: Entry = serde_json::from_slice(&payload).map_err(|_| damaged())?;
            model.apply(&entry).map_err(|_| damaged())?;
            if model.seq != seq {
                return Err(damaged());
            }
            entries.push(entry);
        }
    }
}

fn apply_all(model: &mut Model, by: &PrincipalId, at: Timestamp, changes: Vec<Change>) -> Result<Vec<Entry>> {
    let mut entries = Vec::with_capacity(changes.len());
    for change in changes {
        let entry = Entry { at, by: by.clone(), change };
        model.apply(&entry).map_err(misfit)?;
        entries.push(entry);
    }
    Ok(entries)
}

/// Why a change does not fit, as the caller is told.
pub(crate) fn misfit(misfit: Misfit) -> HubError {
    let code = match &misfit {
        Misfit::Missing { .. } | Misfit::InUse { .. } | Misfit::Fixed { .. } => codes::CONFLICT,
        Misfit::Topic(_) => codes::TOPIC_TAKEN,
        Misfit::Contract(_) => codes::CONTRACT_INVALID,
        Misfit::Invalid(_) => codes::MANIFEST_INVALID,
    };
    HubError::new(code, misfit.to_string())
}

fn encode(entry: &Entry) -> Result<Bytes> {
    serde_json::to_vec(entry).map(Bytes::from).map_err(|error| HubError::of(codes::INTERNAL).because(error))
}

fn digest(payloads: &[Bytes]) -> [u8; 32] {
    let mut hash = tradelane_keys::Sha256::new();
    payloads.iter().for_each(|payload| hash.update(&tradelane_keys::sha256(payload)));
    hash.finish()
}

/// A model that never changes again, shared by whoever reads it.
pub(crate) type SharedModel = Arc<Model>;
