//! The embed stage: fetched events in, embedded events out.
//!
//! Every photo ends either in its event or in the dead letters; the delta and the order of events stay as they are.

use std::collections::HashMap;

use records::{
    Batch, DeadLetter, DeadLetterReason, EmbeddedEvent, EmbeddedPhoto, FetchedEvent, FetchedPhoto,
    PhotoContent, PhotoId, PhotoKey, Picture, Pixels, Stage,
};

use crate::{EmbedError, Embedder, given};

/// Embeds a batch. Each distinct picture is embedded once, however many events of the batch own it. Blocks.
pub fn embed_events(embedder: &Embedder, batch: Batch<FetchedEvent>) -> Batch<EmbeddedEvent> {
    let embedded = embed_pictures(embedder, &batch.items);
    let mut dead = Vec::new();
    let mut events = Vec::with_capacity(batch.items.len());
    let Batch { items, dead: earlier, delta } = batch;
    for event in items {
        let (origin, account, observed_at) = (event.origin.clone(), event.account.clone(), event.observed_at);
        let mut give_up = |photo: PhotoId, reason: DeadLetterReason, detail: String| {
            let letter: DeadLetter = origin.dead_letter(Stage::Embed, reason, detail);
            metrics::counter!("facering_embed_dead_total", "reason" => reason.as_str()).increment(1);
            dead.push(letter.of_event(account.clone(), observed_at).of_photo(photo));
        };
        events.push(event.map_photos(|photos| {
            photos.into_iter().filter_map(|photo| finish(embedder, &embedded, photo, &mut give_up)).collect()
        }));
    }
    Batch { items: events, dead: earlier.into_iter().chain(dead).collect(), delta }
}

type Embedded = HashMap<PhotoKey, Result<PhotoContent, EmbedError>>;

fn embed_pictures(embedder: &Embedder, events: &[FetchedEvent]) -> Embedded {
    let mut keys: Vec<PhotoKey> = Vec::new();
    let mut distinct: HashMap<PhotoKey, &Pixels> = HashMap::new();
    for photo in events.iter().flat_map(|event| event.photos()) {
        if let Picture::Pixels(pixels) = &photo.picture
            && distinct.insert(photo.key, pixels).is_none()
        {
            keys.push(photo.key);
        }
    }
    let pictures = keys.iter().filter_map(|key| distinct.get(key).copied()).collect();
    keys.into_iter().zip(embedder.embed_batch(pictures)).collect()
}

fn finish(
    embedder: &Embedder,
    embedded: &Embedded,
    photo: FetchedPhoto,
    give_up: &mut impl FnMut(PhotoId, DeadLetterReason, String),
) -> Option<EmbeddedPhoto> {
    let FetchedPhoto { photo_id, key, picture, .. } = photo;
    let content = match picture {
        Picture::Known => None,
        Picture::Pixels(_) => match embedded.get(&key)? {
            Ok(content) => Some(content.clone()),
            Err(error) => {
                give_up(photo_id, DeadLetterReason::InferenceFailed, error.to_string());
                return None;
            }
        },
        Picture::Given(rows) => {
            let pack = embedder.pack();
            let (content, refused) = given::content_of(rows, pack.id(), pack.dimension(), embedder.config());
            for row in refused {
                give_up(row.photo, row.reason, row.detail);
            }
            Some(content?)
        }
    };
    Some(EmbeddedPhoto { photo_id, key, content })
}
