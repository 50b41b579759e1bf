//! Deciding over HTTP: the log, and adding to it.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::{Extension, Json};
use records::{Allowed, Decision, Deed, Proposal, Standing, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::deeds::too_large;
use crate::errors::{ApiError, ErrorBody};
use crate::shared::Shared;
use crate::tokens::Caller;

/// What is to be decided. Who decides is who calls, and when is now.
#[derive(ToSchema)]
#[schema(title = "DecisionRequest")]
#[allow(dead_code, reason = "describes the body, which is read as records::Proposal")]
#[derive(Deserialize)]
#[serde(tag = "deed", rename_all = "snake_case")]
pub(crate) enum DecisionRequest {
    /// This cluster is a network.
    Confirm {
        /// A cluster of the newest snapshot.
        cluster_id: String,
        #[schema(max_length = 500)]
        reason: Option<String>,
    },
    /// This cluster is none: it stays away until a member or link comes that it does not have now.
    Dismiss {
        /// A cluster of the newest snapshot.
        cluster_id: String,
        #[schema(min_length = 1, max_length = 500)]
        reason: String,
    },
    /// This cluster is several. Members in no part are left to the detector.
    Split {
        /// A cluster of the newest snapshot.
        cluster_id: String,
        /// Two or more groups of its members.
        #[schema(min_items = 2)]
        parts: Vec<Vec<String>>,
        #[schema(max_length = 500)]
        reason: Option<String>,
    },
    /// These clusters are one.
    Merge {
        /// Two or more clusters of the newest snapshot.
        #[schema(min_items = 2)]
        cluster_ids: Vec<String>,
        #[schema(max_length = 500)]
        reason: Option<String>,
    },
    /// Somebody or something is vouched for.
    Allow {
        subject: SubjectRequest,
        /// Until when, RFC 3339; null for as long as it is not undone.
        until: Option<String>,
        #[schema(min_length = 1, max_length = 500)]
        reason: String,
    },
    /// An earlier decision does not hold any more.
    Undo {
        /// Its number.
        decision: u64,
        #[schema(max_length = 500)]
        reason: Option<String>,
    },
}

/// One of the three.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes the body, which is read as records::Allowed")]
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SubjectRequest {
    /// An account's id: never suspected, links nobody.
    Account(String),
    /// SHA-256 of a picture: it and its copies link nobody.
    Photo(String),
    /// A face's id: no picture of that person links anybody.
    Face(String),
}

/// A decision.
#[derive(Serialize, ToSchema)]
pub(crate) struct DecisionAnswer {
    pub id: u64,
    /// Who: the name of a token, or `local`.
    pub author: String,
    /// When, RFC 3339.
    pub at: String,
    /// `confirm`, `dismiss`, `split`, `merge`, `allow`, `undo`, or `erased` where it was about somebody who was
    /// forgotten.
    pub deed: &'static str,
    pub reason: String,
    /// Whether it holds: not undone, not superseded, not expired.
    pub holds: bool,
    /// The decision that took it back.
    pub undone_by: Option<u64>,
    /// The clusters it is about, as they were called then.
    pub cluster_ids: Vec<String>,
    /// How many accounts it is about.
    pub accounts: usize,
    /// With `split`, the parts.
    pub parts: Vec<Vec<String>>,
    /// With `allow`: `account`, `photo` or `face`.
    pub subject_kind: Option<&'static str>,
    /// With `allow`, its id.
    pub subject: Option<String>,
    /// With `allow`, until when.
    pub until: Option<String>,
    /// With `undo`, which decision.
    pub undoes: Option<u64>,
}

impl DecisionAnswer {
    pub fn new(decision: &Decision, standing: &Standing<'_>, now: Timestamp) -> Self {
        let deed = &decision.deed;
        let mut answer = Self {
            id: decision.id.0,
            author: decision.author.clone(),
            at: decision.at.to_string(),
            deed: deed.word(),
            reason: deed.reason().to_owned(),
            holds: standing.in_force().binary_search_by_key(&decision.id, |held| held.id).is_ok(),
            undone_by: standing.undone_by(decision.id).map(|by| by.0),
            cluster_ids: deed.clusters().to_vec(),
            accounts: 0,
            parts: Vec::new(),
            subject_kind: None,
            subject: None,
            until: None,
            undoes: None,
        };
        match deed {
            Deed::Confirm { members, .. } | Deed::Dismiss { members, .. } | Deed::Merge { members, .. } => {
                answer.accounts = members.len();
            }
            Deed::Split { parts, .. } => {
                answer.accounts = parts.iter().map(Vec::len).sum();
                let texts = |part: &Vec<records::AccountId>| part.iter().map(ToString::to_string).collect();
                answer.parts = parts.iter().map(texts).collect();
            }
            Deed::Allow { subject, until, .. } => {
                let (kind, id) = match subject {
                    Allowed::Account(id) => ("account", id.to_string()),
                    Allowed::Photo(id) => ("photo", id.to_string()),
                    Allowed::Face(id) => ("face", id.to_string()),
                };
                (answer.subject_kind, answer.subject) = (Some(kind), Some(id));
                answer.until = until.map(|until| until.to_string());
                answer.holds &= until.is_none_or(|until| now < until);
            }
            Deed::Undo { decision, .. } => answer.undoes = Some(decision.0),
            Deed::Erased => {}
        }
        answer
    }
}

/// A page of decisions, newest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct DecisionPage {
    pub decisions: Vec<DecisionAnswer>,
    /// Give this as `before` for the next page; null on the last one.
    pub next: Option<u64>,
}

