//! Kafka record batches (magic 2): checked, walked in place, patched or rebuilt. Byte by byte: docs/formats/record-batch.md.
//!
//! [`Batch::parse`] checks header and CRC-32C of one batch and copies nothing. [`Batch::records`] walks its records as ranges
//! of the same bytes, or of a [`Decompressor`]'s buffer. [`Rewriter`] copies a batch without some records or with other
//! values; [`BatchBuilder`] writes a new one; [`patch`] changes header fields in place.
//!
//! Every byte may come from an adversary. Counts, lengths and variable-length integers are held against what is there before
//! anything is sized by them; what decompression makes is capped by [`Limits`]; nothing here panics on input.
//!
//! What this crate does not know: topics, policy, requests, sockets, the older message formats (magic 0 and 1), and what
//! keys and values mean.

#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::arithmetic_side_effects,
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        clippy::cast_sign_loss
    )
)]

mod batch;
mod batches;
mod builder;
mod codec;
mod error;
mod layout;
mod limits;
pub mod patch;
mod record;
mod rewrite;
mod varint;

pub use batch::{Batch, Compression, TimestampType};
pub use batches::{BatchesIter, Part};
pub use builder::{BatchBuilder, BatchHead, BuildError, Built, HeaderSource, Output, encode_headers};
pub use codec::Decompressor;
pub use error::BatchError;
pub use layout::HEADER_LEN;
pub use limits::Limits;
pub use record::{Headers, Record, Records};
pub use rewrite::{Action, Edit, Rewriter, Rewritten};
