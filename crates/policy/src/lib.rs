//! Decisions: may this principal do that, which events may this reader see, does this event keep its contract's rules?
//!
//! [`Authorizer`] asks Cedar once and gives a [`Permit`]; what reads and writes events demands one, and nobody else can
//! make one. On the hot path a permit is checked against a few counters ([`Epochs`]), and no policy is evaluated.
//! [`RowFilter`] and [`QualityRule`] are CEL.
//!
//! What this crate does not know: credentials, storage, how events are sealed, what time it is.

mod authorize;
pub mod cel;
mod epoch;
mod permit;
mod policies;

pub use authorize::{Action, Authorizer, Denial, PERMIT_SECONDS, Request, Resource};
pub use cel::{CelError, CelFault, EventPath, QualityRule, Reader, RowFilter, RuleOutcome, Verdict};
pub use epoch::{Epochs, Scope, Snapshot};
pub use permit::{Permit, Refusal};
pub use policies::{MAX_POLICIES, MAX_TEXT, PolicyError};
