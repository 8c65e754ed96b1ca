//! Incremental fetch sessions (KIP-227): a consumer names its partitions once, and after that only what changes; answers
//! leave out partitions that have nothing new.
//!
//! A session is no right. It remembers what a principal asks for, under the names or ids that it asked by; every fetch is
//! made whole again from it and then goes the way of every other, so that what the caller may see is decided anew each
//! time, also of partitions that the request does not name. Sessions are in memory, on the node that began them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::{FetchRequest, TopicName};
use tradelane_model::PrincipalId;
use uuid::Uuid;

use crate::apis::fetched::{FetchedPartition, FetchedTopic};
use crate::codes;
use crate::wire::text;

/// Kafka's error codes.
const FETCH_SESSION_ID_NOT_FOUND: i16 = 70;
const INVALID_FETCH_SESSION_EPOCH: i16 = 71;
const FETCH_SESSION_TOPIC_ID_ERROR: i16 = 106;

/// No session.
pub(crate) const NO_SESSION: i32 = 0;
/// The epoch of a request that wants a session, and of one that wants none.
const FIRST: i32 = 0;
const NONE: i32 = -1;

/// The longest name of a topic, as Kafka has it. What is longer names nothing, and is not remembered.
const LONGEST_NAME: usize = 249;

/// A session that was used within this time gives way to nobody else's.
const IN_USE: Duration = Duration::from_secs(120);

/// How many there may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SessionLimits {
    /// In all.
    pub(crate) sessions: usize,
    /// Of one principal. Its oldest gives way to its newest.
    pub(crate) per_principal: usize,
    /// Partitions of one request, as a session makes it whole.
    pub(crate) partitions: usize,
    /// Partitions of all sessions together.
    pub(crate) all_partitions: usize,
}

/// A partition, by the name or the id that it was asked by.
type Key = (TopicName, Uuid, i32);

/// A partition of a session, and what was last said of it.
#[derive(Debug, Clone)]
struct Place {
    name: TopicName,
    id: Uuid,
    asked: FetchPartition,
    high_watermark: i64,
    start: i64,
}

struct Session {
    principal: PrincipalId,
    /// Of the request that comes next.
    epoch: i32,
    by_id: bool,
    used: Duration,
    /// In the order in which they are looked at: what had records goes to the end, so that all have their turn.
    places: BTreeMap<u64, Place>,
    order: HashMap<Key, u64>,
    next: u64,
}

#[derive(Default)]
struct State {
    sessions: HashMap<i32, Session>,
    partitions: usize,
}

/// All sessions of a listener.
pub(crate) struct Sessions {
    state: Mutex<State>,
    limits: SessionLimits,
}

/// What a fetch is a part of.
#[derive(Debug)]
pub(crate) enum Part {
    /// Nothing.
    Alone,
    /// It begins a session.
    First {
        /// Whose.
        principal: PrincipalId,
        /// By ids, not by names.
        by_id: bool,
    },
    /// It goes on in one.
    Next {
        /// Which.
        id: i32,
    },
}

impl Sessions {
    pub(crate) fn new(limits: SessionLimits) -> Self {
        Self { state: Mutex::default(), limits }
    }

    /// The whole of what is asked: all partitions of the session, if there is one. Or Kafka's error code. `now` is a time
    /// since the start.
    pub(crate) fn begin(
        &self,
        principal: &PrincipalId,
        request: FetchRequest,
        by_id: bool,
        now: Duration,
    ) -> Result<(FetchRequest, Part), i16> {
        let (id, epoch) = (request.session_id, request.session_epoch);
        let asked: usize = request.topics.iter().map(|topic| topic.partitions.len()).sum();
        if asked > self.limits.partitions {
            return Err(codes::INVALID_REQUEST);
        }
        let mut state = self.locked();
        if matches!(epoch, FIRST | NONE) {
            // Whoever begins anew, or wants none any more, needs the one that it had no longer.
            state.remove_if(id, principal);
            let part = match epoch {
                FIRST => Part::First { principal: principal.clone(), by_id },
                _ => Part::Alone,
            };
            return Ok((alone(request), part));
        }
        // Another's does not exist.
        let session = state.sessions.get_mut(&id).filter(|session| session.principal == *principal);
        let session = session.ok_or(FETCH_SESSION_ID_NOT_FOUND)?;
        if session.epoch != epoch {
            return Err(INVALID_FETCH_SESSION_EPOCH);
        }
        if session.by_id != by_id {
            return Err(FETCH_SESSION_TOPIC_ID_ERROR);
        }
        let before = session.places.len();
        let updated = session.update(&request, self.limits.partitions);
        (session.epoch, session.used) = (after(epoch), now);
        let (places, whole) = (session.places.len(), session.whole(request));
        state.partitions = (state.partitions + places).saturating_sub(before);
        // One that wants more than there is room for ends; what its consumer asks next is whole.
        let has_room = places <= before || state.partitions <= self.limits.all_partitions;
        let updated = updated.and(if has_room { Ok(()) } else { Err(FETCH_SESSION_ID_NOT_FOUND) });
        if updated.is_err() || places == 0 {
            state.remove_if(id, principal);
        }
        updated?;
        Ok((whole, if places == 0 { Part::Alone } else { Part::Next { id } }))
    }

