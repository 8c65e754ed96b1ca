//! One thread that owns the connection that writes, and commits everything that has queued up in one transaction: one
//! fsync for all of it.

use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::At;
use crate::error::{Result, StorageError};

/// How many jobs may wait before callers do.
const QUEUE: usize = 1024;
/// How many jobs one transaction takes at most.
const GROUP: usize = 256;

/// Tells a caller how it ended, once the commit has.
type Finish = Box<dyn FnOnce(Result<()>) + Send>;
/// Works inside the transaction, or passes on why there is none; false asks for its own part to be rolled back.
type Run = Box<dyn FnOnce(Result<&Connection>) -> (bool, Finish) + Send>;
/// Runs after a commit that asked for it, before callers are told.
pub(crate) type Scrub = Box<dyn FnMut(&Connection) -> Result<()> + Send>;

struct Job {
    run: Run,
    writes: bool,
    scrub: bool,
}

/// The handle of the thread. Dropping it finishes what was queued and closes the connection.
pub(crate) struct Worker {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    pub(crate) fn start(connection: Connection, place: String, scrub: Scrub) -> Result<Self> {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let name = format!("store {place}");
        let thread = std::thread::Builder::new()
            .name(name)
            .spawn(move || Loop { connection, place, scrub }.run(queue))
            .map_err(|error| StorageError::Unavailable { cause: error.to_string() })?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Runs `work` in a transaction and returns when it is on disk. An error rolls back this work alone.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.submit(work, true, false).await
    }

    /// As `write`, and scrubs what was deleted from the write-ahead log before it returns.
    pub(crate) async fn write_and_scrub<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.submit(work, true, true).await
    }

    /// Runs `work`, which only reads, after everything queued before it.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.submit(work, false, false).await
    }

    async fn submit<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
        writes: bool,
        scrub: bool,
    ) -> Result<T> {
        let stopped = || StorageError::Stopped { cause: "the store is closed".to_owned() };
        let (reply, answer) = oneshot::channel();
        let run: Run = Box::new(move |connection| {
            let result = connection.and_then(work);
            let keep = result.is_ok();
            // The caller may have gone away: nobody is left to tell.
            let finish: Finish = Box::new(move |committed| drop(reply.send(committed.and(result))));
            (keep, finish)
        });
        let jobs = self.jobs.as_ref().ok_or_else(stopped)?;
        jobs.send(Job { run, writes, scrub }).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

struct Loop {
    connection: Connection,
    place: String,
    scrub: Scrub,
}

impl Loop {
    fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        while let Some(first) = queue.blocking_recv() {
            let mut group = vec![first];
            while group.len() < GROUP
                && let Ok(job) = queue.try_recv()
            {
                group.push(job);
            }
            self.commit(group);
        }
    }

    fn commit(&mut self, group: Vec<Job>) {
        let writes = group.iter().any(|job| job.writes);
        let scrub = group.iter().any(|job| job.scrub);
        let mut outcome =
            if writes { self.connection.execute_batch("BEGIN IMMEDIATE").at(&self.place) } else { Ok(()) };
        let mut finishes = Vec::with_capacity(group.len());
        for job in group {
            let (finish, after) = self.step(job, outcome.clone());
            finishes.push(finish);
            outcome = outcome.and(after);
        }
        if writes && outcome.is_ok() {
            outcome = self.connection.execute_batch("COMMIT").at(&self.place);
        }
        if writes && outcome.is_err() && !self.connection.is_autocommit() {
            drop(self.connection.execute_batch("ROLLBACK"));
        }
        if scrub && outcome.is_ok() {
            outcome = (self.scrub)(&self.connection);
        }
        for finish in finishes {
            finish(outcome.clone());
        }
    }

    /// Runs one job in a savepoint, if the transaction is whole. Says whether it still is.
    fn step(&self, job: Job, transaction: Result<()>) -> (Finish, Result<()>) {
        if let Err(error) = transaction {
            return ((job.run)(Err(error)).1, Ok(()));
        }
        if !job.writes {
            return ((job.run)(Ok(&self.connection)).1, Ok(()));
        }
        if let Err(error) = self.connection.execute_batch("SAVEPOINT job").at(&self.place) {
            return ((job.run)(Err(error.clone())).1, Err(error));
        }
        let (keep, finish) = (job.run)(Ok(&self.connection));
        // A full disk rolls back everything at once, savepoints included.
        let close = if keep { "RELEASE job" } else { "ROLLBACK TO job; RELEASE job" };
        (finish, self.connection.execute_batch(close).at(&self.place))
    }
}
