//! Consumers as real clients behave, over the coordinator and a store, on paused time: six members of the same group in two
//! tenants are killed and started at random while the hub itself restarts. No committed offset is lost, none
//! crosses from one tenant to the other, and when the killing stops everyone reads and no partition is read twice.

mod support;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{House, beat_of, consumer, sync_of};
use tokio::time::sleep;
use tradelane_groups::{
    Coordinator, GroupError, GroupState, Heartbeat, JoinGroup, Joined, NewOffset, OffsetCommit, OffsetFetch, SyncGroup,
};

const MEMBERS: usize = 6;
const PARTITIONS: i32 = 12;

/// What the world outside knows: highest offset acknowledged, per tenant and partition.
type Acknowledged = Arc<Mutex<HashMap<(String, i32), i64>>>;
type Hub = Arc<Mutex<Arc<Coordinator>>>;

struct Consumer {
    hub: Hub,
    scope: String,
    instance: Option<String>,
    id: String,
    acknowledged: Acknowledged,
    owned: Arc<Mutex<Vec<i32>>>,
}

impl Consumer {
    fn hub(&self) -> Arc<Coordinator> {
        self.hub.lock().expect("whole").clone()
    }

    async fn run(mut self) {
        loop {
            if let Err(error) = self.one_generation().await {
                self.owned.lock().expect("whole").clear();
                match error {
                    GroupError::UnknownMemberId | GroupError::IllegalGeneration => self.id.clear(),
                    GroupError::RebalanceInProgress | GroupError::MemberIdRequired => {}
                    GroupError::FencedInstanceId => return,
                    _ => sleep(Duration::from_millis(200)).await,
                }
            }
        }
    }

    async fn one_generation(&mut self) -> Result<(), GroupError> {
        let request = JoinGroup {
            member: self.id.clone(),
            instance: self.instance.clone(),
            require_known_member: true,
            ..consumer()
        };
        let reply = self.hub().join(&self.scope, request).await;
        if !reply.member.is_empty() {
            self.id = reply.member;
        }
        let joined = reply.outcome?;
        let generation = joined.generation;
        let request = SyncGroup {
            instance: self.instance.clone(),
            assignments: assign(&joined),
            ..sync_of(&self.id, generation, &[])
        };
        let synced = self.hub().sync(&self.scope, request).await?;
        let owned: Vec<i32> = synced.assignment.iter().map(|partition| i32::from(*partition)).collect();

        let promised = self.acknowledged.lock().expect("whole").clone();
        let wanted = Some(owned.iter().map(|partition| ("t".to_owned(), *partition)).collect());
        let fetched = self.hub().fetch(&self.scope, OffsetFetch { group: "orders".into(), wanted }).await?;
        let mut position = HashMap::new();
        for offset in fetched {
            let at = offset.committed.as_ref().map_or(0, |committed| committed.offset);
            let least = promised.get(&(self.scope.clone(), offset.partition)).copied().unwrap_or(0);
            assert!(at >= least, "{}/{} is at {at}, {least} was acknowledged", self.scope, offset.partition);
            let note = offset.committed.map(|committed| committed.metadata).unwrap_or_else(|| self.scope.clone());
            assert_eq!(note, self.scope, "an offset of another tenant");
            position.insert(offset.partition, at);
        }
        *self.owned.lock().expect("whole") = owned;
        loop {
            sleep(Duration::from_millis(700)).await;
            self.read_on(generation, &mut position).await?;
            let beat = Heartbeat { instance: self.instance.clone(), ..beat_of(&self.id, generation) };
            self.hub().heartbeat(&self.scope, beat).await?;
        }
    }

    async fn read_on(&self, generation: i32, position: &mut HashMap<i32, i64>) -> Result<(), GroupError> {
        let offsets: Vec<_> = position
            .iter_mut()
            .map(|(partition, at)| {
                *at += 1;
                let (topic, metadata) = ("t".to_owned(), self.scope.clone());
                NewOffset { topic, partition: *partition, offset: *at, leader_epoch: -1, metadata }
            })
            .collect();
        let commit = OffsetCommit {
            group: "orders".into(),
            member: self.id.clone(),
            instance: self.instance.clone(),
            principal: "app".into(),
            generation,
            offsets: offsets.clone(),
        };
        let answers = self.hub().commit(&self.scope, commit).await;
        for (offset, answer) in offsets.into_iter().zip(answers) {
            answer?;
            let mut acknowledged = self.acknowledged.lock().expect("whole");
            let highest = acknowledged.entry((self.scope.clone(), offset.partition)).or_default();
            *highest = offset.offset.max(*highest);
        }
        Ok(())
    }
}

