//! How pictures get through the two networks: prepared and followed up on all cores; GPUs are given shared batches.
//!
//! ```text
//! place on a canvas -> [queue] -> detector -> again with a border? -> align, judge, hash -> [queue] -> embedder -> done
//!    any core                    worker         any core                any core                      worker
//! ```
//!
//! That is for GPUs. On the processor there are no queues and no workers: the core that placed a picture on a canvas goes
//! on with it to the end, in sessions of its own, so that nothing it works on leaves its caches. Further looks are made there
//! on smaller canvases; a GPU sees canvases of one side only.
//!
//! Invariants:
//! - A GPU has one session of each network; its workers feed it in turn, so that it never waits for a core.
//! - A task on the cores never waits for a GPU: what comes next is started by whoever has the result.
//! - Whoever holds a session of the processor does not wait for other tasks of the cores: one of them could ask for it too.
//! - Only so many pictures are on the way at once ([`Room`]); whoever brings more waits.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use inference::{Feed, RunError, Session};
use records::{Embedding, Face, Pdq, PhotoContent, PhotoFacts, PhotoKey, Pixels, Quality};

use crate::align::{FACE_SIDE, Similarity};
use crate::canvas::{Canvas, lend};
use crate::clock::{Clock, Part};
use crate::detect::{CanvasFeed, Detection, Detector};
use crate::in_flight::InFlight;
use crate::looks::{LOOKS, Look, Looks, NARROW_LOOKS};
use crate::queue::{Coming, Queue};
use crate::recognise::Recogniser;
use crate::resize::Rgb;
use crate::stage::Outcome;
use crate::warp::warp;
use crate::{EmbedConfig, EmbedError, ModelPack, PackError, pdq, quality, thumbnail};

/// Side of the aligned face that is hashed, so that two crops of one picture agree.
const MARGIN_SIDE: usize = 128;
/// How much larger than in 112 pixels the template is there: it takes 91% of the side. A wider margin holds more
/// background, but tight crops have none. Measured on portraits cropped at 30% (50%) of the face's size around it, resized
/// and compressed again: median distance 38 (30), 90% under 70 (60), where 99% of the pairs of different people are over
/// 86.
const MARGIN_SCALE: f64 = 1.04;

/// Batches' worth of pictures on the way for each device: one in the detector, one before it, and as many behind it.
const BATCHES_ON_THE_WAY: usize = 4;

/// Everything the tasks and workers share.
pub struct Core {
    pub pack: ModelPack,
    pub detector: Detector,
    pub recogniser: Recogniser,
    pub config: EmbedConfig,
    pub clock: Clock,
    /// What was found on pictures that are not committed yet.
    pub in_flight: InFlight<PhotoKey, Outcome>,
    canvases: Arc<Queue<Sighting>>,
    faces: Arc<Queue<FaceOf>>,
    /// How pictures are looked at.
    looks: &'static [Look],
    /// Memory for the detector's sessions on the processor, for each look; empty if it runs on GPUs.
    see: Vec<Mutex<Vec<CanvasFeed>>>,
    /// The same for the embedder.
    know: Vec<Mutex<Feed>>,
    room: Arc<Room>,
    /// Threads of its own: on the common ones long computations of other stages would stand before every picture.
    cores: rayon::ThreadPool,
}

/// Where the result of the picture with this number goes.
pub type Answer = Sender<(usize, Result<PhotoContent, EmbedError>)>;

/// A picture on its way to the detector or back.
struct Job {
    at: usize,
    pixels: Pixels,
    looks: Looks,
    answer: Answer,
    seat: Seat,
    /// Lets the embedder wait for this picture's faces.
    coming: Coming<FaceOf>,
}

/// A picture that waits for the detector.
struct Sighting {
    job: Job,
    canvas: Canvas,
}

/// A face before it is embedded.
pub struct Draft {
    detection: Detection,
    pub aligned: Vec<u8>,
    quality: Quality,
    pdq: Option<(Pdq, Pdq)>,
}

/// A picture before its faces are embedded.
pub struct Prepared {
    pub faces: Vec<Draft>,
    pdq: Option<(Pdq, Pdq)>,
    thumbnail: Option<bytes::Bytes>,
}

