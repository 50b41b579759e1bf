//! Rings of bots and the victims whose photos they stole.

use std::sync::Arc;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::clock::{DAY, Window};
use super::picture::{Original, Person};
use super::plan::start_of_ring;
use super::profile::Habit;
use super::stage::{Posted, Stage};
use super::{Label, Options, TrueRole};

/// What a ring does. In the order of the fields of [`super::RingMix`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum RingKind {
    StolenPool,
    OnePerson,
    MassPhoto,
    Slow,
    SharedPerson,
    Generated,
}

impl RingKind {
    pub(super) const ALL: [Self; 6] =
        [Self::StolenPool, Self::OnePerson, Self::MassPhoto, Self::Slow, Self::SharedPerson, Self::Generated];

    const fn name(self) -> &'static str {
        match self {
            Self::StolenPool => "bot_stolen_pool",
            Self::OnePerson => "bot_one_person",
            Self::MassPhoto => "bot_mass_photo",
            Self::Slow => "bot_slow",
            Self::SharedPerson => "bot_shared_person",
            Self::Generated => "bot_generated",
        }
    }
}

/// A ring, or two that stole from one person.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ring {
    kind: RingKind,
    bots: u32,
    /// People whose photos were stolen.
    people: u32,
    /// How many of them have an account of their own here.
    victims: u32,
    number: u32,
}

/// Somebody whose photos were stolen.
struct Source {
    person: Person,
    photos: Vec<Arc<Original>>,
}

/// When and by whom a ring is made.
struct Burst {
    start: i64,
    length: i64,
    label: Label,
}

impl Ring {
    pub(super) fn planned(
        kind: RingKind,
        bots: u32,
        number: u32,
        options: &Options,
        rng: &mut ChaCha8Rng,
    ) -> Self {
        let people = match kind {
            RingKind::StolenPool | RingKind::Slow => rng.random_range(2..=(bots / 5).clamp(2, 12)),
            RingKind::SharedPerson => rng.random_range(3..=(bots / 5).clamp(3, 9)),
            RingKind::OnePerson | RingKind::MassPhoto => 1,
            RingKind::Generated => 0,
        };
        let victims = (0..people).filter(|_| rng.random_bool(options.victims_present)).count() as u32;
        Self { kind, bots, people, victims, number }
    }

    /// The same ring with fewer victims, if there is room for fewer only.
    pub(super) fn with_at_most(mut self, accounts: u32) -> Self {
        self.victims = self.victims.min(accounts.saturating_sub(self.bots));
        self
    }

    pub(super) fn accounts(self) -> u32 {
        self.bots + self.victims
    }

    pub(super) fn draw(self, stage: &mut Stage<'_>) {
        let start = start_of_ring(stage.window, &mut stage.rng);
        let sources: Vec<Source> = (0..self.people).map(|_| self.source(stage)).collect();
        let burst = |start, length, number| Burst {
            start,
            length,
            label: Label { ring: Some(number), role: TrueRole::Bot, kind: self.kind.name() },
        };
        let bots = self.bots as usize;
        match self.kind {
            RingKind::StolenPool => {
                let length = stage.rng.random_range(DAY / 4..12 * DAY);
                let pool = pooled(&sources, stage, bots);
                bots_of_pool(&pool, bots, &burst(start, length, self.number), stage);
            }
            RingKind::Slow => {
                let length = stage.rng.random_range(150 * DAY..540 * DAY);
                let start = start.min(stage.window.end - length / 2 - 20 * DAY).max(stage.window.start);
                let pool = pooled(&sources, stage, bots);
                bots_of_pool(&pool, bots, &burst(start, length, self.number), stage);
            }
            RingKind::SharedPerson => {
                let half = bots / 2;
                for (piece, size) in [half, bots - half].into_iter().enumerate() {
                    let apart = piece as i64 * Window::between(60 * DAY, 200 * DAY, &mut stage.rng);
                    let length = stage.rng.random_range(DAY / 2..10 * DAY);
                    // The first person is shared; the others belong to one of the two rings.
                    let own = sources.iter().skip(1).skip(piece).step_by(2);
                    let mut pool: Vec<Arc<Original>> = own.flat_map(|s| s.photos.iter().cloned()).collect();
                    if let Some(shared) = sources.first() {
                        let most = shared.photos.len().div_ceil(2);
                        pool.extend(stage.some(&shared.photos, most));
                    }
                    let burst = burst(start - apart, length, self.number + piece as u32);
                    bots_of_pool(&pool, size, &burst, stage);
                }
            }
            RingKind::Generated => {
                let length = stage.rng.random_range(DAY / 4..12 * DAY);
                let faces = (bots / 2).max(2);
                let pool: Vec<_> = (0..faces).map(|_| stage.generated()).collect();
                bots_of_pool(&pool, bots, &burst(start, length, self.number), stage);
            }
            RingKind::OnePerson => {
                let length = stage.rng.random_range(DAY / 8..5 * DAY);
                bots_of_one_person(&sources, bots, &burst(start, length, self.number), stage);
            }
            RingKind::MassPhoto => {
                let length = stage.rng.random_range(DAY / 8..6 * DAY);
                bots_of_one_photo(&sources, bots, &burst(start, length, self.number), stage);
            }
        }
        for source in sources.iter().take(self.victims as usize) {
            victim(source, start, stage);
        }
    }

