//! What consumers say to join a group: the topics that they want. The broker reads it too: it lets the offsets of topics that a
//! group does not want any more expire (KIP-211), so it must find its own names there.
//!
//! Only the list of topics at the front is changed (`ConsumerProtocolSubscription.json`, all versions begin alike); what
//! follows is for the other members and stays as it is. What is no such list is left alone.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::TopicName;

use crate::wire::text;

/// Most topics of one subscription.
const MOST: usize = 10_000;

/// The same subscription with other names; `rename` answers none for a name that is to stay.
pub(super) fn renamed(subscription: &Bytes, rename: impl Fn(&TopicName) -> Option<TopicName>) -> Bytes {
    changed(subscription, rename).unwrap_or_else(|| subscription.clone())
}

fn changed(subscription: &Bytes, rename: impl Fn(&TopicName) -> Option<TopicName>) -> Option<Bytes> {
    let (version, rest) = subscription.split_first_chunk::<2>()?;
    let (count, mut rest) = rest.split_first_chunk::<4>()?;
    let topics = usize::try_from(i32::from_be_bytes(*count)).ok().filter(|&count| count <= MOST)?;
    let mut out = BytesMut::with_capacity(subscription.len());
    out.put_slice(version);
    out.put_slice(count);
    for _ in 0..topics {
        let (length, after) = rest.split_first_chunk::<2>()?;
        let (name, after) = after.split_at_checked(usize::try_from(i16::from_be_bytes(*length)).ok()?)?;
        let name = TopicName(text(std::str::from_utf8(name).ok()?));
        let name = rename(&name).unwrap_or(name);
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
        let inner = renamed(&own, |name| Some(TopicName(text(format!("hub.{}", name.as_str())))));
        assert_eq!(inner, &b"\0\x01\0\0\0\x02\0\x05hub.a\0\x06hub.bc\xff\xff\xff\xff\0\0\0\0"[..]);
        let outer = renamed(&inner, |name| name.strip_prefix("hub.").map(|name| TopicName(text(name))));
        assert_eq!(outer, own);
    }

    #[test]
    fn what_is_no_subscription_stays_as_it_is() {
        for other in
            [&b""[..], b"\0\x01", b"\0\x01\xff\xff\xff\xff", b"\0\x01\0\0\0\x02\0\x09a", b"\0\x01\0\0\0\x01\0\x01\xff"]
        {
            let other = Bytes::copy_from_slice(other);
            assert_eq!(renamed(&other, |_| Some(TopicName(text("x")))), other);
        }
    }
}
