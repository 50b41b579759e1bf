//! Pictures in, everything found in them out.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use inference::Runtime;
use rayon::prelude::*;
use records::{Embedding, Face, Pdq, PhotoContent, PhotoFacts, Pixels, Quality};

use crate::align::{FACE_SIDE, Similarity, warp};
use crate::detect::{Detection, Detector};
use crate::recognise::Recogniser;
use crate::resize::Rgb;
use crate::{EmbedConfig, EmbedError, ModelPack, PackError, pdq, quality, thumbnail};

/// Borders tried one after another, in sizes of the picture on each side, where a picture shows no face without one:
/// detectors are trained on faces in scenes and miss those that fill the frame.
const BORDERS: [f64; 2] = [0.25, 1.0];

/// Least share of the picture that a face found with a border covers. Smaller ones would have been found without it; what
/// looks like one at the second or third try is usually none.
const LARGE: f32 = 0.2;

/// How much surer than usual the detector has to be of a face found with a border: every further look is another chance for
/// a false alarm.
const SURER: f32 = 0.1;

/// Share of the picture from which a lone face fills the frame. Its landmarks are better with a border: measured on 212
/// portraits cropped to the face, the median cosine to the uncropped portrait rises from .953 to .965.
const FILLS_FRAME: f32 = 0.4;

/// Side of the aligned face that is hashed, so that two crops of one picture agree.
const MARGIN_SIDE: usize = 128;
/// How much larger than in 112 pixels the template is there: it takes 91% of the side. A wider margin holds more
/// background, but tight crops have none. Measured on portraits cropped at 30% (50%) of the face's size around it, resized
/// and compressed again: median distance 38 (30), 90% under 70 (60), where 99% of the pairs of different people are over
/// 86.
const MARGIN_SCALE: f64 = 1.04;

/// A part of the work, for time keeping.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Part {
    /// Placing on the canvas, the detector, reading its outputs.
    Detection,
    /// Cutting the faces out and judging them.
    Alignment,
    /// The embedder.
    Embedding,
    /// Perceptual hashes and thumbnails.
    Hash,
}

/// The parts with their names in metrics.
pub(crate) const PARTS: [(Part, &str); 4] = [
    (Part::Detection, "detection"),
    (Part::Alignment, "alignment"),
    (Part::Embedding, "embedding"),
    (Part::Hash, "hash"),
];

/// Busy nanoseconds of each part, over all threads.
#[derive(Debug, Default)]
pub(crate) struct Clock([AtomicU64; 4]);

impl Clock {
    fn time<T>(&self, part: Part, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = work();
        let spent = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.0[part as usize].fetch_add(spent, Ordering::Relaxed);
        result
    }

    /// Busy seconds of each part so far.
    pub(crate) fn seconds(&self) -> [f64; 4] {
        std::array::from_fn(|part| self.0[part].load(Ordering::Relaxed) as f64 / 1e9)
    }
}

/// A pack's two networks, ready to embed pictures. Threads may share it: while one runs a network, another prepares.
#[derive(Debug)]
pub struct Embedder {
    pack: ModelPack,
    detector: Detector,
    recogniser: Recogniser,
    config: EmbedConfig,
    pub(crate) clock: Clock,
}

/// A face before it is embedded.
struct Draft {
    detection: Detection,
    aligned: Vec<u8>,
    quality: Quality,
    pdq: Option<(Pdq, Pdq)>,
}

/// A picture before its faces are embedded.
struct Prepared {
    faces: Vec<Draft>,
    pdq: Option<(Pdq, Pdq)>,
    thumbnail: Option<bytes::Bytes>,
}

impl Embedder {
    /// Loads the pack's networks and tries them on test pictures.
    ///
    /// # Errors
    /// [`PackError`] says what is wrong with the pack; retrying does not help.
    pub fn new(runtime: &Runtime, pack: &ModelPack, config: EmbedConfig) -> Result<Self, PackError> {
        Ok(Self {
            detector: Detector::load(runtime, pack)?,
            recogniser: Recogniser::load(runtime, pack)?,
            pack: pack.clone(),
            config,
            clock: Clock::default(),
        })
    }

    /// The pack in use.
    pub fn pack(&self) -> &ModelPack {
        &self.pack
    }

