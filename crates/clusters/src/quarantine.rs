//! A signal that floods: one that suddenly decides more than half of all new clusters.
//!
//! A signal decides a cluster if the cluster would not be written without it. Some always decide many; so the share among
//! the new clusters is compared with that among the clusters that were there before, and a first snapshot, which has nothing
//! to compare with, quarantines nothing. The new clusters that such a signal decides are held back and counted; others
//! stay. The next snapshot looks again: while the flood lasts its clusters are still new, so the quarantine holds without
//! being remembered; an analyst ends it by putting the signal into `clusters.released`.

use std::collections::{BTreeMap, HashSet};

use records::AccountId;

use crate::ClustersConfig;
use crate::calibration::logit;
use crate::input::PreviousCluster;
use crate::tables::Raw;

/// A signal whose new clusters were held back.
#[derive(Clone, PartialEq, Debug)]
pub struct Quarantined {
    /// Name of the signal.
    pub signal: String,
    /// New clusters that it decides, which were held back.
    pub held_back: usize,
    /// New clusters in all.
    pub new: usize,
    /// Share of the earlier clusters that it decides, 0 to 1.
    pub before: f64,
}

/// Fewest earlier clusters that a share is taken of; with fewer it is taken to be a quarter.
const FEWEST_BEFORE: usize = 5;

/// Takes away the new clusters of signals that flood.
pub(crate) fn quarantine(
    found: &mut Vec<&Raw>,
    previous: &[PreviousCluster],
    config: &ClustersConfig,
) -> Vec<Quarantined> {
    if config.quarantine_from == 0 || previous.is_empty() {
        return Vec::new();
    }
    let earlier: HashSet<&AccountId> = previous.iter().flat_map(|c| &c.members).collect();
    let is_new = |cluster: &Raw| {
        let known = cluster.accused().filter(|id| earlier.contains(*id)).count();
        5 * known < cluster.accused().count()
    };
    let mut quarantined = Vec::new();
    // The signal that decides most goes first; what others decide is counted anew among what is left.
    while let Some(flood) = most_flooding(found, &is_new, config) {
        found.retain(|&c| !(is_new(c) && deciding(c, config).any(|signal| signal == flood.signal)));
        quarantined.push(flood);
    }
    quarantined
}

/// Signals without which a cluster would not be written.
fn deciding<'a>(cluster: &'a Raw, config: &ClustersConfig) -> impl Iterator<Item = &'a str> {
    let reasons = cluster.cluster.reasons.iter();
    let spare = reasons.clone().map(|r| r.log_odds).sum::<f64>() - logit(config.min_score);
    reasons.filter(move |r| r.signal != "prior" && r.log_odds > spare).map(|r| r.signal.as_str())
}

fn most_flooding(
    found: &[&Raw],
    is_new: &dyn Fn(&Raw) -> bool,
    config: &ClustersConfig,
) -> Option<Quarantined> {
    let (mut new, mut old) = (0usize, 0usize);
    let mut decided: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for &cluster in found {
        let fresh = is_new(cluster);
        *(if fresh { &mut new } else { &mut old }) += 1;
        for signal in deciding(cluster, config) {
            let counts = decided.entry(signal).or_default();
            *(if fresh { &mut counts.0 } else { &mut counts.1 }) += 1;
        }
    }
    if new < config.quarantine_from {
        return None;
    }
    let share = |part: usize, of: usize| part as f64 / of.max(1) as f64;
    decided
        .into_iter()
        .filter(|(signal, _)| !config.released.iter().any(|r| r == signal))
        .map(|(signal, (here, there))| Quarantined {
            signal: signal.to_owned(),
            held_back: here,
            new,
            before: if old >= FEWEST_BEFORE { share(there, old) } else { 0.25 },
        })
        .filter(|q| share(q.held_back, q.new) > 0.5 && share(q.held_back, q.new) > 2.0 * q.before)
        .max_by(|x, y| x.held_back.cmp(&y.held_back).then_with(|| y.signal.cmp(&x.signal)))
}

#[cfg(test)]
mod tests {
    use records::Timestamp;
    use records::tables::{Change, ClusterRow, MemberRow, Reason, Role};

    use super::*;

    fn id(at: u32) -> AccountId {
        AccountId::new(format!("a{at:05}")).unwrap()
    }

    /// Three accounts a cluster; `signals` with what they add to a prior of -4.
    fn cluster(at: u32, signals: &[(&str, f64)]) -> Raw {
        let reason = |(signal, log_odds): &(&str, f64)| Reason {
            signal: (*signal).to_owned(),
            log_odds: *log_odds,
            detail: String::new(),
        };
        let cluster = ClusterRow {
            cluster_id: String::new(),
            score: 0.9,
            accounts: 3,
            photos: 1,
            identities: 1,
            first_seen: Timestamp::EPOCH,
            last_seen: Timestamp::EPOCH,
            kinds: vec![],
            reasons: [("prior", -4.0)].iter().chain(signals).map(reason).collect(),
            weakest_link: None,
            change: Change::New,
            parents: vec![],
        };
        let member = |at| MemberRow {
            cluster_id: String::new(),
            account_id: id(at),
            score: 0.9,
            role: Role::Member,
            reasons: vec![],
        };
        let members = (3 * at..3 * at + 3).map(member).collect();
        Raw { cluster, members, evidence: vec![], accounts: vec![] }
    }

    fn earlier(clusters: u32) -> Vec<PreviousCluster> {
        let cluster = |at: u32| PreviousCluster {
            cluster_id: format!("c{at}"),
            members: (3 * at..3 * at + 3).map(id).collect(),
        };
        (0..clusters).map(cluster).collect()
    }

    #[test]
    fn a_sudden_flood_is_held_back_and_released() {
        // Ten earlier clusters on shared photos, five new ones like them, and twenty that a broken signal brings.
        let photos = [("shared_photos", 6.5), ("profiles", 1.0)];
        let broken = [("generated", 6.0), ("profiles", 1.0)];
        let mut found: Vec<Raw> = (0..15).map(|at| cluster(at, &photos)).collect();
        found.extend((15..35).map(|at| cluster(at, &broken)));
        let config = ClustersConfig::default();
        let mut kept: Vec<&Raw> = found.iter().collect();
        let held = quarantine(&mut kept, &earlier(10), &config);
        assert_eq!(held.len(), 1, "{held:?}");
        assert_eq!((held[0].signal.as_str(), held[0].held_back, held[0].new), ("generated", 20, 25));
        assert_eq!(kept.len(), 15, "old clusters and those of other signals stay");

        let released = ClustersConfig { released: vec!["generated".to_owned()], ..config.clone() };
        let mut kept: Vec<&Raw> = found.iter().collect();
        assert!(quarantine(&mut kept, &earlier(10), &released).is_empty());
        let mut kept: Vec<&Raw> = found.iter().collect();
        assert!(quarantine(&mut kept, &[], &config).is_empty(), "a first snapshot knows no sudden");
        // What decided most clusters before is no sudden flood.
        let usual: Vec<Raw> = (0..35).map(|at| cluster(at, &photos)).collect();
        let mut kept: Vec<&Raw> = usual.iter().collect();
        assert!(quarantine(&mut kept, &earlier(10), &config).is_empty());
    }
}
