//! The embedder: aligned faces in, points on the unit sphere out.

use std::time::Duration;

use inference::{Element, Feed, Rows, RunError, Runtime, Session};
use records::Embedding;

use crate::align::FACE_SIDE;
use crate::detect::fitting_batch;
use crate::noise::noise;
use crate::normalise::{Normalisation, Number};
use crate::{EmbedError, ModelPack, PackError};

/// Bytes of an aligned face.
pub const FACE_BYTES: usize = 3 * FACE_SIDE * FACE_SIDE;
/// Least cosine between a face's embedding alone and in a batch.
const SAME_IN_BATCH: f32 = 0.9999;

/// An embedder, ready to run, on one device or several.
#[derive(Debug)]
pub struct Recogniser {
    sessions: Vec<Session>,
    normalisation: Normalisation,
    dimension: usize,
    batches: bool,
}

impl Recogniser {
    /// Loads a pack's embedder and checks what it takes and gives, and that a face's embedding does not depend on what
    /// else is in the batch.
    ///
    /// # Errors
    /// [`PackError`] if it cannot be loaded, takes or gives something else, or depends on the batch.
    pub fn load(runtime: &Runtime, pack: &ModelPack) -> Result<Self, PackError> {
        let sessions = runtime.sessions_from_file(&pack.embedder_path())?;
        let description = &pack.description().embedder;
        let wrong = |detail: String| PackError::Shape {
            pack: pack.id().clone(),
            file: description.file.clone(),
            detail,
        };
        let fits = |length: Option<usize>, needed: usize| length.is_none_or(|length| length == needed);
        let session = sessions.first().ok_or_else(|| wrong("has no device to run on".to_owned()))?;
        let batches = match session.inputs() {
            [port] => match (port.element, port.shape.as_slice()) {
                (Element::F32 | Element::F16, [batch @ (None | Some(1)), channels, height, width])
                    if fits(*channels, 3) && fits(*height, FACE_SIDE) && fits(*width, FACE_SIDE) =>
                {
                    batch.is_none()
                }
                (element, shape) => {
                    return Err(wrong(format!(
                        "takes {element:?} {shape:?} where f32 or f16 [batch, 3, {FACE_SIDE}, {FACE_SIDE}] is \
                         expected"
                    )));
                }
            },
            ports => return Err(wrong(format!("takes {} inputs where one is expected", ports.len()))),
        };
        let dimension = pack.dimension();
        if let Some(Some(Some(found))) = session.outputs().first().map(|port| port.shape.last())
            && *found != dimension
        {
            return Err(wrong(format!("gives {found} numbers where the description says {dimension}")));
        }
        let recogniser = Self { sessions, normalisation: description.normalisation, dimension, batches };
        recogniser.check_batches(pack)?;
        Ok(recogniser)
    }

    /// Its sessions, one a device.
    pub fn sessions(&self) -> &[Session] {
        &self.sessions
    }

    /// Memory for up to `most` faces at once on a device.
    ///
    /// # Errors
    /// [`RunError`] if there is none.
    pub fn feed(&self, device: usize, most: usize) -> Result<Feed, RunError> {
        let session = &self.sessions[device];
        let most = if self.batches { fitting_batch(session, FACE_BYTES, most) } else { 1 };
        session.feed(&[3, FACE_SIDE, FACE_SIDE], most)
    }

    /// Embeds aligned faces, each `FACE_BYTES` of RGB. A face that fails does not fail the others. Also tells how long
    /// the network itself took.
    pub fn embed(
        &self,
        device: usize,
        feed: &mut Feed,
        faces: &[&[u8]],
    ) -> (Vec<Result<Embedding, EmbedError>>, Duration) {
        let (mut embeddings, mut network) = (Vec::with_capacity(faces.len()), Duration::ZERO);
        let at_once = feed.most();
        let mut run = |group: &[&[u8]]| {
            let (values, took) = self.run(device, feed, group)?;
            network += took;
            Ok::<_, EmbedError>(values)
        };
        let normalised = |vector: &[f32]| Ok(Embedding::normalised(vector)?);
        for group in faces.chunks(at_once) {
            match run(group) {
                Ok(values) => embeddings.extend(values.chunks_exact(self.dimension).map(normalised)),
                Err(error) if group.len() == 1 => embeddings.push(Err(error)),
                Err(_) => embeddings
                    .extend(group.chunks(1).map(|alone| run(alone).and_then(|values| normalised(&values)))),
            }
        }
        (embeddings, network)
    }

    fn run(
        &self,
        device: usize,
        feed: &mut Feed,
        faces: &[&[u8]],
    ) -> Result<(Vec<f32>, Duration), EmbedError> {
        match feed.rows(faces.len())? {
            Rows::F32(rows) => self.write(faces, rows),
            Rows::F16(rows) => self.write(faces, rows),
            Rows::U8(rows) => self.write(faces, rows),
        }
        let expected = faces.len() * self.dimension;
        let session = &self.sessions[device];
        let (values, took) = session.run_feed(feed, faces.len(), |outputs| {
            let values = outputs.first().and_then(inference::Lent::floats).unwrap_or_default();
            if values.len() < expected || values.len() % self.dimension != 0 {
                return Err(values.len());
            }
            Ok(values[..expected].to_vec())
        })?;
        let values = values.map_err(|found| EmbedError::Output {
            model: session.name().to_owned(),
            detail: format!("{found} values where {expected} are expected"),
        })?;
        Ok((values, took))
    }

    fn write<T: Number>(&self, faces: &[&[u8]], rows: &mut [T]) {
        for (block, face) in rows.chunks_exact_mut(FACE_BYTES).zip(faces) {
            self.normalisation.write(face, FACE_SIDE, (0, 0), FACE_SIDE, block);
        }
    }

    /// The crops differ much in contrast, since networks quantised on the fly take one range for the whole batch.
    fn check_batches(&self, pack: &ModelPack) -> Result<(), PackError> {
        let failed = |source: EmbedError| PackError::Run { pack: pack.id().clone(), source };
        let crops: Vec<Vec<u8>> = (1..=6).map(|seed| noise(FACE_SIDE, seed)).collect();
        let crops: Vec<&[u8]> = crops.iter().map(Vec::as_slice).collect();
        let mut feed = self.feed(0, crops.len()).map_err(|error| failed(error.into()))?;
        let mut run = |faces: &[&[u8]]| -> Result<Vec<Embedding>, PackError> {
            let (embeddings, _) = self.embed(0, &mut feed, faces);
            embeddings.into_iter().collect::<Result<_, _>>().map_err(failed)
        };
        for (crop, together) in crops.iter().zip(run(&crops)?) {
            for alone in run(&[crop])? {
                let cosine = alone.cosine(&together).map_or(-1.0, |cosine| cosine.get());
                if cosine < SAME_IN_BATCH {
                    return Err(PackError::BatchDependent { pack: pack.id().clone(), cosine });
                }
            }
        }
        Ok(())
    }
}
