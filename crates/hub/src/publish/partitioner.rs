//! Where events with a key go: to the partition that Kafka's clients choose for it, so that events of one key stay in one
//! order, whichever way they come.

/// Where the events of a request go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spread {
    /// All to one partition.
    To(u32),
    /// Each to the partition of its key.
    ByKey {
        /// How many the product has, at least one.
        partitions: u32,
        /// Where those go that have no key.
        keyless: u32,
    },
}

impl Spread {
    /// The partitions that events may go to.
    pub(crate) fn partitions(self) -> std::ops::Range<u32> {
        match self {
            Self::To(partition) => partition..partition.saturating_add(1),
            Self::ByKey { partitions, .. } => 0..partitions,
        }
    }

    /// Which of these it is for an event with this key, from 0.
    pub(crate) fn nth(self, key: Option<&[u8]>) -> usize {
        match (self, key) {
            (Self::To(_), _) => 0,
            (Self::ByKey { keyless, .. }, None) => keyless as usize,
            (Self::ByKey { partitions, .. }, Some(key)) => of_key(key, partitions) as usize,
        }
    }
}

/// The partition for a key, of `partitions`.
pub(crate) fn of_key(key: &[u8], partitions: u32) -> u32 {
    (murmur2(key) & 0x7fff_ffff) % partitions.max(1)
}

/// MurmurHash2 with the seed of Kafka's clients (`org.apache.kafka.common.utils.Utils.murmur2`).
fn murmur2(bytes: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    let mut hash = SEED ^ bytes.len() as u32;
    let (words, rest) = bytes.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k = (k ^ (k >> 24)).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    if !rest.is_empty() {
        for (at, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * at);
        }
        hash = hash.wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_go_where_their_keys_say_and_those_without_a_key_stay_together() {
        let spread = Spread::ByKey { partitions: 10, keyless: 3 };
        let partitions: Vec<u32> = spread.partitions().collect();
        assert_eq!(partitions[spread.nth(Some(b"abc"))], 7);
        assert_eq!(partitions[spread.nth(None)], 3);
        for key in [Some(b"abc".as_slice()), Some(b"foobar"), None] {
            let one = Spread::To(4);
            assert_eq!(one.partitions().nth(one.nth(key)), Some(4));
        }
    }

    #[test]
    fn a_key_has_the_hash_that_kafkas_own_tests_expect() {
        // UtilsTest.testMurmur2 of Apache Kafka.
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), hash, "{key}");
        }
        assert_eq!(of_key(b"abc", 1), 0);
        assert_eq!(of_key(b"abc", 10), 7);
    }
}
