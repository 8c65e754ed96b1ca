//! Rules of [`KeyedState`].

use bytes::Bytes;
use tradelane_model::Timestamp;

use super::at;
use crate::StorageError;
use crate::keyed_state::{Entry, KeyedState, MAX_KEY, Put, Swap};

const ONE: Bytes = Bytes::from_static(b"one");
const TWO: Bytes = Bytes::from_static(b"two");

/// All rules of keyed state, on an empty store.
pub async fn keyed_state(state: &dyn KeyedState) {
    the_first_to_put_wins(state).await;
    what_expired_is_absent(state).await;
    a_swap_needs_the_version_that_is_there(state).await;
    a_version_never_comes_back(state).await;
    a_put_replaces_and_a_delete_removes(state).await;
    spaces_are_apart_and_listed_by_key(state).await;
    a_sweep_removes_only_what_expired(state).await;
    of_many_that_put_at_once_one_wins(state).await;
    what_is_out_of_bounds_is_refused(state).await;
}

async fn the_first_to_put_wins(state: &dyn KeyedState) {
    let Put::Stored(version) = state.put_if_absent("first", b"k", ONE, at(10), at(0)).await.unwrap() else {
        panic!("the space was empty")
    };
    let entry = Entry { value: ONE, version, expires: at(10) };
    assert_eq!(state.put_if_absent("first", b"k", TWO, at(20), at(1)).await, Ok(Put::Exists(entry.clone())));
    assert_eq!(state.get("first", b"k", at(9)).await, Ok(Some(entry)));
    assert_eq!(state.get("first", b"other", at(9)).await, Ok(None));
}

async fn what_expired_is_absent(state: &dyn KeyedState) {
    state.put("expiry", b"k", ONE, at(10)).await.unwrap();
    assert!(state.get("expiry", b"k", at(9)).await.unwrap().is_some());
    assert_eq!(state.get("expiry", b"k", at(10)).await, Ok(None));
    assert_eq!(state.list("expiry", b"", 10, at(10)).await, Ok(Vec::new()));
    assert_eq!(state.delete("expiry", b"k", at(10)).await, Ok(false));
    state.put("expiry", b"k", ONE, at(10)).await.unwrap();
    assert!(matches!(state.put_if_absent("expiry", b"k", TWO, Timestamp::MAX, at(10)).await, Ok(Put::Stored(_))));
    assert_eq!(state.get("expiry", b"k", at(1 << 32)).await.unwrap().unwrap().value, TWO);
}

async fn a_swap_needs_the_version_that_is_there(state: &dyn KeyedState) {
    let swap = |expected, value, now| state.compare_and_swap("swap", b"k", expected, value, at(10), now);
    assert_eq!(swap(Some(1), ONE, at(0)).await, Ok(Swap::Lost(None)));
    let Swap::Done(first) = swap(None, ONE, at(0)).await.unwrap() else { panic!("it was absent") };
    let Swap::Lost(Some(there)) = swap(None, TWO, at(0)).await.unwrap() else { panic!("it is there") };
    assert_eq!((there.version, there.value), (first, ONE));
    let Swap::Done(second) = swap(Some(first), TWO, at(0)).await.unwrap() else { panic!("nobody else wrote") };
    assert_ne!(first, second);
    let Swap::Lost(Some(there)) = swap(Some(first), ONE, at(0)).await.unwrap() else { panic!("it has changed") };
    assert_eq!((there.version, there.value), (second, TWO));
    assert_eq!(swap(Some(second), ONE, at(10)).await, Ok(Swap::Lost(None)), "it has expired");
}

async fn a_version_never_comes_back(state: &dyn KeyedState) {
    let first = state.put("versions", b"k", ONE, at(10)).await.unwrap();
    assert_eq!(state.delete("versions", b"k", at(0)).await, Ok(true));
    let second = state.put("versions", b"k", ONE, at(10)).await.unwrap();
    assert_ne!(first, second);
    let swap = state.compare_and_swap("versions", b"k", Some(first), TWO, at(10), at(0)).await;
    assert!(matches!(swap, Ok(Swap::Lost(Some(_)))));
}

async fn a_put_replaces_and_a_delete_removes(state: &dyn KeyedState) {
    state.put("replace", b"k", ONE, at(10)).await.unwrap();
    let version = state.put("replace", b"k", TWO, at(20)).await.unwrap();
    let entry = state.get("replace", b"k", at(15)).await.unwrap().unwrap();
    assert_eq!(entry, Entry { value: TWO, version, expires: at(20) });
    assert_eq!(state.delete("replace", b"k", at(15)).await, Ok(true));
    assert_eq!(state.delete("replace", b"k", at(15)).await, Ok(false));
    assert_eq!(state.get("replace", b"k", at(15)).await, Ok(None));
}

async fn spaces_are_apart_and_listed_by_key(state: &dyn KeyedState) {
    for key in [&[2u8][..], &[0xff, 0], &[], &[1, 0], &[1]] {
        state.put("list", key, Bytes::copy_from_slice(key), at(10)).await.unwrap();
    }
    state.put("list2", &[1], ONE, at(10)).await.unwrap();
    let listed = state.list("list", b"", 10, at(0)).await.unwrap();
    let keys: Vec<&[u8]> = listed.iter().map(|(key, _)| &key[..]).collect();
    assert_eq!(keys, [&[1u8][..], &[1, 0], &[2], &[0xff, 0]], "by key, after the one given");
    assert!(listed.iter().all(|(key, entry)| *key == entry.value));
    let page = state.list("list", &[1], 2, at(0)).await.unwrap();
    assert_eq!(page, listed[1..3]);
    assert_eq!(state.get("list", &[], at(0)).await.unwrap().unwrap().value, Bytes::new());
}

async fn a_sweep_removes_only_what_expired(state: &dyn KeyedState) {
    state.sweep(at(1000)).await.unwrap();
    for (key, expires) in [(b"a", 2000), (b"b", 2001), (b"c", 2002)] {
        state.put("sweep", key, ONE, at(expires)).await.unwrap();
    }
    assert_eq!(state.sweep(at(2001)).await, Ok(2));
    assert_eq!(state.sweep(at(2001)).await, Ok(0));
    let left = state.list("sweep", b"", 10, at(0)).await.unwrap();
    assert!(left.len() == 1 && left[0].0 == b"c"[..]);
}

async fn of_many_that_put_at_once_one_wins(state: &dyn KeyedState) {
    for round in 0..8u8 {
        let key = [round];
        let put = |value| state.put_if_absent("race", &key, value, at(10), at(0));
        let (a, b, c) = tokio::join!(put(ONE), put(TWO), put(ONE));
        let won = [a, b, c].into_iter().filter(|put| matches!(put, Ok(Put::Stored(_)))).count();
        assert_eq!(won, 1, "round {round}");
    }
}

async fn what_is_out_of_bounds_is_refused(state: &dyn KeyedState) {
    let long = vec![0; MAX_KEY + 1];
    assert!(matches!(state.put("x", &long, ONE, at(10)).await, Err(StorageError::Limit { .. })));
    assert!(matches!(state.put("", b"k", ONE, at(10)).await, Err(StorageError::Limit { .. })));
    assert!(matches!(state.get("x\0", b"k", at(10)).await, Err(StorageError::Limit { .. })));
}
