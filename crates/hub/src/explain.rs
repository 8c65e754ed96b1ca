//! Why does a partner see what it sees? Field by field, for the owner of the data.

use bytes::Bytes;
use serde::Serialize;
use tradelane_model::view::Action;
use tradelane_model::{Class, OrgId, ProductId, Timestamp, codes};
use tradelane_records::Decompressor;
use tradelane_seal::{Encoding, FieldExplanation, Header, OpenedEvent, Scratch, View, Withheld};
use tradelane_tape::{Limits, Tape};

use crate::Hub;
use crate::audit_trail::{EXPLAIN, hub_leaf};
use crate::authorize::{Act, On};
use crate::batch;
use crate::doorway::{Audited, Caller};
use crate::elsewhere::FoundBatch;
use crate::error::{HubError, Result};
use crate::keyring::NotingKeys;
use crate::publish::partitioner::Spread;
use crate::publish::{Events, refusal};
use crate::views::GrantView;

/// The event that is explained.
#[derive(Debug, Clone)]
pub enum EventRef {
    /// A stored one.
    Stored {
        /// The partition that it is in.
        partition: u32,
        /// Its offset there.
        offset: u64,
    },
    /// One that was never published; nothing of it is kept.
    Document(Bytes),
}

/// One field: what the reader sees of it, and which rule decides.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExplainedField {
    /// Where (RFC 6901).
    pub pointer: String,
    /// Its class.
    pub class: Class,
    /// The rule of the contract that says so; none: no rule names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// What is done with it.
    pub action: Action,
    /// What in the grant says so: `field /pattern`, `class NAME`, or `default`.
    pub because: String,
    /// Can it be erased with a person?
    pub has_subject: bool,
    /// What the reader sees; none: nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rendered: Option<String>,
}

/// What a reader would see of an event.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// Does the row filter let the event pass?
    pub row_passes: bool,
    /// The filter, if the grant has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Field by field, in the order of the document.
    pub fields: Vec<ExplainedField>,
    /// The event as the reader gets it; none if the row filter holds it back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rendered: Option<String>,
}

impl Hub {
    /// Explains what `reader` would see of an event of the caller's product.
    pub async fn explain(
        &self,
        caller: &Caller,
        product: &ProductId,
        reader: &OrgId,
        purpose: Option<&str>,
        event: EventRef,
    ) -> Result<Audited<Explanation>> {
        self.allow(caller, Act::Explain, On::Product(product))?;
        let (model, now) = (self.model(), self.now());
        // An explanation names what a reader does not see: it is for the owner alone.
        if self.owner_of(product).as_ref() != Some(&caller.organization.id) {
            return Err(HubError::not_found());
        }
        let mut grants = model.live_grants(reader, product, now);
        let grant = grants.find(|grant| purpose.is_none_or(|purpose| grant.purpose == purpose)).cloned();
        let grant = grant.ok_or_else(|| {
            HubError::new(
                codes::NO_GRANT,
                format!("{reader} has no active grant for this product: it would see nothing."),
            )
        })?;
        let view = self.grant_view(&grant)?;
        let (sealed, place) = match event {
            EventRef::Stored { partition, offset } => {
                (self.stored_record(product, partition, offset).await?, Some((partition, offset)))
            }
            EventRef::Document(_) if self.contract(product)?.native.is_some() => {
                return Err(HubError::of(codes::BINARY_PRODUCT));
            }
            EventRef::Document(document) => (self.sealed_for_show(product, document).await?, None),
        };
        let explanation = self.explain_record(&view, product, &sealed, grant.conditions.filter.clone()).await?;
        let mut leaf = hub_leaf(now, caller, EXPLAIN);
        leaf.product = Some(product.clone());
        leaf.grant = Some(grant.id.clone());
        leaf.partition = place.map(|(partition, _)| partition);
        leaf.offsets = place.map(|(_, offset)| (offset, offset));
        leaf.count = 1;
        self.audited(leaf, explanation).await
    }

