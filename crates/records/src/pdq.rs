//! PDQ, the perceptual hash of a whole picture.

use serde::{Deserialize, Serialize};

/// A 256-bit PDQ hash with its quality ("The TMK+PDQF Video-Hashing Algorithm and the PDQ Image-Hashing Algorithm",
/// Facebook 2019).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Pdq {
    /// The 256 bits.
    pub bits: [u8; 32],
    /// 0 to 100: how much structure the picture has. Below 50 two hashes say little.
    pub quality: u8,
}

impl Pdq {
    /// Hamming distance of the bits, 0 to 256. The authors call 31 or less a match.
    pub fn distance(&self, other: &Self) -> u16 {
        self.bits.iter().zip(&other.bits).map(|(a, b)| (a ^ b).count_ones() as u16).sum()
    }

    /// The hash of the mirrored picture, as far as it follows from this one: mirroring turns the sign of every second
    /// horizontal frequency, which leaves the median nearly where it was, so a few bits may differ from the hash of the
    /// mirrored pixels.
    pub fn mirrored(&self) -> Self {
        Self { bits: self.bits.map(|byte| byte ^ 0x55), quality: self.quality }
    }

    /// Whether the picture has enough structure to be compared (quality of at least 50, as the authors advise).
    pub fn is_usable(&self) -> bool {
        self.quality >= 50
    }
}
