//! The Merkle tree of RFC 6962, section 2.1: hashing, growth, and proofs, made and checked.
//!
//! This module holds hashes and does arithmetic. It knows neither files nor what a leaf says.

use tradelane_keys::sha256;

/// A SHA-256 hash of the tree.
pub type Hash = [u8; 32];

/// Hashes in one full tile (C2SP tlog-tiles: height 8).
pub const TILE_WIDTH: u64 = 256;

/// Levels that a tree of 2^64 leaves can have, in tiles.
const MAX_LEVELS: usize = 8;

/// The hash of a leaf: `SHA-256(0x00 || entry)`.
pub fn leaf_hash(entry: &[u8]) -> Hash {
    let mut input = Vec::with_capacity(1 + entry.len());
    input.push(0);
    input.extend_from_slice(entry);
    sha256(&input)
}

/// The hash of a 32-byte entry, without an allocation: every entry of this log has that size.
pub fn leaf_hash_of_commitment(entry: &Hash) -> Hash {
    let mut input = [0u8; 33];
    input[1..].copy_from_slice(entry);
    sha256(&input)
}

/// The hash of an inner node: `SHA-256(0x01 || left || right)`.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut input = [1u8; 65];
    input[1..33].copy_from_slice(left);
    input[33..].copy_from_slice(right);
    sha256(&input)
}

/// The root of a tree without leaves: `SHA-256("")`.
pub fn empty_root() -> Hash {
    sha256(&[])
}

/// The root over a full, aligned run of hashes; `hashes.len()` is a power of two.
pub(crate) fn fold_full(mut hashes: Vec<Hash>) -> Option<Hash> {
    while hashes.len() > 1 {
        hashes = hashes.chunks(2).map(|pair| pair.get(1).map_or(pair[0], |right| node_hash(&pair[0], right))).collect();
    }
    hashes.pop()
}

/// Everything of a tree that is kept in memory: 32 bytes per 256 leaves (12.5 MB at 100 million), no leaf hashes but
/// those of the last, partial tile.
#[derive(Clone, Default)]
pub struct Tree {
    size: u64,
    /// Roots of the full subtrees that make up the tree, largest first; one per bit set in `size`.
    frontier: Vec<Hash>,
    /// Leaf hashes of the last tile, while it is partial.
    tail: Vec<Hash>,
    /// `upper[l - 1]`: all hashes of tile level `l`.
    upper: Vec<Vec<Hash>>,
}

impl Tree {
    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// A tree of full tiles only, whose level-1 hashes are known.
    pub fn from_tile_roots(roots: &[Hash]) -> Self {
        let mut growth = Growth { skip_leaves: true, ..Self::default().begin() };
        for root in roots {
            growth.carry(*root, 8);
        }
        let mut tree = Self::default();
        tree.apply(growth);
        tree
    }

    /// Starts adding leaves aside; nothing is seen of them before [`Tree::apply`].
    pub fn begin(&self) -> Growth {
        Growth {
            size: self.size,
            frontier: self.frontier.clone(),
            tail: self.tail.clone(),
            upper: Vec::new(),
            skip_leaves: false,
        }
    }

    /// Takes over what was added aside. `growth` must have begun at this very tree.
    pub fn apply(&mut self, growth: Growth) {
        self.size = growth.size;
        self.frontier = growth.frontier;
        self.tail = growth.tail;
        for (level, mut hashes) in growth.upper.into_iter().enumerate() {
            if self.upper.len() <= level {
                self.upper.push(Vec::new());
            }
            self.upper[level].append(&mut hashes);
        }
    }

    /// The root over all leaves.
    pub fn root(&self) -> Hash {
        root_of(&self.frontier)
    }

    /// `count` hashes of tile level `level` from `start`; for level 0 only those of the partial tile are known here.
    pub fn hashes(&self, level: usize, start: u64, count: usize) -> Option<&[Hash]> {
        let (all, first) = match level.checked_sub(1) {
            None => (&self.tail, self.size / TILE_WIDTH * TILE_WIDTH),
            Some(upper) => (self.upper.get(upper)?, 0),
        };
        let from = usize::try_from(start.checked_sub(first)?).ok()?;
        all.get(from..from.checked_add(count)?)
    }
}