    /// Remembers what is said, and leaves out of a session's answer what has nothing new. `request` is the whole one.
    /// Returns the session's number, for the answer.
    pub(crate) fn finish(
        &self,
        part: &Part,
        request: &FetchRequest,
        topics: &mut Vec<FetchedTopic<'_>>,
        now: Duration,
    ) -> i32 {
        let mut state = self.locked();
        match part {
            Part::Alone => NO_SESSION,
            Part::First { principal, by_id } => {
                let mut session = Session::new(principal.clone(), *by_id, now);
                if session.update(request, self.limits.partitions).is_err() || session.places.is_empty() {
                    return NO_SESSION;
                }
                session.remember(topics);
                state.insert(session, &self.limits, now).unwrap_or(NO_SESSION)
            }
            Part::Next { id } => match state.sessions.get_mut(id) {
                Some(session) => {
                    session.tell(topics);
                    *id
                }
                // It gave way meanwhile: the answer is whole, and says that it is over.
                None => NO_SESSION,
            },
        }
    }

    /// What comes next in a session if its consumer only goes on: the whole of it, in the order that it will have.
    pub(crate) fn next(&self, session: i32, request: &FetchRequest) -> Option<FetchRequest> {
        match session {
            NO_SESSION => Some(request.clone()),
            id => Some(self.locked().sessions.get(&id)?.whole(request.clone())),
        }
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Removes a session of that principal's.
    fn remove_if(&mut self, id: i32, principal: &PrincipalId) {
        if self.sessions.get(&id).is_some_and(|session| session.principal == *principal) {
            self.remove(id);
        }
    }

    fn remove(&mut self, id: i32) {
        if let Some(session) = self.sessions.remove(&id) {
            self.partitions = self.partitions.saturating_sub(session.places.len());
        }
    }

    /// Takes a new one in if there is room, or if others give way: the principal's own oldest, or anybody's that was not
    /// used for a while. Returns its number.
    fn insert(&mut self, session: Session, limits: &SessionLimits, now: Duration) -> Option<i32> {
        let own = |state: &Self| state.sessions.values().filter(|other| other.principal == session.principal).count();
        while own(self) >= limits.per_principal {
            self.remove(self.oldest(|other| other.principal == session.principal)?);
        }
        let full = |state: &Self| {
            state.sessions.len() >= limits.sessions || state.partitions + session.places.len() > limits.all_partitions
        };
        while full(self) {
            self.remove(self.oldest(|other| now.saturating_sub(other.used) >= IN_USE)?);
        }
        let id = loop {
            let id = i32::from_be_bytes(tradelane_keys::random_array()) & i32::MAX;
            if id != NO_SESSION && !self.sessions.contains_key(&id) {
                break id;
            }
        };
        self.partitions += session.places.len();
        self.sessions.insert(id, session);
        Some(id)
    }

    fn oldest(&self, which: impl Fn(&Session) -> bool) -> Option<i32> {
        let all = self.sessions.iter().filter(|(_, session)| which(session));
        all.min_by_key(|(_, session)| session.used).map(|(id, _)| *id)
    }
}

impl Session {
    fn new(principal: PrincipalId, by_id: bool, used: Duration) -> Self {
        let (places, order) = (BTreeMap::new(), HashMap::new());
        Self { principal, epoch: after(FIRST), by_id, used, places, order, next: 0 }
    }

