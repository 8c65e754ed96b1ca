//! The `records` field of a request or a response: several batches, the last of them perhaps cut. It knows no records.

use crate::batch::{Batch, claimed_length};
use crate::error::BatchError;
use crate::limits::Limits;

/// One piece of a `records` field.
#[derive(Debug, Clone, Copy)]
pub enum Part<'a> {
    /// A whole batch.
    Batch(Batch<'a>),
    /// The beginning of a batch whose end is missing. A broker that fills a fetch to its byte limit cuts like this; a
    /// reader asks again from there. From a producer it is an error.
    Partial(&'a [u8]),
}

/// Iterates over the batches of a `records` field. Ends after the first error and after a partial batch.
#[derive(Debug, Clone)]
pub struct BatchesIter<'a> {
    rest: &'a [u8],
    limits: Limits,
}

impl<'a> BatchesIter<'a> {
    /// The batches of `records`.
    pub fn new(records: &'a [u8], limits: &Limits) -> Self {
        Self { rest: records, limits: *limits }
    }
}

impl<'a> Iterator for BatchesIter<'a> {
    type Item = Result<Part<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let at = std::mem::take(&mut self.rest);
        Some(match Batch::parse(at, &self.limits) {
            Ok((batch, rest)) => {
                self.rest = rest;
                Ok(Part::Batch(batch))
            }
            Err(BatchError::Truncated { .. })
                if claimed_length(at).map_or(at.len() < 12, |length| length > at.len()) =>
            {
                Ok(Part::Partial(at))
            }
            Err(error) => Err(error),
        })
    }
}
