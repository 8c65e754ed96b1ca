//! The quarantine of a product in the state that all nodes share: who puts something there finds a free place, and who reads
//! finds everything in the order of its places. It knows nothing of requests and products.

use tradelane_keys::AtRest;
use tradelane_model::{Timestamp, codes};
use tradelane_storage::Put;

use super::{Bundle, Entries, KEPT_SECONDS, MAX_TOGETHER, QuarantinedEvent};
use crate::error::{HubError, Result};
use crate::state::Space;

/// A bundle has that many places, from a multiple of it on, however few entries are in it: no two have one in common.
const PLACES: u64 = MAX_TOGETHER as u64;
/// How many steps are taken for a free place. The last one leads 12 days on, within the time that entries are kept.
const STEPS: u32 = 30;
/// How many bundles are read at once.
const PAGE: usize = 8;

/// The quarantine of one product.
pub(super) struct Shared<'a> {
    pub(super) space: &'a Space,
    /// What the keys of its bundles begin with, before the place of the first entry (u64): the product, a NUL, its number.
    pub(super) prefix: Vec<u8>,
    pub(super) key: AtRest,
}

impl Shared<'_> {
    /// Puts down a bundle; once, however often the same one comes with the same start. Its place is that time in
    /// microseconds, and so many bundles on; or a later one that is free. What was set aside in bulk takes the places of many
    /// moments, so the steps double: few places are tried, however many are taken.
    pub(super) async fn put(&self, bundle: &Bundle, (start, nth): (Timestamp, u64), now: Timestamp) -> Result<()> {
        let expires = now.plus_seconds(KEPT_SECONDS);
        let plain = bundle.encoded()?;
        let mut at = (u64::try_from(start.0).unwrap_or(0) / PLACES).saturating_add(nth);
        for step in 0..STEPS {
            let place = at.saturating_mul(PLACES);
            let key = self.key_of(place);
            let sealed = self.key.seal_blob(&key, &plain).into();
            match self.space.put_if_absent(&key, sealed, expires, now).await? {
                Put::Stored(_) => return Ok(()),
                Put::Exists(entry) if bundle.id.is_some() => {
                    if Bundle::open(&self.key, &key, &entry.value, place)?.id == bundle.id {
                        return Ok(());
                    }
                }
                Put::Exists(_) => {}
            }
            at = at.saturating_add(1 << step);
        }
        Err(HubError::of(codes::STORAGE_UNAVAILABLE).because("no free place in the quarantine"))
    }

    /// Entries from that place on, oldest first.
    pub(super) async fn from(&self, from: u64, max: usize, now: Timestamp) -> Result<Vec<QuarantinedEvent>> {
        // The bundle that holds the place may begin before it.
        let mut after = match (from / PLACES * PLACES).checked_sub(1) {
            None => self.prefix.clone(),
            Some(before) => self.key_of(before),
        };
        let mut entries = Entries::new(max);
        loop {
            let page = self.space.list(&after, PAGE, now).await?;
            let is_last = page.len() < PAGE;
            for (key, kept) in page {
                let place = key.strip_prefix(&*self.prefix).and_then(|place| place.try_into().ok());
                let Some(place) = place.map(u64::from_be_bytes).filter(|_| !entries.is_full()) else {
                    return Ok(entries.all);
                };
                entries.take(Bundle::open(&self.key, &key, &kept.value, place)?, from);
                after = key.to_vec();
            }
            if is_last {
                return Ok(entries.all);
            }
        }
    }

    fn key_of(&self, place: u64) -> Vec<u8> {
        [&*self.prefix, &place.to_be_bytes()].concat()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::future::join_all;
    use tradelane_keys::SecretBytes;
    use tradelane_storage::sqlite::SqliteControl;

    use super::*;
    use crate::state::Spaces;

    const NOW: Timestamp = Timestamp(1_800_000_000_000_000);
    const PREFIX: &[u8] = b"orders\0\0\0\0\0\0\0\0\x07";

    /// The state of all nodes.
    struct State {
        spaces: Spaces,
        _folder: tempfile::TempDir,
    }

    impl State {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("control.db");
            let control = SqliteControl::open(&path, &SecretBytes::new([1; 32])).unwrap();
            Self { spaces: Spaces::new(Arc::new(control)), _folder: folder }
        }

        /// As one node has it.
        fn node(&self) -> Shared<'_> {
            Shared {
                space: &self.spaces.quarantine,
                prefix: PREFIX.to_vec(),
                key: AtRest::new(&SecretBytes::new([2; 32])),
            }
        }
    }

    fn bundle(id: Option<u8>, events: &[&str]) -> Bundle {
        let entry = |event: &&str| QuarantinedEvent {
            offset: 0,
            time: NOW,
            code: "TL-1001".into(),
            places: Vec::new(),
            record: None,
            partition: None,
            event: Some((*event).to_owned()),
        };
        Bundle { id: id.map(|id| [id; 32]), entries: events.iter().map(entry).collect() }
    }

    fn first() -> u64 {
        NOW.0 as u64 / PLACES
    }

    /// Places in moments after the first, and events.
    async fn kept(node: &Shared<'_>) -> Vec<(u64, String)> {
        let entries = node.from(0, usize::MAX, NOW).await.unwrap();
        entries.into_iter().map(|entry| (entry.offset / PLACES - first(), entry.event.unwrap())).collect()
    }

    #[tokio::test]
    async fn the_steps_to_a_free_place_double_and_a_full_quarantine_refuses_and_keeps_what_it_has() {
        let state = State::new();
        let node = state.node();
        let mut expected = Vec::new();
        for step in 0..STEPS {
            let name = step.to_string();
            node.put(&bundle(None, &[&name]), (NOW, 0), NOW).await.unwrap();
            expected.push(((1 << step) - 1, name));
            assert_eq!(kept(&node).await, expected);
        }
        let last = NOW.plus_seconds(KEPT_SECONDS).0 as u64 / PLACES - first();
        assert!(expected.last().unwrap().0 < last, "within the time that entries are kept");
        let refused = node.put(&bundle(None, &["one more"]), (NOW, 0), NOW).await.unwrap_err();
        assert_eq!(refused.code, codes::STORAGE_UNAVAILABLE);
        assert_eq!(kept(&node).await, expected);
        node.put(&bundle(None, &["beside"]), (NOW, 2), NOW).await.expect("other moments are free");
        assert!(kept(&node).await.contains(&(2, "beside".into())));
        let later = NOW.plus_seconds(KEPT_SECONDS);
        node.put(&bundle(None, &["later"]), (NOW, 0), later).await.expect("what expired is in nobody's way");
        assert_eq!(node.from(0, 10, later).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn where_hundreds_of_moments_are_taken_few_places_are_tried() {
        let state = State::new();
        let node = state.node();
        let bulk: Vec<Bundle> = (0..300).map(|_| bundle(None, &["bulk"])).collect();
        join_all((0..).zip(&bulk).map(|(nth, bulk)| node.put(bulk, (NOW, nth), NOW))).await;
        node.put(&bundle(None, &["after"]), (NOW, 0), NOW).await.unwrap();
        let kept = kept(&node).await;
        assert_eq!((kept.len(), kept.last().unwrap().clone()), (301, (511, "after".into())));
    }

    #[tokio::test]
    async fn of_nodes_that_race_for_one_moment_each_finds_a_place_of_its_own() {
        let state = State::new();
        let (a, b) = (state.node(), state.node());
        let names: Vec<String> = (0..16).map(|n| n.to_string()).collect();
        let bundles: Vec<Bundle> = names.iter().map(|name| bundle(None, &[name, name])).collect();
        let nodes = [&a, &b].into_iter().cycle();
        let put = join_all(nodes.zip(&bundles).map(|(node, bundle)| node.put(bundle, (NOW, 0), NOW))).await;
        assert!(put.into_iter().all(|put| put.is_ok()));
        let mut events: Vec<String> = kept(&a).await.into_iter().map(|(_, event)| event).collect();
        let mut twice = [names.clone(), names].concat();
        events.sort();
        twice.sort();
        assert_eq!(events, twice);
        let places: Vec<u64> = a.from(0, 100, NOW).await.unwrap().iter().map(|entry| entry.offset).collect();
        assert!(places.is_sorted_by(|a, b| a < b), "{places:?}");
    }

    #[tokio::test]
    async fn a_bundle_that_comes_again_is_there_once_whichever_node_it_comes_to_and_whoever_came_between() {
        let state = State::new();
        let (a, b) = (state.node(), state.node());
        let retried = bundle(Some(1), &["retried"]);
        a.put(&bundle(Some(2), &["before"]), (NOW, 0), NOW).await.unwrap();
        let racing = join_all([&a, &b].map(|node| node.put(&retried, (NOW, 0), NOW))).await;
        assert!(racing.into_iter().all(|put| put.is_ok()));
        a.put(&bundle(None, &["after"]), (NOW, 0), NOW).await.unwrap();
        b.put(&retried, (NOW, 0), NOW.plus_seconds(9)).await.unwrap();
        let expected = [(0, "before"), (1, "retried"), (3, "after")].map(|(at, event)| (at, event.to_owned()));
        assert_eq!(kept(&b).await, expected);
    }

    #[tokio::test]
    async fn a_reader_begins_and_ends_within_a_bundle_and_finds_entries_from_before_there_were_bundles() {
        let state = State::new();
        let node = state.node();
        let old = first() * PLACES - 5;
        let plain = serde_json::to_vec(&bundle(None, &["old"]).entries[0]).unwrap();
        let key = node.key_of(old);
        let sealed = node.key.seal_blob(&key, &plain).into();
        node.space.put_if_absent(&key, sealed, Timestamp::MAX, NOW).await.unwrap();
        node.put(&bundle(None, &["a", "b", "c"]), (NOW, 0), NOW).await.unwrap();
        for nth in 1..2 * PAGE as u64 {
            node.put(&bundle(None, &["d"]), (NOW, nth), NOW).await.unwrap();
        }
        let mut other = state.node();
        *other.prefix.last_mut().unwrap() += 1;
        other.put(&bundle(None, &["of another product"]), (NOW, 0), NOW).await.unwrap();
        let all = node.from(0, 100, NOW).await.unwrap();
        let start = first() * PLACES;
        let places: Vec<u64> = all.iter().map(|entry| entry.offset).collect();
        assert_eq!(places[..5], [old, start, start + 1, start + 2, start + PLACES]);
        assert_eq!(places.len(), 3 + 2 * PAGE);
        for from in 0..places.len() {
            for max in [1, 2, 5, 100] {
                let page = node.from(places[from], max, NOW).await.unwrap();
                let page: Vec<u64> = page.iter().map(|entry| entry.offset).collect();
                assert_eq!(page, places[from..places.len().min(from + max)]);
            }
        }
    }
}
