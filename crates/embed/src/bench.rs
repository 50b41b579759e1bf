//! Is a pack sound, and how fast is it here: `facering models verify` and `facering models bench`.

use std::time::{Duration, Instant};

use bytes::Bytes;
use inference::Runtime;
use records::Pixels;

use crate::align::FACE_SIDE;
use crate::canvas::{Canvas, lend};
use crate::clock::PARTS;
use crate::noise::noise;
use crate::{EmbedConfig, EmbedError, Embedder, ModelPack, PackError};

/// One thing that was checked.
#[derive(Debug)]
pub struct Check {
    /// What was checked, for a person.
    pub name: &'static str,
    /// What is wrong; `None` if nothing is.
    pub trouble: Option<PackError>,
}

/// Checks a pack: its files' hashes, then that both networks load, take and give what the description says, and give a
/// face the same embedding in a batch as alone. Stops at the first check that fails.
pub fn verify(runtime: &Runtime, pack: &ModelPack) -> Vec<Check> {
    let mut checks = vec![Check {
        name: "the files have the hashes of the description",
        trouble: pack.verify_files().err(),
    }];
    if checks.iter().all(|check| check.trouble.is_none()) {
        let loaded = Embedder::new(runtime, pack, EmbedConfig::default());
        checks.push(Check {
            name: "the networks load, fit the description and give the same in a batch as alone",
            trouble: loaded.err(),
        });
    }
    checks
}

/// How fast the networks are by themselves in batches of one size.
#[derive(Clone, PartialEq, Debug, serde::Serialize)]
pub struct NetworkSpeed {
    /// Faces a second through the embedder.
    pub embedding_faces_per_second: f64,
    /// Pictures a second through the detector.
    pub detection_pictures_per_second: f64,
}

/// Seconds spent so far, for the difference of two.
#[derive(Clone, PartialEq, Debug)]
pub struct Spent {
    /// In each part, by name, over all threads: detection, alignment, embedding and hashing.
    pub parts: Vec<(&'static str, f64)>,
    /// In the two networks alone.
    pub networks: f64,
}

/// Median milliseconds of the work around the networks for one picture, on one thread.
#[derive(Clone, PartialEq, Debug, serde::Serialize)]
pub struct Around {
    /// Scaling to the detector's canvas.
    pub resize: f64,
    /// Writing the canvas and the faces as the networks take them, and reading what they give.
    pub feed_and_read: f64,
    /// Cutting the faces out, judging them, and hashing them and the picture.
    pub align_and_hash: f64,
}

impl Embedder {
    /// Seconds spent so far.
    pub fn spent(&self) -> Spent {
        let (parts, networks) = self.core.clock.seconds();
        Spent { parts: PARTS.iter().zip(parts).map(|((_, name), spent)| (*name, spent)).collect(), networks }
    }

    /// Runs each network over and over for at least `at_least` on batches of `batch`, in all of its sessions at once.
    ///
    /// # Errors
    /// [`EmbedError`] if a network fails.
    pub fn bench_networks(&self, batch: usize, at_least: Duration) -> Result<NetworkSpeed, EmbedError> {
        let (core, batch) = (&self.core, batch.max(1));
        let side = core.detector.side();
        let picture = Pixels { width: side as u32, height: side as u32, rgb: Bytes::from(noise(side, 3)) };
        let canvas = Canvas::new(&picture, side, 0.0, None)?.scaled();
        let canvases: Vec<&Canvas> = vec![&canvas; batch];
        let detection_pictures_per_second = side_by_side(core.detector.sessions().len(), |device| {
            let mut feed = core.detector.feed(device, side, batch)?;
            rate(batch, at_least, || {
                let (found, network) = core.detector.detect(device, &mut feed, &canvases);
                found.into_iter().collect::<Result<Vec<_>, _>>().map(|_| network)
            })
        })?;
        let face = noise(FACE_SIDE, 3);
        let faces: Vec<&[u8]> = vec![&face; batch];
        let embedding_faces_per_second = side_by_side(core.recogniser.sessions().len(), |device| {
            let mut feed = core.recogniser.feed(device, batch)?;
            rate(batch, at_least, || {
                let (found, network) = core.recogniser.embed(device, &mut feed, &faces);
                found.into_iter().collect::<Result<Vec<_>, _>>().map(|_| network)
            })
        })?;
        Ok(NetworkSpeed { embedding_faces_per_second, detection_pictures_per_second })
    }

    /// Does everything but the networks' own work, one picture after another on this thread, for at least `at_least`. No
    /// pictures: all zeros.
    ///
    /// # Errors
    /// [`EmbedError`] if a picture cannot be embedded.
    pub fn bench_around(&self, pictures: &[Pixels], at_least: Duration) -> Result<Around, EmbedError> {
        let core = &self.core;
        let side = core.detector.side();
        let (mut see, mut know) = (core.detector.feed(0, side, 1)?, core.recogniser.feed(0, 1)?);
        let mut laps: [Vec<f64>; 3] = Default::default();
        let begun = Instant::now();
        while !pictures.is_empty() && (laps[0].is_empty() || begun.elapsed() < at_least) {
            for picture in pictures {
                let start = Instant::now();
                let canvas = Canvas::new(picture, side, 0.0, core.detector.cells())?.scaled();
                let resized = start.elapsed();
                let (found, network) = core.detector.detect(0, &mut see, &[&canvas]);
                let detected = start.elapsed() - network;
                let faces = found.into_iter().next().unwrap_or(Ok(Vec::new()))?;
                let prepared = core.prepare(lend(picture)?, faces);
                let aligned = start.elapsed() - network;
                let crops: Vec<&[u8]> = prepared.faces.iter().map(|face| face.aligned.as_slice()).collect();
                let (embeddings, embedder) = core.recogniser.embed(0, &mut know, &crops);
                embeddings.into_iter().collect::<Result<Vec<_>, _>>()?;
                let embedded = start.elapsed() - network - embedder;
                let spent = [resized, detected - resized + (embedded - aligned), aligned - detected];
                laps.iter_mut().zip(spent).for_each(|(laps, spent)| laps.push(spent.as_secs_f64() * 1e3));
            }
        }
        let [resize, feed_and_read, align_and_hash] = laps.map(median);
        Ok(Around { resize, feed_and_read, align_and_hash })
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// The sum of what each of some sessions does on a thread of its own.
fn side_by_side(
    sessions: usize,
    run: impl Fn(usize) -> Result<f64, EmbedError> + Sync,
) -> Result<f64, EmbedError> {
    std::thread::scope(|scope| {
        let run = &run;
        let started: Vec<_> = (0..sessions).map(|session| scope.spawn(move || run(session))).collect();
        started.into_iter().map(|thread| thread.join().unwrap_or(Err(EmbedError::Lost))).sum()
    })
}

/// Items a second by the networks' own time. The first run of a new shape allocates and does not count.
fn rate(
    batch: usize,
    at_least: Duration,
    mut run: impl FnMut() -> Result<Duration, EmbedError>,
) -> Result<f64, EmbedError> {
    run()?;
    let (mut done, mut spent, start) = (0, Duration::ZERO, Instant::now());
    while done == 0 || start.elapsed() < at_least {
        spent += run()?;
        done += batch;
    }
    Ok(done as f64 / spent.as_secs_f64().max(1e-9))
}
