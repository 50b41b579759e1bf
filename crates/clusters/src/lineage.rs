//! Cluster ids that last, and what became of each cluster since the snapshot before.
//!
//! Invariants:
//! - An id is carried on by at most one cluster, and never given to an unrelated one.
//! - The result depends on the sets of members only, not on the order of clusters.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use records::AccountId;
use records::tables::Change;
use sha2::{Digest, Sha256};

use crate::input::PreviousCluster;

/// Least share, of either side, that makes an earlier cluster a parent.
const PARENT_SHARE: f64 = 0.2;

/// Where a cluster comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Descent {
    pub(crate) cluster_id: String,
    pub(crate) change: Change,
    pub(crate) parents: Vec<String>,
}

/// Names each cluster (its members sorted) and tells its history.
pub(crate) fn lineage(clusters: &[Vec<AccountId>], previous: &[PreviousCluster]) -> Vec<Descent> {
    let mut home: HashMap<&AccountId, usize> = HashMap::new();
    for (old, cluster) in previous.iter().enumerate() {
        cluster.members.iter().for_each(|m| {
            home.insert(m, old);
        });
    }
    let mut overlaps: Vec<(usize, usize, usize)> = Vec::new();
    for (new, members) in clusters.iter().enumerate() {
        let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
        for old in members.iter().filter_map(|m| home.get(m)) {
            *counts.entry(*old).or_default() += 1;
        }
        overlaps.extend(counts.into_iter().map(|(old, count)| (new, old, count)));
    }
    let share = |count: usize, of: usize| count as f64 / of.max(1) as f64;
    let related = |(new, old, count): &(usize, usize, usize)| {
        share(*count, clusters[*new].len()).max(share(*count, previous[*old].members.len())) >= PARENT_SHARE
    };
    overlaps.retain(related);

    // The largest overlap keeps the id; of equal ones the cluster with the smaller first member, then the smaller id.
    let mut order = overlaps.clone();
    order.sort_by(|x, y| {
        y.2.cmp(&x.2)
            .then_with(|| clusters[x.0].first().cmp(&clusters[y.0].first()))
            .then_with(|| previous[x.1].cluster_id.cmp(&previous[y.1].cluster_id))
    });
    let mut heir: Vec<Option<usize>> = vec![None; clusters.len()];
    let mut taken = vec![false; previous.len()];
    for (new, old, count) in order {
        let half = share(count, clusters[new].len()).max(share(count, previous[old].members.len())) >= 0.5;
        if half && heir[new].is_none() && !taken[old] {
            (heir[new], taken[old]) = (Some(old), true);
        }
    }

    let mut used: BTreeSet<String> = previous.iter().map(|p| p.cluster_id.clone()).collect();
    clusters
        .iter()
        .enumerate()
        .map(|(new, members)| {
            let from: Vec<(usize, usize)> =
                overlaps.iter().filter(|o| o.0 == new).map(|o| (o.1, o.2)).collect();
            let mut parents: Vec<String> =
                from.iter().map(|(old, _)| previous[*old].cluster_id.clone()).collect();
            parents.sort_unstable();
            let divided = |old: usize| overlaps.iter().filter(|o| o.1 == old).count() > 1;
            let change = match from.as_slice() {
                [] => Change::New,
                [_, _, ..] => Change::Merged,
                [(old, _)] if divided(*old) => Change::Split,
                [(old, kept)] => {
                    let (gained, lost) = (members.len() - kept, previous[*old].members.len() - kept);
                    match (gained, lost) {
                        (0, 0) => Change::Unchanged,
                        _ if gained >= lost => Change::Grown,
                        _ => Change::Shrunk,
                    }
                }
            };
            let cluster_id = match heir[new] {
                Some(old) => previous[old].cluster_id.clone(),
                None => fresh_id(members, &mut used),
            };
            Descent { cluster_id, change, parents }
        })
        .collect()
}

/// `c` and twelve hexadecimal digits of a hash of the members.
fn fresh_id(members: &[AccountId], used: &mut BTreeSet<String>) -> String {
    for salt in 0u32.. {
        let mut hasher = Sha256::new();
        hasher.update(salt.to_le_bytes());
        for member in members {
            hasher.update((member.as_str().len() as u64).to_le_bytes());
            hasher.update(member.as_str());
        }
        let id = format!("c{}", hex::encode(&hasher.finalize()[..6]));
        if used.insert(id.clone()) {
            return id;
        }
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(range: std::ops::Range<u32>) -> Vec<AccountId> {
        range.map(|i| AccountId::new(format!("a{i:03}")).unwrap()).collect()
    }

    fn old(id: &str, range: std::ops::Range<u32>) -> PreviousCluster {
        PreviousCluster { cluster_id: id.into(), members: ids(range) }
    }

    #[test]
    fn the_table_of_changes() {
        let previous = [
            old("same", 0..10),
            old("grows", 20..30),
            old("shrinks", 40..50),
            old("left", 60..70),
            old("right", 70..76),
            old("splits", 80..100),
            old("ends", 110..115),
        ];
        let now =
            [ids(0..10), ids(20..34), ids(40..47), ids(60..76), ids(80..92), ids(92..100), ids(200..205)];
        let found = lineage(&now, &previous);
        let table: Vec<(&str, Change)> = found.iter().map(|d| (d.cluster_id.as_str(), d.change)).collect();
        assert_eq!(table[0], ("same", Change::Unchanged));
        assert_eq!(table[1], ("grows", Change::Grown));
        assert_eq!(table[2], ("shrinks", Change::Shrunk));
        assert_eq!(table[3], ("left", Change::Merged));
        assert_eq!(found[3].parents, ["left", "right"]);
        assert_eq!(table[4], ("splits", Change::Split));
        assert_eq!(table[5].1, Change::Split);
        assert_ne!(table[5].0, "splits");
        assert_eq!(found[5].parents, ["splits"]);
        assert_eq!(table[6].1, Change::New);
        assert!(found[6].parents.is_empty());
        let unique: BTreeSet<&str> = table.iter().map(|t| t.0).collect();
        assert_eq!(unique.len(), now.len());

        let mut turned = now.to_vec();
        turned.reverse();
        let mut again = lineage(&turned, &previous);
        again.reverse();
        assert_eq!(found, again, "order does not matter");
    }

    #[test]
    fn a_stray_member_is_no_descent() {
        let found = lineage(&[ids(9..30)], &[old("x", 0..10)]);
        assert_eq!((found[0].change, found[0].parents.len()), (Change::New, 0));
    }
}
