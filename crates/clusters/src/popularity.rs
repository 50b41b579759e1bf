//! What is so widely shown that it links nobody by itself, and the creation bursts that tell mass re-use from it.

use std::collections::HashMap;

use rayon::prelude::*;

use crate::ClustersConfig;
use crate::incidence::{Hold, Incidence, Table};
use crate::times::{Births, Burst};

/// Pairs of accounts written out at most; beyond, the cap on owners is lowered.
const MOST_PAIRS: u64 = 20_000_000;
/// Popular photos of one account that are combined in pairs at most.
const MOST_GENERIC: usize = 12;

/// The creation burst among a photo's owners, if it is plain: at least five times as dense as the population.
pub(crate) fn mass_burst(births: &Births, config: &ClustersConfig, owners: &[u32]) -> Option<Burst> {
    if owners.len() < config.mass_owners {
        return None;
    }
    let fewest = (owners.len() / 5).max(config.mass_owners * 3 / 4);
    births.burst(owners, fewest).filter(|b| {
        let share = b.inside as f64 / owners.len() as f64;
        b.evidence > 20.0 && b.mass <= 0.15 && share >= 5.0 * b.mass
    })
}

/// The creation burst among those who show one person: what a ring that owns many photos of somebody looks like, and a
/// celebrity's fans do not.
pub(crate) fn person_burst(births: &Births, config: &ClustersConfig, owners: &[u32]) -> Option<Burst> {
    if owners.len() >= config.mass_owners {
        return mass_burst(births, config, owners);
    }
    if owners.len() < 4 {
        return None;
    }
    let fewest = (owners.len() * 2).div_ceil(3).max(4);
    births.burst(owners, fewest).filter(|b| b.evidence > 8.0 && b.mass <= 0.05)
}

/// What is popular, by entity number.
#[derive(Debug, Default)]
pub(crate) struct Popularity {
    /// Photo -> accounts that show it.
    pub(crate) photos: HashMap<u32, u32>,
    /// Person -> accounts that show it.
    pub(crate) people: HashMap<u32, u32>,
    /// Pairs of popular photos that stand together on accounts at least four times as often as chance would have it.
    pub(crate) doubles: Vec<(u32, u32)>,
    /// Owners up to which a photo links each owner with each.
    pub(crate) cap: usize,
}

impl Popularity {
    /// Looks through a whole population.
    pub(crate) fn of(inc: &Incidence, births: &Births, config: &ClustersConfig, accounts: usize) -> Self {
        let owners = |table: &Table, entity: u32| -> Vec<u32> {
            table.owners(entity).iter().map(|h| h.account).collect()
        };
        let cap = cap(inc, config);
        let photos: HashMap<u32, u32> = (0..inc.photos.entities())
            .into_par_iter()
            .filter(|e| inc.photos.owners(*e).len() > config.generic_owners)
            .filter(|e| mass_burst(births, config, &owners(&inc.photos, *e)).is_none())
            .map(|e| (e, inc.photos.owners(e).len() as u32))
            .collect();
        let people: HashMap<u32, u32> = (0..inc.people.entities())
            .into_par_iter()
            .filter(|p| inc.people.owners(*p).len() > cap)
            .filter(|p| person_burst(births, config, &owners(&inc.people, *p)).is_none())
            .map(|p| (p, inc.people.owners(p).len() as u32))
            .collect();
        let doubles = doubles(inc, &photos, accounts);
        Self { photos, people, doubles, cap }
    }
}

/// The cap on owners for all pairs, lowered until the pairs stay under [`MOST_PAIRS`].
fn cap(inc: &Incidence, config: &ClustersConfig) -> usize {
    let mut pairs = vec![0u64; config.pair_cap + 1];
    for table in [&inc.photos, &inc.people] {
        for entity in 0..table.entities() {
            let n = table.owners(entity).len();
            if (2..=config.pair_cap).contains(&n) {
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

fn doubles(inc: &Incidence, popular: &HashMap<u32, u32>, accounts: usize) -> Vec<(u32, u32)> {
    let mut seen: Vec<(u32, u32)> = (0..accounts as u32)
        .into_par_iter()
        .flat_map_iter(|account| {
            let holds = inc.photos.of_account(account);
            let mut own: Vec<u32> =
                holds.iter().map(|h: &Hold| h.entity).filter(|e| popular.contains_key(e)).collect();
            own.sort_unstable_by_key(|e| (popular[e], *e));
            own.truncate(MOST_GENERIC);
            own.sort_unstable();
            let all = own.clone();
            own.into_iter()
                .enumerate()
                .flat_map(move |(i, e)| all[i + 1..].iter().map(move |f| (e, *f)).collect::<Vec<_>>())
        })
        .collect();
    seen.par_sort_unstable();
    seen.chunk_by(|x, y| x == y)
        .filter(|group| {
            let (e, f) = group[0];
            let chance = f64::from(popular[&e]) * f64::from(popular[&f]) / accounts.max(1) as f64;
            group.len() >= 2 && group.len() as f64 >= 4.0 * chance + 1.0
        })
        .map(|group| group[0])
        .collect()
}
