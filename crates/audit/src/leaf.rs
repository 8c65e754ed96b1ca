//! What a leaf says, its canonical bytes, and the commitment that the log publishes in its stead.
//!
//! A leaf names organizations, products, grants and digests. It has no field that could hold an event's value or free
//! text: every word is an id or comes from a small alphabet.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use tradelane_keys::{random_array, sha256};
use tradelane_model::{Class, ErrorCode, GrantId, OrgId, PrincipalId, ProductId, Timestamp};

use crate::merkle::Hash;

/// Longest canonical body.
pub const MAX_BODY: usize = 8 * 1024;
/// Most classes that a leaf names.
const MAX_CLASSES: usize = 64;
/// Separates this commitment from every other use of SHA-256.
const COMMITMENT_TAG: &[u8; 16] = b"tradelane.leaf.1";

/// A short word: 1 to 63 of `a-z`, `0-9`, `.`, `_`, `-`, `:`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Word(Cow<'static, str>);

impl Word {
    /// A word known when the program was written. Not a word? The program does not start: use it for constants.
    pub const fn literal(word: &'static str) -> Self {
        let bytes = word.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            assert!(is_word_byte(bytes[at]), "a word is of a-z, 0-9 and '._-:'");
            at += 1;
        }
        assert!(!bytes.is_empty() && bytes.len() <= 63, "a word has 1 to 63 characters");
        Self(Cow::Borrowed(word))
    }

    /// The nearest word to a text: lower case, everything else becomes `-`, cut at 63 characters.
    pub fn near(text: &str) -> Self {
        let fit = |c: char| {
            let c = c.to_ascii_lowercase();
            if u8::try_from(c).is_ok_and(is_word_byte) { c } else { '-' }
        };
        let word: String = text.chars().map(fit).take(63).collect();
        Self(Cow::Owned(if word.is_empty() { "-".into() } else { word }))
    }

    /// The word as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

const fn is_word_byte(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-' | b':')
}

impl FromStr for Word {
    type Err = LeafError;
    fn from_str(text: &str) -> Result<Self, LeafError> {
        let ok = (1..=63).contains(&text.len()) && text.bytes().all(is_word_byte);
        if ok { Ok(Self(Cow::Owned(text.to_owned()))) } else { Err(LeafError::Malformed("a word")) }
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How what was attempted ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was allowed, and done or about to be done.
    Allowed,
    /// It was refused; `reason` says why.
    Refused,
    /// It was allowed and then failed.
    Failed,
}

impl Outcome {
    /// The word in the body.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Allowed, Self::Refused, Self::Failed].into_iter().find(|outcome| outcome.as_str() == text)
    }
}

/// One record of the audit log: who did what, when, why, to which product, and how it ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Leaf {
    /// When, as the hub's clock says.
    pub time: Timestamp,
    /// Whose principal acted.
    pub org: OrgId,
    /// Who acted; `None` for the hub itself or a caller that did not prove who it is.
    pub principal: Option<PrincipalId>,
    /// What was attempted: `read`, `publish`, `grant.revoke`, `subject.erase`, ...
    pub action: Word,
    /// Whose product, grant or setting it was, when not the actor's own organization.
    pub owner: Option<OrgId>,
    /// The product.
    pub product: Option<ProductId>,
    /// The grant under which it was allowed.
    pub grant: Option<GrantId>,
    /// What for.
    pub purpose: Option<Word>,
    /// The partition of the product that `offsets` are of. Leaves of version 1 do not say.
    pub partition: Option<u32>,
    /// First and last offset of what was read or written.
    pub offsets: Option<(u64, u64)>,
    /// How many events.
    pub count: u64,
    /// Classes that were revealed, sorted, each once. [`Leaf::encode`] sees to it.
    pub classes: Vec<Class>,
    /// Digest of the compiled view through which it was read.
    pub view: Option<[u8; 32]>,
    /// Digest of what was changed or made: a journal entry, an erasure order, a contract revision.
    pub digest: Option<[u8; 32]>,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, when it did not end well: a stable error code in lower case (`tl-3004`).
    pub reason: Option<Word>,
}

