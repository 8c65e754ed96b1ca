//! A stored event, authenticated and its skeleton decrypted: once per load, for all views of it.

use crate::error::Withheld;
use crate::format::{AssociatedData, Body, DICTIONARY_LEN, Encoding, HEADER_LEN, Header, ProductContext, Section};
use crate::key::{DataKeyState, OpeningKeys, counter_nonce};
use crate::pack::unpack;
use tradelane_keys::{TAG_LEN, Tag};

/// A record whose skeleton and tables are decrypted. Classified values are still sealed in it.
pub struct OpenedEvent<'r> {
    header: Header,
    product: ProductContext,
    body: Vec<u8>,
    body_tag: Tag,
    values: &'r [u8],
}

impl std::fmt::Debug for OpenedEvent<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenedEvent").field("shape", &self.header.shape).finish_non_exhaustive()
    }
}

impl<'r> OpenedEvent<'r> {
    /// Checks and decrypts a record of this product.
    pub fn open(record: &'r [u8], product: &ProductContext, keys: &dyn OpeningKeys) -> Result<Self, Withheld> {
        Self::open_with(record, product, keys, Vec::new())
    }

    /// As [`open`](Self::open), in a buffer from an earlier event ([`into_buffer`](Self::into_buffer)).
    pub fn open_with(
        record: &'r [u8],
        product: &ProductContext,
        keys: &dyn OpeningKeys,
        mut buffer: Vec<u8>,
    ) -> Result<Self, Withheld> {
        let header = Header::read(record).ok_or(Withheld::Malformed)?;
        let (head, rest) = record.split_first_chunk::<HEADER_LEN>().ok_or(Withheld::Malformed)?;
        let rest = header.packed.map_or(Some(rest), |_| rest.get(DICTIONARY_LEN..)).ok_or(Withheld::Malformed)?;
        let (sealed, rest) = rest.split_at_checked(header.body_len as usize).ok_or(Withheld::Malformed)?;
        let (body_tag, values) = rest.split_first_chunk::<TAG_LEN>().ok_or(Withheld::Malformed)?;
        let cipher = keys.log_key(header.log_key).ok_or(Withheld::UnknownLogKey)?;
        let mut aad = AssociatedData::new(head, product);
        let nonce = counter_nonce(header.counter);
        let decrypt = |aad: &[u8], out: &mut Vec<u8>| {
            // It only ever grows to the length of a record that is already in memory.
            out.resize(sealed.len(), 0);
            cipher.open_detached(&nonce, aad, sealed, body_tag, out).map_err(|_| Withheld::Corrupt)
        };
        if header.packed.is_some() {
            let dictionary = header.dictionary().map(|number| keys.dictionary(product, number));
            let dictionary = dictionary.map(|known| known.ok_or(Withheld::UnknownDictionary)).transpose()?;
            let mut packed = Vec::new();
            decrypt(aad.packed_with(dictionary.as_deref()).body(), &mut packed)?;
            unpack(header.encoding, &mut packed, dictionary.as_deref(), &mut buffer)?;
        } else {
            decrypt(aad.body(), &mut buffer)?;
        }
        Self::check(&buffer, values)?;
        Ok(Self { header, product: product.clone(), body: buffer, body_tag: *body_tag, values })
    }

    /// A clear event as if it had been opened: what the slow path masks.
    pub(crate) fn from_clear(encoding: Encoding, shape: u32, body: Vec<u8>) -> Self {
        let header = Header { encoding, shape, log_key: 0, counter: 0, salt: [0; 12], body_len: 0, packed: None };
        let product = ProductContext::new("", "");
        Self { header, product, body, body_tag: [0; TAG_LEN], values: &[] }
    }

    /// The sections must fill the rest of the record exactly: no byte of a record is outside of what is authenticated.
    fn check(body: &[u8], values: &[u8]) -> Result<(), Withheld> {
        let body = Body::read(body).ok_or(Withheld::Corrupt)?;
        let mut end = 0_usize;
        for section in body.sections.iter().map(Section::from_bytes) {
            if section.offset as usize != end {
                return Err(Withheld::Corrupt);
            }
            end = end.checked_add(section.len as usize).ok_or(Withheld::Corrupt)?;
        }
        if end == values.len() { Ok(()) } else { Err(Withheld::Corrupt) }
    }

    /// Number of the contract version under which the event was sealed.
    pub fn shape(&self) -> u32 {
        self.header.shape
    }

    /// What the event is written in.
    pub fn encoding(&self) -> Encoding {
        self.header.encoding
    }

    /// Gives the decrypted skeleton's buffer back for the next event.
    pub fn into_buffer(self) -> Vec<u8> {
        self.body
    }

    /// Opens every section and throws the values away: whether the record is whole, for a scrub or a restore. Sections
    /// whose key was destroyed are passed over.
    pub fn verify_sections(&self, keys: &dyn OpeningKeys) -> Result<(), Withheld> {
        let body = self.body()?;
        let mut plain = zeroize::Zeroizing::new(Vec::new());
        for (entry, index) in body.sections.iter().zip(0..) {
            let section = Section::from_bytes(entry);
            plain.resize(section.len as usize, 0);
            self.open_section(index, &section, keys, &mut plain)?;
        }
        Ok(())
    }

    #[inline]
    pub(crate) fn body(&self) -> Result<Body<'_>, Withheld> {
        Body::read(&self.body).ok_or(Withheld::Corrupt)
    }

    /// Names this record among all: the tag of its skeleton.
    #[inline]
    pub(crate) fn tag(&self) -> &Tag {
        &self.body_tag
    }

    /// Decrypts a section into `out`, which has its length. False: its key was destroyed.
    pub(crate) fn open_section(
        &self,
        index: u16,
        section: &Section,
        keys: &dyn OpeningKeys,
        out: &mut [u8],
    ) -> Result<bool, Withheld> {
        let key = match keys.data_key(section.key) {
            DataKeyState::Live(key) => key,
            DataKeyState::Destroyed => return Ok(false),
            DataKeyState::Missing => return Err(Withheld::MissingKey),
        };
        let start = section.offset as usize;
        let end = start.checked_add(section.len as usize).ok_or(Withheld::Corrupt)?;
        let sealed = self.values.get(start..end).ok_or(Withheld::Corrupt)?;
        let index = u32::from(index);
        let mut aad = AssociatedData::new(&self.header.to_bytes(), &self.product);
        let nonce = self.header.section_nonce(index);
        key.with_cipher(|cipher| cipher.open_detached(&nonce, aad.section(index), sealed, &section.tag, out))
            .map_err(|_| Withheld::Corrupt)?;
        Ok(true)
    }
}
