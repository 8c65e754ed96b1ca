//! The audit: a leaf for every change and every access, and what may be read of them.

use tradelane_audit::{AuditError, Filter, Leaf, Outcome, Page, Receipt, Word};
use tradelane_model::{ProductId, Timestamp, codes};

use crate::Hub;
use crate::authorize::{Act, On};
use crate::doorway::{Audited, Caller};
use crate::error::{HubError, Result};

pub(crate) const PUBLISH: Word = Word::literal("publish");
pub(crate) const READ: Word = Word::literal("read");
pub(crate) const QUERY: Word = Word::literal("query");
pub(crate) const CHANGE: Word = Word::literal("change");
pub(crate) const PLAN: Word = Word::literal("plan");
pub(crate) const ISSUE_TOKEN: Word = Word::literal("token.issue");
pub(crate) const CATALOG: Word = Word::literal("catalog");
pub(crate) const LIST: Word = Word::literal("list");
pub(crate) const EXPLAIN: Word = Word::literal("explain");
pub(crate) const ERASE: Word = Word::literal("subject.erase");
pub(crate) const DETOKENIZE: Word = Word::literal("detokenize");
pub(crate) const QUARANTINE: Word = Word::literal("quarantine.read");
pub(crate) const CAPTURE: Word = Word::literal("capture");
pub(crate) const TRAIL: Word = Word::literal("audit.read");
pub(crate) const RETAIN: Word = Word::literal("retention");
pub(crate) const RETAIN_QUARANTINE: Word = Word::literal("quarantine.retention");
pub(crate) const COMPACT: Word = Word::literal("compaction");
pub(crate) const SCHEMA: Word = Word::literal("schema.read");
pub(crate) const REFUSE: Word = Word::literal("refuse");

/// A leaf of something that a caller does.
pub(crate) fn hub_leaf(now: Timestamp, caller: &Caller, action: Word) -> Leaf {
    let mut leaf = Leaf::new(now, caller.organization.id.clone(), action, Outcome::Allowed);
    leaf.principal = Some(caller.principal.id.clone());
    leaf
}

fn unrecorded(error: AuditError) -> HubError {
    let refused = HubError::of(error.code()).because(&error);
    if refused.code == codes::AUDIT_UNAVAILABLE { refused.retry(1) } else { refused }
}

/// What an auditor asks for. All that is given must hold.
#[derive(Debug, Clone, Default)]
pub struct TrailQuery {
    /// Of this product only.
    pub product: Option<ProductId>,
    /// From this time on.
    pub from: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
    /// Leaves after this one.
    pub after: Option<u64>,
    /// At most so many, 1 to 1,000.
    pub max: usize,
}

impl Hub {
    /// Puts a leaf on record. What cannot be recorded does not happen: callers do this before they answer.
    pub(crate) async fn record(&self, leaf: Leaf) -> Result<u64> {
        self.inner().audit.record(leaf).await.map_err(unrecorded)
    }

    /// Puts leaves on record that belong together, next to each other, and answers the number of the first.
    pub(crate) async fn record_all(&self, leaves: &[Leaf]) -> Result<u64> {
        self.inner().audit.record_many(leaves).await.map(|numbers| numbers.start).map_err(unrecorded)
    }

    /// Records the leaf, then hands out the value.
    pub(crate) async fn audited<T>(&self, leaf: Leaf, value: T) -> Result<Audited<T>> {
        let leaf = self.record(leaf).await?;
        Ok(Audited { value, leaf })
    }

    /// The signed checkpoint of the log (C2SP tlog-checkpoint). Public.
    pub async fn checkpoint(&self) -> Result<Vec<u8>> {
        self.serve_log("checkpoint").await?.ok_or_else(HubError::not_found)
    }

    /// A tile or entry bundle of the log by its path below the prefix (C2SP tlog-tiles). Public: commitments only.
    pub async fn tile(&self, path: &str) -> Result<Option<Vec<u8>>> {
        self.serve_log(path).await
    }

    async fn serve_log(&self, path: &str) -> Result<Option<Vec<u8>>> {
        let (hub, path) = (self.clone(), path.to_owned());
        let served = tokio::task::spawn_blocking(move || hub.inner().audit.serve(&path)).await;
        let served = served.map_err(|error| HubError::of(codes::INTERNAL).because(error))?;
        served.map_err(|error| HubError::of(error.code()).because(error))
    }

    /// The log's public key, as signed notes name it (`origin+hash+key`). Public.
    pub fn log_key(&self) -> String {
        self.inner().audit.verifier_key().to_string()
    }

    /// The receipt of a leaf: proof, for whoever has a part in it, that it is in the log.
    pub async fn receipt(&self, caller: &Caller, leaf: u64) -> Result<Audited<Receipt>> {
        let (hub, org) = (self.clone(), caller.organization.id.clone());
        let receipt = tokio::task::spawn_blocking(move || hub.inner().audit.receipt(leaf)).await;
        let receipt = receipt.map_err(|error| HubError::of(codes::INTERNAL).because(error))?;
        let receipt = receipt.map_err(|error| HubError::of(error.code()).because(error))?;
        let opened = receipt.opening.leaf().map_err(|error| HubError::of(codes::STORAGE_CORRUPT).because(error))?;
        // Somebody else's leaf looks like none.
        if !opened.concerns(&org) {
            return Err(HubError::not_found());
        }
        if opened.principal.as_ref() != Some(&caller.principal.id) {
            self.allow(caller, Act::Audit, On::Own)?;
        }
        let mut record = hub_leaf(self.now(), caller, TRAIL);
        record.count = 1;
        self.audited(record, receipt).await
    }

    /// What is on record in which the caller's organization has a part, oldest first.
    pub async fn trail(&self, caller: &Caller, query: TrailQuery) -> Result<Audited<Page>> {
        self.allow(caller, Act::Audit, On::Own)?;
        let filter = Filter {
            org: Some(caller.organization.id.clone()),
            product: query.product,
            from: query.from,
            to: query.until,
            start: query.after.map_or(0, |after| after.saturating_add(1)),
            limit: query.max.clamp(1, 1_000),
            ..Filter::default()
        };
        let hub = self.clone();
        let found = tokio::task::spawn_blocking(move || hub.inner().audit.query(&filter)).await;
        let found = found.map_err(|error| HubError::of(codes::INTERNAL).because(error))?;
        let page = found.map_err(|error| HubError::of(error.code()).because(error))?;
        let mut leaf = hub_leaf(self.now(), caller, TRAIL);
        leaf.count = page.leaves.len() as u64;
        self.audited(leaf, page).await
    }
}
