//! One face in one picture.

use serde::{Deserialize, Serialize};

use crate::Embedding;

/// A box in pixels of the picture after EXIF rotation; `x1 < x2`, `y1 < y2`; may reach beyond the picture.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct FaceBox {
    /// Left.
    pub x1: f32,
    /// Top.
    pub y1: f32,
    /// Right.
    pub x2: f32,
    /// Bottom.
    pub y2: f32,
}

impl FaceBox {
    /// Width in pixels.
    pub fn width(&self) -> f32 {
        self.x2 - self.x1
    }

    /// Height in pixels.
    pub fn height(&self) -> f32 {
        self.y2 - self.y1
    }

    /// Area in square pixels.
    pub fn area(&self) -> f32 {
        self.width() * self.height()
    }
}

/// Image-left eye, image-right eye, nose, image-left and image-right corner of the mouth; `[x, y]` in pixels of the
/// picture after EXIF rotation.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Landmarks(pub [[f32; 2]; 5]);

/// What a face is worth as evidence.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Quality {
    /// Width of the face in pixels of the source picture.
    pub width_px: f32,
    /// 0 (blurred) to 1 (sharp).
    pub sharpness: f32,
    /// 0 (frontal) to 1 (profile), from the landmarks.
    pub turned: f32,
    /// The detector's score, 0 to 1.
    pub score: f32,
    /// All of it in one figure, 0 to 1.
    pub figure: f32,
    /// Whether the face may make a link: too small, blurred or turned ones are searchable only.
    pub linkable: bool,
}

/// A detected and embedded face.
#[derive(Clone, PartialEq, Debug)]
pub struct Face {
    /// Where it is; `None` for faces that came already embedded.
    pub place: Option<(FaceBox, Landmarks)>,
    /// What it is worth.
    pub quality: Quality,
    /// Largest face of its picture. Passers-by in the background are not.
    pub main: bool,
    /// Distance of the eyes from where generated portraits put them, in fractions of the picture's width; `None` if
    /// the picture is not square or the landmarks are unknown. Below about 0.02 is suspicious.
    pub eye_alignment: Option<f32>,
    /// PDQ of the aligned face with a margin: equal for two crops of one picture, where the whole picture's is not.
    pub pdq: Option<crate::Pdq>,
    /// PDQ of the same, mirrored.
    pub pdq_mirrored: Option<crate::Pdq>,
    /// The embedding.
    pub embedding: Embedding,
}
