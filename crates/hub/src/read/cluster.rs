//! Batches of a cluster as a view shows them. What is damaged on its disks, or larger than any batch of the hub's, is withheld
//! as a whole and reported: whoever reads passes over it.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use tradelane_model::codes;
use tradelane_records::{Batch, Decompressor};

use super::Reader;
use super::rendered::{RenderedBatch, RenderedRecords};
use super::rendering::Source;
use crate::Hub;
use crate::batch;
use crate::error::Result;

impl Hub {
    /// The batch that a cluster stored, if it was rendered for an equal view before. It is known by its place and its checksum,
    /// which was found right then and is not worked out again.
    pub(crate) fn cluster_records_before(&self, reader: &Reader, stored: &[u8]) -> Option<Arc<RenderedRecords>> {
        let (at, checksum) = batch::known_by(stored)?;
        self.rendered_before(&self.inner().rendered.records, reader, at, checksum)
    }

    /// A batch that a cluster stored, as records. The inner error: it cannot be read.
    pub(crate) async fn cluster_records(
        &self,
        reader: &Reader,
        stored: &Batch<'_>,
    ) -> Result<Result<Arc<RenderedRecords>>> {
        let source = Source::of_cluster(stored);
        let mut scratch = Decompressor::new();
        match batch::cluster_records(stored, &mut scratch) {
            Ok(records) => self.records_from(reader, &source, &records).await.map(Ok),
            Err(unreadable) => Ok(Err(unreadable)),
        }
    }

    /// The same as lines. `place`: what the batch covers, should it be damaged.
    pub(super) async fn cluster_lines(
        &self,
        reader: &Reader,
        stored: &Bytes,
        place: Range<u64>,
    ) -> Result<Arc<RenderedBatch>> {
        if let Some((at, checksum)) = batch::known_by(stored)
            && let Some(rendered) = self.rendered_before(&self.inner().rendered.lines, reader, at, checksum)
        {
            return Ok(rendered);
        }
        let read = match batch::parse(stored) {
            Ok(stored) => self.readable_lines(reader, &stored).await?,
            Err(unreadable) => Err(unreadable),
        };
        match read {
            Ok(rendered) => Ok(rendered),
            Err(unreadable) => {
                let why = unreadable.cause.as_deref().unwrap_or("a batch cannot be read");
                self.report_withheld(&reader.product, reader.partition, place.start, codes::WITHHELD, why).await;
                let (lines, events, classes) = (Bytes::new(), Vec::new(), Vec::new());
                Ok(Arc::new(RenderedBatch { end: place.end, lines, events, classes }))
            }
        }
    }

    async fn readable_lines(&self, reader: &Reader, stored: &Batch<'_>) -> Result<Result<Arc<RenderedBatch>>> {
        let source = Source::of_cluster(stored);
        let mut scratch = Decompressor::new();
        match batch::cluster_records(stored, &mut scratch) {
            Ok(records) => self.lines_from(reader, &source, &records).await.map(Ok),
            Err(unreadable) => Ok(Err(unreadable)),
        }
    }
}
