//! Whether a cluster was dismissed before, and what is new since then.

use std::collections::{BTreeMap, HashMap};

use crate::{AccountId, Decision, Deed, EvidenceKey, Standing};

/// The dismissals that hold, findable by whom they are about.
#[derive(Debug, Default)]
pub struct Dismissals<'a> {
    all: Vec<Dismissal<'a>>,
    by_member: HashMap<&'a AccountId, Vec<usize>>,
}

/// A dismissal that holds. `members` and `evidence` are sorted.
#[derive(Clone, Copy, Debug)]
pub struct Dismissal<'a> {
    /// The cluster as it was called then.
    pub cluster_id: &'a str,
    /// Its members then.
    pub members: &'a [AccountId],
    /// Its links then.
    pub evidence: &'a [EvidenceKey],
    /// The decision.
    pub decision: &'a Decision,
}

/// What a cluster has that it had not when it was dismissed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Since<'a> {
    /// The dismissal.
    pub decision: &'a Decision,
    /// Members that are new, sorted.
    pub joined: Vec<AccountId>,
    /// How many links are new.
    pub links: usize,
}

impl Since<'_> {
    /// Whether anything is new; if not, the cluster is to stay away.
    pub fn anything(&self) -> bool {
        !self.joined.is_empty() || self.links > 0
    }
}

impl<'a> Dismissals<'a> {
    /// Those that hold.
    pub fn of(standing: &Standing<'a>) -> Self {
        let all: Vec<Dismissal<'a>> = standing
            .in_force()
            .iter()
            .filter_map(|decision| match &decision.deed {
                Deed::Dismiss { cluster_id, members, evidence, .. } => {
                    Some(Dismissal { cluster_id, members, evidence, decision })
                }
                _ => None,
            })
            .collect();
        let mut by_member: HashMap<&AccountId, Vec<usize>> = HashMap::new();
        for (at, dismissal) in all.iter().enumerate() {
            dismissal.members.iter().for_each(|member| by_member.entry(member).or_default().push(at));
        }
        Self { all, by_member }
    }

    /// All of them, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Dismissal<'a>> {
        self.all.iter()
    }

    /// The dismissal of the cluster with these members, and what is new since: that of which at least half of the
    /// members are here, the latest of several. A cluster may have got another id in between.
    pub fn since<'b>(
        &self,
        members: impl IntoIterator<Item = &'b AccountId>,
        evidence: impl IntoIterator<Item = EvidenceKey>,
    ) -> Option<Since<'a>> {
        let members: Vec<&AccountId> = members.into_iter().collect();
        let mut shared: BTreeMap<usize, usize> = BTreeMap::new();
        for at in members.iter().filter_map(|member| self.by_member.get(*member)).flatten() {
            *shared.entry(*at).or_default() += 1;
        }
        let (_, of) = shared
            .into_iter()
            .filter_map(|(at, count)| self.all.get(at).map(|of| (count, of)))
            .filter(|(count, of)| count * 2 >= of.members.len())
            .max_by_key(|(_, of)| of.decision.id)?;
        let mut joined: Vec<AccountId> =
            members.into_iter().filter(|m| of.members.binary_search(m).is_err()).cloned().collect();
        joined.sort();
        let links = evidence.into_iter().filter(|key| of.evidence.binary_search(key).is_err()).count();
        Some(Since { decision: of.decision, joined, links })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DecisionId, Timestamp};

    fn accounts(range: std::ops::Range<u32>) -> Vec<AccountId> {
        range.map(|n| AccountId::new(format!("a{n:02}")).unwrap()).collect()
    }

    fn dismissal(id: u64, members: Vec<AccountId>) -> Decision {
        let evidence = vec![EvidenceKey(1), EvidenceKey(2)];
        let deed = Deed::Dismiss { cluster_id: "x".into(), members, evidence, reason: "fans".into() };
        Decision { id: DecisionId(id), author: "ada".into(), at: Timestamp::EPOCH, deed }
    }

    #[test]
    fn only_what_is_new_brings_a_cluster_back() {
        let log = [dismissal(1, accounts(0..4))];
        let standing = Standing::of(&log);
        let dismissals = Dismissals::of(&standing);
        let since = |members: &[AccountId], keys: &[u64]| {
            dismissals.since(members, keys.iter().map(|key| EvidenceKey(*key)))
        };
        assert!(!since(&accounts(0..4), &[1, 2]).unwrap().anything());
        assert!(!since(&accounts(1..4), &[2]).unwrap().anything(), "less is nothing new");
        let grown = since(&accounts(0..5), &[1, 2, 3]).unwrap();
        assert_eq!((grown.joined.clone(), grown.links), (accounts(4..5), 1));
        assert!(since(&accounts(0..4), &[1, 2, 3]).unwrap().anything(), "a link is something new");
        assert_eq!(since(&accounts(3..9), &[1]), None, "a stray member makes no return");
        assert_eq!(since(&accounts(10..12), &[]), None);
    }
}