    /// The configuration in use.
    pub fn config(&self) -> &EmbedConfig {
        &self.config
    }

    /// Finds, judges and embeds the faces of any number of pictures and hashes the pictures; one result a picture, in
    /// order. Blocks; takes memory for `detect_batch` canvases and `embed_batch` faces at a time.
    pub fn embed_batch(&self, pictures: Vec<&Pixels>) -> Vec<Result<PhotoContent, EmbedError>> {
        let before = self.clock.seconds();
        let done: Vec<_> = pictures
            .chunks(self.config.detect_batch.max(1))
            .flat_map(|chunk| self.embed_chunk(chunk))
            .collect();
        for ((_, name), (before, after)) in PARTS.iter().zip(before.iter().zip(self.clock.seconds())) {
            metrics::histogram!("facering_embed_busy_seconds", "part" => *name).record(after - before);
        }
        let faces: usize = done.iter().flatten().map(|content| content.faces.len()).sum();
        metrics::counter!("facering_embed_faces_total").increment(faces as u64);
        metrics::counter!("facering_embed_pictures_total").increment(done.len() as u64);
        done
    }

    pub(crate) fn embed_chunk(&self, pictures: &[&Pixels]) -> Vec<Result<PhotoContent, EmbedError>> {
        let lent: Vec<Result<Rgb<'_>, EmbedError>> = pictures.iter().map(|picture| lend(picture)).collect();
        let detected = self.detect(&lent);
        let prepared: Vec<Result<Prepared, EmbedError>> = lent
            .into_par_iter()
            .zip(detected)
            .map(|(picture, faces)| Ok(self.prepare(picture?, faces?)))
            .collect();
        let crops: Vec<&[u8]> =
            prepared.iter().flatten().flat_map(|p| &p.faces).map(|draft| draft.aligned.as_slice()).collect();
        let mut embeddings = self.clock.time(Part::Embedding, || self.recognise(&crops)).into_iter();
        let embedded: Vec<Result<(Prepared, Vec<Embedding>), EmbedError>> = prepared
            .into_iter()
            .map(|prepared| {
                let prepared = prepared?;
                // Every face's result is taken before the first error is looked at, or the next picture would get it.
                let own: Vec<_> = embeddings.by_ref().take(prepared.faces.len()).collect();
                Ok((prepared, own.into_iter().collect::<Result<_, _>>()?))
            })
            .collect();
        pictures
            .iter()
            .zip(embedded)
            .map(|(picture, embedded)| {
                embedded.map(|(prepared, embeddings)| self.assemble(picture, prepared, embeddings))
            })
            .collect()
    }

