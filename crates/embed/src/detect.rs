//! Faces on canvases: run the network, read its outputs.

mod candidates;
mod scrfd;
mod yunet;

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use inference::{Element, Feed, Lent, Rows, RunError, Runtime, Session};
use records::{FaceBox, Landmarks, Pixels};

use crate::canvas::{Canvas, Placement};
use crate::normalise::Number;
use crate::pack::{DetectorDescription, DetectorFamily};
use crate::{EmbedError, ModelPack, PackError};

/// The three grids of cells that both families look at, by the pixels between two cells.
const STRIDES: [usize; 3] = [8, 16, 32];

/// A face that the detector found, in pixels of the picture.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Detection {
    /// Its box.
    pub place: FaceBox,
    /// Its landmarks.
    pub landmarks: Landmarks,
    /// The detector's score, 0 to 1.
    pub score: f32,
}

/// One of three equal grids' outputs of one picture: for each cell `anchors` rows of scores, boxes and landmarks.
struct Level<'a> {
    stride: usize,
    /// Cells in a row.
    columns: usize,
    scores: Scores<'a>,
    boxes: &'a [f32],
    landmarks: &'a [f32],
}

enum Scores<'a> {
    Plain(&'a [f32]),
    /// Probability of a face, and that there is an object.
    Product(&'a [f32], &'a [f32]),
}

/// Where a level's outputs stand among the session's.
#[derive(Clone, Copy, Debug)]
struct LevelOutputs {
    scores: usize,
    /// Scores to be multiplied with, where there are any.
    factors: Option<usize>,
    boxes: usize,
    landmarks: usize,
}

/// Numbers that a processor is given at once: beyond that what passes between a network's layers falls out of its caches.
/// Measured on one thread: YuNet at 640 gets through 234 pictures/s one by one, 136 by four, 115 by sixteen; MobileFaceNet at
/// 112 through 465 faces/s one by one, 420 by four, 418 by sixteen, 311 by 64.
const PROCESSOR_NUMBERS: usize = 3 * 320 * 320;

/// How many of at most `most` rows of so many numbers a session is best given at once. GPUs want as many as there are.
pub fn fitting_batch(session: &Session, row: usize, most: usize) -> usize {
    let fits = if session.provider().is_gpu() { most } else { PROCESSOR_NUMBERS / row.max(1) };
    most.min(fits).max(1)
}

/// Memory for square canvases of one side, and smaller ones on the processor.
#[derive(Debug)]
pub struct CanvasFeed(Feed);

/// A detector, ready to run, on one device or several.
#[derive(Debug)]
pub struct Detector {
    sessions: Vec<Session>,
    description: DetectorDescription,
    order: [LevelOutputs; 3],
    batches: bool,
    /// Whether the network takes canvases of other sides too.
    any_side: bool,
}

impl Detector {
    /// Loads a pack's detector and checks what it takes and gives.
    ///
    /// # Errors
    /// [`PackError`] if it cannot be loaded, is of another family or takes another input.
    pub fn load(runtime: &Runtime, pack: &ModelPack) -> Result<Self, PackError> {
        let description = pack.description().detector.clone();
        let from_bytes = description.normalisation.from_bytes();
        let sessions = runtime.sessions_for_pictures(&pack.detector_path(), &from_bytes)?;
        let wrong = |detail: String| PackError::Shape {
            pack: pack.id().clone(),
            file: description.file.clone(),
            detail,
        };
        let side = description.input_size;
        let fits = |length: Option<usize>, needed: usize| length.is_none_or(|length| length == needed);
        let session = sessions.first().ok_or_else(|| wrong("has no device to run on".to_owned()))?;
        let (batches, any_side) = match session.inputs() {
            [port] => match (port.element, port.shape.as_slice()) {
                (Element::F32 | Element::F16 | Element::U8, [batch, channels, height, width])
                    if fits(*channels, 3) && fits(*height, side) && fits(*width, side) =>
                {
                    (batch.is_none(), height.is_none() && width.is_none())
                }
                (element, shape) => {
                    return Err(wrong(format!(
                        "takes {element:?} {shape:?} where f32 or f16 [batch, 3, {side}, {side}] is expected"
                    )));
                }
            },
            ports => return Err(wrong(format!("takes {} inputs where one is expected", ports.len()))),
        };
        let order = match description.family {
            DetectorFamily::Scrfd => scrfd::order(session.outputs()),
            DetectorFamily::Yunet => yunet::order(session.outputs()),
        }
        .map_err(wrong)?;
        let mut detector = Self { sessions, description, order, batches, any_side };
        let failed = |source| PackError::Run { pack: pack.id().clone(), source };
        if detector.batches {
            detector.batches = detector.batch_equals_single().map_err(failed)?;
            if !detector.batches {
                tracing::warn!(pack = %pack.id(), "the detector mixes the pictures of a batch; it is given one at a time");
            }
        } else {
            let mut feed = detector.feed(0, side, 1).map_err(|error| failed(error.into()))?;
            let [canvas, _] = detector.test_canvases().map_err(failed)?;
            detector.run(0, &mut feed, &[&canvas], |_| ()).map_err(failed)?;
        }
        Ok(detector)
    }

