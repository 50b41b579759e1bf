//! SCRFD in the forms in which its files are met, held against what the reference decoder, written in plain numpy, finds
//! with the same files: `data/scrfd/make.py` made both.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

mod common;

use std::path::{Path, PathBuf};

use common::toys;
use embed::{EmbedConfig, Embedder, ModelPack, known_packs};
use records::{Face, PackId, Pixels};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    side: usize,
    score_threshold: f32,
    nms_threshold: f32,
    pictures: Vec<GoldenPicture>,
}

#[derive(Deserialize)]
struct GoldenPicture {
    width: usize,
    height: usize,
    seed: usize,
    faces: Vec<GoldenFace>,
}

#[derive(Deserialize)]
struct GoldenFace {
    #[serde(rename = "box")]
    place: [f32; 4],
    score: f32,
    landmarks: [[f32; 2]; 5],
}

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/scrfd")
}

/// The same pixels as `picture` in `data/scrfd/make.py`.
fn picture(golden: &GoldenPicture) -> Pixels {
    let (width, height, seed) = (golden.width as i64, golden.height as i64, golden.seed as i64);
    let saw = |value: i64, period: i64| {
        let place = value.rem_euclid(2 * period);
        if place < period { place } else { 2 * period - place }
    };
    let mut rgb = Vec::new();
    for y in 0..height {
        for x in 0..width {
            for channel in 0..3 {
                let value = saw(3 * x + (2 + seed) * y + 40 * channel, 47 + 11 * seed)
                    + saw(x * y / (30 + seed), 61)
                    + saw(5 * y - x + 1000 * (1 + channel), 71);
                rgb.push((value * 255 / (47 + 11 * seed + 61 + 71)) as u8);
            }
        }
    }
    Pixels { width: width as u32, height: height as u32, rgb: rgb.into() }
}

/// A pack of one of the files and a toy embedder.
fn pack(folder: &Path, file: &str, golden: &Golden) -> ModelPack {
    let mut description = known_packs().unwrap().into_iter().find(|p| p.id.as_str() == "buffalo_l").unwrap();
    description.id = PackId::new("scrfd").unwrap();
    description.non_commercial = false;
    description.dimension = 3;
    description.detector.input_size = golden.side;
    description.detector.score_threshold = golden.score_threshold;
    description.detector.nms_threshold = golden.nms_threshold;
    (description.detector.sha256, description.embedder.sha256) = (None, None);
    std::fs::copy(data().join(file), folder.join(&description.detector.file)).unwrap();
    std::fs::write(folder.join(&description.embedder.file), toys::embedder(false, false)).unwrap();
    embed::install_pack(&description, folder, false).unwrap()
}

/// Greatest difference of a box's corner or a landmark, in pixels, and of the score.
fn off(face: &Face, golden: &GoldenFace) -> (f32, f32) {
    let (place, landmarks) = face.place.unwrap();
    let corners = [place.x1, place.y1, place.x2, place.y2].into_iter().zip(golden.place);
    let points = landmarks.0.iter().flatten().zip(golden.landmarks.iter().flatten()).map(|(a, b)| (*a, *b));
    let pixels = corners.chain(points).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    (pixels, (face.quality.score - golden.score).abs())
}

#[test]
fn every_form_agrees_with_the_reference() {
    let Some(runtime) = common::runtime() else { return };
    let golden: Golden = serde_json::from_slice(&std::fs::read(data().join("golden.json")).unwrap()).unwrap();
    let pictures: Vec<Pixels> = golden.pictures.iter().map(picture).collect();
    for file in ["any_batch.onnx", "one_fixed.onnx", "one_stale.onnx", "flattened.onnx"] {
        let folder = tempfile::tempdir().unwrap();
        let pack = pack(folder.path(), file, &golden);
        // The reference looks once.
        let config = EmbedConfig { retry_with_border: false, ..EmbedConfig::default() };
        let embedder = Embedder::new(&runtime, &pack, config).unwrap();
        let found = embedder.embed_batch(pictures.iter().collect());
        let (mut faces, mut worst, mut worst_score) = (0, 0.0f32, 0.0f32);
        for (expected, found) in golden.pictures.iter().zip(&found) {
            let found = &found.as_ref().unwrap().faces;
            assert_eq!(found.len(), expected.faces.len(), "{file}, picture {}", expected.seed);
            for face in &expected.faces {
                let (pixels, score) =
                    found.iter().map(|f| off(f, face)).min_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
                (worst, worst_score) = (worst.max(pixels), worst_score.max(score));
                faces += 1;
            }
        }
        println!("{file}: {faces} faces, worst {worst:.3} px, score {worst_score:.4}");
        assert!(faces >= 50 && worst <= 0.5 && worst_score <= 0.01, "{file}: {worst} px, {worst_score}");
    }
}
