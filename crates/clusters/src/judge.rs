//! From a community to clusters: honest accounts that strayed in are let go first, then the rest is judged.
//!
//! Invariants:
//! - A member's own score is at least `min_member_score`, a cluster's at least `min_score`.
//! - The members of a cluster are connected in the account graph, or show what its members show (`recruit`).

use records::tables::{Reason, WeakestLink};

use crate::ClustersConfig;
use crate::calibration::{logistic, logit};
use crate::communities::{AccountGraph, bridges, induced};
use crate::decisions::Decisions;
use crate::group::Group;
use crate::incidence::Incidence;
use crate::input::Input;
use crate::leiden::{renumber, split_disconnected};
use crate::score::{Score, Scoring};
use crate::times::Burst;

/// Own signals below which an account is let go, however suspicious its company.
const HONEST: f64 = -3.0;
/// The most that a network's log-odds count for each of its members: past that, the account's own signals must decide.
const MOST_FROM_NETWORK: f64 = 4.0;
/// Rounds of letting go. Each only shrinks the group, so few are needed.
const ROUNDS: usize = 5;

/// A member with its score.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Member {
    pub(crate) account: u32,
    pub(crate) score: f64,
    pub(crate) reasons: Vec<Reason>,
}

/// A cluster that is worth writing.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Found {
    /// By account.
    pub(crate) members: Vec<Member>,
    pub(crate) score: Score,
    pub(crate) weakest: Option<WeakestLink>,
}

/// What judging looks at.
#[derive(Clone, Copy)]
pub(crate) struct Court<'a> {
    pub(crate) scoring: Scoring<'a>,
    pub(crate) graph: &'a AccountGraph,
    /// Account -> whether it is the likely owner of what others re-use.
    pub(crate) likely: &'a [bool],
    /// Accounts that are in no cluster: victims, allowed and verified ones.
    pub(crate) aside: &'a [bool],
    pub(crate) decisions: &'a Decisions,
    pub(crate) config: &'a ClustersConfig,
}

impl Court<'_> {
    /// Every account's own signals.
    pub(crate) fn own(&self, group: &Group, burst: Option<&Burst>) -> Vec<Vec<Reason>> {
        let company = self.scoring.company(group, burst);
        let accounts = group.accounts.iter().zip(&group.parts);
        accounts.map(|(a, part)| self.scoring.own(*a, part, &company)).collect()
    }

    /// What a cluster's score counts for its members.
    pub(crate) fn network(&self, score: &Score) -> f64 {
        score.log_odds().min(MOST_FROM_NETWORK * self.config.calibration.scale)
    }

    /// A cluster of accounts that were all found to be part of it.
    pub(crate) fn found(&self, group: &Group, own: Vec<Vec<Reason>>, score: Score) -> Found {
        let network = self.network(&score);
        let rows = group.accounts.iter().zip(own);
        let members = rows.map(|(account, own)| self.member(*account, own, &score, network)).collect();
        let weakest = self.weakest(&group.accounts);
        Found { members, score, weakest }
    }

    pub(crate) fn inc(&self) -> &Incidence {
        self.scoring.inc
    }

    fn input(&self) -> &Input {
        self.scoring.input
    }

    pub(crate) fn group(&self, accounts: Vec<u32>) -> (Group, Option<Burst>) {
        let burst = self.scoring.burst(&accounts);
        let together = burst.is_some_and(|b| b.evidence > 6.0);
        let group = Group::new(accounts, self.inc(), together, |a| self.likely[a as usize]);
        (group, burst)
    }

    /// Clusters within a community.
    pub(crate) fn judge(&self, community: &[u32]) -> Vec<Found> {
        let mut pending = vec![(community.to_vec(), 0)];
        let mut found = Vec::new();
        while let Some((accounts, rounds)) = pending.pop() {
            if accounts.len() < self.config.min_accounts {
                continue;
            }
            let (group, burst) = self.group(accounts);
            let score = self.scoring.group(&group, burst.as_ref());
            let own = self.own(&group, burst.as_ref());
            let network = self.network(&score);
            let least = logit(self.config.min_member_score);
            let written = score.probability() >= self.config.min_score;
            let sum = |reasons: &[Reason]| reasons.iter().map(|r| r.log_odds).sum::<f64>();
            let keep = |reasons: &Vec<Reason>| {
                let own = sum(reasons);
                own > HONEST * self.config.calibration.scale && (!written || network + own >= least)
            };
            let kept: Vec<u32> =
                group.accounts.iter().zip(&own).filter(|(_, r)| keep(r)).map(|(a, _)| *a).collect();
            if kept.len() < group.len() && rounds < ROUNDS {
                pending.extend(self.pieces(&kept).into_iter().map(|piece| (piece, rounds + 1)));
                continue;
            }
            if !written || kept.len() < group.len() {
                continue;
            }
            found.push(self.found(&group, own, score));
        }
        found.sort_by_key(|f| f.members.first().map(|m| m.account));
        found
    }

    fn member(&self, account: u32, own: Vec<Reason>, score: &Score, network: f64) -> Member {
        let prior = score.reasons.first().cloned();
        let start = prior.as_ref().map_or(0.0, |p| p.log_odds);
        let mut reasons: Vec<Reason> = prior.into_iter().collect();
        reasons.push(Reason {
            signal: "network".to_owned(),
            log_odds: network - start,
            detail: format!("the network's own score is {:.3}", score.probability()),
        });
        reasons.extend(own);
        let score = logistic(reasons.iter().map(|r| r.log_odds).sum());
        Member { account, score, reasons }
    }

    /// Connected pieces of what is left of a community.
    fn pieces(&self, accounts: &[u32]) -> Vec<Vec<u32>> {
        let (csr, _) = induced(self.graph, accounts);
        let mut labels = vec![0; accounts.len()];
        split_disconnected(&csr, &mut labels);
        let mut pieces = vec![Vec::new(); renumber(&mut labels)];
        for (account, label) in accounts.iter().zip(labels) {
            pieces[label as usize].push(*account);
        }
        pieces
    }

    /// The bridge that cuts off most, or else the weakest link.
    fn weakest(&self, accounts: &[u32]) -> Option<WeakestLink> {
        let (csr, links) = induced(self.graph, accounts);
        let id = |node: u32| self.input().accounts[accounts[node as usize] as usize].id.clone();
        let name = |a: u32, b: u32, weight: f64, separates: usize| {
            let (a, b) = (a.min(b), a.max(b));
            let weight = weight.clamp(0.0, 1.0);
            WeakestLink { account_a: id(a), account_b: id(b), weight, separates: separates as i32 }
        };
        let cuts = |below: usize| below.min(accounts.len() - below);
        let bridge = bridges(&csr, 0, |_| true).into_iter().max_by(|x, y| {
            let (dx, dy) = (cuts(x.below.len()), cuts(y.below.len()));
            dx.cmp(&dy).then(y.weight.total_cmp(&x.weight)).then(y.ends.cmp(&x.ends))
        });
        if let Some(b) = bridge {
            return Some(name(b.ends.0, b.ends.1, b.weight, cuts(b.below.len())));
        }
        // A star around one picture has no link that matters.
        if links.len() == accounts.len() * (accounts.len() - 1) / 2 && accounts.len() > 3 {
            return None;
        }
        links
            .iter()
            .min_by(|x, y| x.2.total_cmp(&y.2).then((x.0, x.1).cmp(&(y.0, y.1))))
            .map(|(a, b, w)| name(*a, *b, *w, 0))
    }
}