    /// Side of the square canvas in pixels.
    pub fn side(&self) -> usize {
        self.description.input_size
    }

    /// Its sessions, one a device.
    pub fn sessions(&self) -> &[Session] {
        &self.sessions
    }

    /// Whether canvases need not be its own squares: the network takes any, and it runs on the processor. A GPU sees few
    /// shapes.
    fn is_flexible(&self) -> bool {
        self.any_side && self.sessions.iter().all(|session| !session.provider().is_gpu())
    }

    /// Whether square canvases of this side can be looked at: a network that takes any wants whole cells of its coarsest
    /// grid.
    pub fn takes(&self, side: usize) -> bool {
        side == self.side() || (self.is_flexible() && side.is_multiple_of(STRIDES[2]))
    }

    /// Side in pixels of the cells that make up a canvas, where what would only hold black may be left out: the network pads
    /// with what black becomes, so a picture's border looks the same to it.
    pub fn cells(&self) -> Option<usize> {
        (self.is_flexible() && self.description.normalisation.black_is_zero()).then_some(STRIDES[2])
    }

    /// Memory for up to `most` canvases of a side that it takes at once on a device.
    ///
    /// # Errors
    /// [`RunError`] if there is none.
    pub fn feed(&self, device: usize, side: usize, most: usize) -> Result<CanvasFeed, RunError> {
        let session = &self.sessions[device];
        let most = if self.batches { fitting_batch(session, 3 * side * side, most) } else { 1 };
        Ok(CanvasFeed(session.feed(&[3, side, side], most)?))
    }

    /// Finds the faces on the canvases: largest first, for each canvas. A canvas that fails does not fail the others.
    /// Also tells how long the network itself took.
    pub fn detect(
        &self,
        device: usize,
        feed: &mut CanvasFeed,
        canvases: &[&Canvas],
    ) -> (Vec<Result<Vec<Detection>, EmbedError>>, Duration) {
        let (mut found, mut network) = (Vec::with_capacity(canvases.len()), Duration::ZERO);
        let at_once = feed.0.most();
        let mut run = |group: &[&Canvas]| {
            let read = |outputs: &[Cow<'_, [f32]>]| -> Vec<Vec<Detection>> {
                let one = |(at, canvas): (usize, &&Canvas)| {
                    self.read(outputs, canvas.extent, at, &canvas.placement)
                };
                group.iter().enumerate().map(one).collect()
            };
            let (faces, took) = self.run(device, feed, group, read)?;
            network += took;
            Ok::<_, EmbedError>(faces)
        };
        let alike = canvases.chunk_by(|one, other| one.extent == other.extent);
        for group in alike.flat_map(|alike| alike.chunks(at_once)) {
            match run(group) {
                Ok(faces) => found.extend(faces.into_iter().map(Ok)),
                Err(error) if group.len() == 1 => found.push(Err(error)),
                // All at once failed; each alone, so that only the guilty one fails.
                Err(_) => found.extend(
                    group
                        .chunks(1)
                        .map(|alone| run(alone).map(|faces| faces.into_iter().next().unwrap_or_default())),
                ),
            }
        }
        (found, network)
    }

