//! One account as the state knows it now.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, State};
use axum::response::Response;
use records::Standing;
use serde::Serialize;

use super::queue::score;
use super::{Frame, day, minute, render};
use crate::decisions_api::{DecisionAnswer, now};
use crate::errors::ApiError;
use crate::shared::Shared;
use crate::state::StateError;
use crate::tables_api::account_id;
use crate::tokens::Caller;

/// Photos shown.
const MOST_PHOTOS: usize = 60;

#[derive(Serialize)]
struct AccountPage {
    id: String,
    username: Option<String>,
    full_name: Option<String>,
    facts: Vec<(&'static str, String)>,
    observed: String,
    photos: Vec<Photo>,
    photos_left: usize,
    places: Vec<Place>,
    decisions: Vec<DecisionAnswer>,
}

#[derive(Serialize)]
struct Photo {
    id: String,
    picture: String,
    faces: Vec<String>,
    image: bool,
}

#[derive(Serialize)]
struct Place {
    cluster: String,
    role: &'static str,
    score: String,
}

/// An account.
pub(crate) async fn account(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let id = account_id(&id)?;
    shared
        .blocking(move |shared| {
            let view = shared.state.account(&id)?.ok_or_else(|| ApiError::not_found("account"))?;
            let catalogue = match shared.catalogue() {
                Ok(catalogue) => Some(catalogue),
                Err(StateError::NotReady(_)) => None,
                Err(error) => return Err(error.into()),
            };
            let places = catalogue.iter().flat_map(|catalogue| catalogue.memberships(&id));
            let places = places.map(|row| Place {
                cluster: row.cluster_id.clone(),
                role: row.role.as_str(),
                score: score(row.score),
            });
            let mut photos = Vec::new();
            for photo in view.photos.iter().take(MOST_PHOTOS) {
                photos.push(Photo {
                    id: photo.photo_id.to_string(),
                    picture: photo.picture.to_string(),
                    faces: photo.faces.iter().map(ToString::to_string).collect(),
                    image: shared.state.thumbnail(&photo.picture)?.is_some(),
                });
            }
            let log = shared.state.decisions()?;
            let standing = Standing::of(&log);
            let named = log.iter().rev().filter(|decision| {
                matches!(&decision.deed, records::Deed::Allow { subject: records::Allowed::Account(a), .. } if *a == id)
            });
            let decisions = named.map(|d| DecisionAnswer::new(d, &standing, now())).collect();
            let number = |n: Option<i64>| n.map_or_else(|| "–".to_owned(), |n| n.to_string());
            let facts = &view.facts;
            let page = AccountPage {
                id: id.to_string(),
                username: facts.username.clone().filter(|name| !name.trim().is_empty()),
                full_name: facts.full_name.clone().filter(|name| !name.trim().is_empty()),
                facts: vec![
                    ("Followers", number(facts.followers)),
                    ("Follows", number(facts.following)),
                    ("Posts", number(facts.posts)),
                    ("Created", facts.created_at.map_or_else(|| "–".to_owned(), day)),
                    ("Verified", if facts.verified == Some(true) { "yes".into() } else { "no".into() }),
                ],
                observed: minute(view.observed_at),
                photos_left: view.photos.len().saturating_sub(MOST_PHOTOS),
                photos,
                places: places.collect(),
                decisions,
            };
            render("account.html", &Frame::of(&caller, shared), page)
        })
        .await
}
