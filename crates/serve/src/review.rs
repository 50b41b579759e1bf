//! What was decided about each cluster of a snapshot: the decisions laid over the tables.
//!
//! Invariants:
//! - A decision counts at once, not only from the next snapshot on: what was dismissed is gone from the queue.
//! - A dismissed cluster is open again as soon as it has a member or a link that it had not then, and says which.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use records::tables::{EvidenceRow, Role};
use records::{AccountId, Decision, DecisionId, Deed, Dismissals, Standing};

use crate::catalogue::Catalogue;

/// What became of a cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Verdict {
    /// Nobody has decided.
    #[default]
    Open,
    /// Dismissed, but with something new since.
    Returned,
    /// An analyst says that it is a network.
    Confirmed,
    /// An analyst says that it is none.
    Dismissed,
}

impl Verdict {
    pub const ALL: [Self; 4] = [Self::Open, Self::Returned, Self::Confirmed, Self::Dismissed];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Returned => "returned",
            Self::Confirmed => "confirmed",
            Self::Dismissed => "dismissed",
        }
    }
}

/// What became of a cluster, through which decision, and what is new since.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Status {
    pub verdict: Verdict,
    pub decision: Option<DecisionId>,
    pub joined: Vec<AccountId>,
    pub links: usize,
}

/// The clusters that a verdict can be about: those it names, and those of accounts it names. The others are open, and none
/// of them has to be looked at, so that a decision among 100,000 clusters costs what it touches.
fn touched(catalogue: &Catalogue, standing: &Standing<'_>, dismissals: &Dismissals<'_>) -> BTreeSet<usize> {
    let named = standing.in_force().iter().flat_map(|decision| decision.deed.clusters());
    let mut rows: BTreeSet<usize> = named.filter_map(|id| catalogue.row_of(id)).collect();
    for account in dismissals.iter().flat_map(|dismissal| dismissal.members) {
        let places = catalogue.memberships(account);
        rows.extend(places.filter_map(|member| catalogue.row_of(&member.cluster_id)));
    }
    rows
}

/// The decisions laid over one snapshot.
pub(crate) struct Review {
    log: Arc<Vec<Decision>>,
    /// By the cluster's place in the table; clusters nobody decided on are not in it.
    status: BTreeMap<usize, Status>,
    counts: [usize; 4],
}

impl Review {
    pub fn new(catalogue: &Catalogue, log: Arc<Vec<Decision>>) -> Self {
        let standing = Standing::of(&log);
        let dismissals = Dismissals::of(&standing);
        let mut status = BTreeMap::new();
        let mut counts = [0; 4];
        for row in touched(catalogue, &standing, &dismissals) {
            let Some(cluster) = catalogue.all().get(row) else { continue };
            let id = cluster.cluster_id.as_str();
            let members = || {
                let rows = catalogue.members(id).filter(|member| member.role == Role::Member);
                rows.map(|member| &member.account_id)
            };
            if let Some(decision) = standing.verdict(id)
                && let Deed::Confirm { members: then, .. } = &decision.deed
            {
                let joined = members().filter(|m| then.binary_search(m).is_err()).cloned().collect();
                let verdict = Verdict::Confirmed;
                status.insert(row, Status { verdict, decision: Some(decision.id), joined, links: 0 });
            } else if let Some(since) =
                dismissals.since(members(), catalogue.evidence(id).map(EvidenceRow::key))
            {
                let verdict = if since.anything() { Verdict::Returned } else { Verdict::Dismissed };
                let decision = Some(since.decision.id);
                status.insert(row, Status { verdict, decision, joined: since.joined, links: since.links });
            }
        }
        status.values().for_each(|status: &Status| counts[status.verdict as usize] += 1);
        counts[Verdict::Open as usize] = catalogue.all().len() - status.len();
        Self { log, status, counts }
    }

    pub fn is_of(&self, log: &Arc<Vec<Decision>>) -> bool {
        Arc::ptr_eq(&self.log, log)
    }

    pub fn log(&self) -> &[Decision] {
        &self.log
    }

    pub fn decision(&self, id: DecisionId) -> Option<&Decision> {
        self.log.iter().find(|decision| decision.id == id)
    }

    /// What became of the cluster in this place.
    pub fn status(&self, row: usize) -> Status {
        self.status.get(&row).cloned().unwrap_or_default()
    }

    pub fn verdict(&self, row: usize) -> Verdict {
        self.status.get(&row).map_or(Verdict::Open, |status| status.verdict)
    }

    /// How many clusters have this verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.counts[verdict as usize]
    }
}
