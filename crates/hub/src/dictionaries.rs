//! Dictionaries with which events of a product are compressed: learned from its own events, stored once, never changed.
//!
//! A node gathers what is public in events as they are published, for each product and contract revision, until there is
//! enough to train a dictionary. It is stored under the next free number of the product before any event is sealed with it;
//! of several nodes the first one's is everybody's. It is never deleted: events that name it may lie in a cluster for as long
//! as the cluster likes. A revision of the contract learns anew, so that what it restricts is in no dictionary that it uses.
//! `docs/formats/sealed-event.md` has the form; what is public in an event is for `seal` to say.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use quick_cache::sync::Cache;
use tradelane_model::{Compression, Timestamp, codes};
use tradelane_seal::{Dictionary, Located, MAX_DICTIONARY, Packing, ProductContext, SealError};
use tradelane_storage::Put;

use crate::error::{HubError, Result};
use crate::keyring::BatchKeys;
use crate::state::Space;
use crate::views::CompiledContract;

/// The version of their stored form.
const VERSION: u8 = 1;
/// Enough to learn from: so many events, or so many bytes of at least [`FEWEST`] events.
const ENOUGH_EVENTS: usize = 1_000;
const ENOUGH_BYTES: usize = 1 << 20;
const FEWEST: usize = 64;
/// The most bytes of one event that are learned from.
const MAX_SAMPLE: usize = 16 << 10;
/// The most dictionaries of a product. Later revisions do without.
const MAX_NUMBER: u32 = 255;

/// Public parts of events, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    bytes: Vec<u8>,
    sizes: Vec<usize>,
}

impl Samples {
    /// Ends the sample that was written, which began at `start`.
    fn end(&mut self, start: usize) {
        self.bytes.truncate(start + MAX_SAMPLE);
        let len = self.bytes.len() - start;
        if len > 0 {
            self.sizes.push(len);
        }
    }

    fn add(&mut self, more: &Self) {
        self.bytes.extend_from_slice(&more.bytes);
        self.sizes.extend_from_slice(&more.sizes);
    }

    fn is_enough(&self) -> bool {
        self.sizes.len() >= ENOUGH_EVENTS || (self.bytes.len() >= ENOUGH_BYTES && self.sizes.len() >= FEWEST)
    }
}

/// How the events of a batch are packed; by default not at all.
#[derive(Debug, Default)]
pub(crate) struct BatchPacking(Option<Packed>);

#[derive(Debug)]
struct Packed {
    dictionary: Option<Arc<Dictionary>>,
    lesson: Option<Lesson>,
    /// The contract revision that this is for: events that another one cut are compressed each by itself.
    revision: u32,
}

/// What may be learned from a batch once it is stored.
#[derive(Debug)]
pub(crate) struct Lesson {
    product: ProductContext,
    /// Of the contract's text.
    contract: [u8; 32],
    samples: Samples,
}

impl BatchPacking {
    /// Seals an event that this contract revision cut.
    pub(crate) fn seal(
        &mut self,
        revision: u32,
        located: &Located<'_>,
        product: &ProductContext,
        keys: &BatchKeys,
        out: &mut Vec<u8>,
    ) -> std::result::Result<(), SealError> {
        let Some(packed) = &mut self.0 else { return located.seal(product, &keys.log_key, keys, out) };
        let mut packing = Packing::default();
        let mut samples = None;
        if revision == packed.revision {
            packing.dictionary = packed.dictionary.as_deref();
            samples = packed.lesson.as_mut().map(|lesson| &mut lesson.samples);
        }
        let Some(samples) = samples.filter(|samples| !samples.is_enough()) else {
            return located.seal_packed(product, &keys.log_key, keys, packing, out);
        };
        let start = samples.bytes.len();
        packing.sample = Some(&mut samples.bytes);
        let sealed = located.seal_packed(product, &keys.log_key, keys, packing, out);
        samples.end(start);
        sealed
    }

