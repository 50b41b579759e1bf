//! Faces in pictures: place the picture on a square canvas, run the network, read its outputs.
//!
//! A picture on its canvas has one scale and an offset ([`Placement`]); what the network finds is mapped back to pixels
//! of the picture.

mod candidates;
mod scrfd;
mod yunet;

use inference::{Element, Runtime, Session, Tensor, TensorView};
use records::{FaceBox, Landmarks};

use crate::normalise::Normalisation;
use crate::pack::{DetectorDescription, DetectorFamily};
use crate::resize::{Rgb, resize};
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

/// Where a picture lies on the canvas: `canvas = picture * scale + offset`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Placement {
    scale: f32,
    offset: [f32; 2],
}

impl Placement {
    fn back(&self, [x, y]: [f32; 2]) -> [f32; 2] {
        [(x - self.offset[0]) / self.scale, (y - self.offset[1]) / self.scale]
    }
}

/// Scales the picture to fit a canvas of `side` pixels, with `border` times its size left free on every side, and writes
/// it as the network takes it. Without a border the picture lies in the top left corner.
pub fn place(
    picture: Rgb<'_>,
    side: usize,
    border: f64,
    normalisation: &Normalisation,
    block: &mut [f32],
) -> Placement {
    let (width, height) = (picture.width as f64, picture.height as f64);
    let around = 1.0 + 2.0 * border;
    let scale = (side as f64 / (width * around)).min(side as f64 / (height * around));
    let fitted = |length: f64| ((length * scale).round_ties_even().max(1.0) as usize).min(side);
    let (w, h) = (fitted(width), fitted(height));
    let (x, y) = if border > 0.0 { ((side - w) / 2, (side - h) / 2) } else { (0, 0) };
    let resized = resize(picture, w, h);
    normalisation.write(&resized, w, (x, y), side, block);
    Placement { scale: scale as f32, offset: [x as f32, y as f32] }
}

/// One of three equal grids' outputs of one picture: `cells` x `anchors` rows of scores, boxes and landmarks.
struct Level<'a> {
    stride: usize,
    cells: usize,
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

/// A detector, ready to run.
#[derive(Debug)]
pub struct Detector {
    session: Session,
    description: DetectorDescription,
    order: [LevelOutputs; 3],
    batches: bool,
}

