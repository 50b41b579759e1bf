//! Honest accounts, most of them of a kind that looks like a ring in one way or another.

use std::sync::Arc;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::clock::{DAY, Window};
use super::picture::{Kinship, Original, Person};
use super::profile::Habit;
use super::stage::{Posted, Stage};
use super::world::World;
use super::{Label, TrueRole};

/// A scene of honest accounts. In the order of the fields of [`super::HonestMix`].
#[derive(Clone, Copy, Debug)]
pub(super) enum Honest {
    Plain,
    Friends,
    Fan,
    FanPage,
    Celebrity(u32),
    Meme,
    Stock,
    DefaultAvatar,
    Siblings,
    Twins,
    SeveralAccounts,
    Couple,
    Team,
    Blurry,
}

impl Honest {
    /// The kind at a place of [`super::HonestMix`]; `used` accounts are of it already.
    pub(super) fn of(at: usize, used: u64, world: &World) -> Self {
        const ORDER: [Honest; 14] = [
            Honest::Plain,
            Honest::Friends,
            Honest::Fan,
            Honest::FanPage,
            Honest::Celebrity(0),
            Honest::Meme,
            Honest::Stock,
            Honest::DefaultAvatar,
            Honest::Siblings,
            Honest::Twins,
            Honest::SeveralAccounts,
            Honest::Couple,
            Honest::Team,
            Honest::Blurry,
        ];
        match ORDER.get(at).copied().unwrap_or(Self::Plain) {
            // Each celebrity has one account; when all have theirs, others stay as plain as anybody.
            Self::Celebrity(_) if used < world.celebrities => Self::Celebrity(used as u32),
            Self::Celebrity(_) => Self::Plain,
            kind => kind,
        }
    }

    /// How many accounts such a scene has.
    pub(super) fn size(self, rng: &mut ChaCha8Rng) -> u32 {
        match self {
            Self::Plain | Self::Fan | Self::Meme | Self::Stock | Self::DefaultAvatar | Self::Blurry => {
                rng.random_range(8..=24)
            }
            Self::FanPage | Self::Celebrity(_) => 1,
            Self::Friends => rng.random_range(4..=20),
            Self::Siblings | Self::SeveralAccounts => rng.random_range(2..=3),
            Self::Twins | Self::Couple => 2,
            Self::Team => rng.random_range(4..=14),
        }
    }

    const fn label(self) -> Label {
        let kind = match self {
            Self::Plain => "honest_plain",
            Self::Friends => "honest_friend",
            Self::Fan => "honest_fan",
            Self::FanPage => "honest_fan_page",
            Self::Celebrity(_) => "honest_celebrity",
            Self::Meme => "honest_meme",
            Self::Stock => "honest_stock",
            Self::DefaultAvatar => "honest_default_avatar",
            Self::Siblings => "honest_sibling",
            Self::Twins => "honest_twin",
            Self::SeveralAccounts => "honest_several_accounts",
            Self::Couple => "honest_couple",
            Self::Team => "honest_team",
            Self::Blurry => "honest_blurry",
        };
        Label { ring: None, role: TrueRole::Honest, kind }
    }

    pub(super) fn draw(self, size: usize, stage: &mut Stage<'_>) {
        match self {
            Self::Friends => self.circle(size, stage),
            Self::Siblings => self.relatives(Kinship::Siblings, size, stage),
            Self::Twins => self.relatives(Kinship::Twins, size, stage),
            Self::SeveralAccounts => self.one_person(size, stage),
            Self::Couple => self.couple(size, stage),
            Self::Team => self.team(size, stage),
            _ => (0..size).for_each(|_| self.single(stage)),
        }
    }

