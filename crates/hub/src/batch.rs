//! The frame of a batch: how sealed events lie next to each other in the event log (`docs/formats/event-log.md`).
//!
//! ```text
//! batch  := version:u8 = 1, record*
//! record := length:u32 (of what follows), time:i64 (microseconds), kind:u8 (1 = sealed event), event
//! ```
//! All numbers are little-endian. The batch as a whole is encrypted and bound to its place by the event log, and each
//! event to its record by its own seal.

use tradelane_model::{Timestamp, codes};

use crate::error::{HubError, Result};

const VERSION: u8 = 1;
const KIND_SEALED: u8 = 1;
const HEAD: usize = 8 + 1;

/// A batch being written.
pub(crate) struct BatchWriter {
    bytes: Vec<u8>,
    count: u32,
}

impl BatchWriter {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        let mut writer = Self { bytes: Vec::with_capacity(bytes + 1), count: 0 };
        writer.bytes.push(VERSION);
        writer
    }

    /// Adds a record whose event `write` appends to the buffer it is given.
    pub(crate) fn record<E>(
        &mut self,
        time: Timestamp,
        write: impl FnOnce(&mut Vec<u8>) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&time.0.to_le_bytes());
        self.bytes.push(KIND_SEALED);
        if let Err(error) = write(&mut self.bytes) {
            self.bytes.truncate(start);
            return Err(error);
        }
        // An event is at most as long as its limits allow, which is far below 4 GiB.
        let length = u32::try_from(self.bytes.len() - start - 4).unwrap_or(u32::MAX);
        if let Some(head) = self.bytes.get_mut(start..start + 4) {
            head.copy_from_slice(&length.to_le_bytes());
        }
        self.count += 1;
        Ok(())
    }

    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// One record of a batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record<'a> {
    pub(crate) time: Timestamp,
    pub(crate) sealed: &'a [u8],
}

/// The records of a batch, in order. A frame that is not whole is an error, never fewer records.
pub(crate) fn records(batch: &[u8]) -> Result<Vec<Record<'_>>> {
    let damaged = || HubError::of(codes::STORAGE_CORRUPT).because("a batch's frame is not whole");
    let (&version, mut rest) = batch.split_first().ok_or_else(damaged)?;
    if version != VERSION {
        return Err(damaged());
    }
    let mut records = Vec::new();
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk::<4>().ok_or_else(damaged)?;
        let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| damaged())?;
        if length < HEAD || after.len() < length {
            return Err(damaged());
        }
        let (record, next) = after.split_at(length);
        let (time, body) = record.split_first_chunk::<8>().ok_or_else(damaged)?;
        match body.split_first() {
            Some((&KIND_SEALED, sealed)) => records.push(Record { time: Timestamp(i64::from_le_bytes(*time)), sealed }),
            _ => return Err(damaged()),
        }
        rest = next;
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_as_they_were_written_and_a_cut_frame_is_an_error() {
        let mut writer = BatchWriter::with_capacity(64);
        for (at, text) in [(1, "one"), (2, ""), (3, "three")] {
            let write = |out: &mut Vec<u8>| {
                out.extend_from_slice(text.as_bytes());
                Ok::<(), ()>(())
            };
            writer.record(Timestamp(at), write).unwrap();
        }
        assert!(writer.record(Timestamp(4), |_| Err(())).is_err());
        assert_eq!(writer.count(), 3);
        let bytes = writer.finish();
        let read: Vec<_> = records(&bytes).unwrap().into_iter().map(|r| (r.time.0, r.sealed)).collect();
        assert_eq!(read, [(1, &b"one"[..]), (2, &b""[..]), (3, &b"three"[..])]);
        let whole = [1, 1 + 4 + 9 + 3, 1 + 4 + 9 + 3 + 4 + 9];
        for cut in (0..bytes.len()).filter(|cut| !whole.contains(cut)) {
            assert!(records(&bytes[..cut]).is_err(), "cut at {cut}");
        }
    }
}
