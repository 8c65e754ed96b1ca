//! What consumers say to join a group: the topics that they want and hold; and what they are assigned. Whoever keeps the group
//! reads it too: the offsets of topics that a group does not want any more expire (KIP-211), and a broker whose group has members
//! of the newer protocol as well (KIP-848) assigns partitions to those of the older one. So products stand there, and not the
//! names that an organization has for them at the time.
//!
//! Only the lists of topics are changed (`ConsumerProtocolSubscription.json`, `ConsumerProtocolAssignment.json`, all versions
//! begin alike); the rest is for the other members and stays as it is. What is no such list is left alone.

use bytes::{BufMut, Bytes, BytesMut};
use tradelane_hub::{Caller, Hub};
use tradelane_model::ProductId;

use crate::names::{Names, inside, outside};

/// The kind of groups whose members say which topics they want.
pub(crate) const CONSUMER: &str = "consumer";
/// Most topics of one subscription.
const MOST: usize = 10_000;
/// The longest name of a topic.
const LONGEST: usize = 249;
/// What has no name any more, or can have none.
const NOTHING: &str = "?";

/// Subscriptions of an organization's members, between its names for topics and those of who keeps the group.
pub(crate) struct Subscriptions<'a> {
    pub(crate) hub: &'a Hub,
    pub(crate) caller: &'a Caller,
    pub(crate) names: &'a Names,
}

impl Subscriptions<'_> {
    /// A subscription as it is kept.
    pub(crate) fn kept(&self, subscription: &Bytes) -> Bytes {
        subscription_with(subscription, |name| Some(self.inner(name)))
    }

    /// As the organization's members said it.
    pub(crate) fn told(&self, subscription: &Bytes) -> Bytes {
        subscription_with(subscription, |name| {
            if let Some(own) = outside(self.organization(), name) {
                return Some(own.to_string());
            }
            let product = self.names.product(name);
            let topic = product.and_then(|product| self.hub.topic_name(self.caller, &product));
            Some(topic.map_or_else(|| NOTHING.to_owned(), |topic| topic.to_string()))
        })
    }

    /// An assignment as it is kept.
    pub(crate) fn assignment_kept(&self, assignment: &Bytes) -> Bytes {
        assignment_with(assignment, |name| Some(self.inner(name)))
    }

    /// As a member is told it, whoever made it: without what the caller knows nothing of. What it may no longer read stays, so
    /// that fetching says so.
    pub(crate) fn assignment_told(&self, assignment: &Bytes) -> Bytes {
        assignment_with(assignment, |name| {
            if let Some(own) = outside(self.organization(), name) {
                return Some(own.to_string());
            }
            if let Some(product) = self.names.product(name).filter(|product| self.knows(product)) {
                return self.hub.topic_name(self.caller, &product).map(|name| name.to_string());
            }
            // Kept by members themselves, before products stood there.
            self.hub.product_named(self.caller, name).filter(|product| self.knows(product)).map(|_| name.to_owned())
        })
    }

    /// What the caller knows nothing of is kept apart from all products: a product's own id is no name for who knows it under
    /// another.
    fn inner(&self, name: &str) -> String {
        match self.hub.product_named(self.caller, name).filter(|product| self.knows(product)) {
            Some(product) => self.names.topic(&product).to_string(),
            None if name.len() > LONGEST => NOTHING.to_owned(),
            None => inside(self.organization(), name).to_string(),
        }
    }

    fn knows(&self, product: &ProductId) -> bool {
        self.hub.topic(self.caller, product).is_some() || self.hub.had_topic(self.caller, product)
    }

    fn organization(&self) -> &str {
        self.caller.organization().id.as_str()
    }
}

/// The same subscription with other names, for what is wanted and for what is held.
fn subscription_with(subscription: &Bytes, rename: impl Fn(&str) -> Option<String>) -> Bytes {
    let changed = || {
        let mut walk = Walk::new(subscription)?;
        walk.topics(&rename, false)?;
        // What follows came with later versions; whoever wrote less has held nothing.
        if walk.rest.len() > 4 {
            let before = walk.clone();
            walk = walk.held(&rename).unwrap_or(before);
        }
        Some(walk.finish())
    };
    changed().unwrap_or_else(|| subscription.clone())
}

/// The same assignment with other names; without the topics that have none.
fn assignment_with(assignment: &Bytes, rename: impl Fn(&str) -> Option<String>) -> Bytes {
    let changed = || {
        let mut walk = Walk::new(assignment)?;
        walk.topics(&rename, true)?;
        Some(walk.finish())
    };
    changed().unwrap_or_else(|| assignment.clone())
}

/// Reads what a member said and writes it anew.
#[derive(Clone)]
struct Walk<'a> {
    version: i16,
    rest: &'a [u8],
    out: BytesMut,
}

impl<'a> Walk<'a> {
    fn new(said: &'a Bytes) -> Option<Self> {
        let (version, rest) = said.split_first_chunk::<2>()?;
        let mut out = BytesMut::with_capacity(said.len());
        out.put_slice(version);
        Some(Self { version: i16::from_be_bytes(*version), rest, out })
    }

