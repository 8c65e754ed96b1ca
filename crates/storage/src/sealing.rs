//! Encryption at rest: one key per store, from which each kind of value gets a key of its own. Every value is bound to
//! the place where it lies, so that a moved, swapped or flipped one is an error.

use tradelane_keys::{AtRest, SecretBytes, hkdf};

use crate::error::{Result, StorageError};

/// Derives the key of one kind of value.
pub(crate) fn derive(key: &SecretBytes<32>, kind: &str) -> AtRest {
    AtRest::new(&hkdf(key.expose(), &[b"tradelane/storage/1/", kind.as_bytes()]))
}

/// Opens a value, or says where the damage is.
pub(crate) fn open(at_rest: &AtRest, aad: &[u8], sealed: &[u8], place: impl FnOnce() -> String) -> Result<Vec<u8>> {
    at_rest.open_blob(aad, sealed).map_err(|_| StorageError::Corrupt { place: place() })
}

const CHECK: &[u8] = b"tradelane";

/// Tells, when a store is opened, whether the key is the one that it was created with.
pub(crate) struct KeyCheck(AtRest);

impl KeyCheck {
    pub(crate) fn new(key: &SecretBytes<32>) -> Self {
        Self(derive(key, "key-check"))
    }

    pub(crate) fn seal(&self) -> Vec<u8> {
        self.0.seal_blob(CHECK, CHECK)
    }

    pub(crate) fn verify(&self, sealed: &[u8], store: &str) -> Result<()> {
        match self.0.open_blob(CHECK, sealed) {
            Ok(plain) if plain == CHECK => Ok(()),
            _ => Err(StorageError::WrongKey { store: store.to_owned() }),
        }
    }
}

/// Seals the journal's events, each bound to its number.
pub(crate) struct JournalSeal(AtRest);

impl JournalSeal {
    pub(crate) fn new(key: &SecretBytes<32>) -> Self {
        Self(derive(key, "journal"))
    }

    pub(crate) fn seal(&self, seq: u64, event: &[u8]) -> Vec<u8> {
        self.0.seal_blob(&seq.to_be_bytes(), event)
    }

    pub(crate) fn open(&self, seq: u64, sealed: &[u8]) -> Result<Vec<u8>> {
        open(&self.0, &seq.to_be_bytes(), sealed, || format!("journal, event {seq}"))
    }
}

/// Seals keyed values, each bound to its space, key, version and expiry.
pub(crate) struct StateSeal(AtRest);

impl StateSeal {
    pub(crate) fn new(key: &SecretBytes<32>) -> Self {
        Self(derive(key, "keyed-state"))
    }

    fn place(space: &str, key: &[u8], version: i64, expires: i64) -> Vec<u8> {
        let mut aad = Vec::with_capacity(space.len() + key.len() + 20);
        aad.extend_from_slice(&(space.len() as u32).to_be_bytes());
        aad.extend_from_slice(space.as_bytes());
        aad.extend_from_slice(key);
        aad.extend_from_slice(&version.to_be_bytes());
        aad.extend_from_slice(&expires.to_be_bytes());
        aad
    }

    pub(crate) fn seal(&self, space: &str, key: &[u8], version: i64, expires: i64, value: &[u8]) -> Vec<u8> {
        self.0.seal_blob(&Self::place(space, key, version, expires), value)
    }

    pub(crate) fn open(&self, space: &str, key: &[u8], version: i64, expires: i64, sealed: &[u8]) -> Result<Vec<u8>> {
        open(&self.0, &Self::place(space, key, version, expires), sealed, || format!("keyed_state, space {space}"))
    }
}

/// Seals wrapped keys once more, each bound to its id, scope, tag and time.
pub(crate) struct KeySeal(AtRest);

impl KeySeal {
    pub(crate) fn new(key: &SecretBytes<32>) -> Self {
        Self(derive(key, "key-store"))
    }

    fn place(scope: &str, tag: &[u8; 32], id: i64, created: i64) -> Vec<u8> {
        let mut aad = Vec::with_capacity(scope.len() + 48);
        aad.extend_from_slice(tag);
        aad.extend_from_slice(&id.to_be_bytes());
        aad.extend_from_slice(&created.to_be_bytes());
        aad.extend_from_slice(scope.as_bytes());
        aad
    }

    pub(crate) fn seal(&self, scope: &str, tag: &[u8; 32], id: i64, created: i64, wrapped: &[u8]) -> Vec<u8> {
        self.0.seal_blob(&Self::place(scope, tag, id, created), wrapped)
    }

    pub(crate) fn open(&self, scope: &str, tag: &[u8; 32], id: i64, created: i64, sealed: &[u8]) -> Result<Vec<u8>> {
        open(&self.0, &Self::place(scope, tag, id, created), sealed, || format!("key, id {id}"))
    }
}
