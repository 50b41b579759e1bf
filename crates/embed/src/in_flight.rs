//! Pictures on their way from the networks to the commit: a later batch that shows one of them takes what was found on it
//! instead of embedding it again.
//!
//! Invariants:
//! - Whoever asks first works on a picture, and says so in any case, also if that fails.
//! - What was found is kept for as long as a batch that has it holds on to it ([`Held`]), and no longer.
//! - A batch waits for others only when it has worked on everything that it asked for first, so that none waits in a circle.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

type Slot<V> = OnceLock<Option<V>>;

/// What is being worked on, by key.
pub struct InFlight<K, V>(Mutex<HashMap<K, Weak<Slot<V>>>>);

impl<K, V> Default for InFlight<K, V> {
    fn default() -> Self {
        Self(Mutex::new(HashMap::new()))
    }
}

/// Keeps something at hand for others until it is dropped.
pub struct Held<V>(Arc<Slot<V>>);

/// The duty to work on something. Dropped without an answer, it says that there is none.
pub struct Duty<V>(Arc<Slot<V>>);

/// Who works on what was asked for.
pub enum Asked<V> {
    /// Whoever asked.
    First(Duty<V>),
    /// Somebody else.
    Other(Held<V>),
}

impl<K: Eq + Hash, V: Clone> InFlight<K, V> {
    /// Asks for something.
    pub fn ask(&self, key: K) -> Asked<V> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get(&key).and_then(Weak::upgrade) {
            return Asked::Other(Held(slot));
        }
        let slot = Arc::new(Slot::new());
        slots.insert(key, Arc::downgrade(&slot));
        Asked::First(Duty(slot))
    }

    /// Lets go of the names of what nobody holds any more.
    pub fn tidy(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, slot| slot.strong_count() > 0);
    }
}

impl<V: Clone> Duty<V> {
    /// Gives the answer, for others too.
    pub fn answer(self, value: V) -> Held<V> {
        // There is one duty for a slot, so nothing stands there yet.
        drop(self.0.set(Some(value)));
        Held(Arc::clone(&self.0))
    }
}

impl<V> Drop for Duty<V> {
    fn drop(&mut self) {
        // Does nothing after an answer.
        drop(self.0.set(None));
    }
}

impl<V: Clone> Held<V> {
    /// Waits for the answer; `None` if there is none.
    pub fn wait(&self) -> Option<V> {
        self.0.wait().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_gets_what_the_first_found_while_it_is_held() {
        let in_flight = InFlight::default();
        let Asked::First(duty) = in_flight.ask("a") else { panic!("nobody asked before") };
        let Asked::Other(second) = in_flight.ask("a") else { panic!("somebody works on it") };
        assert!(matches!(in_flight.ask("b"), Asked::First(_)));
        let waiting = std::thread::spawn(move || (second.wait(), second));
        let first = duty.answer(7);
        let (found, second) = waiting.join().unwrap();
        assert_eq!((first.wait(), found), (Some(7), Some(7)));
        drop(first);
        assert!(matches!(in_flight.ask("a"), Asked::Other(_)), "the second still holds it");
        drop(second);
        in_flight.tidy();
        assert!(in_flight.0.lock().unwrap().is_empty());
        assert!(matches!(in_flight.ask("a"), Asked::First(_)));
    }

    #[test]
    fn a_duty_that_is_given_up_leaves_nobody_waiting() {
        let in_flight: InFlight<&str, u32> = InFlight::default();
        let Asked::First(duty) = in_flight.ask("a") else { panic!("nobody asked before") };
        let Asked::Other(second) = in_flight.ask("a") else { panic!("somebody works on it") };
        drop(duty);
        assert_eq!(second.wait(), None);
    }
}
