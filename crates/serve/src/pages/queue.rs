//! The first page: what there is to review, one page of it at a time.

use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use records::tables::{Change, ClusterRow, LinkKind};
use serde::Serialize;

use super::{Frame, day, minute, render};
use crate::catalogue::Catalogue;
use crate::errors::ApiError;
use crate::queue::{Asked, PAGE, QueueQuery, SORTS, ordered};
use crate::review::{Review, Verdict};
use crate::shared::Shared;
use crate::state::StateError;
use crate::tokens::Caller;

#[derive(Serialize, Default)]
struct QueuePage {
    /// Why there is nothing yet; empty if there is a snapshot.
    waiting: String,
    snapshot: String,
    as_of: String,
    tabs: Vec<Tab>,
    columns: Vec<Column>,
    rows: Vec<Row>,
    query: Fields,
    changes: Vec<&'static str>,
    kinds: Vec<(&'static str, &'static str)>,
    total: usize,
    first: usize,
    last: usize,
    previous: Option<String>,
    next: Option<String>,
    filtered: bool,
    /// The address part that leads through the same list from a cluster to the next.
    carry: String,
}

#[derive(Serialize)]
struct Tab {
    name: &'static str,
    count: usize,
    address: String,
    current: bool,
}

#[derive(Serialize)]
struct Column {
    name: &'static str,
    label: &'static str,
    address: String,
    /// `ascending`, `descending` or nothing.
    sorted: &'static str,
}

#[derive(Serialize, Default)]
struct Fields {
    status: String,
    sort: String,
    dir: String,
    q: String,
    change: String,
    kind: String,
    min_score: String,
    min_accounts: String,
}

#[derive(Serialize)]
struct Row {
    id: String,
    verdict: &'static str,
    /// What is new since it was decided on.
    since: String,
    score: String,
    /// Of 100.
    priority: f64,
    /// In percent.
    uncertainty: u32,
    why: &'static str,
    accounts: i32,
    victims: usize,
    photos: i32,
    kinds: Vec<&'static str>,
    change: &'static str,
    first: String,
    last: String,
}

/// The queue.
pub(crate) async fn queue(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    query: Result<Query<QueueQuery>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(query) = query.map_err(|error| ApiError::invalid(error.body_text()))?;
    let asked = query.checked()?;
    shared
        .blocking(move |shared| {
            let frame = Frame::of(&caller, shared);
            let page = match shared.review() {
                Ok((catalogue, review)) => page(&catalogue, &review, &query, &asked),
                Err(StateError::NotReady(why)) => QueuePage { waiting: why, ..QueuePage::default() },
                Err(error) => return Err(error.into()),
            };
            render("queue.html", &frame, page)
        })
        .await
}

fn page(catalogue: &Catalogue, review: &Review, query: &QueueQuery, asked: &Asked) -> QueuePage {
    let places = ordered(catalogue, review, asked);
    let total = places.len();
    let pages = total.div_ceil(PAGE).max(1);
    let number = asked.page.min(pages);
    let from = (number - 1) * PAGE;
    let shown = places.iter().skip(from).take(PAGE);
    let rows: Vec<Row> = shown
        .filter_map(|at| Some((*at, catalogue.all().get(*at)?)))
        .map(|(at, cluster)| row(catalogue, review, at, cluster))
        .collect();
    let to = |page: usize| query.address(&[("page", &page.to_string())]);
    let run = &catalogue.latest().run;
    QueuePage {
        waiting: String::new(),
        snapshot: run.snapshot.clone(),
        as_of: minute(run.as_of),
        tabs: tabs(catalogue, review, query),
        columns: columns(query, asked),
        first: if total == 0 { 0 } else { from + 1 },
        last: from + rows.len(),
        rows,
        query: Fields {
            status: query.status.clone(),
            sort: query.sort.clone(),
            dir: query.dir.clone(),
            q: query.q.clone(),
            change: query.change.clone(),
            kind: query.kind.clone(),
            min_score: query.min_score.clone(),
            min_accounts: query.min_accounts.clone(),
        },
        changes: Change::ALL.iter().map(|change| change.as_str()).collect(),
        kinds: LinkKind::ALL.iter().map(|kind| (kind.as_str(), kind_name(*kind))).collect(),
        total,
        previous: (number > 1).then(|| to(number - 1)),
        next: (number < pages).then(|| to(number + 1)),
        filtered: [&query.q, &query.change, &query.kind, &query.min_score, &query.min_accounts]
            .iter()
            .any(|text| !text.is_empty()),
        carry: query.address(&[("page", "")]),
    }
}

