//! The account graph: who shares what with whom, weighted by what that is worth.
//!
//! Weight of a shared photo = probability that it is one photo x what it shows x rarity x closeness in time; a shared person
//! weighs a small fraction of a photo. Weights of several shared photos add up.
//!
//! Invariants:
//! - A bounded number of pairs is written out. A photo with more owners than the cap links each owner with a few others
//!   only, near and far in time, with weights raised so that their sum is that of all pairs.
//! - A popular photo (many owners, no creation burst) links only accounts that share a second popular photo, more often than
//!   chance would have it.

use petgraph::graph::NodeIndex;
use rayon::prelude::*;

use crate::ClustersConfig;
use crate::communities::AccountGraph;
use crate::incidence::{Incidence, Table};
use crate::popularity::{Popularity, mass_burst, person_burst};
use crate::times::{Births, Burst};

/// Links that an owner of a widely shared photo gets in each direction.
const REACH: usize = 8;
/// Weight of one person on two photos, against one photo on two accounts.
const PERSON_WEIGHT: f64 = 0.06;
/// The same where the accounts were created together.
const BURST_PERSON_WEIGHT: f64 = 0.5;
/// Owners from which on a photo that no burst explains weighs less and less.
const COMMON: f64 = 10.0;
/// What the graph is made from.
#[derive(Clone, Copy)]
pub(crate) struct Parts<'a> {
    pub(crate) inc: &'a Incidence,
    pub(crate) births: &'a Births,
    pub(crate) popularity: &'a Popularity,
    pub(crate) config: &'a ClustersConfig,
    /// Accounts that link nobody: victims, allowed and verified ones.
    pub(crate) aside: &'a [bool],
}

/// Something so widely shared that it was held back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Suppressed {
    /// Index into the canonical photos (a photo entity) or faces (a person).
    pub(crate) entity: u32,
    /// Whether it is a person rather than a photo.
    pub person: bool,
    /// Accounts that have it.
    pub owners: u32,
}

type Pair = (u32, u32, f32);

/// What becomes of one shared thing.
enum Links {
    Pairs(Vec<Pair>),
    Nothing,
}

