//! From stored batches to batches as a view shows them: once for all readers of equal views, in the frame in which they
//! leave.
//!
//! Every listener's bytes come from [`Rendering`]; what differs is the frame around an event, an [`Output`].

use std::sync::Arc;

use bytes::Bytes;
use quick_cache::Weighter;
use tradelane_encodings::Tree;
use tradelane_model::{Class, Timestamp, codes};
use tradelane_records::{Batch, BatchHead};
use tradelane_registry::wire;
use tradelane_seal::{ClassSet, Codec, Encoding, Header, OpenedEvent, Scratch, View, Withheld};
use tradelane_storage::{Buffer, StoredBatch};
use tradelane_tape::{Limits, Tape};

use super::Reader;
use super::lines::LinesFrame;
use super::rendered::{ByBytes, Kept, RenderKey, RenderedBatch, RenderedRecords};
use crate::Hub;
use crate::batch::{self, BatchWriter, Record};
use crate::elsewhere::{Found, FoundBatch};
use crate::envelope::{EnvelopeView, KeyAndHeaders};
use crate::error::Result;
use crate::evolve::Down;
use crate::health::add;
use crate::keyring::NotingKeys;

impl Hub {
    /// The batch that begins at `at` as lines, if it was rendered for an equal view before.
    pub(super) fn lines_before(&self, reader: &Reader, at: u64) -> Option<Arc<RenderedBatch>> {
        self.rendered_before(&self.inner().rendered.lines, reader, at, 0)
    }

    /// The batch that begins at `at` as records, if it was rendered for an equal view before.
    pub(crate) fn records_before(&self, reader: &Reader, at: u64) -> Option<Arc<RenderedRecords>> {
        self.rendered_before(&self.inner().rendered.records, reader, at, 0)
    }

    pub(super) fn rendered_before<T>(&self, cache: &Kept<T>, reader: &Reader, at: u64, checksum: u32) -> Option<Arc<T>>
    where
        ByBytes: Weighter<RenderKey, Arc<T>>,
    {
        let rendered = cache.get(&reusable(reader, at, checksum)?)?;
        add(&self.inner().counters.batches_reused, 1);
        Some(rendered)
    }

    /// The batch that was found in that place, as the reader's view shows it, as lines; `at` is where the reader stands.
    pub(super) async fn lines(
        &self,
        reader: &Reader,
        found: &Found,
        index: usize,
        at: u64,
    ) -> Result<Option<Arc<RenderedBatch>>> {
        let rendered = match found.batches.get(index) {
            None => return Ok(None),
            Some(FoundBatch::Own(stored)) => {
                let before = self.lines_before(reader, stored.base_offset);
                if before.as_ref().is_some_and(|rendered| rendered.end == stored.end_offset()) {
                    return Ok(before);
                }
                let records = batch::records(&stored.payload)?;
                self.lines_from(reader, &Source::of(stored), &records).await
            }
            Some(FoundBatch::Clusters(bytes)) => {
                let after = match found.batches.get(index + 1) {
                    Some(FoundBatch::Clusters(after)) => Some(after),
                    _ => None,
                };
                let place = batch::place_of(bytes, at, after);
                self.cluster_lines(reader, bytes, place.start..place.end.min(found.next)).await
            }
        };
        rendered.map(Some)
    }

