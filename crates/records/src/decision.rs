//! What analysts decided about clusters, accounts, photos and faces.
//!
//! Invariants:
//! - Decisions form a log: they are added, never changed. A mistake is undone by a further decision, so that the log
//!   always tells who thought what and when. Only an erasure takes something out of it (see [`Deed::without`]).
//! - What holds is a function of the log alone ([`Standing`]); nothing here reads a clock.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{AccountId, FaceKey, IdError, PhotoKey, Timestamp};

/// Longest reason, in characters.
pub const LONGEST_REASON: usize = 500;

/// The number of a decision: 1, 2, 3, … in the order in which they were made. Never reused within a state folder.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DecisionId(pub u64);

impl fmt::Display for DecisionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Names one row of `evidence.parquet` without repeating it: equal links have equal keys, in every snapshot.
///
/// See [`crate::tables::EvidenceRow::key`]. As text, sixteen hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EvidenceKey(pub u64);

impl fmt::Display for EvidenceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for EvidenceKey {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        match u64::from_str_radix(text, 16) {
            Ok(key) if text.len() == 16 => Ok(Self(key)),
            _ => Err(IdError::NotHex(16)),
        }
    }
}

impl Serialize for EvidenceKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EvidenceKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What is vouched for by an allowance.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Allowed {
    /// This account is never suspected and links nobody.
    Account(AccountId),
    /// This picture and its copies link nobody (a meme, a product photo).
    Photo(PhotoKey),
    /// No picture of this person links anybody (a celebrity).
    Face(FaceKey),
}

/// What was decided.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "deed", rename_all = "snake_case")]
pub enum Deed {
    /// This cluster is a network.
    Confirm {
        /// The cluster.
        cluster_id: String,
        /// Its accounts of role `member` then, sorted.
        members: Vec<AccountId>,
        /// Why; may be empty.
        reason: String,
    },
    /// This cluster is none; it stays away until a member or a link comes that is not named here.
    Dismiss {
        /// The cluster.
        cluster_id: String,
        /// Its accounts of role `member` then, sorted.
        members: Vec<AccountId>,
        /// Its links then, sorted.
        evidence: Vec<EvidenceKey>,
        /// Why; not empty.
        reason: String,
    },
    /// The accounts of each part belong together, those of two parts do not. Accounts in no part are left to the
    /// detector.
    Split {
        /// The cluster.
        cluster_id: String,
        /// Two or more parts without a common account.
        parts: Vec<Vec<AccountId>>,
        /// Why; may be empty.
        reason: String,
    },
    /// These clusters are one network.
    Merge {
        /// The clusters, two or more.
        cluster_ids: Vec<String>,
        /// All their accounts of role `member` then, sorted.
        members: Vec<AccountId>,
        /// Why; may be empty.
        reason: String,
    },
    /// Somebody or something is vouched for.
    Allow {
        /// Who or what.
        subject: Allowed,
        /// Until when; without one, until it is undone.
        until: Option<Timestamp>,
        /// Why; not empty.
        reason: String,
    },
    /// An earlier decision does not hold any more. An undoing can be undone too.
    Undo {
        /// The earlier decision.
        decision: DecisionId,
        /// Why; may be empty.
        reason: String,
    },
    /// Here stood a decision about somebody who was forgotten.
    Erased,
}

/// A decision with its author and time.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Decision {
    /// Its number.
    pub id: DecisionId,
    /// Who decided: the name of a token, or `local`.
    pub author: String,
    /// When, by the clock of the machine that took it.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub deed: Deed,
}

impl Deed {
    /// What is wrong with it, as a sentence; `None` if it may be taken.
    pub fn problem(&self) -> Option<String> {
        let reason = self.reason();
        if reason.chars().count() > LONGEST_REASON || reason.chars().any(|c| c.is_control() && c != '\n') {
            return Some(format!(
                "a reason has at most {LONGEST_REASON} characters and no control characters"
            ));
        }
        let wanted = |what: &str| Some(format!("{what} needs a reason, for whoever asks later"));
        match self {
            Self::Dismiss { .. } if reason.trim().is_empty() => wanted("a dismissal"),
            Self::Allow { .. } if reason.trim().is_empty() => wanted("an allowance"),
            Self::Confirm { members, .. } | Self::Dismiss { members, .. } if members.is_empty() => {
                Some("the cluster has no member".to_owned())
            }
            Self::Merge { cluster_ids, .. } => {
                let distinct: BTreeSet<&String> = cluster_ids.iter().collect();
                let fine = distinct.len() == cluster_ids.len() && distinct.len() >= 2;
                (!fine).then(|| "a merger needs two clusters or more, each once".to_owned())
            }
            Self::Split { parts, .. } => {
                let mut seen = BTreeSet::new();
                let apart = parts.iter().flatten().all(|account| seen.insert(account));
                let fine = apart && parts.len() >= 2 && parts.iter().all(|part| !part.is_empty());
                (!fine)
                    .then(|| "a split needs two parts or more, none empty and no account in two".to_owned())
            }
            Self::Erased => Some("an erasure is no decision that anybody takes".to_owned()),
            _ => None,
        }
    }

