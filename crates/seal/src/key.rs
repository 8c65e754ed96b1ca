//! The keys that sealing and opening need, as the hub hands them in.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tradelane_keys::{AeadKey, Nonce, SecretBytes, hkdf};

use crate::subject::SubjectTag;

/// The key of one subject, or a product's own key for what belongs to nobody. Destroying it destroys what it sealed.
pub struct DataKey {
    id: u64,
    secret: SecretBytes<32>,
    schedule: Option<Box<AeadKey>>,
}

impl DataKey {
    /// A key kept as its 32 bytes: right for the many keys of subjects.
    pub fn new(id: u64, secret: SecretBytes<32>) -> Self {
        Self { id, secret, schedule: None }
    }

    /// A key with its schedule computed (0.7 KiB more): right for the few keys that are used all the time.
    pub fn with_schedule(id: u64, secret: SecretBytes<32>) -> Self {
        let schedule = Some(Box::new(Self::cipher(&secret)));
        Self { id, secret, schedule }
    }

    /// Its id in the key store.
    pub fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn secret(&self) -> &SecretBytes<32> {
        &self.secret
    }

    pub(crate) fn with_cipher<R>(&self, work: impl FnOnce(&AeadKey) -> R) -> R {
        match &self.schedule {
            Some(cipher) => work(cipher),
            None => work(&Self::cipher(&self.secret)),
        }
    }

    fn cipher(secret: &SecretBytes<32>) -> AeadKey {
        AeadKey::new(secret)
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DataKey({})", self.id)
    }
}

/// What became of a data key.
#[derive(Debug, Clone)]
pub enum DataKeyState {
    /// It is there.
    Live(Arc<DataKey>),
    /// It was destroyed: what it sealed is gone, and renders as if it were dropped.
    Destroyed,
    /// Nothing is known of it: the record is withheld.
    Missing,
}

/// Keys for sealing. The hub has made sure that they exist durably before it calls.
pub trait SealingKeys {
    /// The key of a subject that [`Located::subjects`](crate::Located::subjects) named.
    fn subject_key(&self, subject: &SubjectTag) -> Option<Arc<DataKey>>;
    /// The product's own key, for what belongs to no subject.
    fn default_key(&self) -> Option<Arc<DataKey>>;
}

/// Keys for opening.
pub trait OpeningKeys {
    /// The key of a log, by its id.
    fn log_key(&self, id: u64) -> Option<Arc<AeadKey>>;
    /// A data key, by its id.
    fn data_key(&self, id: u64) -> DataKeyState;
}

/// Events that one log key may seal.
const LOG_KEY_CAP: u64 = 1 << 32;

/// The key under which one run of one process seals skeletons. Its nonces are counted from 0, so the same secret must
/// never be given to a second `LogKey`: a process makes a fresh one at each start, keeps it wrapped for opening, and
/// makes another when this one is used up.
pub struct LogKey {
    id: u64,
    cipher: Arc<AeadKey>,
    salts: AeadKey,
    next: AtomicU64,
}

impl LogKey {
    /// Takes a secret that was drawn for this purpose just now.
    pub fn new(id: u64, fresh: &SecretBytes<32>) -> Self {
        let salts = AeadKey::new(&hkdf(fresh.expose(), &[b"tradelane/log-key/v1", b"salts"]));
        Self { id, cipher: Arc::new(Self::opening_cipher(fresh)), salts, next: AtomicU64::new(0) }
    }

    /// What [`OpeningKeys::log_key`] answers for the stored secret of a log key.
    pub fn opening_cipher(secret: &SecretBytes<32>) -> AeadKey {
        AeadKey::new(secret)
    }

    /// The same for this key itself.
    pub fn opening(&self) -> Arc<AeadKey> {
        Arc::clone(&self.cipher)
    }

    /// Its id in the key store.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Events sealed so far; make a new key well before 2^32.
    pub fn used(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    /// The next unused counter; `None` when the key is used up.
    pub(crate) fn take(&self) -> Option<u64> {
        let taken = self.next.fetch_add(1, Ordering::Relaxed);
        if taken < LOG_KEY_CAP {
            return Some(taken);
        }
        // Stay at the cap, however often this is called.
        self.next.store(LOG_KEY_CAP, Ordering::Relaxed);
        None
    }

    pub(crate) fn cipher(&self) -> &AeadKey {
        &self.cipher
    }

    /// The salt of an event: 96 bits of AES key stream under a key of their own at this counter, which no one can tell
    /// from random bits, without a lock or a system call.
    pub(crate) fn salt(&self, counter: u64) -> Nonce {
        let mut salt = [0; 12];
        self.salts.seal_in_place_detached(&counter_nonce(counter), &[], &mut salt);
        salt
    }
}

impl fmt::Debug for LogKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogKey({})", self.id)
    }
}

/// A counter as a nonce: little endian, then four zero bytes.
pub(crate) fn counter_nonce(counter: u64) -> Nonce {
    let mut nonce = [0; 12];
    let (low, _) = nonce.split_at_mut(8);
    low.copy_from_slice(&counter.to_le_bytes());
    nonce
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_key_never_gives_a_counter_twice_and_stops_at_its_cap() {
        let key = LogKey::new(1, &SecretBytes::random());
        assert_eq!((key.take(), key.take()), (Some(0), Some(1)));
        assert_ne!(key.salt(0), key.salt(1));
        key.next.store(LOG_KEY_CAP - 1, Ordering::Relaxed);
        assert_eq!(key.take(), Some(LOG_KEY_CAP - 1));
        assert_eq!(key.take(), None);
        assert_eq!(key.take(), None);
    }
}
