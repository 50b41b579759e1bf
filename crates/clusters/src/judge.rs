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
/// Owners from which on a photo counts as common where no creation burst explains them, and where no times are known.
const COMMON: f64 = 12.0;
const COMMON_UNTIMED: f64 = 6.0;
/// Least time between two waves of a community that may be two rings, in microseconds (10 days).
const BETWEEN_WAVES: i64 = 10 * 86_400_000_000;
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
        let common = match burst {
            Some(b) if b.evidence > 6.0 => f64::INFINITY,
            _ if self.scoring.births.spread(&accounts) > 0.0 => COMMON,
            // Where nobody knows when accounts were made, nothing tells a ring's photos from a stock agency's but their number.
            _ => COMMON_UNTIMED,
        };
        let group = Group::new(accounts, self.inc(), common, |a| self.likely[a as usize]);
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
            if let Some(waves) = self.waves(&group) {
                pending.extend(waves.into_iter().map(|wave| (wave, rounds)));
                continue;
            }
            found.push(self.found(&group, own, score));
        }
        found.sort_by_key(|f| f.members.first().map(|m| m.account));
        found
    }

    /// Two rings that stole from one person hang together by that person. They are told apart where they came in two waves,
    /// and where accounts of different waves share less than half of what those of one wave do. (One ring that came in two
    /// waves shares as much across them as within.)
    pub(crate) fn waves(&self, group: &Group) -> Option<[Vec<u32>; 2]> {
        let mut order: Vec<(i64, u32)> = group
            .accounts
            .iter()
            .zip(&group.parts)
            .map(|(a, part)| (part.since.unwrap_or_else(|| self.scoring.births.at(*a)), *a))
            .collect();
        order.sort_unstable();
        let n = order.len();
        let least = self.config.min_accounts.max(n / 5);
        if n < 2 * least {
            return None;
        }
        let cut = (least..=n - least).max_by_key(|at| order[*at].0 - order[*at - 1].0)?;
        let gap = order[cut].0 - order[cut - 1].0;
        let length = |side: &[(i64, u32)]| {
            let rim = (side.len() / 10).max(usize::from(side.len() >= 5));
            side[side.len() - 1 - rim].0 - side[rim].0
        };
        let (early, late) = order.split_at(cut);
        if gap < BETWEEN_WAVES || gap < length(early).max(length(late)) {
            return None;
        }
        let sides = [early, late].map(|side| {
            let mut accounts: Vec<u32> = side.iter().map(|s| s.1).collect();
            accounts.sort_unstable();
            accounts
        });
        // Photos that two accounts share, on average over pairs: within a side, within the other, across.
        let (mut within, mut across) = ([0.0f64; 2], 0.0f64);
        for photo in &group.shared {
            let here = |side: &[u32]| {
                let owners = self.inc().photos.owners(photo.entity).iter();
                owners.filter(|h| side.binary_search(&h.account).is_ok()).count() as f64
            };
            let (one, other) = (here(&sides[0]), here(&sides[1]));
            within[0] += one * (one - 1.0).max(0.0) / 2.0;
            within[1] += other * (other - 1.0).max(0.0) / 2.0;
            across += one * other;
        }
        let pairs = |n: usize| n as f64 * (n as f64 - 1.0) / 2.0;
        let (one, other) = (within[0] / pairs(sides[0].len()), within[1] / pairs(sides[1].len()));
        let between = across / (sides[0].len() * sides[1].len()) as f64;
        (one > 0.0 && other > 0.0 && between < 0.5 * (one * other).sqrt()).then_some(sides)
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
