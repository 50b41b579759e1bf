//! One cluster: what it is, what was decided, and deciding.

use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use minijinja::Value;
use records::tables::{Role as TableRole, Tables};
use records::{Allowed, Decision, Deed, PhotoKey, Standing};
use serde::Serialize;

use super::queue::{score, since};
use super::{Frame, render};
use crate::catalogue::Catalogue;
use crate::decisions_api::{DecisionAnswer, now};
use crate::errors::ApiError;
use crate::queue::{QueueQuery, ordered, percent};
use crate::review::Review;
use crate::shared::Shared;
use crate::tokens::Caller;

/// Members offered for a split; larger clusters are split through the API.
const MOST_MEMBERS: usize = 300;
/// Pictures offered for an allowance.
const MOST_PICTURES: usize = 24;

#[derive(Serialize)]
struct ClusterPage {
    snapshot: String,
    id: String,
    score: String,
    accounts: i32,
    photos: i32,
    identities: i32,
    victims: usize,
    change: &'static str,
    unsure: u32,
    why: &'static str,
    verdict: &'static str,
    since: String,
    /// Names of members that are new since the decision.
    joined: Vec<String>,
    decision: Option<DecisionAnswer>,
    history: Vec<DecisionAnswer>,
    body: Value,
    members: Vec<MemberChoice>,
    members_left: usize,
    pictures: Vec<PictureChoice>,
    /// Addresses of the neighbours in the list this was opened from.
    previous: Option<String>,
    next: Option<String>,
    place: usize,
    of: usize,
    back: String,
}

#[derive(Serialize)]
struct MemberChoice {
    id: String,
    name: String,
    score: String,
}

#[derive(Serialize)]
struct PictureChoice {
    key: String,
    short: String,
    /// The face on it, if there is exactly one.
    face: Option<String>,
    image: bool,
}

/// A cluster of the newest snapshot.
pub(crate) async fn cluster(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    query: Result<Query<QueueQuery>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(query) = query.map_err(|error| ApiError::invalid(error.body_text()))?;
    let asked = query.checked()?;
    shared
        .blocking(move |shared| {
            let frame = Frame::of(&caller, shared);
            let (catalogue, review) = shared.review()?;
            let tables = catalogue.only(&id).ok_or_else(|| ApiError::not_found("cluster"))?;
            let list = ordered(&catalogue, &review, &asked);
            let page = page(shared, &catalogue, &review, &query, &list, tables)?;
            render("cluster.html", &frame, page)
        })
        .await
}

fn page(
    shared: &Shared,
    catalogue: &Catalogue,
    review: &Review,
    query: &QueueQuery,
    list: &[usize],
    tables: Tables,
) -> Result<ClusterPage, ApiError> {
    let Some(row) = tables.clusters.first().cloned() else { return Err(ApiError::not_found("cluster")) };
    let id = row.cluster_id.clone();
    let at = catalogue.row_of(&id).unwrap_or_default();
    let (status, doubt) = (review.status(at), catalogue.doubt(at));
    let standing = Standing::of(review.log());
    let answer = |decision: &Decision| DecisionAnswer::new(decision, &standing, now());
    let name = |account: &records::AccountId| {
        let facts = catalogue.account(account).map(|row| &row.facts);
        let name = facts.and_then(|facts| facts.username.clone()).filter(|name| !name.trim().is_empty());
        name.unwrap_or_else(|| account.to_string())
    };
    let members: Vec<MemberChoice> = tables
        .members
        .iter()
        .filter(|member| member.role == TableRole::Member)
        .map(|member| MemberChoice {
            id: member.account_id.to_string(),
            name: name(&member.account_id),
            score: score(member.score),
        })
        .collect();
    let place = list.iter().position(|place| *place == at);
    let carry = query.address(&[("page", "")]);
    let link = |place: Option<usize>| {
        let cluster = catalogue.all().get(*list.get(place?)?)?;
        Some(format!("/clusters/{}?{carry}", percent(&cluster.cluster_id)))
    };
    Ok(ClusterPage {
        snapshot: catalogue.snapshot().to_owned(),
        score: score(row.score),
        accounts: row.accounts,
        photos: row.photos,
        identities: row.identities,
        victims: catalogue.victims(&id),
        change: row.change.as_str(),
        unsure: (doubt.uncertainty * 100.0).round() as u32,
        why: doubt.why,
        verdict: status.verdict.as_str(),
        since: since(status.joined.len(), status.links),
        joined: status.joined.iter().map(name).collect(),
        decision: status.decision.and_then(|id| review.decision(id)).map(answer),
        history: review
            .log()
            .iter()
            .rev()
            .filter(|decision| is_about(&decision.deed, &id, catalogue, review.log()))
            .map(answer)
            .collect(),
        members_left: members.len().saturating_sub(MOST_MEMBERS),
        members: members.into_iter().take(MOST_MEMBERS).collect(),
        pictures: pictures(shared, &tables)?,
        body: Value::from_safe_string(shared.state.cluster_body(tables)?),
        previous: link(place.and_then(|place| place.checked_sub(1))),
        // What was decided on may have left the list; then the list goes on from its beginning.
        next: link(Some(place.map_or(0, |place| place + 1))),
        place: place.map_or(0, |place| place + 1),
        of: list.len(),
        back: format!("/?{carry}"),
        id,
    })
}

/// Whether a decision belongs to a cluster's history: it names the cluster, vouches for one of its members, or undoes
/// such a one.
fn is_about(deed: &Deed, id: &str, catalogue: &Catalogue, log: &[Decision]) -> bool {
    match deed {
        Deed::Undo { decision, .. } => {
            log.iter().find(|earlier| earlier.id == *decision).is_some_and(|earlier| {
                !matches!(earlier.deed, Deed::Undo { .. }) && is_about(&earlier.deed, id, catalogue, log)
            })
        }
        Deed::Allow { subject: Allowed::Account(account), .. } => {
            catalogue.memberships(account).any(|member| member.cluster_id == id)
        }
        deed => deed.clusters().iter().any(|cluster| cluster == id),
    }
}

/// The pictures of the evidence, those that stand in most links first.
fn pictures(shared: &Shared, tables: &Tables) -> Result<Vec<PictureChoice>, ApiError> {
    let mut counts = std::collections::BTreeMap::<PhotoKey, usize>::new();
    for row in &tables.evidence {
        *counts.entry(row.picture_a).or_default() += 1;
        *counts.entry(row.picture_b).or_default() += 1;
    }
    let mut ranked: Vec<(PhotoKey, usize)> = counts.into_iter().collect();
    ranked.sort_by(|(a, m), (b, n)| n.cmp(m).then(a.cmp(b)));
    let mut choices = Vec::new();
    for (key, _) in ranked.into_iter().take(MOST_PICTURES) {
        let faces = shared.state.faces_on(&key)?;
        let text = key.to_string();
        choices.push(PictureChoice {
            short: text.chars().take(12).collect(),
            face: match faces.as_slice() {
                [(face, _)] => Some(face.to_string()),
                _ => None,
            },
            image: shared.state.thumbnail(&key)?.is_some(),
            key: text,
        });
    }
    Ok(choices)
}
