//! Profile events of a population, as a crawler that comes by several times would report them.

use records::{
    AccountId, EventBody, Origin, PartitionId, PhotoId, PhotoRef, PhotoSource, PhotoUrl, Position,
    ProfileEvent,
};
use serde_json::{Value, json};

use crate::population::{Account, Photo};

/// How often an account is crawled at most.
const VISITS: usize = 3;

/// Path of a photo's file, relative to the folder of a population and to the prefix of its URLs.
pub fn photo_path(account: &AccountId, photo: &PhotoId) -> String {
    format!("photos/{account}/{photo}.jpg")
}

/// The events of these accounts by time: each account is seen up to three times, every event holding the whole set of
/// photos it shows by then. A photo's URL is the prefix and its [`photo_path`].
pub fn events(accounts: &[Account], url_prefix: &str) -> Vec<ProfileEvent> {
    let mut events: Vec<ProfileEvent> =
        accounts.iter().flat_map(|account| visits(account, url_prefix)).collect();
    events.sort_by(|a, b| (a.observed_at, &a.account).cmp(&(b.observed_at, &b.account)));
    for (position, event) in events.iter_mut().enumerate() {
        event.origin = Origin::row(PartitionId::file("simulated"), Position(position as u64));
    }
    events
}

fn visits<'a>(account: &'a Account, url_prefix: &'a str) -> impl Iterator<Item = ProfileEvent> + 'a {
    let photos = account.photos.len();
    let visits = VISITS.min(photos).max(1);
    (1..=visits).filter_map(move |visit| {
        let seen = account.photos.get(..photos * visit / visits)?;
        // The last of them was seen first just then.
        let observed_at = seen.last()?.observed_at;
        let photo = |photo: &Photo| PhotoRef {
            photo_id: photo.id.clone(),
            source: PhotoSource::Url(PhotoUrl::new(format!(
                "{url_prefix}{}",
                photo_path(&account.id, &photo.id)
            ))),
        };
        Some(ProfileEvent {
            account: account.id.clone(),
            observed_at,
            body: EventBody::Replace {
                photos: seen.iter().map(photo).collect(),
                facts: account.facts.clone(),
            },
            origin: Origin::row(PartitionId::file("simulated"), Position(0)),
        })
    })
}

/// The event as the value of a Kafka message of the topic `profiles`. None for a deletion, which is a null value, and
/// for what Kafka does not carry (inline pictures, rows of faces).
pub fn event_json(event: &ProfileEvent) -> Option<String> {
    let EventBody::Replace { photos, facts } = &event.body else { return None };
    let photos: Option<Vec<Value>> = photos
        .iter()
        .map(|photo| match &photo.source {
            PhotoSource::Url(url) => Some(json!({ "photo_id": photo.photo_id, "url": url.expose() })),
            PhotoSource::Inline(_) => None,
        })
        .collect();
    let value = json!({
        "account_id": event.account,
        "observed_at": event.observed_at,
        "photos": photos?,
        "username": facts.username,
        "full_name": facts.full_name,
        "followers": facts.followers,
        "following": facts.following,
        "posts": facts.posts,
        "created_at": facts.created_at,
        "verified": facts.verified,
    });
    Some(value.to_string())
}
