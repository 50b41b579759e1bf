//! The detector on simulated populations, without Kafka, index and store: made, linked by exact cosines, clustered and held
//! against the truth in one process.
//!
//! ```text
//! populations [--seeds A..B] [--accounts N] [--options JSON] [--config JSON] [--known WHAT] [--space 128|512]
//!             [--all-pairs] [--baselines] [--ablation] [--explain] [--json]
//! ```
//! `--options` are those of `simulate::Options`, `--config` those of `clusters::ClustersConfig`. `--known` leaves facts out,
//! as sources do: any of `nohash`, `nopdq`, `noprofile`, `nocreated`, `notime`, comma-separated. `--all-pairs` compares
//! every pair of faces instead of those that show one person, relatives, or chance look-alikes drawn from the tail.
#![allow(clippy::print_stdout, clippy::print_stderr, missing_docs)]

mod ablation;
mod baselines;
mod explain;
mod figures;
mod world;

use std::time::Instant;

use clusters::{ClustersConfig, detect};
use simulate::{Options, Population, Space};

use figures::Row;
use world::{Known, World};

type Error = Box<dyn std::error::Error>;

struct Arguments {
    seeds: std::ops::Range<u64>,
    options: Options,
    config: ClustersConfig,
    known: Known,
    space: Space,
    all_pairs: bool,
    baselines: bool,
    ablation: bool,
    explain: bool,
    json: bool,
}

fn arguments() -> Result<Arguments, Error> {
    let mut a = Arguments {
        seeds: 1..2,
        options: Options::default(),
        config: ClustersConfig::default(),
        known: Known::default(),
        space: Space::MobileFaceNet128,
        all_pairs: false,
        baselines: false,
        ablation: false,
        explain: false,
        json: false,
    };
    let mut given = std::env::args().skip(1);
    let mut accounts = None;
    while let Some(flag) = given.next() {
        let mut value = || given.next().ok_or_else(|| format!("{flag} needs a value"));
        match flag.as_str() {
            "--seeds" => {
                let text = value()?;
                let (from, to) = text.split_once("..").unwrap_or((&text, ""));
                let from: u64 = from.parse()?;
                a.seeds = from..if to.is_empty() { from + 1 } else { to.parse()? };
            }
            "--accounts" => accounts = Some(value()?.parse()?),
            "--options" => a.options = serde_json::from_str(&value()?)?,
            "--config" => a.config = serde_json::from_str(&value()?)?,
            "--known" => a.known = Known::parse(&value()?)?,
            "--space" => {
                a.space = if value()? == "512" { Space::ArcFace512 } else { Space::MobileFaceNet128 }
            }
            "--all-pairs" => a.all_pairs = true,
            "--baselines" => a.baselines = true,
            "--ablation" => a.ablation = true,
            "--explain" => a.explain = true,
            "--json" => a.json = true,
            other => return Err(format!("{other} is no option; the head of this file lists them").into()),
        }
    }
    if let Some(accounts) = accounts {
        a.options.accounts = accounts;
    }
    Ok(a)
}

fn main() -> Result<(), Error> {
    let a = arguments()?;
    let mut rows: Vec<Row> = Vec::new();
    for seed in a.seeds.clone() {
        let population = Population::new(Options { seed, ..a.options.clone() })?;
        let start = Instant::now();
        let world = World::new(&population.accounts(), a.space, a.known, a.all_pairs)?;
        let made = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let found = detect(world.input.clone(), &a.config)?;
        let row = Row::of("facering", seed, &found.tables, &world)?;
        eprintln!(
            "seed {seed}: {} accounts, {} faces, {} links made in {made:.1} s, clustered in {:.1} s; {}",
            world.input.accounts.len(),
            world.input.faces.len(),
            world.input.links.len(),
            start.elapsed().as_secs_f64(),
            row.short()
        );
        rows.push(row);
        if a.explain {
            explain::explain(&world, &a.config, &found.tables)?;
        }
        if a.baselines {
            rows.extend(baselines::rows(&world, seed)?);
        }
        if a.ablation {
            rows.extend(ablation::rows(&world, &a.config, seed)?);
        }
    }
    figures::print(&rows, a.json)?;
    Ok(())
}
