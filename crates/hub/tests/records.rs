//! The governed path as Kafka clients walk it: batches of records in, batches as a view shows them out.

mod support;

use bytes::Bytes;
use support::records::{Sent, batch, got, value};
use support::{World, product};
use tradelane_hub::{Caller, FetchRecords, PublishRecords, Reader, RecordsOutcome, RecordsPage};
use tradelane_model::codes;
use tradelane_records::{Batch, BatchBuilder, BatchHead, Decompressor, HeaderSource, Limits};

const CONTRACT_WITH_KEYS: &str = r#"
apiVersion: v3.1.0
kind: DataContract
id: acme-people
tenant: acme
version: 1.0.0
status: active
name: People
schema:
  - name: person
    properties:
      - {name: id, logicalType: string, required: true, classification: public}
customProperties:
  - property: tradelane
    value:
      purposes: [claims]
      records:
        key: {class: pii, subject: true}
        headers: {trace: public, origin: internal, phone: pii}
"#;

const PRODUCTS: &str = r#"
apiVersion: tradelane/v1
kind: Product
spec: {id: acme-people, owner: acme, contract: acme-people, partitions: 3}
---
apiVersion: tradelane/v1
kind: Grant
spec: {id: near-people, product: acme-people, consumer: near, purpose: claims}
---
apiVersion: tradelane/v1
kind: Grant
spec: {id: far-people, product: acme-people, consumer: far, purpose: claims, view: {classes: {pii: pseudonym}}}
"#;

struct People {
    world: World,
    product: tradelane_model::ProductId,
}

impl People {
    async fn new() -> Self {
        let world = World::new().await;
        let files = [("c.yaml".into(), CONTRACT_WITH_KEYS.into()), ("p.yaml".into(), PRODUCTS.into())];
        world.hub.apply(&world.owner, &files, false).await.unwrap();
        Self { world, product: "acme-people".parse().unwrap() }
    }

    async fn publish(&self, partition: u32, batch: Bytes) -> tradelane_hub::Result<RecordsOutcome> {
        let publish = PublishRecords { product: self.product.clone(), partition, batch };
        self.world.hub.publish_records(&self.world.publisher, publish).await
    }