    /// Takes in what a request names and lets go what it forgets; refuses to hold more than `most`, or names that none has.
    fn update(&mut self, request: &FetchRequest, most: usize) -> Result<(), i16> {
        for topic in &request.topics {
            if topic.topic.len() > LONGEST_NAME {
                return Err(codes::INVALID_REQUEST);
            }
            // A copy of its own, not a part of a frame that would stay with it.
            let name = TopicName(text(topic.topic.as_str()));
            for asked in &topic.partitions {
                let key = (name.clone(), topic.topic_id, asked.partition);
                let at = self.order.get(&key).copied();
                if let Some(place) = at.and_then(|at| self.places.get_mut(&at)) {
                    place.asked = asked.clone();
                    continue;
                }
                if self.places.len() >= most {
                    return Err(codes::INVALID_REQUEST);
                }
                let (name, id, asked) = (name.clone(), topic.topic_id, asked.clone());
                self.put(key, Place { name, id, asked, high_watermark: -1, start: -1 });
            }
        }
        for topic in &request.forgotten_topics_data {
            for partition in &topic.partitions {
                let key = (topic.topic.clone(), topic.topic_id, *partition);
                if let Some(at) = self.order.remove(&key) {
                    self.places.remove(&at);
                }
            }
        }
        Ok(())
    }

    fn put(&mut self, key: Key, place: Place) {
        self.order.insert(key, self.next);
        self.places.insert(self.next, place);
        self.next += 1;
    }

    /// The request with all partitions, as if there were no sessions.
    fn whole(&self, request: FetchRequest) -> FetchRequest {
        let mut topics: Vec<FetchTopic> = Vec::new();
        for place in self.places.values() {
            match topics.last_mut() {
                Some(last) if last.topic == place.name && last.topic_id == place.id => {
                    last.partitions.push(place.asked.clone());
                }
                _ => topics.push(
                    FetchTopic::default()
                        .with_topic(place.name.clone())
                        .with_topic_id(place.id)
                        .with_partitions(vec![place.asked.clone()]),
                ),
            }
        }
        alone(request.with_topics(topics))
    }

    /// Remembers an answer that is given whole.
    fn remember(&mut self, topics: &[FetchedTopic<'_>]) {
        for topic in topics {
            let name = TopicName(text(topic.name));
            for partition in &topic.partitions {
                self.told(&name, topic.id, partition);
            }
        }
    }

    /// Keeps of an answer what has something new, and remembers it.
    fn tell(&mut self, topics: &mut Vec<FetchedTopic<'_>>) {
        topics.retain_mut(|topic| {
            let (name, id) = (TopicName(text(topic.name)), topic.id);
            topic.partitions.retain(|partition| self.told(&name, id, partition));
            !topic.partitions.is_empty()
        });
    }

    /// Has it something new?
    fn told(&mut self, name: &TopicName, id: Uuid, partition: &FetchedPartition<'_>) -> bool {
        let key = (name.clone(), id, partition.index);
        let Some(at) = self.order.get(&key).copied() else { return true };
        let Some(place) = self.places.get_mut(&at) else { return true };
        let has_records = !partition.batches.is_empty();
        if partition.error == codes::NONE && partition.high_watermark < 0 && !has_records {
            // There was no room for it in this answer, so that nobody looked.
            return false;
        }
        let moved = place.high_watermark != partition.high_watermark || place.start != partition.start;
        let failed = partition.error != codes::NONE;
        (place.high_watermark, place.start) = (partition.high_watermark, partition.start);
        if failed {
            // It is said again and again, and so is that it is over.
            place.high_watermark = -1;
        }
        if has_records && let Some(place) = self.places.remove(&at) {
            self.put(key, place);
        }
        has_records || moved || failed || partition.preferred_replica != -1
    }
}

/// Without anything of a session.
fn alone(request: FetchRequest) -> FetchRequest {
    request.with_session_id(NO_SESSION).with_session_epoch(NONE).with_forgotten_topics_data(Vec::new())
}

/// The epoch after that one; after the last comes the one after the first.
fn after(epoch: i32) -> i32 {
    epoch.checked_add(1).unwrap_or(1)
}

#[cfg(test)]
mod properties;

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use kafka_protocol::messages::fetch_request::ForgottenTopic;

    use super::*;

    const LIMITS: SessionLimits = SessionLimits { sessions: 3, per_principal: 2, partitions: 10, all_partitions: 20 };
    const T0: Duration = Duration::ZERO;

    fn who(name: &str) -> PrincipalId {
        name.parse().unwrap()
    }

