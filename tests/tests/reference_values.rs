//! Decode, detect, align and embed, held against the reference's golden values on real and odd pictures.

use end_to_end::shared;
use records::{Embedding, Face};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    undecodable: Option<String>,
    width: Option<u32>,
    height: Option<u32>,
    #[serde(default)]
    faces: Vec<GoldenFace>,
}

#[derive(Deserialize)]
struct GoldenFace {
    #[serde(rename = "box")]
    place: [f32; 4],
    landmarks: [[f32; 2]; 5],
    embedding: Vec<f32>,
}

/// Boxes and landmarks may differ by this many pixels, cosines on faces wider than 45 px by .01.
const PIXELS: f32 = 2.0;
const WIDE: f32 = 45.0;
const COSINE: f32 = 0.99;

fn off(face: &Face, golden: &GoldenFace) -> f32 {
    let Some((place, landmarks)) = &face.place else { return f32::INFINITY };
    let corners = [place.x1, place.y1, place.x2, place.y2].into_iter().zip(golden.place);
    let points = landmarks.0.iter().flatten().copied().zip(golden.landmarks.iter().flatten().copied());
    corners.chain(points).map(|(found, expected)| (found - expected).abs()).fold(0.0, f32::max)
}

#[test]
fn the_path_agrees_with_the_reference() -> anyhow::Result<()> {
    let Some(shared) = shared::folder("golden") else { return Ok(()) };
    let golden: std::collections::BTreeMap<String, Golden> =
        serde_json::from_slice(&std::fs::read(shared.join("reference/golden.json"))?)?;

    let known = embed::known_packs()?;
    let description = known.iter().find(|d| d.id.as_str() == "yunet-mobilefacenet").expect("described");
    let packs = tempfile::tempdir()?;
    let folder = packs.path().join("yunet-mobilefacenet");
    std::fs::create_dir(&folder)?;
    for file in [&description.detector.file, &description.embedder.file] {
        std::fs::copy(shared.join("models").join(file), folder.join(file))?;
    }
    let pack = embed::install_pack(description, &folder, false)?;
    let runtime = inference::Runtime::start(&inference::InferenceConfig::default())?;
    let embedder = embed::Embedder::new(&runtime, &pack, embed::EmbedConfig::default())?;

    let (mut images, mut faces, mut worst_pixels, mut worst_cosine) = (0, 0, 0f32, 1f32);
    let mut wrong = Vec::new();
    for (name, expected) in &golden {
        images += 1;
        let bytes = std::fs::read(shared.join(name))?;
        let pixels = match (fetch::decode(&bytes, 40_000_000), &expected.undecodable) {
            (Ok(pixels), None) => pixels,
            (Err(failure), Some(_)) => {
                let told = failure.detail;
                assert!(!told.is_empty(), "{name}: an error without words");
                continue;
            }
            (Ok(_), Some(error)) => {
                wrong.push(format!("{name}: decoded, though the reference says {error}"));
                continue;
            }
            (Err(failure), None) => {
                wrong.push(format!("{name}: not decoded: {}", failure.detail));
                continue;
            }
        };
        if (Some(pixels.width), Some(pixels.height)) != (expected.width, expected.height) {
            wrong.push(format!("{name}: {}x{} instead of {:?}", pixels.width, pixels.height, expected.width));
            continue;
        }
        let content = embedder.embed_batch(vec![&pixels]).remove(0)?;
        if content.faces.len() != expected.faces.len() {
            let found: Vec<_> =
                content.faces.iter().map(|f| (f.quality.score, f.place.map(|(b, _)| b))).collect();
            wrong.push(format!(
                "{name}: {} faces instead of {}: {found:?}",
                found.len(),
                expected.faces.len()
            ));
        }
        for (at, golden_face) in expected.faces.iter().enumerate() {
            let nearest =
                content.faces.iter().min_by(|a, b| off(a, golden_face).total_cmp(&off(b, golden_face)));
            let Some(face) = nearest else { continue };
            faces += 1;
            let distance = off(face, golden_face);
            worst_pixels = worst_pixels.max(distance);
            if distance > PIXELS {
                wrong.push(format!("{name}: face {at} is off by {distance:.2} px"));
            }
            if golden_face.place[2] - golden_face.place[0] > WIDE {
                let reference = Embedding::normalised(&golden_face.embedding)?;
                let cosine = face.embedding.cosine(&reference).map_or(-1.0, records::Cosine::get);
                worst_cosine = worst_cosine.min(cosine);
                if cosine < COSINE {
                    wrong.push(format!("{name}: face {at} has cosine {cosine:.4}"));
                }
            }
        }
    }
    println!("{images} images, {faces} faces; worst {worst_pixels:.2} px, cosine {worst_cosine:.4}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(images > 100 && faces > 90, "only {images} images and {faces} faces were compared");
    Ok(())
}