    async fn stored(&self, partition: u32, records: &[Sent<'_>]) -> u64 {
        match self.publish(partition, batch(records, BatchHead::default())).await.unwrap() {
            RecordsOutcome::Stored(stored) => stored.value().base_offset,
            RecordsOutcome::Refused(refused) => panic!("{refused:?}"),
        }
    }

    async fn reader(&self, caller: &Caller) -> Reader {
        self.world.hub.reader(caller, &self.product, None).await.unwrap()
    }

    async fn fetch(&self, caller: &Caller, partition: u32, offset: u64) -> RecordsPage {
        fetch(&self.world, &self.reader(caller).await, partition, offset).await.unwrap()
    }
}

async fn fetch(world: &World, reader: &Reader, partition: u32, offset: u64) -> tradelane_hub::Result<RecordsPage> {
    world.hub.fetch_records(reader, FetchRecords { partition, offset, max_bytes: 1 << 20 }).await
}

async fn publish_order(world: &World, batch: Bytes) -> tradelane_hub::Result<RecordsOutcome> {
    let publish = PublishRecords { product: product(), partition: 0, batch };
    world.hub.publish_records(&world.publisher, publish).await
}

#[tokio::test]
async fn records_and_lines_are_two_frames_around_the_same_rendered_events() {
    let world = World::new().await;
    let one = r#"{"id":"1","sku":"A","qty":1,"price":9.5,"customer":{"email":"ann@example.com","name":"Ann"}}"#;
    let two = r#"{"id":"2","sku":"B","qty":2}"#;
    let outcome = publish_order(&world, batch(&[value(one), value(two)], BatchHead::default())).await.unwrap();
    assert!(matches!(outcome, RecordsOutcome::Stored(_)));
    world.publish(r#"{"id":"3","sku":"A","qty":3}"#).await.unwrap();
    for caller in [&world.owner, &world.near, &world.far] {
        let lines = world.read(caller).await.unwrap();
        let reader = world.hub.reader(caller, &product(), None).await.unwrap();
        let records = got(&fetch(&world, &reader, 0, 0).await.unwrap());
        let values: Vec<serde_json::Value> =
            records.iter().map(|record| serde_json::from_str(record.value.as_ref().unwrap()).unwrap()).collect();
        assert_eq!(values, lines);
        assert_eq!(records.iter().map(|record| record.offset).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(records[1].time, 1_800_000_000_001, "the producer's own time");
    }
    let reader = world.hub.reader(&world.owner, &product(), None).await.unwrap();
    assert_eq!(got(&fetch(&world, &reader, 0, 0).await.unwrap())[0].value.as_deref(), Some(one), "byte by byte");
}

#[tokio::test]
async fn keys_and_headers_are_shown_as_their_class_says_and_unnamed_headers_to_nobody_else() {
    let people = People::new().await;
    let headers: Vec<(&[u8], Option<&[u8]>)> = vec![
        (b"trace", Some(b"t-1")),
        (b"origin", Some(b"berlin")),
        (b"phone", Some(b"+49 30 1")),
        (b"phone", Some(b"+49 30 2")),
        (b"x-unnamed", Some(b"secret")),
    ];
    let sent = Sent { key: Some("ann@example.com"), value: Some(r#"{"id":"1"}"#), headers };
    people.stored(1, &[sent]).await;
    let header = |name: &str, value: &str| (name.to_owned(), Some(value.to_owned()));

    let own = got(&people.fetch(&people.world.owner, 1, 0).await).remove(0);
    assert_eq!(own.key.as_deref(), Some("ann@example.com"));
    assert_eq!(own.headers.len(), 5, "duplicates are kept: {own:?}");
    assert!(own.headers.contains(&header("x-unnamed", "secret")));

    let near = got(&people.fetch(&people.world.near, 1, 0).await).remove(0);
    assert_eq!(near.key, None, "what a view drops is not there");
    assert_eq!(near.headers, [header("trace", "t-1"), header("origin", "berlin")]);

    let far = got(&people.fetch(&people.world.far, 1, 0).await).remove(0);
    let stand_in = far.key.unwrap();
    assert!(!stand_in.contains("ann"), "{stand_in}");
    assert_eq!(far.headers.iter().filter(|(name, _)| name == "phone").count(), 2);
    assert!(!format!("{:?}", far.headers).contains("+49"));
}

#[tokio::test]
async fn equal_keys_stay_equal_in_a_pseudonymous_view_and_a_tombstone_passes() {
    let people = People::new().await;
    let keyed = |key, value| Sent { key: Some(key), value, headers: Vec::new() };
    people
        .stored(0, &[keyed("ann", Some(r#"{"id":"1"}"#)), keyed("bob", Some(r#"{"id":"2"}"#)), keyed("ann", None)])
        .await;
    let far = got(&people.fetch(&people.world.far, 0, 0).await);
    assert_eq!(far[0].key, far[2].key);
    assert_ne!(far[0].key, far[1].key);
    assert_eq!(far[2].value, None);
    assert!(people.world.hub.reader(&people.world.far, &people.product, None).await.is_ok());
}

#[tokio::test]
async fn a_person_named_by_a_key_is_erased_from_keys_too() {
    let people = People::new().await;
    let sent = Sent { key: Some("ann@example.com"), value: Some(r#"{"id":"1"}"#), headers: Vec::new() };
    people.stored(0, &[sent]).await;
    assert!(got(&people.fetch(&people.world.owner, 0, 0).await)[0].key.is_some());
    people.world.hub.erase(&people.world.privacy, "ann@example.com").await.unwrap();
    let after = got(&people.fetch(&people.world.owner, 0, 0).await);
    assert_eq!((after[0].key.as_deref(), after[0].value.as_deref()), (None, Some(r#"{"id":"1"}"#)));
}

#[tokio::test]
async fn no_key_or_header_is_found_in_any_file_of_the_hub() {
    let people = People::new().await;
    let headers: Vec<(&[u8], Option<&[u8]>)> =
        vec![(b"phone", Some(b"+49-30-7654321")), (b"odd", Some(b"odd-7654321"))];
    people.stored(0, &[Sent { key: Some("ann-7654321"), value: Some(r#"{"id":"1"}"#), headers }]).await;
    let mut folders = vec![people.world.dir.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = std::fs::read(&path).unwrap_or_default();
            let found = bytes.windows(7).any(|window| window == b"7654321");
            assert!(!found, "{}", path.display());
        }
    }
}

#[tokio::test]
async fn a_batch_with_a_bad_record_is_refused_whole_and_each_bad_record_is_named() {
    let world = World::new().await;
    let good = r#"{"id":"1","sku":"A","qty":1}"#;
    let sent = [value(good), value(r#"{"id":"2","sku":"A","qty":0}"#), value("no json"), value(good)];
    let outcome = publish_order(&world, batch(&sent, BatchHead::default())).await.unwrap();
    let RecordsOutcome::Refused(refused) = outcome else { panic!("stored") };
    let named: Vec<_> = refused.iter().map(|record| (record.index, record.code)).collect();
    assert_eq!(named, [(1, codes::QUALITY_RULE), (2, codes::MALFORMED_JSON)]);
    assert!(refused.iter().all(|record| !record.message.contains("no json")));
    assert!(world.read(&world.owner).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_producer_that_sends_a_sequence_again_gets_the_first_offset_and_stores_nothing() {
    let world = World::new().await;
    let head = |base_sequence| BatchHead { producer_id: 7, producer_epoch: 0, base_sequence, ..BatchHead::default() };
    let text = r#"{"id":"1","sku":"A","qty":1}"#;
    let mut offsets = Vec::new();
    for sequence in [0, 1, 0, 1, 2] {
        let outcome = publish_order(&world, batch(&[value(text)], head(sequence))).await.unwrap();
        let RecordsOutcome::Stored(stored) = outcome else { panic!("refused") };
        offsets.push((stored.value().base_offset, stored.value().duplicate));
    }
    assert_eq!(offsets, [(0, false), (1, false), (0, true), (1, true), (2, false)]);
    assert_eq!(world.read(&world.owner).await.unwrap().len(), 3);
}

#[tokio::test]
async fn what_a_filter_leaves_out_is_a_gap_and_a_page_of_nothing_moves_the_consumer_on() {
    let world = World::new().await;
    let order = |id: u32, sku: &str| format!(r#"{{"id":"{id}","sku":"{sku}","qty":1}}"#);
    let texts: Vec<String> = (0..6).map(|id| order(id, if id % 2 == 0 { "A" } else { "X" })).collect();
    let sent: Vec<Sent<'_>> = texts.iter().map(|text| value(text)).collect();
    publish_order(&world, batch(&sent, BatchHead::default())).await.unwrap();
    let hidden = order(6, "X");
    publish_order(&world, batch(&[value(&hidden), value(&hidden)], BatchHead::default())).await.unwrap();

    let reader = world.hub.reader(&world.near, &product(), None).await.unwrap();
    let page = fetch(&world, &reader, 0, 0).await.unwrap();
    assert_eq!(got(&page).iter().map(|record| record.offset).collect::<Vec<_>>(), [0, 2, 4]);
    assert_eq!((page.next, page.end), (8, 8));
    assert!(page.leaf.is_some());
    let (first, _) = Batch::parse(&page.batches[0], &Limits::default()).unwrap();
    assert_eq!(first.last_offset_delta(), 5, "the batch still covers what was left out");

    let nothing = fetch(&world, &reader, 0, 6).await.unwrap();
    let (skipped, _) = Batch::parse(&nothing.batches[0], &Limits::default()).unwrap();
    assert!(skipped.is_control());
    assert_eq!((skipped.base_offset(), skipped.next_offset(), nothing.next), (6, 8, 8));
    assert_eq!(nothing.leaf, None, "nothing was shown");
}

#[tokio::test]
async fn a_filter_that_lets_nothing_through_does_not_make_one_fetch_walk_through_all_there_is() {
    let world = World::new().await;
    let long = "x".repeat(900_000);
    let hidden = format!(r#"{{"id":"{long}","sku":"X","qty":1}}"#);
    for _ in 0..20 {
        let outcome = publish_order(&world, batch(&[value(&hidden)], BatchHead::default())).await.unwrap();
        assert!(matches!(outcome, RecordsOutcome::Stored(_)));
    }
    let reader = world.hub.reader(&world.near, &product(), None).await.unwrap();
    let first = fetch(&world, &reader, 0, 0).await.unwrap();
    assert!(first.next > 10 && first.next < 20, "16 MiB are looked at, then the reader asks again: {}", first.next);
    let second = fetch(&world, &reader, 0, first.next).await.unwrap();
    assert_eq!((second.next, second.leaf), (20, None), "and gets to the end");
}

#[tokio::test]
async fn partitions_are_sequences_of_their_own_and_can_be_added_but_not_taken_away() {
    let people = People::new().await;
    let one = || [value(r#"{"id":"1"}"#)];
    assert_eq!(
        (people.stored(0, &one()).await, people.stored(2, &one()).await, people.stored(2, &one()).await),
        (0, 0, 1)
    );
    let refused = people.publish(3, batch(&one(), BatchHead::default())).await;
    assert_eq!(refused.unwrap_err().code, codes::NOT_FOUND);
    let bounds = |partition| {
        let people = &people;
        async move {
            let reader = people.reader(&people.world.near).await;
            people.world.hub.record_bounds(&reader, partition).await.map(|bounds| (bounds.start, bounds.end))
        }
    };
    assert_eq!(bounds(2).await.unwrap(), (0, 2));
    assert_eq!(bounds(1).await.unwrap(), (0, 0));
    assert!(bounds(3).await.is_err());
    let with = |partitions: &str| [("p.yaml".to_owned(), PRODUCTS.replace("partitions: 3", partitions))];
    let hub = &people.world.hub;
    hub.apply(&people.world.owner, &with("partitions: 5"), false).await.unwrap();
    assert_eq!(bounds(3).await.unwrap(), (0, 0));
    assert!(hub.apply(&people.world.owner, &with("partitions: 2"), false).await.is_err());
}

#[tokio::test]
async fn a_topic_exists_only_for_who_may_read_or_publish_it_and_a_revoked_grant_ends_the_next_fetch() {
    let people = People::new().await;
    let hub = &people.world.hub;
    let names = |caller: &Caller| {
        let mut names: Vec<String> = hub.topics(caller).into_iter().map(|topic| topic.product.to_string()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&people.world.near), ["acme-orders", "acme-people"]);
    assert_eq!(names(&people.world.operator), Vec::<String>::new());
    let topic = hub.topic(&people.world.near, &people.product).unwrap();
    assert!(topic.readable && !topic.publishable);
    assert!(hub.topic(&people.world.publisher, &people.product).unwrap().publishable);

    people.stored(0, &[value(r#"{"id":"1"}"#)]).await;
    let reader = people.reader(&people.world.near).await;
    assert!(fetch(&people.world, &reader, 0, 0).await.is_ok());
    hub.revoke(&people.world.owner, &"near-people".parse().unwrap(), "over").await.unwrap();
    assert_eq!(fetch(&people.world, &reader, 0, 0).await.unwrap_err().code, codes::GRANT_ENDED);
    assert!(hub.wait_records(&reader, 0, 10).await.is_err());
    assert_eq!(names(&people.world.near), ["acme-orders"]);
    assert!(hub.topic(&people.world.near, &people.product).is_none());
}

#[tokio::test]
async fn a_batch_that_is_no_batch_is_refused_without_a_panic() {
    let world = World::new().await;
    let good = batch(&[value(r#"{"id":"1","sku":"A","qty":1}"#)], BatchHead::default());
    for cut in [0, 1, 60, good.len() - 1] {
        assert!(publish_order(&world, good.slice(..cut)).await.is_err(), "cut at {cut}");
    }
    let mut flipped = good.to_vec();
    *flipped.last_mut().unwrap() ^= 1;
    assert!(publish_order(&world, flipped.into()).await.is_err());
    let control = batch(&[value("{}")], BatchHead { control: true, ..BatchHead::default() });
    assert!(publish_order(&world, control).await.is_err());
}

#[tokio::test]
async fn offsets_are_found_by_the_time_at_which_the_hub_took_them() {
    let world = World::new().await;
    let mut times = Vec::new();
    for id in 0..20 {
        world.clock.pass(60);
        times.push(tradelane_hub::Clock::now(&*world.clock));
        world.publish(&format!(r#"{{"id":"{id}","sku":"A","qty":1}}"#)).await.unwrap();
    }
    let reader = world.hub.reader(&world.owner, &product(), None).await.unwrap();
    for (id, time) in (0..).zip(&times) {
        let found = world.hub.offset_at(&reader, 0, *time).await.unwrap();
        assert_eq!(found.map(|(offset, _)| offset), Some(id));
    }
    world.clock.pass(60);
    let later = tradelane_hub::Clock::now(&*world.clock);
    assert_eq!(world.hub.offset_at(&reader, 0, later).await.unwrap(), None);
}

#[tokio::test]
async fn a_batch_that_a_cluster_stores_keeps_its_numbers_and_shows_each_reader_its_view() {
    let world = World::new().await;
    let order = |id: u32, sku: &str| format!(r#"{{"id":"{id}","sku":"{sku}","qty":1,"price":2.5}}"#);
    let texts = [order(0, "A"), order(1, "X"), order(2, "B")];
    let sent: Vec<Sent<'_>> = texts.iter().map(|text| value(text)).collect();
    let head =
        BatchHead { producer_id: 9, producer_epoch: 3, base_sequence: 40, transactional: true, ..BatchHead::default() };
    let publish = PublishRecords { product: product(), partition: 0, batch: batch(&sent, head) };
    let outcome = world.hub.seal_records(&world.publisher, publish.clone()).await.unwrap();
    let tradelane_hub::SealOutcome::Sealed(sealed) = outcome else { panic!("refused") };
    assert!(!sealed.batch.windows(5).any(|window| window == b"price"));
    world.hub.record_published(&world.publisher, &product(), 0, Some(500), sealed.count).await.unwrap();
    assert!(world.hub.seal_records(&world.near, publish).await.is_err(), "a reader seals nothing");

    let mut stored = sealed.batch.to_vec();
    tradelane_records::patch::set_base_offset(&mut stored, 500).unwrap();
    let foreign = batch(&[value("not sealed by anybody")], BatchHead { base_offset: 503, ..BatchHead::default() });
    let marker = batch(&[value("......")], BatchHead { base_offset: 504, control: true, ..BatchHead::default() });
    let batches: Vec<Bytes> = vec![stored.into(), foreign, marker.clone()];

    let reader = world.hub.reader(&world.near, &product(), None).await.unwrap();
    for _ in 0..2 {
        let page = world.hub.render_records(&reader, 0, 500, batches.clone()).await.unwrap();
        assert!(page.leaf.is_some());
        let (first, _) = Batch::parse(&page.batches[0], &Limits::default()).unwrap();
        assert_eq!((first.producer_id(), first.producer_epoch(), first.base_sequence()), (9, 3, 40));
        assert!(first.is_transactional());
        assert_eq!((first.base_offset(), first.last_offset_delta()), (500, 2));
        let (skipped, _) = Batch::parse(&page.batches[1], &Limits::default()).unwrap();
        assert!(skipped.is_control());
        assert_eq!((skipped.base_offset(), skipped.next_offset()), (503, 504));
        assert_eq!(page.batches[2], marker);
        let page = RecordsPage { batches: page.batches[..1].to_vec(), next: 0, start: 0, end: 0, leaf: None };
        let shown = got(&page);
        assert_eq!(shown.iter().map(|record| record.offset).collect::<Vec<_>>(), [500, 502]);
        assert!(shown.iter().all(|record| !record.value.as_ref().unwrap().contains("price")));
    }
}

#[tokio::test]
async fn a_batch_of_a_clusters_that_is_damaged_is_withheld_and_reported_and_holds_nobody_up() {
    let world = World::new().await;
    let order = r#"{"id":"1","sku":"A","qty":1,"price":2.5}"#;
    let publish =
        PublishRecords { product: product(), partition: 0, batch: batch(&[value(order)], BatchHead::default()) };
    let outcome = world.hub.seal_records(&world.publisher, publish).await.unwrap();
    let tradelane_hub::SealOutcome::Sealed(sealed) = outcome else { panic!("refused") };
    let at = |base: i64, batch: &[u8]| {
        let mut batch = batch.to_vec();
        tradelane_records::patch::set_base_offset(&mut batch, base).unwrap();
        batch
    };
    let texts = [value("a"), value("b"), value("c")];
    let mut checksum = at(10, &batch(&texts, BatchHead::default()));
    *checksum.last_mut().unwrap() ^= 1;
    let mut cut = at(13, &sealed.batch);
    cut.truncate(40);
    let reader = world.hub.reader(&world.near, &product(), None).await.unwrap();
    // Asked for from its middle on, as after a restart.
    let batches: Vec<Bytes> = vec![checksum.into(), cut.into(), at(14, &sealed.batch).into()];
    let page = world.hub.render_records(&reader, 0, 12, batches).await.unwrap();
    let ends: Vec<_> = page
        .batches
        .iter()
        .map(|bytes| {
            let (batch, _) = Batch::parse(bytes, &Limits::default()).unwrap();
            (batch.is_control(), batch.base_offset(), batch.next_offset())
        })
        .collect();
    assert_eq!(ends, [(true, 10, 13), (true, 13, 14), (false, 14, 15)]);
    let alone = world.hub.render_records(&reader, 0, 700, vec![Bytes::from_static(&[0; 30])]).await.unwrap();
    let (passed, _) = Batch::parse(&alone.batches[0], &Limits::default()).unwrap();
    assert_eq!(passed.next_offset(), 701, "whatever it says of itself, reading goes on behind what was asked for");
    let mut boasting = at(20, &sealed.batch);
    boasting[23..27].copy_from_slice(&i32::MAX.to_be_bytes());
    let page =
        world.hub.render_records(&reader, 0, 20, vec![boasting.into(), at(22, &sealed.batch).into()]).await.unwrap();
    let (passed, _) = Batch::parse(&page.batches[0], &Limits::default()).unwrap();
    assert_eq!((passed.next_offset(), page.batches.len()), (22, 2), "not what is well behind it");
    let reported = world.hub.quarantine(&world.owner, &product(), 0, 10).await.unwrap();
    let records: Vec<_> = reported.value().iter().map(|entry| entry.record).collect();
    assert_eq!(records, [Some(10), Some(13), Some(0), Some(20)]);
}

#[tokio::test]
async fn a_record_of_a_version_that_never_was_is_withheld_and_the_others_of_its_batch_are_shown() {
    /// Where a sealed event says which version of its contract cut it.
    const VERSION: std::ops::Range<usize> = 4..8;
    let world = World::new().await;
    let orders = [r#"{"id":"1","sku":"A","qty":1,"price":2.5}"#, r#"{"id":"2","sku":"A","qty":1,"price":2.5}"#];
    let orders = orders.map(value);
    let publish = PublishRecords { product: product(), partition: 0, batch: batch(&orders, BatchHead::default()) };
    let outcome = world.hub.seal_records(&world.publisher, publish).await.unwrap();
    let tradelane_hub::SealOutcome::Sealed(sealed) = outcome else { panic!("refused") };
    let (stored, _) = Batch::parse(&sealed.batch, &Limits::default()).unwrap();
    let mut bytes = Vec::new();
    let mut junk = BatchBuilder::new(&mut bytes, &BatchHead::of(&stored));
    for (delta, record) in (0..).zip(stored.records(&mut Decompressor::new(), &Limits::default()).unwrap()) {
        let record = record.unwrap();
        let mut value = record.value.unwrap().to_vec();
        if delta == 0 {
            value[VERSION].copy_from_slice(&77_u32.to_le_bytes());
        }
        junk.push(delta, record.timestamp, record.key, Some(&value), HeaderSource::NONE).unwrap();
    }
    junk.finish(1).unwrap();
    let reader = world.hub.reader(&world.near, &product(), None).await.unwrap();
    let page = world.hub.render_records(&reader, 0, 0, vec![bytes.into()]).await.unwrap();
    let shown = got(&RecordsPage { batches: page.batches, next: 0, start: 0, end: 0, leaf: None });
    assert_eq!(shown.iter().map(|record| record.offset).collect::<Vec<_>>(), [1]);
    let reported = world.hub.quarantine(&world.owner, &product(), 0, 10).await.unwrap();
    assert_eq!(reported.value().iter().map(|entry| entry.record).collect::<Vec<_>>(), [Some(0)]);
}

#[tokio::test]
async fn a_page_that_is_not_on_record_yet_is_kept_from_who_lost_the_right_and_from_all_after_an_erasure() {
    let people = People::new().await;
    let ann = Sent { key: Some("ann@example.com"), value: Some(r#"{"id":"1"}"#), headers: Vec::new() };
    people.stored(1, &[ann]).await;
    let hub = &people.world.hub;
    let all = FetchRecords { partition: 1, offset: 0, max_bytes: 1 << 20 };
    let (own, near) = (people.reader(&people.world.owner).await, people.reader(&people.world.near).await);

    let own_page = hub.prepare_records(&own, all).await.unwrap();
    let near_page = hub.prepare_records(&near, all).await.unwrap();
    assert!(near_page.bytes() > 0);
    hub.revoke(&people.world.owner, &"near-people".parse().unwrap(), "over").await.unwrap();
    let refused = hub.release_records(near_page).await.err().map(|error| error.code);
    assert_eq!(refused, Some(codes::GRANT_ENDED));

    hub.erase(&people.world.privacy, "ann@example.com").await.unwrap();
    let released = hub.release_records(own_page).await.unwrap();
    assert!(released.batches.is_empty() && released.leaf.is_none(), "rendered before the erasure");
    assert_eq!(released.next, 0, "so it is to be asked for again");
    let again = got(&hub.fetch_records(&own, all).await.unwrap()).remove(0);
    assert!(again.key.is_none_or(|key| !key.contains("ann@example.com")));
}