    fn request(session: (i32, i32), partitions: &[(&str, i32, i64)]) -> FetchRequest {
        let topic = |(name, partition, offset): &(&str, i32, i64)| {
            let asked = FetchPartition::default().with_partition(*partition).with_fetch_offset(*offset);
            FetchTopic::default().with_topic(TopicName(text(*name))).with_partitions(vec![asked])
        };
        FetchRequest::default()
            .with_session_id(session.0)
            .with_session_epoch(session.1)
            .with_topics(partitions.iter().map(topic).collect())
    }

    fn asked(request: &FetchRequest) -> Vec<(String, i32, i64)> {
        let of = |topic: &FetchTopic| {
            let name = topic.topic.to_string();
            topic.partitions.iter().map(|p| (name.clone(), p.partition, p.fetch_offset)).collect::<Vec<_>>()
        };
        request.topics.iter().flat_map(of).collect()
    }

    /// What is told of partitions: error, high watermark, and whether there are records.
    fn finish(
        sessions: &Sessions,
        (whole, part): &(FetchRequest, Part),
        said: &[(i16, i64, bool)],
    ) -> (i32, Vec<(String, i32)>) {
        let batch = [Bytes::from_static(b"batch")];
        let mut said = said.iter();
        let mut topics: Vec<FetchedTopic<'_>> = Vec::new();
        for topic in &whole.topics {
            let mut told = FetchedTopic::of(topic);
            for partition in &topic.partitions {
                let (error, high_watermark, records) = *said.next().unwrap();
                told.partitions.push(FetchedPartition {
                    index: partition.partition,
                    error,
                    high_watermark,
                    last_stable: high_watermark,
                    start: 0,
                    aborted: None,
                    preferred_replica: -1,
                    batches: if records { &batch } else { &[] },
                });
            }
            topics.push(told);
        }
        let id = sessions.finish(part, whole, &mut topics, T0);
        let names = topics.iter().flat_map(|t| t.partitions.iter().map(|p| (t.name.to_owned(), p.index)));
        (id, names.collect())
    }

    fn own(places: &[(&str, i32, i64)]) -> Vec<(String, i32, i64)> {
        places.iter().map(|(name, partition, offset)| ((*name).to_owned(), *partition, *offset)).collect()
    }

    #[test]
    fn a_session_is_named_once_and_then_only_what_changes() {
        let sessions = Sessions::new(LIMITS);
        let begun = sessions.begin(&who("a"), request((0, 0), &[("t", 0, 5), ("t", 1, 7)]), false, T0).unwrap();
        let (id, told) = finish(&sessions, &begun, &[(0, 5, false), (0, 9, true)]);
        assert!(id > 0 && told.len() == 2, "the first answer is whole");
        let next = sessions.begin(&who("a"), request((id, 1), &[("t", 1, 9)]), false, T0).unwrap();
        assert_eq!(asked(&next.0), own(&[("t", 0, 5), ("t", 1, 9)]));
        assert_eq!((next.0.session_id, next.0.session_epoch), (0, -1));
        assert_eq!(finish(&sessions, &next, &[(0, 5, false), (0, 9, false)]), (id, vec![]), "nothing is new");
        let next = sessions.begin(&who("a"), request((id, 2), &[]), false, T0).unwrap();
        assert_eq!(finish(&sessions, &next, &[(0, 6, true), (0, 9, false)]), (id, vec![("t".to_owned(), 0)]));
        let forget = ForgottenTopic::default().with_topic(TopicName(text("t"))).with_partitions(vec![0]);
        let forgetting = request((id, 3), &[("u", 0, 1)]).with_forgotten_topics_data(vec![forget]);
        let next = sessions.begin(&who("a"), forgetting, false, T0).unwrap();
        assert_eq!(asked(&next.0), own(&[("t", 1, 9), ("u", 0, 1)]));
    }

    #[test]
    fn what_had_records_goes_to_the_end_and_an_error_is_said_each_time() {
        let sessions = Sessions::new(LIMITS);
        let all = [("t", 0, 0), ("t", 1, 0), ("u", 0, 0)];
        let begun = sessions.begin(&who("a"), request((0, 0), &all), false, T0).unwrap();
        let (id, _) = finish(&sessions, &begun, &[(0, 9, true), (29, -1, false), (0, 9, false)]);
        assert_eq!(asked(&sessions.next(id, &begun.0).unwrap()), own(&[("t", 1, 0), ("u", 0, 0), ("t", 0, 0)]));
        for epoch in 1..4 {
            let next = sessions.begin(&who("a"), request((id, epoch), &[]), false, T0).unwrap();
            let (_, told) = finish(&sessions, &next, &[(29, -1, false), (0, 9, false), (0, 9, false)]);
            assert_eq!(told, [("t".to_owned(), 1)]);
        }
    }

