//! What goes on record of a request to publish: a leaf for each part that is stored, all with the same digest of what was
//! sent. It does not know how parts are stored.

use tradelane_audit::Leaf;
use tradelane_keys::{Sha256, random_array};

use crate::Hub;
use crate::error::Result;
use crate::publish::{Part, Stored};

/// What the leaves of a request have in common.
pub(crate) struct Proof {
    leaf: Leaf,
    /// Digest of what was sent.
    body: [u8; 32],
    /// Keeps the leaves' digest from telling what was sent; the publisher is told it.
    pub(crate) salt: [u8; 32],
}

impl Proof {
    pub(crate) fn new(leaf: Leaf, body: [u8; 32]) -> Self {
        Self { leaf, body, salt: random_array() }
    }

    fn leaf(&self) -> Leaf {
        let mut digest = Sha256::new();
        digest.update(&self.salt);
        digest.update(&self.body);
        Leaf { digest: Some(digest.finish()), ..self.leaf.clone() }
    }
}

impl Hub {
    /// Puts on record what is stored, partition by partition, next to each other, but for what is there already. Answers the
    /// number of the first part's leaf (of the only one, if nothing is stored), and the parts with theirs.
    pub(crate) async fn record_parts(&self, proof: &Proof, stored: Vec<Stored>) -> Result<(u64, Vec<Part>)> {
        let leaf = proof.leaf();
        if stored.is_empty() {
            return Ok((self.record(leaf).await?, Vec::new()));
        }
        let of_part = |stored: &Stored| Leaf {
            partition: Some(stored.partition),
            offsets: Some((stored.base_offset, stored.base_offset + u64::from(stored.count).saturating_sub(1))),
            count: u64::from(stored.count),
            ..leaf.clone()
        };
        let leaves: Vec<Leaf> = stored.iter().filter(|stored| stored.leaf.is_none()).map(of_part).collect();
        let mut next = if leaves.is_empty() { 0 } else { self.record_all(&leaves).await? };
        let mut number = || {
            next += 1;
            next - 1
        };
        let part = |Stored { partition, base_offset: offset, count, leaf, .. }| Part {
            partition,
            offset,
            count,
            receipt: leaf.unwrap_or_else(&mut number),
        };
        let parts: Vec<Part> = stored.into_iter().map(part).collect();
        Ok((parts.first().map_or(0, |part| part.receipt), parts))
    }
}
