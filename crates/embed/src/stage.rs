//! The embed stage: fetched events in, embedded events out.
//!
//! Every photo ends either in its event or in the dead letters; the delta and the order of events stay as they are. A
//! picture is embedded once, however many events show it, also if they come in batches one after the other.

use std::collections::{HashMap, HashSet};

use rayon::prelude::*;
use records::{
    Batch, DeadLetter, DeadLetterReason, EmbeddedEvent, EmbeddedPhoto, Encoded, FetchedEvent, FetchedPhoto,
    PhotoContent, PhotoId, PhotoKey, Picture, Pixels, Stage,
};

use crate::in_flight::{Asked, Duty, Held};
use crate::{Embedder, given};

/// What the stage asks of the state.
pub trait StoredPhotos {
    /// Whether the picture's faces are stored.
    fn stores(&self, key: &PhotoKey) -> bool;
}

/// Keeps what was found on a batch's pictures at hand for the batches after it. To be dropped when the batch is in the
/// state, where they find it from then on.
pub struct Uncommitted {
    _held: Vec<Held<Outcome>>,
}

/// Embeds a batch. Each distinct picture is embedded once, however many events own it, of this batch or of others that
/// are not committed yet. Blocks.
pub fn embed_events(
    embedder: &Embedder,
    batch: Batch<FetchedEvent>,
    stored: &dyn StoredPhotos,
) -> (Batch<EmbeddedEvent>, Uncommitted) {
    let (embedded, held) = embed_pictures(embedder, &batch.items, stored);
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
    let batch = Batch { items: events, dead: earlier.into_iter().chain(dead).collect(), delta };
    (batch, Uncommitted { _held: held })
}

/// Why a photo was given up.
#[derive(Clone)]
pub(crate) struct GivenUp {
    stage: Stage,
    reason: DeadLetterReason,
    detail: String,
}

/// What became of a picture; no content if the state has it.
pub(crate) type Outcome = Result<Option<PhotoContent>, GivenUp>;

type Embedded = HashMap<PhotoKey, Outcome>;

/// Pictures decoded here are decoded until their pixels take this much.
const DECODED_AT_ONCE: usize = 64 << 20;

fn embed_pictures(
    embedder: &Embedder,
    events: &[FetchedEvent],
    stored: &dyn StoredPhotos,
) -> (Embedded, Vec<Held<Outcome>>) {
    let in_flight = &embedder.core.in_flight;
    in_flight.tidy();
    let mut seen: HashSet<PhotoKey> = HashSet::new();
    let distinct = events.iter().flat_map(|event| event.photos()).filter_map(|photo| {
        let shown = matches!(photo.picture, Picture::Pixels(_) | Picture::Encoded(_));
        (shown && seen.insert(photo.key)).then_some((photo.key, &photo.picture))
    });
    let (mut duties, mut others, mut own) = (HashMap::new(), Vec::new(), Vec::new());
    let mut embedded = Embedded::new();
    for (key, picture) in distinct {
        match in_flight.ask(key) {
            Asked::Other(held) => others.push((key, picture, held)),
            // Asked of the state after it was not found in flight: what leaves there is committed.
            Asked::First(_) if stored.stores(&key) => drop(embedded.insert(key, Ok(None))),
            Asked::First(duty) => {
                duties.insert(key, duty);
                own.push((key, picture));
            }
        }
    }
    embed_each(embedder, &own, &mut embedded);
    let mut held: Vec<Held<Outcome>> = Vec::with_capacity(duties.len() + others.len());
    let answer = |(key, duty): (PhotoKey, Duty<Outcome>)| Some(duty.answer(embedded.get(&key)?.clone()));
    held.extend(duties.into_iter().filter_map(answer));
    let mut left = Vec::new();
    for (key, picture, other) in others {
        match other.wait() {
            Some(outcome) => {
                embedded.insert(key, outcome);
                held.push(other);
            }
            None if stored.stores(&key) => drop(embedded.insert(key, Ok(None))),
            None => left.push((key, picture)),
        }
    }
    embed_each(embedder, &left, &mut embedded);
    (embedded, held)
}

fn embed_each(embedder: &Embedder, pictures: &[(PhotoKey, &Picture)], embedded: &mut Embedded) {
    let (mut decoded, mut encoded) = (Vec::new(), Vec::new());
    for (key, picture) in pictures {
        match picture {
            Picture::Pixels(pixels) => decoded.push((*key, pixels)),
            Picture::Encoded(picture) => encoded.push((*key, picture)),
            Picture::Known | Picture::Given(_) => {}
        }
    }
    embedded.extend(embed_pixels(embedder, decoded));
    embed_encoded(embedder, &encoded, embedded);
}

fn embed_pixels(embedder: &Embedder, pictures: Vec<(PhotoKey, &Pixels)>) -> Embedded {
    let (keys, pictures): (Vec<PhotoKey>, Vec<&Pixels>) = pictures.into_iter().unzip();
    let failed = |error: crate::EmbedError| GivenUp {
        stage: Stage::Embed,
        reason: DeadLetterReason::InferenceFailed,
        detail: error.to_string(),
    };
    let outcomes = embedder.embed_batch(pictures).into_iter().map(|found| found.map(Some).map_err(failed));
    keys.into_iter().zip(outcomes).collect()
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
            Ok(content) => content.clone(),
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
