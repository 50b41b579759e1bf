//! The newest snapshot's tables, findable by cluster and account. Built once a snapshot, then shared.

use std::collections::HashMap;
use std::sync::Arc;

use records::AccountId;
use records::tables::{AccountRow, ClusterRow, EvidenceRow, MemberRow};

use crate::state::Latest;

pub(crate) struct Catalogue {
    latest: Arc<Latest>,
    /// Clusters by score, best first, ties by id.
    order: Vec<usize>,
    clusters: HashMap<String, Entry>,
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
        let accounts =
            tables.accounts.iter().enumerate().map(|(at, row)| (row.account_id.clone(), at)).collect();
        Self { latest: Arc::clone(&latest), order, clusters, members, accounts }
    }

    pub fn is_of(&self, latest: &Arc<Latest>) -> bool {
        Arc::ptr_eq(&self.latest, latest)
    }

    pub fn snapshot(&self) -> &str {
        &self.latest.run.snapshot
    }

    /// The clusters by score, those after the place of `after` in that order; `None` if there is no such cluster.
    pub fn ranked(&self, after: Option<&str>) -> Option<impl Iterator<Item = &ClusterRow>> {
        let start = match after {
            None => 0,
            Some(id) => self.clusters.get(id)?.place + 1,
        };
        Some(self.order.iter().skip(start).filter_map(|at| self.latest.tables.clusters.get(*at)))
    }

    pub fn cluster(&self, id: &str) -> Option<&ClusterRow> {
        self.latest.tables.clusters.get(self.clusters.get(id)?.row)
    }

    pub fn members(&self, id: &str) -> impl Iterator<Item = &MemberRow> {
        let places = self.clusters.get(id).map(|entry| entry.members.as_slice()).unwrap_or_default();
        places.iter().filter_map(|at| self.latest.tables.members.get(*at))
    }

    pub fn evidence(&self, id: &str) -> impl Iterator<Item = &EvidenceRow> {
        let places = self.clusters.get(id).map(|entry| entry.evidence.as_slice()).unwrap_or_default();
        places.iter().filter_map(|at| self.latest.tables.evidence.get(*at))
    }

    pub fn memberships(&self, account: &AccountId) -> impl Iterator<Item = &MemberRow> {
        let places = self.members.get(account).map(Vec::as_slice).unwrap_or_default();
        places.iter().filter_map(|at| self.latest.tables.members.get(*at))
    }

    pub fn account(&self, account: &AccountId) -> Option<&AccountRow> {
        self.latest.tables.accounts.get(*self.accounts.get(account)?)
    }
}
