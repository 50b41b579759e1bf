//! Whose photos they are: likely owners of stolen photos, found before any accusation.
//!
//! Invariant: an account called a victim here holds no cluster together and is never a member. Missing a bot costs less than
//! accusing a victim, so doubt goes to the account.

use rayon::prelude::*;
use records::tables::Reason;

use crate::calibration::logistic;
use crate::incidence::{Hold, Incidence, NOBODY};
use crate::input::Input;
use crate::profile::Profiles;
use crate::times::Births;

/// Most co-owners of one photo that are compared; a photo on thousands needs no census.
const MOST_OWNERS: usize = 200;

/// Log-odds below which an account's ownership is out of the question.
pub(crate) const LEAST: f64 = -1.5;
/// Photos first seen this soon after an account's first observation were there before, in microseconds (10 days).
const FIRST_LOOKS: i64 = 10 * 86_400_000_000;

/// What speaks for an account being the owner of photos that others re-use.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Ownership {
    /// Contributions that add up to the log-odds.
    pub(crate) reasons: Vec<Reason>,
}

impl Ownership {
    /// Log-odds of being the owner.
    pub(crate) fn log_odds(&self) -> f64 {
        self.reasons.iter().map(|r| r.log_odds).sum()
    }

    /// The same as a probability.
    pub(crate) fn score(&self) -> f64 {
        logistic(self.log_odds())
    }
}

/// For every account that may own a portrait which others show too, what speaks for it; `None` for all others.
pub(crate) fn ownerships(
    input: &Input,
    inc: &Incidence,
    births: &Births,
    profiles: &Profiles,
) -> Vec<Option<Ownership>> {
    (0..input.accounts.len() as u32)
        .into_par_iter()
        .map(|account| judge(account, input, inc, births, profiles).filter(|o| o.log_odds() > LEAST))
        .collect()
}

fn judge(
    account: u32,
    input: &Input,
    inc: &Incidence,
    births: &Births,
    profiles: &Profiles,
) -> Option<Ownership> {
    // What is popular was stolen from nobody in particular.
    let holds: Vec<Hold> =
        inc.photos.of_account(account).iter().filter(|h| !inc.popular(h.entity)).copied().collect();
    let row = &input.accounts[account as usize];
    // What an account showed from the first look on, it may have shown for as long as it exists.
    let looked_at = row.first_seen.as_micros();
    let created = row.facts.created_at.map(|t| t.as_micros());
    let portraits = holds.iter().filter(|h| inc.worth(h.entity) >= 1.0).count();
    let mut shared = 0usize;
    let (mut firsts, mut timed, mut first_odds) = (0usize, 0usize, 0.0);
    let mut others: Vec<u32> = Vec::new();
    for hold in holds.iter().filter(|h| inc.worth(h.entity) >= 1.0) {
        let owners = inc.photos.owners(hold.entity);
        if owners.len() < 2 {
            continue;
        }
        shared += 1;
        let owners = &owners[..owners.len().min(MOST_OWNERS)];
        others.extend(owners.iter().map(|o| o.account).filter(|a| *a != account));
        let rivals = || owners.iter().filter(|o| o.account != account).map(|o| o.since);
        let earliest = rivals().min().unwrap_or(i64::MAX);
        if hold.since == earliest && rivals().all(|t| t == earliest) {
            continue;
        }
        // Later than others counts against an account only if it was watched without the photo, or made after it went around.
        let copied = created.is_some_and(|t| t > earliest);
        if hold.since > earliest && hold.since <= looked_at + FIRST_LOOKS && !copied {
            continue;
        }
        timed += 1;
        let chance = 1.0 / owners.len() as f64;
        if hold.since < earliest {
            firsts += 1;
            first_odds += (0.95 / chance).ln();
        } else {
            first_odds += (0.05 / (1.0 - chance)).ln();
        }
    }
    if shared == 0 {
        return None;
    }
    others.sort_unstable();
    others.dedup();
    let mut reasons = Vec::new();
    let mut add = |signal: &str, log_odds: f64, detail: String| {
        if log_odds != 0.0 {
            reasons.push(Reason { signal: signal.to_owned(), log_odds, detail });
        }
    };
    add("prior", -2.5, "few accounts that share a photo are its owner".to_owned());
    let facts = &row.facts;
    if facts.verified == Some(true) {
        add("verified", 6.0, "the platform vouches for the account".to_owned());
    }
    if timed > 0 {
        let detail = format!("first to show {firsts} of {timed} photos that others show too");
        add("earliest", first_odds.clamp(-4.0, 4.0), detail);
    }

    // Own photos of the person on the shared ones, against the most that any co-owner has.
    let main = inc
        .people
        .of_account(account)
        .iter()
        .max_by(|x, y| x.count.cmp(&y.count).then(y.entity.cmp(&x.entity)))
        .filter(|h| h.count >= 2);
    let (own, share) = main.map_or((1, 0.0), |h| (h.count, f64::from(h.count) / portraits.max(1) as f64));
    let rival = main.map_or(1, |h| {
        let of = |other: &u32| inc.people.hold(*other, h.entity).map_or(0, |h| h.count);
        others.iter().map(of).max().unwrap_or(0)
    });
    let stolen_is_own = main.is_some_and(|m| {
        let theirs =
            holds.iter().filter(|h| inc.worth(h.entity) >= 1.0 && inc.photos.owners(h.entity).len() > 1);
        let (all, same) = theirs.fold((0, 0), |(all, same), h| {
            let person = inc.person_of[h.entity as usize];
            (all + 1, same + usize::from(person == m.entity && person != NOBODY))
        });
        2 * same >= all
    });
    let ratio = f64::from(own) / f64::from(rival.max(1));
    let richer = if portraits == 1 {
        // Whoever has one portrait only cannot have more of that person.
        -1.0
    } else if !stolen_is_own {
        -1.5
    } else if ratio >= 2.0 && own >= 4 {
        2.5
    } else if ratio >= 1.4 && own >= 3 {
        1.2
    } else if ratio >= 2.0 && own == 2 {
        0.5
    } else {
        -1.0
    };
    add("richest", richer, format!("has {own} photos of that person, no co-owner more than {rival}"));
    if share >= 0.6 && own >= 3 {
        add("one_person", 0.5, format!("{:.0}% of the portraits show one person", share * 100.0));
    } else if portraits > 1 && (main.is_none() || share < 0.5) {
        add("one_person", -1.0, "the portraits show several people".to_owned());
    }
    let unshared = portraits - shared;
    if stolen_is_own && unshared >= 2 {
        let value = if unshared >= shared { 1.0 } else { 0.5 };
        add("unshared", value, format!("{unshared} more portraits that nobody else shows"));
    }

    let mut ranks: Vec<f64> = others.iter().map(|a| births.rank(*a)).collect();
    ranks.sort_by(f64::total_cmp);
    let median = ranks[ranks.len() / 2];
    let gap = median - births.rank(account);
    let older = if gap > 0.2 {
        1.5
    } else if gap > 0.05 {
        0.7
    } else if gap < -0.1 && created.is_some() {
        -2.0
    } else {
        0.0
    };
    add(
        "older",
        older,
        format!("made {} than most who show the same photos", if gap > 0.0 { "earlier" } else { "later" }),
    );
    let profile = -profiles.log_odds(account).clamp(-2.0, 2.0);
    add("profile", profile, "how ordinary the profile is".to_owned());
    Some(Ownership { reasons })
}
