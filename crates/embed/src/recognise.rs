//! The embedder: aligned faces in, points on the unit sphere out.

use inference::{Element, Runtime, Session, TensorView};
use records::Embedding;

use crate::align::FACE_SIDE;
use crate::embedder::noise;
use crate::normalise::Normalisation;
use crate::{EmbedError, ModelPack, PackError};

/// Bytes of an aligned face.
pub const FACE_BYTES: usize = 3 * FACE_SIDE * FACE_SIDE;
/// Least cosine between a face's embedding alone and in a batch.
const SAME_IN_BATCH: f32 = 0.9999;

/// An embedder, ready to run.
#[derive(Debug)]
pub struct Recogniser {
    session: Session,
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
        let session = runtime.session_from_file(&pack.embedder_path())?;
        let description = &pack.description().embedder;
        let wrong = |detail: String| PackError::Shape {
            pack: pack.id().clone(),
            file: description.file.clone(),
            detail,
        };
        let fits = |length: Option<usize>, needed: usize| length.is_none_or(|length| length == needed);
        let batches = match session.inputs() {
            [port] => match (port.element, port.shape.as_slice()) {
                (Element::F32, [batch @ (None | Some(1)), channels, height, width])
                    if fits(*channels, 3) && fits(*height, FACE_SIDE) && fits(*width, FACE_SIDE) =>
                {
                    batch.is_none()
                }
                (element, shape) => {
                    return Err(wrong(format!(
                        "takes {element:?} {shape:?} where f32 [batch, 3, {FACE_SIDE}, {FACE_SIDE}] is expected"
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
        let recogniser = Self { session, normalisation: description.normalisation, dimension, batches };
        recogniser.check_batches(pack)?;
        Ok(recogniser)
    }

    /// Embeds aligned faces, each `FACE_BYTES` of RGB, all at once if the model can.
    ///
    /// # Errors
    /// [`EmbedError`] if the model fails or an embedding has no direction.
    pub fn embed(&self, faces: &[&[u8]]) -> Result<Vec<Embedding>, EmbedError> {
        let at_once = if self.batches { faces.len().max(1) } else { 1 };
        let mut embeddings = Vec::with_capacity(faces.len());
        let mut block = vec![0.0; at_once.min(faces.len()) * FACE_BYTES];
        for group in faces.chunks(at_once) {
            for (face, part) in group.iter().zip(block.chunks_exact_mut(FACE_BYTES)) {
                self.normalisation.write(face, FACE_SIDE, (0, 0), FACE_SIDE, part);
            }
            let shape = [group.len(), 3, FACE_SIDE, FACE_SIDE];
            let outputs = self.session.run(&[TensorView::f32(&shape, &block[..group.len() * FACE_BYTES])])?;
            let values = outputs.into_iter().next().and_then(inference::Tensor::into_f32).unwrap_or_default();
            if values.len() != group.len() * self.dimension {
                let expected = group.len() * self.dimension;
                let detail = format!("{} values where {expected} are expected", values.len());
                return Err(EmbedError::Output { model: self.session.name().to_owned(), detail });
            }
            for vector in values.chunks_exact(self.dimension) {
                embeddings.push(Embedding::normalised(vector)?);
            }
        }
        Ok(embeddings)
    }

    /// The crops differ much in contrast, since networks quantised on the fly take one range for the whole batch.
    fn check_batches(&self, pack: &ModelPack) -> Result<(), PackError> {
        let crops = [noise(FACE_SIDE, 1), noise(FACE_SIDE, 2), noise(FACE_SIDE, 3)];
        let crops: Vec<&[u8]> = crops.iter().map(Vec::as_slice).collect();
        let run = |faces: &[&[u8]]| {
            self.embed(faces).map_err(|source| PackError::Run { pack: pack.id().clone(), source })
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
