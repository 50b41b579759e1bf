//! A batch of events in, the same events with their pictures out.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use records::{
    Batch, DeadLetterReason as Reason, Encoded, EventBody, FetchedEvent, FetchedPhoto, GivenFace, PhotoId,
    PhotoKey, PhotoRef, PhotoSource, PhotoUrl, Picture, ProfileEvent, Stage, Staged, StagedBody,
};
use tokio::sync::{OnceCell, Semaphore};

use crate::client::{Client, Fetched};
use crate::memory::Memory;
use crate::{Failure, FetchConfig, FetchError, decode};

/// What the stage asks of the state.
pub trait KnownPhotos: Send + Sync {
    /// Whether the picture's faces are stored already, so that it need not be decoded and embedded again.
    fn knows(&self, key: &PhotoKey) -> bool;
}

/// The stage. Shared by as many batches as the pipeline has under way; the limits hold for all of them together.
pub struct Fetcher {
    client: Client,
    decoders: Arc<Semaphore>,
    memory: Memory,
    max_pixels: u64,
    max_bytes: u64,
    outage_hosts: usize,
}

/// What became of one source of a picture.
#[derive(Clone)]
struct Got {
    key: PhotoKey,
    file_bytes: u64,
    picture: Picture,
}

type Outcome = Result<Got, Failure>;

/// Pictures that are being decoded in this batch, so that equal bytes under several URLs are decoded once.
type Decoding = Mutex<HashMap<PhotoKey, Arc<OnceCell<Result<Picture, Failure>>>>>;

impl Fetcher {
    /// Makes the stage.
    ///
    /// # Errors
    /// [`FetchError::Setup`].
    pub fn new(config: &FetchConfig) -> Result<Self, FetchError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = if config.decode_threads == 0 { cores } else { config.decode_threads };
        Ok(Self {
            client: Client::new(config)?,
            decoders: Arc::new(Semaphore::new(threads)),
            memory: Memory::new(config.decoded_mib),
            max_pixels: config.max_pixels,
            max_bytes: config.max_bytes,
            outage_hosts: config.outage_hosts,
        })
    }

    /// Fetches and decodes the pictures of a batch. Pictures that `known` has are fetched at most, never decoded.
    ///
    /// # Errors
    /// [`FetchError::Outage`] if nobody can be reached any more; everything else is in the batch's dead letters.
    pub async fn fetch(
        &self,
        batch: Batch<ProfileEvent>,
        known: &dyn KnownPhotos,
    ) -> Result<Batch<FetchedEvent>, FetchError> {
        let urls: HashSet<&PhotoUrl> = photos(&batch.items).filter_map(url).collect();
        let inline: HashMap<PhotoKey, &Bytes> =
            photos(&batch.items).filter_map(inline).map(|bytes| (PhotoKey::of_bytes(bytes), bytes)).collect();
        let decoding = Decoding::default();
        let decoding = &decoding;
        let fetches: FuturesUnordered<_> = urls
            .iter()
            .map(|url| async move { (*url, self.fetch_url(url, known, decoding).await) })
            .collect();
        let decodes: FuturesUnordered<_> = inline
            .iter()
            .map(|(key, bytes)| async move {
                (*key, self.decode_bytes(*key, (*bytes).clone(), known, decoding).await)
            })
            .collect();
        let (by_url, by_key): (HashMap<_, _>, HashMap<_, _>) =
            futures::join!(fetches.collect(), decodes.collect());
        self.check_outage(&by_url)?;

        let mut dead = Vec::new();
        let mut items = Vec::with_capacity(batch.items.len());
        for event in &batch.items {
            let content_hash = event.content_hash();
            let body = match &event.body {
                EventBody::Deleted => StagedBody::Deleted,
                EventBody::Faces { faces, facts } => {
                    StagedBody::Add { photos: given(event, faces), facts: facts.clone() }
                }
                EventBody::Replace { photos, facts } => {
                    let mut had = Vec::with_capacity(photos.len());
                    for photo in photos {
                        let outcome = match &photo.source {
                            PhotoSource::Url(url) => by_url.get(url),
                            PhotoSource::Inline(bytes) => by_key.get(&PhotoKey::of_bytes(bytes)),
                        };
                        match outcome {
                            Some(Ok(got)) => had.push(fetched(photo, got)),
                            Some(Err(failure)) => dead.push(letter(event, photo, failure)),
                            None => {}
                        }
                    }
                    StagedBody::Replace { photos: had, facts: facts.clone() }
                }
            };
            items.push(Staged {
                account: event.account.clone(),
                observed_at: event.observed_at,
                content_hash,
                body,
                origin: event.origin.clone(),
            });
        }
        let mut batch = batch.with_items(items);
        batch.dead.extend(dead);
        Ok(batch)
    }

    async fn fetch_url(&self, url: &PhotoUrl, known: &dyn KnownPhotos, decoding: &Decoding) -> Outcome {
        let began = Instant::now();
        let fetched = self.client.get(url, known).await;
        metrics::histogram!("facering_fetch_seconds").record(began.elapsed().as_secs_f64());
        let outcome = match fetched {
            Ok(Fetched::Unchanged { key, file_bytes }) => {
                Ok(Got { key, file_bytes, picture: Picture::Known })
            }
            Ok(Fetched::File { bytes, key }) => {
                let named =
                    |failure: Failure| Failure { detail: format!("{url}: {}", failure.detail), ..failure };
                self.decode_bytes(key, bytes, known, decoding).await.map_err(named)
            }
            Err(failure) => Err(failure),
        };
        let word = outcome.as_ref().map_or_else(|failure| failure.reason.as_str(), |_| "ok");
        metrics::counter!("facering_fetch_outcomes_total", "outcome" => word).increment(1);
        outcome
    }

    async fn decode_bytes(
        &self,
        key: PhotoKey,
        bytes: Bytes,
        known: &dyn KnownPhotos,
        decoding: &Decoding,
    ) -> Outcome {
        let file_bytes = bytes.len() as u64;
        if file_bytes > self.max_bytes {
            let detail = format!("the picture is larger than {} bytes", self.max_bytes);
            return Err(Failure::new(Reason::TooLarge, detail));
        }
        if known.knows(&key) {
            return Ok(Got { key, file_bytes, picture: Picture::Known });
        }
        let cell = {
            let mut decoding = decoding.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(decoding.entry(key).or_default())
        };
        let picture = cell.get_or_init(|| self.decode(bytes)).await.clone()?;
        Ok(Got { key, file_bytes, picture })
    }

    /// Decodes on a thread where that may take its time, and no more of them at once than configured. Where too many
    /// pixels wait already, the picture waits as the file that it is.
    async fn decode(&self, bytes: Bytes) -> Result<Picture, Failure> {
        let broken = |what: String| Failure::new(Reason::CorruptImage, what);
        let max_pixels = self.max_pixels;
        let file = bytes.clone();
        let later = move || {
            metrics::counter!("facering_fetch_decoded_later_total").increment(1);
            let decode = move || decode(&file, max_pixels).map_err(|failed| (failed.reason, failed.detail));
            Picture::Encoded(Encoded::new(decode))
        };
        if self.memory.is_full() {
            return Ok(later());
        }
        let permit = Arc::clone(&self.decoders).acquire_owned().await.map_err(|e| broken(e.to_string()))?;
        let decoding = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            decode(&bytes, max_pixels)
        });
        let decoded =
            decoding.await.unwrap_or_else(|_| Err(broken("the decoder broke on this picture".into())));
        decoded.map(|pixels| self.memory.hold(pixels).map_or_else(later, Picture::Pixels))
    }

    /// Where nobody is reached any more, hosts that answered before among them, the fault lies here. Hosts that never
    /// answered do not count: otherwise one event with dead URLs could stop the run, again after each restart.
    fn check_outage(&self, by_url: &HashMap<&PhotoUrl, Outcome>) -> Result<(), FetchError> {
        if self.outage_hosts == 0 {
            return Ok(());
        }
        let mut hosts = HashSet::new();
        let mut example = None;
        for (url, outcome) in by_url {
            match outcome {
                // Refused without asking anybody, which says nothing either way.
                Err(f) if matches!(f.reason, Reason::UrlRefused | Reason::AddressRefused) => {}
                Err(f) if matches!(f.reason, Reason::Unreachable | Reason::Timeout) => {
                    if let Some(host) = self.client.answered_before(url) {
                        hosts.insert(host);
                        example = Some(f);
                    }
                }
                _ => return Ok(()),
            }
        }
        match example {
            Some(failure) if hosts.len() >= self.outage_hosts => {
                Err(FetchError::Outage { hosts: hosts.len(), example: failure.detail.clone() })
            }
            _ => Ok(()),
        }
    }
}

