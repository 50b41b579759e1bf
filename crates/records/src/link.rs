//! What connects two faces. Raw measurements only: what they mean is decided when clusters are made, so that thresholds
//! can rise with the number of faces without searching again.

use serde::{Deserialize, Serialize};

use crate::{Cosine, FaceOrdinal};

/// How alike the two pictures themselves are, whoever they show.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct PhotoRelation {
    /// PDQ distance of the whole pictures, 0 to 256, the smaller of direct and mirrored; `None` if a hash is unknown
    /// or has too little quality.
    pub pdq_distance: Option<u16>,
    /// PDQ distance of the aligned faces with a margin (crops of one picture agree here), likewise.
    pub crop_distance: Option<u16>,
    /// Whether the mirrored comparison was the closer one.
    pub mirrored: bool,
}

/// Two faces in two distinct pictures that are alike, by their numbers, so that a pair has one form.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct FaceLink {
    /// The face that came later.
    pub newer: FaceOrdinal,
    /// The one that was there before; `older < newer`.
    pub older: FaceOrdinal,
    /// Exact cosine of the stored fp16 embeddings.
    pub cosine: Cosine,
    /// How alike the pictures are.
    pub relation: PhotoRelation,
}

impl FaceLink {
    /// Puts the two faces in order; `None` for a face and itself.
    pub fn new(
        one: FaceOrdinal,
        other: FaceOrdinal,
        cosine: Cosine,
        relation: PhotoRelation,
    ) -> Option<Self> {
        let (newer, older) = (one.max(other), one.min(other));
        (newer != older).then_some(Self { newer, older, cosine, relation })
    }
}
