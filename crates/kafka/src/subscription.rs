//! What consumers say to join a group: the topics that they want. Whoever keeps the group reads it too: the offsets of topics
//! that a group does not want any more expire (KIP-211). So products stand there, and not the names that an organization has
//! for them at the time.
//!
//! Only the list of topics at the front is changed (`ConsumerProtocolSubscription.json`, all versions begin alike); what
//! follows is for the other members and stays as it is. What is no such list is left alone.

use bytes::{BufMut, Bytes, BytesMut};
use tradelane_hub::{Caller, Hub};

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
    /// As it is kept. What the organization finds nothing under is kept apart from all products: a product's own id is no
    /// name for who knows it under another.
    pub(crate) fn kept(&self, subscription: &Bytes) -> Bytes {
        renamed(subscription, |name| match self.hub.product_named(self.caller, name) {
            Some(product) => self.names.topic(&product).to_string(),
            None if name.len() > LONGEST => NOTHING.to_owned(),
            None => inside(self.organization(), name).to_string(),
        })
    }

    /// As the organization's members said it.
    pub(crate) fn told(&self, subscription: &Bytes) -> Bytes {
        renamed(subscription, |name| {
            if let Some(own) = outside(self.organization(), name) {
                return own.to_string();
            }
            let product = self.names.product(name);
            let topic = product.and_then(|product| self.hub.topic_name(self.caller, &product));
            topic.map_or_else(|| NOTHING.to_owned(), |topic| topic.to_string())
        })
    }

    fn organization(&self) -> &str {
        self.caller.organization().id.as_str()
    }
}

/// The same subscription with other names.
fn renamed(subscription: &Bytes, rename: impl Fn(&str) -> String) -> Bytes {
    changed(subscription, rename).unwrap_or_else(|| subscription.clone())
}

fn changed(subscription: &Bytes, rename: impl Fn(&str) -> String) -> Option<Bytes> {
    let (version, rest) = subscription.split_first_chunk::<2>()?;
    let (count, mut rest) = rest.split_first_chunk::<4>()?;
    let topics = usize::try_from(i32::from_be_bytes(*count)).ok().filter(|&count| count <= MOST)?;
    let mut out = BytesMut::with_capacity(subscription.len());
    out.put_slice(version);
    out.put_slice(count);
    for _ in 0..topics {
        let (length, after) = rest.split_first_chunk::<2>()?;
        let (name, after) = after.split_at_checked(usize::try_from(i16::from_be_bytes(*length)).ok()?)?;
        let name = rename(std::str::from_utf8(name).ok()?);
        out.put_i16(i16::try_from(name.len()).ok()?);
        out.put_slice(name.as_bytes());
        rest = after;
    }
    out.put_slice(rest);
    Some(out.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_renamed_there_and_back_and_the_rest_stays() {
        let own = Bytes::from_static(b"\0\x01\0\0\0\x02\0\x01a\0\x02bc\xff\xff\xff\xff\0\0\0\0");
        let inner = renamed(&own, |name| format!("hub.{name}"));
        assert_eq!(inner, &b"\0\x01\0\0\0\x02\0\x05hub.a\0\x06hub.bc\xff\xff\xff\xff\0\0\0\0"[..]);
        let outer = renamed(&inner, |name| name.strip_prefix("hub.").unwrap().to_owned());
        assert_eq!(outer, own);
    }

    #[test]
    fn what_is_no_subscription_stays_as_it_is() {
        for other in
            [&b""[..], b"\0\x01", b"\0\x01\xff\xff\xff\xff", b"\0\x01\0\0\0\x02\0\x09a", b"\0\x01\0\0\0\x01\0\x01\xff"]
        {
            let other = Bytes::copy_from_slice(other);
            assert_eq!(renamed(&other, |_| "x".to_owned()), other);
        }
    }
}
