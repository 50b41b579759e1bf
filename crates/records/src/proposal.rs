//! A decision before it is one: what somebody asks for, without what the snapshot knows about the clusters.

use serde::{Deserialize, Serialize};

use crate::{AccountId, Allowed, DecisionId, Deed, EvidenceKey, Timestamp};

/// What is to be decided.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "deed", rename_all = "snake_case", deny_unknown_fields)]
pub enum Proposal {
    /// This cluster is a network.
    Confirm {
        /// The cluster.
        cluster_id: String,
        /// Why.
        #[serde(default)]
        reason: String,
    },
    /// This cluster is none.
    Dismiss {
        /// The cluster.
        cluster_id: String,
        /// Why.
        reason: String,
    },
    /// This cluster is several.
    Split {
        /// The cluster.
        cluster_id: String,
        /// Two or more groups of its members.
        parts: Vec<Vec<AccountId>>,
        /// Why.
        #[serde(default)]
        reason: String,
    },
    /// These clusters are one.
    Merge {
        /// The clusters.
        cluster_ids: Vec<String>,
        /// Why.
        #[serde(default)]
        reason: String,
    },
    /// Somebody or something is vouched for.
    Allow {
        /// Who or what.
        subject: Allowed,
        /// Until when.
        #[serde(default)]
        until: Option<Timestamp>,
        /// Why.
        reason: String,
    },
    /// An earlier decision does not hold any more.
    Undo {
        /// The earlier decision.
        decision: DecisionId,
        /// Why.
        #[serde(default)]
        reason: String,
    },
}

/// What a snapshot knows of a cluster: its accounts of role `member`, and its links.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ClusterFacts {
    /// The members, in any order.
    pub members: Vec<AccountId>,
    /// The links, in any order.
    pub evidence: Vec<EvidenceKey>,
}

/// Why a proposal cannot become a decision.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProposalError {
    /// The newest snapshot has no such cluster.
    #[error("the newest snapshot has no cluster {0}")]
    NoCluster(String),
    /// A part of a split names somebody else.
    #[error("account {account} is no member of cluster {cluster_id}")]
    NoMember {
        /// The account.
        account: AccountId,
        /// The cluster.
        cluster_id: String,
    },
    /// It contradicts itself.
    #[error("{0}")]
    Wrong(String),
}

impl Proposal {
    /// The decision's content, with what the snapshot knows of the clusters it names.
    ///
    /// # Errors
    /// [`ProposalError`] if a cluster or member is not there, or the decision would contradict itself.
    pub fn deed(self, facts: impl Fn(&str) -> Option<ClusterFacts>) -> Result<Deed, ProposalError> {
        let known = |cluster_id: &str| {
            let mut found =
                facts(cluster_id).ok_or_else(|| ProposalError::NoCluster(cluster_id.to_owned()))?;
            found.members.sort();
            found.evidence.sort();
            found.evidence.dedup();
            Ok(found)
        };
        let deed = match self {
            Self::Confirm { cluster_id, reason } => {
                Deed::Confirm { members: known(&cluster_id)?.members, cluster_id, reason }
            }
            Self::Dismiss { cluster_id, reason } => {
                let ClusterFacts { members, evidence } = known(&cluster_id)?;
                Deed::Dismiss { cluster_id, members, evidence, reason }
            }
            Self::Split { cluster_id, parts, reason } => {
                let members = known(&cluster_id)?.members;
                if let Some(other) = parts.iter().flatten().find(|a| members.binary_search(a).is_err()) {
                    return Err(ProposalError::NoMember { account: other.clone(), cluster_id });
                }
                Deed::Split { cluster_id, parts, reason }
            }
            Self::Merge { cluster_ids, reason } => {
                let mut members = Vec::new();
                for cluster_id in &cluster_ids {
                    members.extend(known(cluster_id)?.members);
                }
                members.sort();
                members.dedup();
                Deed::Merge { cluster_ids, members, reason }
            }
            Self::Allow { subject, until, reason } => Deed::Allow { subject, until, reason },
            Self::Undo { decision, reason } => Deed::Undo { decision, reason },
        };
        match deed.problem() {
            Some(problem) => Err(ProposalError::Wrong(problem)),
            None => Ok(deed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(name: &str) -> AccountId {
        AccountId::new(name).unwrap()
    }

    fn facts(cluster: &str) -> Option<ClusterFacts> {
        let members = match cluster {
            "x" => vec![account("b"), account("a")],
            "y" => vec![account("c")],
            _ => return None,
        };
        Some(ClusterFacts { members, evidence: vec![EvidenceKey(2), EvidenceKey(1), EvidenceKey(2)] })
    }

    fn deed(json: &str) -> Result<Deed, ProposalError> {
        serde_json::from_str::<Proposal>(json).unwrap().deed(facts)
    }

    #[test]
    fn the_snapshot_fills_in_whom_it_is_about() {
        let dismissed = deed(r#"{"deed":"dismiss","cluster_id":"x","reason":"fans"}"#).unwrap();
        let Deed::Dismiss { members, evidence, .. } = dismissed else { panic!() };
        assert_eq!(
            (members, evidence),
            (vec![account("a"), account("b")], vec![EvidenceKey(1), EvidenceKey(2)])
        );
        let merged = deed(r#"{"deed":"merge","cluster_ids":["y","x"]}"#).unwrap();
        let Deed::Merge { members, .. } = merged else { panic!() };
        assert_eq!(members, [account("a"), account("b"), account("c")]);
    }

    #[test]
    fn what_is_not_there_is_refused() {
        let gone = deed(r#"{"deed":"confirm","cluster_id":"z"}"#).unwrap_err();
        assert_eq!(gone, ProposalError::NoCluster("z".into()));
        let other = deed(r#"{"deed":"split","cluster_id":"x","parts":[["a"],["c"]]}"#).unwrap_err();
        assert!(matches!(other, ProposalError::NoMember { .. }));
        let silent = deed(r#"{"deed":"dismiss","cluster_id":"x","reason":""}"#).unwrap_err();
        assert!(matches!(silent, ProposalError::Wrong(_)));
    }
}