fn photos(events: &[ProfileEvent]) -> impl Iterator<Item = &PhotoRef> {
    events.iter().flat_map(|event| match &event.body {
        EventBody::Replace { photos, .. } => photos.as_slice(),
        EventBody::Deleted | EventBody::Faces { .. } => &[],
    })
}

fn url(photo: &PhotoRef) -> Option<&PhotoUrl> {
    match &photo.source {
        PhotoSource::Url(url) => Some(url),
        PhotoSource::Inline(_) => None,
    }
}

fn inline(photo: &PhotoRef) -> Option<&Bytes> {
    match &photo.source {
        PhotoSource::Inline(bytes) => Some(bytes),
        PhotoSource::Url(_) => None,
    }
}

fn fetched(photo: &PhotoRef, got: &Got) -> FetchedPhoto {
    FetchedPhoto {
        photo_id: photo.photo_id.clone(),
        key: got.key,
        file_bytes: got.file_bytes,
        picture: got.picture.clone(),
    }
}

fn letter(event: &ProfileEvent, photo: &PhotoRef, failure: &Failure) -> records::DeadLetter {
    event
        .origin
        .dead_letter(Stage::Fetch, failure.reason, failure.detail.clone())
        .of_event(event.account.clone(), event.observed_at)
        .of_photo(photo.photo_id.clone())
}

/// The rows of one photo are one photo, in the order in which photos first appear.
fn given(event: &ProfileEvent, faces: &[GivenFace]) -> Vec<FetchedPhoto> {
    let mut order: Vec<(&PhotoId, Vec<GivenFace>)> = Vec::new();
    let mut place: HashMap<&PhotoId, usize> = HashMap::new();
    for face in faces {
        let at = *place.entry(&face.photo_id).or_insert_with(|| {
            order.push((&face.photo_id, Vec::new()));
            order.len() - 1
        });
        if let Some((_, rows)) = order.get_mut(at) {
            rows.push(face.clone());
        }
    }
    let photo = |(photo_id, rows): (&PhotoId, Vec<GivenFace>)| {
        let hash = rows.iter().find_map(|row| row.photo_sha256);
        FetchedPhoto {
            photo_id: photo_id.clone(),
            key: hash.unwrap_or_else(|| PhotoKey::unhashed(&event.account, photo_id)),
            file_bytes: 0,
            picture: Picture::Given(rows),
        }
    };
    order.into_iter().map(photo).collect()
}
