//! The whole face path held against the values of `reference/reference.py`, which computes it in plain numpy.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

mod common;

use std::collections::BTreeMap;

use embed::{EmbedConfig, Embedder};
use records::{Embedding, Pixels};
use serde::Deserialize;

#[derive(Deserialize)]
struct GoldenPicture {
    width: Option<u32>,
    height: Option<u32>,
    faces: Option<Vec<GoldenFace>>,
}

#[derive(Deserialize)]
struct GoldenFace {
    #[serde(rename = "box")]
    place: [f32; 4],
    landmarks: [[f32; 2]; 5],
    score: f32,
    embedding: Vec<f32>,
}

/// Pictures that `image` reads otherwise than the reference: CMYK without its colour profile. AVIF it cannot read.
const OTHER_PIXELS: &[&str] = &["images/cmyk.jpg"];

#[test]
fn faces_agree_with_the_reference() {
    let (Some(shared), Some(runtime)) = (common::shared(), common::runtime()) else { return };
    let text = std::fs::read_to_string(shared.join("reference/golden.json")).unwrap();
    let golden: BTreeMap<String, GoldenPicture> = serde_json::from_str(&text).unwrap();
    let mut held: Vec<(String, Vec<GoldenFace>, Pixels)> = Vec::new();
    for (name, picture) in golden {
        let Some(faces) = picture.faces.filter(|_| !OTHER_PIXELS.contains(&name.as_str())) else { continue };
        let Some(pixels) = common::decode(&shared.join(&name)) else {
            assert!(name.ends_with(".avif"), "{name} cannot be decoded");
            continue;
        };
        assert_eq!((Some(pixels.width), Some(pixels.height)), (picture.width, picture.height), "{name}");
        held.push((name, faces, pixels));
    }
    assert!(held.len() >= 100, "only {} pictures", held.len());

    let embedder = Embedder::new(&runtime, &common::shared_pack(&shared), EmbedConfig::default()).unwrap();
    let found = embedder.embed_batch(held.iter().map(|(_, _, pixels)| pixels).collect());
    let (mut faces, mut worst_box, mut worst_landmark, mut worst_score) = (0, 0.0f32, 0.0f32, 0.0f32);
    let (mut worst_cosine, mut worst_small) = (1.0f32, 1.0f32);
    for ((name, expected, _), found) in held.iter().zip(&found) {
        let found = &found.as_ref().unwrap().faces;
        assert_eq!(found.len(), expected.len(), "{name}: number of faces");
        let (mut boxes, mut points) = (0.0f32, 0.0f32);
        for golden in expected {
            // Faces of nearly one size may stand in another order.
            let distance = |face: &&records::Face| {
                let (place, _) = face.place.unwrap();
                (place.x1 - golden.place[0]).abs() + (place.y1 - golden.place[1]).abs()
            };
            let face = found.iter().min_by(|a, b| distance(a).total_cmp(&distance(b))).unwrap();
            let (place, landmarks) = face.place.unwrap();
            for (mine, theirs) in [place.x1, place.y1, place.x2, place.y2].iter().zip(golden.place) {
                boxes = boxes.max((mine - theirs).abs());
            }
            for (mine, theirs) in landmarks.0.iter().flatten().zip(golden.landmarks.iter().flatten()) {
                points = points.max((mine - theirs).abs());
            }
            worst_score = worst_score.max((face.quality.score - golden.score).abs());
            let cosine =
                face.embedding.cosine(&Embedding::normalised(&golden.embedding).unwrap()).unwrap().get();
            if golden.place[2] - golden.place[0] > 45.0 {
                assert!(cosine >= 0.99, "{name}: cosine {cosine}");
                worst_cosine = worst_cosine.min(cosine);
            } else {
                worst_small = worst_small.min(cosine);
            }
            faces += 1;
        }
        assert!(boxes <= 2.0 && points <= 2.0, "{name}: box off by {boxes} px, landmark by {points} px");
        worst_box = worst_box.max(boxes);
        worst_landmark = worst_landmark.max(points);
    }
    println!(
        "{} pictures, {faces} faces; worst box {worst_box:.3} px, landmark {worst_landmark:.3} px, score \
         {worst_score:.4}, cosine {worst_cosine:.5} (faces up to 45 px: {worst_small:.5})",
        held.len()
    );
    assert!(faces >= 100);
}

/// A portrait cropped to its face fills the frame; a plain detector misses many of those.
#[test]
fn faces_that_fill_the_frame_are_found() {
    let (Some(shared), Some(runtime)) = (common::shared(), common::runtime()) else { return };
    let embedder = Embedder::new(&runtime, &common::shared_pack(&shared), EmbedConfig::default()).unwrap();
    let mut names: Vec<_> = ["portraits/gpo", "portraits/directory"]
        .iter()
        .flat_map(|folder| std::fs::read_dir(shared.join(folder)).unwrap())
        .map(|entry| entry.unwrap().path())
        .collect();
    names.sort();
    let every = if std::env::var_os("FACERING_ALL_PORTRAITS").is_some() { 1 } else { 24 };
    let portraits: Vec<Pixels> =
        names.iter().step_by(every).map(|name| common::decode(name).unwrap()).collect();
    let whole = embedder.embed_batch(portraits.iter().collect());
    let mut crops = Vec::new();
    for (portrait, content) in portraits.iter().zip(&whole) {
        let content = content.as_ref().unwrap();
        let Some(face) = content.faces.first() else { continue };
        let (place, _) = face.place.unwrap();
        let (dx, dy) = (place.width() * 0.05, place.height() * 0.05);
        let tight = [place.x1 - dx, place.y1 - dy, place.x2 + dx, place.y2 + dy];
        crops.push((common::crop(portrait, tight), face));
    }
    let found = embedder.embed_batch(crops.iter().map(|(crop, _)| crop).collect());
    let (mut hits, mut cosines, mut margins) = (0, Vec::new(), Vec::new());
    for ((_, whole), content) in crops.iter().zip(&found) {
        if let Some(face) = content.as_ref().unwrap().faces.first() {
            hits += 1;
            cosines.push(face.embedding.cosine(&whole.embedding).unwrap().get());
            margins.push(face.pdq.unwrap().distance(&whole.pdq.unwrap()));
        }
    }
    cosines.sort_by(f32::total_cmp);
    margins.sort_unstable();
    println!(
        "{} portraits, {} with a face; tight crops found {hits} ({:.4}), cosine to the whole: least {:.3}, 5% {:.3}, \
         median {:.3}; margin PDQ distance median {}, 90% {}",
        portraits.len(),
        crops.len(),
        hits as f64 / crops.len() as f64,
        cosines[0],
        cosines[cosines.len() / 20],
        cosines[cosines.len() / 2],
        margins[margins.len() / 2],
        margins[margins.len() * 9 / 10],
    );
    assert!(crops.len() as f64 >= 0.99 * portraits.len() as f64);
    assert!(hits as f64 >= 0.98 * crops.len() as f64, "{hits} of {}", crops.len());
}