    #[test]
    fn a_session_is_its_principals_and_its_requests_come_in_order() {
        let sessions = Sessions::new(LIMITS);
        let begun = sessions.begin(&who("a"), request((0, 0), &[("t", 0, 0)]), false, T0).unwrap();
        let (id, _) = finish(&sessions, &begun, &[(0, 0, false)]);
        let code = |who: PrincipalId, session, by_id| {
            sessions.begin(&who, request(session, &[]), by_id, T0).err().unwrap_or(0)
        };
        assert_eq!(code(who("b"), (id, 1), false), FETCH_SESSION_ID_NOT_FOUND);
        assert_eq!(code(who("a"), (id ^ 1, 1), false), FETCH_SESSION_ID_NOT_FOUND);
        for epoch in [2, 3, i32::MAX, i32::MIN, -2] {
            assert_eq!(code(who("a"), (id, epoch), false), INVALID_FETCH_SESSION_EPOCH);
        }
        assert_eq!(code(who("a"), (id, 1), true), FETCH_SESSION_TOPIC_ID_ERROR);
        // Nobody else ends it.
        assert_eq!(code(who("b"), (id, -1), false), 0);
        assert_eq!(code(who("a"), (id, 1), false), 0);
        assert_eq!(code(who("a"), (id, 1), false), INVALID_FETCH_SESSION_EPOCH);
        assert_eq!(code(who("a"), (id, -1), false), 0);
        assert_eq!(code(who("a"), (id, 2), false), FETCH_SESSION_ID_NOT_FOUND);
    }

    #[test]
    fn the_oldest_gives_way_and_nobody_pushes_out_what_others_use() {
        let sessions = Sessions::new(LIMITS);
        let begin = |name: &str, at: u64| {
            let now = Duration::from_secs(at);
            let (whole, part) = sessions.begin(&who(name), request((0, 0), &[("t", 0, 0)]), false, now).unwrap();
            sessions.finish(&part, &whole, &mut Vec::new(), now)
        };
        let lives = |name: &str, id: i32| sessions.locked().sessions.get(&id).is_some_and(|s| s.principal == who(name));
        let (a1, a2, b1) = (begin("a", 1), begin("a", 2), begin("b", 3));
        let a3 = begin("a", 4);
        assert!(!lives("a", a1) && lives("a", a2) && lives("a", a3) && lives("b", b1));
        assert_eq!(begin("c", 5), NO_SESSION, "all are in use");
        let c1 = begin("c", 2 + 120);
        assert!(lives("c", c1) && !lives("a", a2) && lives("a", a3));
        let many: Vec<_> = (0..11).map(|partition| ("t", partition, 0)).collect();
        assert_eq!(sessions.begin(&who("c"), request((0, 0), &many), false, T0).err(), Some(codes::INVALID_REQUEST));
    }

    #[test]
    fn a_name_that_no_topic_has_is_answered_and_not_remembered() {
        let sessions = Sessions::new(LIMITS);
        let long = "x".repeat(LONGEST_NAME + 1);
        let begun = sessions.begin(&who("a"), request((0, 0), &[(&long, 0, 0)]), false, T0).unwrap();
        assert_eq!(finish(&sessions, &begun, &[(3, -1, false)]), (NO_SESSION, vec![(long.clone(), 0)]));
        let begun = sessions.begin(&who("a"), request((0, 0), &[("t", 0, 0)]), false, T0).unwrap();
        let (id, _) = finish(&sessions, &begun, &[(0, 0, false)]);
        let more = sessions.begin(&who("a"), request((id, 1), &[(&long, 0, 0)]), false, T0);
        assert_eq!(more.err(), Some(codes::INVALID_REQUEST));
        assert!(sessions.locked().sessions.is_empty() && sessions.locked().partitions == 0);
    }

    #[test]
    fn epochs_go_round() {
        assert_eq!((after(0), after(7), after(i32::MAX)), (1, 8, 1));
    }
}