    /// Why it was decided; empty if nothing was said.
    pub fn reason(&self) -> &str {
        match self {
            Self::Confirm { reason, .. }
            | Self::Dismiss { reason, .. }
            | Self::Split { reason, .. }
            | Self::Merge { reason, .. }
            | Self::Allow { reason, .. }
            | Self::Undo { reason, .. } => reason,
            Self::Erased => "",
        }
    }

    /// Its word: `confirm`, `dismiss`, `split`, `merge`, `allow`, `undo` or `erased`.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Confirm { .. } => "confirm",
            Self::Dismiss { .. } => "dismiss",
            Self::Split { .. } => "split",
            Self::Merge { .. } => "merge",
            Self::Allow { .. } => "allow",
            Self::Undo { .. } => "undo",
            Self::Erased => "erased",
        }
    }

    /// The clusters it is about.
    pub fn clusters(&self) -> &[String] {
        match self {
            Self::Confirm { cluster_id, .. }
            | Self::Dismiss { cluster_id, .. }
            | Self::Split { cluster_id, .. } => std::slice::from_ref(cluster_id),
            Self::Merge { cluster_ids, .. } => cluster_ids,
            _ => &[],
        }
    }

    /// The same without a trace of this account and of pictures that were erased with it; `None` if it names neither.
    pub fn without(&self, account: &AccountId, pictures: &BTreeSet<PhotoKey>) -> Option<Self> {
        let mut deed = self.clone();
        let gone = match &mut deed {
            Self::Confirm { members, .. } | Self::Dismiss { members, .. } | Self::Merge { members, .. } => {
                members.retain(|member| member != account);
                members.is_empty()
            }
            Self::Split { parts, .. } => {
                parts.iter_mut().for_each(|part| part.retain(|member| member != account));
                parts.retain(|part| !part.is_empty());
                parts.len() < 2
            }
            Self::Allow { subject, .. } => match subject {
                Allowed::Account(allowed) => allowed == account,
                Allowed::Photo(photo) => pictures.contains(photo),
                Allowed::Face(face) => pictures.contains(&face.photo),
            },
            Self::Undo { .. } | Self::Erased => false,
        };
        if let Some(reason) = deed.reason_mut() {
            *reason = without_word(reason, account.as_str());
        }
        if gone {
            deed = Self::Erased;
        }
        (deed != *self).then_some(deed)
    }

    fn reason_mut(&mut self) -> Option<&mut String> {
        match self {
            Self::Confirm { reason, .. }
            | Self::Dismiss { reason, .. }
            | Self::Split { reason, .. }
            | Self::Merge { reason, .. }
            | Self::Allow { reason, .. }
            | Self::Undo { reason, .. } => Some(reason),
            Self::Erased => None,
        }
    }
}

/// The text with every occurrence of `word` that stands for itself replaced.
fn without_word(text: &str, word: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for (at, _) in text.match_indices(word) {
        let end = at + word.len();
        let inside = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        if at < from || inside(text[..at].chars().next_back()) || inside(text[end..].chars().next()) {
            continue;
        }
        out.push_str(&text[from..at]);
        out.push_str("[erased]");
        from = end;
    }
    out.push_str(&text[from..]);
    out
}

/// What holds of a log of decisions.
#[derive(Debug, Default)]
pub struct Standing<'a> {
    /// Decisions that were not undone, oldest first; undoings themselves left out.
    in_force: Vec<&'a Decision>,
    /// Decisions that were undone, and by which.
    undone: BTreeMap<DecisionId, DecisionId>,
    /// Cluster -> the last confirmation or dismissal of it that holds.
    verdicts: BTreeMap<&'a str, &'a Decision>,
}

