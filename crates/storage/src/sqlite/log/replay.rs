//! What opening the log finds in its segments: groups that the index does not know yet, a torn end, damage.
//!
//! Groups are written and synced one after the other. So at most the last one can be torn, and it was never
//! acknowledged; one that is not whole with another behind it means that acknowledged data was damaged.

use std::fs::OpenOptions;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};
use tradelane_keys::random_array;

use super::super::At;
use super::LogOptions;
use super::frames::{self, FrameHeader, GROUP_HEADER, GroupHeader, Kind, SEGMENT_HEADER};
use super::index::{Durable, Index, insert_batch, insert_key, note_end};
use super::read::end_of;
use super::segments::{End, Files, Place, Segments, holds_batches};
use super::streams::row_id;
use crate::buffers::Buffer;
use crate::error::{Result, StorageError};

/// The segments, ready to be written, and what was found.
pub(super) struct Replayed {
    pub(super) segments: Segments,
    /// Groups that the index did not know.
    pub(super) groups: u64,
    /// Bytes of a group that was never acknowledged.
    pub(super) torn_bytes: u64,
}

/// Opens the segments, and completes the index from them.
pub(super) fn open(index: &mut Index, files: Files, options: &LogOptions) -> Result<Replayed> {
    let files = Arc::new(files);
    let place = index.place().to_owned();
    match written(index.connection(), &place)? {
        None => create(index, files, options),
        Some((log, end)) => Replay { index, files, log, end, place, groups: 0, unknown: None }.run(options),
    }
}

/// The log's id, and how far the index has come.
fn written(connection: &Connection, place: &str) -> Result<Option<([u8; 16], End)>> {
    connection
        .query_row("SELECT log, segment, position, sequence FROM written", [], |row| {
            let number = |at| row.get::<_, i64>(at).map(|number| number as u64);
            Ok((row.get(0)?, End { segment: number(1)?, position: number(2)?, sequence: number(3)? }))
        })
        .optional()
        .at(place)
}

fn create(index: &mut Index, files: Arc<Files>, options: &LogOptions) -> Result<Replayed> {
    for number in files.numbers()? {
        // A header alone is a creation that was cut short. More belongs to an index that is not here.
        if std::fs::metadata(files.path(number)).map_err(|error| files.explain(&error))?.len() > SEGMENT_HEADER as u64 {
            let place = format!("{}, whose index {} is gone", files.folder(), index.place());
            return Err(StorageError::Corrupt { place });
        }
        files.remove(number);
    }
    let (log, end) = (random_array(), End { segment: 1, position: SEGMENT_HEADER as u64, sequence: 1 });
    let active = files.create(&log, end.segment)?;
    index.transaction(Durable::Now, |connection, place| {
        connection
            .execute(
                "INSERT INTO written (log, segment, position, sequence) VALUES (?1, ?2, ?3, ?4)",
                params![log, end.segment as i64, end.position as i64, end.sequence as i64],
            )
            .at(place)
    })?;
    Ok(Replayed { segments: Segments::new(files, log, active, end, options)?, groups: 0, torn_bytes: 0 })
}

struct Replay<'a> {
    index: &'a mut Index,
    files: Arc<Files>,
    log: [u8; 16],
    end: End,
    place: String,
    groups: u64,
    /// Where a group was with a stream that the index does not know: the birth of one that was not acknowledged, if
    /// nothing follows.
    unknown: Option<String>,
}

