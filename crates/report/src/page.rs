//! The HTML page: one file that needs nothing else.
//!
//! Invariants:
//! - No request leaves the page: its content security policy allows its own style and script by their SHA-256 and
//!   images from within the page, nothing else.
//! - Every text from outside is escaped by the templates; only drawings made here are passed as finished markup, and
//!   they escape their own texts.
//! - The page is a pure function of snapshots and options: no clock, no chance.

use base64::Engine;
use minijinja::{Environment, Value};
use records::tables::Change;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::cluster_view::{Cluster, ClusterView};
use crate::differences::{change_of, reading_order};
use crate::fragment::STYLE;
use crate::pictures::Album;
use crate::snapshot::Indexed;
use crate::{Differences, Snapshot, words};

const SCRIPT: &str = include_str!("../templates/report.js");

/// What a page shows and how much of it.
#[derive(Clone, Debug, Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HtmlOptions {
    /// The page's title.
    pub title: String,
    /// Clusters shown in full; the rest are rows of the list.
    pub details: usize,
    /// Rows of the list; the rest are counted.
    pub rows: usize,
    /// Members listed per cluster; the rest are counted.
    pub members: usize,
    /// Picture pairs shown per cluster.
    pub pairs: usize,
    /// Accounts drawn in a cluster's graph, 12 to 500; larger clusters are sampled.
    pub graph_accounts: usize,
    /// Whether stored thumbnails are taken into the page.
    pub thumbnails: bool,
    /// Most bytes of thumbnails (as base64) the page takes in.
    pub thumbnail_bytes: usize,
}

impl Default for HtmlOptions {
    fn default() -> Self {
        Self {
            title: "Accounts that share faces".to_owned(),
            details: 200,
            rows: 5000,
            members: 60,
            pairs: 8,
            graph_accounts: 140,
            thumbnails: true,
            thumbnail_bytes: 24 << 20,
        }
    }
}

impl HtmlOptions {
    /// Everything that is wrong, as (key, what is allowed).
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        if !(12..=500).contains(&self.graph_accounts) {
            let wrong = format!("is {}; allowed are 12 to 500", self.graph_accounts);
            problems.push(("graph_accounts".to_owned(), wrong));
        }
        if self.members == 0 {
            problems.push(("members".to_owned(), "is 0; at least 1 is needed".to_owned()));
        }
        problems
    }
}

