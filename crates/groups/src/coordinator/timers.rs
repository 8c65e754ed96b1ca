//! When which group wants to be looked at: one ordered list for all, and the task that waits for its head.
//!
//! It does not know what a deadline is for.

use super::Shared;
use super::entry::Entry;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// A place in the list: the deadline, and a number that makes it unique.
pub(super) type Alarm = (u64, u64);

pub(super) struct Timers {
    started: Instant,
    list: Mutex<List>,
    changed: Notify,
}

#[derive(Default)]
struct List {
    alarms: BTreeMap<Alarm, Weak<Entry>>,
    made: u64,
}

impl Timers {
    pub(super) fn new() -> Self {
        Self { started: Instant::now(), list: Mutex::default(), changed: Notify::new() }
    }

    /// Milliseconds since the start.
    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Moves a group's alarm to an earlier deadline. A later one needs no moving: the group is looked at too early once,
    /// and then sets the next.
    pub(super) fn arm(&self, entry: &Arc<Entry>, alarm: &mut Option<Alarm>, deadline: u64) {
        if alarm.is_some_and(|(armed, _)| armed <= deadline) {
            return;
        }
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(later) = alarm.take() {
            list.alarms.remove(&later);
        }
        list.made += 1;
        let place = (deadline, list.made);
        list.alarms.insert(place, Arc::downgrade(entry));
        *alarm = Some(place);
        if list.alarms.first_key_value().is_some_and(|(first, _)| *first == place) {
            self.changed.notify_one();
        }
    }

    /// Wakes the task, to see that the coordinator is gone.
    pub(super) fn stop(&self) {
        self.changed.notify_one();
    }

    fn next(&self) -> Option<Instant> {
        let list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        let (deadline, _) = list.alarms.first_key_value()?.0;
        self.started.checked_add(Duration::from_millis(*deadline))
    }

    fn take_due(&self) -> Vec<(Alarm, Arc<Entry>)> {
        let now = self.now();
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        let later = list.alarms.split_off(&(now.saturating_add(1), 0));
        let due = std::mem::replace(&mut list.alarms, later);
        due.into_iter().filter_map(|(alarm, entry)| Some((alarm, entry.upgrade()?))).collect()
    }
}

/// Lets time pass for groups when they want it, until the coordinator is gone.
pub(super) async fn run(timers: Arc<Timers>, shared: Weak<Shared>) {
    loop {
        match timers.next() {
            Some(at) => tokio::select! {
                () = tokio::time::sleep_until(at) => {}
                () = timers.changed.notified() => {}
            },
            None => timers.changed.notified().await,
        }
        let Some(shared) = shared.upgrade() else { return };
        for (alarm, entry) in timers.take_due() {
            shared.ring(&entry, alarm);
        }
    }
}
