//! Pictures as facts: who is on them, and what was done to a copy. How they look or embed is another module's matter.

use std::sync::Arc;

/// How closely two relatives resemble each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kinship {
    /// Embeddings of two photos have cosines of about .4 to .6.
    Siblings,
    /// Embeddings of two photos have cosines of about .6 to .8.
    Twins,
}

/// Somebody who is seen on photos; equal seeds are the same person.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Person {
    /// What makes this person different from others.
    pub seed: u64,
    /// The family's seed and how alike its members are.
    pub family: Option<(u64, Kinship)>,
}

/// A person on a picture.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Shown {
    /// Who.
    pub person: Person,
    /// Width of the face in pixels of the original.
    pub width_px: f32,
}

/// What kind of picture it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Content {
    /// A photo, of one person or of several.
    Photo,
    /// The face of nobody, as a generator draws it: square, eyes always at the same place.
    Generated,
    /// A landscape, a pet, a logo: no face.
    Scenery,
    /// The platform's own picture for accounts without one.
    DefaultAvatar,
}

/// A picture before anybody copied it; equal seeds are the same picture.
#[derive(Clone, PartialEq, Debug)]
pub struct Original {
    /// What makes this picture different from others.
    pub seed: u64,
    /// What kind it is.
    pub content: Content,
    /// Who is on it, largest first.
    pub faces: Vec<Shown>,
}

/// What was done to a copy. Two copies with equal values have equal bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Treatment {
    /// Encoded again with another quality.
    pub reencoded: bool,
    /// Made smaller.
    pub resized: bool,
    /// Cropped.
    pub cropped: bool,
    /// Mirrored left to right.
    pub mirrored: bool,
    /// Colours taken out.
    pub greyed: bool,
    /// Tells apart copies that were made separately; 0 for the untouched one.
    pub variant: u64,
}

impl Treatment {
    /// The very bytes of the original.
    pub const NONE: Self =
        Self { reencoded: false, resized: false, cropped: false, mirrored: false, greyed: false, variant: 0 };

    /// All of it as one number, for seeds.
    pub(crate) fn code(self) -> u64 {
        let flags = [self.reencoded, self.resized, self.cropped, self.mirrored, self.greyed];
        flags.iter().fold(1, |code, flag| code << 1 | u64::from(*flag)) ^ self.variant.rotate_left(8)
    }

    /// By how much a resized copy is smaller than its original, 0.45 to 1.
    pub(crate) fn scale(self) -> f32 {
        if self.resized {
            0.45 + 0.5 * (crate::seeding::scramble(self.variant) >> 40) as f32 / (1 << 24) as f32
        } else {
            1.0
        }
    }
}

/// A copy of a picture, as an account shows it.
#[derive(Clone, PartialEq, Debug)]
pub struct Picture {
    /// What was copied.
    pub original: Arc<Original>,
    /// What was done to it.
    pub treatment: Treatment,
}

impl Picture {
    /// A number that is equal for two pictures exactly if their bytes are.
    pub fn identity(&self) -> u64 {
        crate::seeding::mix(self.original.seed, self.treatment.code())
    }

    /// Width of a face of the original, in pixels of this copy.
    pub fn face_width(&self, face: &Shown) -> f32 {
        face.width_px * self.treatment.scale()
    }
}