/// A page could not be rendered: a fault of the templates, never of the data.
#[derive(Debug, thiserror::Error)]
#[error("the report's template failed; report this with the version of facering")]
pub struct RenderError(#[from] minijinja::Error);

#[derive(Serialize)]
struct Page<'a> {
    title: &'a str,
    csp: String,
    style: Value,
    script: Value,
    snapshot: &'a str,
    as_of: String,
    pack: &'a str,
    facering_version: &'a str,
    tables_version: &'a str,
    read: Vec<(&'static str, String)>,
    thresholds: Vec<(String, f64)>,
    dead_letters: Vec<(String, String)>,
    checkpoint: Vec<(String, String)>,
    figures: Vec<Figure>,
    since: Option<&'a str>,
    gone: Vec<Gone>,
    rows: Vec<Row>,
    rows_left: usize,
    clusters: Vec<ClusterView>,
    details_left: usize,
    images: Vec<String>,
    images_left_out: usize,
    changes: Vec<&'static str>,
    no_thumbnails: bool,
}

#[derive(Serialize)]
struct Figure {
    number: String,
    words: &'static str,
}

#[derive(Serialize)]
struct Gone {
    id: String,
    accounts: String,
    score: String,
    went_into: String,
}

/// A row of the list; the numbers beside the texts are what the list sorts by.
#[derive(Serialize)]
struct Row {
    anchor: Option<usize>,
    id: String,
    change: &'static str,
    change_rank: usize,
    joined: usize,
    score: String,
    score_raw: f64,
    accounts: i32,
    victims: usize,
    photos: i32,
    kinds: Vec<&'static str>,
    first: String,
    first_raw: i64,
    last: String,
    last_raw: i64,
}

/// The page for a snapshot; with an earlier one it shows the differences. Takes in at most `options.thumbnail_bytes`
/// of thumbnails.
///
/// # Errors
/// [`RenderError`] if a template is at fault.
pub fn html(
    snapshot: &Snapshot,
    previous: Option<&Snapshot>,
    options: &HtmlOptions,
) -> Result<String, RenderError> {
    let differences = previous.map(|previous| Differences::between(snapshot, previous));
    let indexed = Indexed::new(&snapshot.tables);
    let order = reading_order(&snapshot.tables, differences.as_ref());
    let mut album = Album::new(options.thumbnails.then_some(&snapshot.thumbnails), options.thumbnail_bytes);
    let in_order = || order.iter().filter_map(|at| snapshot.tables.clusters.get(*at));
    let clusters: Vec<ClusterView> = in_order()
        .take(options.details)
        .enumerate()
        .map(|(number, row)| {
            Cluster { number, row, indexed: &indexed, differences: differences.as_ref() }
                .view(options, &mut album)
        })
        .collect();
    let rows: Vec<Row> = in_order()
        .take(options.rows)
        .enumerate()
        .map(|(at, row)| {
            let change = change_of(row, differences.as_ref());
            let members = indexed.members_of(&row.cluster_id);
            let joined = differences.as_ref().and_then(|d| d.clusters.get(&row.cluster_id));
            Row {
                anchor: (at < options.details).then_some(at),
                id: row.cluster_id.clone(),
                change: words::change(change),
                change_rank: Change::ALL.iter().position(|c| *c == change).unwrap_or_default(),
                joined: joined.filter(|d| d.earlier_score.is_some()).map_or(0, |d| d.joined.len()),
                score: words::probability(row.score),
                score_raw: row.score,
                accounts: row.accounts,
                victims: members.iter().filter(|m| m.role == records::tables::Role::Victim).count(),
                photos: row.photos,
                kinds: row.kinds.iter().map(|kind| words::kind(*kind)).collect(),
                first: words::day(row.first_seen),
                first_raw: row.first_seen.as_micros(),
                last: words::day(row.last_seen),
                last_raw: row.last_seen.as_micros(),
            }
        })
        .collect();
    let run = &snapshot.run;
    let no_thumbnails = album.images.is_empty();
    let page = Page {
        title: &options.title,
        csp: policy(),
        style: Value::from_safe_string(STYLE.to_owned()),
        script: Value::from_safe_string(SCRIPT.to_owned()),
        snapshot: &run.snapshot,
        as_of: words::minute(run.as_of),
        pack: &run.pack,
        facering_version: &run.facering_version,
        tables_version: &run.tables_version,
        read: vec![
            ("accounts", words::grouped(run.accounts)),
            ("distinct pictures", words::grouped(run.photos)),
            ("faces", words::grouped(run.faces)),
            ("links between faces", words::grouped(run.links)),
        ],
        thresholds: run.thresholds.iter().map(|(name, value)| (name.clone(), *value)).collect(),
        dead_letters: run
            .dead_letters
            .iter()
            .map(|(why, n)| (words::signal(why), words::grouped(*n)))
            .collect(),
        checkpoint: run.checkpoint.iter().map(|(p, at)| (p.to_string(), words::grouped(at.0))).collect(),
        figures: figures(snapshot, differences.as_ref()),
        since: differences.as_ref().map(|d| d.since.as_str()),
        gone: differences.iter().flat_map(|d| &d.gone).map(gone).collect(),
        rows_left: order.len().saturating_sub(options.rows),
        details_left: order.len().saturating_sub(clusters.len()),
        rows,
        clusters,
        images_left_out: album.left_out,
        images: album.images,
        changes: Change::ALL.iter().map(|c| words::change(*c)).collect(),
        no_thumbnails,
    };
    Ok(environment()?.get_template("report.html")?.render(Value::from(minijinja::value::Serde(&page)))?)
}

/// The templates of pages and fragments.
pub(crate) fn environment() -> Result<Environment<'static>, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
    for (name, source) in [
        ("report.html", include_str!("../templates/report.html")),
        ("fragment.html", include_str!("../templates/fragment.html")),
        ("album.html", include_str!("../templates/album.html")),
        ("cluster.html", include_str!("../templates/cluster.html")),
        ("cluster_body.html", include_str!("../templates/cluster_body.html")),
        ("parts.html", include_str!("../templates/parts.html")),
    ] {
        environment.add_template(name, source)?;
    }
    Ok(environment)
}

fn gone(cluster: &crate::GoneCluster) -> Gone {
    Gone {
        id: cluster.cluster_id.clone(),
        accounts: words::grouped(cluster.accounts),
        score: words::probability(cluster.score),
        went_into: cluster.went_into.join(", "),
    }
}

fn figures(snapshot: &Snapshot, differences: Option<&Differences>) -> Vec<Figure> {
    let tables = &snapshot.tables;
    let role = |wanted| tables.members.iter().filter(|m| m.role == wanted).count();
    let fresh = tables.clusters.iter().filter(|c| change_of(c, differences) != Change::Unchanged).count();
    let figure = |number: usize, words| Figure { number: words::grouped(number as i128), words };
    vec![
        figure(tables.clusters.len(), "suspected networks"),
        figure(fresh, "new or changed"),
        figure(role(records::tables::Role::Member), "suspected accounts"),
        figure(role(records::tables::Role::Victim), "likely victims, not accused"),
    ]
}

/// The content security policy of the page.
fn policy() -> String {
    let hash = |text: &str| base64::engine::general_purpose::STANDARD.encode(Sha256::digest(text));
    format!(
        "default-src 'none'; img-src data:; style-src 'sha256-{}'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
}