    /// Somebody who has to do with others by way of pictures that go around, if at all.
    fn single(self, stage: &mut Stage<'_>) {
        let created = stage.window.ordinary_creation(&mut stage.rng);
        let person = stage.person();
        let mut posted: Vec<Posted> = Vec::new();
        match self {
            Self::Fan => {
                let idol = stage.world.any_celebrity(&mut stage.rng);
                let count = stage.number(1, 4);
                fandom(idol, count, created, stage, &mut posted);
                posted.extend(stage.own_photos(person, 0, 3, created));
            }
            Self::FanPage => {
                let idol = stage.world.any_celebrity(&mut stage.rng);
                let count = stage.number(6, 25);
                fandom(idol, count, created, stage, &mut posted);
            }
            Self::Celebrity(number) => {
                for _ in 0..25 {
                    let photo = stage.world.official_photo(u64::from(number), &mut stage.rng);
                    let at = stage.moment(created);
                    posted.push((stage.original(&photo), at));
                }
                let idol = stage.world.celebrity(u64::from(number));
                posted.extend(stage.own_photos(idol, 5, 20, created));
                posted.sort_by_key(|(picture, at)| (picture.identity(), *at));
                posted.dedup_by_key(|(picture, _)| picture.identity());
            }
            Self::Meme | Self::Stock => {
                for _ in 0..stage.number(1, 3) {
                    let picture = match self {
                        Self::Meme => stage.world.meme(&mut stage.rng),
                        _ => stage.world.stock(&mut stage.rng),
                    };
                    let at = stage.moment(created);
                    posted.push((stage.reposted(&picture), at));
                }
                if stage.chance(0.4) {
                    posted.extend(stage.own_photos(person, 1, 2, created));
                }
            }
            Self::DefaultAvatar => {
                let avatar = stage.world.avatar(&mut stage.rng);
                posted.push((stage.original(&avatar), created));
            }
            Self::Blurry => {
                for _ in 0..stage.number(1, 4) {
                    let photo = stage.blurred(person);
                    let at = stage.moment(created);
                    posted.push((stage.original(&photo), at));
                }
            }
            _ => posted.extend(stage.own_photos(person, 1, 7, created)),
        }
        if !matches!(self, Self::DefaultAvatar | Self::Celebrity(_)) {
            stage.sundries(&mut posted, created);
        }
        let habit = if matches!(self, Self::Celebrity(_)) { Habit::Celebrity } else { Habit::Ordinary };
        self.add(habit, created, posted, stage);
    }

    fn add(self, habit: Habit, created: i64, posted: Vec<Posted>, stage: &mut Stage<'_>) {
        let seen_from = stage.window.start;
        stage.add(self.label(), habit, created, seen_from, posted);
    }

    /// Friends: own photos, group photos that several of them show, and photos of each other. One circle in ten signed
    /// up together.
    fn circle(self, size: usize, stage: &mut Stage<'_>) {
        let people: Vec<Person> = (0..size).map(|_| stage.person()).collect();
        let together = stage.chance(0.1);
        let day = stage.window.ordinary_creation(&mut stage.rng);
        let created: Vec<i64> = (0..size)
            .map(|_| match together {
                true => day + Window::between(0, 4 * DAY, &mut stage.rng),
                false => stage.window.ordinary_creation(&mut stage.rng),
            })
            .collect();
        let mut posted: Vec<Vec<Posted>> = (0..size)
            .map(|at| {
                let mut own = stage.own_photos(people[at], 1, 6, created[at]);
                stage.sundries(&mut own, created[at]);
                own
            })
            .collect();
        for _ in 0..size.div_ceil(2) {
            let everybody: Vec<usize> = (0..size).collect();
            let count = stage.number(2, 6);
            let present = stage.some(&everybody, count);
            let faces: Vec<Person> = present.iter().map(|at| people[*at]).collect();
            let photo = stage.together(&faces);
            let when = stage.moment(day);
            for at in present {
                if stage.chance(0.5) {
                    let picture = stage.reposted(&photo);
                    posted[at].push((picture, when + Window::wait(2.0, &mut stage.rng)));
                }
            }
        }
        for at in 0..size {
            let other = stage.number(0, size - 1);
            if stage.chance(0.15) && other != at {
                show_friend(people[other], other, at, &mut posted, stage);
            }
        }
        for (at, photos) in posted.into_iter().enumerate() {
            self.add(Habit::Ordinary, created[at], photos, stage);
        }
    }

    /// Brothers and sisters: each on own photos, some on photos with each other.
    fn relatives(self, kinship: Kinship, size: usize, stage: &mut Stage<'_>) {
        let people = stage.family(kinship, size);
        let shared = stage.chance(0.35).then(|| stage.together(&people));
        for person in people {
            let created = stage.window.ordinary_creation(&mut stage.rng);
            let mut posted = stage.own_photos(person, 1, 6, created);
            self.maybe_shared(shared.as_ref(), created, &mut posted, stage);
            stage.sundries(&mut posted, created);
            self.add(Habit::Ordinary, created, posted, stage);
        }
    }

