//! Labelled populations: who shows which picture of whom, since when, with which profile; independent of whether the
//! pictures are drawn or only their embeddings.
//!
//! Invariants: equal options give equal populations; ids tell nothing about rings or order; an account stands in one
//! scene (a ring with its victims, a circle of friends, ...), and scenes are drawn one by one, so that a population of
//! millions never stands in memory as a whole.

mod clock;
mod honest;
mod options;
mod picture;
mod plan;
mod profile;
mod rings;
mod stage;
mod world;

use rand::seq::SliceRandom;
use rayon::prelude::*;
use records::{AccountId, PhotoId, ProfileFacts, Timestamp};

pub use options::{HonestMix, Options, RingMix};
pub use picture::{Content, Kinship, Original, Person, Picture, Shown, Treatment};

use crate::SimulateError;
use crate::seeding::{generator, mix};
use plan::{Plan, Scene};
use world::World;

/// Accounts drawn, shuffled and handed out together. Rings are smaller, so their members do not stand side by side.
const BLOCK: u64 = 1 << 15;

/// What an account is in truth.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TrueRole {
    /// One of a ring.
    Bot,
    /// Somebody whose photos a ring stole.
    Victim,
    /// Anybody else.
    Honest,
}

impl TrueRole {
    /// The word of the column `role` of `truth.parquet`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bot => "bot",
            Self::Victim => "victim",
            Self::Honest => "honest",
        }
    }
}

/// The label of an account.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Label {
    /// Number of the ring; bots only.
    pub ring: Option<u32>,
    /// What the account is.
    pub role: TrueRole,
    /// What kind of ring or of honest account, e.g. `bot_slow`, `victim`, `honest_twin`.
    pub kind: &'static str,
}

impl Label {
    /// The ring's name in `truth.parquet`.
    pub fn ring_id(&self) -> Option<String> {
        self.ring.map(|ring| format!("ring-{ring:05}"))
    }
}

/// A photo of an account.
#[derive(Clone, PartialEq, Debug)]
pub struct Photo {
    /// The account's name for it.
    pub id: PhotoId,
    /// What it shows.
    pub picture: Picture,
    /// When it was first seen on the account.
    pub observed_at: Timestamp,
}

/// An account with its truth.
#[derive(Clone, PartialEq, Debug)]
pub struct Account {
    /// The account.
    pub id: AccountId,
    /// What it is in truth.
    pub label: Label,
    /// Its profile.
    pub facts: ProfileFacts,
    /// Its photos in the order in which they were seen; at least one.
    pub photos: Vec<Photo>,
}

/// A population: a plan of scenes, drawn when asked for.
#[derive(Clone, Debug)]
pub struct Population {
    options: Options,
    plan: Plan,
    world: World,
}

impl Population {
    /// Plans a population. The plan takes 40 bytes a scene, a scene being some 2 to 3,000 accounts.
    ///
    /// # Errors
    /// [`SimulateError::Options`] lists everything that is wrong with the options.
    pub fn new(options: Options) -> Result<Self, SimulateError> {
        let problems = options.problems();
        if !problems.is_empty() {
            return Err(SimulateError::Options(problems));
        }
        let world = World::new(&options);
        let plan = Plan::new(&options, &world);
        Ok(Self { options, plan, world })
    }

    /// What it was planned from.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Number of rings.
    pub fn rings(&self) -> u32 {
        self.plan.rings
    }

    /// All accounts, in blocks of about 33,000 that are shuffled each; only one block stands in memory.
    pub fn blocks(&self) -> impl Iterator<Item = Vec<Account>> + '_ {
        let mut scenes = self.plan.scenes.as_slice();
        let mut number = 0;
        std::iter::from_fn(move || {
            let mut accounts = 0;
            let full = scenes.iter().take_while(|scene| {
                let open = accounts < BLOCK;
                accounts += u64::from(scene.accounts());
                open
            });
            let (block, rest) = scenes.split_at(full.count());
            scenes = rest;
            number += 1;
            (!block.is_empty()).then(|| self.draw(block, number))
        })
    }

    /// All accounts at once, for populations that fit into memory.
    pub fn accounts(&self) -> Vec<Account> {
        self.blocks().flatten().collect()
    }

    fn draw(&self, scenes: &[Scene], number: u64) -> Vec<Account> {
        let drawn: Vec<Vec<Account>> =
            scenes.par_iter().map(|scene| scene.draw(&self.options, &self.world)).collect();
        let mut accounts: Vec<Account> = drawn.into_iter().flatten().collect();
        accounts.shuffle(&mut generator(mix(self.options.seed ^ 0x5f, number)));
        accounts
    }
}

#[cfg(test)]
mod tests;