/// Partitions in turn, one byte each.
fn assign(joined: &Joined) -> Vec<(String, bytes::Bytes)> {
    let count = joined.members.len();
    let share =
        |at: usize| (0..PARTITIONS).filter(move |partition| usize::try_from(*partition).expect("small") % count == at);
    let bytes = |at: usize| share(at).map(|partition| u8::try_from(partition).expect("small")).collect();
    joined.members.iter().enumerate().map(|(at, member)| (member.member.clone(), bytes(at))).collect()
}

/// Small and repeatable.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

struct Slot {
    task: tokio::task::JoinHandle<()>,
    owned: Arc<Mutex<Vec<i32>>>,
}

fn start(hub: &Hub, acknowledged: &Acknowledged, at: usize) -> Slot {
    let owned = Arc::<Mutex<Vec<i32>>>::default();
    let consumer = Consumer {
        hub: hub.clone(),
        scope: if at < MEMBERS { "acme".into() } else { "globex".into() },
        instance: at.is_multiple_of(3).then(|| format!("instance-{at}")),
        id: String::new(),
        acknowledged: acknowledged.clone(),
        owned: owned.clone(),
    };
    Slot { task: tokio::spawn(consumer.run()), owned }
}

async fn run(seed: u64) {
    let mut house = House::new();
    house.store.delay_ms.store(3, std::sync::atomic::Ordering::SeqCst);
    let (hub, acknowledged) = (Arc::new(Mutex::new(house.coordinator.clone())), Acknowledged::default());
    let mut slots: Vec<Slot> = (0..2 * MEMBERS).map(|at| start(&hub, &acknowledged, at)).collect();
    let mut dice = Dice(seed);
    for _ in 0..40 {
        sleep(Duration::from_millis(dice.roll(4_000))).await;
        let at = usize::try_from(dice.roll(12)).expect("small");
        match dice.roll(10) {
            0..5 => slots[at].task.abort(),
            5..9 => {
                slots[at].task.abort();
                slots[at] = start(&hub, &acknowledged, at);
            }
            _ => {
                // The hub restarts: tasks of the old one end with it, writes under way end first.
                let old = hub.lock().expect("whole").clone();
                for slot in &slots {
                    slot.task.abort();
                }
                while old.snapshot().writes_waiting > 0 {
                    sleep(Duration::from_millis(1)).await;
                }
                sleep(Duration::from_millis(10)).await;
                house.restart();
                *hub.lock().expect("whole") = house.coordinator.clone();
                slots = (0..2 * MEMBERS).map(|at| start(&hub, &acknowledged, at)).collect();
            }
        }
    }
    // So that who was just killed is dead.
    sleep(Duration::from_millis(1)).await;
    for (at, slot) in slots.iter_mut().enumerate() {
        if slot.task.is_finished() {
            *slot = start(&hub, &acknowledged, at);
        }
    }
    sleep(Duration::from_secs(120)).await;
    for (scope, slots) in [("acme", &slots[..MEMBERS]), ("globex", &slots[MEMBERS..])] {
        let described = house.coordinator.describe(scope, "orders").await.expect("there");
        assert_eq!((described.state, described.members.len()), (GroupState::Stable, MEMBERS), "seed {seed}");
        let mut owned: Vec<i32> = slots.iter().flat_map(|slot| slot.owned.lock().expect("whole").clone()).collect();
        owned.sort_unstable();
        assert_eq!(owned, (0..PARTITIONS).collect::<Vec<_>>(), "seed {seed}: each partition has one reader");
        assert!(slots.iter().all(|slot| !slot.task.is_finished()), "seed {seed}");
    }
    for slot in slots {
        slot.task.abort();
        if let Err(error) = slot.task.await {
            assert!(error.is_cancelled(), "seed {seed}: {error}");
        }
    }
    let promised = acknowledged.lock().expect("whole").clone();
    assert_eq!(promised.len(), 2 * usize::try_from(PARTITIONS).expect("small"));
    for ((scope, partition), least) in promised {
        let wanted = Some(vec![("t".to_owned(), partition)]);
        let fetched = house.coordinator.fetch(&scope, OffsetFetch { group: "orders".into(), wanted }).await;
        let kept = fetched.expect("fetched")[0].committed.clone().expect("committed");
        assert!(kept.offset >= least && kept.metadata == scope, "seed {seed}");
    }
    assert_eq!(house.coordinator.snapshot().waiting, 0, "nobody waits for who is gone");
}

#[tokio::test(start_paused = true)]
async fn six_members_under_random_kills_converge_and_lose_nothing() {
    for seed in 0..10 {
        run(seed).await;
    }
}
