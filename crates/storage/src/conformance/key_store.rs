//! Rules of [`KeyStore`].

use bytes::Bytes;

use super::at;
use crate::StorageError;
use crate::key_store::{KeyRecord, KeyRef, KeyState, KeyStore, MAX_WRAPPED, NewKey, SINGLETON, StoredKey, Tombstone};

fn key(scope: &str, tag: u8, id: u64) -> NewKey {
    let wrapped = Bytes::from(format!("wrapped key {id}"));
    NewKey { scope: scope.to_owned(), tag: [tag; 32], record: KeyRecord { id, wrapped, created: at(id as i64) } }
}

fn live(new: &NewKey) -> KeyState {
    KeyState::Live(stored(new))
}

fn stored(new: &NewKey) -> StoredKey {
    StoredKey { scope: new.scope.clone(), tag: new.tag, record: new.record.clone() }
}

/// All rules of the key store, on an empty one.
pub async fn key_store(keys: &dyn KeyStore) {
    the_first_key_of_a_tag_stays(keys).await;
    scopes_are_apart(keys).await;
    a_batch_is_all_or_nothing(keys).await;
    a_destroyed_key_leaves_a_tombstone_and_nothing_else(keys).await;
    an_id_is_never_used_again(keys).await;
    all_keys_and_tombstones_are_listed_by_id(keys).await;
    of_many_that_put_at_once_one_wins(keys).await;
    what_is_out_of_bounds_is_refused(keys).await;
}

async fn the_first_key_of_a_tag_stays(keys: &dyn KeyStore) {
    let (first, second) = (key("subject/acme", 1, 101), key("subject/acme", 1, 102));
    assert_eq!(keys.put_if_absent(vec![first.clone()]).await, Ok(vec![first.record.clone()]));
    assert_eq!(keys.put_if_absent(vec![second]).await, Ok(vec![first.record.clone()]));
    assert_eq!(keys.get(101).await, Ok(live(&first)));
    assert_eq!(keys.get(102).await, Ok(KeyState::Unknown));
    let found = keys.get_by_tag("subject/acme", &[[9; 32], [1; 32]]).await;
    assert_eq!(found, Ok(vec![None, Some(first.record)]));
}

async fn scopes_are_apart(keys: &dyn KeyStore) {
    let (one, other) = (key("log", 0, 201), key("signer", 0, 202));
    assert_eq!(one.tag, SINGLETON);
    keys.put_if_absent(vec![one.clone(), other.clone()]).await.unwrap();
    assert_eq!(keys.get_by_tag("log", &[SINGLETON]).await, Ok(vec![Some(one.record)]));
    assert_eq!(keys.get_by_tag("signer", &[SINGLETON]).await, Ok(vec![Some(other.record)]));
    assert_eq!(keys.get_by_tag("lo", &[SINGLETON]).await, Ok(vec![None]));
}

async fn a_batch_is_all_or_nothing(keys: &dyn KeyStore) {
    let batch = vec![key("batch", 1, 301), key("batch", 1, 302), key("batch", 2, 303)];
    let won = keys.put_if_absent(batch.clone()).await.unwrap();
    let ids: Vec<u64> = won.iter().map(|record| record.id).collect();
    assert_eq!(ids, [301, 301, 303], "the same tag twice in one batch is one key");
    let taken = vec![key("batch", 4, 304), key("batch", 5, 303)];
    assert_eq!(keys.put_if_absent(taken).await, Err(StorageError::KeyIdTaken));
    assert_eq!(keys.get(304).await, Ok(KeyState::Unknown));
    assert_eq!(keys.put_if_absent(Vec::new()).await, Ok(Vec::new()));
}

async fn a_destroyed_key_leaves_a_tombstone_and_nothing_else(keys: &dyn KeyStore) {
    let doomed = vec![key("doomed", 1, 401), key("doomed", 2, 402), key("doomed", 3, 403)];
    keys.put_if_absent(doomed.clone()).await.unwrap();
    let by_tag = KeyRef::Tag { scope: "doomed".to_owned(), tag: [2; 32] };
    let gone = keys.destroy(vec![KeyRef::Id(401), by_tag.clone(), KeyRef::Id(499)], at(9)).await.unwrap();
    let tombstone = |id| Tombstone { id, destroyed_at: at(9) };
    assert_eq!(gone, [tombstone(401), tombstone(402)]);
    assert_eq!(keys.get(401).await, Ok(KeyState::Destroyed(tombstone(401))));
    assert_eq!(keys.get(402).await, Ok(KeyState::Destroyed(tombstone(402))));
    assert_eq!(keys.get(403).await, Ok(live(&doomed[2])));
    assert_eq!(keys.get_by_tag("doomed", &[[1; 32], [2; 32]]).await, Ok(vec![None, None]));
    assert_eq!(keys.destroy(vec![KeyRef::Id(401), by_tag], at(10)).await, Ok(Vec::new()), "once is enough");
    assert_eq!(keys.get(401).await, Ok(KeyState::Destroyed(tombstone(401))));
}

async fn an_id_is_never_used_again(keys: &dyn KeyStore) {
    keys.put_if_absent(vec![key("again", 1, 501)]).await.unwrap();
    keys.destroy(vec![KeyRef::Id(501)], at(9)).await.unwrap();
    assert_eq!(keys.put_if_absent(vec![key("again", 1, 501)]).await, Err(StorageError::KeyIdTaken));
    let next = key("again", 1, 502);
    assert_eq!(keys.put_if_absent(vec![next.clone()]).await, Ok(vec![next.record]), "the subject gets a new key");
}

async fn all_keys_and_tombstones_are_listed_by_id(keys: &dyn KeyStore) {
    let (mut after, mut seen) = (0, Vec::new());
    loop {
        let page = keys.load_all(after, 2).await.unwrap();
        let Some(last) = page.last() else { break };
        after = last.record.id;
        seen.extend(page);
    }
    assert!(seen.is_sorted_by_key(|key| key.record.id));
    let ids: Vec<u64> = seen.iter().map(|key| key.record.id).collect();
    assert_eq!(ids, [101, 201, 202, 301, 303, 403, 502]);
    assert_eq!(seen[0], stored(&key("subject/acme", 1, 101)));
    let buried: Vec<u64> = keys.tombstones(401, 10).await.unwrap().iter().map(|grave| grave.id).collect();
    assert_eq!(buried, [402, 501]);
}

async fn of_many_that_put_at_once_one_wins(keys: &dyn KeyStore) {
    for round in 0..8u8 {
        let put = |id: u64| keys.put_if_absent(vec![key("race", round, 1000 + u64::from(round) * 10 + id)]);
        let (a, b, c) = tokio::join!(put(1), put(2), put(3));
        let (a, b, c) = (a.unwrap(), b.unwrap(), c.unwrap());
        assert!(a == b && b == c, "round {round}: everybody gets the same key");
    }
}

async fn what_is_out_of_bounds_is_refused(keys: &dyn KeyStore) {
    let refused =
        |new: NewKey| async { matches!(keys.put_if_absent(vec![new]).await, Err(StorageError::Limit { .. })) };
    assert!(refused(key("", 1, 601)).await);
    assert!(refused(key("x", 1, 0)).await);
    assert!(refused(key("x", 1, u64::MAX)).await);
    let mut big = key("x", 1, 602);
    big.record.wrapped = Bytes::from(vec![0; MAX_WRAPPED + 1]);
    assert!(refused(big).await);
}
