//! Events on their way through the stages: with fetched pictures, then with embedded faces.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    AccountId, ContentHash, DeadLetterReason, Face, GivenFace, Origin, PackId, Pdq, PhotoId, PhotoKey,
    ProfileFacts, Timestamp,
};

/// A decoded picture: first frame, EXIF-rotated, alpha composited on white.
#[derive(Clone, PartialEq, Eq)]
pub struct Pixels {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// `height * width * 3` bytes, rows from the top, RGB.
    pub rgb: Bytes,
}

impl std::fmt::Debug for Pixels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pixels({}x{})", self.width, self.height)
    }
}

type Decode = dyn Fn() -> Result<Pixels, (DeadLetterReason, String)> + Send + Sync;

/// A fetched picture that waits as a file, since too many pixels are waiting already. Whoever needs it decodes it.
#[derive(Clone)]
pub struct Encoded(Arc<Decode>);

impl Encoded {
    /// With the way to decode it.
    pub fn new(
        decode: impl Fn() -> Result<Pixels, (DeadLetterReason, String)> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(decode))
    }

    /// Decodes it. Blocks for as long as that takes.
    ///
    /// # Errors
    /// The reason and a sentence for a dead letter of the fetch stage.
    pub fn decode(&self) -> Result<Pixels, (DeadLetterReason, String)> {
        (self.0)()
    }
}

impl PartialEq for Encoded {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl std::fmt::Debug for Encoded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Encoded")
    }
}

/// What is known of a photo's picture after the fetch stage.
#[derive(Clone, PartialEq, Debug)]
pub enum Picture {
    /// Fetched and decoded.
    Pixels(Pixels),
    /// Fetched, to be decoded when its turn comes.
    Encoded(Encoded),
    /// Fetched, and the state has this picture's faces already: nothing to decode or embed.
    Known,
    /// Never fetched: somebody already embedded its faces (rows of a `faces` file).
    Given(Vec<GivenFace>),
}

/// One photo of an account after the fetch stage.
#[derive(Clone, PartialEq, Debug)]
pub struct FetchedPhoto {
    /// The account's name for it.
    pub photo_id: PhotoId,
    /// The distinct picture it shows.
    pub key: PhotoKey,
    /// Size of the file in bytes; 0 if never fetched.
    pub file_bytes: u64,
    /// The picture.
    pub picture: Picture,
}

/// Facts of a distinct picture that do not depend on who owns it.
#[derive(Clone, PartialEq, Debug)]
pub struct PhotoFacts {
    /// Width and height in pixels; zeros if never seen.
    pub size: (u32, u32),
    /// Whether the key is the SHA-256 of real bytes, so that equal keys mean equal bytes.
    pub hashed: bool,
    /// Perceptual hash, if known.
    pub pdq: Option<Pdq>,
    /// Perceptual hash of the mirrored picture, if known.
    pub pdq_mirrored: Option<Pdq>,
    /// The model pack that found and embedded the faces.
    pub pack: PackId,
}

/// Everything the embed stage finds in a picture.
#[derive(Clone, PartialEq, Debug)]
pub struct PhotoContent {
    /// Facts of the picture.
    pub facts: PhotoFacts,
    /// Its faces, largest first; empty if it shows none.
    pub faces: Vec<Face>,
    /// Whether more faces of the same photo may arrive later (rows of a `faces` file come in any order).
    pub partial: bool,
    /// A small JPEG for reports, only if the operator configured it.
    pub thumbnail: Option<Bytes>,
}

/// One photo of an account after the embed stage.
#[derive(Clone, PartialEq, Debug)]
pub struct EmbeddedPhoto {
    /// The account's name for it.
    pub photo_id: PhotoId,
    /// The distinct picture it shows.
    pub key: PhotoKey,
    /// What it shows; `None` if the state has it already.
    pub content: Option<PhotoContent>,
}

/// What an event does to an account's photos, `P` being what the stage knows of a photo.
#[derive(Clone, PartialEq, Debug)]
pub enum StagedBody<P> {
    /// These photos replace the account's set. Photos that failed are missing here and stand in the dead letters.
    Replace {
        /// The set that could be had.
        photos: Vec<P>,
        /// The profile.
        facts: ProfileFacts,
    },
    /// These photos are added to the account's set.
    Add {
        /// The photos.
        photos: Vec<P>,
        /// The profile, if the source has it.
        facts: Option<ProfileFacts>,
    },
    /// The account was deleted.
    Deleted,
}

/// An event within the pipeline.
#[derive(Clone, PartialEq, Debug)]
pub struct Staged<P> {
    /// The account.
    pub account: AccountId,
    /// When the platform observed this.
    pub observed_at: Timestamp,
    /// Of the event as it came from the source; settles which of two events at one time counts.
    pub content_hash: ContentHash,
    /// What happened.
    pub body: StagedBody<P>,
    /// Where the event came from.
    pub origin: Origin,
}

impl<P> Staged<P> {
    /// The photos, whatever is done with them.
    pub fn photos(&self) -> &[P] {
        match &self.body {
            StagedBody::Replace { photos, .. } | StagedBody::Add { photos, .. } => photos,
            StagedBody::Deleted => &[],
        }
    }

    /// Puts the next stage's photos in the place of this one's.
    pub fn map_photos<Q>(self, next: impl FnOnce(Vec<P>) -> Vec<Q>) -> Staged<Q> {
        let Self { account, observed_at, content_hash, body, origin } = self;
        let body = match body {
            StagedBody::Replace { photos, facts } => StagedBody::Replace { photos: next(photos), facts },
            StagedBody::Add { photos, facts } => StagedBody::Add { photos: next(photos), facts },
            StagedBody::Deleted => StagedBody::Deleted,
        };
        Staged { account, observed_at, content_hash, body, origin }
    }
}

/// An event whose pictures are fetched.
pub type FetchedEvent = Staged<FetchedPhoto>;

/// An event whose pictures are embedded.
pub type EmbeddedEvent = Staged<EmbeddedPhoto>;
