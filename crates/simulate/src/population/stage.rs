//! The workbench on which one scene's accounts are made.

use std::sync::Arc;

use rand::RngExt;
use rand::seq::{IndexedRandom, SliceRandom};
use rand_chacha::ChaCha8Rng;
use records::{AccountId, PhotoId};

use super::clock::{DAY, Window, time};
use super::picture::{Content, Kinship, Original, Person, Picture, Shown, Treatment};
use super::profile::{Habit, facts};
use super::world::{World, one_face};
use super::{Account, Label, Options, Photo};
use crate::seeding::{generator, mix, scramble};

/// A picture and when it was put on the account, in microseconds since 1970.
pub(super) type Posted = (Picture, i64);

/// The workbench.
pub(super) struct Stage<'a> {
    /// The population's options.
    pub options: &'a Options,
    /// What everybody has in common.
    pub world: &'a World,
    /// When the population was observed.
    pub window: Window,
    /// The scene's generator.
    pub rng: ChaCha8Rng,
    seed: u64,
    fresh: u64,
    next: u64,
    /// The accounts made so far.
    pub accounts: Vec<Account>,
}

impl<'a> Stage<'a> {
    /// A workbench for a scene whose first account has this number in the population.
    pub(super) fn new(options: &'a Options, world: &'a World, first: u64) -> Self {
        let seed = mix(options.seed, first);
        Self {
            options,
            world,
            window: Window::new(options),
            rng: generator(seed),
            seed,
            fresh: 0,
            next: first,
            accounts: Vec::new(),
        }
    }

    pub(super) fn chance(&mut self, probability: f64) -> bool {
        self.rng.random_bool(probability)
    }

    pub(super) fn number(&mut self, least: usize, most: usize) -> usize {
        self.rng.random_range(least..=most.max(least))
    }

    fn fresh_seed(&mut self) -> u64 {
        self.fresh += 1;
        mix(self.seed ^ 0xf4e5, self.fresh)
    }

    /// Somebody new.
    pub(super) fn person(&mut self) -> Person {
        Person { seed: self.fresh_seed(), family: None }
    }

    /// New members of a new family.
    pub(super) fn family(&mut self, kinship: Kinship, members: usize) -> Vec<Person> {
        let family = self.fresh_seed();
        (0..members).map(|_| Person { seed: self.fresh_seed(), family: Some((family, kinship)) }).collect()
    }

    /// A new photo of one person. One in twenty-five shows the face small.
    pub(super) fn portrait(&mut self, person: Person) -> Arc<Original> {
        let seed = self.fresh_seed();
        if self.chance(0.04) {
            one_face(seed, person, 24.0, 55.0)
        } else {
            one_face(seed, person, 62.0, 360.0)
        }
    }

    /// A new photo of a face too small or blurred to be told from others.
    pub(super) fn blurred(&mut self, person: Person) -> Arc<Original> {
        let seed = self.fresh_seed();
        one_face(seed, person, 12.0, 52.0)
    }

    /// The face of nobody.
    pub(super) fn generated(&mut self) -> Arc<Original> {
        let shown = Shown { person: self.person(), width_px: self.rng.random_range(180.0..420.0) };
        Arc::new(Original { seed: self.fresh_seed(), content: Content::Generated, faces: vec![shown] })
    }

    /// A new photo of several people.
    pub(super) fn together(&mut self, people: &[Person]) -> Arc<Original> {
        let widest = self.rng.random_range(60.0..150.0_f32);
        let mut faces: Vec<Shown> = people
            .iter()
            .map(|person| Shown { person: *person, width_px: widest * self.rng.random_range(0.6..1.0) })
            .collect();
        faces.sort_by(|a, b| b.width_px.total_cmp(&a.width_px));
        Arc::new(Original { seed: self.fresh_seed(), content: Content::Photo, faces })
    }

    /// A new picture without a face.
    pub(super) fn scenery(&mut self) -> Arc<Original> {
        Arc::new(Original { seed: self.fresh_seed(), content: Content::Scenery, faces: Vec::new() })
    }

    /// The picture itself.
    pub(super) fn original(&self, original: &Arc<Original>) -> Picture {
        Picture { original: original.clone(), treatment: Treatment::NONE }
    }

