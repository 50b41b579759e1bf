//! The newest snapshot's tables, findable by cluster and account. Built once a snapshot, then shared.

use std::collections::HashMap;
use std::sync::Arc;

use records::tables::{AccountRow, ClusterRow, EvidenceRow, MemberRow, Role, Tables};
use records::{AccountId, ClusterFacts};

use crate::state::Latest;
use crate::uncertainty::{Doubt, doubt};

pub(crate) struct Catalogue {
    latest: Arc<Latest>,
    /// Clusters by score, best first, ties by id.
    order: Vec<usize>,
    clusters: HashMap<String, Entry>,
    /// How sure each cluster is, by its row.
    doubts: Vec<Doubt>,
    members: HashMap<AccountId, Vec<usize>>,
    accounts: HashMap<AccountId, usize>,
}

#[derive(Default)]
struct Entry {
    row: usize,
    /// Place in `order`.
    place: usize,
    members: Vec<usize>,
    evidence: Vec<usize>,
}

impl Catalogue {
    pub fn new(latest: Arc<Latest>) -> Self {
        let tables = &latest.tables;
        let mut clusters: HashMap<String, Entry> = HashMap::with_capacity(tables.clusters.len());
        let mut ranked: Vec<(usize, &ClusterRow)> = tables.clusters.iter().enumerate().collect();
        ranked.sort_by(|(_, a), (_, b)| b.score.total_cmp(&a.score).then(a.cluster_id.cmp(&b.cluster_id)));
        let order: Vec<usize> = ranked.iter().map(|(row, _)| *row).collect();
        for (place, (row, cluster)) in ranked.into_iter().enumerate() {
            clusters.insert(cluster.cluster_id.clone(), Entry { row, place, ..Entry::default() });
        }
        let mut members: HashMap<AccountId, Vec<usize>> = HashMap::new();
        for (at, member) in tables.members.iter().enumerate() {
            members.entry(member.account_id.clone()).or_default().push(at);
            if let Some(entry) = clusters.get_mut(&member.cluster_id) {
                entry.members.push(at);
            }
        }
        for (at, link) in tables.evidence.iter().enumerate() {
            if let Some(entry) = clusters.get_mut(&link.cluster_id) {
                entry.evidence.push(at);
            }
        }
        let doubts = tables
            .clusters
            .iter()
            .map(|row| {
                let places = clusters.get(&row.cluster_id).map(|e| e.members.as_slice()).unwrap_or_default();
                doubt(row, places.iter().filter_map(|at| tables.members.get(*at)))
            })
            .collect();
        let accounts =
            tables.accounts.iter().enumerate().map(|(at, row)| (row.account_id.clone(), at)).collect();
        Self { latest: Arc::clone(&latest), order, clusters, doubts, members, accounts }
    }

    pub fn is_of(&self, latest: &Arc<Latest>) -> bool {
        Arc::ptr_eq(&self.latest, latest)
    }

    pub fn snapshot(&self) -> &str {
        &self.latest.run.snapshot
    }

    pub fn latest(&self) -> &Latest {
        &self.latest
    }

    /// The clusters by score, those after the place of `after` in that order; `None` if there is no such cluster.
    pub fn ranked(&self, after: Option<&str>) -> Option<impl Iterator<Item = &ClusterRow>> {
        let start = match after {
            None => 0,
            Some(id) => self.clusters.get(id)?.place + 1,
        };
        Some(self.order.iter().skip(start).filter_map(|at| self.latest.tables.clusters.get(*at)))
    }

    /// All clusters in the table's order; their places are what [`Catalogue::row_of`] gives.
    pub fn all(&self) -> &[ClusterRow] {
        &self.latest.tables.clusters
    }

    /// The place of a cluster in the table.
    pub fn row_of(&self, id: &str) -> Option<usize> {
        self.clusters.get(id).map(|entry| entry.row)
    }

    /// How sure the cluster in this place is.
    pub fn doubt(&self, row: usize) -> Doubt {
        self.doubts.get(row).copied().unwrap_or_default()
    }

    pub fn cluster(&self, id: &str) -> Option<&ClusterRow> {
        self.latest.tables.clusters.get(self.row_of(id)?)
    }

    pub fn members(&self, id: &str) -> impl Iterator<Item = &MemberRow> {
        let places = self.clusters.get(id).map(|entry| entry.members.as_slice()).unwrap_or_default();
        places.iter().filter_map(|at| self.latest.tables.members.get(*at))
    }

    /// How many likely victims a cluster has.
    pub fn victims(&self, id: &str) -> usize {
        self.members(id).filter(|member| member.role == Role::Victim).count()
    }

    pub fn evidence(&self, id: &str) -> impl Iterator<Item = &EvidenceRow> {
        let places = self.clusters.get(id).map(|entry| entry.evidence.as_slice()).unwrap_or_default();
        places.iter().filter_map(|at| self.latest.tables.evidence.get(*at))
    }

    /// Who a decision about this cluster is about.
    pub fn facts(&self, id: &str) -> Option<ClusterFacts> {
        self.clusters.get(id)?;
        let members = self.members(id).filter(|member| member.role == Role::Member);
        Some(ClusterFacts {
            members: members.map(|member| member.account_id.clone()).collect(),
            evidence: self.evidence(id).map(EvidenceRow::key).collect(),
        })
    }

    /// The rows of one cluster, and of the accounts they name, as tables of their own.
    pub fn only(&self, id: &str) -> Option<Tables> {
        let cluster = self.cluster(id)?.clone();
        let members: Vec<MemberRow> = self.members(id).cloned().collect();
        let accounts =
            members.iter().filter_map(|member| self.account(&member.account_id)).cloned().collect();
        Some(Tables {
            clusters: vec![cluster],
            members,
            evidence: self.evidence(id).cloned().collect(),
            accounts,
        })
    }

    pub fn memberships(&self, account: &AccountId) -> impl Iterator<Item = &MemberRow> {
        let places = self.members.get(account).map(Vec::as_slice).unwrap_or_default();
        places.iter().filter_map(|at| self.latest.tables.members.get(*at))
    }

    pub fn account(&self, account: &AccountId) -> Option<&AccountRow> {
        self.latest.tables.accounts.get(*self.accounts.get(account)?)
    }

    /// The clusters of accounts that have this id, or a user name that begins so (ASCII letters of either case).
    pub fn clusters_of_name(&self, name: &str) -> Vec<usize> {
        let begins = |text: &str| {
            text.as_bytes().get(..name.len()).is_some_and(|head| head.eq_ignore_ascii_case(name.as_bytes()))
        };
        let named = self.latest.tables.accounts.iter().filter(|row| {
            row.account_id.as_str() == name || row.facts.username.as_deref().is_some_and(begins)
        });
        let mut rows: Vec<usize> = named
            .flat_map(|row| self.memberships(&row.account_id))
            .filter_map(|member| self.row_of(&member.cluster_id))
            .collect();
        rows.sort_unstable();
        rows.dedup();
        rows
    }
}
