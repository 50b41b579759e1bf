//! The bundled pack on people and scenes that training never saw, through the same code as in a pipeline.
//!
//! `FACERING_BUNDLED_PICTURES=6000` measures more than the few pictures that a test has time for.

use embed::{EmbedConfig, Embedder};
use records::{Embedding, PhotoContent, Pixels};
use simulate::portrait::{Nuisance, Picture, PortraitIdentity, render, render_empty};

/// Seeds of people from here on were never drawn in training, nor to choose a threshold.
const HELD_OUT: u64 = 4_000_000_000;

fn embedder() -> anyhow::Result<Embedder> {
    let runtime = inference::Runtime::start(&inference::InferenceConfig::default())?;
    let models = embed::ModelsConfig {
        path: end_to_end::program::root().join("models"),
        ..embed::ModelsConfig::default()
    };
    Ok(Embedder::new(&runtime, &embed::load_pack(&models)?, EmbedConfig::default())?)
}

fn pixels(picture: Picture) -> Pixels {
    Pixels { width: picture.width, height: picture.height, rgb: picture.pixels.into() }
}

fn count(default: u64) -> u64 {
    std::env::var("FACERING_BUNDLED_PICTURES").ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

/// Embeds pictures made one after another, a few hundred at a time.
fn embedded(
    embedder: &Embedder,
    count: u64,
    make: impl Fn(u64) -> anyhow::Result<Picture>,
) -> anyhow::Result<Vec<PhotoContent>> {
    let mut contents = Vec::new();
    for first in (0..count).step_by(256) {
        let pictures: Vec<Pixels> =
            (first..count.min(first + 256)).map(|at| make(at).map(pixels)).collect::<anyhow::Result<_>>()?;
        for content in embedder.embed_batch(pictures.iter().collect()) {
            contents.push(content?);
        }
    }
    Ok(contents)
}

#[test]
fn faces_are_found_and_nothing_else() -> anyhow::Result<()> {
    let embedder = embedder()?;
    let empty = embedded(&embedder, count(400), |at| {
        let (side, other) = (96 + (at * 37 % 380) as u32, 96 + (at * 53 % 380) as u32);
        let picture = render_empty(HELD_OUT + at, side, if at % 2 == 0 { side } else { other })?;
        Ok(picture.through_jpeg(55 + (at % 40) as u8)?)
    })?;
    let mut alarms = 0;
    for (at, content) in empty.iter().enumerate() {
        for face in &content.faces {
            println!(
                "picture {at}, {:?}: {:?}, score {}",
                content.facts.size, face.place, face.quality.score
            );
            alarms += 1;
        }
    }
    let portraits = embedded(&embedder, count(300), |at| {
        let nuisance = Nuisance::from_seed(HELD_OUT + at);
        Ok(render(&PortraitIdentity::from_seed(HELD_OUT + at), &nuisance, 320)?
            .through_jpeg(nuisance.jpeg_quality)?)
    })?;
    let found = portraits.iter().filter(|content| !content.faces.is_empty()).count();
    println!(
        "{alarms} false alarms on {} face-free pictures; {found} of {} faces found",
        empty.len(),
        portraits.len()
    );
    assert_eq!(alarms, 0, "false alarms on {} pictures without a face", empty.len());
    assert!(found as f64 >= 0.99 * portraits.len() as f64);
    Ok(())
}

/// Whatever shares a batch with a picture, its embeddings are the same.
#[test]
fn batch_equals_single() -> anyhow::Result<()> {
    let embedder = embedder()?;
    let pictures: Vec<Pixels> = (0..40)
        .map(|at| {
            let side = 80 + (at * 61 % 400) as u32;
            let person = PortraitIdentity::from_seed(HELD_OUT + at);
            anyhow::Ok(pixels(render(&person, &Nuisance::from_seed(at), side)?))
        })
        .collect::<anyhow::Result<_>>()?;
    let together = embedder.embed_batch(pictures.iter().collect());
    let (mut faces, mut worst) = (0, 1.0f32);
    for (picture, together) in pictures.iter().zip(together) {
        let alone = embedder.embed_batch(vec![picture]).remove(0)?;
        let together = together?;
        assert_eq!(alone.faces.len(), together.faces.len());
        for (a, b) in alone.faces.iter().zip(&together.faces) {
            let cosine = |a: &Embedding, b: &Embedding| a.cosine(b).map_or(-1.0, records::Cosine::get);
            worst = worst.min(cosine(&a.embedding, &b.embedding));
            faces += 1;
        }
    }
    println!("{faces} faces, least cosine {worst:.6}");
    assert!(faces >= 35 && worst >= 0.9999, "{faces} faces, least cosine {worst}");
    Ok(())
}
