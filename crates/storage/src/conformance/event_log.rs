//! Rules of [`EventLog`].

use bytes::Bytes;
use tradelane_model::Timestamp;

use super::at;
use crate::StorageError;
use crate::event_log::{
    Append, Appended, Bounds, Dedup, EventLog, MAX_COUNT, MAX_TOGETHER, Rewrite, StreamId, Truncate,
};

fn stream(name: &str) -> StreamId {
    StreamId::new(name, 0)
}

fn batch(stream: &StreamId, count: u32, text: &str, time: Timestamp) -> Append {
    let payload = Bytes::from(text.to_owned());
    Append { stream: stream.clone(), count, payload, timestamp: time, dedup: None }
}

fn once(mut append: Append, key: u8, body: u8, expires: Timestamp) -> Append {
    append.dedup = Some(Dedup { key: [key; 32], body: [body; 32], expires });
    append
}

fn new(base_offset: u64) -> Result<Appended, StorageError> {
    Ok(Appended { base_offset, duplicate: false })
}

fn again(base_offset: u64) -> Result<Appended, StorageError> {
    Ok(Appended { base_offset, duplicate: true })
}

/// All rules of the event log, on an empty one.
pub async fn event_log(log: &dyn EventLog) {
    offsets_count_events_without_gaps(log).await;
    a_read_starts_with_the_batch_that_holds_the_offset(log).await;
    a_read_gives_at_least_one_batch(log).await;
    streams_are_apart(log).await;
    a_retried_append_is_done_once(log).await;
    a_key_with_another_body_is_refused(log).await;
    a_key_may_be_used_again_once_it_expired(log).await;
    batches_that_are_appended_as_one_are_there_all_or_none(log).await;
    batches_that_were_appended_as_one_are_appended_once(log).await;
    those_who_wait_are_woken(log).await;
    a_truncation_removes_whole_batches(log).await;
    a_rewrite_puts_batches_in_the_place_of_whole_others(log).await;
    a_deleted_stream_starts_anew(log).await;
    many_writers_share_one_order(log).await;
    what_is_out_of_bounds_is_refused(log).await;
}

async fn offsets_count_events_without_gaps(log: &dyn EventLog) {
    let orders = stream("orders");
    assert_eq!(log.bounds(&orders).await, Ok(None));
    assert_eq!(log.read(&orders, 0, 100).await, Err(StorageError::UnknownStream));
    assert_eq!(log.append(batch(&orders, 3, "abc", at(0))).await, new(0));
    assert_eq!(log.append(batch(&orders, 1, "d", at(1))).await, new(3));
    assert_eq!(log.append(batch(&orders, 2, "", at(2))).await, new(4));
    assert_eq!(log.bounds(&orders).await, Ok(Some(Bounds { start: 0, end: 6 })));
}

async fn a_read_starts_with_the_batch_that_holds_the_offset(log: &dyn EventLog) {
    let orders = stream("orders");
    for (from, bases) in [(0, &[0, 3, 4][..]), (2, &[0, 3, 4]), (3, &[3, 4]), (4, &[4]), (5, &[4]), (6, &[])] {
        let read = log.read(&orders, from, 1 << 20).await.unwrap();
        assert_eq!(read.iter().map(|batch| batch.base_offset).collect::<Vec<_>>(), bases, "from {from}");
    }
    let read = log.read(&orders, 0, 1 << 20).await.unwrap();
    assert_eq!((read[0].count, read[0].timestamp, &read[0].payload[..]), (3, at(0), &b"abc"[..]));
    assert!(read[2].payload.is_empty());
    assert_eq!(log.read(&orders, 7, 100).await, Err(StorageError::BeyondEnd { asked: 7, end: 6 }));
}

async fn a_read_gives_at_least_one_batch(log: &dyn EventLog) {
    let big = stream("big");
    let text = "x".repeat(100_000);
    for base in 0..4 {
        assert_eq!(log.append(batch(&big, 1, &text, at(base))).await, new(base as u64));
    }
    assert_eq!(log.read(&big, 1, 0).await.unwrap().len(), 1);
    assert_eq!(log.read(&big, 1, 250_000).await.unwrap().len(), 2);
    assert_eq!(log.read(&big, 0, usize::MAX).await.unwrap().len(), 4);
    assert_eq!(log.read(&big, 3, 1).await.unwrap()[0].payload, text);
}