impl Leaf {
    /// A leaf with the members that every leaf has; set the others as fields.
    pub fn new(time: Timestamp, org: OrgId, action: Word, outcome: Outcome) -> Self {
        Self {
            time,
            org,
            principal: None,
            action,
            owner: None,
            product: None,
            grant: None,
            purpose: None,
            partition: None,
            offsets: None,
            count: 0,
            classes: Vec::new(),
            view: None,
            digest: None,
            outcome,
            reason: None,
        }
    }

    /// Says why it was refused or failed.
    pub fn because(mut self, code: ErrorCode) -> Self {
        self.reason = Some(Word::near(code.as_str()));
        self
    }

    /// Whether an organization has a part in this leaf, as actor or as owner.
    pub fn concerns(&self, org: &OrgId) -> bool {
        self.org == *org || self.owner.as_ref() == Some(org)
    }

    /// Appends the canonical body: JSON with sorted keys and no blanks (RFC 8785), absent members left out.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), LeafError> {
        if self.classes.len() > MAX_CLASSES {
            return Err(LeafError::TooLarge);
        }
        let start = out.len();
        let mut body = Body { out, first: true };
        body.text("action", Some(self.action.as_str()));
        body.classes(&self.classes);
        body.number("count", self.count);
        body.hex("digest", self.digest.as_ref());
        body.text("grant", self.grant.as_ref().map(GrantId::as_str));
        body.offsets(self.offsets);
        body.text("org", Some(self.org.as_str()));
        body.text("outcome", Some(self.outcome.as_str()));
        body.text("owner", self.owner.as_ref().map(OrgId::as_str));
        if let Some(partition) = self.partition {
            body.number("partition", partition.into());
        }
        body.text("principal", self.principal.as_ref().map(PrincipalId::as_str));
        body.text("product", self.product.as_ref().map(ProductId::as_str));
        body.text("purpose", self.purpose.as_ref().map(Word::as_str));
        body.text("reason", self.reason.as_ref().map(Word::as_str));
        body.time(self.time);
        body.number("v", if self.partition.is_some() { 2 } else { 1 });
        body.hex("view", self.view.as_ref());
        out.push(b'}');
        if out.len() - start > MAX_BODY { Err(LeafError::TooLarge) } else { Ok(()) }
    }

    /// Reads a canonical body. Bytes that another writer would have written differently are refused, so that one
    /// leaf has one commitment.
    pub fn decode(body: &[u8]) -> Result<Self, LeafError> {
        if body.len() > MAX_BODY {
            return Err(LeafError::TooLarge);
        }
        let raw: RawLeaf = serde_json::from_slice(body).map_err(|_| LeafError::Malformed("JSON with known members"))?;
        let leaf = raw.into_leaf()?;
        let mut again = Vec::with_capacity(body.len());
        leaf.encode(&mut again)?;
        if again == body { Ok(leaf) } else { Err(LeafError::Malformed("in canonical form")) }
    }
}

/// Writes members in the order in which they are called; the caller keeps them sorted.
struct Body<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
}