    fn source(self, stage: &mut Stage<'_>) -> Source {
        let person = stage.person();
        let photos = match self.kind {
            RingKind::MassPhoto => 1,
            RingKind::OnePerson => self.bots as usize * 2,
            _ => stage.number(3, 9),
        };
        let photos = (0..photos)
            .map(|_| {
                if stage.chance(0.06) {
                    let friend = stage.person();
                    stage.together(&[person, friend])
                } else {
                    stage.portrait(person)
                }
            })
            .collect();
        Source { person, photos }
    }
}

/// The photos of a pool: not so many that each bot could have its own.
fn pooled(sources: &[Source], stage: &mut Stage<'_>, bots: usize) -> Vec<Arc<Original>> {
    let all: Vec<_> = sources.iter().flat_map(|s| s.photos.iter().cloned()).collect();
    let most = stage.number(3, (bots * 2 / 3).max(4));
    stage.some(&all, most)
}

/// When a bot of a burst is made: most soon after its begin.
fn created(burst: &Burst, stage: &mut Stage<'_>) -> i64 {
    let part: f64 = stage.rng.random();
    let made = burst.start + (part * burst.length as f64) as i64;
    // One in twelve is an older account that was bought.
    if stage.chance(0.08) { made - Window::between(100 * DAY, 1_500 * DAY, &mut stage.rng) } else { made }
}

fn bot(burst: &Burst, photos: Vec<Arc<Original>>, stage: &mut Stage<'_>) {
    let created = created(burst, stage);
    let used_from = created.max(burst.start);
    let mut posted: Vec<Posted> = Vec::with_capacity(photos.len());
    for photo in photos {
        let at = used_from + Window::wait(3.0, &mut stage.rng).min(40 * DAY);
        posted.push((stage.disguised(&photo), at));
    }
    stage.sundries(&mut posted, used_from);
    let disguise = stage.options.bots_in_disguise;
    let habit = if stage.chance(disguise) { Habit::Ordinary } else { Habit::Bot };
    stage.add(burst.label, habit, created, used_from, posted);
}

/// Bots that share the photos of a pool. Each but the first shows at least one that an earlier one shows, so that the
/// ring hangs together.
fn bots_of_pool(pool: &[Arc<Original>], bots: usize, burst: &Burst, stage: &mut Stage<'_>) {
    let mut shown: Vec<Arc<Original>> = Vec::new();
    for _ in 0..bots {
        let count = stage.number(1, 4);
        let mut photos = Vec::with_capacity(count);
        photos.push(if shown.is_empty() { stage.pick(pool) } else { stage.pick(&shown) });
        for photo in stage.some(pool, count - 1) {
            if photos.iter().all(|other| other.seed != photo.seed) {
                photos.push(photo);
            }
        }
        shown.extend(photos.iter().cloned());
        bot(burst, photos, stage);
    }
}

/// Bots that show one person, each on photos of its own; few are used twice.
fn bots_of_one_person(sources: &[Source], bots: usize, burst: &Burst, stage: &mut Stage<'_>) {
    let Some(source) = sources.first() else { return };
    let mut unused = source.photos.clone();
    for _ in 0..bots {
        let count = stage.number(1, 3);
        let mut photos = Vec::new();
        for _ in 0..count {
            let again = stage.chance(0.12);
            match unused.pop() {
                Some(photo) if !again => photos.push(photo),
                _ => photos.push(stage.pick(&source.photos)),
            }
        }
        photos.dedup_by_key(|photo| photo.seed);
        bot(burst, photos, stage);
    }
}

/// Bots that all show one photo, more than half of them the very same bytes.
fn bots_of_one_photo(sources: &[Source], bots: usize, burst: &Burst, stage: &mut Stage<'_>) {
    let Some(photo) = sources.first().and_then(|s| s.photos.first()).cloned() else { return };
    for _ in 0..bots {
        let created = created(burst, stage);
        let used_from = created.max(burst.start);
        let at = used_from + Window::wait(1.0, &mut stage.rng);
        let picture = if stage.chance(0.55) { stage.original(&photo) } else { stage.disguised(&photo) };
        let mut posted = vec![(picture, at)];
        stage.sundries(&mut posted, used_from);
        let disguise = stage.options.bots_in_disguise;
        let habit = if stage.chance(disguise) { Habit::Ordinary } else { Habit::Bot };
        stage.add(burst.label, habit, created, used_from, posted);
    }
}

/// The one whose photos were stolen: an older account with many photos. One in seven is observed only after the ring.
fn victim(source: &Source, stolen: i64, stage: &mut Stage<'_>) {
    let created = stolen - Window::between(400 * DAY, 2_800 * DAY, &mut stage.rng);
    let seen_from = if stage.chance(0.15) { stage.moment(stolen) } else { stage.window.start };
    let label = Label { ring: None, role: TrueRole::Victim, kind: "victim" };
    let mut posted = stage.own_photos(source.person, 4, 20, created);
    // Of very many stolen photos the account shows a part; the others were stolen elsewhere.
    let stolen_photos = stage.some(&source.photos, 12);
    for photo in stolen_photos {
        let at = Window::between(created, stolen - DAY, &mut stage.rng);
        posted.push((stage.original(&photo), at));
    }
    stage.sundries(&mut posted, created);
    stage.add(label, Habit::Rich, created, seen_from, posted);
}
