//! Exports for spreadsheets: RFC 4180, UTF-8, CRLF, one header row.
//!
//! A text that a spreadsheet would take for a formula gets an apostrophe before it, since names come from strangers
//! ("CSV injection", OWASP).

use std::fmt::Write;
use std::str::FromStr;

use records::Timestamp;
use records::tables::{Reason, Tables};

use crate::Snapshot;
use crate::snapshot::Indexed;

/// Which rows to export.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CsvTable {
    /// One row a cluster.
    Clusters,
    /// One row an account of a cluster, with its profile.
    Members,
    /// One row a link.
    Evidence,
}

impl FromStr for CsvTable {
    type Err = String;
    /// Reads `clusters`, `members` or `evidence`.
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "clusters" => Ok(Self::Clusters),
            "members" => Ok(Self::Members),
            "evidence" => Ok(Self::Evidence),
            other => Err(format!("{other:?} is no table; allowed are clusters, members and evidence")),
        }
    }
}

/// The rows of one table as CSV.
pub fn csv(snapshot: &Snapshot, table: CsvTable) -> String {
    let mut sheet = Sheet(String::new());
    match table {
        CsvTable::Clusters => clusters(&snapshot.tables, &mut sheet),
        CsvTable::Members => members(&snapshot.tables, &mut sheet),
        CsvTable::Evidence => evidence(&snapshot.tables, &mut sheet),
    }
    sheet.0
}

fn clusters(tables: &Tables, sheet: &mut Sheet) {
    sheet.header(&[
        "cluster_id",
        "score",
        "change",
        "accounts",
        "photos",
        "identities",
        "first_seen",
        "last_seen",
        "kinds",
        "reasons",
        "weakest_a",
        "weakest_b",
        "weakest_separates",
        "parents",
    ]);
    for row in &tables.clusters {
        let kinds: Vec<&str> = row.kinds.iter().map(|kind| kind.as_str()).collect();
        let weakest = row.weakest_link.as_ref();
        sheet.text(&row.cluster_id);
        sheet.number(Some(row.score));
        sheet.text(row.change.as_str());
        sheet.number(Some(row.accounts));
        sheet.number(Some(row.photos));
        sheet.number(Some(row.identities));
        sheet.time(Some(row.first_seen));
        sheet.time(Some(row.last_seen));
        sheet.text(&kinds.join(" "));
        sheet.text(&reasons(&row.reasons));
        sheet.text(weakest.map_or("", |w| w.account_a.as_str()));
        sheet.text(weakest.map_or("", |w| w.account_b.as_str()));
        sheet.number(weakest.map(|w| w.separates));
        sheet.text(&row.parents.join(" "));
        sheet.end();
    }
}

fn members(tables: &Tables, sheet: &mut Sheet) {
    sheet.header(&[
        "cluster_id",
        "account_id",
        "role",
        "score",
        "username",
        "full_name",
        "followers",
        "following",
        "posts",
        "photos",
        "created_at",
        "verified",
        "first_seen",
        "last_seen",
        "reasons",
    ]);
    let indexed = Indexed::new(tables);
    for row in &tables.members {
        let account = indexed.accounts.get(&row.account_id);
        let facts = account.map(|account| account.facts.clone()).unwrap_or_default();
        sheet.text(&row.cluster_id);
        sheet.text(row.account_id.as_str());
        sheet.text(row.role.as_str());
        sheet.number(Some(row.score));
        sheet.text(facts.username.as_deref().unwrap_or_default());
        sheet.text(facts.full_name.as_deref().unwrap_or_default());
        sheet.number(facts.followers);
        sheet.number(facts.following);
        sheet.number(facts.posts);
        sheet.number(account.map(|account| account.photos));
        sheet.time(facts.created_at);
        sheet.number(facts.verified);
        sheet.time(account.map(|account| account.first_seen));
        sheet.time(account.map(|account| account.last_seen));
        sheet.text(&reasons(&row.reasons));
        sheet.end();
    }
}

fn evidence(tables: &Tables, sheet: &mut Sheet) {
    sheet.header(&[
        "cluster_id",
        "account_a",
        "account_b",
        "kind",
        "photo_a",
        "photo_b",
        "picture_a",
        "picture_b",
        "similarity",
        "pdq_distance",
        "owners",
        "weight",
        "observed_a",
        "observed_b",
    ]);
    for row in &tables.evidence {
        sheet.text(&row.cluster_id);
        sheet.text(row.account_a.as_str());
        sheet.text(row.account_b.as_str());
        sheet.text(row.kind.as_str());
        sheet.text(row.photo_a.as_str());
        sheet.text(row.photo_b.as_str());
        sheet.text(&row.picture_a.to_string());
        sheet.text(&row.picture_b.to_string());
        sheet.number(row.similarity);
        sheet.number(row.pdq_distance);
        sheet.number(Some(row.owners));
        sheet.number(Some(row.weight));
        sheet.time(Some(row.observed_a));
        sheet.time(Some(row.observed_b));
        sheet.end();
    }
}

fn reasons(reasons: &[Reason]) -> String {
    reasons.iter().fold(String::new(), |mut text, reason| {
        let gap = if text.is_empty() { "" } else { "; " };
        let _ = write!(text, "{gap}{} {:+.3}", reason.signal, reason.log_odds);
        text
    })
}

struct Sheet(String);

impl Sheet {
    fn header(&mut self, names: &[&str]) {
        names.iter().for_each(|name| self.text(name));
        self.end();
    }

    fn comma(&mut self) {
        if !(self.0.is_empty() || self.0.ends_with('\n')) {
            self.0.push(',');
        }
    }

    fn text(&mut self, text: &str) {
        self.comma();
        let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
        let guard = if formula { "'" } else { "" };
        let _ = write!(self.0, "\"{guard}{}\"", text.replace('"', "\"\""));
    }

    fn number(&mut self, number: Option<impl std::fmt::Display>) {
        self.comma();
        if let Some(number) = number {
            let _ = write!(self.0, "{number}");
        }
        // An empty first cell would be taken for the start of a line by the next one.
        if self.0.is_empty() || self.0.ends_with('\n') {
            self.0.push_str("\"\"");
        }
    }

    fn time(&mut self, time: Option<Timestamp>) {
        self.number(time);
    }

    fn end(&mut self) {
        self.0.push_str("\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_harmless() {
        let mut sheet = Sheet(String::new());
        sheet.text("=HYPERLINK(\"http://x\")");
        sheet.text("a\n,b");
        sheet.number(None::<i32>);
        sheet.number(Some(-2));
        sheet.end();
        assert_eq!(sheet.0, "\"'=HYPERLINK(\"\"http://x\"\")\",\"a\n,b\",,-2\r\n");
    }
}
