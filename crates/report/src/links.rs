//! A cluster's links as a small graph: who is tied to whom, and what hangs on one link.

use std::collections::{BTreeMap, BTreeSet};

use records::AccountId;
use records::tables::{EvidenceRow, LinkKind, MemberRow, Role, WeakestLink};

/// A tie between two accounts: all their evidence taken together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tie {
    /// Places in [`Ties::accounts`], `a < b`.
    pub a: usize,
    pub b: usize,
    /// The strongest kind among the evidence.
    pub kind: LinkKind,
    /// The largest weight among the evidence.
    pub weight: f64,
}

/// The accounts of a cluster and their ties.
pub(crate) struct Ties<'a> {
    /// Members and victims in the order of the member rows. What only the evidence names is left out: it has no role.
    pub accounts: Vec<(&'a AccountId, Role)>,
    pub ties: Vec<Tie>,
}

impl<'a> Ties<'a> {
    pub fn new(members: &[&'a MemberRow], evidence: &[&'a EvidenceRow]) -> Self {
        let mut accounts: Vec<(&AccountId, Role)> = Vec::new();
        let mut places: BTreeMap<&AccountId, usize> = BTreeMap::new();
        for row in members {
            places.entry(&row.account_id).or_insert_with(|| {
                accounts.push((&row.account_id, row.role));
                accounts.len() - 1
            });
        }
        let mut ties: BTreeMap<(usize, usize), Tie> = BTreeMap::new();
        for row in evidence {
            let (Some(one), Some(other)) = (places.get(&row.account_a), places.get(&row.account_b)) else {
                continue;
            };
            let (a, b) = (*one.min(other), *one.max(other));
            if a == b {
                continue;
            }
            let tie = ties.entry((a, b)).or_insert(Tie { a, b, kind: row.kind, weight: row.weight });
            tie.kind = tie.kind.min(row.kind);
            tie.weight = tie.weight.max(row.weight);
        }
        Self { accounts, ties: ties.into_values().collect() }
    }

    /// How many ties each account has.
    pub fn degrees(&self) -> Vec<usize> {
        let mut degrees = vec![0; self.accounts.len()];
        for end in self.ties.iter().flat_map(|tie| [tie.a, tie.b]) {
            if let Some(degree) = degrees.get_mut(end) {
                *degree += 1;
            }
        }
        degrees
    }

    /// The members that lose touch with the larger rest without this link; empty if the cluster holds together, or if
    /// the evidence at hand does not tell.
    pub fn cut_off_by(&self, link: &WeakestLink) -> Vec<&'a AccountId> {
        let ends = BTreeSet::from([&link.account_a, &link.account_b]);
        let names = |tie: &Tie| -> BTreeSet<&AccountId> {
            [tie.a, tie.b]
                .iter()
                .filter_map(|at| self.accounts.get(*at))
                .map(|(account, _)| *account)
                .collect()
        };
        let among_members = |tie: &&Tie| {
            [tie.a, tie.b]
                .iter()
                .all(|at| self.accounts.get(*at).is_some_and(|(_, role)| *role == Role::Member))
        };
        let ties: Vec<&Tie> = self.ties.iter().filter(among_members).collect();
        let Some(cut) = ties.iter().find(|tie| names(tie) == ends) else { return Vec::new() };
        let side = |start: usize| {
            let mut seen = BTreeSet::from([start]);
            let mut open = vec![start];
            while let Some(at) = open.pop() {
                let next = ties
                    .iter()
                    .filter(|tie| (tie.a, tie.b) != (cut.a, cut.b))
                    .filter_map(|tie| if tie.a == at { Some(tie.b) } else { (tie.b == at).then_some(tie.a) });
                open.extend(next.filter(|next| seen.insert(*next)).collect::<Vec<_>>());
            }
            seen
        };
        let (left, right) = (side(cut.a), side(cut.b));
        if left.contains(&cut.b) {
            return Vec::new();
        }
        let smaller = if left.len() <= right.len() { left } else { right };
        smaller.into_iter().filter_map(|at| self.accounts.get(at)).map(|(account, _)| *account).collect()
    }
}
