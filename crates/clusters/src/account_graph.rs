//! The account graph: who shares what with whom, weighted by what that is worth.
//!
//! Weight of a shared photo = probability that it is one photo x what it shows x rarity x closeness in time; a shared person
//! weighs a small fraction of a photo. Weights of several shared photos add up.
//!
//! Invariants:
//! - At most [`MOST_PAIRS`] pairs are written out. A photo with more owners than the cap links each owner with a few others
//!   only, near and far in time, with weights raised so that their sum is that of all pairs.
//! - A generic photo (many owners, no creation burst) links only accounts that share a second generic photo, more often than
//!   chance would have it.

use petgraph::graph::NodeIndex;
use rayon::prelude::*;

use crate::ClustersConfig;
use crate::communities::AccountGraph;
use crate::incidence::{Hold, Incidence, Table};
use crate::times::{Births, Burst};

/// Pairs written out at most; beyond, the cap on owners is lowered.
const MOST_PAIRS: u64 = 20_000_000;
/// Links that an owner of a widely shared photo gets in each direction.
const REACH: usize = 8;
/// Weight of one person on two photos, against one photo on two accounts.
const PERSON_WEIGHT: f64 = 0.06;
/// The same where the accounts were created together.
const BURST_PERSON_WEIGHT: f64 = 0.5;
/// Owners from which on a photo that no burst explains weighs less and less.
const COMMON: f64 = 10.0;
/// Generic photos of one account that are combined in pairs at most.
const MOST_GENERIC: usize = 12;

/// What the graph is made from.
#[derive(Clone, Copy)]
pub(crate) struct Parts<'a> {
    pub(crate) inc: &'a Incidence,
    pub(crate) births: &'a Births,
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

/// The graph, and what was held back.
pub(crate) struct Built {
    pub(crate) graph: AccountGraph,
    pub(crate) suppressed: Vec<Suppressed>,
}

type Pair = (u32, u32, f32);

/// What becomes of one shared thing.
enum Links {
    Pairs(Vec<Pair>),
    Generic(u32),
    Nothing,
}

