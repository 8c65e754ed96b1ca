//! Whatever consumers send, in whatever order: a session makes of it what they meant, and nothing grows beyond its limits.

use std::collections::BTreeMap;

use kafka_protocol::messages::fetch_request::ForgottenTopic;
use proptest::prelude::*;

use super::*;

const LIMITS: SessionLimits = SessionLimits { sessions: 4, per_principal: 2, partitions: 6, all_partitions: 12 };

/// One request of one of three consumers.
#[derive(Debug, Clone)]
struct Step {
    consumer: usize,
    kind: Kind,
    /// Partitions (of 4 topics with 4) and the offsets from which they are asked for.
    asked: BTreeMap<(u8, i32), i64>,
    forgotten: Vec<(u8, i32)>,
    /// Bits: which of the partitions have records.
    records: u16,
    later: u64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Begin,
    Next,
    WrongEpoch,
    AnothersSession,
    End,
}

fn step() -> impl Strategy<Value = Step> {
    let kind = prop_oneof![
        2 => Just(Kind::Begin),
        8 => Just(Kind::Next),
        1 => Just(Kind::WrongEpoch),
        1 => Just(Kind::AnothersSession),
        1 => Just(Kind::End),
    ];
    let asked = prop::collection::btree_map((0u8..4, 0i32..4), 0i64..100, 0..5);
    let forgotten = prop::collection::vec((0u8..4, 0i32..4), 0..3);
    (0usize..3, kind, asked, forgotten, any::<u16>(), 0u64..100).prop_map(
        |(consumer, kind, asked, forgotten, records, later)| Step { consumer, kind, asked, forgotten, records, later },
    )
}

fn name(topic: u8) -> TopicName {
    TopicName(text(format!("topic-{topic}")))
}

fn request(session: (i32, i32), step: &Step) -> FetchRequest {
    let topics = step.asked.iter().map(|((topic, partition), offset)| {
        let asked = FetchPartition::default().with_partition(*partition).with_fetch_offset(*offset);
        FetchTopic::default().with_topic(name(*topic)).with_partitions(vec![asked])
    });
    let forgotten = step
        .forgotten
        .iter()
        .map(|(topic, partition)| ForgottenTopic::default().with_topic(name(*topic)).with_partitions(vec![*partition]));
    FetchRequest::default()
        .with_session_id(session.0)
        .with_session_epoch(session.1)
        .with_topics(topics.collect())
        .with_forgotten_topics_data(forgotten.collect())
}

fn asked(whole: &FetchRequest) -> BTreeMap<(String, i32), i64> {
    let of = |topic: &FetchTopic| {
        let name = topic.topic.to_string();
        topic.partitions.iter().map(|p| ((name.clone(), p.partition), p.fetch_offset)).collect::<Vec<_>>()
    };
    whole.topics.iter().flat_map(of).collect()
}

/// A consumer, and what its session should hold.
#[derive(Default)]
struct Consumer {
    session: (i32, i32),
    wants: BTreeMap<(String, i32), i64>,
}

fn answered<'a>(whole: &'a FetchRequest, records: u16, batch: &'a [bytes::Bytes]) -> Vec<FetchedTopic<'a>> {
    let mut at = 0;
    let of = |topic: &'a FetchTopic| {
        let mut told = FetchedTopic::of(topic);
        for partition in &topic.partitions {
            let has_records = records >> (at % 16) & 1 == 1;
            at += 1;
            told.partitions.push(FetchedPartition {
                index: partition.partition,
                error: codes::NONE,
                high_watermark: 100,
                last_stable: 100,
                start: 0,
                aborted: None,
                preferred_replica: -1,
                batches: if has_records { batch } else { &[] },
            });
        }
        told
    };
    whole.topics.iter().map(of).collect()
}

proptest! {
    #[test]
    fn a_session_is_what_its_consumer_asked_for_and_all_stay_within_their_limits(
        steps in prop::collection::vec(step(), 1..60)
    ) {
        let sessions = Sessions::new(LIMITS);
        let mut consumers: [Consumer; 3] = Default::default();
        let batch = [bytes::Bytes::from_static(b"batch")];
        let mut now = Duration::ZERO;
        for step in &steps {
            now += Duration::from_secs(step.later);
            let others = consumers[(step.consumer + 1) % 3].session;
            let consumer = &mut consumers[step.consumer];
            let session = match step.kind {
                Kind::Begin => (consumer.session.0, FIRST),
                Kind::Next => consumer.session,
                Kind::WrongEpoch => (consumer.session.0, consumer.session.1.wrapping_add(7)),
                Kind::AnothersSession => others,
                Kind::End => (consumer.session.0, NONE),
            };
            let principal: PrincipalId = format!("consumer-{}", step.consumer).parse().unwrap();
            let sent = request(session, step);
            let begins = matches!(session.1, FIRST | NONE);
            match sessions.begin(&principal, sent.clone(), false, now) {
                Err(code) => {
                    prop_assert!(!begins, "who begins is not refused: {code}");
                    let theirs = session == others && session != consumer.session;
                    prop_assert!(!theirs || code == FETCH_SESSION_ID_NOT_FOUND);
                }
                Ok((whole, part)) => {
                    if begins {
                        consumer.wants = asked(&sent);
                    } else {
                        prop_assert_eq!(session, consumer.session, "nobody goes on where another is");
                        consumer.wants.extend(asked(&sent));
                        for (topic, partition) in &step.forgotten {
                            consumer.wants.remove(&(name(*topic).to_string(), *partition));
                        }
                    }
                    prop_assert_eq!(asked(&whole), consumer.wants.clone());
                    let mut told = answered(&whole, step.records, &batch);
                    // Whatever is left out of an answer, records are not.
                    let with_records = |topics: &[FetchedTopic<'_>]| -> usize {
                        topics.iter().flat_map(|topic| &topic.partitions).filter(|p| !p.batches.is_empty()).count()
                    };
                    let before = with_records(&told);
                    let id = sessions.finish(&part, &whole, &mut told, now);
                    prop_assert_eq!(with_records(&told), before);
                    let epoch = if begins { after(FIRST) } else { after(session.1) };
                    consumer.session = if id == NO_SESSION { (NO_SESSION, FIRST) } else { (id, epoch) };
                }
            }
            let state = sessions.locked();
            let held: usize = state.sessions.values().map(|session| session.places.len()).sum();
            prop_assert_eq!(state.partitions, held);
            prop_assert!(held <= LIMITS.all_partitions && state.sessions.len() <= LIMITS.sessions);
            for session in state.sessions.values() {
                prop_assert!(session.places.len() == session.order.len() && session.places.len() <= LIMITS.partitions);
                let own = state.sessions.values().filter(|other| other.principal == session.principal).count();
                prop_assert!(own <= LIMITS.per_principal);
            }
        }
    }
}