impl<'a> Standing<'a> {
    /// Reads a log, oldest first. An undoing counts unless it was undone itself. Of several verdicts (confirmations and
    /// dismissals) on one cluster the last one holds.
    pub fn of(log: &'a [Decision]) -> Self {
        let mut undone = BTreeMap::new();
        let mut in_force = Vec::new();
        for decision in log.iter().rev() {
            if undone.contains_key(&decision.id) {
                continue;
            }
            match &decision.deed {
                Deed::Undo { decision: earlier, .. } => {
                    undone.entry(*earlier).or_insert(decision.id);
                }
                Deed::Erased => {}
                _ => in_force.push(decision),
            }
        }
        in_force.reverse();
        let mut verdicts = BTreeMap::new();
        for decision in &in_force {
            if let Deed::Confirm { cluster_id, .. } | Deed::Dismiss { cluster_id, .. } = &decision.deed {
                verdicts.insert(cluster_id.as_str(), *decision);
            }
        }
        let superseded = |decision: &&Decision| match &decision.deed {
            Deed::Confirm { cluster_id, .. } | Deed::Dismiss { cluster_id, .. } => {
                verdicts.get(cluster_id.as_str()).is_some_and(|last| last.id != decision.id)
            }
            _ => false,
        };
        in_force.retain(|decision| !superseded(decision));
        Self { in_force, undone, verdicts }
    }

    /// The decisions that hold, oldest first.
    pub fn in_force(&self) -> &[&'a Decision] {
        &self.in_force
    }

    /// The undoing that took this decision back.
    pub fn undone_by(&self, decision: DecisionId) -> Option<DecisionId> {
        self.undone.get(&decision).copied()
    }