    /// Will something be learned from the batch?
    pub(crate) fn learns(&self) -> bool {
        self.0.as_ref().is_some_and(|packed| packed.lesson.is_some())
    }

    /// The same for another part of the batch, from which nothing is learned.
    pub(crate) fn again(&self) -> Self {
        let packed = |packed: &Packed| Packed { dictionary: packed.dictionary.clone(), lesson: None, ..*packed };
        Self(self.0.as_ref().map(packed))
    }

    /// What may be learned from the batch, if anything.
    pub(crate) fn lesson(self) -> Option<Lesson> {
        self.0?.lesson.filter(|lesson| !lesson.samples.sizes.is_empty())
    }
}

/// A product's dictionaries, as this node knows them.
#[derive(Debug, Default)]
struct Known {
    /// The highest number that is taken.
    highest: u32,
    /// By the digest of the contract whose events they were learned from.
    by_contract: HashMap<[u8; 32], Arc<Dictionary>>,
    /// What is being learned from, and for which contract.
    learning: Option<([u8; 32], Samples)>,
    /// A dictionary is being trained.
    is_training: bool,
}

/// All dictionaries.
pub(crate) struct Dictionaries {
    kept: Space,
    by_number: Cache<(ProductContext, u32), Arc<Dictionary>>,
    products: Mutex<HashMap<ProductContext, Known>>,
}

impl Dictionaries {
    pub(crate) fn new(kept: Space) -> Self {
        Self { kept, by_number: Cache::new(1_000), products: Mutex::default() }
    }

    fn products(&self) -> MutexGuard<'_, HashMap<ProductContext, Known>> {
        self.products.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many there are that this node compresses with.
    pub(crate) fn in_use(&self) -> u64 {
        self.products().values().map(|known| known.by_contract.len() as u64).sum()
    }

    /// How a batch that this contract cuts for its product is to be packed.
    pub(crate) async fn packing(
        &self,
        compiled: &CompiledContract,
        compression: Compression,
        now: Timestamp,
    ) -> Result<BatchPacking> {
        let CompiledContract { product, revision, digest: contract, .. } = compiled;
        let (revision, contract) = (*revision, *contract);
        let by_itself = Packed { dictionary: None, lesson: None, revision };
        match compression {
            Compression::None => return Ok(BatchPacking::default()),
            Compression::Event => return Ok(BatchPacking(Some(by_itself))),
            Compression::Dictionary => {}
        }
        if !self.products().contains_key(product) {
            self.load(product, now).await?;
        }
        let products = self.products();
        let Some(known) = products.get(product) else { return Ok(BatchPacking(Some(by_itself))) };
        let dictionary = known.by_contract.get(&contract).cloned();
        let learns = dictionary.is_none() && !known.is_training && known.highest < MAX_NUMBER;
        let lesson = learns.then(|| Lesson { product: product.clone(), contract, samples: Samples::default() });
        Ok(BatchPacking(Some(Packed { dictionary, lesson, revision })))
    }

    /// Reads what is stored for a product.
    async fn load(&self, product: &ProductContext, now: Timestamp) -> Result<()> {
        let mut known = Known::default();
        for number in 1..=MAX_NUMBER {
            let Some(entry) = self.kept.get(&place(product, number), now).await? else { break };
            let (contract, dictionary) = read(number, &entry.value)?;
            known.highest = number;
            known.by_contract.insert(contract, self.keep(product, dictionary));
        }
        self.products().entry(product.clone()).or_insert(known);
        Ok(())
    }

    fn keep(&self, product: &ProductContext, dictionary: Dictionary) -> Arc<Dictionary> {
        let dictionary = Arc::new(dictionary);
        self.by_number.insert((product.clone(), dictionary.number()), dictionary.clone());
        dictionary
    }

