//! Packs of toy networks with known answers: SCRFD in every shape it is exported in, and packs that must be refused.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

mod common;

use common::toys::{self, FACES, SIDE, Shape, ToyEmbedder};
use embed::{EmbedConfig, EmbedError, Embedder, PackError};
use records::{Face, FaceBox, VectorError};

const USUAL: Shape = Shape { any_batch: true, axis: true, mixes: false };

fn close(place: &FaceBox, expected: [f32; 4]) {
    for (found, expected) in [place.x1, place.y1, place.x2, place.y2].iter().zip(expected) {
        assert!((found - expected).abs() < 0.01, "{place:?} where {expected} was expected");
    }
}

/// What the toy detector says of a picture whose brightest value is `value` and that is `zoom` canvases large.
fn check(faces: &[Face], value: u8, zoom: f32) {
    let m = (f32::from(value) - 127.5) / 128.0;
    assert_eq!(faces.len(), 2, "the overlapping face must be suppressed");
    for (face, (stride, column, row, _, score, distances)) in faces.iter().zip([FACES[2], FACES[0]]) {
        let (x, y) = ((column * stride) as f32, (row * stride) as f32);
        let [left, top, right, bottom] = distances.map(|distance| distance * m * stride as f32);
        let (place, landmarks) = face.place.unwrap();
        close(&place, [x - left, y - top, x + right, y + bottom].map(|value| value * zoom));
        for (found, [dx, dy]) in landmarks.0.iter().zip(toys::offsets()) {
            assert!((found[0] - (x + dx * m) * zoom).abs() < 0.01, "{found:?}");
            assert!((found[1] - (y + dy * m) * zoom).abs() < 0.01, "{found:?}");
        }
        assert!((face.quality.score - score * m).abs() < 1e-4);
    }
    assert!(faces[0].main && !faces[1].main, "only the largest is the main one");
}

#[test]
fn scrfd_is_read_in_every_shape() {
    let Some(runtime) = common::runtime() else { return };
    for any_batch in [true, false] {
        for axis in [true, false] {
            for mixes in [false, true] {
                let folder = tempfile::tempdir().unwrap();
                let shape = Shape { any_batch, axis, mixes };
                let pack = toys::pack(folder.path(), shape, ToyEmbedder::Plain, |_| {});
                let embedder = Embedder::new(&runtime, &pack, EmbedConfig::default()).unwrap();
                let side = SIDE as u32;
                let pictures = [
                    toys::plain(side, [255, 220, 210]),
                    toys::plain(side, [230, 20, 60]),
                    toys::plain(side, [90, 90, 90]),
                    toys::plain(2 * side, [255, 0, 0]),
                ];
                let found = embedder.embed_batch(pictures.iter().collect());
                let faces: Vec<&[Face]> =
                    found.iter().map(|c| c.as_ref().unwrap().faces.as_slice()).collect();
                check(faces[0], 255, 1.0);
                check(faces[1], 230, 1.0);
                assert!(faces[2].is_empty(), "too dark for a face");
                check(faces[3], 255, 2.0);
            }
        }
    }
}

/// What networks of 32 bits find, those of 16 bits find as well, a little less exactly.
#[test]
fn fp16_packs_give_what_fp32_packs_give() {
    let Some(runtime) = common::runtime() else { return };
    let found = [ToyEmbedder::Plain, ToyEmbedder::Half].map(|embedder| {
        let folder = tempfile::tempdir().unwrap();
        let pack = toys::pack(folder.path(), USUAL, embedder, |_| {});
        let embedder = Embedder::new(&runtime, &pack, EmbedConfig::default()).unwrap();
        let pictures = [toys::plain(64, [255, 250, 240]), toys::plain(64, [40, 90, 255])];
        embedder.embed_batch(pictures.iter().collect())
    });
    for (plain, half) in found[0].iter().zip(&found[1]) {
        let (plain, half) = (plain.as_ref().unwrap(), half.as_ref().unwrap());
        assert_eq!((plain.faces.len(), half.faces.len()), (2, 2));
        for (plain, half) in plain.faces.iter().zip(&half.faces) {
            let cosine = plain.embedding.cosine(&half.embedding).unwrap().get();
            assert!(cosine > 0.9999, "{cosine}");
            let (a, b) = (plain.place.unwrap().0, half.place.unwrap().0);
            assert!((a.x1 - b.x1).abs() < 0.1 && (a.y2 - b.y2).abs() < 0.1, "{a:?} {b:?}");
        }
    }
}

