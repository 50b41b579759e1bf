//! What analysts decided, as the detector takes it, and what it says of clusters that came back.
//!
//! Invariants:
//! - Of the log only what holds counts: not undone, not superseded, not expired by the clock on the wall.
//! - A dismissed cluster keeps its id: it stands among the previous clusters as long as its dismissal holds.

use std::collections::{BTreeMap, BTreeSet};

use clusters::{Confirmed, Dismissed, Input, Merged, PreviousCluster, Recalibration, Split, Verdict};
use records::tables::{EvidenceRow, Reason, Role, Tables};
use records::{AccountId, Allowed, Decision, Deed, Dismissals, Since, Standing, Timestamp};
use store::Reader;

use super::calibration;
use crate::config::Settings;

/// The signal under which a cluster says that it was dismissed before. It adds nothing to the score.
pub const RETURNED: &str = "returned";
/// Names that a reason lists at most.
const NAMES: usize = 6;

/// Gives the detector what holds.
pub fn apply(input: &mut Input, log: &[Decision], now: Timestamp) {
    let standing = Standing::of(log);
    for (subject, _) in standing.allowed(now) {
        match subject {
            Allowed::Account(account) => input.allow.accounts.push(account.clone()),
            Allowed::Photo(photo) => input.allow.photos.push(*photo),
            Allowed::Face(face) => input.allow.faces.push(*face),
        }
    }
    for dismissal in Dismissals::of(&standing).iter() {
        let members = dismissal.members.to_vec();
        if !input.previous.iter().any(|previous| previous.cluster_id == dismissal.cluster_id) {
            let cluster_id = dismissal.cluster_id.to_owned();
            input.previous.push(PreviousCluster { cluster_id, members: members.clone() });
        }
        input.dismissed.push(Dismissed { members, evidence: dismissal.evidence.len() as u64 });
    }
    for decision in standing.in_force() {
        match &decision.deed {
            Deed::Confirm { cluster_id, members, .. }
                if standing.verdict(cluster_id).is_some_and(|verdict| verdict.id == decision.id) =>
            {
                input.confirmed.push(Confirmed { members: members.clone() });
            }
            Deed::Merge { members, .. } => input.merged.push(Merged { members: members.clone() }),
            Deed::Split { parts, .. } => {
                for (at, one) in parts.iter().enumerate() {
                    input.merged.push(Merged { members: one.clone() });
                    for other in &parts[at + 1..] {
                        input.split.push(Split { one: one.clone(), other: other.clone() });
                    }
                }
            }
            _ => {}
        }
    }
}

/// Fits the score to the confirmations and dismissals that hold.
pub fn recalibrate(reader: &Reader, settings: &Settings) -> anyhow::Result<Recalibration> {
    let pack = embed::load_pack(&settings.models)?;
    let calibration = calibration::of_state(reader, pack.calibration(), settings.index.link_floor)?;
    let log = reader.decisions()?;
    let standing = Standing::of(&log);
    let holds = |decision: &&Decision, cluster: &str| {
        standing.verdict(cluster).is_some_and(|verdict| verdict.id == decision.id)
    };
    let verdicts: Vec<Verdict> = standing
        .in_force()
        .iter()
        .filter_map(|decision| match &decision.deed {
            Deed::Confirm { cluster_id, members, .. } if holds(decision, cluster_id) => {
                Some(Verdict { members: members.clone(), confirmed: true })
            }
            Deed::Dismiss { cluster_id, members, .. } if holds(decision, cluster_id) => {
                Some(Verdict { members: members.clone(), confirmed: false })
            }
            _ => None,
        })
        .collect();
    let input = super::input::read(reader, calibration, Vec::new())?;
    Ok(clusters::recalibrate(input, &verdicts, &settings.clusters)?)
}

/// Adds to every cluster that was dismissed and is back a reason that says what is new since then.
pub fn tell_returns(tables: &mut Tables, log: &[Decision]) {
    let standing = Standing::of(log);
    let dismissals = Dismissals::of(&standing);
    if dismissals.iter().next().is_none() {
        return;
    }
    let mut members: BTreeMap<&str, BTreeSet<&AccountId>> = BTreeMap::new();
    for row in tables.members.iter().filter(|row| row.role == Role::Member) {
        members.entry(&row.cluster_id).or_default().insert(&row.account_id);
    }
    let mut told: BTreeMap<String, Reason> = BTreeMap::new();
    for (cluster, accounts) in members {
        let rows = tables.evidence.iter().filter(|row| row.cluster_id == cluster);
        if let Some(since) = dismissals.since(accounts, rows.map(EvidenceRow::key)) {
            told.insert(cluster.to_owned(), returned(&since));
        }
    }
    for row in &mut tables.clusters {
        row.reasons.extend(told.remove(&row.cluster_id));
    }
}

fn returned(since: &Since<'_>) -> Reason {
    let Since { decision, joined, links } = since;
    let mut new = Vec::new();
    if !joined.is_empty() {
        let names: Vec<&str> = joined.iter().take(NAMES).map(|account| account.as_str()).collect();
        let more = joined.len().saturating_sub(NAMES);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let plural = if joined.len() == 1 { "account" } else { "accounts" };
        new.push(format!("{} new {plural} ({}{more})", joined.len(), names.join(", ")));
    }
    if *links > 0 {
        new.push(format!("{links} new {}", if *links == 1 { "link" } else { "links" }));
    }
    let new = if new.is_empty() { "its score, by other means".to_owned() } else { new.join(" and ") };
    let day: String = decision.at.to_string().chars().take(10).collect();
    Reason {
        signal: RETURNED.to_owned(),
        log_odds: 0.0,
        detail: format!(
            "dismissed by {} on {day} (decision {}); since then came {new}",
            decision.author, decision.id
        ),
    }
}
