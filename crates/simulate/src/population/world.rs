//! What everybody has in common: celebrities, memes, stock portraits, default avatars.

use std::sync::Arc;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::picture::{Content, Original, Person, Shown};
use super::{HonestMix, Options};
use crate::seeding::{generator, mix};

/// Photos of a celebrity that go around.
const OFFICIAL_PHOTOS: u64 = 30;
/// Default avatars of the platform; the last one is a drawing in which detectors find a face.
const AVATARS: u64 = 4;

/// The pools, as numbers: every picture follows from its number.
#[derive(Clone, Debug)]
pub(super) struct World {
    seed: u64,
    /// How many celebrities there are.
    pub celebrities: u64,
    memes: u64,
    stock: u64,
}

impl World {
    pub(super) fn new(options: &Options) -> Self {
        let HonestMix { fan, meme, stock, .. } = options.honest;
        let pool =
            |share: f64, owners: f64, least: u64| (options.accounts as f64 * share / owners) as u64 + least;
        Self {
            seed: mix(options.seed, 0x0077_6f72_6c64),
            celebrities: pool(fan, 150.0, 3),
            memes: pool(meme, 40.0, 4),
            stock: pool(stock, 30.0, 3),
        }
    }

    /// A number below `count`; small ones come up more often, as with celebrities and memes.
    fn popular(count: u64, rng: &mut ChaCha8Rng) -> u64 {
        ((rng.random::<f64>().powi(2) * count as f64) as u64).min(count.saturating_sub(1))
    }

    /// Any celebrity, the famous ones more often.
    pub(super) fn any_celebrity(&self, rng: &mut ChaCha8Rng) -> u64 {
        Self::popular(self.celebrities, rng)
    }

    /// The celebrity of a number.
    pub(super) fn celebrity(&self, number: u64) -> Person {
        Person { seed: mix(self.seed ^ 1, number), family: None }
    }

    /// One of the photos of a celebrity that go around.
    pub(super) fn official_photo(&self, celebrity: u64, rng: &mut ChaCha8Rng) -> Arc<Original> {
        let seed = mix(mix(self.seed ^ 2, celebrity), Self::popular(OFFICIAL_PHOTOS, rng));
        one_face(seed, self.celebrity(celebrity), 90.0, 320.0)
    }

    /// A meme; a third shows no face.
    pub(super) fn meme(&self, rng: &mut ChaCha8Rng) -> Arc<Original> {
        let seed = mix(self.seed ^ 3, Self::popular(self.memes, rng));
        if seed.is_multiple_of(3) {
            Arc::new(Original { seed, content: Content::Scenery, faces: Vec::new() })
        } else {
            one_face(seed, Person { seed: mix(seed, 7), family: None }, 50.0, 250.0)
        }
    }

    /// A stock portrait; each model has several.
    pub(super) fn stock(&self, rng: &mut ChaCha8Rng) -> Arc<Original> {
        let number = Self::popular(self.stock * 4, rng);
        one_face(
            mix(self.seed ^ 4, number),
            Person { seed: mix(self.seed ^ 5, number / 4), family: None },
            120.0,
            380.0,
        )
    }

    /// A default avatar.
    pub(super) fn avatar(&self, rng: &mut ChaCha8Rng) -> Arc<Original> {
        let number = rng.random_range(0..AVATARS);
        let seed = mix(self.seed ^ 6, number);
        let drawn = Shown { person: Person { seed: mix(seed, 7), family: None }, width_px: 110.0 };
        let faces = if number == AVATARS - 1 { vec![drawn] } else { Vec::new() };
        Arc::new(Original { seed, content: Content::DefaultAvatar, faces })
    }
}

/// A photo of one person whose face has a width that follows from the photo's seed.
pub(super) fn one_face(seed: u64, person: Person, narrow: f32, wide: f32) -> Arc<Original> {
    let width_px = generator(mix(seed, 8)).random_range(narrow..wide);
    Arc::new(Original { seed, content: Content::Photo, faces: vec![Shown { person, width_px }] })
}
