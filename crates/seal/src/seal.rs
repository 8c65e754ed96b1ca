//! From a located event to the bytes that are stored.

use std::sync::Arc;

use crate::dictionary::Dictionary;
use crate::error::SealError;
use crate::format::{
    AssociatedData, COUNTS_LEN, DICTIONARY_LEN, HEADER_LEN, HOLE_LEN, Header, Hole, OPEN, ProductContext, SECTION_LEN,
    Section, counts,
};
use crate::key::{DataKey, LogKey, SealingKeys, counter_nonce};
use crate::locate::Located;
use crate::pack::{Packing, pack};
use tradelane_keys::TAG_LEN;

impl Located<'_> {
    /// Appends the sealed event to `out`. On an error `out` is as it was.
    ///
    /// Every call takes a fresh nonce from the log key, so that sealing the same event again is safe.
    pub fn seal(
        &self,
        product: &ProductContext,
        log_key: &LogKey,
        keys: &dyn SealingKeys,
        out: &mut Vec<u8>,
    ) -> Result<(), SealError> {
        let data_keys = self.data_keys(keys)?;
        let sizes = self.sizes()?;
        let header = self.header(log_key, sizes.body, None)?;
        let head = header.to_bytes();
        let start = out.len();
        out.reserve(HEADER_LEN + sizes.body as usize + TAG_LEN + sizes.sections as usize);
        out.extend_from_slice(&head);
        self.write_body(out);
        let body_end = out.len();
        out.resize(body_end + TAG_LEN + sizes.sections as usize, 0);

        let mut aad = AssociatedData::new(&head, product);
        let (front, values) = out.split_at_mut(body_end + TAG_LEN);
        let (_, body) = front.split_at_mut(start + HEADER_LEN);
        let (body, body_tag) = body.split_at_mut(sizes.body as usize);
        let (_, tables) = body.split_at_mut(COUNTS_LEN);
        let (entries, _) = tables.as_chunks_mut::<SECTION_LEN>();
        let mut entries = entries.iter_mut();
        self.seal_sections(&header, &mut aad, &data_keys, values, |_, section| {
            entries.next().into_iter().for_each(|entry| *entry = section.to_bytes());
        });
        let tag = log_key.cipher().seal_in_place_detached(&counter_nonce(header.counter), aad.body(), body);
        body_tag.copy_from_slice(&tag);
        Ok(())
    }

    /// As [`seal`](Self::seal), with what is public in the event compressed. An event that cannot be packed is sealed as it is.
    pub fn seal_packed(
        &self,
        product: &ProductContext,
        log_key: &LogKey,
        keys: &dyn SealingKeys,
        packing: Packing<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), SealError> {
        let data_keys = self.data_keys(keys)?;
        let sizes = self.sizes()?;
        let dictionary = packing.dictionary;
        let number = dictionary.map_or(0, Dictionary::number);
        let start = out.len();
        let body_start = start + HEADER_LEN + DICTIONARY_LEN;
        out.resize(body_start, 0);
        let Some(packed) = pack(self, packing, out) else {
            out.truncate(start);
            return self.seal(product, log_key, keys, out);
        };
        let body_end = out.len();
        let body_len = u32::try_from(body_end - body_start).map_err(|_| SealError::TooLarge);
        let header = body_len.and_then(|len| self.header(log_key, len, Some(number)));
        let header = header.inspect_err(|_| out.truncate(start))?;
        let head = header.to_bytes();
        out.resize(body_end + TAG_LEN + sizes.sections as usize, 0);

        let mut aad = AssociatedData::new(&head, product);
        let (front, after) = out.split_at_mut(body_end);
        let (clear, body) = front.split_at_mut(body_start);
        let (_, clear) = clear.split_at_mut(start);
        let (clear_head, clear_number) = clear.split_at_mut(HEADER_LEN);
        clear_head.copy_from_slice(&head);
        clear_number.copy_from_slice(&number.to_le_bytes());
        let (body_tag, values) = after.split_at_mut(TAG_LEN);
        self.seal_sections(&header, &mut aad, &data_keys, values, |index, section| {
            packed.set_section(index, section.key, &section.tag, body);
        });
        let mut aad = aad.packed_with(dictionary);
        let tag = log_key.cipher().seal_in_place_detached(&counter_nonce(header.counter), aad.body(), body);
        body_tag.copy_from_slice(&tag);
        Ok(())
    }

    fn header(&self, log_key: &LogKey, body_len: u32, packed: Option<u32>) -> Result<Header, SealError> {
        let counter = log_key.take().ok_or(SealError::LogKeyUsedUp)?;
        let salt = log_key.salt(counter);
        let (encoding, shape) = (self.encoding, self.shape);
        Ok(Header { encoding, shape, log_key: log_key.id(), counter, salt, body_len, packed })
    }

    fn data_keys(&self, keys: &dyn SealingKeys) -> Result<Vec<Arc<DataKey>>, SealError> {
        let key = |subject: Option<u16>| match subject {
            Some(index) => self.subjects().get(usize::from(index)).and_then(|tag| keys.subject_key(tag)),
            None => keys.default_key(),
        };
        self.plans.sections.iter().map(|plan| key(plan.subject).ok_or(SealError::MissingKey)).collect()
    }

    fn sizes(&self) -> Result<Sizes, SealError> {
        let sections: u64 = self.plans.sections.iter().map(|plan| u64::from(plan.len)).sum();
        let tables = COUNTS_LEN + self.plans.sections.len() * SECTION_LEN + self.spots.len() * HOLE_LEN;
        let body = (tables + self.bytes.len()) as u64 - sections;
        let fits = |len: u64| u32::try_from(len).map_err(|_| SealError::TooLarge);
        Ok(Sizes { body: fits(body)?, sections: fits(sections)? })
    }

    /// Counts, an empty section table, the hole table and the skeleton.
    pub(crate) fn write_body(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&counts(self.spots.len() as u32, self.plans.sections.len() as u32));
        out.resize(out.len() + self.plans.sections.len() * SECTION_LEN, 0);
        let mut removed = 0;
        for spot in &self.spots {
            let len = spot.end - spot.start;
            let place = Hole::place(spot.section, spot.last, spot.kind);
            let (rule, prefix, suffix) = (spot.rule, spot.prefix, spot.suffix);
            out.extend_from_slice(&Hole { at: spot.start - removed, len, rule, place, prefix, suffix }.to_bytes());
            if spot.section != OPEN {
                removed += len;
            }
        }
        let mut copied = 0;
        for spot in self.spots.iter().filter(|spot| spot.section != OPEN) {
            out.extend_from_slice(self.text(copied, spot.start));
            copied = spot.end;
        }
        out.extend_from_slice(self.text(copied, self.bytes.len() as u32));
    }

    /// Gathers each section's values, encrypts them in `values`, and tells what its entry is.
    fn seal_sections(
        &self,
        header: &Header,
        aad: &mut AssociatedData,
        data_keys: &[Arc<DataKey>],
        values: &mut [u8],
        mut note: impl FnMut(usize, Section),
    ) {
        let mut cursors = Vec::with_capacity(self.plans.sections.len());
        let mut offset = 0;
        for plan in &self.plans.sections {
            cursors.push(offset as usize);
            offset += plan.len;
        }
        for spot in &self.spots {
            let Some(cursor) = cursors.get_mut(usize::from(spot.section)) else { continue };
            let value = self.text(spot.start, spot.end);
            if let Some(place) = values.get_mut(*cursor..*cursor + value.len()) {
                place.copy_from_slice(value);
            }
            *cursor += value.len();
        }
        let mut rest = values;
        let mut offset = 0;
        for ((plan, key), index) in self.plans.sections.iter().zip(data_keys).zip(0_u32..) {
            let (text, after) = rest.split_at_mut(plan.len as usize);
            rest = after;
            let nonce = header.section_nonce(index);
            let tag = key.with_cipher(|cipher| cipher.seal_in_place_detached(&nonce, aad.section(index), text));
            note(index as usize, Section { key: key.id(), offset, len: plan.len, tag });
            offset += plan.len;
        }
    }

    pub(crate) fn text(&self, start: u32, end: u32) -> &[u8] {
        self.bytes.get(start as usize..end as usize).unwrap_or_default()
    }
}

struct Sizes {
    body: u32,
    sections: u32,
}
