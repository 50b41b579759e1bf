//! `facering models bench`: faces a second by batch size, and where the time goes.

use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use embed::{Around, EmbedConfig, Embedder, ModelPack, NetworkSpeed};
use inference::Runtime;
use rayon::prelude::*;
use records::Pixels;
use serde::Serialize;
use serde_json::json;
use simulate::portrait::{Nuisance, PortraitIdentity, render};

use super::print_result;
use crate::cli::{Common, ModelsBenchArgs};
use crate::config::Settings;

/// Portraits drawn where no pictures are given, and their size.
const DRAWN: u64 = 64;
const SIDE: u32 = 320;
/// Groups of pictures on the way at once: one being decoded, one in the networks, one between.
const FEEDERS: usize = 3;
/// Least pictures in a group, so that cores have enough to do side by side.
const LEAST_GROUP: usize = 8;

/// One batch size.
#[derive(Serialize)]
struct Row {
    batch: usize,
    /// The networks by themselves.
    #[serde(flatten)]
    networks: NetworkSpeed,
    /// From JPEG to embedding.
    pictures_per_second: f64,
    faces_per_second: f64,
    /// Share of that time in which a network was running, 1 for each of the two at most.
    networks_busy: f64,
    /// Shares of the busy time, together 1.
    shares: Vec<(&'static str, f64)>,
}

/// Median milliseconds of a picture on one core, without the networks.
#[derive(Serialize)]
struct OneCore {
    decode: f64,
    #[serde(flatten)]
    around: Around,
    together: f64,
}

pub fn execute(common: &Common, settings: &Settings, arguments: &ModelsBenchArgs) -> anyhow::Result<()> {
    let pack = embed::load_pack(&settings.models)?;
    let runtime = Runtime::start(&settings.inference)?;
    let seconds = Duration::from_secs_f64(arguments.seconds);
    let files = match &arguments.pictures {
        Some(folder) => read(folder)?,
        None => draw()?,
    };
    let most = settings.fetch.max_pixels;
    let pixels = files.iter().map(|file| decode(file, most)).collect::<anyhow::Result<Vec<_>>>()?;
    let one_core = one_core(&runtime, &pack, &settings.embed, &files, &pixels, most)?;
    let mut rows = Vec::new();
    for batch in &arguments.batches {
        rows.push(row(&runtime, &pack, &settings.embed, *batch, &files, most, seconds)?);
    }
    let value = json!({
        "pack": pack.id(), "providers": settings.inference.providers, "devices": settings.inference.devices,
        "onnxruntime": runtime.build_info(), "cores": rayon::current_num_threads(),
        "pictures": files.len(), "one_core_ms": one_core, "rows": rows,
    });
    print_result(common, &value, || text(&one_core, &rows))
}

fn text(one_core: &OneCore, rows: &[Row]) -> String {
    let mut lines =
        vec!["batch  detector/s  embedder/s  pictures/s  faces/s  networks busy  time".to_owned()];
    for row in rows {
        let shares: Vec<String> =
            row.shares.iter().map(|(part, share)| format!("{part} {:.0}%", share * 100.0)).collect();
        lines.push(format!(
            "{:>5}  {:>10.1}  {:>10.1}  {:>10.1}  {:>7.1}  {:>13.2}  {}",
            row.batch,
            row.networks.detection_pictures_per_second,
            row.networks.embedding_faces_per_second,
            row.pictures_per_second,
            row.faces_per_second,
            row.networks_busy,
            shares.join(", ")
        ));
    }
    lines.push(format!(
        "without the networks, on one core: {:.2} ms a picture (decode {:.2}, resize {:.2}, feed and read {:.2}, align \
         and hash {:.2})",
        one_core.together,
        one_core.decode,
        one_core.around.resize,
        one_core.around.feed_and_read,
        one_core.around.align_and_hash
    ));
    lines.join("\n")
}

/// From JPEG to embedding with batches of one size, as a pipeline does it: several groups of pictures at once.
fn row(
    runtime: &Runtime,
    pack: &ModelPack,
    config: &EmbedConfig,
    batch: usize,
    files: &[Vec<u8>],
    most_pixels: u64,
    at_least: Duration,
) -> anyhow::Result<Row> {
    let config = EmbedConfig { detect_batch: batch, embed_batch: batch, ..config.clone() };
    let embedder = Embedder::new(runtime, pack, config)?;
    let networks = embedder.bench_networks(batch, at_least.div_f64(2.0))?;
    let group = batch.max(LEAST_GROUP);
    let (decoding, next) = (AtomicU64::new(0), AtomicUsize::new(0));
    let pass = || -> anyhow::Result<(usize, usize)> {
        let first = next.fetch_add(group, Ordering::Relaxed);
        let decoded: Vec<Pixels> = (first..first + group)
            .into_par_iter()
            .map(|at| {
                let start = Instant::now();
                let pixels = decode(&files[at % files.len()], most_pixels);
                decoding.fetch_add(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
                pixels
            })
            .collect::<anyhow::Result<_>>()?;
        let mut faces = 0;
        for content in embedder.embed_batch(decoded.iter().collect()) {
            faces += content?.faces.len();
        }
        Ok((group, faces))
    };
    pass()?;
    decoding.store(0, Ordering::Relaxed);
    let (before, start) = (embedder.spent(), Instant::now());
    let feeders = std::thread::scope(|scope| {
        let feeder = || {
            let mut done = (0, 0);
            while done.0 == 0 || start.elapsed() < at_least {
                let (pictures, faces) = pass()?;
                done = (done.0 + pictures, done.1 + faces);
            }
            anyhow::Ok(done)
        };
        let feeders: Vec<_> = (0..FEEDERS).map(|_| scope.spawn(feeder)).collect();
        feeders.into_iter().map(|feeder| feeder.join()).collect::<Vec<_>>()
    });
    let (seconds, after) = (start.elapsed().as_secs_f64(), embedder.spent());
    let (mut pictures, mut faces) = (0, 0);
    for feeder in feeders {
        let Ok(done) = feeder else { bail!("a thread of the benchmark panicked") };
        let (more, found) = done?;
        (pictures, faces) = (pictures + more, faces + found);
    }
    let decoded = ("decode", decoding.load(Ordering::Relaxed) as f64 / 1e9);
    let parts =
        after.parts.iter().zip(&before.parts).map(|((name, after), (_, before))| (*name, after - before));
    let busy: Vec<(&str, f64)> = std::iter::once(decoded).chain(parts).collect();
    let together: f64 = busy.iter().map(|(_, spent)| spent).sum();
    Ok(Row {
        batch,
        networks,
        pictures_per_second: pictures as f64 / seconds,
        faces_per_second: faces as f64 / seconds,
        networks_busy: (after.networks - before.networks) / seconds,
        shares: busy.into_iter().map(|(name, spent)| (name, spent / together.max(1e-9))).collect(),
    })
}

/// What a picture costs beside the networks, done by this one thread.
fn one_core(
    runtime: &Runtime,
    pack: &ModelPack,
    config: &EmbedConfig,
    files: &[Vec<u8>],
    pixels: &[Pixels],
    most_pixels: u64,
) -> anyhow::Result<OneCore> {
    // One thread for what is spread over cores, too: a pool of its own makes nested parallel parts sequential.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().context("no thread can be started")?;
    let embedder = Embedder::new(runtime, pack, config.clone())?;
    pool.install(|| {
        let mut laps = Vec::new();
        for file in files.iter().chain(files) {
            let start = Instant::now();
            decode(file, most_pixels)?;
            laps.push(start.elapsed().as_secs_f64() * 1e3);
        }
        laps.sort_by(f64::total_cmp);
        let decode = laps[laps.len() / 2];
        let around = embedder.bench_around(pixels, Duration::from_millis(500))?;
        let together = decode + around.resize + around.feed_and_read + around.align_and_hash;
        Ok(OneCore { decode, around, together })
    })
}

fn decode(file: &[u8], most_pixels: u64) -> anyhow::Result<Pixels> {
    fetch::decode(file, most_pixels).map_err(|failure| anyhow::anyhow!(failure.detail))
}

/// Portraits drawn for the purpose, as JPEG.
fn draw() -> anyhow::Result<Vec<Vec<u8>>> {
    let portrait = |seed| {
        let nuisance = Nuisance::from_seed(seed);
        let picture = render(&PortraitIdentity::from_seed(seed), &nuisance, SIDE)?;
        Ok(picture.to_jpeg(nuisance.jpeg_quality)?)
    };
    (0..DRAWN).into_par_iter().map(portrait).collect()
}

/// The picture files of a folder, by name.
fn read(folder: &Path) -> anyhow::Result<Vec<Vec<u8>>> {
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("{} cannot be listed", folder.display()))?;
    let mut paths: Vec<_> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    paths.sort();
    let mut files = Vec::new();
    for path in paths.iter().filter(|path| path.is_file()) {
        let file = std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
        if fetch::Format::of(&file).is_some() {
            files.push(file);
        }
    }
    if files.is_empty() {
        bail!("{} has no pictures; name a folder with some", folder.display());
    }
    Ok(files)
}