fn root_of(frontier: &[Hash]) -> Hash {
    let mut from_right = frontier.iter().rev();
    match from_right.next() {
        None => empty_root(),
        Some(last) => from_right.fold(*last, |right, left| node_hash(left, &right)),
    }
}

/// Leaves on their way into a [`Tree`].
pub struct Growth {
    size: u64,
    frontier: Vec<Hash>,
    tail: Vec<Hash>,
    upper: Vec<Vec<Hash>>,
    skip_leaves: bool,
}

impl Growth {
    /// Number of leaves, those aside included.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds one leaf. Returns the root of the tile that it completes, if it does.
    pub fn push(&mut self, leaf: Hash) -> Option<Hash> {
        self.tail.push(leaf);
        self.carry(leaf, 0)
    }

    /// Adds a full subtree of the given height and merges it with its equals to the left, as a binary counter carries.
    fn carry(&mut self, hash: Hash, height: u32) -> Option<Hash> {
        let mut hash = hash;
        let mut at = height;
        let mut tile_root = None;
        if height == 8 {
            self.keep_upper(0, hash);
        }
        while self.size >> at & 1 == 1 {
            let left = self.frontier.pop().unwrap_or(hash);
            hash = node_hash(&left, &hash);
            at += 1;
            if at.is_multiple_of(8) {
                self.keep_upper((at / 8 - 1) as usize, hash);
                if at == 8 {
                    tile_root = Some(hash);
                }
            }
        }
        self.frontier.push(hash);
        self.size += 1 << height;
        if self.size.is_multiple_of(TILE_WIDTH) && !self.skip_leaves {
            self.tail.clear();
        }
        tile_root
    }

    fn keep_upper(&mut self, level: usize, hash: Hash) {
        while self.upper.len() <= level {
            self.upper.push(Vec::new());
        }
        self.upper[level].push(hash);
    }

    /// The root over all leaves, those aside included.
    pub fn root(&self) -> Hash {
        root_of(&self.frontier)
    }
}

/// Where proofs take hashes from: tiles, in memory, on disk or from a server.
pub trait HashSource {
    /// What can go wrong.
    type Error;
    /// `count` hashes of tile level `level` from index `start`, all in one tile and all within the tree.
    fn hashes(&self, level: u8, start: u64, count: usize) -> Result<Vec<Hash>, Self::Error>;
}

/// The hash of the full subtree of that height that starts at leaf `index << height`.
fn node<S: HashSource>(source: &S, height: u32, index: u64) -> Result<Hash, S::Error> {
    let (level, within) = (height / 8, height % 8);
    let hashes = source.hashes(level as u8, index << within, 1 << within)?;
    Ok(fold_full(hashes).unwrap_or_default())
}

/// `MTH(D[start:end])` of RFC 6962; `start < end`.
fn range_hash<S: HashSource>(source: &S, start: u64, end: u64) -> Result<Hash, S::Error> {
    let width = end - start;
    if width.is_power_of_two() && start.is_multiple_of(width) {
        return node(source, width.trailing_zeros(), start >> width.trailing_zeros());
    }
    let split = start + largest_power_below(width);
    Ok(node_hash(&range_hash(source, start, split)?, &range_hash(source, split, end)?))
}

/// The largest power of two smaller than `n`; `n > 1`.
fn largest_power_below(n: u64) -> u64 {
    1 << (63 - (n - 1).leading_zeros())
}

/// The root of the first `size` leaves.
pub fn root_at<S: HashSource>(source: &S, size: u64) -> Result<Hash, S::Error> {
    if size == 0 { Ok(empty_root()) } else { range_hash(source, 0, size) }
}