impl Body<'_> {
    fn key(&mut self, key: &str) {
        self.out.push(if self.first { b'{' } else { b',' });
        self.first = false;
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    /// Words and ids need no escapes: their alphabets see to it.
    fn quoted(&mut self, text: &str) {
        self.out.push(b'"');
        self.out.extend_from_slice(text.as_bytes());
        self.out.push(b'"');
    }

    fn text(&mut self, key: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.key(key);
            self.quoted(text);
        }
    }

    fn digits(&mut self, number: u64) {
        let mut digits = [0u8; 20];
        let mut at = digits.len();
        let mut rest = number;
        loop {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.out.extend_from_slice(&digits[at..]);
    }

    fn number(&mut self, key: &str, number: u64) {
        self.key(key);
        self.digits(number);
    }

    fn time(&mut self, time: Timestamp) {
        self.key("time");
        if time.0 < 0 {
            self.out.push(b'-');
        }
        self.digits(time.0.unsigned_abs());
    }

    fn hex(&mut self, key: &str, digest: Option<&[u8; 32]>) {
        if let Some(digest) = digest {
            self.key(key);
            self.out.push(b'"');
            for byte in digest {
                self.out.push(HEX[usize::from(byte >> 4)]);
                self.out.push(HEX[usize::from(byte & 15)]);
            }
            self.out.push(b'"');
        }
    }

    fn offsets(&mut self, offsets: Option<(u64, u64)>) {
        if let Some((first, last)) = offsets {
            self.key("offsets");
            self.out.push(b'[');
            self.digits(first);
            self.out.push(b',');
            self.digits(last);
            self.out.push(b']');
        }
    }

    fn classes(&mut self, classes: &[Class]) {
        if classes.is_empty() {
            return;
        }
        let mut names: Vec<&str> = classes.iter().map(Class::as_str).collect();
        names.sort_unstable();
        names.dedup();
        self.key("classes");
        for (at, name) in names.into_iter().enumerate() {
            self.out.push(if at == 0 { b'[' } else { b',' });
            self.quoted(name);
        }
        self.out.push(b']');
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLeaf<'a> {
    #[serde(borrow)]
    action: Cow<'a, str>,
    #[serde(default)]
    classes: Vec<Class>,
    count: u64,
    #[serde(default, borrow)]
    digest: Option<Cow<'a, str>>,
    #[serde(default)]
    grant: Option<GrantId>,
    #[serde(default)]
    offsets: Option<(u64, u64)>,
    org: OrgId,
    outcome: Cow<'a, str>,
    #[serde(default)]
    owner: Option<OrgId>,
    #[serde(default)]
    partition: Option<u32>,
    #[serde(default)]
    principal: Option<PrincipalId>,
    #[serde(default)]
    product: Option<ProductId>,
    #[serde(default)]
    purpose: Option<Cow<'a, str>>,
    #[serde(default)]
    reason: Option<Cow<'a, str>>,
    time: i64,
    v: u64,
    #[serde(default)]
    view: Option<Cow<'a, str>>,
}

impl RawLeaf<'_> {
    fn into_leaf(self) -> Result<Leaf, LeafError> {
        // Which of both it is follows from what it says; one that claims the other is not in canonical form.
        if !(1..=2).contains(&self.v) {
            return Err(LeafError::Malformed("of version 1 or 2"));
        }
        let digest = |text: Option<Cow<'_, str>>| match text {
            None => Ok(None),
            Some(text) => parse_hex(&text).map(Some).ok_or(LeafError::Malformed("a digest")),
        };
        Ok(Leaf {
            time: Timestamp(self.time),
            org: self.org,
            principal: self.principal,
            action: self.action.parse()?,
            owner: self.owner,
            product: self.product,
            grant: self.grant,
            purpose: self.purpose.map(|word| word.parse()).transpose()?,
            partition: self.partition,
            offsets: self.offsets,
            count: self.count,
            classes: self.classes,
            view: digest(self.view)?,
            digest: digest(self.digest)?,
            outcome: Outcome::parse(&self.outcome).ok_or(LeafError::Malformed("an outcome"))?,
            reason: self.reason.map(|word| word.parse()).transpose()?,
        })
    }
}

fn parse_hex(text: &str) -> Option<[u8; 32]> {
    let nibble = |b: u8| HEX.iter().position(|&h| h == b).map(|at| at as u8);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != 32 || !rest.is_empty() {
        return None;
    }
    let mut out = [0u8; 32];
    for (byte, [high, low]) in out.iter_mut().zip(pairs) {
        *byte = nibble(*high)? << 4 | nibble(*low)?;
    }
    Some(out)
}

