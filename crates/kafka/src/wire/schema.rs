//! The shape of a request, and a walk over its bytes that proves it before anything is decoded.
//!
//! The decoder of the messages (`kafka-protocol`) reserves memory for as many entries as an array claims to have; a
//! request of a few bytes could ask for all the memory there is. So every length is first checked against the bytes that
//! are left, and every entry is counted. What passes the walk costs the decoder memory in proportion to its size.
//!
//! It knows no API by name, and nothing of what the fields mean.

/// Entries of all arrays of one request, and its tagged fields, together.
const MAX_ENTRIES: usize = 50_000;

/// What a field is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// A number, a boolean or a UUID: so many bytes.
    Fixed(usize),
    /// A string; null may be refused by the decoder.
    Text,
    /// Bytes; null may be refused by the decoder.
    Blob,
    /// An array; null may be refused by the decoder.
    Array(&'static Kind),
    /// A group of fields, which ends with tagged fields in flexible versions.
    Struct(&'static [Field]),
    /// A byte that says whether there is one (1) or not (-1), and the group of fields.
    Optional(&'static [Field]),
}

/// A field of some versions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field {
    pub(crate) from: i16,
    pub(crate) to: i16,
    pub(crate) kind: Kind,
}

/// A request: its fields, and the first version with compact lengths and tagged fields (KIP-482).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schema {
    pub(crate) flexible: i16,
    pub(crate) fields: &'static [Field],
    /// Tags below this one are those that brokers send each other. The decoder takes their values by their types and not by
    /// the sizes that stand in front of them, so that all behind could be read from another place than was walked here. No
    /// client sends them; they are refused.
    pub(crate) brokers_tags: usize,
}

/// The bytes are no such request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("a length goes beyond the end of the request")]
    Short,
    #[error("a length is negative")]
    Length,
    #[error("the request has too many entries")]
    Entries,
    #[error("a field cannot be decoded")]
    Field,
}

impl Schema {
    pub(crate) fn is_flexible(&self, version: i16) -> bool {
        version >= self.flexible
    }

    /// Does a request of that version begin here? Returns how many bytes follow it: no broker looks at them, and librdkafka
    /// sends three when it asks for the metadata of all topics (seen in 2.16).
    pub(crate) fn check(&self, version: i16, body: &[u8]) -> Result<usize, Malformed> {
        let (flexible, brokers_tags) = (self.is_flexible(version), self.brokers_tags);
        let mut walk = Walk { rest: body, version, flexible, brokers_tags, entries: MAX_ENTRIES };
        walk.fields(self.fields)?;
        Ok(walk.rest.len())
    }
}

/// Reads tagged fields without keeping them; returns what follows. For the header, which is outside of the body.
pub(crate) fn skip_tagged_fields(bytes: &[u8]) -> Result<&[u8], Malformed> {
    let mut walk = Walk { rest: bytes, version: 0, flexible: true, brokers_tags: 0, entries: 64 };
    walk.tagged_fields()?;
    Ok(walk.rest)
}

struct Walk<'a> {
    rest: &'a [u8],
    version: i16,
    flexible: bool,
    brokers_tags: usize,
    entries: usize,
}

impl Walk<'_> {
    fn fields(&mut self, fields: &'static [Field]) -> Result<(), Malformed> {
        for field in fields {
            if (field.from..=field.to).contains(&self.version) {
                self.value(field.kind)?;
            }
        }
        if self.flexible { self.tagged_fields() } else { Ok(()) }
    }

    fn value(&mut self, kind: Kind) -> Result<(), Malformed> {
        match kind {
            Kind::Fixed(size) => self.skip(size),
            Kind::Text => {
                let length = if self.flexible { self.compact_length()? } else { self.short_length()? };
                self.skip(length.unwrap_or(0))
            }
            Kind::Blob => {
                let length = self.length()?;
                self.skip(length.unwrap_or(0))
            }
            Kind::Array(of) => {
                let count = self.length()?.unwrap_or(0);
                self.count(count)?;
                (0..count).try_for_each(|_| self.value(*of))
            }
            Kind::Struct(fields) => self.fields(fields),
            Kind::Optional(fields) => match self.byte()? {
                0xff => Ok(()),
                _ => self.fields(fields),
            },
        }
    }

    fn tagged_fields(&mut self) -> Result<(), Malformed> {
        let count = self.varint()?;
        self.count(count)?;
        for _ in 0..count {
            if self.varint()? < self.brokers_tags {
                return Err(Malformed::Field);
            }
            let size = self.varint()?;
            self.skip(size)?;
        }
        Ok(())
    }

    /// An entry takes a byte at least, so that no count can be larger than what is left.
    fn count(&mut self, count: usize) -> Result<(), Malformed> {
        if count > self.rest.len() {
            return Err(Malformed::Short);
        }
        self.entries = self.entries.checked_sub(count).ok_or(Malformed::Entries)?;
        Ok(())
    }

    fn length(&mut self) -> Result<Option<usize>, Malformed> {
        if self.flexible {
            return self.compact_length();
        }
        let (bytes, rest) = self.rest.split_first_chunk::<4>().ok_or(Malformed::Short)?;
        self.rest = rest;
        nullable(i64::from(i32::from_be_bytes(*bytes)))
    }

    fn short_length(&mut self) -> Result<Option<usize>, Malformed> {
        let (bytes, rest) = self.rest.split_first_chunk::<2>().ok_or(Malformed::Short)?;
        self.rest = rest;
        nullable(i64::from(i16::from_be_bytes(*bytes)))
    }

    fn compact_length(&mut self) -> Result<Option<usize>, Malformed> {
        Ok(self.varint()?.checked_sub(1))
    }

    fn varint(&mut self) -> Result<usize, Malformed> {
        let mut value = 0u64;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                let value = u32::try_from(value).map_err(|_| Malformed::Length)?;
                return usize::try_from(value).map_err(|_| Malformed::Length);
            }
        }
        Err(Malformed::Length)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        let (byte, rest) = self.rest.split_first().ok_or(Malformed::Short)?;
        self.rest = rest;
        Ok(*byte)
    }

    fn skip(&mut self, bytes: usize) -> Result<(), Malformed> {
        self.rest = self.rest.get(bytes..).ok_or(Malformed::Short)?;
        Ok(())
    }
}

fn nullable(length: i64) -> Result<Option<usize>, Malformed> {
    match length {
        -1 => Ok(None),
        length => usize::try_from(length).map(Some).map_err(|_| Malformed::Length),
    }
}