    /// A list of topics, each with its partitions or without.
    fn topics(&mut self, rename: &impl Fn(&str) -> Option<String>, with_partitions: bool) -> Option<()> {
        let topics = self.count().filter(|&count| count <= MOST)?;
        let place = self.out.len();
        self.out.put_u32(0);
        let mut named = 0_u32;
        for _ in 0..topics {
            let length = usize::try_from(i16::from_be_bytes(self.chunk()?)).ok()?;
            let name = rename(std::str::from_utf8(self.bytes(length)?).ok()?);
            let partitions = match with_partitions {
                true => {
                    let (count, before) = (self.count()?, self.rest);
                    self.bytes(count.checked_mul(4)?)?;
                    Some((u32::try_from(count).ok()?, before.get(..count * 4)?))
                }
                false => None,
            };
            let Some(name) = name else { continue };
            named += 1;
            self.out.put_i16(i16::try_from(name.len()).ok()?);
            self.out.put_slice(name.as_bytes());
            if let Some((count, partitions)) = partitions {
                self.out.put_u32(count);
                self.out.put_slice(partitions);
            }
        }
        self.out.get_mut(place..place + 4)?.copy_from_slice(&named.to_be_bytes());
        Some(())
    }

    /// Of a subscription, after the topics: bytes of the assignor's, and from version 1 on the partitions that are held.
    fn held(mut self, rename: &impl Fn(&str) -> Option<String>) -> Option<Self> {
        let length: [u8; 4] = self.chunk()?;
        self.out.put_slice(&length);
        let length = match i32::from_be_bytes(length) {
            -1 => 0,
            length => usize::try_from(length).ok()?,
        };
        let bytes = self.bytes(length)?;
        self.out.put_slice(bytes);
        if self.version >= 1 {
            self.topics(rename, true)?;
        }
        Some(self)
    }

    fn finish(mut self) -> Bytes {
        self.out.put_slice(self.rest);
        self.out.freeze()
    }

    fn count(&mut self) -> Option<usize> {
        usize::try_from(i32::from_be_bytes(self.chunk()?)).ok()
    }

    fn chunk<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (chunk, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*chunk)
    }

    fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inner(name: &str) -> Option<String> {
        Some(format!("hub.{name}"))
    }

    fn outer(name: &str) -> Option<String> {
        Some(name.strip_prefix("hub.")?.to_owned())
    }

    #[test]
    fn topics_are_renamed_there_and_back_and_the_rest_stays() {
        let own = Bytes::from_static(b"\0\x01\0\0\0\x02\0\x01a\0\x02bc\xff\xff\xff\xff\0\0\0\0");
        let kept = subscription_with(&own, inner);
        assert_eq!(kept, &b"\0\x01\0\0\0\x02\0\x05hub.a\0\x06hub.bc\xff\xff\xff\xff\0\0\0\0"[..]);
        assert_eq!(subscription_with(&kept, outer), own);
    }

    #[test]
    fn what_is_held_is_renamed_as_well_and_what_comes_after_it_stays() {
        let own =
            Bytes::from_static(b"\0\x02\0\0\0\x01\0\x01a\0\0\0\x02uu\0\0\0\x01\0\x01a\0\0\0\x01\0\0\0\x07\0\0\0\x05");
        let kept = subscription_with(&own, inner);
        assert_eq!(
            kept,
            &b"\0\x02\0\0\0\x01\0\x05hub.a\0\0\0\x02uu\0\0\0\x01\0\x05hub.a\0\0\0\x01\0\0\0\x07\0\0\0\x05"[..]
        );
        assert_eq!(subscription_with(&kept, outer), own);
    }

    #[test]
    fn an_assignment_is_renamed_and_loses_what_has_no_name() {
        let both = Bytes::from_static(
            b"\0\0\0\0\0\x02\0\x05hub.a\0\0\0\x02\0\0\0\0\0\0\0\x01\0\x01x\0\0\0\x01\0\0\0\x03\xff\xff\xff\xff",
        );
        let one = b"\0\0\0\0\0\x01\0\x01a\0\0\0\x02\0\0\0\0\0\0\0\x01\xff\xff\xff\xff";
        assert_eq!(assignment_with(&both, outer), &one[..]);
    }

    #[test]
    fn what_is_neither_stays_as_it_is() {
        for other in [
            &b""[..],
            b"mine",
            b"\0\x01",
            b"\0\x01\xff\xff\xff\xff",
            b"\0\x01\0\0\0\x02\0\x09a",
            b"\0\x01\0\0\0\x01\0\x01\xff",
            b"\0\0\0\0\0\x01\0\x01a\x7f\xff\xff\xff\0\0\0\0",
        ] {
            let other = Bytes::copy_from_slice(other);
            assert_eq!(assignment_with(&other, inner), other);
            if other.len() < 12 {
                assert_eq!(subscription_with(&other, inner), other);
            }
        }
    }
}
