//! The state machine under random clients: they join, crash, stall, restart as static members, hang up and are thrown
//! out, on a simulated clock. Checked at every reply: one generation at a time, one leader and one assignment in it. Checked
//! in the end: whoever is alive is in one stable generation.

mod support;

use proptest::prelude::*;
use std::collections::{BTreeSet, HashMap};
use support::{Bench, beat_of, commit_of, consumer, leave_of, protocols, sync_of};
use tradelane_groups::{GroupError, GroupState, Heartbeat, JoinGroup, SyncGroup, Ticket};

const CLIENTS: usize = 6;
const TICK: u64 = 500;

#[derive(Debug, Clone)]
enum Fault {
    /// The process dies; static ones come back under their instance ids.
    Crash(usize),
    /// It comes back.
    Start(usize),
    /// It does nothing for so many ticks.
    Stall(usize, u64),
    /// It goes in good order.
    Leave(usize),
    /// The connection with the request that waits is cut, and the client does not notice for a while.
    HangUp(usize),
    /// It offers other protocols from now on, and says so.
    Change(usize),
    /// All its principal's members are thrown out.
    Evict(usize),
}

fn faults() -> impl Strategy<Value = Vec<(u64, Fault)>> {
    let who = 0..CLIENTS;
    let fault = prop_oneof![
        3 => who.clone().prop_map(Fault::Crash),
        4 => who.clone().prop_map(Fault::Start),
        3 => (who.clone(), 1..60_u64).prop_map(|(at, ticks)| Fault::Stall(at, ticks)),
        1 => who.clone().prop_map(Fault::Leave),
        2 => who.clone().prop_map(Fault::HangUp),
        1 => who.clone().prop_map(Fault::Change),
        1 => who.prop_map(Fault::Evict),
    ];
    prop::collection::vec((0..40_u64, fault), 1..60)
}

#[derive(Debug, Clone, Default, PartialEq)]
enum Doing {
    #[default]
    Dead,
    /// About to join.
    Idle,
    Joining(Ticket),
    Syncing(Ticket),
    Reading,
}

#[derive(Debug, Default)]
struct Client {
    principal: String,
    instance: Option<String>,
    modern: bool,
    doing: Doing,
    id: String,
    generation: i32,
    stalled: u64,
    changed: bool,
    assignment: String,
}

struct World {
    bench: Bench,
    clients: Vec<Client>,
    /// Who led a generation, as told to its members. An old static leader that restarted is told of another on purpose.
    rosters: HashMap<i32, usize>,
    assigned: HashMap<i32, String>,
    /// Static members by every id they ever had.
    names: HashMap<String, String>,
    last_generation: i32,
}

impl World {
    fn new() -> Self {
        let client = |at: usize| Client {
            principal: format!("p{}", at % 3),
            instance: at.is_multiple_of(2).then(|| format!("i{at}")),
            modern: !at.is_multiple_of(3),
            doing: Doing::Idle,
            ..Client::default()
        };
        let mut bench = Bench::new();
        bench.limits.members_per_group = 2 * CLIENTS;
        Self {
            bench,
            clients: (0..CLIENTS).map(client).collect(),
            rosters: HashMap::new(),
            assigned: HashMap::new(),
            names: HashMap::new(),
            last_generation: 0,
        }
    }

    fn tick(&mut self) {
        self.bench.pass(i32::try_from(TICK).expect("short"));
        for at in 0..CLIENTS {
            if self.clients[at].stalled > 0 {
                self.clients[at].stalled -= 1;
            } else {
                self.act(at);
            }
        }
        let generation = self.bench.group.generation();
        assert!(generation >= self.last_generation, "generations only grow");
        self.last_generation = generation;
    }

    fn act(&mut self, at: usize) {
        match self.clients[at].doing.clone() {
            Doing::Dead => {}
            Doing::Idle => self.join(at),
            Doing::Joining(ticket) => self.on_joined(at, ticket),
            Doing::Syncing(ticket) => self.on_synced(at, ticket),
            Doing::Reading => self.beat(at),
        }
    }