/// Callers on many threads share the networks' batches; everyone gets what it would get alone.
#[test]
fn callers_share_batches_and_get_their_own() {
    let Some(runtime) = common::runtime() else { return };
    let folder = tempfile::tempdir().unwrap();
    let pack = toys::pack(folder.path(), USUAL, ToyEmbedder::Plain, |_| {});
    let alone = Embedder::new(
        &runtime,
        &pack,
        EmbedConfig { detect_batch: 1, embed_batch: 1, ..EmbedConfig::default() },
    );
    let alone = alone.unwrap();
    let config = EmbedConfig { detect_batch: 4, embed_batch: 6, batch_wait_ms: 20, ..EmbedConfig::default() };
    let shared = Embedder::new(&runtime, &pack, config).unwrap();
    std::thread::scope(|scope| {
        for caller in 0..6u8 {
            let (shared, alone) = (&shared, &alone);
            scope.spawn(move || {
                // More pictures than may be on the way at once, so callers wait for each other as well.
                let pictures: Vec<_> =
                    (0..13u8).map(|at| toys::plain(64, [255 - 3 * caller, 250 - at, 40 + 7 * at])).collect();
                let together = shared.embed_batch(pictures.iter().collect());
                for (picture, together) in pictures.iter().zip(together) {
                    let alone = alone.embed_batch(vec![picture]).remove(0).unwrap();
                    let together = together.unwrap();
                    assert_eq!(together.faces.len(), alone.faces.len());
                    for (a, b) in together.faces.iter().zip(&alone.faces) {
                        assert!(a.embedding.cosine(&b.embedding).unwrap().get() >= 0.9999);
                        assert_eq!(a.place, b.place);
                    }
                }
            });
        }
    });
}

#[test]
fn a_face_without_an_embedding_fails_its_picture_only() {
    let Some(runtime) = common::runtime() else { return };
    let folder = tempfile::tempdir().unwrap();
    let pack = toys::pack(folder.path(), USUAL, ToyEmbedder::Plain, |_| {});
    let embedder = Embedder::new(&runtime, &pack, EmbedConfig::default()).unwrap();
    let mut short = toys::plain(64, [255, 250, 240]);
    short.height = 65;
    // The toy embedder takes 200 for nothing, so a picture of 200 gives an embedding without a direction.
    let pictures = [
        toys::plain(64, [255, 250, 240]),
        toys::plain(64, [200; 3]),
        short,
        toys::plain(64, [240, 250, 255]),
    ];
    let found = embedder.embed_batch(pictures.iter().collect());
    let embedding = |at: usize| found[at].as_ref().unwrap().faces[1].embedding.clone();
    assert_eq!(found[1], Err(EmbedError::Vector(VectorError::Zero)));
    assert!(matches!(found[2], Err(EmbedError::Pixels { .. })));
    // Which way the values lean shows that no picture got another one's embedding.
    assert!(embedding(0).as_slice()[0] > embedding(0).as_slice()[2]);
    assert!(embedding(3).as_slice()[0] < embedding(3).as_slice()[2]);
}

#[test]
fn packs_that_cannot_be_right_are_refused() {
    let Some(runtime) = common::runtime() else { return };
    let refused = |shape, embedder, change: fn(&mut embed::PackDescription)| {
        let folder = tempfile::tempdir().unwrap();
        let pack = toys::pack(folder.path(), shape, embedder, change);
        Embedder::new(&runtime, &pack, EmbedConfig::default()).unwrap_err()
    };
    for embedder in [ToyEmbedder::Mixing, ToyEmbedder::Int8] {
        let error = refused(USUAL, embedder, |_| {});
        assert!(matches!(error, PackError::BatchDependent { cosine, .. } if cosine < 0.9999), "{error}");
        assert!(error.to_string().contains("in a batch than alone") && error.to_string().contains("int8"));
    }
    let error = refused(USUAL, ToyEmbedder::Plain, |pack| pack.dimension = 5);
    assert!(error.to_string().contains("gives 3 numbers where the description says 5"), "{error}");
    let error = refused(USUAL, ToyEmbedder::Plain, |pack| pack.detector.input_size = 96);
    assert!(error.to_string().contains("where f32 or f16 [batch, 3, 96, 96] is expected"), "{error}");
    let error =
        refused(USUAL, ToyEmbedder::Plain, |pack| pack.detector.family = embed::DetectorFamily::Yunet);
    assert!(error.to_string().contains("has no output cls_8"), "{error}");

    let folder = tempfile::tempdir().unwrap();
    let pack = toys::pack(folder.path(), USUAL, ToyEmbedder::Plain, |_| {});
    assert!(embed::verify(&runtime, &pack).iter().all(|check| check.trouble.is_none()));
    std::fs::write(pack.embedder_path(), b"other").unwrap();
    let checks = embed::verify(&runtime, &pack);
    assert!(checks.len() == 1 && matches!(checks[0].trouble, Some(PackError::Hash { .. })));
}

#[test]
fn bench_measures_networks_and_the_work_around_them() {
    let Some(runtime) = common::runtime() else { return };
    let folder = tempfile::tempdir().unwrap();
    let pack = toys::pack(folder.path(), USUAL, ToyEmbedder::Plain, |_| {});
    let embedder = Embedder::new(&runtime, &pack, EmbedConfig::default()).unwrap();
    let short = std::time::Duration::from_millis(20);
    let networks = embedder.bench_networks(3, short).unwrap();
    assert!(networks.embedding_faces_per_second > 0.0 && networks.detection_pictures_per_second > 0.0);
    let pictures = [toys::plain(64, [255, 250, 240])];
    let around = embedder.bench_around(&pictures, short).unwrap();
    assert!(around.feed_and_read > 0.0 && around.align_and_hash > 0.0);
    assert_eq!(embedder.bench_around(&[], short).unwrap().resize, 0.0);
    let spent = embedder.spent();
    assert!(spent.parts.iter().any(|(name, seconds)| *name == "hash" && *seconds > 0.0));
}
