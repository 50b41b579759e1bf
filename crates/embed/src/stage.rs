//! The embed stage: fetched events in, embedded events out.
//!
//! Every photo ends either in its event or in the dead letters; the delta and the order of events stay as they are.

use std::collections::{HashMap, HashSet};

use rayon::prelude::*;
use records::{
    Batch, DeadLetter, DeadLetterReason, EmbeddedEvent, EmbeddedPhoto, Encoded, FetchedEvent, FetchedPhoto,
    PhotoContent, PhotoId, PhotoKey, Picture, Pixels, Stage,
};

use crate::{Embedder, given};

/// Embeds a batch. Each distinct picture is embedded once, however many events of the batch own it. Blocks.
pub fn embed_events(embedder: &Embedder, batch: Batch<FetchedEvent>) -> Batch<EmbeddedEvent> {
    let embedded = embed_pictures(embedder, &batch.items);
    let mut dead = Vec::new();
    let mut events = Vec::with_capacity(batch.items.len());
    let Batch { items, dead: earlier, delta } = batch;
    for event in items {
        let (origin, account, observed_at) = (event.origin.clone(), event.account.clone(), event.observed_at);
        let mut give_up = |photo: PhotoId, GivenUp { stage, reason, detail }: GivenUp| {
            let letter: DeadLetter = origin.dead_letter(stage, reason, detail);
            metrics::counter!("facering_embed_dead_total", "reason" => reason.as_str()).increment(1);
            dead.push(letter.of_event(account.clone(), observed_at).of_photo(photo));
        };
        events.push(event.map_photos(|photos| {
            photos.into_iter().filter_map(|photo| finish(embedder, &embedded, photo, &mut give_up)).collect()
        }));
    }
    Batch { items: events, dead: earlier.into_iter().chain(dead).collect(), delta }
}

/// Why a photo was given up.
#[derive(Clone)]
struct GivenUp {
    stage: Stage,
    reason: DeadLetterReason,
    detail: String,
}

type Embedded = HashMap<PhotoKey, Result<PhotoContent, GivenUp>>;

/// Pictures decoded here are decoded until their pixels take this much.
const DECODED_AT_ONCE: usize = 64 << 20;

fn embed_pictures(embedder: &Embedder, events: &[FetchedEvent]) -> Embedded {
    let mut seen: HashSet<PhotoKey> = HashSet::new();
    let (mut decoded, mut encoded) = (Vec::new(), Vec::new());
    for photo in events.iter().flat_map(|event| event.photos()) {
        match &photo.picture {
            Picture::Pixels(pixels) if seen.insert(photo.key) => decoded.push((photo.key, pixels)),
            Picture::Encoded(picture) if seen.insert(photo.key) => encoded.push((photo.key, picture)),
            _ => {}
        }
    }
    let mut embedded = embed_pixels(embedder, decoded);
    embed_encoded(embedder, &encoded, &mut embedded);
    embedded
}

fn embed_pixels(embedder: &Embedder, pictures: Vec<(PhotoKey, &Pixels)>) -> Embedded {
    let (keys, pictures): (Vec<PhotoKey>, Vec<&Pixels>) = pictures.into_iter().unzip();
    let failed = |error: crate::EmbedError| GivenUp {
        stage: Stage::Embed,
        reason: DeadLetterReason::InferenceFailed,
        detail: error.to_string(),
    };
    keys.into_iter().zip(embedder.embed_batch(pictures).into_iter().map(|r| r.map_err(failed))).collect()
}

/// Decodes a few pictures, embeds them, drops their pixels, and goes on with the next.
fn embed_encoded(embedder: &Embedder, mut pictures: &[(PhotoKey, &Encoded)], embedded: &mut Embedded) {
    let step = rayon::current_num_threads().max(1);
    while !pictures.is_empty() {
        let (mut decoded, mut bytes): (Vec<(PhotoKey, Pixels)>, usize) = (Vec::new(), 0);
        while !pictures.is_empty()
            && decoded.len() < embedder.config().detect_batch
            && bytes < DECODED_AT_ONCE
        {
            let (few, rest) = pictures.split_at(step.min(pictures.len()));
            pictures = rest;
            let results: Vec<_> = few.par_iter().map(|(key, picture)| (*key, picture.decode())).collect();
            for (key, result) in results {
                match result {
                    Ok(pixels) => {
                        bytes += pixels.rgb.len();
                        decoded.push((key, pixels));
                    }
                    Err((reason, detail)) => {
                        embedded.insert(key, Err(GivenUp { stage: Stage::Fetch, reason, detail }));
                    }
                }
            }
        }
        embedded.extend(embed_pixels(embedder, decoded.iter().map(|(key, p)| (*key, p)).collect()));
    }
}

fn finish(
    embedder: &Embedder,
    embedded: &Embedded,
    photo: FetchedPhoto,
    give_up: &mut impl FnMut(PhotoId, GivenUp),
) -> Option<EmbeddedPhoto> {
    let FetchedPhoto { photo_id, key, picture, .. } = photo;
    let content = match picture {
        Picture::Known => None,
        Picture::Pixels(_) | Picture::Encoded(_) => match embedded.get(&key)? {
            Ok(content) => Some(content.clone()),
            Err(given_up) => {
                give_up(photo_id, given_up.clone());
                return None;
            }
        },
        Picture::Given(rows) => {
            let pack = embedder.pack();
            let (content, refused) = given::content_of(rows, pack.id(), pack.dimension(), embedder.config());
            for row in refused {
                let given_up = GivenUp { stage: Stage::Embed, reason: row.reason, detail: row.detail };
                give_up(row.photo, given_up);
            }
            Some(content?)
        }
    };
    Some(EmbeddedPhoto { photo_id, key, content })
}
