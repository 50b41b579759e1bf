//! One cluster as the page's template sees it.

use minijinja::Value;
use records::AccountId;
use records::tables::{Change, ClusterRow, EvidenceRow, MemberRow, Role};
use serde::Serialize;

use crate::differences::change_of;
use crate::links::Ties;
use crate::page::HtmlOptions;
use crate::pictures::{Album, PicturePair, pairs};
use crate::snapshot::Indexed;
use crate::timeline::{self, Lane};
use crate::waterfall::{Waterfall, waterfall};
use crate::{Differences, graph, words};

/// Longest time, in seconds, within which accounts are said to have been created together.
const LONGEST_BURST: f64 = 60.0 * 86_400.0;

/// What the view is made from.
pub(crate) struct Cluster<'a> {
    /// Its place in reading order, from 0.
    pub number: usize,
    pub row: &'a ClusterRow,
    pub indexed: &'a Indexed<'a>,
    pub differences: Option<&'a Differences>,
}

#[derive(Serialize)]
pub(crate) struct ClusterView {
    number: usize,
    id: String,
    change: &'static str,
    parents: Vec<String>,
    earlier: Option<String>,
    joined: Names,
    left: Names,
    score: String,
    score_raw: f64,
    accounts: String,
    photos: String,
    identities: String,
    first: String,
    last: String,
    kinds: Vec<(&'static str, &'static str)>,
    burst: Option<String>,
    why: Waterfall,
    pairs: Vec<PairView>,
    pairs_in_all: usize,
    graph: Value,
    graph_drawn: usize,
    graph_accounts: usize,
    graph_victims: bool,
    timeline: Option<Value>,
    weakest: Option<WeakestView>,
    members: Vec<MemberView>,
    members_left: usize,
    victims: Vec<MemberView>,
}

#[derive(Serialize)]
struct PairView {
    one: PictureView,
    /// None if all accounts show the same file.
    other: Option<PictureView>,
    kind: &'static str,
    meaning: &'static str,
    cosine: Option<String>,
    pdq: Option<i32>,
    owners: String,
}

#[derive(Serialize)]
struct PictureView {
    /// Number of the thumbnail within the page.
    image: Option<usize>,
    hash: String,
    shown_by: Names,
}

/// Some names, and how many more there are.
#[derive(Serialize, Default)]
struct Names {
    names: Vec<String>,
    more: usize,
}

#[derive(Serialize)]
struct WeakestView {
    a: String,
    b: String,
    weight: String,
    separates: i32,
    falls_off: Names,
}

#[derive(Serialize)]
struct MemberView {
    account: String,
    username: Option<String>,
    full_name: Option<String>,
    score: String,
    followers: String,
    following: String,
    posts: String,
    photos: String,
    created: String,
    seen: String,
    verified: bool,
    joined: bool,
    why: Waterfall,
    /// The strongest reasons in one line.
    short: String,
}

