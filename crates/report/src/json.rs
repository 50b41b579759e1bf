//! The whole snapshot as one JSON object, for scripts: clusters with their members, profiles and evidence inside.

use records::tables::{AccountRow, ClusterRow, EvidenceRow, MemberRow, RunInfo};
use serde::Serialize;

use crate::differences::reading_order;
use crate::snapshot::Indexed;
use crate::{Differences, Snapshot};

#[derive(Serialize)]
struct Document<'a> {
    run: &'a RunInfo,
    #[serde(skip_serializing_if = "Option::is_none")]
    differences: Option<&'a Differences>,
    clusters: Vec<Cluster<'a>>,
}

#[derive(Serialize)]
struct Cluster<'a> {
    #[serde(flatten)]
    row: &'a ClusterRow,
    members: Vec<Member<'a>>,
    evidence: &'a [&'a EvidenceRow],
}

#[derive(Serialize)]
struct Member<'a> {
    #[serde(flatten)]
    row: &'a MemberRow,
    profile: Option<&'a AccountRow>,
}

/// The snapshot as JSON, clusters in reading order: `{"run": …, "differences": … (only with an earlier snapshot),
/// "clusters": [{…the row…, "members": [{…, "profile": …}], "evidence": […]}]}`.
///
/// # Errors
/// None are known; the signature keeps what serde_json says.
pub fn json(snapshot: &Snapshot, previous: Option<&Snapshot>) -> Result<String, serde_json::Error> {
    let differences = previous.map(|previous| Differences::between(snapshot, previous));
    let indexed = Indexed::new(&snapshot.tables);
    let clusters = reading_order(&snapshot.tables, differences.as_ref())
        .into_iter()
        .filter_map(|at| snapshot.tables.clusters.get(at))
        .map(|row| Cluster {
            row,
            members: indexed
                .members_of(&row.cluster_id)
                .iter()
                .map(|member| Member {
                    row: member,
                    profile: indexed.accounts.get(&member.account_id).copied(),
                })
                .collect(),
            evidence: indexed.evidence_of(&row.cluster_id),
        })
        .collect();
    serde_json::to_string_pretty(&Document {
        run: &snapshot.run,
        differences: differences.as_ref(),
        clusters,
    })
}