async fn streams_are_apart(log: &dyn EventLog) {
    let (one, other) = (StreamId::new("parts", 0), StreamId::new("parts", 1));
    assert_eq!(log.append(batch(&one, 1, "one", at(0))).await, new(0));
    assert_eq!(log.append(batch(&other, 1, "other", at(0))).await, new(0));
    assert_eq!(&log.read(&one, 0, 100).await.unwrap()[0].payload[..], b"one");
    assert_eq!(&log.read(&other, 0, 100).await.unwrap()[0].payload[..], b"other");
    let all = log.streams().await.unwrap();
    let names: Vec<String> = all.iter().map(|(id, _)| format!("{}/{}", id.product, id.partition)).collect();
    assert_eq!(names, ["big/0", "orders/0", "parts/0", "parts/1"]);
    assert_eq!(all[0].1, Bounds { start: 0, end: 4 });
}

async fn a_retried_append_is_done_once(log: &dyn EventLog) {
    let retry = stream("retry");
    let append = || once(batch(&retry, 2, "ab", at(0)), 1, 1, at(100));
    assert_eq!(log.append(append()).await, new(0));
    assert_eq!(log.append(append()).await, again(0));
    assert_eq!(log.append(batch(&retry, 1, "c", at(1))).await, new(2));
    assert_eq!(log.append(append()).await, again(0));
    let next = || once(batch(&retry, 1, "d", at(1)), 2, 1, at(100));
    let (a, b, c) = tokio::join!(log.append(next()), log.append(next()), log.append(next()));
    let outcomes = [a, b, c];
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == new(3)).count(), 1);
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == again(3)).count(), 2);
    assert_eq!(log.bounds(&retry).await, Ok(Some(Bounds { start: 0, end: 4 })));
}

async fn a_key_with_another_body_is_refused(log: &dyn EventLog) {
    let retry = stream("retry");
    let other = once(batch(&retry, 1, "x", at(1)), 1, 2, at(100));
    assert_eq!(log.append(other).await, Err(StorageError::DedupConflict));
    let elsewhere = once(batch(&stream("orders"), 2, "ab", at(1)), 1, 1, at(100));
    assert_eq!(log.append(elsewhere).await, Err(StorageError::DedupConflict), "another stream is another effect");
    assert_eq!(log.bounds(&retry).await, Ok(Some(Bounds { start: 0, end: 4 })));
}

async fn a_key_may_be_used_again_once_it_expired(log: &dyn EventLog) {
    let expiry = stream("expiry");
    assert_eq!(log.append(once(batch(&expiry, 1, "a", at(0)), 3, 1, at(10))).await, new(0));
    assert_eq!(log.append(once(batch(&expiry, 1, "a", at(9)), 3, 1, at(19))).await, again(0));
    assert_eq!(log.append(once(batch(&expiry, 1, "b", at(10)), 3, 2, at(20))).await, new(1));
    assert_eq!(log.append(once(batch(&expiry, 1, "a", at(10)), 4, 1, at(20))).await, new(2));
    assert_eq!(log.sweep(at(20)).await, Ok(0), "a key is forgotten after it expired");
    assert_eq!(log.sweep(at(21)).await, Ok(2));
    assert_eq!(log.append(once(batch(&expiry, 1, "c", at(5)), 4, 9, at(20))).await, new(3));
}

async fn batches_that_are_appended_as_one_are_there_all_or_none(log: &dyn EventLog) {
    let [one, two, three] = [0, 1, 2].map(|partition| StreamId::new("spread", partition));
    let all = [&one, &two].map(|stream| batch(stream, 2, "ab", at(0)));
    assert_eq!(log.append_all(all.to_vec()).await.unwrap(), [new(0).unwrap(), new(0).unwrap()]);
    let next = vec![batch(&two, 1, "c", at(1)), batch(&one, 3, "cde", at(1))];
    assert_eq!(
        log.append_all(next).await.unwrap(),
        [new(2).unwrap(), new(2).unwrap()],
        "in the order that they came in"
    );
    assert_eq!(&log.read(&one, 2, 1).await.unwrap()[0].payload[..], b"cde");
    assert_eq!(log.append_all(Vec::new()).await, Ok(Vec::new()));
    for bad in [batch(&three, 0, "", at(2)), batch(&one, 1, "twice", at(2)), batch(&stream(""), 1, "", at(2))] {
        let refused = log.append_all(vec![batch(&one, 1, "f", at(2)), bad]).await;
        assert!(matches!(refused, Err(StorageError::Limit { .. })));
    }
    let many = (0..=MAX_TOGETHER as u32).map(|partition| batch(&StreamId::new("spread", partition), 1, "", at(2)));
    assert!(matches!(log.append_all(many.collect()).await, Err(StorageError::Limit { .. })));
    for (stream, kept) in [(&one, Some(5)), (&two, Some(3)), (&three, None)] {
        assert_eq!(log.bounds(stream).await.unwrap().map(|bounds| bounds.end), kept);
    }
}

