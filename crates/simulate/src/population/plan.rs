//! Which scenes a population consists of: first the rings with their victims, then honest scenes until the number of
//! accounts is reached exactly. The kind that lags most behind its weight is next, so that every kind with a weight comes
//! up early even in a small population.

use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::clock::{DAY, Window};
use super::honest::Honest;
use super::rings::{Ring, RingKind};
use super::stage::Stage;
use super::world::World;
use super::{Account, Options};
use crate::seeding::{generator, mix};

/// Some accounts that have to do with each other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scene {
    first: u64,
    size: u32,
    cast: Cast,
}

#[derive(Clone, Copy, Debug)]
enum Cast {
    Ring(Ring),
    Honest(Honest),
}

impl Scene {
    /// How many accounts it makes.
    pub(super) fn accounts(&self) -> u32 {
        self.size
    }

    /// Makes them.
    pub(super) fn draw(&self, options: &Options, world: &World) -> Vec<Account> {
        let mut stage = Stage::new(options, world, self.first);
        match self.cast {
            Cast::Ring(ring) => ring.draw(&mut stage),
            Cast::Honest(kind) => kind.draw(self.size as usize, &mut stage),
        }
        stage.accounts
    }
}

/// All scenes in random order.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) scenes: Vec<Scene>,
    pub(super) rings: u32,
}

impl Plan {
    pub(super) fn new(options: &Options, world: &World) -> Self {
        let mut rng = generator(mix(options.seed, 0x0070_6c61_6e21));
        let mut drawing = Drawing { scenes: Vec::new(), rings: 0, next: 0 };
        drawing.draw_rings(options, &mut rng);
        drawing.draw_honest(options, world, &mut rng);
        drawing.scenes.shuffle(&mut rng);
        Self { scenes: drawing.scenes, rings: drawing.rings }
    }
}

struct Drawing {
    scenes: Vec<Scene>,
    rings: u32,
    next: u64,
}

impl Drawing {
    fn scene(&mut self, cast: Cast, size: u32) {
        self.scenes.push(Scene { first: self.next, size, cast });
        self.next += u64::from(size);
    }

    fn draw_rings(&mut self, options: &Options, rng: &mut ChaCha8Rng) {
        let bots = (options.accounts as f64 * options.bots).round() as u64;
        let shares = options.rings.shares();
        let mut used = vec![0_u64; shares.len()];
        let mut left = bots;
        while left >= u64::from(options.smallest_ring) {
            let at = neediest(&shares, &used);
            let Some(kind) = RingKind::ALL.get(at).copied() else { break };
            let pieces = if kind == RingKind::SharedPerson { 2 } else { 1 };
            let least = u64::from(options.smallest_ring) * pieces;
            let most = match kind {
                RingKind::MassPhoto => u64::from(options.largest_mass_ring),
                _ => u64::from(options.largest_ring) * pieces,
            };
            // No ring of a small population takes more than its kind's share.
            let most = most.min((bots as f64 * shares[at]).ceil() as u64).clamp(least, most.max(least));
            let mut size = log_uniform(least, most, rng).min(left);
            if size < least || left - size < u64::from(options.smallest_ring) {
                size = left;
            }
            // Too little for two rings makes one.
            let kind = if size < least { RingKind::StolenPool } else { kind };
            let ring = Ring::planned(kind, size as u32, self.rings, options, rng);
            self.rings += if kind == RingKind::SharedPerson { 2 } else { 1 };
            used[at] += size;
            left -= size;
            let room = options.accounts.saturating_sub(self.next + left) as u32;
            let ring = ring.with_at_most(room);
            self.scene(Cast::Ring(ring), ring.accounts());
        }
    }

    fn draw_honest(&mut self, options: &Options, world: &World, rng: &mut ChaCha8Rng) {
        let shares = options.honest.shares();
        let mut used = vec![0_u64; shares.len()];
        while self.next < options.accounts {
            let at = neediest(&shares, &used);
            let kind = Honest::of(at, used[at], world);
            let size = u64::from(kind.size(rng)).min(options.accounts - self.next);
            used[at] += size;
            self.scene(Cast::Honest(kind), size as u32);
        }
    }
}

/// The kind that lags most behind its share: first those that did not come up yet, the weightiest of them before others.
fn neediest(shares: &[f64], used: &[u64]) -> usize {
    let progress = |at: usize| if shares[at] > 0.0 { used[at] as f64 / shares[at] } else { f64::INFINITY };
    let order = |a: &usize, b: &usize| {
        progress(*a).total_cmp(&progress(*b)).then_with(|| shares[*b].total_cmp(&shares[*a]))
    };
    (0..shares.len()).min_by(order).unwrap_or(0)
}

fn log_uniform(least: u64, most: u64, rng: &mut ChaCha8Rng) -> u64 {
    if most <= least {
        return least;
    }
    let (low, high) = ((least as f64).ln(), (most as f64 + 1.0).ln());
    (rng.random_range(low..high).exp() as u64).clamp(least, most)
}

/// A time for a ring to start: not in the first tenth of the observation, and early enough to see it.
pub(super) fn start_of_ring(window: Window, rng: &mut ChaCha8Rng) -> i64 {
    let length = window.end - window.start;
    Window::between(window.start + length / 10, window.end - (length / 12).max(2 * DAY), rng)
}