fn tabs(catalogue: &Catalogue, review: &Review, query: &QueueQuery) -> Vec<Tab> {
    let status = if query.status.is_empty() { "open" } else { query.status.as_str() };
    let open = review.count(Verdict::Open) + review.count(Verdict::Returned);
    [
        ("open", "open", open),
        ("returned", "returned", review.count(Verdict::Returned)),
        ("confirmed", "confirmed", review.count(Verdict::Confirmed)),
        ("dismissed", "dismissed", review.count(Verdict::Dismissed)),
        ("all", "all", catalogue.all().len()),
    ]
    .into_iter()
    .map(|(name, word, count)| Tab {
        name,
        count,
        address: query.address(&[("status", word), ("page", "")]),
        current: status == word,
    })
    .collect()
}

fn columns(query: &QueueQuery, asked: &Asked) -> Vec<Column> {
    let label = |name| match name {
        "priority" => "Priority",
        "score" => "Score",
        "uncertainty" => "Unsure",
        "accounts" => "Accounts",
        "victims" => "Victims",
        "photos" => "Pictures",
        "first_seen" => "First seen",
        _ => "Last seen",
    };
    let column = |(name, largest): (&'static str, bool)| {
        let current = asked.sort == name;
        // A second click turns the order round.
        let descending = if current { !asked.descending } else { largest };
        let dir = if descending { "desc" } else { "asc" };
        Column {
            name,
            label: label(name),
            address: query.address(&[("sort", name), ("dir", dir), ("page", "")]),
            sorted: match (current, asked.descending) {
                (false, _) => "",
                (true, true) => "descending",
                (true, false) => "ascending",
            },
        }
    };
    SORTS.into_iter().map(column).collect()
}

/// What two accounts share.
fn kind_name(kind: LinkKind) -> &'static str {
    match kind {
        LinkKind::SameBytes => "file",
        LinkKind::SamePhoto => "photo",
        LinkKind::SamePerson => "person",
    }
}

fn row(catalogue: &Catalogue, review: &Review, at: usize, cluster: &ClusterRow) -> Row {
    let doubt = catalogue.doubt(at);
    let status = review.status(at);
    Row {
        id: cluster.cluster_id.clone(),
        verdict: status.verdict.as_str(),
        since: since(status.joined.len(), status.links),
        score: score(cluster.score),
        priority: (doubt.priority * 1000.0).round() / 10.0,
        uncertainty: (doubt.uncertainty * 100.0).round() as u32,
        why: doubt.why,
        accounts: cluster.accounts,
        victims: catalogue.victims(&cluster.cluster_id),
        photos: cluster.photos,
        kinds: cluster.kinds.iter().map(|kind| kind_name(*kind)).collect(),
        change: cluster.change.as_str(),
        first: day(cluster.first_seen),
        last: day(cluster.last_seen),
    }
}

/// A probability with two decimals, never rounded up to a certainty.
pub(super) fn score(p: f64) -> String {
    if (0.995..1.0).contains(&p) { "0.99+".to_owned() } else { format!("{p:.2}") }
}

/// What is new, in words; empty if nothing is.
pub(super) fn since(joined: usize, links: usize) -> String {
    let counted = |n: usize, noun: &str| format!("{n} new {noun}{}", if n == 1 { "" } else { "s" });
    match (joined, links) {
        (0, 0) => String::new(),
        (joined, 0) => counted(joined, "account"),
        (0, links) => counted(links, "link"),
        (joined, links) => format!("{}, {}", counted(joined, "account"), counted(links, "link")),
    }
}
