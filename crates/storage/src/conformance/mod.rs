//! What every implementation of a trait must do, as functions that take an empty store and panic where it does not.
//!
//! Each function is a group of rules about one trait; run them all, each on an empty store of its own.

mod event_log;
mod journal;
mod key_store;
mod keyed_state;

pub use event_log::event_log;
pub use journal::journal;
pub use key_store::key_store;
pub use keyed_state::keyed_state;

use tradelane_model::Timestamp;

/// A time for tests.
fn at(second: i64) -> Timestamp {
    Timestamp(1_767_225_600_000_000).plus_seconds(second)
}
