//! Token buckets: so many requests a second, so many at once. In memory, one set per kind of key; time comes in.
//!
//! A bucket is two numbers. A set holds one bucket per key that was seen lately and forgets full ones first, so that a
//! flood of new keys costs bounded memory. It knows nothing of requests.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A steady rate and how far it may be ahead of itself. What is counted (requests, bytes) is the listener's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Of them, a second.
    pub per_second: f64,
    /// Of them, at once.
    pub burst: u32,
}

/// The most keys that one set remembers.
const MAX_KEYS: usize = 65_536;

/// What a bucket says of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// May it pass?
    pub allowed: bool,
    /// Requests that are left right now.
    pub remaining: u32,
    /// Seconds until there is one more (if none is left), rounded up.
    pub reset: u32,
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
pub struct Buckets<K> {
    rate: Rate,
    buckets: Mutex<HashMap<K, Bucket>>,
}

impl<K: Hash + Eq + Clone> Buckets<K> {
    /// Full buckets of that rate.
    pub fn new(rate: Rate) -> Self {
        Self { rate, buckets: Mutex::new(HashMap::new()) }
    }

    /// The rate that all of them keep.
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// Takes one token at `now`, a time since some fixed start.
    pub fn take(&self, key: &K, now: Duration) -> Verdict {
        self.with(key, now, |bucket| {
            let allowed = bucket.tokens >= 1.0;
            bucket.tokens -= f64::from(u8::from(allowed));
            allowed
        })
    }

    /// Is there a token, without taking it?
    pub fn peek(&self, key: &K, now: Duration) -> Verdict {
        self.with(key, now, |bucket| bucket.tokens >= 1.0)
    }

    /// Takes `amount` whether it is there or not, and says how long the caller has to be quiet until the debt is paid.
    /// A debt is at most a minute's worth, whatever was taken.
    pub fn charge(&self, key: &K, amount: f64, now: Duration) -> Duration {
        let mut debt = 0.0;
        self.with(key, now, |bucket| {
            bucket.tokens = (bucket.tokens - amount).max(-60.0 * self.rate.per_second);
            debt = (-bucket.tokens).max(0.0);
            debt == 0.0
        });
        Duration::try_from_secs_f64(debt / self.rate.per_second).unwrap_or_default()
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
    fn a_charge_beyond_what_is_there_is_paid_by_waiting() {
        let buckets = Buckets::new(RATE);
        assert_eq!(buckets.charge(&"a", 3.0, Duration::ZERO), Duration::ZERO);
        assert_eq!(buckets.charge(&"a", 4.0, Duration::ZERO), Duration::from_secs(2));
        assert_eq!(buckets.charge(&"a", 0.0, Duration::from_secs(1)), Duration::from_secs(1));
        assert_eq!(buckets.charge(&"a", 1e12, Duration::from_secs(2)), Duration::from_secs(60), "no debt is for life");
        assert_eq!(buckets.charge(&"b", 1.0, Duration::from_secs(2)), Duration::ZERO, "others have their own");
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
