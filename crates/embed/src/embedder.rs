//! Pictures in, everything found in them out.

use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use inference::{RunError, Runtime, Session};
use records::{PhotoContent, Pixels};

use crate::detect::Detector;
use crate::engine::{Core, on_processor};
use crate::recognise::Recogniser;
use crate::{EmbedConfig, EmbedError, ModelPack, PackError};

/// A pack's two networks, ready to embed pictures. Threads may share it: pictures of different callers share batches.
pub struct Embedder {
    pub(crate) core: Arc<Core>,
    workers: Vec<JoinHandle<()>>,
}

impl std::fmt::Debug for Embedder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Embedder")
            .field("pack", self.core.pack.id())
            .field("workers", &self.workers.len())
            .finish()
    }
}

/// Workers for each GPU: while one waits for it, another prepares what it gets next. The processor needs none.
fn workers_for(sessions: &[Session]) -> usize {
    if on_processor(sessions) { 0 } else { 2 }
}

impl Embedder {
    /// Loads the pack's networks on every configured device, tries them on test pictures, and starts their workers.
    ///
    /// # Errors
    /// [`PackError`] says what is wrong with the pack; retrying does not help.
    pub fn new(runtime: &Runtime, pack: &ModelPack, config: EmbedConfig) -> Result<Self, PackError> {
        let (detector, recogniser) = (Detector::load(runtime, pack)?, Recogniser::load(runtime, pack)?);
        let (detect_batch, embed_batch) = (config.detect_batch.max(1), config.embed_batch.max(1));
        let core = Core::new(pack.clone(), detector, recogniser, config)?;
        let mut embedder = Self { core: Arc::clone(&core), workers: Vec::new() };
        for device in 0..core.detector.sessions().len() {
            for _ in 0..workers_for(core.detector.sessions()) {
                let feed = core.detector.feed(device, core.detector.side(), detect_batch);
                embedder.work("detector", feed, move |core, feed| core.find(device, feed))?;
            }
        }
        for device in 0..core.recogniser.sessions().len() {
            for _ in 0..workers_for(core.recogniser.sessions()) {
                let feed = core.recogniser.feed(device, embed_batch);
                embedder.work("embedder", feed, move |core, feed| core.embed(device, feed))?;
            }
        }
        Ok(embedder)
    }

    fn work<F: Send + 'static>(
        &mut self,
        name: &str,
        feed: Result<F, RunError>,
        run: impl FnOnce(Arc<Core>, F) + Send + 'static,
    ) -> Result<(), PackError> {
        let pack = self.core.pack.id();
        let feed = feed.map_err(|error| PackError::Run { pack: pack.clone(), source: error.into() })?;
        let core = Arc::clone(&self.core);
        let started = std::thread::Builder::new().name(name.to_owned()).spawn(move || run(core, feed));
        let threads =
            |error: std::io::Error| PackError::Threads { pack: pack.clone(), detail: error.to_string() };
        self.workers.push(started.map_err(threads)?);
        Ok(())
    }

    /// The pack in use.
    pub fn pack(&self) -> &ModelPack {
        &self.core.pack
    }

    /// The configuration in use.
    pub fn config(&self) -> &EmbedConfig {
        &self.core.config
    }

    /// Finds, judges and embeds the faces of any number of pictures and hashes the pictures; one result a picture, in
    /// order. Blocks, so it must not be called on one of rayon's threads. Memory is bounded by the two batch sizes.
    pub fn embed_batch(&self, pictures: Vec<&Pixels>) -> Vec<Result<PhotoContent, EmbedError>> {
        let mut done: Vec<Result<PhotoContent, EmbedError>> =
            pictures.iter().map(|_| Err(EmbedError::Lost)).collect();
        let (answer, answers) = mpsc::channel();
        for (at, picture) in pictures.into_iter().enumerate() {
            self.core.start(at, picture.clone(), answer.clone());
        }
        drop(answer);
        for (at, content) in answers {
            done[at] = content;
        }
        let faces: usize = done.iter().flatten().map(|content| content.faces.len()).sum();
        metrics::counter!("facering_embed_faces_total").increment(faces as u64);
        metrics::counter!("facering_embed_pictures_total").increment(done.len() as u64);
        done
    }
}

impl Drop for Embedder {
    fn drop(&mut self) {
        self.core.close();
        for worker in self.workers.drain(..) {
            // A worker survives what panics in it; one that did not is gone already.
            drop(worker.join());
        }
    }
}
