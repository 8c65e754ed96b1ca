//! What members of KIP-848 groups said over one connection. They say what they want once and after that only what changes, while
//! what that means (which topics a name leads to, which ones a pattern finds) may change with every grant. So it is remembered
//! as it was said, and worked out anew at every heartbeat.
//!
//! A connection that knows nothing of a member has it say all again, as brokers do that coordinate its group no more. It knows
//! no broker and no product.

use std::sync::{Mutex, MutexGuard, PoisonError};

use kafka_protocol::messages::{ConsumerGroupHeartbeatRequest, GroupId, TopicName};
use kafka_protocol::protocol::StrBytes;
use regex::{Regex, RegexBuilder};

use crate::codes;
use crate::wire::text;

/// Kafka's error codes.
const NOT_COORDINATOR: i16 = 16;
const FENCED_MEMBER_EPOCH: i16 = 110;
const INVALID_REGULAR_EXPRESSION: i16 = 128;

/// Whoever was told so often in a row to say all, and does not, joins anew.
const PATIENCE: u32 = 4;
/// Members that one connection speaks for; clients have one.
const MEMBERS: usize = 4;
/// Bytes of names and patterns that are remembered for one connection.
const REMEMBERED: usize = 256 << 10;
/// The longest pattern, and what it may take when it is compiled and when it runs.
const PATTERN: usize = 4 << 10;
const COMPILED: usize = 256 << 10;
const RUNNING: usize = 64 << 10;
/// What a name counts for beside its bytes.
const NAME: usize = 16;

/// Not passed on: the error that the member is told, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) code: i16,
    pub(super) why: &'static str,
}

/// Clients answer it by finding the coordinator again and saying all that they want and hold. (COORDINATOR_LOAD_IN_PROGRESS is
/// answered by librdkafka with the same words again.)
const SAY_ALL: Refused = Refused { code: NOT_COORDINATOR, why: "Say all again." };
const JOIN_ANEW: Refused = Refused { code: FENCED_MEMBER_EPOCH, why: "Join anew." };
const TOO_LONG: Refused = Refused { code: codes::INVALID_REQUEST, why: "The subscription is too long." };
const NO_PATTERN: Refused =
    Refused { code: INVALID_REGULAR_EXPRESSION, why: "No regular expression of RE2's syntax, or too large a one." };

/// A topic as a member wants it: what the broker is told, and what the member sees of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Wanted {
    /// The cluster's name.
    pub(super) name: TopicName,
    /// The organization's own id; nil for what does not exist for the member.
    pub(super) id: [u8; 16],
    pub(super) partitions: u32,
}

/// What one member said.
#[derive(Debug)]
pub(super) struct Member {
    group: GroupId,
    id: StrBytes,
    names: Option<Vec<Box<str>>>,
    pattern: Option<Regex>,
    /// As the broker was told it last.
    told: Option<Vec<Wanted>>,
    /// The broker assigned something that the member was not told.
    pub(super) withheld: bool,
}

/// The members of one connection.
#[derive(Default)]
pub(super) struct Members(Mutex<State>);

#[derive(Default)]
struct State {
    /// The one that spoke last at the end.
    members: Vec<Member>,
    /// How often in a row somebody was not known.
    strangers: u32,
}

impl Members {
    /// What the member wants, with what this request says of it. It is remembered only if it is given back.
    pub(super) fn hear(&self, request: &ConsumerGroupHeartbeatRequest) -> Result<Member, Refused> {
        let held = self.forget(&request.group_id, &request.member_id);
        // Whoever says when it gives its partitions up says all.
        let is_all =
            request.member_epoch == 0 || request.rebalance_timeout_ms != -1 && request.subscribed_topic_names.is_some();
        let mut member = match held {
            Some(member) if !is_all => member,
            None if !is_all => return Err(self.stranger()),
            _ => Member::new(request),
        };
        if let Some(names) = &request.subscribed_topic_names {
            // Copies: a name may not keep the whole request.
            member.names = Some(names.iter().map(|name| Box::from(name.as_str())).collect());
        }
        match request.subscribed_topic_regex.as_deref() {
            None => {}
            Some("") => member.pattern = None,
            Some(pattern) => member.pattern = Some(compiled(pattern)?),
        }
        if member.size() > REMEMBERED { Err(TOO_LONG) } else { Ok(member) }
    }