impl Replay<'_> {
    fn run(mut self, options: &LogOptions) -> Result<Replayed> {
        self.check_header()?;
        let torn_bytes = loop {
            let torn = self.segment()?;
            if !self.next_segment(torn)? {
                break torn;
            }
        };
        if self.groups > 0 {
            let end = self.end;
            self.index.transaction(Durable::Now, |connection, place| note_end(connection, &end, place))?;
        }
        self.tidy()?;
        let path = self.files.path(self.end.segment);
        let active = OpenOptions::new().write(true).open(path).map_err(|error| self.files.explain(&error))?;
        if torn_bytes > 0 {
            let cut = active.set_len(self.end.position).and_then(|()| active.sync_all());
            cut.map_err(|error| self.files.explain(&error))?;
        }
        let segments = Segments::new(self.files, self.log, active, self.end, options)?;
        Ok(Replayed { segments, groups: self.groups, torn_bytes })
    }

    fn damaged(&self, position: u64) -> StorageError {
        StorageError::Corrupt { place: format!("{}, byte {position}", self.files.name(self.end.segment)) }
    }

    fn check_header(&self) -> Result<()> {
        let header = self.files.read(self.end.segment, 0, SEGMENT_HEADER)?;
        if header[..] == frames::segment_header(&self.log, self.end.segment) { Ok(()) } else { Err(self.damaged(0)) }
    }

    /// Takes all groups that are left in the segment; answers how many bytes of a torn one follow.
    fn segment(&mut self) -> Result<u64> {
        let file = self.files.file(self.end.segment)?;
        let length = file.metadata().map_err(|error| self.files.explain(&error))?.len();
        if self.end.position > length {
            return Err(self.damaged(length));
        }
        while let Some((header, body)) = self.group(length)? {
            if let Some(place) = self.unknown.take() {
                return Err(StorageError::Corrupt { place });
            }
            self.take(&header, &body)?;
            self.end.position += GROUP_HEADER as u64 + header.body;
            self.end.sequence += 1;
            self.groups += 1;
        }
        let rest = self.files.read(self.end.segment, self.end.position, (length - self.end.position) as usize)?;
        if rest.iter().all(|&byte| byte == 0) {
            return Ok(0);
        }
        // The torn group's own header may be whole; a second one is of a group that was written after it.
        let own = GroupHeader::read(&rest).map_or(0, |_| GROUP_HEADER);
        match GroupHeader::find(&rest[own..]) {
            Some(_) => Err(self.damaged(self.end.position)),
            None => Ok(rest.len() as u64),
        }
    }

    /// The group at the end of what is known, if it is whole.
    fn group(&self, length: u64) -> Result<Option<(GroupHeader, Buffer)>> {
        let left = length - self.end.position;
        if left < GROUP_HEADER as u64 {
            return Ok(None);
        }
        let header = self.files.read(self.end.segment, self.end.position, GROUP_HEADER)?;
        let Some(header) = GroupHeader::read(&header).filter(|header| header.sequence == self.end.sequence) else {
            return Ok(None);
        };
        if header.body > left - GROUP_HEADER as u64 {
            return Ok(None);
        }
        let body = self.files.read(self.end.segment, self.end.position + GROUP_HEADER as u64, header.body as usize)?;
        Ok(header.vouches_for(&body).then_some((header, body)))
    }

    /// Notes a group's appends in the index.
    fn take(&mut self, group: &GroupHeader, body: &[u8]) -> Result<()> {
        let (segment, position) = (self.end.segment, self.end.position + GROUP_HEADER as u64);
        let damaged = self.damaged(self.end.position);
        let unknown = self.index.transaction(Durable::Later, |connection, place| {
            let (mut rest, mut unknown) = (body, false);
            for _ in 0..group.frames {
                let (header, sealed) = frames::next(&mut rest).ok_or_else(|| damaged.clone())?;
                let sealed_at = position + (body.len() - rest.len() - sealed.len()) as u64;
                let lies = Place { segment, position: sealed_at, length: sealed.len() as u32 };
                unknown |= !note(connection, &header, &lies, &damaged, place)?;
            }
            Ok(unknown)
        })?;
        if unknown {
            self.unknown = Some(format!("{}, a stream in {}", self.place, self.files.name(segment)));
        }
        Ok(())
    }

    /// Goes to the next segment, if there is one.
    fn next_segment(&mut self, torn_bytes: u64) -> Result<bool> {
        let next = self.end.segment + 1;
        let numbers = self.files.numbers()?;
        let Some(&last) = numbers.last().filter(|last| **last >= next) else { return Ok(false) };
        let header = self.files.read(next, 0, SEGMENT_HEADER);
        if last == next && !header.is_ok_and(|header| header.iter().any(|&byte| byte != 0)) {
            // Its creation was cut short: nothing was ever written to it.
            self.files.remove(next);
            return Ok(false);
        }
        if torn_bytes > 0 {
            return Err(self.damaged(self.end.position));
        }
        self.end = End { segment: next, position: SEGMENT_HEADER as u64, ..self.end };
        self.check_header()?;
        Ok(true)
    }

    /// Removes segments that hold nothing, and says which are gone that should hold something.
    fn tidy(&self) -> Result<()> {
        let numbers = self.files.numbers()?;
        for &number in numbers.iter().filter(|number| **number < self.end.segment) {
            if !holds_batches(self.index.connection(), number, &self.place)? {
                self.files.remove(number);
            }
        }
        let mut known = 0u64;
        while let Some(next) = self.segment_after(known)? {
            if numbers.binary_search(&next).is_err() {
                tracing::error!("{} is gone: reading what lay in it fails", self.files.name(next));
            }
            known = next;
        }
        Ok(())
    }

    /// The next segment that the index knows.
    fn segment_after(&self, number: u64) -> Result<Option<u64>> {
        let next: Option<i64> = self
            .index
            .connection()
            .query_row("SELECT min(segment) FROM batch WHERE segment > ?1", [number as i64], |row| row.get(0))
            .at(&self.place)?;
        Ok(next.map(|number| number as u64))
    }
}

/// Notes one frame; false if the index does not know its stream.
fn note(
    connection: &Connection,
    header: &FrameHeader,
    lies: &Place,
    damaged: &StorageError,
    place: &str,
) -> Result<bool> {
    let Kind::Append(dedup) = &header.kind else { return Ok(true) };
    let stream: Option<(u32, i64)> = connection
        .prepare_cached("SELECT number, start FROM stream WHERE incarnation = ?1 AND deleted = 0")
        .and_then(|mut select| select.query_row([header.incarnation], |row| Ok((row.get(0)?, row.get(1)?))).optional())
        .at(place)?;
    let Some((number, start)) = stream else { return Ok(false) };
    let end = end_of(connection, number, place)?.unwrap_or(0).max(start as u64);
    if header.base != end {
        return Err(damaged.clone());
    }
    insert_batch(connection, row_id(number, header.base), header.count, header.timestamp.0, lies, place)?;
    if let Some(dedup) = dedup {
        insert_key(connection, dedup, &header.incarnation, header.base, place)?;
    }
    Ok(true)
}
