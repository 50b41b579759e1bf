//! What commits have touched since the last snapshot, so that the next one need not look at everything.
//!
//! Invariants:
//! - A commit is noted before it is published. So whoever takes a reader first, and then what is noted up to the reader's
//!   commit, misses no change that the reader shows; what is noted of later commits stays for the next time.
//! - What is remembered is bounded: beyond the limit only that there was too much.
//! - A note too many is harmless: what it names is read again and found as it was.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use records::{AccountId, PhotoKey};
use store::Touches;

/// Pictures that are remembered for each account of the limit.
const PHOTOS_AN_ACCOUNT: usize = 4;

/// The note that the desk leaves for the snapshots.
#[derive(Debug, Default)]
pub struct Touched(Mutex<Notes>);

#[derive(Debug, Default)]
struct Notes {
    /// Accounts that are remembered at most; 0 while nobody follows.
    limit: usize,
    accounts: HashMap<AccountId, Span>,
    photos: HashMap<PhotoKey, Span>,
    /// The last commit since there was too much to remember.
    too_much: Option<u64>,
}

/// Commits that touched something: the first that counts, and the last.
#[derive(Clone, Copy, Debug)]
struct Span {
    first: u64,
    last: u64,
}

impl Touched {
    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what a commit touches. To be called before it is published.
    pub fn record(&self, commit: u64, touches: Touches) {
        if touches == Touches::default() {
            return;
        }
        let mut notes = self.notes();
        if notes.limit > 0 && notes.too_much.is_none() {
            note(&mut notes.accounts, touches.accounts, commit);
            note(&mut notes.photos, touches.photos, commit);
            let limit = notes.limit;
            if notes.accounts.len() <= limit && notes.photos.len() <= limit.saturating_mul(PHOTOS_AN_ACCOUNT)
            {
                return;
            }
        }
        notes.overflow(commit);
    }

    /// Notes that a commit touches what nobody will list. To be called before it is published.
    pub fn everything(&self, commit: u64) {
        self.notes().overflow(commit);
    }

    /// From now on remembers so many accounts; 0 to remember none. To be called before the reader is taken from which a full
    /// snapshot is made, and [`Self::forget`] with that reader's commit.
    pub fn follow(&self, limit: usize) {
        self.notes().limit = limit;
    }

    /// Drops what is noted of this commit and earlier ones.
    pub fn forget(&self, commit: u64) {
        let mut notes = self.notes();
        forget(&mut notes.accounts, commit);
        forget(&mut notes.photos, commit);
        notes.too_much = notes.too_much.filter(|last| *last > commit);
    }

    /// Gives out, once, what this commit and earlier ones touched; `None` if that was too much to remember.
    pub fn take(&self, commit: u64) -> Option<Touches> {
        let touches = {
            let notes = self.notes();
            if notes.too_much.is_some() {
                return None;
            }
            Touches { accounts: until(&notes.accounts, commit), photos: until(&notes.photos, commit) }
        };
        self.forget(commit);
        Some(touches)
    }
}

impl Notes {
    fn overflow(&mut self, commit: u64) {
        self.accounts = HashMap::new();
        self.photos = HashMap::new();
        self.too_much = Some(commit);
    }
}

fn note<K: Eq + Hash>(noted: &mut HashMap<K, Span>, keys: Vec<K>, commit: u64) {
    for key in keys {
        noted.entry(key).or_insert(Span { first: commit, last: commit }).last = commit;
    }
}

/// What was touched later as well may have been touched right after `commit`.
fn forget<K: Eq + Hash>(noted: &mut HashMap<K, Span>, commit: u64) {
    noted.retain(|_, span| {
        span.first = span.first.max(commit + 1);
        span.last > commit
    });
}

fn until<K: Clone + Ord>(noted: &HashMap<K, Span>, commit: u64) -> Vec<K> {
    let mut keys: Vec<K> =
        noted.iter().filter(|(_, span)| span.first <= commit).map(|(key, _)| key.clone()).collect();
    keys.sort_unstable();
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touches(names: &[&str]) -> Touches {
        let accounts = names.iter().map(|name| AccountId::new(*name).unwrap()).collect();
        Touches { accounts, photos: Vec::new() }
    }

    #[test]
    fn a_reader_gets_what_it_sees_and_the_rest_stays() {
        let touched = Touched::default();
        touched.follow(10);
        touched.record(1, touches(&["a", "b"]));
        touched.record(2, touches(&["b", "c"]));
        touched.record(3, touches(&["b"]));
        assert_eq!(touched.take(1), Some(touches(&["a", "b"])));
        assert_eq!(touched.take(2), Some(touches(&["b", "c"])));
        assert_eq!(touched.take(2), Some(touches(&[])), "nothing is given twice");
        assert_eq!(touched.take(9), Some(touches(&["b"])));
    }

    #[test]
    fn too_much_is_too_much_until_somebody_has_seen_everything() {
        let touched = Touched::default();
        touched.record(1, touches(&["a"]));
        assert_eq!(touched.take(1), None, "nobody followed");
        touched.follow(2);
        touched.forget(1);
        touched.record(2, touches(&["a", "b"]));
        touched.record(3, touches(&["c"]));
        touched.record(4, touches(&["a"]));
        assert_eq!(touched.take(4), None, "three are more than two");
        // A full run over commit 3 does not know what the fourth did.
        touched.forget(3);
        assert_eq!(touched.take(4), None);
        touched.forget(4);
        touched.record(5, touches(&["d"]));
        assert_eq!(touched.take(5), Some(touches(&["d"])));
        touched.everything(6);
        assert_eq!(touched.take(6), None);
    }

    #[test]
    fn what_is_committed_between_following_and_reading_is_not_lost() {
        let touched = Touched::default();
        // Noted while nobody followed, published after the reader of commit 6 was taken.
        touched.record(7, touches(&["a"]));
        touched.follow(5);
        touched.forget(6);
        assert_eq!(touched.take(7), None, "the next snapshot is a full one");
    }
}
