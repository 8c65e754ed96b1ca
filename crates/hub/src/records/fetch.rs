//! Fetching: pages of records that are rendered first, and handed out when they are on record.

use bytes::Bytes;
use tradelane_model::codes;
use tradelane_storage::StorageError;

use super::{FetchRecords, Filling, RecordBounds, RecordsPage, skip};
use crate::Hub;
use crate::error::{HubError, Result};
use crate::health::add;
use crate::read::Reader;

/// A page that is rendered and not on record yet. Nobody has its records before [`Hub::release_records`] put it there: a
/// listener that answers for several partitions at once releases their pages together, and waits for the disk once.
pub struct UnrecordedPage {
    page: RecordsPage,
    reader: Reader,
    /// Where it begins.
    from: u64,
    count: u32,
    leaf: Option<tradelane_audit::Leaf>,
    /// The erasures that there had been when its rendering began.
    erasures: u64,
}

impl UnrecordedPage {
    /// The bytes of its batches.
    pub fn bytes(&self) -> usize {
        self.page.batches.iter().map(Bytes::len).sum()
    }

    /// Where to go on, if it is released.
    pub fn next(&self) -> u64 {
        self.page.next
    }

    /// What the partition keeps.
    pub fn bounds(&self) -> RecordBounds {
        RecordBounds { start: self.page.start, end: self.page.end }
    }
}

/// What a batch counts for that shows nothing, so that there is an end to passing over such.
const LEAST_SCANNED: usize = 1 << 10;

impl Hub {
    /// Records from an offset on, as the reader's view shows them. Never waits.
    pub async fn fetch_records(&self, reader: &Reader, fetch: FetchRecords) -> Result<RecordsPage> {
        self.release_records(self.prepare_records(reader, fetch).await?).await
    }

    /// The same, before it is on record and before anybody may have it.
    pub async fn prepare_records(&self, reader: &Reader, fetch: FetchRecords) -> Result<UnrecordedPage> {
        self.renewing(reader, |reader| async move { self.prepare_now(&reader, fetch).await }).await
    }

    async fn prepare_now(&self, reader: &Reader, fetch: FetchRecords) -> Result<UnrecordedPage> {
        let bounds = self.record_bounds(reader, fetch.partition).await?;
        if fetch.offset < bounds.start || fetch.offset > bounds.end {
            let detail = format!("The partition keeps the offsets {} to {}.", bounds.start, bounds.end);
            return Err(HubError::new(codes::OFFSET_BEYOND_END, detail));
        }
        let reader = &reader.at_partition(fetch.partition);
        let erasures = self.inner().rendered.generation();
        let mut page = Filling { at: fetch.offset, ..Filling::default() };
        'filling: while page.at < bounds.end && page.wants_more(fetch.max_bytes) {
            if let Some(batch) = self.records_before(reader, page.at) {
                if !page.has_room_for(&batch, fetch.max_bytes) {
                    break;
                }
                page.scanned += batch.bytes.len().max(LEAST_SCANNED);
                page.take(&batch);
                continue;
            }
            // No more than there is room for: what is left over of a read was decrypted for nothing.
            let want = fetch.max_bytes.saturating_sub(page.bytes).clamp(64 << 10, 4 << 20);
            let batches = self.inner().stores.log.read(&reader.stream(), page.at, want).await.map_err(gone)?;
            if batches.is_empty() {
                break;
            }
            for stored in batches {
                if !page.wants_more(fetch.max_bytes) {
                    break;
                }
                page.scanned += stored.payload.len();
                let batch = self.records(reader, &stored).await?;
                if !page.has_room_for(&batch, fetch.max_bytes) {
                    break 'filling;
                }
                page.take(&batch);
            }
        }
        self.check(reader)?;
        if page.batches.is_empty() && page.at > fetch.offset {
            page.batches.push(skip(fetch.offset, page.at)?);
        }
        let shows = page.count > 0;
        Ok(UnrecordedPage {
            leaf: shows.then(|| self.read_leaf(reader, page.offsets, page.count, page.classes)),
            page: RecordsPage {
                batches: page.batches,
                next: page.at,
                start: bounds.start,
                end: bounds.end,
                leaf: None,
            },
            reader: reader.clone(),
            from: fetch.offset,
            count: page.count,
            erasures,
        })
    }

    /// Puts a page on record and hands it out, if its reader may still have it. A page that was rendered before somebody was
    /// erased, or before something changed on which its reader's right rests, is handed out empty, and is to be asked for
    /// again.
    pub async fn release_records(&self, prepared: UnrecordedPage) -> Result<RecordsPage> {
        let UnrecordedPage { mut page, reader, from, count, leaf, erasures } = prepared;
        let mut is_past = false;
        if let Err(ended) = self.check(&reader) {
            is_past = self.renewed(&reader).await.ok_or(ended).map(|_| true)?;
        }
        if is_past || self.inner().rendered.generation() != erasures {
            page.batches.clear();
            page.next = from;
            return Ok(page);
        }
        if let Some(leaf) = leaf {
            page.leaf = Some(self.record(leaf).await?);
        }
        add(&self.inner().counters.events_read, u64::from(count));
        Ok(page)
    }
}

fn gone(error: StorageError) -> HubError {
    match error {
        StorageError::Truncated { start, .. } => {
            HubError::new(codes::OFFSET_BEYOND_END, format!("The partition keeps nothing before offset {start}."))
        }
        error => error.into(),
    }
}
