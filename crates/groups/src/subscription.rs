//! The topics inside a consumer's metadata: the beginning of `ConsumerProtocolSubscription`, all versions.
//!
//! Version (int16), count of topics (int32), each an int16 length and UTF-8. What follows (user data, owned partitions,
//! rack) is not of interest. The bytes are whatever a client sent.

/// Calls for each topic; `None` as soon as the bytes are not a subscription.
pub(crate) fn any_topic(metadata: &[u8], mut is_meant: impl FnMut(&str) -> bool) -> Option<bool> {
    let (version, rest) = metadata.split_first_chunk::<2>()?;
    if i16::from_be_bytes(*version) < 0 {
        return None;
    }
    let (count, mut rest) = rest.split_first_chunk::<4>()?;
    // Nothing is allocated by the count, and each turn takes bytes or ends.
    for _ in 0..u32::try_from(i32::from_be_bytes(*count)).ok()? {
        let (length, after) = rest.split_first_chunk::<2>()?;
        let length = usize::try_from(i16::from_be_bytes(*length)).ok()?;
        let (topic, after) = after.split_at_checked(length)?;
        if is_meant(std::str::from_utf8(topic).ok()?) {
            return Some(true);
        }
        rest = after;
    }
    Some(false)
}

#[cfg(test)]
mod tests {
    use super::any_topic;

    const TWO: &[u8] = b"\x00\x01\x00\x00\x00\x02\x00\x01a\x00\x03b-c\xff\xff\xff\xff";

    #[test]
    fn topics_are_found_whatever_follows_them() {
        assert_eq!(any_topic(TWO, |topic| topic == "b-c"), Some(true));
        assert_eq!(any_topic(TWO, |topic| topic == "b"), Some(false));
    }

    #[test]
    fn what_is_cut_short_or_claims_too_much_is_no_subscription() {
        for length in 0..13 {
            assert_eq!(any_topic(&TWO[..length], |_| false), None, "{length} bytes");
        }
        assert_eq!(any_topic(b"\x00\x00\x7f\xff\xff\xff\x00\x00", |_| false), None);
        assert_eq!(any_topic(b"\x00\x00\xff\xff\xff\xff", |_| false), None);
        assert_eq!(any_topic(b"\x00\x00\x00\x00\x00\x01\xff\xff", |_| false), None);
    }
}