/// A picture whose faces wait for the embedder.
struct Pending {
    at: usize,
    size: (u32, u32),
    prepared: Prepared,
    embeddings: Mutex<Vec<Option<Result<Embedding, EmbedError>>>>,
    answer: Answer,
    _seat: Seat,
}

/// One of its faces.
struct FaceOf {
    picture: Arc<Pending>,
    number: usize,
}

impl Core {
    pub fn new(
        pack: ModelPack,
        detector: Detector,
        recogniser: Recogniser,
        config: EmbedConfig,
    ) -> Result<Arc<Self>, PackError> {
        let failed = |source: RunError| PackError::Run { pack: pack.id().clone(), source: source.into() };
        let threads = |error: rayon::ThreadPoolBuildError| PackError::Threads {
            pack: pack.id().clone(),
            detail: error.to_string(),
        };
        let wait = Duration::from_millis(config.batch_wait_ms);
        let on_the_way = BATCHES_ON_THE_WAY * config.detect_batch.max(1) * detector.sessions().len().max(1);
        let cores = rayon::ThreadPoolBuilder::new()
            .num_threads(config.threads)
            .thread_name(|number| format!("embed {number}"))
            .build()
            .map_err(threads)?;
        let direct = |sessions: &[Session]| 0..if on_processor(sessions) { sessions.len() } else { 0 };
        let side = detector.side();
        let narrow = NARROW_LOOKS.iter().all(|look| detector.takes(look.side(side)));
        let looks = if narrow { &NARROW_LOOKS } else { &LOOKS };
        let looks = if config.retry_with_border { &looks[..] } else { &looks[..1] };
        let sight = |session| {
            let feeds = looks.iter().map(|look| detector.feed(session, look.side(side), 1));
            feeds.collect::<Result<Vec<_>, _>>().map(Mutex::new)
        };
        let see = direct(detector.sessions()).map(sight).collect::<Result<_, _>>().map_err(failed)?;
        let know = direct(recogniser.sessions())
            .map(|session| recogniser.feed(session, config.embed_batch).map(Mutex::new))
            .collect::<Result<_, _>>()
            .map_err(failed)?;
        Ok(Arc::new(Self {
            cores,
            canvases: Queue::new(config.detect_batch, wait),
            faces: Queue::new(config.embed_batch, wait),
            looks,
            see,
            know,
            room: Arc::new(Room { free: Mutex::new(on_the_way), changed: Condvar::new() }),
            clock: Clock::default(),
            in_flight: InFlight::default(),
            pack,
            detector,
            recogniser,
            config,
        }))
    }

    /// Runs a task on any core. A panic would end the process there; here it loses that picture, whose caller notices.
    fn spawn(&self, task: impl FnOnce() + Send + 'static) {
        self.cores.spawn(move || {
            if catch_unwind(AssertUnwindSafe(task)).is_err() {
                tracing::error!("a picture was lost by a fault in the program");
            }
        });
    }

    /// Starts a picture on its way; waits while too many are. Not to be called on a core's own task.
    pub fn start(self: &Arc<Self>, at: usize, pixels: Pixels, answer: Answer) {
        let seat = Room::take(&self.room);
        let coming = self.faces.announce();
        let job = Job { at, pixels, looks: Looks::new(self.looks), answer, seat, coming };
        let (core, canvas) = (Arc::clone(self), self.canvases.announce());
        self.spawn(move || {
            core.look(job);
            drop(canvas);
        });
    }

    /// Ends the workers when everything on the way is through.
    pub fn close(&self) {
        self.canvases.close();
        self.faces.close();
    }

    fn detect(
        &self,
        session: usize,
        feed: &mut CanvasFeed,
        canvases: &[&Canvas],
    ) -> Vec<Result<Vec<Detection>, EmbedError>> {
        metrics::histogram!("facering_embed_batch_size", "network" => "detector")
            .record(canvases.len() as f64);
        self.clock.time(Part::Detection, || {
            let (found, network) = self.detector.detect(session, feed, canvases);
            self.clock.ran(network);
            found
        })
    }

