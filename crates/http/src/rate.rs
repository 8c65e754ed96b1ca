//! Token buckets: so many requests a second, so many at once. In memory, one set per kind of key; time comes in.
//!
//! A bucket is two numbers. A set holds one bucket per key that was seen lately and forgets full ones first, so that a
//! flood of new keys costs bounded memory. It knows nothing of requests.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::config::Rate;

/// The most keys that one set remembers.
const MAX_KEYS: usize = 65_536;

/// What a bucket says of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// May it pass?
    pub(crate) allowed: bool,
    /// Requests that are left right now.
    pub(crate) remaining: u32,
    /// Seconds until there is one more (if none is left), rounded up.
    pub(crate) reset: u32,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Duration,
}

impl Bucket {
    fn refill(&mut self, rate: &Rate, now: Duration) {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.tokens = (self.tokens + passed * rate.per_second).min(f64::from(rate.burst));
        self.at = self.at.max(now);
    }
}

/// Buckets of one rate, by key.
#[derive(Debug)]
pub(crate) struct Buckets<K> {
    rate: Rate,
    buckets: Mutex<HashMap<K, Bucket>>,
}

impl<K: Hash + Eq + Clone> Buckets<K> {
    pub(crate) fn new(rate: Rate) -> Self {
        Self { rate, buckets: Mutex::new(HashMap::new()) }
    }

    /// The rate that all of them keep.
    pub(crate) fn rate(&self) -> Rate {
        self.rate
    }

    /// Takes one token at `now`, a time since some fixed start.
    pub(crate) fn take(&self, key: &K, now: Duration) -> Verdict {
        self.with(key, now, |bucket| {
            let allowed = bucket.tokens >= 1.0;
            bucket.tokens -= f64::from(u8::from(allowed));
            allowed
        })
    }

    /// Is there a token, without taking it?
    pub(crate) fn peek(&self, key: &K, now: Duration) -> Verdict {
        self.with(key, now, |bucket| bucket.tokens >= 1.0)
    }

    fn with(&self, key: &K, now: Duration, decide: impl FnOnce(&mut Bucket) -> bool) -> Verdict {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MAX_KEYS && !buckets.contains_key(key) {
            make_room(&mut buckets, &self.rate, now);
        }
        let full = Bucket { tokens: f64::from(self.rate.burst), at: now };
        let bucket = buckets.entry(key.clone()).or_insert(full);
        bucket.refill(&self.rate, now);
        let allowed = decide(bucket);
        let missing = (1.0 - bucket.tokens).max(0.0) / self.rate.per_second;
        // Floats saturate when cast; a bucket never holds more than its burst.
        Verdict { allowed, remaining: bucket.tokens as u32, reset: missing.ceil() as u32 }
    }
}

/// A full bucket is worth as much as none. If none is full, the fuller half goes (what was used least), so that a flood
/// of new keys pays for this once in a while and not each time.
fn make_room<K: Hash + Eq + Clone>(buckets: &mut HashMap<K, Bucket>, rate: &Rate, now: Duration) {
    buckets.retain(|_, bucket| {
        bucket.refill(rate, now);
        bucket.tokens < f64::from(rate.burst)
    });
    if buckets.len() < MAX_KEYS {
        return;
    }
    let mut fullness: Vec<f64> = buckets.values().map(|bucket| bucket.tokens).collect();
    let middle = fullness.len() / 2;
    let (_, middle, _) = fullness.select_nth_unstable_by(middle, f64::total_cmp);
    let middle = *middle;
    buckets.retain(|_, bucket| bucket.tokens < middle);
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: 2.0, burst: 3 };

    #[test]
    fn a_burst_passes_and_then_the_steady_rate_holds() {
        let buckets = Buckets::new(RATE);
        let start = Duration::from_secs(5);
        let left: Vec<u32> = (0..3).map(|_| buckets.take(&"a", start).remaining).collect();
        assert_eq!(left, [2, 1, 0]);
        assert_eq!(buckets.take(&"a", start), Verdict { allowed: false, remaining: 0, reset: 1 });
        assert!(buckets.take(&"b", start).allowed, "another key has its own bucket");
        assert!(buckets.take(&"a", start + Duration::from_millis(500)).allowed);
        assert!(!buckets.take(&"a", start + Duration::from_millis(600)).allowed);
        let later = start + Duration::from_secs(3_600);
        assert_eq!(buckets.take(&"a", later).remaining, 2, "it never holds more than its burst");
    }

    #[test]
    fn time_that_runs_backwards_gives_nothing() {
        let buckets = Buckets::new(RATE);
        let now = Duration::from_secs(10);
        (0..3).for_each(|_| assert!(buckets.take(&1, now).allowed));
        assert!(!buckets.take(&1, Duration::from_secs(1)).allowed);
    }

    #[test]
    fn a_flood_of_keys_is_held_in_bounded_memory() {
        let buckets = Buckets::new(RATE);
        for key in 0..200_000u32 {
            buckets.take(&key, Duration::ZERO);
        }
        assert!(buckets.buckets.lock().unwrap().len() <= MAX_KEYS);
    }
}
