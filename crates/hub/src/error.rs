//! The one error that listeners see: a stable code, what was wrong, where, and the cause for the operator alone.

use serde::{Deserialize, Serialize};
use tradelane_model::{ErrorCode, codes};

/// A place in what was sent, and what is wrong there. Never the value itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// JSON Pointer (RFC 6901) into the event; for a batch it starts with the event's index.
    pub pointer: String,
    /// The rule that it breaks: a JSON Schema keyword, an EPCIS rule id, a quality rule's name.
    pub rule: String,
    /// What to do, in a sentence.
    pub message: String,
}

/// A use case that was refused or failed. Nothing of it happened, unless the detail says so.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct HubError {
    /// The stable code.
    pub code: ErrorCode,
    /// One sentence for the caller.
    pub detail: String,
    /// Places in the input, if it was the input.
    pub places: Vec<Place>,
    /// Seconds after which to try again, if that makes sense.
    pub retry_after: Option<u32>,
    /// For the operator's log only.
    pub cause: Option<String>,
}

/// The result of a use case.
pub type Result<T, E = HubError> = std::result::Result<T, E>;

impl HubError {
    /// An error with that sentence for the caller.
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), places: Vec::new(), retry_after: None, cause: None }
    }

    /// An error with its code's own words.
    pub fn of(code: ErrorCode) -> Self {
        Self::new(code, format!("{} {}", code.info().title, code.info().remedy))
    }

    /// With places in the input.
    pub fn at(mut self, places: Vec<Place>) -> Self {
        self.places = places;
        self
    }

    /// With a cause for the operator.
    pub fn because(mut self, cause: impl ToString) -> Self {
        self.cause = Some(cause.to_string());
        self
    }

    /// With a time after which to try again.
    pub fn retry(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// What the caller may not see looks like what does not exist.
    pub(crate) fn not_found() -> Self {
        Self::of(codes::NOT_FOUND)
    }
}

impl From<tradelane_storage::StorageError> for HubError {
    fn from(error: tradelane_storage::StorageError) -> Self {
        let code = error.code();
        // A server-side fault is told in the code's own words: the store's sentence may name files.
        let detail = match code.info().status {
            500.. => format!("{} {}", code.info().title, code.info().remedy),
            _ => error.to_string(),
        };
        let retry_after = matches!(code.info().status, 503 | 507).then_some(1);
        Self { code, detail, places: Vec::new(), retry_after, cause: error.cause().map(str::to_owned) }
    }
}