    /// Learns from a batch that was stored. When there is enough, a dictionary is trained beside all else.
    pub(crate) fn learn(self: &Arc<Self>, lesson: Lesson, now: Timestamp) {
        let Lesson { product, contract, samples: more } = lesson;
        let samples = {
            let mut products = self.products();
            let Some(known) = products.get_mut(&product) else { return };
            if known.is_training || known.by_contract.contains_key(&contract) {
                return;
            }
            let learning = known.learning.take().filter(|(of, _)| *of == contract);
            let mut samples = learning.map_or_else(Samples::default, |(_, samples)| samples);
            samples.add(&more);
            if !samples.is_enough() {
                known.learning = Some((contract, samples));
                return;
            }
            known.is_training = true;
            samples
        };
        let all = self.clone();
        tokio::spawn(async move {
            if let Err(error) = all.train(&product, contract, samples, now).await {
                tracing::warn!(code = %error.code, cause = error.cause, "no dictionary could be made of events");
            }
            if let Some(known) = all.products().get_mut(&product) {
                known.is_training = false;
            }
        });
    }

    /// Trains a dictionary and stores it; or takes the one that another node stored for the same contract.
    async fn train(
        &self,
        product: &ProductContext,
        contract: [u8; 32],
        samples: Samples,
        now: Timestamp,
    ) -> Result<()> {
        let work = move || Dictionary::train(&samples.bytes, &samples.sizes);
        let trained = tokio::task::spawn_blocking(work).await;
        let trained = trained.map_err(|error| HubError::of(codes::INTERNAL).because(error))?;
        // Events that have nothing in common need none; later ones may have.
        let Some(trained) = trained else { return Ok(()) };
        let value = Bytes::from([&[VERSION], contract.as_slice(), &trained].concat());
        loop {
            let number = self.products().get(product).map_or(0, |known| known.highest) + 1;
            if number > MAX_NUMBER {
                return Ok(());
            }
            let place = place(product, number);
            let put = self.kept.put_if_absent(&place, value.clone(), Timestamp::MAX, now).await?;
            let stored = match put {
                Put::Stored(_) => value.clone(),
                Put::Exists(entry) => entry.value,
            };
            let (of, dictionary) = read(number, &stored)?;
            let dictionary = self.keep(product, dictionary);
            if let Some(known) = self.products().get_mut(product) {
                known.highest = number;
                known.by_contract.insert(of, dictionary);
            }
            if of == contract {
                return Ok(());
            }
        }
    }

    /// Fetches a dictionary of a product, so that opening need not wait. One that is nowhere is still not there afterwards,
    /// and what needs it is withheld.
    pub(crate) async fn preload(&self, product: &ProductContext, number: u32, now: Timestamp) -> Result<()> {
        // What a damaged record claims is not looked for.
        if number <= MAX_NUMBER
            && self.get(product, number).is_none()
            && let Some(entry) = self.kept.get(&place(product, number), now).await?
        {
            let (_, dictionary) = read(number, &entry.value)?;
            self.keep(product, dictionary);
        }
        Ok(())
    }

    pub(crate) fn get(&self, product: &ProductContext, number: u32) -> Option<Arc<Dictionary>> {
        self.by_number.get(&(product.clone(), number))
    }
}

/// The key of a dictionary: what names its product, and its number.
fn place(product: &ProductContext, number: u32) -> Vec<u8> {
    [product.as_bytes().as_slice(), &number.to_be_bytes()].concat()
}

/// A stored dictionary, and the digest of the contract whose events it was learned from.
fn read(number: u32, value: &[u8]) -> Result<([u8; 32], Dictionary)> {
    let damaged = || HubError::of(codes::STORAGE_CORRUPT).because(format!("dictionary {number} cannot be read"));
    let (head, bytes) = value.split_first_chunk::<33>().ok_or_else(damaged)?;
    let [version, contract @ ..] = *head;
    if version != VERSION || bytes.len() > MAX_DICTIONARY {
        return Err(damaged());
    }
    let dictionary = Dictionary::new(number, bytes).ok_or_else(damaged)?;
    Ok((contract, dictionary))
}
