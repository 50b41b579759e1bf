//! Accounts that show what a found cluster shows but stood elsewhere: in a crowd that shares a meme, or nowhere.
//!
//! Community detection gives every account to one community, and a bot that shows a celebrity besides its ring's photo may
//! go to the fans. Once a cluster is found, its photos and people are known to be a ring's, so whoever else shows them is
//! looked at again, with the cluster as company.
//!
//! Invariants:
//! - Accounts that stand aside (victims, allowed and verified ones) and members of found clusters are not looked at.
//! - An account is added only where its own signals and the cluster's make at least [`SURE`], and where the cluster, with
//!   all that is added, is still worth writing.

use std::collections::{BTreeMap, HashMap, HashSet};

use rayon::prelude::*;
use records::tables::Reason;

use crate::calibration::logit;
use crate::group::Group;
use crate::incidence::{Hold, Incidence};
use crate::judge::{Court, Found};
use crate::times::Burst;

/// Least probability of an account that is added.
const SURE: f64 = 0.9;
/// Least sum of an account's own signals that is added: the company alone adds nobody.
const LEAST_OWN: f64 = -1.2;
/// Least worth of a shared photo that makes its other owners candidates.
const LEAST_QUALITY: f64 = 0.3;
/// Owners of a photo or person that are looked at for other clusters.
const MOST_OWNERS: usize = 2000;
/// Candidates that one cluster is given at most, for each of its members.
const MOST_FOR_EACH: usize = 2;

