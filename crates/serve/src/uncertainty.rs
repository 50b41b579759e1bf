//! Where an analyst's look is worth most.
//!
//! A cluster's priority is its score, raised by what about it is uncertain: a sure and solid network can wait, one that
//! is likely but hangs on a thread cannot.

use records::tables::{ClusterRow, MemberRow, Role};

/// How unsure a cluster is, and why.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) struct Doubt {
    /// 0 (sure) to 1 (as unsure as can be).
    pub uncertainty: f64,
    /// What makes it so; empty below a tenth.
    pub why: &'static str,
    /// What the queue is ordered by, 0 to 1: half the score, and as much again for what is unsure about it.
    pub priority: f64,
}

/// The greatest of three doubts: the score itself (its variance as a share of the largest possible, `4 p (1 - p)`), the
/// members' scores likewise, on average, and the share of the members that falls away with one link.
pub(crate) fn doubt<'a>(cluster: &ClusterRow, members: impl Iterator<Item = &'a MemberRow>) -> Doubt {
    let unsure = |p: f64| 4.0 * p * (1.0 - p);
    let (mut sum, mut count) = (0.0, 0.0);
    for member in members.filter(|member| member.role == Role::Member) {
        sum += unsure(member.score);
        count += 1.0;
    }
    let thread = cluster.weakest_link.as_ref().map_or(0.0, |link| f64::from(link.separates));
    // What falls away is the smaller side, at most half.
    let thread = 2.0 * thread / f64::from(cluster.accounts.max(1));
    let doubts = [
        (unsure(cluster.score), "middling score"),
        (if count > 0.0 { sum / count } else { 0.0 }, "unsure members"),
        (thread, "hangs on one link"),
    ];
    let (uncertainty, why) = doubts.into_iter().fold((0.0, ""), |a, b| if b.0 > a.0 { b } else { a });
    let uncertainty = uncertainty.clamp(0.0, 1.0);
    let why = if uncertainty < 0.1 { "" } else { why };
    Doubt { uncertainty, why, priority: cluster.score * (1.0 + uncertainty) / 2.0 }
}

#[cfg(test)]
mod tests {
    use records::tables::{Change, WeakestLink};
    use records::{AccountId, Timestamp};

    use super::*;

    fn cluster(score: f64, separates: i32) -> ClusterRow {
        let account = |id: &str| AccountId::new(id).unwrap();
        ClusterRow {
            cluster_id: "c".into(),
            score,
            accounts: 10,
            photos: 1,
            identities: 1,
            first_seen: Timestamp::EPOCH,
            last_seen: Timestamp::EPOCH,
            kinds: vec![],
            reasons: vec![],
            weakest_link: (separates > 0).then(|| WeakestLink {
                account_a: account("a"),
                account_b: account("b"),
                weight: 0.1,
                separates,
            }),
            change: Change::New,
            parents: vec![],
        }
    }

    #[test]
    fn a_likely_network_on_a_thread_comes_before_a_sure_one() {
        let solid = doubt(&cluster(0.99, 0), std::iter::empty());
        let thread = doubt(&cluster(0.97, 5), std::iter::empty());
        let middling = doubt(&cluster(0.5, 0), std::iter::empty());
        assert_eq!((solid.why, thread.why), ("", "hangs on one link"));
        assert_eq!((thread.uncertainty, middling.uncertainty), (1.0, 1.0));
        assert!(thread.priority > middling.priority && middling.priority > 0.0);
        assert!(thread.priority > solid.priority);
    }
}