    /// First all pictures without a border; then with borders those without a face, and once those that a face fills.
    fn detect(&self, pictures: &[Result<Rgb<'_>, EmbedError>]) -> Vec<Result<Vec<Detection>, EmbedError>> {
        let mut found: Vec<Result<Vec<Detection>, EmbedError>> = pictures
            .iter()
            .map(|picture| picture.as_ref().map(|_| Vec::new()).map_err(Clone::clone))
            .collect();
        let surely = self.pack.description().detector.score_threshold + SURER;
        let borders = if self.config.retry_with_border { BORDERS.as_slice() } else { &[] };
        for (round, border) in [0.0].iter().chain(borders).enumerate() {
            let again = |faces: &[Detection], picture: &Rgb<'_>| match faces {
                [] => true,
                [lone] => round == 1 && covers(lone, picture) > FILLS_FRAME,
                _ => false,
            };
            let open: Vec<(usize, Rgb<'_>)> = pictures
                .iter()
                .zip(&found)
                .enumerate()
                .filter_map(|(at, (picture, faces))| {
                    Some((at, *picture.as_ref().ok()?, faces.as_ref().ok()?))
                })
                .filter(|(_, picture, faces)| again(faces, picture))
                .map(|(at, picture, _)| (at, picture))
                .collect();
            let rgb: Vec<Rgb<'_>> = open.iter().map(|(_, picture)| *picture).collect();
            let detected = self.clock.time(Part::Detection, || self.detect_with(&rgb, *border));
            for ((at, picture), faces) in open.iter().zip(detected) {
                let faces = faces.map(|mut faces| {
                    faces.retain(|face| {
                        round == 0 || (covers(face, picture) >= LARGE && face.score >= surely)
                    });
                    faces
                });
                // What was found without a border stays unless there is something to put in its place.
                let better = faces.as_ref().is_ok_and(|faces| !faces.is_empty());
                if better || found[*at].as_ref().is_ok_and(Vec::is_empty) {
                    found[*at] = faces;
                }
            }
        }
        found
    }

    /// All at once; if that fails, each alone, so that only the guilty one fails.
    fn detect_with(&self, pictures: &[Rgb<'_>], border: f64) -> Vec<Result<Vec<Detection>, EmbedError>> {
        if pictures.is_empty() {
            return Vec::new();
        }
        let length = self.detector.block_len();
        let mut blocks = vec![0.0; pictures.len() * length];
        let placements: Vec<_> = blocks
            .par_chunks_exact_mut(length)
            .zip(pictures)
            .map(|(block, picture)| self.detector.place(*picture, border, block))
            .collect();
        match self.detector.detect(&blocks, &placements) {
            Ok(faces) => faces.into_iter().map(Ok).collect(),
            Err(error) if pictures.len() == 1 => vec![Err(error)],
            Err(_) => blocks
                .chunks_exact(length)
                .zip(&placements)
                .map(|(block, placement)| {
                    let faces = self.detector.detect(block, std::slice::from_ref(placement))?;
                    Ok(faces.into_iter().next().unwrap_or_default())
                })
                .collect(),
        }
    }

    fn prepare(&self, picture: Rgb<'_>, detections: Vec<Detection>) -> Prepared {
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

    fn recognise(&self, crops: &[&[u8]]) -> Vec<Result<Embedding, EmbedError>> {
        let mut embeddings = Vec::with_capacity(crops.len());
        for group in crops.chunks(self.config.embed_batch.max(1)) {
            match self.recogniser.embed(group) {
                Ok(done) => embeddings.extend(done.into_iter().map(Ok)),
                Err(error) if group.len() == 1 => embeddings.push(Err(error)),
                Err(_) => {
                    for crop in group {
                        let alone = self.recogniser.embed(&[*crop]).map(Vec::into_iter);
                        match alone {
                            Ok(done) => embeddings.extend(done.map(Ok)),
                            Err(error) => embeddings.push(Err(error)),
                        }
                    }
                }
            }
        }
        embeddings
    }

    fn assemble(&self, picture: &Pixels, prepared: Prepared, embeddings: Vec<Embedding>) -> PhotoContent {
        let size = (picture.width, picture.height);
        let faces = prepared
            .faces
            .into_iter()
            .zip(embeddings)
            .enumerate()
            .map(|(at, (draft, embedding))| Face {
                place: Some((draft.detection.place, draft.detection.landmarks)),
                quality: draft.quality,
                main: at == 0,
                eye_alignment: quality::eye_alignment(size, &draft.detection.landmarks),
                pdq: draft.pdq.map(|(plain, _)| plain),
                pdq_mirrored: draft.pdq.map(|(_, mirrored)| mirrored),
                embedding,
            })
            .collect();
        PhotoContent {
            facts: PhotoFacts {
                size,
                hashed: true,
                pdq: prepared.pdq.map(|(plain, _)| plain),
                pdq_mirrored: prepared.pdq.map(|(_, mirrored)| mirrored),
                pack: self.pack.id().clone(),
            },
            faces,
            partial: false,
            thumbnail: prepared.thumbnail,
        }
    }
}

fn lend(picture: &Pixels) -> Result<Rgb<'_>, EmbedError> {
    let (width, height) = (picture.width as usize, picture.height as usize);
    let bytes = width.checked_mul(height).and_then(|pixels| pixels.checked_mul(3));
    if bytes != Some(picture.rgb.len()) || picture.rgb.is_empty() {
        return Err(EmbedError::Pixels {
            width: picture.width,
            height: picture.height,
            bytes: picture.rgb.len(),
        });
    }
    Ok(Rgb { width, height, data: &picture.rgb })
}

/// Share of the picture that the face's box has; above 1 if it reaches far beyond it.
fn covers(face: &Detection, picture: &Rgb<'_>) -> f32 {
    face.place.area() / (picture.width * picture.height) as f32
}

/// PDQ of the aligned face with a margin, and of its mirror image.
fn hash_with_margin(picture: Rgb<'_>, detection: &Detection) -> Option<(Pdq, Pdq)> {
    let shift = (MARGIN_SIDE as f64 - FACE_SIDE as f64 * MARGIN_SCALE) / 2.0;
    let similarity = Similarity::to_template(&detection.landmarks, MARGIN_SCALE, shift)?;
    let crop = warp(picture, &similarity, MARGIN_SIDE);
    pdq::hash(Rgb { width: MARGIN_SIDE, height: MARGIN_SIDE, data: &crop })
}

/// A test picture of `side x side` RGB pixels, the same at every call; the higher the seed, the higher the contrast.
pub(crate) fn noise(side: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
    let amplitude = 20.0 * seed.min(6) as f32;
    (0..side * side * 3)
        .map(|at| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            let wave = ((at / 3 % side) as f32 * 0.11 * seed as f32 + (at % 3) as f32).sin();
            let grain = (state >> 24) as f32 / 255.0 - 0.5;
            let tint = if (at as u32 + seed).is_multiple_of(3) { -60.0 } else { 0.0 };
            (127.5 + tint + amplitude * (0.7 * wave + 0.3 * grain)) as u8
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::place;
    use crate::normalise::{Channels, Normalisation};

    /// Everything but the two networks on one JPEG of 320 x 320 pixels, on this one thread; the goal is 3 ms.
    #[test]
    fn the_work_around_the_networks_is_small() {
        let mut jpeg = Vec::new();
        image::codecs::jpeg::JpegEncoder::new_with_quality(&mut jpeg, 90)
            .encode(&noise(320, 3), 320, 320, image::ExtendedColorType::Rgb8)
            .unwrap();
        let place_of = records::FaceBox { x1: 90.0, y1: 80.0, x2: 230.0, y2: 260.0 };
        let landmarks = [[120.0, 140.0], [200.0, 142.0], [162.0, 190.0], [128.0, 225.0], [194.0, 226.0]];
        let detection = Detection { place: place_of, landmarks: records::Landmarks(landmarks), score: 0.9 };
        let normalisation = Normalisation { channels: Channels::Bgr, mean: [0.0; 3], std: [1.0; 3] };
        let config = EmbedConfig::default();
        let mut block = vec![0.0; 3 * 640 * 640];
        let mut best = [f64::INFINITY; 6];
        for _ in 0..40 {
            let mut spent = [0.0; 6];
            let mut at = 0;
            let mut start = Instant::now();
            let mut lap = |spent: &mut [f64; 6]| {
                spent[at] = start.elapsed().as_secs_f64() * 1e3;
                at += 1;
                start = Instant::now();
            };
            let rgb = image::load_from_memory(&jpeg).unwrap().into_rgb8().into_raw();
            let picture = Rgb { width: 320, height: 320, data: &rgb };
            lap(&mut spent);
            place(picture, 640, 0.0, &normalisation, &mut block);
            lap(&mut spent);
            let similarity = Similarity::to_template(&detection.landmarks, 1.0, 0.0).unwrap();
            let aligned = warp(picture, &similarity, FACE_SIDE);
            lap(&mut spent);
            assert!(quality::judge(&detection, &aligned, &config).width_px > 0.0);
            lap(&mut spent);
            assert!(hash_with_margin(picture, &detection).is_some());
            lap(&mut spent);
            assert!(pdq::hash(picture).is_some());
            lap(&mut spent);
            for (best, spent) in best.iter_mut().zip(spent) {
                *best = best.min(spent);
            }
        }
        let [decode, canvas, align, judge, crop, whole] = best;
        println!(
            "ms: decode {decode:.2}, canvas of 640 {canvas:.2}, align {align:.2}, judge {judge:.2}, \
             hash of the face {crop:.2}, hash of the picture {whole:.2}; together {:.2}",
            best.iter().sum::<f64>()
        );
        assert!(best.iter().sum::<f64>() < 30.0, "ten times the goal: something is badly wrong");
    }
}
