//! Two groupings of the same accounts, into clusters and into rings, by how their groups overlap. Linear in the number
//! of accounts: pairs are counted, never listed.

use std::collections::HashMap;

use super::figures::share;

/// An account that counts: a bot or an accused account.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item<'a> {
    /// The cluster it is accused in; one of its own if none.
    pub cluster: Option<&'a str>,
    /// The ring it is of; one of its own if none.
    pub ring: Option<&'a str>,
}

/// Sizes of clusters, of rings, and of what they have in common.
pub(super) struct Overlaps<'a> {
    items: usize,
    clusters: HashMap<&'a str, usize>,
    rings: HashMap<&'a str, usize>,
    both: HashMap<(&'a str, &'a str), usize>,
}

fn pairs(of: usize) -> usize {
    of * of.saturating_sub(1) / 2
}

impl<'a> Overlaps<'a> {
    pub(super) fn of(items: &[Item<'a>]) -> Self {
        let mut overlaps = Self {
            items: items.len(),
            clusters: HashMap::new(),
            rings: HashMap::new(),
            both: HashMap::new(),
        };
        for item in items {
            if let Some(cluster) = item.cluster {
                *overlaps.clusters.entry(cluster).or_default() += 1;
            }
            if let Some(ring) = item.ring {
                *overlaps.rings.entry(ring).or_default() += 1;
            }
            if let (Some(cluster), Some(ring)) = (item.cluster, item.ring) {
                *overlaps.both.entry((cluster, ring)).or_default() += 1;
            }
        }
        overlaps
    }

    /// Precision and recall over pairs of accounts.
    pub(super) fn pairwise(&self) -> (f64, f64) {
        let right: usize = self.both.values().copied().map(pairs).sum();
        let said: usize = self.clusters.values().copied().map(pairs).sum();
        let wanted: usize = self.rings.values().copied().map(pairs).sum();
        let empty = if said == 0 && wanted == 0 { 1.0 } else { 0.0 };
        (share(right, said, empty), share(right, wanted, empty))
    }

    /// BCubed precision and recall (Bagga and Baldwin 1998): the mean over accounts of the share of their cluster that
    /// is of their ring, and of the share of their ring that is in their cluster.
    pub(super) fn bcubed(&self) -> (f64, f64) {
        let sum_of_squares = |groups: &dyn Fn(&(&'a str, &'a str)) -> usize| {
            let mut terms: Vec<f64> =
                self.both.iter().map(|(key, n)| (n * n) as f64 / groups(key) as f64).collect();
            // Sums of floating-point numbers depend on their order, and a map's order is random.
            terms.sort_by(f64::total_cmp);
            terms.into_iter().sum::<f64>()
        };
        let size = |of: &HashMap<&'a str, usize>, key: &str| of.get(key).copied().unwrap_or(1);
        // An account without ring is alone in its class: its share of a cluster of n is 1/n. So every cluster adds
        // (accounts without ring) / n to precision, and each such account 1 to recall; likewise the other way round.
        let in_rings: usize = self.rings.values().sum();
        let in_clusters: usize = self.clusters.values().sum();
        let in_both: usize = self.both.values().sum();
        let mut ringless: HashMap<&str, usize> = self.clusters.clone();
        let mut unclustered: HashMap<&str, usize> = self.rings.clone();
        for ((cluster, ring), n) in &self.both {
            for (left, key) in [(&mut ringless, cluster), (&mut unclustered, ring)] {
                if let Some(left) = left.get_mut(key) {
                    *left -= n;
                }
            }
        }
        let alone = |left: &HashMap<&str, usize>, sizes: &HashMap<&'a str, usize>| {
            let mut terms: Vec<f64> =
                left.iter().map(|(key, n)| *n as f64 / size(sizes, key) as f64).collect();
            terms.sort_by(f64::total_cmp);
            terms.into_iter().sum::<f64>()
        };
        let neither = (self.items + in_both - in_rings - in_clusters) as f64;
        let precision = sum_of_squares(&|(cluster, _)| size(&self.clusters, cluster))
            + alone(&ringless, &self.clusters)
            + (in_rings - in_both) as f64
            + neither;
        let recall = sum_of_squares(&|(_, ring)| size(&self.rings, ring))
            + alone(&unclustered, &self.rings)
            + (in_clusters - in_both) as f64
            + neither;
        if self.items == 0 {
            return (1.0, 1.0);
        }
        (precision / self.items as f64, recall / self.items as f64)
    }

    /// Clusters.
    pub(super) fn clusters(&self) -> usize {
        self.clusters.len()
    }

    /// Rings of at least two bots.
    pub(super) fn rings(&self) -> usize {
        self.rings.values().filter(|size| **size >= 2).count()
    }

    /// Rings of at least two bots of which one cluster holds at least half and which are more than half of that cluster.
    pub(super) fn rings_found(&self) -> usize {
        let found = self.both.iter().filter(|((cluster, ring), n)| {
            let ring = self.rings.get(ring).copied().unwrap_or_default();
            let cluster = self.clusters.get(cluster).copied().unwrap_or_default();
            ring >= 2 && 2 * **n >= ring && 2 * **n > cluster
        });
        // Two halves of a ring may each be a cluster; it is found once.
        found.map(|((_, ring), _)| ring).collect::<std::collections::HashSet<_>>().len()
    }

    /// Accused accounts that are of the ring most common in their cluster.
    pub(super) fn of_main_ring(&self) -> usize {
        self.main_rings().values().sum()
    }

    fn main_rings(&self) -> HashMap<&'a str, usize> {
        let mut main: HashMap<&str, usize> = HashMap::new();
        for ((cluster, _), n) in &self.both {
            let most = main.entry(cluster).or_default();
            *most = (*most).max(*n);
        }
        main
    }

    /// Accused accounts in the largest cluster.
    pub(super) fn largest_cluster(&self) -> usize {
        self.clusters.values().copied().max().unwrap_or_default()
    }

    /// Each cluster and whether more than half of it is of one ring.
    pub(super) fn true_clusters(&self) -> impl Iterator<Item = (&'a str, bool)> {
        let main = self.main_rings();
        let clusters = self.clusters.iter();
        clusters.map(move |(cluster, size)| {
            (*cluster, main.get(cluster).is_some_and(|n| *n >= 2 && 2 * *n > *size))
        })
    }
}