    /// Remembers what was passed on; what was said longest ago gives way.
    pub(super) fn remember(&self, member: Member) {
        let mut state = self.locked();
        state.strangers = 0;
        let members = &mut state.members;
        members.push(member);
        while members.len() > MEMBERS || members.iter().map(Member::size).sum::<usize>() > REMEMBERED {
            members.remove(0);
        }
    }

    pub(super) fn forget(&self, group: &GroupId, member: &StrBytes) -> Option<Member> {
        let members = &mut self.locked().members;
        let at = members.iter().position(|held| held.group == *group && held.id == *member)?;
        Some(members.remove(at))
    }

    pub(super) fn forget_all(&self) {
        *self.locked() = State::default();
    }

    fn stranger(&self) -> Refused {
        let mut state = self.locked();
        state.strangers += 1;
        match state.strangers {
            1..=PATIENCE => SAY_ALL,
            _ => {
                state.strangers = 0;
                JOIN_ANEW
            }
        }
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Member {
    fn new(request: &ConsumerGroupHeartbeatRequest) -> Self {
        Self {
            group: GroupId(owned(&request.group_id)),
            id: owned(&request.member_id),
            names: None,
            pattern: None,
            told: None,
            withheld: false,
        }
    }

    /// Has it said what it wants?
    pub(super) fn has_spoken(&self) -> bool {
        self.names.is_some() || self.pattern.is_some()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().flatten().map(|name| &**name)
    }

    /// Is there a pattern, and does it find that name? As brokers look: all of the name.
    pub(super) fn finds(&self) -> Option<impl Fn(&str) -> bool> {
        self.pattern.as_ref().map(|pattern| |name: &str| pattern.is_match(name))
    }

    /// What the broker is to be told, now that this is what the member wants; nothing if it knows.
    pub(super) fn tell(&mut self, wanted: Vec<Wanted>) -> Result<Option<Vec<TopicName>>, Refused> {
        let names = |of: &[Wanted]| of.iter().map(|wanted| wanted.name.clone()).collect::<Vec<_>>();
        if let Some(told) = &self.told
            && names(told) == names(&wanted)
        {
            // A topic that was made anew, or of which more is to be seen, is the same to the broker: it says what it
            // assigned only to a member that says all.
            return if self.withheld || *told != wanted { Err(SAY_ALL) } else { Ok(None) };
        }
        let told = names(&wanted);
        (self.told, self.withheld) = (Some(wanted), false);
        Ok(Some(told))
    }

    /// The broker may have named the member.
    pub(super) fn named(&mut self, id: &StrBytes) {
        self.id = owned(id);
    }

    /// Of what it said; what the broker was told is about as much again, or what a pattern finds among the topics that there are.
    fn size(&self) -> usize {
        let pattern = self.pattern.as_ref().map_or(0, |pattern| pattern.as_str().len());
        self.names().map(|name| name.len() + NAME).sum::<usize>() + pattern
    }
}

fn owned(name: &StrBytes) -> StrBytes {
    text(name.as_str())
}

/// A pattern that finds whole names (RE2 and this engine have the same syntax, and neither can be made to run for long).
fn compiled(pattern: &str) -> Result<Regex, Refused> {
    if pattern.len() > PATTERN {
        return Err(NO_PATTERN);
    }
    let compile = |pattern: &str| {
        RegexBuilder::new(pattern).size_limit(COMPILED).dfa_size_limit(RUNNING).build().map_err(|_| NO_PATTERN)
    };
    // By itself first: what closes a bracket that it did not open is no pattern.
    compile(pattern)?;
    compile(&format!("\\A(?:{pattern})\\z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(epoch: i32, names: Option<&[&str]>, pattern: Option<&str>) -> ConsumerGroupHeartbeatRequest {
        let names = names.map(|names| names.iter().map(|name| TopicName(text(*name))).collect());
        ConsumerGroupHeartbeatRequest::default()
            .with_group_id(GroupId(text("g")))
            .with_member_id(text("m"))
            .with_member_epoch(epoch)
            .with_rebalance_timeout_ms(if epoch == 0 { 1_000 } else { -1 })
            .with_subscribed_topic_names(names)
            .with_subscribed_topic_regex(pattern.map(text))
    }

    fn wanted(name: &str, partitions: u32) -> Wanted {
        Wanted { name: TopicName(text(name)), id: [1; 16], partitions }
    }

    #[test]
    fn what_was_said_once_holds_until_something_else_is_said() {
        let members = Members::default();
        let mut member = members.hear(&request(0, Some(&["a"]), None)).unwrap();
        assert_eq!(member.tell(vec![wanted("hub.a", 2)]), Ok(Some(vec![TopicName(text("hub.a"))])));
        members.remember(member);
        let mut member = members.hear(&request(3, None, None)).unwrap();
        assert_eq!(member.names().collect::<Vec<_>>(), ["a"]);
        assert_eq!(member.tell(vec![wanted("hub.a", 2)]), Ok(None), "the broker knows");
        assert_eq!(member.tell(vec![wanted("hub.a", 3)]), Err(SAY_ALL), "there is more to be seen");
        assert!(member.tell(vec![wanted("hub.near/a", 0)]).unwrap().is_some(), "the grant has ended");
        members.remember(member);
        let member = members.hear(&request(3, None, Some("b.*"))).unwrap();
        assert!(member.finds().is_some_and(|finds| finds("b1") && !finds("ab1")));
        members.remember(member);
        assert!(members.hear(&request(3, None, Some(""))).unwrap().finds().is_none());
    }

    #[test]
    fn a_member_that_is_not_known_here_says_all_again() {
        let members = Members::default();
        assert_eq!(members.hear(&request(3, None, None)).unwrap_err(), SAY_ALL);
        assert_eq!(members.hear(&request(3, Some(&["a"]), None)).unwrap_err(), SAY_ALL, "that may not be all");
        let all = request(3, Some(&["a"]), None).with_rebalance_timeout_ms(1_000);
        members.remember(members.hear(&all).unwrap());
        let other = request(3, None, None).with_member_id(text("other"));
        assert_eq!(members.hear(&other).unwrap_err(), SAY_ALL);
        // What was heard and not given back (the broker refused it) is gone.
        members.hear(&request(3, None, None)).unwrap();
        assert_eq!(members.hear(&request(3, None, None)).unwrap_err(), SAY_ALL);
    }

    #[test]
    fn whoever_never_says_all_joins_anew() {
        let members = Members::default();
        for _ in 0..2 {
            for _ in 0..PATIENCE {
                assert_eq!(members.hear(&request(3, None, None)).unwrap_err(), SAY_ALL);
            }
            assert_eq!(members.hear(&request(3, None, None)).unwrap_err(), JOIN_ANEW);
        }
        members.remember(members.hear(&request(0, Some(&["a"]), None)).unwrap());
    }

    #[test]
    fn something_that_was_withheld_is_asked_for_again() {
        let mut member = Members::default().hear(&request(0, Some(&["a"]), None)).unwrap();
        member.tell(vec![wanted("hub.a", 2)]).unwrap();
        member.withheld = true;
        assert_eq!(member.tell(vec![wanted("hub.a", 2)]), Err(SAY_ALL));
    }

    #[test]
    fn a_pattern_finds_whole_names_and_cannot_be_closed_from_within() {
        let finds = |pattern: &str, name: &str| compiled(pattern).unwrap().is_match(name);
        assert!(finds("supplier-.*|x", "supplier-a") && finds("^supplier-a$", "supplier-a"));
        assert!(!finds("a|b", "ab") && !finds("supplier", "supplier-a"));
        let long = "a".repeat(PATTERN + 1);
        for refused in ["a)|(b", "(", "[", "\\", "(a{1000}){1000}", "(?x)a #", &long] {
            assert_eq!(compiled(refused).unwrap_err(), NO_PATTERN, "{refused:.20}");
        }
    }

    #[test]
    fn what_is_remembered_of_a_connection_is_limited() {
        let members = Members::default();
        let long = "a".repeat(1_000);
        let many = vec![long.as_str(); 300];
        assert_eq!(members.hear(&request(0, Some(&many), None)).unwrap_err(), TOO_LONG);
        let some = vec![long.as_str(); 100];
        for member in 0..10 {
            let said = request(0, Some(&some), None).with_member_id(text(member.to_string()));
            members.remember(members.hear(&said).unwrap());
            let held = &members.locked().members;
            assert!(held.len() <= MEMBERS && held.iter().map(Member::size).sum::<usize>() <= REMEMBERED);
        }
    }
}
