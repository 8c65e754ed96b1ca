//! C2SP signed notes, checkpoints and Ed25519 cosignatures: the text that a log's operator and its witnesses sign.
//!
//! It knows text and keys, and nothing of trees or files. Kept here rather than taken from a library because crypto
//! goes through `tradelane-keys` only, and what is needed of the formats fits a page.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tradelane_keys::{SigningKey, sha256, verify_ed25519};

use crate::merkle::Hash;

/// Largest note that is read.
pub const MAX_NOTE: usize = 64 * 1024;
/// Most signature lines of a note.
const MAX_SIGNATURES: usize = 64;
/// Signature type of a plain Ed25519 note signature.
const ED25519: u8 = 0x01;
/// Signature type of an Ed25519 witness cosignature.
const COSIGNATURE: u8 = 0x04;

/// Why a note is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// The text is no signed note.
    #[error("this is no signed note: {0}")]
    Malformed(&'static str),
    /// The text is no checkpoint.
    #[error("the note is no checkpoint: {0}")]
    NoCheckpoint(&'static str),
    /// No signature line belongs to the key.
    #[error("the note carries no signature by the key {0}")]
    Unsigned(String),
    /// A signature line names the key, and does not verify.
    #[error("the signature by the key {0} does not verify: the text or the signature was changed")]
    BadSignature(String),
    /// The checkpoint is another log's.
    #[error("the checkpoint is of the log {found:?}, not of {expected:?}")]
    OtherLog {
        /// Origin that was asked for.
        expected: String,
        /// Origin in the checkpoint.
        found: String,
    },
    /// A verifier key that is none.
    #[error("a verifier key reads name+hash+key, as the log prints it")]
    BadKey,
}

/// A public key with its name, written `name+hex key id+base64 key` ("vkey").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    algorithm: u8,
    key: [u8; 32],
}

impl VerifierKey {
    /// The key that checks a log's own signatures.
    pub fn of_log(name: &str, key: [u8; 32]) -> Option<Self> {
        valid_name(name).then(|| Self { name: name.to_owned(), algorithm: ED25519, key })
    }

    /// The key that checks a witness's cosignatures.
    pub fn of_witness(name: &str, key: [u8; 32]) -> Option<Self> {
        valid_name(name).then(|| Self { name: name.to_owned(), algorithm: COSIGNATURE, key })
    }

    /// The key's name; for a log, its origin.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn id(&self) -> [u8; 4] {
        let mut input = Vec::with_capacity(self.name.len() + 34);
        input.extend_from_slice(self.name.as_bytes());
        input.extend_from_slice(&[b'\n', self.algorithm]);
        input.extend_from_slice(&self.key);
        let [a, b, c, d, ..] = sha256(&input);
        [a, b, c, d]
    }

    fn verifies(&self, text: &str, signature: &[u8]) -> bool {
        match self.algorithm {
            ED25519 => verify_ed25519(&self.key, text.as_bytes(), signature),
            _ => {
                let Some((time, signature)) = signature.split_first_chunk::<8>() else { return false };
                let message = cosigned_message(u64::from_be_bytes(*time), text);
                verify_ed25519(&self.key, message.as_bytes(), signature)
            }
        }
    }
}

impl std::fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut key = vec![self.algorithm];
        key.extend_from_slice(&self.key);
        write!(f, "{}+{:08x}+{}", self.name, u32::from_be_bytes(self.id()), STANDARD.encode(key))
    }
}

impl std::str::FromStr for VerifierKey {
    type Err = NoteError;
    fn from_str(text: &str) -> Result<Self, NoteError> {
        let mut parts = text.trim().splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NoteError::BadKey);
        };
        let key = STANDARD.decode(key).map_err(|_| NoteError::BadKey)?;
        let (&algorithm, key) = key.split_first().ok_or(NoteError::BadKey)?;
        let key: [u8; 32] = key.try_into().map_err(|_| NoteError::BadKey)?;
        if !valid_name(name) || !matches!(algorithm, ED25519 | COSIGNATURE) {
            return Err(NoteError::BadKey);
        }
        let parsed = Self { name: name.to_owned(), algorithm, key };
        if format!("{:08x}", u32::from_be_bytes(parsed.id())) != id {
            return Err(NoteError::BadKey);
        }
        Ok(parsed)
    }
}

/// Key names are not empty and hold neither blanks nor `+`.
fn valid_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 255 && !name.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+')
}

/// A log's private key under the log's name.
pub struct Signer {
    key: SigningKey,
    public: VerifierKey,
}