/// Why a leaf is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LeafError {
    /// More classes or bytes than a leaf may have.
    #[error("a leaf names at most 64 classes and is at most 8 KiB")]
    TooLarge,
    /// Bytes that are no leaf.
    #[error("the leaf is not {0}")]
    Malformed(&'static str),
}

/// What turns a published commitment back into a leaf: the salt and the canonical body. Only for who may know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// 16 random bytes; without them the commitment could be guessed.
    pub salt: [u8; 16],
    /// The canonical body.
    pub body: Vec<u8>,
}

impl Opening {
    /// The entry that the log publishes: `SHA-256("tradelane.leaf.1" || salt || body)`.
    pub fn commitment(&self) -> Hash {
        commitment(&self.salt, &self.body)
    }

    /// What the leaf says.
    pub fn leaf(&self) -> Result<Leaf, LeafError> {
        Leaf::decode(&self.body)
    }
}

fn commitment(salt: &[u8; 16], body: &[u8]) -> Hash {
    let mut input = Vec::with_capacity(32 + body.len());
    input.extend_from_slice(COMMITMENT_TAG);
    input.extend_from_slice(salt);
    input.extend_from_slice(body);
    sha256(&input)
}

/// Leaves made ready by the caller's thread: commitments, and openings laid out as a frame stores them.
pub(crate) struct Prepared {
    pub(crate) commitments: Vec<Hash>,
    /// For each leaf: two bytes length of the body, salt, body.
    pub(crate) openings: Vec<u8>,
    /// Where each opening ends.
    pub(crate) ends: Vec<usize>,
    pub(crate) times: Vec<i64>,
}

/// Bytes before a body in a frame: length and salt.
pub(crate) const OPENING_HEAD: usize = 2 + 16;

impl Prepared {
    pub(crate) fn new<'a>(leaves: impl ExactSizeIterator<Item = &'a Leaf>) -> Result<Self, LeafError> {
        let count = leaves.len();
        let mut prepared = Self {
            commitments: Vec::with_capacity(count),
            openings: Vec::with_capacity(count * 384),
            ends: Vec::with_capacity(count),
            times: Vec::with_capacity(count),
        };
        // Salt is made of random bytes fetched for many leaves at once: the generator's start costs more than its bytes.
        let mut salts = [[0u8; 16]; 16];
        for (at, leaf) in leaves.enumerate() {
            if at % salts.len() == 0 {
                let fresh: [u8; 256] = random_array();
                salts.as_flattened_mut().copy_from_slice(&fresh);
            }
            prepared.push(leaf, &salts[at % salts.len()])?;
        }
        Ok(prepared)
    }

    fn push(&mut self, leaf: &Leaf, salt: &[u8; 16]) -> Result<(), LeafError> {
        let start = self.openings.len();
        self.openings.extend_from_slice(&[0; 2]);
        self.openings.extend_from_slice(salt);
        leaf.encode(&mut self.openings)?;
        let body = start + OPENING_HEAD;
        let length = u16::try_from(self.openings.len() - body).map_err(|_| LeafError::TooLarge)?;
        self.commitments.push(commitment(salt, &self.openings[body..]));
        self.openings[start..start + 2].copy_from_slice(&length.to_be_bytes());
        self.ends.push(self.openings.len());
        self.times.push(leaf.time.0);
        Ok(())
    }
}