    fn join(&mut self, at: usize) {
        let client = &self.clients[at];
        let offered: &[&str] = if client.changed { &["range", "robin"] } else { &["robin", "range", "more"] };
        let request = JoinGroup {
            member: client.id.clone(),
            instance: client.instance.clone(),
            principal: client.principal.clone(),
            protocols: protocols(offered),
            rebalance_timeout_ms: 20_000,
            require_known_member: client.modern,
            can_skip_assignment: client.modern,
            ..consumer()
        };
        let ticket = self.bench.join(request);
        if let Some(instance) = &self.clients[at].instance {
            // The id that it is given, whether or not it lives to hear it.
            self.names.insert(format!("m{ticket}"), instance.clone());
        }
        self.clients[at].doing = Doing::Joining(ticket);
    }

    fn on_joined(&mut self, at: usize, ticket: Ticket) {
        let Some(reply) = self.bench.joins.get(&ticket).cloned() else { return };
        let client = &mut self.clients[at];
        client.doing = Doing::Idle;
        let joined = match reply.outcome {
            Err(GroupError::MemberIdRequired) => {
                client.id = reply.member;
                return;
            }
            Err(GroupError::UnknownMemberId | GroupError::GroupMaxSizeReached) => {
                client.id.clear();
                return;
            }
            Err(GroupError::FencedInstanceId) => {
                client.doing = Doing::Dead;
                return;
            }
            Err(GroupError::RebalanceInProgress) => return,
            Err(other) => panic!("{other} is nothing that such a client is told"),
            Ok(joined) => joined,
        };
        assert!(!joined.protocol.is_empty() && joined.protocol_type == "consumer");
        client.id.clone_from(&reply.member);
        client.generation = joined.generation;
        let leads = joined.leader == client.id && !joined.skip_assignment;
        assert_eq!(leads, !joined.members.is_empty() && !joined.skip_assignment, "the leader gets the roster");
        if leads {
            let count = *self.rosters.entry(joined.generation).or_insert(joined.members.len());
            assert_eq!(count, joined.members.len(), "all rosters of a generation are one");
        }
        let text = |member: &str| format!("{}/{}/{member}", joined.generation, client.id);
        let assignments =
            joined.members.iter().filter(|_| leads).map(|member| (member.member.clone(), text(&member.member)));
        let request = SyncGroup {
            instance: client.instance.clone(),
            principal: client.principal.clone(),
            protocol: Some(joined.protocol.clone()),
            assignments: assignments.map(|(member, text)| (member, text.into())).collect(),
            ..sync_of(&client.id, joined.generation, &[])
        };
        let ticket = self.bench.sync(request);
        self.clients[at].doing = Doing::Syncing(ticket);
    }

    fn on_synced(&mut self, at: usize, ticket: Ticket) {
        let Some(reply) = self.bench.syncs.get(&ticket).cloned() else { return };
        let client = &mut self.clients[at];
        client.doing = Doing::Idle;
        match reply {
            Err(GroupError::RebalanceInProgress | GroupError::IllegalGeneration) => {}
            Err(GroupError::UnknownMemberId) => client.id.clear(),
            Err(GroupError::FencedInstanceId) => client.doing = Doing::Dead,
            Err(other) => panic!("{other} is nothing that such a client is told"),
            Ok(synced) => {
                client.doing = Doing::Reading;
                client.assignment = String::from_utf8(synced.assignment.to_vec()).expect("text");
                let mut parts = client.assignment.splitn(3, '/');
                let generation: i32 = parts.next().and_then(|part| part.parse().ok()).expect("everyone is assigned to");
                let (leader, member) = (parts.next().expect("leader"), parts.next().expect("member"));
                assert_eq!(generation, client.generation, "an assignment is its generation's");
                let named = |id: &str| self.names.get(id).cloned().unwrap_or_else(|| id.to_owned());
                assert_eq!(named(member), named(&client.id), "and its member's");
                let first = self.assigned.entry(generation).or_insert_with(|| leader.to_owned());
                assert_eq!(first, leader, "one leader assigns in a generation");
            }
        }
    }