    /// One person's accounts: business and private, or the one whose password was lost. Some photos stand on both; one
    /// in eight such people makes the accounts on one day.
    fn one_person(self, size: usize, stage: &mut Stage<'_>) {
        let person = stage.person();
        let favourites: Vec<Arc<Original>> = (0..2).map(|_| stage.portrait(person)).collect();
        let same_day = stage.chance(0.12);
        let day = stage.window.ordinary_creation(&mut stage.rng);
        for _ in 0..size {
            let created = match same_day {
                true => day + Window::between(0, DAY, &mut stage.rng),
                false => stage.window.ordinary_creation(&mut stage.rng),
            };
            let mut posted = stage.own_photos(person, 1, 5, created);
            for favourite in &favourites {
                if stage.chance(0.4) {
                    let at = stage.moment(created);
                    posted.push((stage.reposted(favourite), at));
                }
            }
            stage.sundries(&mut posted, created);
            self.add(Habit::Ordinary, created, posted, stage);
        }
    }

    /// Two people who show themselves, each other and both together.
    fn couple(self, size: usize, stage: &mut Stage<'_>) {
        let people: Vec<Person> = (0..size).map(|_| stage.person()).collect();
        let count = stage.number(1, 4);
        let both: Vec<_> = (0..count).map(|_| stage.together(&people)).collect();
        for at in 0..size {
            let created = stage.window.ordinary_creation(&mut stage.rng);
            let mut posted = stage.own_photos(people[at], 1, 5, created);
            posted.extend(stage.own_photos(people[(at + 1) % size], 0, 2, created));
            for photo in &both {
                self.maybe_shared(Some(photo), created, &mut posted, stage);
            }
            self.add(Habit::Ordinary, created, posted, stage);
        }
    }

    /// A class or a company: accounts made in one week, with few posts and one group photo or logo on many of them.
    fn team(self, size: usize, stage: &mut Stage<'_>) {
        let people: Vec<Person> = (0..size).map(|_| stage.person()).collect();
        let in_picture = stage.some(&people, 7);
        let shared = if stage.chance(0.65) { stage.together(&in_picture) } else { stage.scenery() };
        let week = stage.window.ordinary_creation(&mut stage.rng);
        for person in people {
            let created = week + Window::between(0, 6 * DAY, &mut stage.rng);
            let mut posted = stage.own_photos(person, 0, 2, created);
            if stage.chance(0.7) || posted.is_empty() {
                let at = created + Window::wait(4.0, &mut stage.rng);
                posted.push((stage.reposted(&shared), at));
            }
            self.add(Habit::Fresh, created, posted, stage);
        }
    }

    fn maybe_shared(
        self,
        shared: Option<&Arc<Original>>,
        from: i64,
        posted: &mut Vec<Posted>,
        stage: &mut Stage<'_>,
    ) {
        if let Some(photo) = shared
            && stage.chance(0.6)
        {
            let at = stage.moment(from);
            posted.push((stage.reposted(photo), at));
        }
    }
}

/// Puts a photo of a friend on somebody's account; half of these stand on the friend's account as well.
fn show_friend(friend: Person, other: usize, at: usize, posted: &mut [Vec<Posted>], stage: &mut Stage<'_>) {
    let from = stage.window.start;
    let when = stage.moment(from);
    let photo = match posted[other].first() {
        Some((picture, _)) if stage.chance(0.5) => picture.original.clone(),
        _ => stage.portrait(friend),
    };
    let picture = stage.reposted(&photo);
    posted[at].push((picture, when));
}

/// Photos of an idol: mostly the ones that go around, some own ones from concerts.
fn fandom(idol: u64, count: usize, from: i64, stage: &mut Stage<'_>, posted: &mut Vec<Posted>) {
    for _ in 0..count {
        let picture = if stage.chance(0.8) {
            let photo = stage.world.official_photo(idol, &mut stage.rng);
            stage.reposted(&photo)
        } else {
            let person = stage.world.celebrity(idol);
            let photo = stage.portrait(person);
            stage.original(&photo)
        };
        let at = stage.moment(from);
        posted.push((picture, at));
    }
}