/// Splits the openings of a frame; `None` if the bytes are not exactly so many.
pub(crate) fn split_openings(plain: &[u8], count: usize) -> Option<Vec<(&[u8; 16], &[u8])>> {
    let mut openings = Vec::with_capacity(count.min(256));
    let mut rest = plain;
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk::<2>()?;
        let (salt, after) = after.split_first_chunk::<16>()?;
        let (body, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        openings.push((salt, body));
        rest = after;
    }
    (openings.len() == count).then_some(openings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Leaf {
        Leaf {
            principal: Some("svc-1".parse().unwrap()),
            owner: Some("acme".parse().unwrap()),
            product: Some("acme.stock".parse().unwrap()),
            grant: Some("g1".parse().unwrap()),
            purpose: Some(Word::near("Delivery planning")),
            offsets: Some((7, 106)),
            count: 100,
            classes: vec![Class::named("pii").unwrap(), Class::named("confidential").unwrap()],
            view: Some([0xAB; 32]),
            digest: Some([1; 32]),
            ..Leaf::new(
                Timestamp(1_700_000_000_000_000),
                "carrier".parse().unwrap(),
                Word::literal("read"),
                Outcome::Allowed,
            )
        }
    }

    #[test]
    fn a_body_is_canonical_json_and_reads_back() {
        let mut body = Vec::new();
        full().encode(&mut body).unwrap();
        let text = std::str::from_utf8(&body).unwrap();
        assert!(
            text.starts_with(r#"{"action":"read","classes":["confidential","pii"],"count":100,"digest":"0101"#),
            "{text}"
        );
        let keys: Vec<String> = serde_json::from_str::<serde_json::Map<_, _>>(text).unwrap().keys().cloned().collect();
        assert!(keys.is_sorted());
        let again = Leaf::decode(&body).unwrap();
        assert_eq!(again.offsets, Some((7, 106)));
        assert_eq!(again.purpose.unwrap().as_str(), "delivery-planning");
    }

    #[test]
    fn a_leaf_that_names_a_partition_is_of_the_second_version_and_no_other_is() {
        let encoded = |leaf: &Leaf| {
            let mut body = Vec::new();
            leaf.encode(&mut body).unwrap();
            String::from_utf8(body).unwrap()
        };
        let first = encoded(&full());
        let second = encoded(&Leaf { partition: Some(0), ..full() });
        assert!(first.contains(r#""v":1"#) && !first.contains("partition"), "{first}");
        assert!(second.contains(r#""owner":"acme","partition":0,"principal":"svc-1""#), "{second}");
        assert_eq!(Leaf::decode(first.as_bytes()).unwrap().partition, None);
        assert_eq!(Leaf::decode(second.as_bytes()).unwrap().partition, Some(0));
        for changed in [second.replace("\"v\":2", "\"v\":1"), first.replace("\"v\":1", "\"v\":2")] {
            assert!(Leaf::decode(changed.as_bytes()).is_err(), "{changed}");
        }
    }

    #[test]
    fn another_spelling_of_a_leaf_is_refused() {
        let mut body = Vec::new();
        full().encode(&mut body).unwrap();
        let text = String::from_utf8(body).unwrap();
        for changed in [
            text.replace(":", ": "),
            text.replace("\"v\":1", "\"v\":3"),
            text.replace("\"count\":100", "\"count\":1e2"),
            text.replace("\"confidential\",\"pii\"", "\"pii\",\"confidential\""),
            text.replace("\"v\":1", "\"note\":\"x\",\"v\":1"),
            text.replace("read", "rea\\u0064"),
            "{}".into(),
            String::new(),
        ] {
            assert!(Leaf::decode(changed.as_bytes()).is_err(), "{changed}");
        }
    }

    #[test]
    fn equal_leaves_have_unequal_commitments() {
        let leaf = full();
        let prepared = Prepared::new([&leaf, &leaf].into_iter()).unwrap();
        assert_ne!(prepared.commitments[0], prepared.commitments[1]);
        let openings = split_openings(&prepared.openings, 2).unwrap();
        let opening = Opening { salt: *openings[1].0, body: openings[1].1.to_vec() };
        assert_eq!(opening.commitment(), prepared.commitments[1]);
        assert!(split_openings(&prepared.openings, 1).is_none());
        assert!(split_openings(&prepared.openings[1..], 2).is_none());
    }
}