impl Signer {
    /// The signer of the log `origin`; `None` if the name is empty, too long, or holds blanks or `+`.
    pub fn new(origin: &str, key: SigningKey) -> Option<Self> {
        let public = VerifierKey::of_log(origin, key.public_key())?;
        Some(Self { key, public })
    }

    /// The key that checks what this signer signs.
    pub fn public(&self) -> &VerifierKey {
        &self.public
    }

    /// The text as a signed note. `text` ends with a newline.
    pub fn sign(&self, text: &str) -> String {
        let signature = self.key.sign(text.as_bytes());
        format!("{text}\n{}", signature_line(&self.public, &signature))
    }
}

fn signature_line(key: &VerifierKey, signature: &[u8]) -> String {
    let mut bytes = key.id().to_vec();
    bytes.extend_from_slice(signature);
    format!("\u{2014} {} {}\n", key.name, STANDARD.encode(bytes))
}

fn cosigned_message(time: u64, text: &str) -> String {
    format!("cosignature/v1\ntime {time}\n{text}")
}

/// A witness's cosignature line over a checkpoint's text, at a time in seconds since the epoch. For witnesses that
/// run in the same house, and for tests.
pub fn cosign(name: &str, key: &SigningKey, time: u64, text: &str) -> Option<String> {
    let public = VerifierKey::of_witness(name, key.public_key())?;
    let mut signature = time.to_be_bytes().to_vec();
    signature.extend_from_slice(&key.sign(cosigned_message(time, text).as_bytes()));
    Some(signature_line(&public, &signature))
}

/// A signed note, read but not yet believed.
#[derive(Debug, Clone)]
pub struct Note<'a> {
    text: &'a str,
    signatures: Vec<(&'a str, [u8; 4], Vec<u8>)>,
}

impl<'a> Note<'a> {
    /// Splits a note into its text and its signatures, and checks its form.
    pub fn parse(note: &'a str) -> Result<Self, NoteError> {
        if note.len() > MAX_NOTE {
            return Err(NoteError::Malformed("it is larger than 64 KiB"));
        }
        if note.bytes().any(|b| b < 0x20 && b != b'\n') {
            return Err(NoteError::Malformed("it holds control characters"));
        }
        let at = note.rfind("\n\n").ok_or(NoteError::Malformed("no blank line stands before the signatures"))?;
        let (text, lines) = (&note[..at + 1], &note[at + 2..]);
        let lines = lines.strip_suffix('\n').ok_or(NoteError::Malformed("the last line is not ended"))?;
        let mut signatures = Vec::new();
        for line in lines.split('\n') {
            signatures.push(parse_signature_line(line).ok_or(NoteError::Malformed("a signature line does not read"))?);
            if signatures.len() > MAX_SIGNATURES {
                return Err(NoteError::Malformed("it carries more than 64 signatures"));
            }
        }
        Ok(Self { text, signatures })
    }

    /// The text, if `key` signed it. Lines of unknown keys are ignored; a bad line of this key is an error.
    pub fn verify(&self, key: &VerifierKey) -> Result<&'a str, NoteError> {
        let id = key.id();
        let mut own = self.signatures.iter().filter(|(name, hash, _)| *name == key.name && *hash == id).peekable();
        if own.peek().is_none() {
            return Err(NoteError::Unsigned(key.name.clone()));
        }
        if own.all(|(_, _, signature)| key.verifies(self.text, signature)) {
            Ok(self.text)
        } else {
            Err(NoteError::BadSignature(key.name.clone()))
        }
    }
}

fn parse_signature_line(line: &str) -> Option<(&str, [u8; 4], Vec<u8>)> {
    let (name, encoded) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
    let bytes = STANDARD.decode(encoded).ok()?;
    let (id, signature) = bytes.split_first_chunk::<4>()?;
    (valid_name(name) && !signature.is_empty()).then(|| (name, *id, signature.to_vec()))
}

/// What a log says of itself at one moment: its name, its size, its root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name.
    pub origin: String,
    /// Number of leaves.
    pub size: u64,
    /// Root over them.
    pub root: Hash,
}

