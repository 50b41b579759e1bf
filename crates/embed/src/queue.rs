//! Dynamic batching: what many callers ask of one network is put together and run at once.
//!
//! Invariants:
//! - A batch has at most `most` items, and no item waits longer than `wait` for others once a worker is free.
//! - Nothing waits for company that cannot come: whoever is going to ask says so beforehand ([`Queue::announce`]).
//! - Items leave in the order in which they came.
//! - A batch that panics is lost and its callers notice; the worker goes on.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Items that wait for a network.
pub struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    most: usize,
    wait: Duration,
}

struct State<T> {
    waiting: VecDeque<(Instant, T)>,
    /// Items that were announced and are not here yet.
    coming: usize,
    closed: bool,
}

/// Says that an item is on its way. Dropped, the item is here or will not come.
pub struct Coming<T>(Arc<Queue<T>>);

impl<T> Drop for Coming<T> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.coming -= 1;
        if state.coming == 0 {
            self.0.changed.notify_all();
        }
    }
}

impl<T> Queue<T> {
    pub fn new(most: usize, wait: Duration) -> Arc<Self> {
        let state = State { waiting: VecDeque::new(), coming: 0, closed: false };
        Arc::new(Self { state: Mutex::new(state), changed: Condvar::new(), most: most.max(1), wait })
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the workers that an item is going to be asked for, so that a batch may wait for it.
    pub fn announce(self: &Arc<Self>) -> Coming<T> {
        self.lock().coming += 1;
        Coming(Arc::clone(self))
    }

    /// Asks for some items to be run.
    pub fn push(&self, items: impl IntoIterator<Item = T>) {
        let now = Instant::now();
        let mut state = self.lock();
        state.waiting.extend(items.into_iter().map(|item| (now, item)));
        // A worker may be waiting for company, so even one item more can be what it waits for.
        self.changed.notify_all();
    }

    /// Ends the workers once nothing waits any more.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// The next batch; `None` when the queue is closed and empty.
    fn next(&self) -> Option<Vec<T>> {
        let mut state = self.lock();
        loop {
            let Some((since, _)) = state.waiting.front() else {
                if state.closed {
                    return None;
                }
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = self.wait.saturating_sub(since.elapsed());
            if state.waiting.len() >= self.most || state.coming == 0 || left.is_zero() || state.closed {
                let count = state.waiting.len().min(self.most);
                return Some(state.waiting.drain(..count).map(|(_, item)| item).collect());
            }
            let (again, _) = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
            state = again;
        }
    }

    /// Runs batches until the queue is closed; the loop of a worker's thread.
    pub fn work(&self, mut run: impl FnMut(Vec<T>)) {
        while let Some(batch) = self.next() {
            if catch_unwind(AssertUnwindSafe(|| run(batch))).is_err() {
                tracing::error!("a batch was lost by a fault in the program");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// A queue with one worker that tells what batches it got.
    fn started(most: usize, wait: Duration) -> (Arc<Queue<u32>>, mpsc::Receiver<Vec<u32>>) {
        let queue = Queue::new(most, wait);
        let (told, batches) = mpsc::channel();
        let worker = Arc::clone(&queue);
        std::thread::spawn(move || {
            worker.work(|batch| {
                told.send(batch.clone()).unwrap();
                assert!(!batch.contains(&666), "a fault in the program");
            });
        });
        (queue, batches)
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn waits_for_what_is_coming_and_not_for_what_is_not() {
        let (queue, batches) = started(3, LONG);
        queue.push([1]);
        assert_eq!(batches.recv_timeout(LONG).unwrap(), [1], "nothing is coming, so nothing is waited for");
        let coming: Vec<_> = (0..3).map(|_| queue.announce()).collect();
        queue.push([2, 3]);
        assert!(batches.recv_timeout(Duration::from_millis(50)).is_err(), "a third one is coming");
        queue.push([4]);
        assert_eq!(batches.recv_timeout(LONG).unwrap(), [2, 3, 4], "full");
        queue.push([5]);
        drop(coming);
        assert_eq!(batches.recv_timeout(LONG).unwrap(), [5], "the others will not come");
        queue.close();
        assert!(batches.recv().is_err(), "the worker ends");
    }

    #[test]
    fn the_time_limit_and_the_size_limit_hold() {
        let (queue, batches) = started(4, Duration::from_millis(20));
        let _never = queue.announce();
        queue.push([1, 2]);
        assert_eq!(batches.recv_timeout(LONG).unwrap(), [1, 2], "after the time limit");
        queue.push(0..10);
        let sizes: Vec<usize> = (0..3).map(|_| batches.recv_timeout(LONG).unwrap().len()).collect();
        assert_eq!(sizes, [4, 4, 2]);
        queue.push([7]);
        queue.close();
        assert_eq!(batches.recv_timeout(LONG).unwrap(), [7], "closed, but not lost");
    }

    #[test]
    fn a_batch_that_panics_ends_nothing_else() {
        let (queue, batches) = started(1, LONG);
        queue.push([666, 1]);
        assert_eq!(batches.recv_timeout(LONG).unwrap(), [666]);
        assert_eq!(batches.recv_timeout(LONG).unwrap(), [1]);
    }
}
