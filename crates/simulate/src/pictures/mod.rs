//! A population as a crawler would meet it: JPEG files, profile events by the Kafka contract, the same events as
//! `profiles.parquet`, and `truth.parquet`.
//!
//! Invariants: equal populations and options give equal files; two photos have equal bytes exactly if the population
//! says so; every event's photos can be had from the gallery by the path in their URL.

mod draw;
mod events;
mod gallery;
mod table;

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::Path;

use bytes::Bytes;
use records::ProfileEvent;
use serde::{Deserialize, Serialize};

use crate::SimulateError;
use crate::faces::Written;
use crate::population::{Account, HonestMix, Options, Population};
use crate::truth::{Truth, write_truth};

pub use events::{event_json, events, photo_path};
pub use gallery::Gallery;

/// How a population is drawn.
#[derive(Deserialize, Serialize, Clone, Debug)]
#[serde(deny_unknown_fields, default)]
pub struct PictureOptions {
    /// Sides of a portrait in pixels, 64 to 2048; group photos are up to three times as wide.
    pub side: u32,
    /// What stands before the path in a photo's URL; ends with a slash.
    pub url_prefix: String,
    /// Whether `profiles.parquet` holds the pictures themselves instead of URLs.
    pub inline: bool,
}

impl Default for PictureOptions {
    fn default() -> Self {
        Self { side: 320, url_prefix: "http://127.0.0.1:8080/".into(), inline: false }
    }
}

impl PictureOptions {
    /// Everything that is wrong, as (key, what is wrong and what is allowed).
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        if !(64..=2048).contains(&self.side) {
            problems.push(("side".to_owned(), "is in pixels and must be 64 to 2048".to_owned()));
        }
        if !self.url_prefix.ends_with('/') {
            problems.push(("url_prefix".to_owned(), "must end with a slash".to_owned()));
        }
        problems
    }
}

/// Writes `photos/` with a JPEG a photo, `profiles.jsonl` (an event a line, by time), `profiles.parquet` (the same
/// events) and `truth.parquet` into a folder, which is made if need be. Meant for thousands of accounts: the pictures
/// stand in memory once.
///
/// # Errors
/// [`SimulateError`] if an option is wrong, a picture cannot be drawn or a file cannot be written.
pub fn write_pictures(
    population: &Population,
    options: &PictureOptions,
    folder: &Path,
) -> Result<Written, SimulateError> {
    let problems = options.problems();
    if !problems.is_empty() {
        return Err(SimulateError::Options(problems));
    }
    let accounts = population.accounts();
    let pictures = Gallery::of(&accounts, options.side).render_all()?;
    let events = events(&accounts, &options.url_prefix);
    for account in &accounts {
        let home = folder.join("photos").join(account.id.as_str());
        fs::create_dir_all(&home).map_err(SimulateError::file(&home))?;
    }
    for (path, bytes) in &pictures {
        let path = folder.join(path);
        fs::write(&path, bytes).map_err(SimulateError::file(&path))?;
    }
    let lines = folder.join("profiles.jsonl");
    let mut file = std::io::BufWriter::new(fs::File::create(&lines).map_err(SimulateError::file(&lines))?);
    for event in &events {
        if let Some(json) = event_json(event) {
            writeln!(file, "{json}").map_err(SimulateError::file(&lines))?;
        }
    }
    file.flush().map_err(SimulateError::file(&lines))?;
    let profiles = folder.join("profiles.parquet");
    table::write(&events, options.inline.then_some(&pictures), &options.url_prefix, &profiles)?;
    let truth = folder.join("truth.parquet");
    write_truth(&accounts, &truth)?;
    let mut written = Written { rings: population.rings(), ..Written::default() };
    accounts.iter().for_each(|account| written.count(account));
    written.files = vec![lines, profiles, truth, folder.join("photos")];
    Ok(written)
}

/// A population to show: six to ten rings of every kind, every honest look-alike, small enough to draw.
///
/// `accounts` should be 300 to 2,000; with fewer, some kinds are left out.
pub fn demo_options(accounts: u64, seed: u64) -> Options {
    let bots = 0.22;
    let all_bots = accounts as f64 * bots;
    let smallest = ((all_bots / 10.0) as u32).clamp(6, 200);
    Options {
        accounts,
        seed,
        bots,
        days: 730,
        smallest_ring: smallest,
        largest_ring: smallest * 2,
        largest_mass_ring: smallest * 3,
        victims_present: 0.8,
        honest: HonestMix { celebrity: 0.012, fan_page: 0.015, ..HonestMix::default() },
        ..Options::default()
    }
}

/// Everything that `facering demo` serves and feeds to itself.
#[derive(Clone, Debug)]
pub struct Demo {
    /// The accounts with their truth.
    pub accounts: Vec<Account>,
    /// Profile events by time.
    pub events: Vec<ProfileEvent>,
    /// JPEG files by path; an event's URLs are the prefix and one of these paths.
    pub pictures: HashMap<String, Bytes>,
    /// What each account is in truth.
    pub truth: Truth,
    /// Number of rings.
    pub rings: u32,
}

/// Draws the population of [`demo_options`] in memory.
///
/// # Errors
/// [`SimulateError`] if there are fewer than 20 accounts or a picture cannot be drawn.
pub fn demo_population(accounts: u64, seed: u64, picture: &PictureOptions) -> Result<Demo, SimulateError> {
    let problems = picture.problems();
    if !problems.is_empty() {
        return Err(SimulateError::Options(problems));
    }
    let population = Population::new(demo_options(accounts, seed))?;
    let accounts = population.accounts();
    let pictures = Gallery::of(&accounts, picture.side).render_all()?;
    let events = events(&accounts, &picture.url_prefix);
    let truth = Truth::of(&accounts);
    Ok(Demo { accounts, events, pictures, truth, rings: population.rings() })
}

#[cfg(test)]
mod tests;