async fn batches_that_were_appended_as_one_are_appended_once(log: &dyn EventLog) {
    let part = |partition: u32, key: u8, body: u8| {
        once(batch(&StreamId::new("once", partition), 2, "ab", at(0)), key, body, at(100))
    };
    let both = || vec![part(0, 31, 1), part(1, 32, 1)];
    assert_eq!(log.append_all(both()).await.unwrap(), [new(0).unwrap(), new(0).unwrap()]);
    assert_eq!(log.append(batch(&StreamId::new("once", 1), 1, "c", at(1))).await, new(2));
    assert_eq!(log.append_all(both()).await.unwrap(), [again(0).unwrap(), again(0).unwrap()]);
    let (a, b) = tokio::join!(
        log.append_all(vec![part(1, 33, 1), part(0, 34, 1)]),
        log.append_all(vec![part(1, 33, 1), part(0, 34, 1)])
    );
    let (first, second) = ([new(3).unwrap(), new(2).unwrap()], [again(3).unwrap(), again(2).unwrap()]);
    assert!([a.unwrap(), b.unwrap()].iter().all(|outcome| *outcome == first || *outcome == second));
    // Another body, one that went elsewhere, and one that is new beside one that is not: nothing is stored of any.
    for other in [vec![part(0, 31, 2), part(1, 32, 2)], vec![part(1, 31, 1)], vec![part(0, 31, 1), part(1, 35, 1)]] {
        assert_eq!(log.append_all(other).await, Err(StorageError::DedupConflict));
    }
    for (partition, end) in [(0, 4), (1, 5)] {
        let bounds = log.bounds(&StreamId::new("once", partition)).await;
        assert_eq!(bounds, Ok(Some(Bounds { start: 0, end })));
        assert_eq!(log.delete_stream(&StreamId::new("once", partition)).await, Ok(true));
        assert_eq!(log.delete_stream(&StreamId::new("spread", partition)).await, Ok(true));
    }
}

async fn those_who_wait_are_woken(log: &dyn EventLog) {
    let waited = stream("waited");
    let (woken, appended) = tokio::join!(log.wait(&waited, 0), log.append(batch(&waited, 2, "ab", at(0))));
    assert_eq!((woken, appended), (Ok(2), new(0)), "also for a stream that was not there yet");
    assert_eq!(log.wait(&waited, 1).await, Ok(2), "at once");
    let (woken, _) = tokio::join!(log.wait(&waited, 2), log.append(batch(&waited, 1, "c", at(0))));
    assert_eq!(woken, Ok(3));
    let (woken, gone) = tokio::join!(log.wait(&waited, 3), log.delete_stream(&waited));
    assert_eq!((woken, gone), (Err(StorageError::UnknownStream), Ok(true)));
}

async fn a_truncation_removes_whole_batches(log: &dyn EventLog) {
    let kept = stream("kept");
    for base in 0..10i64 {
        log.append(batch(&kept, 10, "0123456789", at(base))).await.unwrap();
    }
    let done = log.truncate_before(&kept, Truncate::Offset(35)).await.unwrap();
    assert_eq!((done.start, done.batches), (30, 3));
    assert_eq!(log.read(&kept, 29, 100).await, Err(StorageError::Truncated { asked: 29, start: 30 }));
    assert_eq!(log.read(&kept, 30, 1).await.unwrap()[0].base_offset, 30);
    let done = log.truncate_before(&kept, Truncate::Before(at(5))).await.unwrap();
    assert_eq!((done.start, done.batches), (50, 2));
    let done = log.truncate_before(&kept, Truncate::Offset(10)).await.unwrap();
    assert_eq!((done.start, done.batches), (50, 0), "never back");
    let done = log.truncate_before(&kept, Truncate::Before(Timestamp::MAX)).await.unwrap();
    assert_eq!((done.start, done.batches), (100, 5));
    assert_eq!(log.bounds(&kept).await, Ok(Some(Bounds { start: 100, end: 100 })));
    assert_eq!(log.read(&kept, 100, 1).await, Ok(Vec::new()));
    assert_eq!(log.append(batch(&kept, 1, "k", at(11))).await, new(100), "offsets go on");
    let unknown = log.truncate_before(&stream("unknown"), Truncate::Offset(1)).await;
    assert_eq!(unknown, Err(StorageError::UnknownStream));
}