/// `PATH(index, D[size])`: the audit path of a leaf, from its sibling up. `index < size`, else the path is empty.
pub fn inclusion_proof<S: HashSource>(source: &S, index: u64, size: u64) -> Result<Vec<Hash>, S::Error> {
    let mut path = Vec::new();
    if index >= size {
        return Ok(path);
    }
    let (mut start, mut end) = (0, size);
    let mut siblings = Vec::new();
    while end - start > 1 {
        let split = start + largest_power_below(end - start);
        if index < split {
            siblings.push((split, end));
            end = split;
        } else {
            siblings.push((start, split));
            start = split;
        }
    }
    for (start, end) in siblings.into_iter().rev() {
        path.push(range_hash(source, start, end)?);
    }
    Ok(path)
}

/// `PROOF(old, D[size])`: that the first `old` leaves of a tree of `size` are the tree of `old`. Empty when
/// `old == 0`, `old == size` or `old > size`.
pub fn consistency_proof<S: HashSource>(source: &S, old: u64, size: u64) -> Result<Vec<Hash>, S::Error> {
    let mut path = Vec::new();
    if old == 0 || old >= size {
        return Ok(path);
    }
    let (mut start, mut end, mut whole) = (0, size, true);
    let mut siblings = Vec::new();
    while end != old {
        let split = start + largest_power_below(end - start);
        if old <= split {
            siblings.push((split, end));
            end = split;
        } else {
            siblings.push((start, split));
            start = split;
            whole = false;
        }
    }
    if !whole {
        siblings.push((start, end));
    }
    for (start, end) in siblings.into_iter().rev() {
        path.push(range_hash(source, start, end)?);
    }
    Ok(path)
}