impl Checkpoint {
    /// The text that is signed.
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root))
    }

    /// Reads a checkpoint's text. Extension lines may follow, and are ignored.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let mut lines = text.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(NoteError::NoCheckpoint("it has fewer than three lines"));
        };
        if origin.is_empty() || lines.next_back() != Some("") || lines.any(str::is_empty) {
            return Err(NoteError::NoCheckpoint("a line is empty"));
        }
        let canonical = !size.is_empty() && (size == "0" || !size.starts_with('0'));
        let digits = size.bytes().all(|b| b.is_ascii_digit());
        let size = size.parse().ok().filter(|_| canonical && digits);
        let size = size.ok_or(NoteError::NoCheckpoint("its second line is no tree size"))?;
        let root = STANDARD.decode(root).ok().and_then(|root| root.try_into().ok());
        let root = root.ok_or(NoteError::NoCheckpoint("its third line is no root hash"))?;
        Ok(Self { origin: origin.to_owned(), size, root })
    }

    /// Reads a signed checkpoint and believes it if the log's key signed it and it names that log.
    pub fn open(note: &str, log: &VerifierKey) -> Result<Self, NoteError> {
        let checkpoint = Self::parse(Note::parse(note)?.verify(log)?)?;
        if checkpoint.origin != log.name {
            return Err(NoteError::OtherLog { expected: log.name.clone(), found: checkpoint.origin });
        }
        Ok(checkpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tradelane_keys::SecretBytes;

    fn signer(origin: &str, seed: u8) -> Signer {
        Signer::new(origin, SigningKey::from_seed(&SecretBytes::new([seed; 32]))).unwrap()
    }

    fn checkpoint() -> Checkpoint {
        Checkpoint { origin: "hub.example/audit".into(), size: 42, root: [9; 32] }
    }

    #[test]
    fn a_signed_checkpoint_opens_with_the_logs_key_and_no_other() {
        let log = signer("hub.example/audit", 1);
        let note = log.sign(&checkpoint().text());
        assert_eq!(Checkpoint::open(&note, log.public()).unwrap(), checkpoint());
        let other = signer("hub.example/audit", 2);
        assert!(matches!(Checkpoint::open(&note, other.public()), Err(NoteError::Unsigned(_))));
        let changed = note.replacen("42", "43", 1);
        assert!(matches!(Checkpoint::open(&changed, log.public()), Err(NoteError::BadSignature(_))));
        let elsewhere = log.sign(&Checkpoint { origin: "other".into(), ..checkpoint() }.text());
        assert!(matches!(Checkpoint::open(&elsewhere, log.public()), Err(NoteError::OtherLog { .. })));
    }

    #[test]
    fn a_verifier_key_reads_back_as_it_was_printed() {
        let key = signer("hub.example/audit", 1).public().clone();
        assert_eq!(key.to_string().parse::<VerifierKey>().unwrap(), key);
        let wrong = key.to_string().replacen('+', "x+", 1);
        assert_eq!(wrong.parse::<VerifierKey>(), Err(NoteError::BadKey));
    }

    #[test]
    fn the_go_checksum_databases_key_reads() {
        // The public key of sum.golang.org, as its documentation prints it.
        let key = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";
        assert_eq!(key.parse::<VerifierKey>().unwrap().to_string(), key);
    }

    #[test]
    fn a_witness_line_is_kept_beside_the_logs_and_verifies() {
        let log = signer("hub.example/audit", 1);
        let witness = SigningKey::from_seed(&SecretBytes::new([7; 32]));
        let text = checkpoint().text();
        let line = cosign("witness.example", &witness, 1_700_000_000, &text).unwrap();
        let note = format!("{}{line}", log.sign(&text));
        assert_eq!(Checkpoint::open(&note, log.public()).unwrap(), checkpoint());
        let key = VerifierKey::of_witness("witness.example", witness.public_key()).unwrap();
        assert_eq!(Note::parse(&note).unwrap().verify(&key).unwrap(), text);
        let later = note.replace("hub.example/audit\n42", "hub.example/audit\n44");
        assert!(Note::parse(&later).unwrap().verify(&key).is_err());
    }

    #[test]
    fn what_is_no_note_is_refused() {
        for text in [
            "",
            "\n\n",
            "a\n",
            "a\n\n",
            "a\n\nb\n",
            "a\n\n\u{2014} n !!\n",
            "a\n\n\u{2014} n AAAAAA==",
            "a\r\n\n\u{2014} n AAAAAAA=\n",
        ] {
            assert!(Note::parse(text).is_err(), "{text:?}");
        }
        for text in ["", "a\n", "a\n1\n", "a\n01\nAAAA\n", "a\n+1\nAAAA\n", "a\n1\nAAAA\n"] {
            assert!(Checkpoint::parse(text).is_err(), "{text:?}");
        }
    }
}