    async fn stored_record(&self, product: &ProductId, partition: u32, offset: u64) -> Result<Vec<u8>> {
        let stream = Self::stream(product, partition);
        let bounds = self.kept(&stream).await?;
        if !(bounds.start..bounds.end).contains(&offset) {
            return Err(HubError::not_found());
        }
        let found = self.found(&stream, offset, 1).await?.map_err(|_| HubError::not_found())?;
        let batch = found.batches.first().ok_or_else(HubError::not_found)?;
        let (base, bytes) = match batch {
            FoundBatch::Own(stored) => (stored.base_offset, &stored.payload),
            FoundBatch::Clusters(bytes) => (batch::parse(bytes)?.base_offset().unsigned_abs(), bytes),
        };
        let mut scratch = Decompressor::new();
        let records = batch::cluster_records(&batch::parse(bytes)?, &mut scratch)?;
        // Compaction leaves gaps.
        let record = records.iter().find(|record| base + u64::from(record.delta) == offset);
        record.and_then(|record| record.sealed).map(<[u8]>::to_vec).ok_or_else(HubError::not_found)
    }

    /// Seals a document as publishing would, and stores nothing but the keys of new subjects.
    async fn sealed_for_show(&self, product: &ProductId, document: Bytes) -> Result<Vec<u8>> {
        let contract = self.contract(product)?;
        let batch = self.seal_batch(&contract, product, Events::one(document), Spread::To(0), self.now()).await?;
        if !batch.refused.is_empty() {
            return Err(refusal(batch.refused, 1));
        }
        let part = batch.parts.first().ok_or_else(HubError::not_found)?;
        let records = batch::records(&part.bytes)?;
        records.first().and_then(|record| record.sealed).map(<[u8]>::to_vec).ok_or_else(HubError::not_found)
    }

    async fn explain_record(
        &self,
        grant: &GrantView,
        product: &ProductId,
        sealed: &[u8],
        filter: Option<String>,
    ) -> Result<Explanation> {
        let keyring = &self.inner().keyring;
        let header = Header::read(sealed).ok_or_else(|| HubError::of(codes::WITHHELD))?;
        let now = self.now();
        keyring.preload(product, &grant.current.product, std::iter::once(sealed), now).await?;
        let view = self.view_for(grant, product, header.shape)?;
        let filter_view = self.filter_view_for(grant, product, header.shape)?;
        let form = self.form_for(grant, product, header.shape)?;
        let work = |keys: &NotingKeys<'_>| {
            let event = OpenedEvent::open(sealed, &grant.current.product, keys)?;
            let row_passes = match &filter_view {
                Some(filter_view) => passes(grant, filter_view, &event, keys, now)?,
                None => true,
            };
            let fields = view.explain(&event, keys)?;
            let mut rendered = Vec::new();
            view.render_json(&event, keys, &mut Scratch::default(), false, &mut rendered)?;
            form.as_ref().map_or(Ok(()), |form| form.convert_text(&mut rendered, 0))?;
            Ok((row_passes, fields, rendered))
        };
        let explained_record: std::result::Result<_, Withheld> = keyring.with_data_keys(work).await?;
        let (row_passes, fields, rendered) =
            explained_record.map_err(|reason| HubError::of(codes::WITHHELD).because(reason))?;
        Ok(Explanation {
            row_passes,
            filter,
            fields: fields.into_iter().map(|field| explained(grant, field)).collect(),
            rendered: row_passes.then(|| String::from_utf8_lossy(&rendered).into_owned()),
        })
    }
}

fn passes(
    grant: &GrantView,
    view: &View,
    event: &OpenedEvent<'_>,
    keys: &NotingKeys<'_>,
    now: Timestamp,
) -> std::result::Result<bool, Withheld> {
    let Some(filter) = &grant.filter else { return Ok(true) };
    let mut shown = Vec::new();
    let rendered = view.render_json(event, keys, &mut Scratch::default(), true, &mut shown)?;
    // Something that stands for an erased value is nothing to decide by.
    if event.encoding() != Encoding::Json && rendered.erased > 0 {
        return Ok(false);
    }
    let mut tape = Tape::new();
    let doc = tape.parse(&shown, &Limits::DOCUMENT).map_err(|_| Withheld::Unclassifiable)?;
    Ok(filter.filter.evaluate(doc.root(), &filter.reader, now).admits())
}

fn explained(grant: &GrantView, field: FieldExplanation) -> ExplainedField {
    let because = match &field.by_field {
        Some(pattern) => format!("field {pattern}"),
        None if grant.spec.classes.contains_key(&field.class) => format!("class {}", field.class),
        None => "default".to_owned(),
    };
    ExplainedField {
        pointer: field.pointer,
        rule: field.named.then(|| field.rule.to_string()),
        class: field.class,
        action: field.action,
        because,
        has_subject: field.has_subject,
        rendered: field.rendered,
    }
}