    fn recognise(
        &self,
        session: usize,
        feed: &mut Feed,
        crops: &[&[u8]],
    ) -> Vec<Result<Embedding, EmbedError>> {
        metrics::histogram!("facering_embed_batch_size", "network" => "embedder").record(crops.len() as f64);
        self.clock.time(Part::Embedding, || {
            let (embeddings, network) = self.recogniser.embed(session, feed, crops);
            self.clock.ran(network);
            embeddings
        })
    }

    /// The loop of a worker that feeds the detector.
    pub fn find(self: &Arc<Self>, device: usize, mut feed: CanvasFeed) {
        self.canvases.work(|batch| {
            let canvases: Vec<&Canvas> = batch.iter().map(|sighting| &sighting.canvas).collect();
            let found = self.detect(device, &mut feed, &canvases);
            for (Sighting { job, .. }, found) in batch.into_iter().zip(found) {
                let core = Arc::clone(self);
                self.spawn(move || core.seen(job, found));
            }
        });
    }

    /// The loop of a worker that feeds the embedder.
    pub fn embed(self: &Arc<Self>, device: usize, mut feed: Feed) {
        self.faces.work(|batch| {
            let crops: Vec<&[u8]> = batch
                .iter()
                .map(|face| face.picture.prepared.faces[face.number].aligned.as_slice())
                .collect();
            let embeddings = self.recognise(device, &mut feed, &crops);
            for (face, embedding) in batch.iter().zip(embeddings) {
                self.embedded(face, embedding);
            }
        });
    }

    fn look(self: &Arc<Self>, job: Job) {
        let look = job.looks.look();
        match Canvas::new(&job.pixels, look.side(self.detector.side()), look.border, self.detector.cells()) {
            Ok(canvas) => match own(&self.see) {
                Some((session, feeds)) => {
                    // Let go of before a further look asks for it.
                    let found = self.detect(session, &mut lock(feeds)[job.looks.current()], &[&canvas]).pop();
                    self.seen(job, found.unwrap_or(Err(EmbedError::Lost)));
                }
                None => {
                    let canvas = self.clock.time(Part::Detection, || canvas.scaled());
                    self.canvases.push([Sighting { job, canvas }]);
                }
            },
            Err(error) => drop(job.answer.send((job.at, Err(error)))),
        }
    }

    fn seen(self: &Arc<Self>, mut job: Job, found: Result<Vec<Detection>, EmbedError>) {
        let picture = match lend(&job.pixels) {
            Ok(picture) => picture,
            Err(error) => return drop(job.answer.send((job.at, Err(error)))),
        };
        let faces = match found {
            Ok(faces) => faces,
            Err(error) if job.looks.found().is_empty() => {
                return drop(job.answer.send((job.at, Err(error))));
            }
            Err(_) => Vec::new(),
        };
        let threshold = self.pack.description().detector.score_threshold;
        let Some(found) = job.looks.saw(faces, &picture, threshold) else { return self.look(job) };
        let prepared = self.prepare(picture, found);
        let size = (job.pixels.width, job.pixels.height);
        let Job { at, answer, seat, coming, .. } = job;
        if prepared.faces.is_empty() {
            return drop(answer.send((at, Ok(self.content(size, &prepared, Vec::new())))));
        }
        if let Some((session, feed)) = own(&self.know) {
            let crops: Vec<&[u8]> = prepared.faces.iter().map(|face| face.aligned.as_slice()).collect();
            let embeddings = self.recognise(session, &mut lock(feed), &crops);
            let all: Result<Vec<Embedding>, EmbedError> = embeddings.into_iter().collect();
            return drop(answer.send((at, all.map(|all| self.content(size, &prepared, all)))));
        }
        let count = prepared.faces.len();
        let embeddings = Mutex::new((0..count).map(|_| None).collect());
        let picture = Arc::new(Pending { at, size, prepared, embeddings, answer, _seat: seat });
        self.faces.push((0..count).map(|number| FaceOf { picture: Arc::clone(&picture), number }));
        drop(coming);
    }