impl Cluster<'_> {
    /// Gathers all that the template shows.
    pub fn view(&self, options: &HtmlOptions, album: &mut Album<'_>) -> ClusterView {
        let row = self.row;
        let rows = self.indexed.members_of(&row.cluster_id);
        let evidence = self.indexed.evidence_of(&row.cluster_id);
        let ties = Ties::new(rows, evidence);
        let drawing = graph::draw(&ties, row.weakest_link.as_ref(), options.graph_accounts, |a| self.name(a));
        let (shown, pairs_in_all) = pairs(evidence, options.pairs);
        let difference = self.differences.and_then(|d| d.clusters.get(&row.cluster_id));
        let change = change_of(row, self.differences);
        let earlier = difference.and_then(|d| d.earlier_score).map(words::probability);
        let known = difference.filter(|_| earlier.is_some());
        let of_role = |role: Role| rows.iter().copied().filter(move |m| m.role == role);
        ClusterView {
            number: self.number,
            id: row.cluster_id.clone(),
            change: words::change(change),
            parents: if matches!(change, Change::Merged | Change::Split) {
                row.parents.clone()
            } else {
                Vec::new()
            },
            joined: known.map(|d| self.names(d.joined.iter(), 8)).unwrap_or_default(),
            left: known.map(|d| self.names(d.left.iter(), 8)).unwrap_or_default(),
            earlier,
            score: words::probability(row.score),
            score_raw: (row.score * 1000.0).round() / 10.0,
            accounts: words::counted(row.accounts.max(0) as usize, "account"),
            photos: words::counted(row.photos.max(0) as usize, "picture"),
            identities: match row.identities {
                1 => "1\u{a0}person".to_owned(),
                n => format!("{}\u{a0}people", words::grouped(n)),
            },
            first: words::minute(row.first_seen),
            last: words::minute(row.last_seen),
            kinds: row.kinds.iter().map(|k| (words::kind(*k), words::kind_meaning(*k))).collect(),
            burst: self.burst(rows),
            why: waterfall(&row.reasons),
            pairs: shown.iter().map(|pair| self.pair(pair, album)).collect(),
            pairs_in_all,
            graph: Value::from_safe_string(drawing.svg),
            graph_drawn: drawing.drawn,
            graph_accounts: drawing.accounts,
            graph_victims: drawing.victims,
            timeline: self.timeline(rows, evidence).map(Value::from_safe_string),
            weakest: row.weakest_link.as_ref().map(|link| WeakestView {
                a: self.name(&link.account_a),
                b: self.name(&link.account_b),
                weight: words::probability(link.weight),
                separates: link.separates,
                falls_off: self.names(ties.cut_off_by(link).into_iter(), 12),
            }),
            members: of_role(Role::Member).take(options.members).map(|m| self.member(m, known)).collect(),
            members_left: of_role(Role::Member).count().saturating_sub(options.members),
            victims: of_role(Role::Victim).take(options.members).map(|m| self.member(m, None)).collect(),
        }
    }

    /// How an account is called: by its user name if it has one, else by its id.
    fn name(&self, account: &AccountId) -> String {
        let facts = self.indexed.accounts.get(account).map(|row| &row.facts);
        match facts.and_then(|facts| facts.username.as_deref()).filter(|name| !name.trim().is_empty()) {
            Some(name) => words::printable(name),
            None => account.to_string(),
        }
    }

    fn names<'b>(&self, accounts: impl ExactSizeIterator<Item = &'b AccountId>, most: usize) -> Names {
        let more = accounts.len().saturating_sub(most);
        Names { names: accounts.take(most).map(|account| self.name(account)).collect(), more }
    }

    fn pair(&self, pair: &PicturePair<'_>, album: &mut Album<'_>) -> PairView {
        let (one, other) = pair.pictures;
        let mut picture =
            |key: records::PhotoKey, accounts: &std::collections::BTreeSet<&AccountId>| PictureView {
                image: album.number(&key),
                hash: key.to_string().chars().take(12).collect(),
                shown_by: self.names(accounts.iter().copied().collect::<Vec<_>>().into_iter(), 4),
            };
        let (first, second) = if one == other {
            let all = pair.accounts.0.union(&pair.accounts.1).copied().collect();
            (picture(one, &all), None)
        } else {
            (picture(one, &pair.accounts.0), Some(picture(other, &pair.accounts.1)))
        };
        PairView {
            one: first,
            other: second,
            kind: words::kind(pair.kind),
            meaning: words::kind_meaning(pair.kind),
            cosine: pair.similarity.map(|cosine| format!("{cosine:.3}")),
            pdq: pair.pdq_distance,
            owners: words::counted(pair.owners.max(0) as usize, "account"),
        }
    }

    fn burst(&self, rows: &[&MemberRow]) -> Option<String> {
        let created: Vec<_> = rows
            .iter()
            .filter(|m| m.role == Role::Member)
            .filter_map(|m| self.indexed.accounts.get(&m.account_id)?.facts.created_at)
            .collect();
        let (first, last, inside) = timeline::burst(&created).filter(|(first, last, _)| {
            // What took longer is no burst, and to say so would only sound like one.
            last.seconds_since(*first) <= LONGEST_BURST
        })?;
        let length = words::span(last.seconds_since(first));
        let (of, from, to) = (created.len(), words::day(first), words::day(last));
        let when = if from == to { format!("on {from}") } else { format!("from {from} to {to}") };
        Some(format!(
            "{inside} of {of} suspected accounts with a known date were created within {length}, {when}."
        ))
    }

    fn timeline(&self, rows: &[&MemberRow], evidence: &[&EvidenceRow]) -> Option<String> {
        let mut observed = std::collections::BTreeMap::new();
        for row in evidence {
            for (account, at) in [(&row.account_a, row.observed_a), (&row.account_b, row.observed_b)] {
                let first = observed.entry(account).or_insert(at);
                *first = at.min(*first);
            }
        }
        let lane = |name, when: &dyn Fn(&AccountId) -> Option<records::Timestamp>| {
            let of =
                |role| rows.iter().filter(|m| m.role == role).filter_map(|m| when(&m.account_id)).collect();
            Lane { name, members: of(Role::Member), victims: of(Role::Victim) }
        };
        timeline::draw(&[
            lane("Created", &|a| self.indexed.accounts.get(a)?.facts.created_at),
            lane("Picture seen", &|a| observed.get(a).copied()),
        ])
    }

    fn member(&self, member: &MemberRow, difference: Option<&crate::ClusterDifference>) -> MemberView {
        let account = self.indexed.accounts.get(&member.account_id);
        let facts = account.map(|row| row.facts.clone()).unwrap_or_default();
        let number = |n: Option<i64>| n.map_or_else(|| "–".to_owned(), words::grouped);
        let mut strongest: Vec<_> = member.reasons.iter().filter(|r| r.signal != "prior").collect();
        strongest.sort_by(|a, b| b.log_odds.abs().total_cmp(&a.log_odds.abs()));
        let short: Vec<String> = strongest
            .iter()
            .take(3)
            .map(|r| format!("{}\u{a0}{}", words::signal(&r.signal), words::signed(r.log_odds)))
            .collect();
        MemberView {
            account: member.account_id.to_string(),
            username: facts.username.as_deref().filter(|n| !n.trim().is_empty()).map(words::printable),
            full_name: facts.full_name.as_deref().filter(|n| !n.trim().is_empty()).map(words::printable),
            score: words::probability(member.score),
            followers: number(facts.followers),
            following: number(facts.following),
            posts: number(facts.posts),
            photos: number(account.map(|row| i64::from(row.photos))),
            created: facts.created_at.map_or_else(|| "–".to_owned(), words::day),
            seen: account.map_or_else(|| "–".to_owned(), |row| words::day(row.first_seen)),
            verified: facts.verified == Some(true),
            joined: difference.is_some_and(|d| d.joined.contains(&member.account_id)),
            why: waterfall(&member.reasons),
            short: short.join(", "),
        }
    }
}
