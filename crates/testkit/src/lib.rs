//! What tests of several crates share: a clock that is told the time, throw-away directories and servers, disks that
//! are full or torn, and fixtures.
//!
//! Nothing here is part of the product, and it knows none of the product's crates but the model.

mod clock;
mod disk;
mod kafka;
mod postgres;
mod require;

use std::path::PathBuf;

pub use clock::FakeClock;
pub use disk::{TinyDisk, copy_dir, flip_byte, tear_tail};
pub use kafka::{Kafka, KafkaSecurity};
pub use postgres::PostgresCluster;
pub use require::require_or_skip;
pub use tempfile::TempDir;

/// A directory that is removed when the value is dropped.
///
/// # Panics
/// If it cannot be made.
pub fn temp_dir() -> TempDir {
    tempfile::Builder::new().prefix("tradelane-").tempdir().expect("a temporary directory can be made")
}

/// The path of a file or directory among the fixtures.
pub fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}