impl Court<'_> {
    /// Adds to each cluster the accounts that belong to it.
    pub(crate) fn recruit(&self, found: &mut [Found]) {
        let taken: HashSet<u32> = found.iter().flat_map(|f| f.members.iter().map(|m| m.account)).collect();
        let offers: Vec<Vec<(u32, f64)>> =
            found.par_iter().map(|cluster| self.candidates(cluster, &taken)).collect();
        // Each goes where it fits best; of equal fits, to the first.
        let mut best: BTreeMap<u32, (usize, f64)> = BTreeMap::new();
        for (at, offers) in offers.into_iter().enumerate() {
            for (account, fit) in offers {
                let slot = best.entry(account).or_insert((at, fit));
                if fit > slot.1 {
                    *slot = (at, fit);
                }
            }
        }
        let mut joining: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
        for (account, (at, _)) in best {
            joining.entry(at).or_default().push(account);
        }
        let larger: Vec<(usize, Found)> = joining
            .into_par_iter()
            .filter_map(|(at, new)| Some((at, self.enlarged(&found[at], new)?)))
            .collect();
        for (at, cluster) in larger {
            found[at] = cluster;
        }
    }

    /// Joins a cluster with a larger one where most of it shows what the larger one shows and was made in the same time:
    /// community detection may tear off those bots of a ring that show one of its people only.
    pub(crate) fn reunite(&self, found: &mut Vec<Found>) {
        let home: HashMap<u32, usize> = (found.iter().enumerate())
            .flat_map(|(at, cluster)| cluster.members.iter().map(move |m| (m.account, at)))
            .collect();
        // For each cluster: the larger ones that two thirds of it have to do with, the most related one first.
        let wishes: Vec<Option<usize>> =
            (0..found.len()).into_par_iter().map(|at| self.larger_part(at, found, &home)).collect();
        let mut order: Vec<usize> = (0..found.len()).filter(|at| wishes[*at].is_some()).collect();
        order.sort_by_key(|at| (found[*at].members.len(), *at));
        let mut gone = vec![false; found.len()];
        for at in order {
            let Some(to) = wishes[at].filter(|to| !gone[*to]) else { continue };
            let new = found[at].members.iter().map(|m| m.account).collect();
            if let Some(joined) = self.enlarged(&found[to], new) {
                found[to] = joined;
                gone[at] = true;
            }
        }
        let mut at = 0;
        found.retain(|_| {
            at += 1;
            !gone[at - 1]
        });
    }

    fn larger_part(&self, at: usize, found: &[Found], home: &HashMap<u32, usize>) -> Option<usize> {
        let members: Vec<u32> = found[at].members.iter().map(|m| m.account).collect();
        let inc = self.inc();
        // Other cluster -> members that share a photo or person with it.
        let mut touched: BTreeMap<usize, usize> = BTreeMap::new();
        for account in &members {
            let mut others: BTreeMap<usize, usize> = BTreeMap::new();
            let ours = |h: &&Hold| !inc.popular(h.entity) && inc.worth(h.entity) >= 0.5;
            let photos = inc.photos.of_account(*account).iter().filter(ours);
            let people = inc.people.of_account(*account).iter().filter(|h| !inc.popular_person(h.entity));
            let owners = photos
                .map(|h| inc.photos.owners(h.entity))
                .chain(people.map(|h| inc.people.owners(h.entity)));
            for hold in owners.flat_map(|owners| owners.iter().take(MOST_OWNERS)) {
                if let Some(other) = home.get(&hold.account).filter(|other| **other != at) {
                    *others.entry(*other).or_default() += 1;
                }
            }
            // Two or three who show one celebrity are no relation.
            for (other, n) in others {
                if n * 12 >= found[other].members.len() && n >= 2 {
                    *touched.entry(other).or_default() += 1;
                }
            }
        }
        let fits = |(other, n): &(usize, usize)| {
            let larger = (found[*other].members.len(), std::cmp::Reverse(*other))
                > (members.len(), std::cmp::Reverse(at));
            larger && 3 * n >= 2 * members.len() && self.in_the_time_of(&members, &found[*other])
        };
        touched.into_iter().filter(fits).max_by(|x, y| x.1.cmp(&y.1).then(y.0.cmp(&x.0))).map(|t| t.0)
    }

    /// Whether most of some accounts were made while a cluster was.
    fn in_the_time_of(&self, accounts: &[u32], cluster: &Found) -> bool {
        const DAY: i64 = 86_400_000_000;
        let births = self.scoring.births;
        let members: Vec<u32> = cluster.members.iter().map(|m| m.account).collect();
        // Older accounts that were bought stand outside the burst, and must not stretch the time.
        let (from, to) = match self.scoring.burst(&members) {
            Some(burst) => (burst.from, burst.to),
            None => {
                let mut times: Vec<i64> = members.iter().map(|a| births.at(*a)).collect();
                times.sort_unstable();
                let n = times.len();
                (times[n / 8], times[n - 1 - n / 8])
            }
        };
        let slack = (to - from) / 4 + 2 * DAY;
        let inside = |a: &&u32| (from - slack..=to + slack).contains(&births.at(**a));
        3 * accounts.iter().filter(inside).count() >= 2 * accounts.len()
    }

    /// Accounts that fit a cluster, with the log-odds that they are part of it.
    fn candidates(&self, cluster: &Found, taken: &HashSet<u32>) -> Vec<(u32, f64)> {
        let members: Vec<u32> = cluster.members.iter().map(|m| m.account).collect();
        let (group, burst) = self.group(members.clone());
        let inc = self.inc();
        let mut near: Vec<u32> = Vec::new();
        let strange = |a: &u32| !self.aside[*a as usize] && !taken.contains(a);
        // A celebrity whom two bots show besides is none of the ring's.
        let few = (members.len() / 12).clamp(2, 10);
        for photo in group
            .shared
            .iter()
            .filter(|s| s.quality >= LEAST_QUALITY && s.inside >= few && !inc.popular(s.entity))
        {
            near.extend(inc.photos.owners(photo.entity).iter().map(|h| h.account).filter(strange));
        }
        for person in rings_people(&group, inc) {
            near.extend(inc.people.owners(person).iter().map(|h| h.account).filter(strange));
        }
        near.sort_unstable();
        near.dedup();
        if near.is_empty() || near.len() > MOST_FOR_EACH * members.len() {
            return Vec::new();
        }
        let all: Vec<u32> = [members, near.clone()].concat();
        let (group, own) = self.seen_with(all, burst.as_ref());
        let network = self.network(&cluster.score);
        let rows = group.accounts.iter().zip(&own).filter(|(a, _)| near.binary_search(a).is_ok());
        let fits = rows.filter_map(|(account, own)| {
            let sum: f64 = own.iter().map(|r| r.log_odds).sum();
            let wanted = sum >= LEAST_OWN * self.config.calibration.scale && sum + network >= logit(SURE);
            wanted.then_some((*account, sum + network))
        });
        fits.collect()
    }

    /// A group with everybody's own signals, seen with the times of the cluster that it grew from.
    fn seen_with(&self, mut accounts: Vec<u32>, burst: Option<&Burst>) -> (Group, Vec<Vec<Reason>>) {
        accounts.sort_unstable();
        let (group, _) = self.group(accounts);
        let own = self.own(&group, burst);
        (group, own)
    }

    fn enlarged(&self, cluster: &Found, new: Vec<u32>) -> Option<Found> {
        let members = cluster.members.iter().map(|m| m.account);
        if self.decisions.forbids(members.clone(), &new) {
            return None;
        }
        let mut accounts: Vec<u32> = members.chain(new).collect();
        accounts.sort_unstable();
        let (group, burst) = self.group(accounts);
        let score = self.scoring.group(&group, burst.as_ref());
        // What came in two waves was told apart before, and is not put together again.
        if score.probability() < self.config.min_score || self.waves(&group).is_some() {
            return None;
        }
        let own = self.own(&group, burst.as_ref());
        let found = self.found(&group, own, score);
        // Newcomers move the group's figures; who no longer fits is left as it was.
        let least = self.config.min_member_score;
        found.members.iter().all(|m| m.score >= least).then_some(found)
    }
}

/// People of a group whom it shows more than anybody else does.
fn rings_people(group: &Group, inc: &Incidence) -> Vec<u32> {
    let mut inside: BTreeMap<u32, usize> = BTreeMap::new();
    for account in &group.accounts {
        inc.people.of_account(*account).iter().for_each(|h| *inside.entry(h.entity).or_default() += 1);
    }
    let ours = |(person, n): (u32, usize)| {
        let all = inc.person_owners(person);
        (n >= 3 && !inc.popular_person(person) && !inc.person_barred(person) && 3 * n >= 2 * all)
            .then_some(person)
    };
    inside.into_iter().filter_map(ours).collect()
}