/// Whether `path` proves that the leaf of that hash is at `index` in the tree of `size` and `root` (RFC 9162, 2.1.3.2).
pub fn verify_inclusion(leaf: &Hash, index: u64, size: u64, path: &[Hash], root: &Hash) -> bool {
    if index >= size {
        return false;
    }
    let (mut node, mut last, mut hash) = (index, size - 1, *leaf);
    for sibling in path {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

/// Whether `path` proves that the tree of `old_size` and `old_root` is the beginning of the tree of `size` and `root`
/// (RFC 9162, 2.1.4.2).
pub fn verify_consistency(old_size: u64, old_root: &Hash, size: u64, root: &Hash, path: &[Hash]) -> bool {
    if old_size > size {
        return false;
    }
    if old_size == size {
        return path.is_empty() && old_root == root;
    }
    if old_size == 0 {
        return path.is_empty() && *old_root == empty_root();
    }
    let mut rest = path.iter();
    let first = if old_size.is_power_of_two() { Some(old_root) } else { rest.next() };
    let Some(first) = first else { return false };
    let (mut node, mut last) = (old_size - 1, size - 1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    let (mut old, mut new) = (*first, *first);
    for hash in rest {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            old = node_hash(hash, &old);
            new = node_hash(hash, &new);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            new = node_hash(&new, hash);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && old == *old_root && new == *root
}

/// Tile levels that a tree of that size has hashes at.
pub fn levels(size: u64) -> u8 {
    (0..MAX_LEVELS as u32).take_while(|level| size >> (8 * level) > 0).count() as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Naive(Vec<Hash>);
    impl HashSource for Naive {
        type Error = std::convert::Infallible;
        fn hashes(&self, level: u8, start: u64, count: usize) -> Result<Vec<Hash>, Self::Error> {
            let width = 1usize << (8 * level);
            let at = |i: usize| naive_root(&self.0[i * width..(i + 1) * width]);
            Ok((start as usize..start as usize + count).map(at).collect())
        }
    }

    /// MTH straight from the RFC's recursive definition.
    fn naive_root(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => empty_root(),
            [one] => *one,
            _ => {
                let split = largest_power_below(leaves.len() as u64) as usize;
                node_hash(&naive_root(&leaves[..split]), &naive_root(&leaves[split..]))
            }
        }
    }

    fn leaves(n: usize) -> Vec<Hash> {
        (0..n).map(|i| leaf_hash(&i.to_be_bytes())).collect()
    }

    #[test]
    fn the_tree_grows_to_the_root_of_the_definition() {
        let all = leaves(1_100);
        let mut tree = Tree::default();
        for (size, chunk) in [(1, 0..1), (255, 1..255), (256, 255..256), (700, 256..700), (1_100, 700..1_100)] {
            let mut growth = tree.begin();
            for leaf in &all[chunk] {
                growth.push(*leaf);
            }
            tree.apply(growth);
            assert_eq!((tree.size(), tree.root()), (size as u64, naive_root(&all[..size])));
        }
        assert_eq!(tree.hashes(1, 3, 1).unwrap()[0], naive_root(&all[768..1024]));
        assert_eq!(tree.hashes(0, 1_024, 76).unwrap(), &all[1_024..]);
        let rebuilt = Tree::from_tile_roots(tree.hashes(1, 0, 4).unwrap());
        assert_eq!((rebuilt.size(), rebuilt.root()), (1_024, naive_root(&all[..1_024])));
    }

    #[test]
    fn a_tree_from_tile_roots_goes_on_growing() {
        let all = leaves(66_000);
        let mut tree = Tree::default();
        let mut growth = tree.begin();
        let roots: Vec<Hash> = all.iter().filter_map(|leaf| growth.push(*leaf)).collect();
        tree.apply(growth);
        let mut again = Tree::from_tile_roots(&roots[..255]);
        let mut growth = again.begin();
        all[255 * 256..].iter().for_each(|leaf| {
            growth.push(*leaf);
        });
        again.apply(growth);
        assert_eq!(again.root(), tree.root());
        assert_eq!(again.hashes(2, 0, 1), tree.hashes(2, 0, 1));
        assert!(again.hashes(2, 0, 1).is_some());
    }

    #[test]
    fn every_leaf_is_proved_in_every_size_and_nowhere_else() {
        let source = Naive(leaves(70));
        for size in 1..=70u64 {
            let root = root_at(&source, size).unwrap();
            for index in 0..size {
                let path = inclusion_proof(&source, index, size).unwrap();
                let leaf = source.0[index as usize];
                assert!(verify_inclusion(&leaf, index, size, &path, &root));
                assert!(!verify_inclusion(&leaf, (index + 1) % size.max(2), size, &path, &root) || size == 1);
                assert!(!verify_inclusion(&leaf_hash(b"other"), index, size, &path, &root));
                if let Some((_, short)) = path.split_last() {
                    assert!(!verify_inclusion(&leaf, index, size, short, &root));
                }
            }
        }
    }

    #[test]
    fn every_older_tree_is_proved_to_be_a_beginning() {
        let source = Naive(leaves(70));
        for size in 0..=70u64 {
            let root = root_at(&source, size).unwrap();
            for old in 0..=size {
                let old_root = root_at(&source, old).unwrap();
                let path = consistency_proof(&source, old, size).unwrap();
                assert!(verify_consistency(old, &old_root, size, &root, &path), "{old} of {size}");
                if old < size {
                    assert!(!verify_consistency(old, &leaf_hash(b"fork"), size, &root, &path));
                    assert!(!verify_consistency(old, &old_root, size, &leaf_hash(b"fork"), &path) || old == 0);
                }
            }
        }
    }

    #[test]
    fn the_hashes_are_those_of_the_known_answers() {
        // Known answers of Certificate Transparency's reference test data.
        let hex = |hash: Hash| hash.iter().map(|b| format!("{b:02x}")).collect::<String>();
        assert_eq!(hex(empty_root()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(hex(leaf_hash(b"")), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
        let inputs: [&[u8]; 8] = [
            &[],
            &[0x00],
            &[0x10],
            &[0x20, 0x21],
            &[0x30, 0x31],
            &[0x40, 0x41, 0x42, 0x43],
            &[0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57],
            &[0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x6f],
        ];
        let source = Naive(inputs.iter().map(|input| leaf_hash(input)).collect());
        assert_eq!(
            hex(root_at(&source, 8).unwrap()),
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"
        );
    }
}
