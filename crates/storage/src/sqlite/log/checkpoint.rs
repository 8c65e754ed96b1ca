//! Moves the write-ahead log into the database beside the writer, so that appends do not wait for it.
//!
//! A checkpoint never quite catches up with a busy writer, and the log only starts over once it has. So this thread
//! does the bulk, and the writer does the small rest between two commits (`writer.rs` decides when).

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

use rusqlite::Connection;

use crate::error::{Result, StorageError};

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Asked,
    Running,
    Quit,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// The thread that checkpoints.
pub(super) struct Checkpointer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpointer {
    pub(super) fn start(connection: Connection) -> Result<Self> {
        let shared = Arc::new(Shared { state: Mutex::new(State::Idle), changed: Condvar::new() });
        let seen = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("log checkpoint".to_owned())
            .spawn(move || run(&seen, &connection))
            .map_err(|error| StorageError::Unavailable { cause: error.to_string() })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Asks for a checkpoint unless one is under way.
    pub(super) fn ask(&self) {
        self.set(State::Asked, |state| state == State::Idle);
    }

    pub(super) fn is_idle(&self) -> bool {
        *self.shared.state.lock().unwrap_or_else(PoisonError::into_inner) == State::Idle
    }

    /// Waits until no checkpoint is under way.
    pub(super) fn wait(&self) {
        let state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        let busy = |state: &mut State| matches!(*state, State::Asked | State::Running);
        drop(self.shared.changed.wait_while(state, busy));
    }

    fn set(&self, next: State, when: impl FnOnce(State) -> bool) {
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        if when(*state) {
            *state = next;
            self.shared.changed.notify_all();
        }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.set(State::Quit, |_| true);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn run(shared: &Shared, connection: &Connection) {
    loop {
        let state = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state =
            shared.changed.wait_while(state, |state| *state == State::Idle).unwrap_or_else(PoisonError::into_inner);
        if *state == State::Quit {
            return;
        }
        *state = State::Running;
        drop(state);
        if let Err(error) = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())) {
            // The log keeps everything until it works again; on a full disk that is when there is room.
            tracing::warn!("the log's checkpoint failed: {error}");
        }
        let mut state = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        if *state == State::Running {
            *state = State::Idle;
        }
        shared.changed.notify_all();
    }
}