/// Which decisions, and how many.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DecisionQuery {
    /// Most decisions to answer, 1 to 500.
    #[param(minimum = 1, maximum = 500, default = 100)]
    limit: Option<usize>,
    /// Only decisions made before this one.
    #[param(minimum = 0)]
    before: Option<i64>,
    /// Only those that hold.
    in_force: Option<bool>,
}

#[utoipa::path(
    get, path = "/v1/decisions", tag = "decisions", params(DecisionQuery), security(("token" = ["reader"])),
    responses(
        (status = 200, description = "Decisions, newest first", body = DecisionPage),
        (status = 400, description = "A parameter is wrong", body = ErrorBody),
        (status = 401, description = "A token is needed", body = ErrorBody),
        (status = 403, description = "The role does not suffice", body = ErrorBody),
        (status = 503, description = "Busy", body = ErrorBody),
    )
)]
pub(crate) async fn list(
    State(shared): State<Arc<Shared>>,
    query: Result<Query<DecisionQuery>, QueryRejection>,
) -> Result<Json<DecisionPage>, ApiError> {
    let Query(query) = query.map_err(|error| ApiError::invalid(error.body_text()))?;
    let limit = query.limit.unwrap_or(100);
    if !(1..=500).contains(&limit) {
        return Err(ApiError::invalid(format!("limit is {limit}; allowed are 1 to 500")));
    }
    let before = query.before.unwrap_or(i64::MAX);
    let wrong = |_| ApiError::invalid(format!("before is {before}; it has to be the number of a decision"));
    let (before, only) = (u64::try_from(before).map_err(wrong)?, query.in_force.unwrap_or(false));
    shared.blocking(move |shared| Ok(Json(page(&shared.state.decisions()?, before, only, limit)))).await
}

/// The decisions before this one, newest first.
pub(crate) fn page(log: &[Decision], before: u64, only_in_force: bool, limit: usize) -> DecisionPage {
    let (standing, now) = (Standing::of(log), now());
    let answers = log.iter().rev().filter(|decision| decision.id.0 < before);
    let answers = answers.map(|decision| DecisionAnswer::new(decision, &standing, now));
    let mut decisions: Vec<_> = answers.filter(|a| a.holds || !only_in_force).take(limit + 1).collect();
    let more = decisions.len() > limit;
    decisions.truncate(limit);
    let next = decisions.last().filter(|_| more).map(|last| last.id);
    DecisionPage { decisions, next }
}

pub(crate) fn now() -> Timestamp {
    let micros =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_micros());
    i64::try_from(micros).ok().and_then(|m| Timestamp::from_micros(m).ok()).unwrap_or(Timestamp::EPOCH)
}

/// What the caller looked at.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct SeenQuery {
    /// The snapshot that was looked at. If it is no longer the newest, the decision is refused, since it would be about
    /// something else than what was seen.
    snapshot: Option<String>,
}

#[utoipa::path(
    post, path = "/v1/decisions", tag = "decisions", params(SeenQuery), security(("token" = ["analyst"])),
    request_body(content = DecisionRequest, description = "What is to be decided"),
    responses(
        (status = 201, description = "The decision is on disk", body = DecisionAnswer),
        (status = 400, description = "The request is wrong", body = ErrorBody),
        (status = 401, description = "A token is needed", body = ErrorBody),
        (status = 403, description = "The role does not suffice", body = ErrorBody),
        (status = 409, description = "The snapshot that was looked at is no longer the newest", body = ErrorBody),
        (status = 413, description = "The body is too large", body = ErrorBody),
        (status = 415, description = "The body is no JSON", body = ErrorBody),
        (status = 422, description = "No such cluster, member or decision, or it contradicts itself", body = ErrorBody),
        (status = 503, description = "There is no snapshot yet, or busy", body = ErrorBody),
    )
)]
pub(crate) async fn decide(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    query: Result<Query<SeenQuery>, QueryRejection>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, Json<DecisionAnswer>), ApiError> {
    let Query(seen) = query.map_err(|error| ApiError::invalid(error.body_text()))?;
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if kind.split(';').next().map(str::trim) != Some("application/json") {
        let message = "content-type must be application/json";
        return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media_type", message));
    }
    let body = body.map_err(|error| too_large(&error))?;
    let proposal: Proposal = serde_json::from_slice(&body)
        .map_err(|error| ApiError::invalid(format!("the body is no decision: {error}")))?;
    shared
        .blocking(move |shared| {
            let refused = |why: String| ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "undecidable", why);
            // Allowances and undoings need no snapshot.
            let needs = !matches!(proposal, Proposal::Allow { .. } | Proposal::Undo { .. });
            let catalogue = if needs { Some(shared.catalogue()?) } else { None };
            if let (Some(seen), Some(catalogue)) = (&seen.snapshot, &catalogue)
                && seen != catalogue.snapshot()
            {
                let message = "a newer snapshot was written in the meantime; look at the cluster again";
                return Err(ApiError::new(StatusCode::CONFLICT, "newer_snapshot", message));
            }
            let facts = |id: &str| catalogue.as_ref().and_then(|catalogue| catalogue.facts(id));
            let deed = proposal.deed(facts).map_err(|error| refused(error.to_string()))?;
            let decision = shared.state.decide(&caller.name, deed)?;
            let log = shared.state.decisions()?;
            let answer = DecisionAnswer::new(&decision, &Standing::of(&log), now());
            Ok((StatusCode::CREATED, Json(answer)))
        })
        .await
}
