//! What can go wrong: with a pack (stop) or with one picture (dead letter).

use std::path::PathBuf;

use inference::{RunError, StartError};
use records::{PackId, VectorError};

/// Something is wrong with the model pack. Retrying does not help: stop and say so.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// No such pack anywhere.
    #[error(
        "the model pack {pack} was not found in {}; `facering models list` shows the packs, \
         `facering models install {pack}` installs one that is known", listed(.looked_in)
    )]
    Unknown {
        /// The name asked for.
        pack: String,
        /// The folders looked at.
        looked_in: Vec<PathBuf>,
    },
    /// A description that cannot be read.
    #[error("{} is no valid pack description ({detail}); correct it, or install the pack again", .path.display())]
    Description {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// A file of the pack is missing or cannot be read.
    #[error("the file {} of the model pack {pack} cannot be read ({detail}); install the pack again", .path.display())]
    File {
        /// The pack.
        pack: PackId,
        /// The file.
        path: PathBuf,
        /// What the system says.
        detail: String,
    },
    /// A file has another hash than the description says.
    #[error(
        "the file {} of the model pack {pack} has the SHA-256 {found} where its description says {expected}; \
         install the pack again", .path.display()
    )]
    Hash {
        /// The pack.
        pack: PackId,
        /// The file.
        path: PathBuf,
        /// The hash in the description.
        expected: String,
        /// The file's hash.
        found: String,
    },
    /// A description without hashes, which only an installation fills in.
    #[error(
        "the description of the model pack {pack} has no sha256 for {file}; \
         run `facering models install {pack}`, which writes it"
    )]
    Unhashed {
        /// The pack.
        pack: PackId,
        /// The file.
        file: String,
    },
    /// The licence has to be accepted first.
    #[error(
        "the model pack {pack} may not be used commercially ({license}); accept that with \
         `facering models install {pack} --accept-license` or `models.accept_license = true`"
    )]
    License {
        /// The pack.
        pack: PackId,
        /// Its licence.
        license: String,
    },
    /// A model takes or gives something else than its family does.
    #[error(
        "the model {file} of the pack {pack} {detail}; correct the pack's description or install the pack again"
    )]
    Shape {
        /// The pack.
        pack: PackId,
        /// The file.
        file: String,
        /// What is wrong.
        detail: String,
    },
    /// Embeddings depend on what else is in the batch.
    #[error(
        "the embedder of the pack {pack} gives a face another embedding in a batch than alone (cosine {cosine:.4}, \
         at least 0.9999 is needed), so it cannot be used; take a pack whose embedder is not quantised to int8"
    )]
    BatchDependent {
        /// The pack.
        pack: PackId,
        /// The cosine between both.
        cosine: f32,
    },
    /// The system gives no threads for the networks.
    #[error(
        "the threads for the model pack {pack} cannot be started ({detail}); allow this process more threads"
    )]
    Threads {
        /// The pack.
        pack: PackId,
        /// What the system says.
        detail: String,
    },
    /// ONNX Runtime does not take a model.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A model fails on a plain test picture.
    #[error("the model pack {pack} fails on a test picture ({source}); install the pack again")]
    Run {
        /// The pack.
        pack: PackId,
        /// What failed.
        source: EmbedError,
    },
}

/// One picture could not be embedded: give it up (dead letter) and go on with the others.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EmbedError {
    /// The pixels do not fill the size.
    #[error("the picture is given as {width} x {height} but has {bytes} bytes of pixels; decode it again")]
    Pixels {
        /// Width it should have.
        width: u32,
        /// Height it should have.
        height: u32,
        /// Bytes it has.
        bytes: usize,
    },
    /// A model failed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The detector gave something else than its family does.
    #[error("the detector {model} gave {detail}; leave this picture out")]
    Output {
        /// The model.
        model: String,
        /// What it gave.
        detail: String,
    },
    /// A fault in the program; the log has it.
    #[error("the picture was lost by a fault in the program, which its log tells of; leave this picture out")]
    Lost,
    /// The embedder gave no usable embedding.
    #[error("the embedder gave no embedding ({0}); leave this picture out")]
    Vector(#[from] VectorError),
}

fn listed(paths: &[PathBuf]) -> String {
    let shown: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    shown.join(", ")
}
