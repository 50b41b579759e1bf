//! The short form for a terminal. Colour is an option and never the only carrier.

use std::fmt::Write;

use records::tables::{Change, Role};

use crate::differences::{change_of, reading_order};
use crate::snapshot::Indexed;
use crate::{Differences, Snapshot, words};

/// How much the terminal form shows.
#[derive(Clone, Debug)]
pub struct TerminalOptions {
    /// Clusters listed.
    pub clusters: usize,
    /// Members named per cluster.
    pub members: usize,
    /// Columns of the terminal, at least 40.
    pub width: usize,
    /// Whether to use ANSI bold and dim.
    pub colour: bool,
}

impl Default for TerminalOptions {
    fn default() -> Self {
        Self { clusters: 20, members: 5, width: 100, colour: false }
    }
}

/// The snapshot in a few lines, new and changed clusters first; with an earlier snapshot also what is gone. Control
/// characters in names are shown as escapes, so that no name can act on the terminal.
pub fn terminal(snapshot: &Snapshot, previous: Option<&Snapshot>, options: &TerminalOptions) -> String {
    let differences = previous.map(|previous| Differences::between(snapshot, previous));
    let indexed = Indexed::new(&snapshot.tables);
    let tables = &snapshot.tables;
    let width = options.width.max(40);
    let (bold, dim, plain) = if options.colour { ("\x1b[1m", "\x1b[2m", "\x1b[0m") } else { ("", "", "") };
    let mut out = String::new();
    let mut line = |text: &str, style: &str| {
        let end = if style.is_empty() { "" } else { plain };
        let _ = writeln!(out, "{style}{}{end}", words::shortened(text, width));
    };
    let role = |role| tables.members.iter().filter(|m| m.role == role).count();
    let fresh = tables.clusters.iter().filter(|c| change_of(c, differences.as_ref()) != Change::Unchanged);
    let networks = words::counted(tables.clusters.len(), "suspected network");
    line(&format!("{networks}, {} new or changed", words::grouped(fresh.count() as i128)), bold);
    let suspected = words::counted(role(Role::Member), "suspected account");
    let victims = words::counted(role(Role::Victim), "likely victim");
    line(&format!("{suspected}; {victims}, not accused"), bold);
    let run = &snapshot.run;
    let about = format!(
        "{} accounts, {} faces, data as of {}, model pack {}, snapshot {}",
        words::grouped(run.accounts),
        words::grouped(run.faces),
        words::minute(run.as_of),
        words::printable(&run.pack),
        words::printable(&run.snapshot)
    );
    line(&about, dim);
    if !tables.clusters.is_empty() {
        line("", "");
        line("score  accounts  victims  change     kinds                        cluster", bold);
    }
    let order = reading_order(tables, differences.as_ref());
    for row in order.iter().take(options.clusters).filter_map(|at| tables.clusters.get(*at)) {
        let members = indexed.members_of(&row.cluster_id);
        let victims = members.iter().filter(|m| m.role == Role::Victim).count();
        let kinds: Vec<&str> = row.kinds.iter().map(|kind| words::kind(*kind)).collect();
        let kinds = kinds.join(", ");
        let change = words::change(change_of(row, differences.as_ref()));
        let entry = format!(
            "{:<5}  {:>8}  {:>7}  {change:<9}  {kinds:<27}  {}",
            words::probability(row.score),
            words::grouped(row.accounts),
            words::grouped(victims as i128),
            words::printable(&row.cluster_id)
        );
        line(&entry, "");
        let mut strongest: Vec<_> = row.reasons.iter().filter(|r| r.signal != "prior").collect();
        strongest.sort_by(|a, b| b.log_odds.abs().total_cmp(&a.log_odds.abs()));
        let reason = |r: &&records::tables::Reason| {
            format!("{} {}", words::printable(&words::signal(&r.signal)), words::signed(r.log_odds))
        };
        let reasons: Vec<String> = strongest.iter().take(3).map(reason).collect();
        let named = members.iter().filter(|m| m.role == Role::Member);
        let names: Vec<String> =
            named.clone().take(options.members).map(|m| words::printable(m.account_id.as_str())).collect();
        let more = match named.count().saturating_sub(names.len()) {
            0 => String::new(),
            more => format!(" and {} more", words::grouped(more as i128)),
        };
        if !reasons.is_empty() {
            line(&format!("       because {}", reasons.join(", ")), dim);
        }
        line(&format!("       {}{more}", names.join(", ")), dim);
    }
    if order.len() > options.clusters {
        line(
            &format!("{} more in the tables", words::grouped((order.len() - options.clusters) as i128)),
            dim,
        );
    }
    if let Some(differences) = &differences {
        line("", "");
        let gone = words::counted(differences.gone.len(), "network");
        line(&format!("{gone} gone since {}", words::printable(&differences.since)), bold);
        for cluster in differences.gone.iter().take(options.clusters) {
            let into = match cluster.went_into.as_slice() {
                [] => String::new(),
                into => format!(", went into {}", words::printable(&into.join(", "))),
            };
            let accounts = words::counted(cluster.accounts.max(0) as usize, "account");
            line(&format!("       {} ({accounts}{into})", words::printable(&cluster.cluster_id)), "");
        }
    }
    out
}