    pub fn prepare(&self, picture: Rgb<'_>, detections: Vec<Detection>) -> Prepared {
        let align = |detection: Detection| {
            let similarity = Similarity::to_template(&detection.landmarks, 1.0, 0.0)?;
            let aligned = warp(picture, &similarity, FACE_SIDE);
            let quality = quality::judge(&detection, &aligned, &self.config);
            Some(Draft { detection, aligned, quality, pdq: None })
        };
        let mut faces: Vec<Draft> = self.clock.time(Part::Alignment, || {
            detections.into_iter().take(self.config.max_faces).filter_map(align).collect()
        });
        self.clock.time(Part::Hash, || {
            for face in &mut faces {
                face.pdq = hash_with_margin(picture, &face.detection);
            }
            let longest = self.config.thumbnail_px;
            Prepared {
                faces,
                pdq: pdq::hash(picture),
                thumbnail: self.config.thumbnails.then(|| thumbnail::thumbnail(picture, longest)).flatten(),
            }
        })
    }

    /// Notes a face's embedding; the last one of a picture finishes it.
    fn embedded(&self, face: &FaceOf, embedding: Result<Embedding, EmbedError>) {
        let picture = &face.picture;
        let mut embeddings = picture.embeddings.lock().unwrap_or_else(PoisonError::into_inner);
        embeddings[face.number] = Some(embedding);
        if embeddings.iter().all(Option::is_some) {
            let all: Result<Vec<Embedding>, EmbedError> = embeddings.drain(..).flatten().collect();
            let content = all.map(|embeddings| self.content(picture.size, &picture.prepared, embeddings));
            // Nobody waits any more only if the caller was unwound.
            drop(picture.answer.send((picture.at, content)));
        }
    }

    fn content(&self, size: (u32, u32), prepared: &Prepared, embeddings: Vec<Embedding>) -> PhotoContent {
        let face = |(at, (draft, embedding)): (usize, (&Draft, Embedding))| Face {
            place: Some((draft.detection.place, draft.detection.landmarks)),
            quality: draft.quality,
            main: at == 0,
            eye_alignment: quality::eye_alignment(size, &draft.detection.landmarks),
            pdq: draft.pdq.map(|(plain, _)| plain),
            pdq_mirrored: draft.pdq.map(|(_, mirrored)| mirrored),
            embedding,
        };
        PhotoContent {
            facts: PhotoFacts {
                size,
                hashed: true,
                pdq: prepared.pdq.map(|(plain, _)| plain),
                pdq_mirrored: prepared.pdq.map(|(_, mirrored)| mirrored),
                pack: self.pack.id().clone(),
            },
            faces: prepared.faces.iter().zip(embeddings).enumerate().map(face).collect(),
            partial: false,
            thumbnail: prepared.thumbnail.clone(),
        }
    }
}

/// Whether a network runs on the processor.
pub fn on_processor(sessions: &[Session]) -> bool {
    sessions.iter().all(|session| !session.provider().is_gpu())
}

/// The session, and its memory, of the core that asks; cores share them where there are more of those. `None` without any.
fn own<F>(feeds: &[Mutex<F>]) -> Option<(usize, &Mutex<F>)> {
    let session = rayon::current_thread_index().unwrap_or(0) % feeds.len().max(1);
    feeds.get(session).map(|feed| (session, feed))
}

fn lock<F>(feed: &Mutex<F>) -> MutexGuard<'_, F> {
    feed.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bounds how many pictures are on the way.
struct Room {
    free: Mutex<usize>,
    changed: Condvar,
}

/// A picture's right to be on the way.
struct Seat(Arc<Room>);

impl Room {
    fn take(room: &Arc<Self>) -> Seat {
        let free = room.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free =
            room.changed.wait_while(free, |free| *free == 0).unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        Seat(Arc::clone(room))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.changed.notify_one();
    }
}

/// PDQ of the aligned face with a margin, and of its mirror image.
fn hash_with_margin(picture: Rgb<'_>, detection: &Detection) -> Option<(Pdq, Pdq)> {
    let shift = (MARGIN_SIDE as f64 - FACE_SIDE as f64 * MARGIN_SCALE) / 2.0;
    let similarity = Similarity::to_template(&detection.landmarks, MARGIN_SCALE, shift)?;
    let crop = warp(picture, &similarity, MARGIN_SIDE);
    pdq::hash(Rgb { width: MARGIN_SIDE, height: MARGIN_SIDE, data: &crop })
}