    /// Runs the network on some canvases of one extent and gives `read` its outputs, whose lengths are checked.
    fn run<R>(
        &self,
        device: usize,
        CanvasFeed(feed): &mut CanvasFeed,
        canvases: &[&Canvas],
        read: impl FnOnce(&[Cow<'_, [f32]>]) -> R,
    ) -> Result<(R, Duration), EmbedError> {
        let (width, height) = canvases.first().map_or((0, 0), |canvas| canvas.extent);
        feed.reshape(&[3, height, width])?;
        match feed.rows(canvases.len())? {
            Rows::F32(rows) => self.write(canvases, rows),
            Rows::F16(rows) => self.write(canvases, rows),
            Rows::U8(rows) => self.write(canvases, rows),
        }
        let (read, took) = self.sessions[device].run_feed(feed, canvases.len(), |outputs| {
            self.checked(outputs, (width, height), canvases.len()).map(|outputs| read(&outputs))
        })?;
        Ok((read?, took))
    }

    fn write<T: Number>(&self, canvases: &[&Canvas], rows: &mut [T]) {
        let block = rows.len() / canvases.len().max(1);
        for (block, canvas) in rows.chunks_exact_mut(block.max(1)).zip(canvases) {
            canvas.write(&self.description.normalisation, block);
        }
    }

    /// The outputs as floats, if they have the rows of `count` canvases or more.
    fn checked<'o>(
        &self,
        outputs: &[Lent<'o>],
        extent: (usize, usize),
        count: usize,
    ) -> Result<Vec<Cow<'o, [f32]>>, EmbedError> {
        let floats: Vec<Cow<'o, [f32]>> =
            outputs.iter().map(|output| output.floats().unwrap_or_default()).collect();
        for (level, outlet) in self.order.iter().enumerate() {
            let wide = [
                (Some(outlet.scores), 1),
                (outlet.factors, 1),
                (Some(outlet.boxes), 4),
                (Some(outlet.landmarks), 10),
            ];
            for (at, width) in wide {
                let Some(at) = at else { continue };
                let (values, one) = (floats.get(at).map_or(0, |f| f.len()), self.rows(extent, level) * width);
                if values < count * one || values % one != 0 {
                    let detail = format!("{values} values as output {at} where {} are expected", count * one);
                    return Err(EmbedError::Output { model: self.description.file.clone(), detail });
                }
            }
        }
        Ok(floats)
    }

    fn anchors(&self) -> usize {
        match self.description.family {
            DetectorFamily::Scrfd => scrfd::ANCHORS,
            DetectorFamily::Yunet => yunet::ANCHORS,
        }
    }

    fn rows(&self, (width, height): (usize, usize), level: usize) -> usize {
        (width / STRIDES[level]) * (height / STRIDES[level]) * self.anchors()
    }

    /// Reads the canvas `at` from outputs whose lengths [`Detector::checked`] has checked.
    fn read(
        &self,
        outputs: &[Cow<'_, [f32]>],
        extent: (usize, usize),
        at: usize,
        placement: &Placement,
    ) -> Vec<Detection> {
        let mut found = Vec::new();
        for (level, outlet) in self.order.iter().enumerate() {
            let rows = self.rows(extent, level);
            let part = |output: usize, width: usize| -> &[f32] {
                &outputs[output][at * rows * width..(at + 1) * rows * width]
            };
            let level = Level {
                stride: STRIDES[level],
                columns: extent.0 / STRIDES[level],
                scores: match outlet.factors {
                    Some(factors) => Scores::Product(part(outlet.scores, 1), part(factors, 1)),
                    None => Scores::Plain(part(outlet.scores, 1)),
                },
                boxes: part(outlet.boxes, 4),
                landmarks: part(outlet.landmarks, 10),
            };
            let threshold = self.description.score_threshold;
            match self.description.family {
                DetectorFamily::Scrfd => scrfd::decode(&level, threshold, &mut found),
                DetectorFamily::Yunet => yunet::decode(&level, threshold, &mut found),
            }
        }
        candidates::settle(found, placement, self.description.nms_threshold, self.description.smallest_face)
    }

    /// Two canvases of different noise.
    fn test_canvases(&self) -> Result<[Canvas; 2], EmbedError> {
        let side = self.side();
        let canvas = |seed| {
            let rgb = Bytes::from(crate::noise::noise(side, seed));
            Canvas::new(&Pixels { width: side as u32, height: side as u32, rgb }, side, 0.0, None)
        };
        Ok([canvas(1)?, canvas(2)?])
    }

    /// Some exports of these networks take any batch but mix its pictures; no error shows it.
    fn batch_equals_single(&self) -> Result<bool, EmbedError> {
        let [first, second] = self.test_canvases()?;
        let side = self.side();
        let mut feed = CanvasFeed(self.sessions[0].feed(&[3, side, side], 2)?);
        let mut raw = |canvases: &[&Canvas]| {
            let owned = |outputs: &[Cow<'_, [f32]>]| outputs.iter().map(|o| o.to_vec()).collect::<Vec<_>>();
            self.run(0, &mut feed, canvases, owned).map(|(outputs, _)| outputs)
        };
        let Ok(together) = raw(&[&first, &second]) else {
            // What cannot take two may well take one; if not, this says so.
            return raw(&[&first]).map(|_| false);
        };
        for (at, canvas) in [first, second].iter().enumerate() {
            for (one, both) in raw(&[canvas])?.iter().zip(&together) {
                let close = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-2 * (1.0 + a.abs());
                if both.len() != 2 * one.len() || !one.iter().zip(&both[at * one.len()..]).all(close) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}