    /// The confirmation or dismissal of a cluster that holds.
    pub fn verdict(&self, cluster_id: &str) -> Option<&'a Decision> {
        self.verdicts.get(cluster_id).copied()
    }

    /// What is vouched for at a time, with the decision that says so.
    pub fn allowed(&self, now: Timestamp) -> impl Iterator<Item = (&'a Allowed, &'a Decision)> {
        self.in_force.iter().filter_map(move |decision| match &decision.deed {
            Deed::Allow { subject, until, .. } if until.is_none_or(|until| now < until) => {
                Some((subject, *decision))
            }
            _ => None,
        })
    }

    /// The next time after `now` at which an allowance ends, if any does.
    pub fn next_expiry(&self, now: Timestamp) -> Option<Timestamp> {
        let ends = self.in_force.iter().filter_map(|decision| match &decision.deed {
            Deed::Allow { until, .. } => *until,
            _ => None,
        });
        ends.filter(|until| *until > now).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts(names: &[&str]) -> Vec<AccountId> {
        names.iter().map(|name| AccountId::new(name).unwrap()).collect()
    }

    fn log(deeds: Vec<Deed>) -> Vec<Decision> {
        let number = |(at, deed)| Decision {
            id: DecisionId(at as u64 + 1),
            author: "ada".into(),
            at: Timestamp::EPOCH,
            deed,
        };
        deeds.into_iter().enumerate().map(number).collect()
    }

    fn dismiss(cluster: &str) -> Deed {
        Deed::Dismiss {
            cluster_id: cluster.into(),
            members: accounts(&["a", "b"]),
            evidence: vec![EvidenceKey(7)],
            reason: "a fan club".into(),
        }
    }

    fn confirm(cluster: &str) -> Deed {
        Deed::Confirm { cluster_id: cluster.into(), members: accounts(&["a"]), reason: String::new() }
    }

    fn undo(decision: u64) -> Deed {
        Deed::Undo { decision: DecisionId(decision), reason: String::new() }
    }

    fn standing_ids(log: &[Decision]) -> Vec<u64> {
        Standing::of(log).in_force().iter().map(|decision| decision.id.0).collect()
    }

    #[test]
    fn undoing_takes_back_and_can_be_taken_back() {
        let log = log(vec![dismiss("x"), undo(1), undo(2), dismiss("y")]);
        assert_eq!(standing_ids(&log[..1]), [1]);
        assert_eq!(standing_ids(&log[..2]), [0_u64; 0]);
        assert_eq!(Standing::of(&log[..2]).undone_by(DecisionId(1)), Some(DecisionId(2)));
        assert_eq!(standing_ids(&log), [1, 4]);
        assert_eq!(Standing::of(&log).undone_by(DecisionId(1)), None);
    }

    #[test]
    fn the_last_verdict_on_a_cluster_holds_and_undoing_it_brings_the_one_before_back() {
        let log = log(vec![dismiss("x"), confirm("x"), confirm("y"), undo(2)]);
        assert_eq!(standing_ids(&log[..3]), [2, 3]);
        assert_eq!(Standing::of(&log[..3]).verdict("x").unwrap().id, DecisionId(2));
        assert_eq!(standing_ids(&log), [1, 3]);
        assert_eq!(Standing::of(&log).verdict("x").unwrap().id, DecisionId(1));
        assert_eq!(Standing::of(&log).verdict("z"), None);
    }

    #[test]
    fn allowances_end() {
        let at = |day| format!("2026-01-0{day}T00:00:00Z").parse::<Timestamp>().unwrap();
        let allow = |until| Deed::Allow {
            subject: Allowed::Account(AccountId::new("a").unwrap()),
            until,
            reason: "known to us".into(),
        };
        let log = log(vec![allow(Some(at(3))), allow(None), allow(Some(at(5)))]);
        let standing = Standing::of(&log);
        let ids = |day| standing.allowed(at(day)).map(|(_, by)| by.id.0).collect::<Vec<_>>();
        assert_eq!((ids(2), ids(3), ids(6)), (vec![1, 2, 3], vec![2, 3], vec![2]));
        assert_eq!(standing.next_expiry(at(1)), Some(at(3)));
        assert_eq!(standing.next_expiry(at(3)), Some(at(5)));
        assert_eq!(standing.next_expiry(at(5)), None);
    }

    #[test]
    fn what_is_wrong_is_told() {
        assert_eq!(dismiss("x").problem(), None);
        let silent = Deed::Dismiss {
            cluster_id: "x".into(),
            members: accounts(&["a"]),
            evidence: vec![],
            reason: " ".into(),
        };
        assert!(silent.problem().unwrap().contains("reason"));
        let split = |parts: Vec<Vec<AccountId>>| {
            Deed::Split { cluster_id: "x".into(), parts, reason: String::new() }.problem()
        };
        assert_eq!(split(vec![accounts(&["a"]), accounts(&["b", "c"])]), None);
        assert!(split(vec![accounts(&["a"])]).is_some());
        assert!(split(vec![accounts(&["a"]), vec![]]).is_some());
        assert!(split(vec![accounts(&["a", "b"]), accounts(&["b"])]).is_some());
        let merge = |ids: &[&str]| {
            let cluster_ids = ids.iter().map(ToString::to_string).collect();
            Deed::Merge { cluster_ids, members: vec![], reason: String::new() }.problem()
        };
        assert_eq!(merge(&["x", "y"]), None);
        assert!(merge(&["x", "x"]).is_some() && merge(&["x"]).is_some());
    }

    #[test]
    fn an_erasure_leaves_no_trace() {
        let (a, b) = (AccountId::new("a").unwrap(), AccountId::new("b").unwrap());
        let none = BTreeSet::new();
        let Some(Deed::Dismiss { members, reason, .. }) = dismiss("x").without(&a, &none) else { panic!() };
        assert_eq!((members, reason.as_str()), (vec![b], "[erased] fan club"));
        assert_eq!(confirm("x").without(&a, &none), Some(Deed::Erased));
        assert_eq!(confirm("x").without(&AccountId::new("z").unwrap(), &none), None);
        let photo = PhotoKey::of_bytes(b"p");
        let allow = Deed::Allow { subject: Allowed::Photo(photo), until: None, reason: "a meme".into() };
        assert_eq!(allow.without(&AccountId::new("z").unwrap(), &[photo].into()), Some(Deed::Erased));
        assert_eq!(allow.without(&AccountId::new("z").unwrap(), &none), None);
        let split = Deed::Split {
            cluster_id: "x".into(),
            parts: vec![accounts(&["a"]), accounts(&["b"])],
            reason: String::new(),
        };
        assert_eq!(split.without(&a, &none), Some(Deed::Erased));
        assert_eq!(
            without_word("user-42 and 420, x42 and 42.", "42"),
            "user-[erased] and 420, x42 and [erased]."
        );
    }

    #[test]
    fn decisions_survive_json() {
        for decision in log(vec![dismiss("x"), undo(1), Deed::Erased]) {
            let text = serde_json::to_string(&decision).unwrap();
            assert_eq!(serde_json::from_str::<Decision>(&text).unwrap(), decision, "{text}");
        }
        let text = serde_json::to_value(&log(vec![dismiss("x")])[0]).unwrap();
        assert_eq!((&text["deed"], &text["evidence"][0]), (&"dismiss".into(), &"0000000000000007".into()));
    }
}
