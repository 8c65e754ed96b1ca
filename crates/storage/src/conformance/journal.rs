//! Rules of [`Journal`].

use bytes::Bytes;

use crate::journal::{Journal, Journaled, MAX_EVENT};
use crate::{Result, StorageError};

fn events(words: &[&'static str]) -> Vec<Bytes> {
    words.iter().map(|word| Bytes::from_static(word.as_bytes())).collect()
}

/// All rules of the journal, on an empty one.
pub async fn journal(journal: &dyn Journal) {
    an_empty_journal_has_head_zero(journal).await;
    events_are_numbered_from_one_without_gaps(journal).await;
    of_two_writers_that_saw_the_same_head_one_wins(journal).await;
    what_is_out_of_bounds_is_refused(journal).await;
}

async fn an_empty_journal_has_head_zero(journal: &dyn Journal) {
    assert_eq!(journal.head().await, Ok(0));
    assert_eq!(journal.read(1, 10).await, Ok(Vec::new()));
    assert_eq!(journal.append(1, events(&["x"])).await, Ok(Journaled::Conflict { actual: 0 }));
}

async fn events_are_numbered_from_one_without_gaps(journal: &dyn Journal) {
    assert_eq!(journal.append(0, events(&["a", "b"])).await, Ok(Journaled::At(2)));
    assert_eq!(journal.append(2, events(&["", "d"])).await, Ok(Journaled::At(4)));
    assert_eq!(journal.append(4, Vec::new()).await, Ok(Journaled::At(4)), "no events: a check of the head");
    let all: Vec<(u64, Bytes)> = (1..).zip(events(&["a", "b", "", "d"])).collect();
    assert_eq!(journal.read(0, 10).await.as_ref(), Ok(&all));
    assert_eq!(journal.read(1, 10).await.as_ref(), Ok(&all));
    assert_eq!(journal.read(2, 2).await, Ok(all[1..3].to_vec()));
    assert_eq!(journal.read(5, 2).await, Ok(Vec::new()));
    assert_eq!(journal.head().await, Ok(4));
}

async fn of_two_writers_that_saw_the_same_head_one_wins(journal: &dyn Journal) {
    for round in 0..8 {
        let head = journal.head().await.unwrap();
        let (one, other) = tokio::join!(
            journal.append(head, events(&["one", "one"])),
            journal.append(head, events(&["other", "other"])),
        );
        let won = |outcome: &Result<Journaled>| *outcome == Ok(Journaled::At(head + 2));
        let lost = |outcome: &Result<Journaled>| *outcome == Ok(Journaled::Conflict { actual: head + 2 });
        assert!(won(&one) && lost(&other) || lost(&one) && won(&other), "round {round}: {one:?} {other:?}");
        let tail = journal.read(head + 1, 10).await.unwrap();
        assert!(tail.len() == 2 && tail[0].1 == tail[1].1, "all or none");
    }
}

async fn what_is_out_of_bounds_is_refused(journal: &dyn Journal) {
    let head = journal.head().await.unwrap();
    let big = vec![Bytes::from(vec![0; MAX_EVENT + 1])];
    assert!(matches!(journal.append(head, big).await, Err(StorageError::Limit { .. })));
    assert_eq!(journal.head().await, Ok(head));
    assert_eq!(journal.append(u64::MAX, events(&["x"])).await, Ok(Journaled::Conflict { actual: head }));
    assert_eq!(journal.read(u64::MAX, usize::MAX).await, Ok(Vec::new()));
}