async fn a_rewrite_puts_batches_in_the_place_of_whole_others(log: &dyn EventLog) {
    let compacted = stream("compacted");
    for base in 0..6i64 {
        log.append(batch(&compacted, 10, &format!("batch {base}"), at(base))).await.unwrap();
    }
    let one = |offsets: std::ops::Range<u64>, text: &'static str, time| Rewrite {
        offsets,
        timestamp: at(time),
        payload: Bytes::from_static(text.as_bytes()),
    };
    let seen = async || -> Vec<(u64, u32, Timestamp, Vec<u8>)> {
        let read = log.read(&compacted, 0, usize::MAX).await.unwrap();
        read.iter().map(|b| (b.base_offset, b.count, b.timestamp, b.payload.to_vec())).collect()
    };
    let before = seen().await;
    // Not from the start of a batch, not to the end of one, beyond the end; and one that fails takes the others with it.
    for bad in [5..10, 0..15, 50..70, 60..70] {
        let both = vec![one(0..10, "x", 0), one(bad, "x", 0)];
        assert_eq!(log.rewrite(&compacted, both).await, Ok(false));
        assert_eq!(seen().await, before);
    }
    assert_eq!(log.rewrite(&compacted, vec![one(0..30, "abc", 2), one(40..50, "", 4)]).await, Ok(true));
    let after = seen().await;
    let expected = [(0, 30, 2, "abc"), (30, 10, 3, "batch 3"), (40, 10, 4, ""), (50, 10, 5, "batch 5")];
    let expected = expected.map(|(base, count, time, text)| (base, count, at(time), text.as_bytes().to_vec()));
    assert_eq!(after, expected);
    assert_eq!(log.read(&compacted, 25, 1).await.unwrap()[0].base_offset, 0, "every offset is still in a batch");
    assert_eq!(log.bounds(&compacted).await, Ok(Some(Bounds { start: 0, end: 60 })));
    assert_eq!(log.append(batch(&compacted, 1, "g", at(6))).await, new(60), "offsets go on");
    assert_eq!(log.read(&compacted, 55, 1 << 20).await.unwrap().len(), 2);
    let done = log.truncate_before(&compacted, Truncate::Offset(35)).await.unwrap();
    assert_eq!((done.start, done.batches), (30, 1));
    assert_eq!(log.rewrite(&compacted, vec![one(0..30, "x", 0)]).await, Ok(false), "truncated meanwhile");
    for bad in [7..7, 0..u64::from(MAX_COUNT) + 1] {
        assert!(matches!(log.rewrite(&compacted, vec![one(bad, "", 0)]).await, Err(StorageError::Limit { .. })));
    }
    let unknown = log.rewrite(&stream("unknown"), vec![one(0..1, "", 0)]).await;
    assert_eq!(unknown, Err(StorageError::UnknownStream));
    assert_eq!(log.delete_stream(&compacted).await, Ok(true));
}

async fn a_deleted_stream_starts_anew(log: &dyn EventLog) {
    let short = stream("short");
    let append = || once(batch(&short, 5, "abcde", at(0)), 5, 1, at(100));
    assert_eq!(log.append(append()).await, new(0));
    assert_eq!(log.delete_stream(&short).await, Ok(true));
    assert_eq!(log.delete_stream(&short).await, Ok(false));
    assert_eq!(log.bounds(&short).await, Ok(None));
    assert_eq!(log.append(append()).await, new(0), "what its keys did went with it");
    assert_eq!(log.bounds(&short).await, Ok(Some(Bounds { start: 0, end: 5 })));
}

async fn many_writers_share_one_order(log: &dyn EventLog) {
    let busy = stream("busy");
    let appends = (0..64u32).map(|n| log.append(batch(&busy, n % 3 + 1, &n.to_string(), at(0))));
    let mut tasks: Vec<_> = appends.collect();
    let mut outcomes = Vec::new();
    // All are queued before the first is awaited to its end.
    std::future::poll_fn(|context| {
        tasks.retain_mut(|task| match task.as_mut().poll(context) {
            std::task::Poll::Ready(outcome) => {
                outcomes.push(outcome.unwrap());
                false
            }
            std::task::Poll::Pending => true,
        });
        if tasks.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    let read = log.read(&busy, 0, usize::MAX).await.unwrap();
    let mut expected = 0;
    for stored in &read {
        assert_eq!(stored.base_offset, expected);
        let n: u32 = std::str::from_utf8(&stored.payload).unwrap().parse().unwrap();
        assert_eq!(stored.count, n % 3 + 1);
        assert!(outcomes.contains(&Appended { base_offset: expected, duplicate: false }));
        expected = stored.end_offset();
    }
    assert_eq!(read.len(), 64);
}

async fn what_is_out_of_bounds_is_refused(log: &dyn EventLog) {
    let orders = stream("orders");
    for count in [0, MAX_COUNT + 1] {
        assert!(matches!(log.append(batch(&orders, count, "", at(0))).await, Err(StorageError::Limit { .. })));
    }
    let nameless = batch(&stream(""), 1, "", at(0));
    assert!(matches!(log.append(nameless).await, Err(StorageError::Limit { .. })));
}