    fn beat(&mut self, at: usize) {
        let client = &mut self.clients[at];
        let beat = Heartbeat {
            instance: client.instance.clone(),
            principal: client.principal.clone(),
            ..beat_of(&client.id, client.generation)
        };
        let now = self.bench.now;
        match self.bench.group.heartbeat(&beat, now) {
            Ok(()) => {
                assert_eq!(client.generation, self.bench.group.generation(), "only the current generation lives");
                let mut commit = commit_of(&client.id, client.generation, "t", 1);
                commit.principal.clone_from(&client.principal);
                let committed = self.bench.group.check_commit(&commit, now);
                assert!(matches!(committed, Ok(()) | Err(GroupError::RebalanceInProgress)), "{committed:?}");
                commit.generation -= 1;
                assert_eq!(self.bench.group.check_commit(&commit, now), Err(GroupError::IllegalGeneration));
            }
            Err(GroupError::RebalanceInProgress) => client.doing = Doing::Idle,
            Err(GroupError::UnknownMemberId | GroupError::IllegalGeneration) => {
                client.doing = Doing::Idle;
                client.id.clear();
            }
            Err(GroupError::FencedInstanceId) => client.doing = Doing::Dead,
            Err(other) => panic!("{other} is nothing that such a client is told"),
        }
    }

    fn break_with(&mut self, fault: &Fault) {
        match fault {
            Fault::Crash(at) => self.clients[*at].doing = Doing::Dead,
            Fault::Start(at) => {
                let client = &mut self.clients[*at];
                client.id.clear();
                client.stalled = 0;
                client.doing = Doing::Idle;
            }
            Fault::Stall(at, ticks) => self.clients[*at].stalled = *ticks,
            Fault::Leave(at) => {
                let client = &mut self.clients[*at];
                client.doing = Doing::Dead;
                let mut request = leave_of(&client.id);
                request.principal.clone_from(&client.principal);
                self.bench.leave(&request);
            }
            Fault::HangUp(at) => {
                if let Doing::Joining(ticket) | Doing::Syncing(ticket) = self.clients[*at].doing {
                    let effects = self.bench.group.abandon(ticket, self.bench.now);
                    self.bench.take(effects);
                    self.clients[*at].doing = Doing::Idle;
                    self.clients[*at].stalled = 3;
                }
            }
            Fault::Change(at) => {
                self.clients[*at].changed ^= true;
                if self.clients[*at].doing == Doing::Reading {
                    self.clients[*at].doing = Doing::Idle;
                }
            }
            Fault::Evict(at) => {
                let revoked = self.clients[*at].principal.clone();
                let (_, effects) = self.bench.group.evict(|principal| principal == revoked, self.bench.now);
                self.bench.take(effects);
            }
        }
    }

    fn check_converged(&self) {
        let alive: Vec<_> = self.clients.iter().filter(|client| client.doing != Doing::Dead).collect();
        if alive.is_empty() {
            assert_eq!((self.bench.group.state(), self.bench.group.members()), (GroupState::Empty, 0));
            assert_eq!(self.bench.group.next_deadline(), None, "nothing is left to wait for");
            return;
        }
        assert_eq!(self.bench.group.state(), GroupState::Stable, "{:?}", self.bench.group);
        let described = self.bench.group.describe("orders");
        let members: BTreeSet<_> = described.members.iter().map(|member| member.member.as_str()).collect();
        assert_eq!(members, alive.iter().map(|client| client.id.as_str()).collect(), "the living are the members");
        for client in alive {
            assert_eq!((&client.doing, client.generation), (&Doing::Reading, self.bench.group.generation()));
        }
        assert_eq!((self.bench.group.waiting(), self.bench.group.pending()), (0, 0));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_clients_do_generations_are_one_and_the_living_converge(faults in faults()) {
        let mut world = World::new();
        for (ticks, fault) in &faults {
            (0..*ticks).for_each(|_| world.tick());
            world.break_with(fault);
        }
        // Faults are over: stalls end, sessions of the dead run out, and the rest finds together.
        (0..600).for_each(|_| world.tick());
        world.check_converged();
    }
}