    /// As people and platforms hand pictures on: the same bytes, encoded again, made smaller, sometimes cropped.
    pub(super) fn reposted(&mut self, original: &Arc<Original>) -> Picture {
        let reencoded = self.chance(0.6);
        let resized = reencoded && self.chance(0.4);
        let cropped = reencoded && self.chance(0.12);
        self.treated(original, Treatment { reencoded, resized, cropped, ..Treatment::NONE })
    }

    /// As bots re-use pictures: some as they are, most disguised.
    pub(super) fn disguised(&mut self, original: &Arc<Original>) -> Picture {
        let treatment = if self.chance(0.25) {
            Treatment::NONE
        } else {
            Treatment {
                reencoded: true,
                resized: self.chance(0.35),
                cropped: self.chance(0.35),
                mirrored: self.chance(0.25),
                greyed: self.chance(0.08),
                variant: 0,
            }
        };
        self.treated(original, treatment)
    }

    fn treated(&mut self, original: &Arc<Original>, mut treatment: Treatment) -> Picture {
        if treatment != Treatment::NONE {
            treatment.variant = self.fresh_seed() | 1;
        }
        Picture { original: original.clone(), treatment }
    }

    /// One of these at random; a scenery if there are none.
    pub(super) fn pick(&mut self, from: &[Arc<Original>]) -> Arc<Original> {
        match from.choose(&mut self.rng) {
            Some(original) => original.clone(),
            None => self.scenery(),
        }
    }

    /// Some of these, `count` at most, each once.
    pub(super) fn some<T: Clone>(&mut self, from: &[T], count: usize) -> Vec<T> {
        let mut order: Vec<usize> = (0..from.len()).collect();
        order.shuffle(&mut self.rng);
        order.into_iter().take(count).map(|at| from[at].clone()).collect()
    }

    /// What anybody may show besides: a landscape, a celebrity, a meme.
    pub(super) fn sundries(&mut self, posted: &mut Vec<Posted>, from: i64) {
        for (probability, which) in [(0.2, 0), (0.06, 1), (0.05, 2)] {
            if self.chance(probability) {
                let original = match which {
                    0 => self.scenery(),
                    1 => {
                        let celebrity = self.world.any_celebrity(&mut self.rng);
                        self.world.official_photo(celebrity, &mut self.rng)
                    }
                    _ => self.world.meme(&mut self.rng),
                };
                let picture = self.reposted(&original);
                let at = self.moment(from);
                posted.push((picture, at));
            }
        }
    }

    /// A time between `from` (or the begin of the observation) and its end.
    pub(super) fn moment(&mut self, from: i64) -> i64 {
        Window::between(from.max(self.window.start), self.window.end - DAY, &mut self.rng)
    }

    /// New photos of a person, at times since `from`.
    pub(super) fn own_photos(&mut self, person: Person, least: usize, most: usize, from: i64) -> Vec<Posted> {
        let count = self.number(least, most);
        (0..count)
            .map(|_| {
                let photo = self.portrait(person);
                (self.original(&photo), self.moment(from))
            })
            .collect()
    }

    /// Takes an account into the population. Its photos are seen when they are posted, or a little later, but not
    /// before `seen_from`, when the account was first looked at.
    pub(super) fn add(
        &mut self,
        label: Label,
        habit: Habit,
        created: i64,
        seen_from: i64,
        mut photos: Vec<Posted>,
    ) {
        if photos.is_empty() {
            let scenery = self.scenery();
            photos.push((self.original(&scenery), created));
        }
        let seen = |posted: i64, rng: &mut ChaCha8Rng| {
            let at = posted.max(seen_from).max(created) + Window::wait(1.5, rng).min(30 * DAY);
            at.clamp(self.window.start, self.window.end)
        };
        let mut photos: Vec<Posted> =
            photos.into_iter().map(|(picture, at)| (picture, seen(at, &mut self.rng))).collect();
        photos.sort_by_key(|(_, at)| *at);
        // The generator's finaliser is a bijection, so no two accounts of a population get one id.
        let id = scramble(self.next ^ scramble(self.options.seed));
        self.next += 1;
        let Ok(id) = AccountId::new(format!("u{id:016x}")) else { return };
        let photos = photos.into_iter().enumerate().filter_map(|(number, (picture, at))| {
            let id = PhotoId::new(format!("p{number}")).ok()?;
            Some(Photo { id, picture, observed_at: time(at) })
        });
        let photos = photos.collect();
        let facts = facts(habit, time(created), &mut self.rng);
        self.accounts.push(Account { id, label, facts, photos });
    }
}
