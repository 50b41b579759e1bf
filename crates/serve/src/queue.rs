//! The review queue: which clusters, in which order, a page of them.
//!
//! Everything is filtered, sorted and cut here, so that a browser never sees more than one page of 100,000 clusters.

use records::tables::{Change, ClusterRow, LinkKind};
use serde::Deserialize;

use crate::catalogue::Catalogue;
use crate::errors::ApiError;
use crate::review::{Review, Verdict};

/// Clusters on a page.
pub(crate) const PAGE: usize = 50;

/// What is asked for, as it stands in the address of the page. Empty texts mean nothing asked.
#[derive(Clone, Deserialize, Default, Debug)]
#[serde(default)]
pub(crate) struct QueueQuery {
    /// `open` (with what returned), `confirmed`, `dismissed`, `returned` or `all`.
    pub status: String,
    /// What to sort by.
    pub sort: String,
    /// `asc` or `desc`.
    pub dir: String,
    /// Part of a cluster's id, an account's id, or the beginning of a user name.
    pub q: String,
    pub change: String,
    pub kind: String,
    pub min_score: String,
    pub min_accounts: String,
    /// From 1.
    pub page: String,
}

/// Columns that can be sorted by, and whether the largest comes first unless asked otherwise.
pub(crate) const SORTS: [(&str, bool); 8] = [
    ("priority", true),
    ("score", true),
    ("uncertainty", true),
    ("accounts", true),
    ("victims", true),
    ("photos", true),
    ("first_seen", true),
    ("last_seen", true),
];

/// A checked query.
pub(crate) struct Asked {
    status: Option<Vec<Verdict>>,
    pub sort: &'static str,
    pub descending: bool,
    word: String,
    change: Option<Change>,
    kind: Option<LinkKind>,
    min_score: f64,
    min_accounts: i32,
    pub page: usize,
}

impl QueueQuery {
    /// Checks the words.
    pub fn checked(&self) -> Result<Asked, ApiError> {
        let wrong = |what: &str| ApiError::invalid(format!("{what} is none of the words it may be"));
        let status = match self.status.as_str() {
            "" | "open" => Some(vec![Verdict::Open, Verdict::Returned]),
            "all" => None,
            word => {
                let verdict = Verdict::ALL.into_iter().find(|verdict| verdict.as_str() == word);
                Some(vec![verdict.ok_or_else(|| wrong("status"))?])
            }
        };
        let sort = if self.sort.is_empty() { "priority" } else { self.sort.as_str() };
        let (sort, largest) =
            SORTS.into_iter().find(|(name, _)| *name == sort).ok_or_else(|| wrong("sort"))?;
        let descending = match self.dir.as_str() {
            "" => largest,
            "desc" => true,
            "asc" => false,
            _ => return Err(wrong("dir")),
        };
        fn word<T: std::str::FromStr>(text: &str, what: &str) -> Result<Option<T>, ApiError> {
            if text.is_empty() {
                return Ok(None);
            }
            let wrong = |_| ApiError::invalid(format!("{what} has a value that it may not have"));
            text.parse().map(Some).map_err(wrong)
        }
        Ok(Asked {
            status,
            sort,
            descending,
            word: self.q.trim().to_owned(),
            change: word(&self.change, "change")?,
            kind: word(&self.kind, "kind")?,
            min_score: word(&self.min_score, "min_score")?.unwrap_or(0.0),
            min_accounts: word(&self.min_accounts, "min_accounts")?.unwrap_or(0),
            page: word(&self.page, "page")?.unwrap_or(1).max(1),
        })
    }

    /// The same question as the part of an address after `?`, with some of it changed.
    pub fn address(&self, changes: &[(&str, &str)]) -> String {
        let fields = [
            ("status", &self.status),
            ("sort", &self.sort),
            ("dir", &self.dir),
            ("q", &self.q),
            ("change", &self.change),
            ("kind", &self.kind),
            ("min_score", &self.min_score),
            ("min_accounts", &self.min_accounts),
            ("page", &self.page),
        ];
        let mut parts = Vec::new();
        for (name, value) in fields {
            let changed = changes.iter().find(|(changed, _)| *changed == name).map(|(_, value)| *value);
            let value = changed.unwrap_or(value.as_str());
            if !value.is_empty() {
                parts.push(format!("{name}={}", percent(value)));
            }
        }
        parts.join("&")
    }
}

/// A text as it may stand in an address.
pub(crate) fn percent(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// The places of the clusters that fit, in the order asked for.
pub(crate) fn ordered(catalogue: &Catalogue, review: &Review, asked: &Asked) -> Vec<usize> {
    let word = asked.word.to_ascii_lowercase();
    let named = if word.is_empty() { Vec::new() } else { catalogue.clusters_of_name(&asked.word) };
    let fits = |row: usize, cluster: &ClusterRow| {
        asked.status.as_ref().is_none_or(|wanted| wanted.contains(&review.verdict(row)))
            && cluster.score >= asked.min_score
            && cluster.accounts >= asked.min_accounts
            && asked.change.is_none_or(|change| cluster.change == change)
            && asked.kind.is_none_or(|kind| cluster.kinds.contains(&kind))
            && (word.is_empty()
                || cluster.cluster_id.to_ascii_lowercase().contains(&word)
                || named.binary_search(&row).is_ok())
    };
    let value = |row: usize, cluster: &ClusterRow| match asked.sort {
        "score" => cluster.score,
        "uncertainty" => catalogue.doubt(row).uncertainty,
        "accounts" => f64::from(cluster.accounts),
        "victims" => catalogue.victims(&cluster.cluster_id) as f64,
        "photos" => f64::from(cluster.photos),
        "first_seen" => cluster.first_seen.as_micros() as f64,
        "last_seen" => cluster.last_seen.as_micros() as f64,
        _ => catalogue.doubt(row).priority,
    };
    let all = catalogue.all();
    let mut rows: Vec<(f64, usize)> = all
        .iter()
        .enumerate()
        .filter(|(row, cluster)| fits(*row, cluster))
        .map(|(row, cluster)| (value(row, cluster), row))
        .collect();
    rows.sort_unstable_by(|(a, x), (b, y)| {
        let by_value = if asked.descending { b.total_cmp(a) } else { a.total_cmp(b) };
        by_value.then_with(|| all[*x].cluster_id.cmp(&all[*y].cluster_id))
    });
    rows.into_iter().map(|(_, row)| row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_keeps_what_was_asked() {
        let query = QueueQuery { q: "a b&c".into(), page: "3".into(), ..QueueQuery::default() };
        assert_eq!(query.address(&[]), "q=a%20b%26c&page=3");
        assert_eq!(query.address(&[("page", ""), ("sort", "score")]), "sort=score&q=a%20b%26c");
    }

    #[test]
    fn unknown_words_are_refused() {
        for query in [
            QueueQuery { status: "gone".into(), ..QueueQuery::default() },
            QueueQuery { sort: "colour".into(), ..QueueQuery::default() },
            QueueQuery { page: "x".into(), ..QueueQuery::default() },
            QueueQuery { kind: "twins".into(), ..QueueQuery::default() },
        ] {
            assert!(query.checked().is_err(), "{query:?}");
        }
        assert!(QueueQuery::default().checked().is_ok());
    }
}
