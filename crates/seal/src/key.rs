//! The keys that sealing and opening need, as the hub hands them in.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tradelane_keys::{AeadKey, Nonce, SecretBytes, hkdf};

use crate::dictionary::Dictionary;
use crate::format::ProductContext;
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
    /// A dictionary of a product, by its number. Those who never have one have none.
    fn dictionary(&self, _product: &ProductContext, _number: u32) -> Option<Arc<Dictionary>> {
        None
    }
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
    /// The last block of salts: events that are sealed one after the other share it.
    drawn: Mutex<Option<SaltBlock>>,
    next: AtomicU64,
}

/// Salts of counters that follow each other.
struct SaltBlock {
    number: u64,
    salts: [Nonce; SALTS as usize],
}

/// Salts in a block.
const SALTS: u64 = 16;

impl LogKey {
    /// Takes a secret that was drawn for this purpose just now.
    pub fn new(id: u64, fresh: &SecretBytes<32>) -> Self {
        let salts = AeadKey::new(&hkdf(fresh.expose(), &[b"tradelane/log-key/v1", b"salts"]));
        Self {
            id,
            cipher: Arc::new(Self::opening_cipher(fresh)),
            salts,
            drawn: Mutex::new(None),
            next: AtomicU64::new(0),
        }
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

    /// The salt of an event: 96 bits of AES key stream under a key of their own, which no one can tell from random bits,
    /// without a system call. The nonce is the number of the counter's block, the place in the stream the counter's in
    /// its block: each counter has bits of its own, whichever thread asks.
    pub(crate) fn salt(&self, counter: u64) -> Nonce {
        let number = counter / SALTS;
        let mut drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        let block = match &*drawn {
            Some(block) if block.number == number => block,
            _ => drawn.insert(self.draw(number)),
        };
        block.salts.get((counter % SALTS) as usize).copied().expect("a remainder is within the block")
    }

    fn draw(&self, number: u64) -> SaltBlock {
        let mut salts = [[0; 12]; SALTS as usize];
        self.salts.seal_in_place_detached(&counter_nonce(number), &[], salts.as_flattened_mut());
        SaltBlock { number, salts }
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
    use std::collections::HashSet;

    #[test]
    fn a_log_key_never_gives_a_counter_twice_and_stops_at_its_cap() {
        let secret = SecretBytes::random();
        let key = LogKey::new(1, &secret);
        assert_eq!((key.take(), key.take()), (Some(0), Some(1)));
        let salts: HashSet<_> = (0..100).map(|counter| key.salt(counter)).collect();
        assert_eq!(salts.len(), 100);
        assert_eq!(key.salt(3), LogKey::new(2, &secret).salt(3), "a counter's salt is its own, in whatever order");
        key.next.store(LOG_KEY_CAP - 1, Ordering::Relaxed);
        assert_eq!(key.take(), Some(LOG_KEY_CAP - 1));
        assert_eq!(key.take(), None);
        assert_eq!(key.take(), None);
    }
}