impl Parts<'_> {
    /// The owners of a burst. Where it holds most of them, the others are its own (older accounts that were bought); where
    /// it does not, they are bystanders of something popular.
    fn made_together(&self, owners: &[u32], burst: Burst) -> Vec<u32> {
        if burst.inside * 10 >= owners.len() * 7 {
            return owners.to_vec();
        }
        let inside = |a: &u32| (burst.from..=burst.to).contains(&self.births.at(*a));
        owners.iter().copied().filter(inside).collect()
    }

    fn closeness(&self, a: u32, b: u32) -> f64 {
        0.35 + 0.65 * (-self.births.apart(a, b) / 0.04).exp()
    }

    fn owners(&self, table: &Table, entity: u32) -> Vec<u32> {
        table.owners(entity).iter().map(|h| h.account).filter(|a| !self.aside[*a as usize]).collect()
    }

    /// All pairs, or a sparse graph without weak spots for more than `cap` accounts: in the order of creation, each is linked
    /// with those at a few distances from 1 to half the number, in geometric steps. (Neighbours alone would make a chain, which
    /// community detection cuts anywhere.)
    fn link(&self, accounts: &[u32], weight: f64, cap: usize) -> Vec<Pair> {
        let n = accounts.len();
        let pair = |a: u32, b: u32, weight: f64| (a.min(b), a.max(b), (weight * self.closeness(a, b)) as f32);
        if n <= cap || n <= 2 * REACH + 1 {
            return (0..n)
                .flat_map(|i| (i + 1..n).map(move |j| (i, j)))
                .map(|(i, j)| pair(accounts[i], accounts[j], weight))
                .collect();
        }
        let mut order = accounts.to_vec();
        order.sort_unstable_by_key(|a| (self.births.at(*a), *a));
        let step = |k: usize| ((n as f64 / 2.5).powf(k as f64 / (REACH - 1) as f64)).round() as usize;
        let mut steps: Vec<usize> = (0..REACH).map(step).collect();
        steps.dedup();
        let raised = weight * (n - 1) as f64 / (2 * steps.len()) as f64;
        (0..n)
            .flat_map(|i| steps.iter().map(move |step| (i, (i + step) % n)))
            .map(|(i, j)| pair(order[i], order[j], raised))
            .collect()
    }

    fn photo_links(&self, entity: u32, cap: usize) -> Links {
        if self.inc.photos.owners(entity).len() < 2
            || self.inc.photo_barred(entity)
            || self.inc.popular(entity)
        {
            return Links::Nothing;
        }
        let owners = self.owners(&self.inc.photos, entity);
        if owners.len() < 2 {
            return Links::Nothing;
        }
        let worth = 0.97 * self.inc.worth(entity);
        if let Some(burst) = mass_burst(self.births, self.config, &owners) {
            let made = self.made_together(&owners, burst);
            let background = owners.len() - made.len();
            return Links::Pairs(self.link(&made, worth * self.inc.rarity(background + 2), cap));
        }
        if owners.len() > self.config.generic_owners {
            return Links::Nothing;
        }
        let common = (COMMON / owners.len() as f64).min(1.0);
        Links::Pairs(self.link(&owners, worth * common * self.inc.rarity(owners.len()), cap))
    }

    fn person_links(&self, person: u32, cap: usize) -> Links {
        let held_back = self.inc.person_barred(person) || self.inc.popular_person(person);
        if self.inc.people.owners(person).len() < 2 || held_back {
            return Links::Nothing;
        }
        let owners = self.owners(&self.inc.people, person);
        if owners.len() < 2 {
            return Links::Nothing;
        }
        if let Some(burst) = person_burst(self.births, self.config, &owners) {
            let made = self.made_together(&owners, burst);
            return Links::Pairs(self.link(&made, BURST_PERSON_WEIGHT, cap));
        }
        if owners.len() <= cap {
            return Links::Pairs(self.link(&owners, PERSON_WEIGHT * self.inc.rarity(owners.len()), cap));
        }
        Links::Nothing
    }

    /// Links accounts that share two popular photos which belong together.
    fn double_links(&self, cap: usize) -> Vec<Pair> {
        let mut pairs = Vec::new();
        for (e, f) in &self.popularity.doubles {
            let other = self.inc.photos.owners(*f);
            let has = |account: u32| other.binary_search_by_key(&account, |h| h.account).is_ok();
            let accounts: Vec<u32> =
                self.owners(&self.inc.photos, *e).into_iter().filter(|a| has(*a)).collect();
            if accounts.len() >= 2 && !self.inc.photo_barred(*e) && !self.inc.photo_barred(*f) {
                let worth = self.inc.worth(*e).min(self.inc.worth(*f));
                pairs.extend(self.link(&accounts, 0.8 * worth * self.inc.rarity(accounts.len()), cap));
            }
        }
        pairs
    }

    /// Builds the graph over all accounts.
    pub(crate) fn build(&self, accounts: usize) -> AccountGraph {
        let cap = self.popularity.cap;
        let mut pairs: Vec<Pair> = self.double_links(cap);
        let photos: Vec<Links> = (0..self.inc.photos.entities())
            .into_par_iter()
            .map(|e| self.photo_links(e, cap))
            .filter(|l| !matches!(l, Links::Nothing))
            .collect();
        let people: Vec<Links> = (0..self.inc.people.entities())
            .into_par_iter()
            .map(|p| self.person_links(p, cap))
            .filter(|l| !matches!(l, Links::Nothing))
            .collect();
        for links in photos.into_iter().chain(people) {
            if let Links::Pairs(own) = links {
                pairs.extend(own);
            }
        }
        // The weight stands in the order, so that sums do not depend on which thread came first.
        pairs.par_sort_unstable_by(|x, y| (x.0, x.1).cmp(&(y.0, y.1)).then(x.2.total_cmp(&y.2)));
        pairs.dedup_by(|later, first| {
            let same = (later.0, later.1) == (first.0, first.1);
            if same {
                first.2 += later.2;
            }
            same
        });
        let mut graph = AccountGraph::with_capacity(accounts, pairs.len());
        for _ in 0..accounts {
            graph.add_node(());
        }
        for (a, b, weight) in pairs.into_iter().filter(|p| p.2 > 0.0) {
            graph.add_edge(NodeIndex::new(a as usize), NodeIndex::new(b as usize), weight);
        }
        graph
    }
}
