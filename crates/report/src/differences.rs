//! What has changed between two snapshots.
//!
//! Without an earlier snapshot, each cluster's own `change` column speaks; with one, the two are compared here, since
//! the earlier snapshot need not be the one just before.

use std::collections::{BTreeMap, BTreeSet};

use records::AccountId;
use records::tables::{Change, Role, Tables};
use serde::Serialize;

use crate::Snapshot;

/// What has changed since an earlier snapshot.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Differences {
    /// Name of the earlier snapshot.
    pub since: String,
    /// What became of each cluster of the newer snapshot, by its id.
    pub clusters: BTreeMap<String, ClusterDifference>,
    /// Clusters of the earlier snapshot that are no more, largest first.
    pub gone: Vec<GoneCluster>,
}

/// What became of one cluster.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ClusterDifference {
    /// In one word.
    pub change: Change,
    /// Members it has and did not have.
    pub joined: Vec<AccountId>,
    /// Members it had and does not have.
    pub left: Vec<AccountId>,
    /// Its score in the earlier snapshot, if it stood there.
    pub earlier_score: Option<f64>,
}

/// A cluster that is no more.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct GoneCluster {
    /// Its id.
    pub cluster_id: String,
    /// How many members it had.
    pub accounts: i32,
    /// Its score.
    pub score: f64,
    /// Clusters of the newer snapshot that name it as a parent; empty if it fell apart, was dismissed or erased.
    pub went_into: Vec<String>,
}

impl Differences {
    /// Compares two snapshots. Clusters are matched by id, which is stable across snapshots.
    pub fn between(current: &Snapshot, previous: &Snapshot) -> Self {
        let (now, then) = (members(&current.tables), members(&previous.tables));
        let scores: BTreeMap<&str, f64> =
            previous.tables.clusters.iter().map(|c| (c.cluster_id.as_str(), c.score)).collect();
        let nobody = BTreeSet::new();
        let clusters = current.tables.clusters.iter().map(|cluster| {
            let id = cluster.cluster_id.as_str();
            let (now, then) = (now.get(id).unwrap_or(&nobody), then.get(id).unwrap_or(&nobody));
            let joined: Vec<AccountId> = now.difference(then).map(|a| (*a).clone()).collect();
            let left: Vec<AccountId> = then.difference(now).map(|a| (*a).clone()).collect();
            let change = match (scores.contains_key(id), joined.is_empty(), left.is_empty()) {
                (false, ..) if matches!(cluster.change, Change::Merged | Change::Split) => cluster.change,
                (false, ..) => Change::New,
                (true, true, true) => Change::Unchanged,
                (true, true, false) => Change::Shrunk,
                (true, false, _) if cluster.change == Change::Merged => Change::Merged,
                (true, false, _) => Change::Grown,
            };
            let earlier_score = scores.get(id).copied();
            (id.to_owned(), ClusterDifference { change, joined, left, earlier_score })
        });
        let clusters: BTreeMap<_, _> = clusters.collect();
        let mut gone: Vec<GoneCluster> = previous
            .tables
            .clusters
            .iter()
            .filter(|cluster| !clusters.contains_key(&cluster.cluster_id))
            .map(|cluster| GoneCluster {
                cluster_id: cluster.cluster_id.clone(),
                accounts: cluster.accounts,
                score: cluster.score,
                went_into: children(&current.tables, &cluster.cluster_id),
            })
            .collect();
        gone.sort_by(|a, b| b.accounts.cmp(&a.accounts).then(a.cluster_id.cmp(&b.cluster_id)));
        Self { since: previous.run.snapshot.clone(), clusters, gone }
    }
}

fn members(tables: &Tables) -> BTreeMap<&str, BTreeSet<&AccountId>> {
    let mut by_cluster: BTreeMap<&str, BTreeSet<&AccountId>> = BTreeMap::new();
    for row in tables.members.iter().filter(|row| row.role == Role::Member) {
        by_cluster.entry(&row.cluster_id).or_default().insert(&row.account_id);
    }
    by_cluster
}

fn children(tables: &Tables, parent: &str) -> Vec<String> {
    let named = tables.clusters.iter().filter(|c| c.parents.iter().any(|p| p == parent));
    named.map(|c| c.cluster_id.clone()).collect()
}

/// What became of each cluster: from the comparison if there is one, else as the table says.
pub(crate) fn change_of(cluster: &records::tables::ClusterRow, differences: Option<&Differences>) -> Change {
    differences.and_then(|d| d.clusters.get(&cluster.cluster_id)).map_or(cluster.change, |d| d.change)
}

/// Indices of the clusters as an analyst should meet them: new and changed ones first, by score and then size.
pub(crate) fn reading_order(tables: &Tables, differences: Option<&Differences>) -> Vec<usize> {
    let mut order: Vec<usize> = (0..tables.clusters.len()).collect();
    let settled = |i: &usize| tables.clusters.get(*i).map(|c| change_of(c, differences) == Change::Unchanged);
    order.sort_by(|a, b| {
        settled(a).cmp(&settled(b)).then_with(|| match (tables.clusters.get(*a), tables.clusters.get(*b)) {
            (Some(a), Some(b)) => b
                .score
                .total_cmp(&a.score)
                .then(b.accounts.cmp(&a.accounts))
                .then(a.cluster_id.cmp(&b.cluster_id)),
            _ => std::cmp::Ordering::Equal,
        })
    });
    order
}
