//! Manners towards each host: how many requests at once, how fast, and when to leave it alone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use records::DeadLetterReason;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::{Failure, FetchConfig};

/// Hosts remembered before idle ones are forgotten.
const REMEMBERED: usize = 10_000;

/// What is known of every host asked lately.
pub(crate) struct Hosts {
    known: Mutex<HashMap<String, Arc<Host>>>,
    per_host: usize,
    interval: Option<Duration>,
    failures: u32,
    patience: Duration,
    pause: Duration,
}

/// One host with its port.
pub(crate) struct Host {
    permits: Semaphore,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// When the next request may start, by the host's own wish or by the configured rate.
    next: Option<Instant>,
    /// Requests in a row without an answer.
    failed: u32,
    /// When the first of them began.
    since: Option<Instant>,
    /// Whether it was left alone and has not answered since.
    suspect: bool,
    /// Whether it ever answered, whatever it said.
    has_answered: bool,
    /// The host is left alone until then, and why.
    closed: Option<(Instant, DeadLetterReason)>,
}

impl State {
    /// When the next request may start, and whether that moment is now taken. With a rate every request takes a moment
    /// of its own; without one, many may start together once the host wants any again.
    fn book(&mut self, now: Instant, interval: Option<Duration>) -> (Instant, bool) {
        let at = self.next.filter(|next| *next > now);
        match (at, interval) {
            (at, Some(interval)) => {
                let at = at.unwrap_or(now);
                self.next = Some(at + interval);
                (at, true)
            }
            (Some(until), None) => (until, false),
            (None, None) => (now, true),
        }
    }
}

impl Hosts {
    pub(crate) fn new(config: &FetchConfig) -> Self {
        let rate = config.per_host_per_second;
        Self {
            known: Mutex::default(),
            per_host: config.per_host.max(1),
            interval: (rate > 0.0).then(|| Duration::from_secs_f64(1.0 / rate)),
            failures: config.host_failures,
            patience: Duration::from_millis(config.host_patience_ms),
            pause: Duration::from_millis(config.host_pause_ms),
        }
    }

    pub(crate) fn get(&self, name: &str) -> Arc<Host> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED && !known.contains_key(name) {
            // A host in use is held by more than this map; one that is closed must stay closed.
            known.retain(|_, host| Arc::strong_count(host) > 1 || host.state().closed.is_some());
        }
        let new = || Arc::new(Host { permits: Semaphore::new(self.per_host), state: Mutex::default() });
        Arc::clone(known.entry(name.to_owned()).or_insert_with(new))
    }

    /// Waits for a place at the host.
    ///
    /// # Errors
    /// The host's last failure if it is to be left alone.
    pub(crate) async fn turn<'a>(&self, host: &'a Host, name: &str) -> Result<SemaphorePermit<'a>, Failure> {
        self.open(host, name)?;
        // The semaphore is never closed.
        let closed = |_| Failure::new(DeadLetterReason::Unreachable, format!("{name}: shutting down"));
        let permit = host.permits.acquire().await.map_err(closed)?;
        loop {
            // While this one waited the host may have been given up.
            self.open(host, name)?;
            let (until, booked) = host.state().book(Instant::now(), self.interval);
            tokio::time::sleep_until(until).await;
            if booked {
                return Ok(permit);
            }
        }
    }

    fn open(&self, host: &Host, name: &str) -> Result<(), Failure> {
        let mut state = host.state();
        match state.closed {
            Some((until, reason)) if until > Instant::now() => {
                let detail =
                    format!("{name} failed {} times in a row and is not asked for a while", state.failed);
                Err(Failure::new(reason, detail))
            }
            Some(_) => {
                state.closed = None;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Remembers that a request begun at `began` got no answer, or was asked to come back later.
    pub(crate) fn failed(&self, host: &Host, began: Instant, reason: DeadLetterReason) {
        let mut state = host.state();
        let since = *state.since.get_or_insert(began);
        state.failed = state.failed.saturating_add(1);
        // Many requests may fail in the same moment, so their number alone says little.
        let lasting = state.failed >= self.failures && since.elapsed() >= self.patience;
        if self.failures > 0 && (lasting || state.suspect) {
            state.suspect = true;
            state.closed = Some((Instant::now() + self.pause, reason));
        }
    }
}

impl Host {
    /// Remembers that the host answered, whatever it said.
    pub(crate) fn answered(&self) {
        let mut state = self.state();
        state.failed = 0;
        state.since = None;
        state.suspect = false;
        state.closed = None;
        state.has_answered = true;
    }

    /// Holds all requests to the host back for a while, as it asked.
    pub(crate) fn hold(&self, wait: Duration) {
        let mut state = self.state();
        let until = Instant::now() + wait;
        state.next = Some(state.next.map_or(until, |next| next.max(until)));
    }

    /// Whether it was left alone and has not answered since: asking it twice would only cost time.
    pub(crate) fn is_suspect(&self) -> bool {
        self.state().suspect
    }

    /// Whether it ever answered.
    pub(crate) fn has_answered(&self) -> bool {
        self.state().has_answered
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(config: FetchConfig) -> Hosts {
        Hosts::new(&config)
    }

    #[tokio::test]
    async fn the_rate_is_kept() {
        let hosts = hosts(FetchConfig { per_host_per_second: 50.0, ..Default::default() });
        let host = hosts.get("h");
        let began = Instant::now();
        for _ in 0..5 {
            drop(hosts.turn(&host, "h").await.unwrap());
        }
        assert!(began.elapsed().as_millis() >= 80);
    }

    #[tokio::test]
    async fn a_failing_host_is_left_alone_and_asked_again_later() {
        let config =
            FetchConfig { host_failures: 2, host_patience_ms: 50, host_pause_ms: 200, ..Default::default() };
        let hosts = hosts(config);
        let host = hosts.get("h");
        let fail = |began| hosts.failed(&host, began, DeadLetterReason::Timeout);
        let turn = async || hosts.turn(&host, "h").await.map(drop);
        let began = Instant::now();
        (0..5).for_each(|_| fail(began));
        assert!(turn().await.is_ok(), "many failures in one moment are no reason");
        tokio::time::sleep(Duration::from_millis(60)).await;
        fail(Instant::now());
        assert_eq!(turn().await.unwrap_err().reason, DeadLetterReason::Timeout);
        assert!(hosts.turn(&hosts.get("other"), "other").await.is_ok());
        tokio::time::sleep(Duration::from_millis(210)).await;
        assert!(turn().await.is_ok() && host.is_suspect());
        fail(Instant::now());
        assert!(turn().await.is_err(), "a suspect gets one try");
        host.answered();
        fail(Instant::now());
        assert!(turn().await.is_ok() && !host.is_suspect(), "an answer starts the count anew");
    }

    #[tokio::test]
    async fn a_host_that_asks_for_time_gets_it() {
        let hosts = hosts(FetchConfig::default());
        let host = hosts.get("h");
        host.hold(Duration::from_millis(150));
        let began = Instant::now();
        drop(hosts.turn(&host, "h").await.unwrap());
        assert!(began.elapsed().as_millis() >= 150);
    }
}