impl Parts<'_> {
    /// The creation burst among a photo's owners, if it is plain: at least five times as dense as the population.
    pub(crate) fn mass_burst(&self, owners: &[u32]) -> Option<Burst> {
        if owners.len() < self.config.mass_owners {
            return None;
        }
        let fewest = (owners.len() / 5).max(self.config.mass_owners * 3 / 4);
        self.births.burst(owners, fewest).filter(|b| {
            let share = b.inside as f64 / owners.len() as f64;
            b.evidence > 20.0 && b.mass <= 0.15 && share >= 5.0 * b.mass
        })
    }

    /// The owners of a burst. Where it holds most of them, the others are its own (older accounts that were bought); where
    /// it does not, they are bystanders of something popular.
    fn made_together(&self, owners: &[u32], burst: Burst) -> Vec<u32> {
        if burst.inside * 10 >= owners.len() * 7 {
            return owners.to_vec();
        }
        let inside = |a: &u32| (burst.from..=burst.to).contains(&self.births.at(*a));
        owners.iter().copied().filter(inside).collect()
    }

    /// The creation burst among those who show one person: what a ring that owns many photos of somebody looks like, and
    /// a celebrity's fans do not.
    fn person_burst(&self, owners: &[u32]) -> Option<Burst> {
        if owners.len() >= self.config.mass_owners {
            return self.mass_burst(owners);
        }
        if owners.len() < 4 {
            return None;
        }
        let fewest = (owners.len() * 2).div_ceil(3).max(4);
        self.births.burst(owners, fewest).filter(|b| b.evidence > 8.0 && b.mass <= 0.05)
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
        if self.inc.photos.owners(entity).len() < 2 || self.inc.photo_barred(entity) {
            return Links::Nothing;
        }
        let owners = self.owners(&self.inc.photos, entity);
        if owners.len() < 2 {
            return Links::Nothing;
        }
        let worth = 0.97 * self.inc.worth(entity);
        if let Some(burst) = self.mass_burst(&owners) {
            let made = self.made_together(&owners, burst);
            let background = owners.len() - made.len();
            return Links::Pairs(self.link(&made, worth * self.inc.rarity(background + 2), cap));
        }
        if owners.len() > self.config.generic_owners {
            return Links::Generic(owners.len() as u32);
        }
        let common = (COMMON / owners.len() as f64).min(1.0);
        Links::Pairs(self.link(&owners, worth * common * self.inc.rarity(owners.len()), cap))
    }

    fn person_links(&self, person: u32, cap: usize) -> Links {
        if self.inc.people.owners(person).len() < 2 || self.inc.person_barred(person) {
            return Links::Nothing;
        }
        let owners = self.owners(&self.inc.people, person);
        if owners.len() < 2 {
            return Links::Nothing;
        }
        if let Some(burst) = self.person_burst(&owners) {
            let made = self.made_together(&owners, burst);
            return Links::Pairs(self.link(&made, BURST_PERSON_WEIGHT, cap));
        }
        if owners.len() <= cap {
            return Links::Pairs(self.link(&owners, PERSON_WEIGHT * self.inc.rarity(owners.len()), cap));
        }
        Links::Generic(owners.len() as u32)
    }

    /// Links accounts that share two generic photos, where that happens at least four times as often as by chance.
    fn generic_links(&self, generic: &[bool], owners: &[u32], accounts: usize, cap: usize) -> Vec<Pair> {
        let mut doubles: Vec<(u32, u32, u32)> = (0..accounts as u32)
            .into_par_iter()
            .filter(|a| !self.aside[*a as usize])
            .flat_map_iter(|account| {
                let holds = self.inc.photos.of_account(account);
                let mut own: Vec<u32> =
                    holds.iter().map(|h: &Hold| h.entity).filter(|e| generic[*e as usize]).collect();
                own.sort_unstable_by_key(|e| (owners[*e as usize], *e));
                own.truncate(MOST_GENERIC);
                own.sort_unstable();
                let all = own.clone();
                own.into_iter().enumerate().flat_map(move |(i, e)| {
                    all[i + 1..].iter().map(move |f| (e, *f, account)).collect::<Vec<_>>()
                })
            })
            .collect();
        doubles.par_sort_unstable();
        let mut pairs = Vec::new();
        for group in doubles.chunk_by(|x, y| (x.0, x.1) == (y.0, y.1)) {
            let (e, f) = (group[0].0, group[0].1);
            let chance = f64::from(owners[e as usize]) * f64::from(owners[f as usize]) / accounts as f64;
            if group.len() >= 2 && group.len() as f64 >= 4.0 * chance + 1.0 {
                let accounts: Vec<u32> = group.iter().map(|d| d.2).collect();
                let worth = self.inc.worth(e).min(self.inc.worth(f));
                pairs.extend(self.link(&accounts, 0.8 * worth * self.inc.rarity(accounts.len()), cap));
            }
        }
        pairs
    }

    /// The cap on owners for all pairs, lowered until the pairs stay under [`MOST_PAIRS`].
    fn cap(&self) -> usize {
        let mut pairs = vec![0u64; self.config.pair_cap + 1];
        for table in [&self.inc.photos, &self.inc.people] {
            for entity in 0..table.entities() {
                let n = table.owners(entity).len();
                if (2..=self.config.pair_cap).contains(&n) {
                    pairs[n] += (n * (n - 1) / 2) as u64;
                }
            }
        }
        let mut sum = 0;
        let fits = pairs.iter().take_while(|p| {
            sum += **p;
            sum <= MOST_PAIRS
        });
        (fits.count() - 1).max(2)
    }

    /// Builds the graph over all accounts.
    pub(crate) fn build(&self, accounts: usize) -> Built {
        let cap = self.cap();
        let mut suppressed = Vec::new();
        let mut generic = vec![false; self.inc.photos.entities() as usize];
        let mut owners = vec![0u32; generic.len()];
        let mut pairs: Vec<Pair> = Vec::new();
        let photos: Vec<(u32, Links)> = (0..self.inc.photos.entities())
            .into_par_iter()
            .map(|e| (e, self.photo_links(e, cap)))
            .filter(|(_, l)| !matches!(l, Links::Nothing))
            .collect();
        for (entity, links) in photos {
            match links {
                Links::Pairs(own) => pairs.extend(own),
                Links::Generic(n) => {
                    generic[entity as usize] = true;
                    owners[entity as usize] = n;
                    suppressed.push(Suppressed { entity, person: false, owners: n });
                }
                Links::Nothing => {}
            }
        }
        pairs.extend(self.generic_links(&generic, &owners, accounts, cap));
        let people: Vec<(u32, Links)> = (0..self.inc.people.entities())
            .into_par_iter()
            .map(|p| (p, self.person_links(p, cap)))
            .filter(|(_, l)| !matches!(l, Links::Nothing))
            .collect();
        for (entity, links) in people {
            match links {
                Links::Pairs(own) => pairs.extend(own),
                Links::Generic(n) => suppressed.push(Suppressed { entity, person: true, owners: n }),
                Links::Nothing => {}
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
        Built { graph, suppressed }
    }
}
