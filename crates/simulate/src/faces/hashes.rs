//! Hashes of pictures that are never drawn, consistent with what was done to each copy.

use rand::RngExt;
use records::Pdq;
use sha2::{Digest, Sha256};

use crate::population::Picture;
use crate::seeding::{generator, mix};

/// Mirroring negates the PDQ coefficients of odd horizontal frequency, which are every second bit of a row.
const MIRRORED: u8 = 0x55;

/// What stands for the SHA-256 of the bytes: equal exactly for copies with equal bytes.
pub fn photo_sha256(picture: &Picture) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(b"simulated picture\0");
    hasher.update(picture.identity().to_le_bytes());
    hasher.finalize().into()
}

/// What stands for the PDQ hash: re-encoding and resizing move a few bits, mirroring negates every second one and moves
/// a few more, and cropping moves many (50 to 110 of 256).
pub fn photo_pdq(picture: &Picture) -> Pdq {
    let mut bits = [0; 32];
    generator(mix(picture.original.seed, 0x0070_6471)).fill(&mut bits);
    let treatment = picture.treatment;
    let mut rng = generator(mix(picture.identity(), 0x0070_6471));
    let mut moved = 0;
    for (done, least, most) in [
        (treatment.reencoded, 0, 8),
        (treatment.resized, 2, 10),
        (treatment.greyed, 0, 6),
        (treatment.mirrored, 0, 6),
        (treatment.cropped, 50, 110),
    ] {
        let drawn = rng.random_range(least..=most);
        moved += if done { drawn } else { 0 };
    }
    if treatment.mirrored {
        bits.iter_mut().for_each(|byte| *byte ^= MIRRORED);
    }
    // Distinct places, so that the distance is what was drawn.
    for place in rand::seq::index::sample(&mut rng, 256, moved.min(256)) {
        bits[place / 8] ^= 1 << (place % 8);
    }
    Pdq { bits, quality: 100 }
}
