//! A receipt: what a partner keeps as proof that an access is in the log, checked offline with the log's key alone.
//!
//! Its text is a C2SP `tlog-proof@v1`, so that other tools check it too; the opening travels as the proof's extra data.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::leaf::{Leaf, LeafError, MAX_BODY, Opening};
use crate::merkle::{Hash, leaf_hash_of_commitment, verify_inclusion};
use crate::note::{Checkpoint, MAX_NOTE, NoteError, VerifierKey};

const HEADER: &str = "c2sp.org/tlog-proof@v1";
/// A path has one hash per level; a tree of 2^64 leaves has 64.
const MAX_PATH: usize = 64;

/// Proof that one leaf is in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The leaf's index.
    pub index: u64,
    /// The leaf and its salt.
    pub opening: Opening,
    /// From the leaf's sibling up to the root's child.
    pub path: Vec<Hash>,
    /// The signed checkpoint, verbatim.
    pub checkpoint: String,
}

/// Why a receipt proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// The text is no receipt.
    #[error("this is no receipt: {0}")]
    Malformed(&'static str),
    /// The checkpoint is not the log's.
    #[error("the receipt's checkpoint is not accepted: {0}")]
    Checkpoint(#[from] NoteError),
    /// The leaf is not at that place of that tree.
    #[error("leaf {index} is not in the tree of {size} leaves that the checkpoint signs")]
    NotIncluded {
        /// The index that the receipt claims.
        index: u64,
        /// Size of the tree.
        size: u64,
    },
    /// The leaf is there, but does not read.
    #[error("{0}")]
    Leaf(#[from] LeafError),
}

/// What a receipt proves.
#[derive(Debug, Clone, PartialEq)]
pub struct Proven {
    /// What the leaf says.
    pub leaf: Leaf,
    /// The tree in which it was found.
    pub checkpoint: Checkpoint,
}

impl Receipt {
    /// Checks everything: the checkpoint's signature, the path, the leaf. Needs no network and no hub.
    pub fn verify(&self, log: &VerifierKey) -> Result<Proven, ReceiptError> {
        let checkpoint = Checkpoint::open(&self.checkpoint, log)?;
        let leaf = leaf_hash_of_commitment(&self.opening.commitment());
        if !verify_inclusion(&leaf, self.index, checkpoint.size, &self.path, &checkpoint.root) {
            return Err(ReceiptError::NotIncluded { index: self.index, size: checkpoint.size });
        }
        Ok(Proven { leaf: self.opening.leaf()?, checkpoint })
    }

    /// The receipt as text, to be kept in a `.tlog-proof` file.
    pub fn to_text(&self) -> String {
        let mut extra = self.opening.salt.to_vec();
        extra.extend_from_slice(&self.opening.body);
        let mut text = format!("{HEADER}\nextra {}\nindex {}\n", STANDARD.encode(extra), self.index);
        for hash in &self.path {
            text.push_str(&STANDARD.encode(hash));
            text.push('\n');
        }
        text.push('\n');
        text.push_str(&self.checkpoint);
        text
    }

    /// Reads a receipt's text. Nothing is believed before [`Receipt::verify`].
    pub fn parse(text: &str) -> Result<Self, ReceiptError> {
        use ReceiptError::Malformed;
        if text.len() > 2 * MAX_NOTE {
            return Err(Malformed("it is larger than 128 KiB"));
        }
        let (proof, checkpoint) = text.split_once("\n\n").ok_or(Malformed("it has no checkpoint"))?;
        let mut lines = proof.split('\n');
        if lines.next() != Some(HEADER) {
            return Err(Malformed("its first line is not c2sp.org/tlog-proof@v1"));
        }
        let extra = lines.next().and_then(|line| line.strip_prefix("extra "));
        let extra = extra.and_then(|extra| STANDARD.decode(extra).ok()).ok_or(Malformed("it carries no leaf"))?;
        let (salt, body) = extra.split_first_chunk::<16>().ok_or(Malformed("its leaf is cut short"))?;
        if body.len() > MAX_BODY {
            return Err(Malformed("its leaf is larger than 8 KiB"));
        }
        let index = lines.next().and_then(|line| line.strip_prefix("index ")).and_then(parse_decimal);
        let index = index.ok_or(Malformed("it has no index"))?;
        let mut path = Vec::new();
        for line in lines {
            let hash = STANDARD.decode(line).ok().and_then(|hash| hash.try_into().ok());
            path.push(hash.ok_or(Malformed("a line of its path is no hash"))?);
            if path.len() > MAX_PATH {
                return Err(Malformed("its path is longer than any tree is high"));
            }
        }
        let opening = Opening { salt: *salt, body: body.to_vec() };
        Ok(Self { index, opening, path, checkpoint: checkpoint.to_owned() })
    }
}

fn parse_decimal(text: &str) -> Option<u64> {
    let canonical = text == "0" || !text.starts_with('0');
    (canonical && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}