    pub(super) async fn lines_from(
        &self,
        reader: &Reader,
        source: &Source,
        records: &[Record<'_>],
    ) -> Result<Arc<RenderedBatch>> {
        let begun = self.inner().rendered.generation();
        let (lines, events, done) = self.render::<LinesFrame>(reader, source, records).await?;
        let rendered = Arc::new(RenderedBatch { end: source.end(), lines, events, classes: done.classes });
        if let Some(key) = reusable(reader, source.base_offset, source.checksum).filter(|_| done.is_whole) {
            let cache = &self.inner().rendered;
            cache.keep(&cache.lines, key, rendered.clone(), begun);
        }
        Ok(rendered)
    }

    /// The batch as the reader's view shows it, as a Kafka record batch.
    pub(crate) async fn records(&self, reader: &Reader, stored: &StoredBatch) -> Result<Arc<RenderedRecords>> {
        // One that ends elsewhere is of before a compaction.
        if let Some(rendered) = self.records_before(reader, stored.base_offset)
            && rendered.end == stored.end_offset()
        {
            return Ok(rendered);
        }
        let records = batch::records(&stored.payload)?;
        self.records_from(reader, &Source::of(stored), &records).await
    }

    pub(super) async fn records_from(
        &self,
        reader: &Reader,
        source: &Source,
        records: &[Record<'_>],
    ) -> Result<Arc<RenderedRecords>> {
        let begun = self.inner().rendered.generation();
        let (bytes, (count, offsets), done) = self.render::<RecordsFrame>(reader, source, records).await?;
        let (end, classes) = (source.end(), done.classes);
        let rendered = Arc::new(RenderedRecords { offsets, end, count, bytes, classes });
        if let Some(key) = reusable(reader, source.base_offset, source.checksum).filter(|_| done.is_whole) {
            let cache = &self.inner().rendered;
            cache.keep(&cache.records, key, rendered.clone(), begun);
        }
        Ok(rendered)
    }

    /// Renders a batch in some frame.
    async fn render<F: Frame>(
        &self,
        reader: &Reader,
        source: &Source,
        records: &[Record<'_>],
    ) -> Result<(Bytes, F::Index, Done)> {
        let sealed = records.iter().flat_map(Record::sealed_parts);
        let context = &reader.view.current.product;
        self.inner().keyring.preload(&reader.product, context, sealed, self.now()).await?;
        if !self.knows_revisions(reader, records) {
            // Another node may have sealed it under a revision of the contract that this one has not heard of.
            self.hear_others().await?;
        }
        let work = |keys: &NotingKeys<'_>| self.render_with::<F>(reader, source, records, keys);
        let (bytes, index, mut done) = self.inner().keyring.with_data_keys(work).await??;
        add(&self.inner().counters.batches_rendered, 1);
        done.is_whole = done.withheld.is_empty();
        for (offset, reason) in std::mem::take(&mut done.withheld) {
            let text = reason.to_string();
            self.report_withheld(&reader.product, reader.partition, offset, codes::WITHHELD, &text).await;
        }
        Ok((bytes.freeze(), index, done))
    }

    fn knows_revisions(&self, reader: &Reader, records: &[Record<'_>]) -> bool {
        let model = self.model();
        let mut known = None;
        let revisions = records.iter().filter_map(|record| record.sealed_parts().next().and_then(Header::read));
        revisions.map(|header| header.shape).all(|revision| {
            let again = known.replace(revision) == Some(revision);
            again || Self::knows_revision(&model, &reader.product, revision)
        })
    }

    fn render_with<F: Frame>(
        &self,
        reader: &Reader,
        source: &Source,
        records: &[Record<'_>],
        keys: &NotingKeys<'_>,
    ) -> Result<(Buffer, F::Index, Done)> {
        let mut bytes = self.inner().rendered.buffers.empty(source.bytes + records.len() * 64);
        let work = Rendering::new(reader, keys, self.now(), F::begin(&mut bytes, source));
        let (output, done) = self.render_all(work, source, records, F::HAS_ENVELOPE)?;
        let index = F::end(output, source)?;
        Ok((bytes, index, done))
    }

    fn render_all<O: Output>(
        &self,
        mut work: Rendering<'_, O>,
        source: &Source,
        records: &[Record<'_>],
        envelope: bool,
    ) -> Result<(O, Done)> {
        let reader = work.reader;
        let mut views: Option<Views> = None;
        for record in records {
            let offset = source.base_offset + u64::from(record.delta);
            let revision = match record.sealed_parts().next().map(Header::read) {
                Some(Some(header)) => header.shape,
                Some(None) => {
                    work.done.withheld.push((offset, Withheld::Malformed));
                    continue;
                }
                // A key that is public, and nothing else.
                None => reader.view.current.revision,
            };
            if views.as_ref().is_none_or(|known| known.revision != revision) {
                if !Self::knows_revision(&self.model(), &reader.product, revision) {
                    work.done.withheld.push((offset, Withheld::UnknownVersion));
                    continue;
                }
                views = Some(self.views_of(reader, revision, envelope)?);
            }
            if let Some(views) = &views {
                work.record(offset, record, views, envelope)?;
            }
        }
        Ok((work.output, work.done))
    }

    fn views_of(&self, reader: &Reader, revision: u32, envelope: bool) -> Result<Views> {
        let (view, product) = (&reader.view, &reader.product);
        let event = self.contract_at(&self.model(), product, revision)?;
        let written = if self.is_converted(view, product, revision) { view.current.revision } else { revision };
        Ok(Views {
            revision,
            event: self.view_for(view, product, revision)?,
            filter: self.filter_view_for(view, product, revision)?,
            envelope: envelope.then(|| self.envelope_view_for(view, product, revision)).transpose()?,
            schema: self.reader_schema(view, product, revision),
            writer: event.native.as_ref().map(|native| native.codec.clone()),
            path: self.message_path(product, written)?,
            down: self.form_for(view, product, revision)?,
        })
    }
}

/// Where a batch comes from, and what stays of its frame.
pub(super) struct Source {
    pub(super) base_offset: u64,
    /// How many offsets it covers.
    covers: u32,
    pub(super) records: usize,
    bytes: usize,
    /// When it was taken.
    pub(super) time: Timestamp,
    /// 0 for our own log, which only compaction changes: offsets then say which is which.
    pub(super) checksum: u32,
    /// Do its records have times of their own, which say better when they were taken?
    pub(super) has_times: bool,
    head: BatchHead,
}

impl Source {
    fn of(stored: &StoredBatch) -> Self {
        Self {
            base_offset: stored.base_offset,
            covers: stored.count,
            records: stored.count as usize,
            bytes: stored.payload.len(),
            time: stored.timestamp,
            checksum: 0,
            has_times: false,
            head: batch::head(stored.base_offset, stored.timestamp),
        }
    }

    /// A cluster's batch keeps everything that its broker and its producer said of it.
    pub(super) fn of_cluster(stored: &Batch<'_>) -> Self {
        Self {
            base_offset: stored.base_offset().unsigned_abs(),
            covers: stored.last_offset_delta().unsigned_abs() + 1,
            records: stored.record_count() as usize,
            bytes: stored.bytes().len(),
            time: Timestamp(stored.max_timestamp().saturating_mul(1_000)),
            checksum: stored.checksum(),
            has_times: true,
            head: BatchHead::of(stored),
        }
    }

    /// The offset after it.
    fn end(&self) -> u64 {
        self.base_offset + u64::from(self.covers)
    }
}

/// The key under which a rendered batch can be found again; none if the verdict of the row filter depends on the time.
fn reusable(reader: &Reader, at: u64, checksum: u32) -> Option<RenderKey> {
    let timeless = reader.view.filter.as_ref().is_none_or(|filter| !filter.looks_at_time);
    timeless.then(|| (reader.view.stream.clone(), reader.partition, at, checksum, reader.view.digest))
}

/// The views for what one revision of the contract sealed.
struct Views {
    revision: u32,
    event: Arc<View>,
    filter: Option<Arc<View>>,
    envelope: Option<Arc<EnvelopeView>>,
    /// The schema of what is shown; none: the writer's.
    schema: Option<u32>,
    /// How events are brought into the form of the version that the reader has.
    down: Option<Arc<Down>>,
    /// The schema that they are written in, if they are not JSON.
    writer: Option<Arc<Codec>>,
    /// What stands between the schema's id and the event.
    path: Arc<[u8]>,
}

/// What rendering a batch came to.
#[derive(Default)]
pub(super) struct Done {
    classes: Vec<Class>,
    withheld: Vec<(u64, Withheld)>,
    is_whole: bool,
}

/// Shown, or why not.
type Shown = std::result::Result<(), Withheld>;

/// Where a record stands, and what is shown around its event.
pub(super) struct Place<'a> {
    pub(super) offset: u64,
    pub(super) record: &'a Record<'a>,
    around: KeyAndHeaders,
    /// The schema to be named in front of the event, if the producer named one, and what stands after its id.
    schema: Option<(u32, &'a [u8])>,
}

/// A form in which events leave.
pub(super) trait Frame {
    /// Are keys and headers part of it?
    const HAS_ENVELOPE: bool;
    /// What is being written.
    type Output<'o>: Output;
    /// What is known of the bytes when they are written.
    type Index;

    fn begin<'o>(bytes: &'o mut Vec<u8>, source: &Source) -> Self::Output<'o>;

    fn end(output: Self::Output<'_>, source: &Source) -> Result<Self::Index>;
}

/// Adds events to a frame.
pub(super) trait Output {
    /// Adds an event, which `render` appends to the buffer that it is given; on its error, adds nothing.
    fn event(
        &mut self,
        place: Place<'_>,
        render: impl FnOnce(&mut Vec<u8>) -> std::result::Result<ClassSet, Withheld>,
    ) -> Result<std::result::Result<ClassSet, Withheld>>;

    /// Adds a record without an event.
    fn tombstone(&mut self, place: Place<'_>) -> Result<()>;
}

/// Buffers while a batch is rendered.
struct Rendering<'a, O> {
    reader: &'a Reader,
    keys: &'a NotingKeys<'a>,
    now: Timestamp,
    output: O,
    done: Done,
    scratch: Scratch,
    buffer: Vec<u8>,
    filtered: Vec<u8>,
    tape: Tape,
    tree: Tree,
    seen: ClassSet,
    seen_around: ClassSet,
}

impl<'a, O: Output> Rendering<'a, O> {
    fn new(reader: &'a Reader, keys: &'a NotingKeys<'a>, now: Timestamp, output: O) -> Self {
        Self {
            reader,
            keys,
            now,
            output,
            done: Done::default(),
            scratch: Scratch::default(),
            buffer: Vec::new(),
            filtered: Vec::new(),
            tape: Tape::new(),
            tree: Tree::new(),
            seen: ClassSet::default(),
            seen_around: ClassSet::default(),
        }
    }

    fn record(&mut self, offset: u64, record: &Record<'_>, views: &Views, envelope: bool) -> Result<()> {
        let done = match record.sealed {
            Some(sealed) => self.event(offset, record, sealed, views)?,
            None if envelope => self.tombstone(offset, record, views)?,
            None => Ok(()),
        };
        if let Err(reason) = done {
            self.done.withheld.push((offset, reason));
        }
        Ok(())
    }

    fn event(&mut self, offset: u64, record: &Record<'_>, sealed: &[u8], views: &Views) -> Result<Shown> {
        let product = &self.reader.view.current.product;
        let event = match OpenedEvent::open_with(sealed, product, self.keys, std::mem::take(&mut self.buffer)) {
            Ok(event) => event,
            Err(reason) => return Ok(Err(reason)),
        };
        let shown = match self.passes(&event, views.filter.as_deref()) {
            Ok(true) => self.show(offset, record, &event, views)?,
            Ok(false) => Ok(()),
            Err(reason) => Err(reason),
        };
        self.buffer = event.into_buffer();
        Ok(shown)
    }

    fn show(&mut self, offset: u64, record: &Record<'_>, event: &OpenedEvent<'_>, views: &Views) -> Result<Shown> {
        let around = match self.around(record, views) {
            Ok(around) => around,
            Err(reason) => return Ok(Err(reason)),
        };
        let (keys, scratch, tree) = (self.keys, &mut self.scratch, &mut self.tree);
        // Listeners that carry text show binary events as JSON.
        let is_text = views.envelope.is_none();
        let render = |out: &mut Vec<u8>| {
            let from = out.len();
            let is_binary = !is_text && event.encoding() != Encoding::Json;
            let done = match is_text {
                true => views.event.render_json(event, keys, scratch, false, out)?,
                false => views.event.render(event, keys, scratch, out)?,
            };
            match &views.down {
                None => {}
                Some(down) if is_binary => down.convert_binary(views.writer.as_deref(), tree, out, from)?,
                Some(down) => down.convert_text(out, from)?,
            }
            Ok(done.classes)
        };
        let schema = views
            .envelope
            .as_ref()
            .and_then(|_| record.schema())
            .map(|writer| (views.schema.unwrap_or(writer), &*views.path));
        let classes = match self.output.event(Place { offset, record, around, schema }, render)? {
            Ok(classes) => classes,
            Err(reason) => return Ok(Err(reason)),
        };
        let seen = self.seen.union(classes);
        if seen != self.seen {
            self.seen = seen;
            self.done.classes.extend(views.event.class_names(classes));
        }
        Ok(Ok(()))
    }

    /// A record that says that its key is no more. A row filter has nothing to look at in it, so it does not pass one.
    fn tombstone(&mut self, offset: u64, record: &Record<'_>, views: &Views) -> Result<Shown> {
        if self.reader.view.filter.is_some() {
            return Ok(Ok(()));
        }
        match self.around(record, views) {
            Ok(around) => self.output.tombstone(Place { offset, record, around, schema: None }).map(Ok),
            Err(reason) => Ok(Err(reason)),
        }
    }

    fn around(&mut self, record: &Record<'_>, views: &Views) -> std::result::Result<KeyAndHeaders, Withheld> {
        let Some(envelope) = &views.envelope else { return Ok(KeyAndHeaders::default()) };
        if record.is_bare() {
            return Ok(KeyAndHeaders::default());
        }
        let (shown, classes) = envelope.show(record, self.keys, &mut self.scratch)?;
        let seen = self.seen_around.union(classes);
        if seen != self.seen_around {
            self.seen_around = seen;
            self.done.classes.extend(envelope.view.class_names(classes));
        }
        Ok(shown)
    }

    /// Does the row filter let the event pass? What it cannot decide does not pass.
    fn passes(&mut self, event: &OpenedEvent<'_>, view: Option<&View>) -> std::result::Result<bool, Withheld> {
        let (Some(view), Some(filter)) = (view, &self.reader.view.filter) else { return Ok(true) };
        self.filtered.clear();
        let shown = view.render_json(event, self.keys, &mut self.scratch, true, &mut self.filtered)?;
        // Something that stands for an erased value is nothing to decide by.
        if event.encoding() != Encoding::Json && shown.erased > 0 {
            return Ok(false);
        }
        let Ok(doc) = self.tape.parse(&self.filtered, &Limits::DOCUMENT) else { return Err(Withheld::Unclassifiable) };
        Ok(filter.filter.evaluate(doc.root(), &filter.reader, self.now).admits())
    }
}

/// Events as records of a Kafka batch. What is left out leaves a gap, as compaction does.
struct RecordsFrame;

struct Records<'o> {
    batch: BatchWriter<'o>,
    value: Vec<u8>,
    offsets: Option<(u64, u64)>,
}

impl Frame for RecordsFrame {
    const HAS_ENVELOPE: bool = true;
    type Output<'o> = Records<'o>;
    /// How many records, and the first and last offset.
    type Index = (u32, Option<(u64, u64)>);

    fn begin<'o>(bytes: &'o mut Vec<u8>, source: &Source) -> Records<'o> {
        let batch = BatchWriter::new(bytes, &source.head);
        Records { batch, value: Vec::new(), offsets: None }
    }

    fn end(output: Records<'_>, source: &Source) -> Result<Self::Index> {
        let index = (output.batch.count(), output.offsets);
        output.batch.finish(source.covers)?;
        Ok(index)
    }
}

impl Records<'_> {
    fn add(&mut self, place: &Place<'_>, value: bool) -> Result<()> {
        let record = place.record;
        self.batch.push_at(record.delta, record.time, &place.around, value.then_some(&*self.value))?;
        let first = self.offsets.map_or(place.offset, |(first, _)| first);
        self.offsets = Some((first, place.offset));
        Ok(())
    }
}

impl Output for Records<'_> {
    fn event(
        &mut self,
        place: Place<'_>,
        render: impl FnOnce(&mut Vec<u8>) -> std::result::Result<ClassSet, Withheld>,
    ) -> Result<std::result::Result<ClassSet, Withheld>> {
        self.value.clear();
        if let Some((id, path)) = place.schema {
            self.value.extend_from_slice(&wire::prefix(id));
            self.value.extend_from_slice(path);
        }
        match render(&mut self.value) {
            Ok(classes) => self.add(&place, true).map(|()| Ok(classes)),
            Err(reason) => Ok(Err(reason)),
        }
    }

    fn tombstone(&mut self, place: Place<'_>) -> Result<()> {
        self.add(&place, false)
    }
}