impl Detector {
    /// Loads a pack's detector and checks what it takes and gives.
    ///
    /// # Errors
    /// [`PackError`] if it cannot be loaded, is of another family or takes another input.
    pub fn load(runtime: &Runtime, pack: &ModelPack) -> Result<Self, PackError> {
        let session = runtime.session_from_file(&pack.detector_path())?;
        let description = pack.description().detector.clone();
        let wrong = |detail: String| PackError::Shape {
            pack: pack.id().clone(),
            file: description.file.clone(),
            detail,
        };
        let side = description.input_size;
        let fits = |length: Option<usize>, needed: usize| length.is_none_or(|length| length == needed);
        let batches = match session.inputs() {
            [port] => match (port.element, port.shape.as_slice()) {
                (Element::F32, [batch, channels, height, width])
                    if fits(*channels, 3) && fits(*height, side) && fits(*width, side) =>
                {
                    batch.is_none()
                }
                (element, shape) => {
                    return Err(wrong(format!(
                        "takes {element:?} {shape:?} where f32 [batch, 3, {side}, {side}] is expected"
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
        let mut detector = Self { session, description, order, batches };
        if detector.batches {
            detector.batches = detector
                .batch_equals_single()
                .map_err(|source| PackError::Run { pack: pack.id().clone(), source })?;
            if !detector.batches {
                tracing::warn!(pack = %pack.id(), "the detector mixes the pictures of a batch; it is given one at a time");
            }
        } else {
            detector
                .raw(&detector.test_blocks()[..3 * side * side], 1)
                .map_err(|source| PackError::Run { pack: pack.id().clone(), source })?;
        }
        Ok(detector)
    }

    /// Side of the square canvas in pixels.
    pub fn side(&self) -> usize {
        self.description.input_size
    }

    /// Floats of one canvas.
    pub fn block_len(&self) -> usize {
        3 * self.side() * self.side()
    }

    /// Puts a picture on a canvas of this detector; see [`place`].
    pub fn place(&self, picture: Rgb<'_>, border: f64, block: &mut [f32]) -> Placement {
        place(picture, self.side(), border, &self.description.normalisation, block)
    }

    /// Finds the faces on the canvases, which stand one after another in `blocks`: largest first, for each canvas.
    ///
    /// # Errors
    /// [`EmbedError`] if the network fails or gives something else than its family does.
    pub fn detect(
        &self,
        blocks: &[f32],
        placements: &[Placement],
    ) -> Result<Vec<Vec<Detection>>, EmbedError> {
        if self.batches {
            let outputs = self.raw(blocks, placements.len())?;
            return (0..placements.len())
                .map(|at| self.read(&outputs, at, placements.len(), &placements[at]))
                .collect();
        }
        blocks
            .chunks_exact(self.block_len())
            .zip(placements)
            .map(|(block, placement)| self.read(&self.raw(block, 1)?, 0, 1, placement))
            .collect()
    }

    fn raw(&self, blocks: &[f32], count: usize) -> Result<Vec<Tensor>, EmbedError> {
        let outputs = self.session.run(&[TensorView::f32(&[count, 3, self.side(), self.side()], blocks)])?;
        for (level, outlet) in self.order.iter().enumerate() {
            let rows = count * self.rows(level);
            let wide = [
                (Some(outlet.scores), 1),
                (outlet.factors, 1),
                (Some(outlet.boxes), 4),
                (Some(outlet.landmarks), 10),
            ];
            for (at, width) in wide {
                let Some(at) = at else { continue };
                let values = outputs.get(at).and_then(Tensor::as_f32).map_or(0, <[f32]>::len);
                if values != rows * width {
                    let detail =
                        format!("{values} values as output {at} where {} are expected", rows * width);
                    return Err(EmbedError::Output { model: self.description.file.clone(), detail });
                }
            }
        }
        Ok(outputs)
    }

    fn anchors(&self) -> usize {
        match self.description.family {
            DetectorFamily::Scrfd => scrfd::ANCHORS,
            DetectorFamily::Yunet => yunet::ANCHORS,
        }
    }

    fn rows(&self, level: usize) -> usize {
        (self.side() / STRIDES[level]).pow(2) * self.anchors()
    }

    /// Reads the canvas `at` of `count` from outputs whose lengths [`Detector::raw`] has checked.
    fn read(
        &self,
        outputs: &[Tensor],
        at: usize,
        count: usize,
        placement: &Placement,
    ) -> Result<Vec<Detection>, EmbedError> {
        let mut found = Vec::new();
        for (level, outlet) in self.order.iter().enumerate() {
            let part = |output: usize| -> &[f32] {
                let values = outputs.get(output).and_then(Tensor::as_f32).unwrap_or_default();
                let length = values.len() / count;
                &values[at * length..(at + 1) * length]
            };
            let level = Level {
                stride: STRIDES[level],
                cells: self.side() / STRIDES[level],
                scores: match outlet.factors {
                    Some(factors) => Scores::Product(part(outlet.scores), part(factors)),
                    None => Scores::Plain(part(outlet.scores)),
                },
                boxes: part(outlet.boxes),
                landmarks: part(outlet.landmarks),
            };
            let threshold = self.description.score_threshold;
            match self.description.family {
                DetectorFamily::Scrfd => scrfd::decode(&level, threshold, &mut found),
                DetectorFamily::Yunet => yunet::decode(&level, threshold, &mut found),
            }
        }
        Ok(candidates::settle(found, placement, self.description.nms_threshold))
    }

    /// Two canvases of different noise.
    fn test_blocks(&self) -> Vec<f32> {
        let side = self.side();
        let mut blocks = vec![0.0; 2 * self.block_len()];
        for (seed, block) in blocks.chunks_exact_mut(self.block_len()).enumerate() {
            let noise = crate::embedder::noise(side, seed as u32 + 1);
            self.description.normalisation.write(&noise, side, (0, 0), side, block);
        }
        blocks
    }

    /// Some exports of these networks take any batch but mix its pictures; no error shows it.
    fn batch_equals_single(&self) -> Result<bool, EmbedError> {
        let blocks = self.test_blocks();
        let Ok(together) = self.raw(&blocks, 2) else {
            // What cannot take two may well take one; if not, this says so.
            return self.raw(&blocks[..self.block_len()], 1).map(|_| false);
        };
        for (at, block) in blocks.chunks_exact(self.block_len()).enumerate() {
            let alone = self.raw(block, 1)?;
            for (one, both) in alone.iter().zip(&together) {
                let (Some(one), Some(both)) = (one.as_f32(), both.as_f32()) else { continue };
                let close = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-2 * (1.0 + a.abs());
                if both.len() != 2 * one.len() || !one.iter().zip(&both[at * one.len()..]).all(close) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}
