//! Kafka's wire: what is served, request heads and bodies in, answers out.
//!
//! Bytes from outside pass three gates before they are decoded: the API and version are on the list ([`table`]), the caller
//! may ask it at this point, and every length in it holds ([`schema`]).

pub(crate) mod any;
mod requests;
mod rope;
pub(crate) mod schema;
pub(crate) mod table;
#[cfg(test)]
mod tests;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

pub(crate) use rope::Rope;
use schema::{Malformed, skip_tagged_fields};
use table::{Api, Key, served};

/// The part of a request's head that is always the same.
const FIXED_HEAD: usize = 10;

/// A request whose API is known and whose body is not looked at yet.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) api: &'static Api,
    pub(crate) version: i16,
    pub(crate) correlation: i32,
    pub(crate) client: StrBytes,
    pub(crate) body: Bytes,
}

/// A frame that is no request to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoRequest {
    #[error("API {0} is not served")]
    Api(i16),
    #[error("version {version} of {name} is not served")]
    Version { name: &'static str, version: i16 },
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

impl Request {
    /// Reads a frame's head. ApiVersions of a version from the future has a body that is not understood, and none is
    /// needed: its answer is always the same.
    pub(crate) fn read(frame: Bytes) -> Result<Self, NoRequest> {
        let (head, rest) = frame.split_first_chunk::<FIXED_HEAD>().ok_or(Malformed::Short)?;
        let [k0, k1, v0, v1, c0, c1, c2, c3, n0, n1] = *head;
        let (key, version) = (i16::from_be_bytes([k0, k1]), i16::from_be_bytes([v0, v1]));
        let api = served(key).ok_or(NoRequest::Api(key))?;
        let correlation = i32::from_be_bytes([c0, c1, c2, c3]);
        let future = api.key == Key::ApiVersions && version > api.max;
        if !future && !(api.advertised..=api.max).contains(&version) {
            return Err(NoRequest::Version { name: api.name, version });
        }
        let name = usize::try_from(i16::from_be_bytes([n0, n1]).max(0)).unwrap_or(0);
        let (client, rest) = rest.split_at_checked(name).ok_or(Malformed::Short)?;
        let client = StrBytes::try_from(frame.slice_ref(client)).map_err(|_| Malformed::Field)?;
        if future {
            return Ok(Self { api, version, correlation, client, body: Bytes::new() });
        }
        let rest = if api.schema.is_flexible(version) { skip_tagged_fields(rest)? } else { rest };
        let body = frame.slice_ref(rest);
        Ok(Self { api, version, correlation, client, body })
    }

    /// Checks and decodes the body.
    pub(crate) fn decode<M: Decodable>(&self) -> Result<M, Malformed> {
        let left = self.api.schema.check(self.version, &self.body)?;
        let mut body = self.body.clone();
        let message = M::decode(&mut body, self.version).map_err(|_| Malformed::Field)?;
        // Both have read the same bytes, or one of them is wrong about the shape.
        if body.len() == left { Ok(message) } else { Err(Malformed::Field) }
    }

    /// The head of the answer, with room for the length in front.
    fn answer(&self, size: usize) -> BytesMut {
        let mut out = BytesMut::with_capacity(size + 9);
        out.put_u32(0);
        out.put_i32(self.correlation);
        // The answer to ApiVersions has the old head for ever: its reader may not know the new one (KIP-511).
        if self.api.schema.is_flexible(self.version) && self.api.key != Key::ApiVersions {
            out.put_u8(0);
        }
        out
    }

    /// An answer, encoded in the request's version.
    pub(crate) fn reply<M: Encodable>(&self, message: &M) -> Result<Rope, Malformed> {
        self.reply_in(message, self.version)
    }

    /// An answer in another version than the request's.
    pub(crate) fn reply_in<M: Encodable>(&self, message: &M, version: i16) -> Result<Rope, Malformed> {
        let size = message.compute_size(version).map_err(|_| Malformed::Field)?;
        let mut out = self.answer(size);
        message.encode(&mut out, version).map_err(|_| Malformed::Field)?;
        Ok(framed(out, Rope::default()))
    }

    /// An answer that was written by hand: `write` gets the head to write on; what it returns comes after.
    pub(crate) fn reply_with(&self, size: usize, write: impl FnOnce(&mut BytesMut) -> Rope) -> Rope {
        let mut out = self.answer(size);
        let rest = write(&mut out);
        framed(out, rest)
    }
}

/// Puts the length in front. No answer comes near 2 GiB.
fn framed(mut out: BytesMut, rest: Rope) -> Rope {
    let length = u32::try_from(out.len() - 4 + rest.len()).unwrap_or(u32::MAX);
    if let Some(place) = out.first_chunk_mut::<4>() {
        *place = length.to_be_bytes();
    }
    let mut rope = Rope::from(out.freeze());
    rope.append(rest);
    rope
}

/// Text for a message.
pub(crate) fn text(text: impl Into<String>) -> StrBytes {
    StrBytes::from_string(text.into())
}
