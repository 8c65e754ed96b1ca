//! Requests of one connection that are worked on at once, where a cluster keeps the records: producers send several
//! before the first is answered. They are sealed side by side, passed on in the order in which they came, and answered in it.
//!
//! A request that has begun is not given up when its client goes: what the cluster has stored goes on record.

use std::collections::VecDeque;

use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinHandle};

/// A request's place in the order of its connection.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    before: Option<oneshot::Receiver<()>>,
    after: Option<oneshot::Sender<()>>,
}

impl Turn {
    /// Waits for the request before this one to have passed on what it has. False if it failed at that: what came after
    /// it must not overtake its retry.
    pub(crate) async fn comes(&mut self) -> bool {
        match self.before.take() {
            Some(before) => before.await.is_ok(),
            None => true,
        }
    }

    /// Lets the next one go on.
    pub(crate) fn over(&mut self) {
        if let Some(after) = self.after.take() {
            // The next one may have gone with its connection.
            let _ = after.send(());
        }
    }
}

/// What is under way, oldest first.
#[derive(Debug)]
pub(crate) struct Flight<T> {
    under_way: VecDeque<JoinHandle<T>>,
    last: Option<oneshot::Receiver<()>>,
    most: usize,
}

impl<T: Send + 'static> Flight<T> {
    /// Room for so many.
    pub(crate) fn new(most: usize) -> Self {
        Self { under_way: VecDeque::with_capacity(most), last: None, most }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    pub(crate) fn has_room(&self) -> bool {
        self.under_way.len() < self.most
    }

    /// Begins work that has its turn after all that is under way.
    pub(crate) fn begin<W: Future<Output = T> + Send + 'static>(&mut self, work: impl FnOnce(Turn) -> W) {
        let (after, next) = oneshot::channel();
        let turn = Turn { before: self.last.replace(next), after: Some(after) };
        self.under_way.push_back(tokio::spawn(work(turn)));
    }

    /// What the oldest came to; none if nothing is under way. Nothing is lost if this is not waited for.
    pub(crate) async fn next(&mut self) -> Option<Result<T, JoinError>> {
        let done = self.under_way.front_mut()?.await;
        self.under_way.pop_front();
        if self.under_way.is_empty() {
            self.last = None;
        }
        Some(done)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn what_is_done_out_of_order_is_passed_on_and_answered_in_order() {
        let passed = Arc::new(Mutex::new(Vec::new()));
        let mut flight = Flight::new(3);
        for n in 0..3_u64 {
            let passed = Arc::clone(&passed);
            flight.begin(move |mut turn| async move {
                tokio::time::sleep(Duration::from_millis(30 - 10 * n)).await;
                assert!(turn.comes().await);
                passed.lock().unwrap().push(n);
                turn.over();
                n
            });
        }
        assert!(!flight.has_room());
        for n in 0..3 {
            assert_eq!(flight.next().await.unwrap().unwrap(), n);
        }
        assert_eq!(*passed.lock().unwrap(), [0, 1, 2]);
        assert!(flight.is_empty() && flight.next().await.is_none());
    }

    #[tokio::test]
    async fn nothing_is_passed_on_after_one_that_failed() {
        let mut flight = Flight::new(3);
        flight.begin(|turn| async move {
            drop(turn);
            true
        });
        for _ in 0..2 {
            flight.begin(|mut turn| async move { turn.comes().await });
        }
        assert!(flight.next().await.unwrap().unwrap());
        for _ in 0..2 {
            assert!(!flight.next().await.unwrap().unwrap());
        }
        flight.begin(|mut turn| async move { turn.comes().await });
        assert!(flight.next().await.unwrap().unwrap());
    }
}
