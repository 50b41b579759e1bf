use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Float32Type, TimestampMicrosecondType};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use sha2::{Digest, Sha256};

use super::*;
use crate::population::{Content, Kinship, Options, Original, Person, Picture, Population, Shown, Treatment};
use crate::seeding::mix;
use crate::truth::{Standing, Truth};

fn person(seed: u64) -> Person {
    Person { seed: mix(seed, 99), family: None }
}

fn photo(seed: u64, person: Person, width_px: f32) -> Picture {
    let faces = vec![Shown { person, width_px }];
    let original = Original { seed: mix(seed, 77), content: Content::Photo, faces };
    Picture { original: Arc::new(original), treatment: Treatment::NONE }
}

fn treated(picture: &Picture, treatment: Treatment) -> Picture {
    Picture { original: picture.original.clone(), treatment }
}

fn vector(space: Space, picture: &Picture) -> Vec<f32> {
    embedding(space, picture, &picture.original.faces[0])
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

fn quantile(sorted: &[f32], q: f64) -> f32 {
    sorted[((sorted.len() - 1) as f64 * q).round() as usize]
}

fn sorted(mut values: Vec<f32>) -> Vec<f32> {
    values.sort_by(f32::total_cmp);
    values
}

fn false_match_rates(space: Space, people: u64, thresholds: &[f32]) -> (f64, f64, Vec<f64>) {
    let vectors: Vec<_> = (0..people).map(|n| vector(space, &photo(n, person(n), 150.0))).collect();
    let (mut sum, mut squares, mut pairs) = (0.0_f64, 0.0_f64, 0.0_f64);
    let mut above = vec![0.0; thresholds.len()];
    for (at, a) in vectors.iter().enumerate() {
        for b in &vectors[..at] {
            let cosine = dot(a, b);
            sum += f64::from(cosine);
            squares += f64::from(cosine).powi(2);
            pairs += 1.0;
            for (count, threshold) in above.iter_mut().zip(thresholds) {
                *count += f64::from(u8::from(cosine >= *threshold));
            }
        }
    }
    above.iter_mut().for_each(|count| *count /= pairs);
    (sum / pairs, (squares / pairs).sqrt(), above)
}

/// The measured rates: 1.7e-3 at .35, 3.8e-4 at .40, 6.6e-5 at .45 over 45,156 pairs.
#[test]
fn different_people_match_as_often_as_measured() {
    let (mean, deviation, rates) = false_match_rates(Space::MobileFaceNet128, 3_000, &[0.35, 0.40, 0.45]);
    eprintln!("128-d impostors: mean {mean:.4}, deviation {deviation:.4}, false-match rates {rates:?}");
    assert!(mean.abs() < 0.005);
    for (rate, measured) in rates.iter().zip([1.7e-3, 3.8e-4, 6.6e-5]) {
        assert!((0.7..1.4).contains(&(rate / measured)), "{rate} instead of {measured}");
    }
}

#[test]
fn the_larger_space_keeps_different_people_further_apart() {
    let (mean, deviation, rates) = false_match_rates(Space::ArcFace512, 1_500, &[0.25, 0.35]);
    eprintln!("512-d impostors: mean {mean:.4}, deviation {deviation:.4}, false-match rates {rates:?}");
    assert!(mean.abs() < 0.005 && (0.06..0.08).contains(&deviation));
    assert!(rates[1] < 2e-5, "{}", rates[1]);
}

/// Measured on 408 pairs: .51 to .88, median .76.
#[test]
fn other_photos_of_one_person() {
    for space in [Space::MobileFaceNet128, Space::ArcFace512] {
        let cosines = (0..6_000_u64).map(|n| {
            dot(
                &vector(space, &photo(2 * n, person(n), 150.0)),
                &vector(space, &photo(2 * n + 1, person(n), 150.0)),
            )
        });
        let cosines = sorted(cosines.collect());
        let [low, median, high] = [1.0 / 408.0, 0.5, 1.0 - 1.0 / 408.0].map(|q| quantile(&cosines, q));
        eprintln!("{space:?} genuine: {low:.3} {median:.3} {high:.3}");
        assert!((median - 0.76).abs() < 0.012, "{median}");
        assert!((0.46..0.58).contains(&low), "{low}");
        assert!((0.85..0.905).contains(&high), "{high}");
    }
}

#[test]
fn relatives_lie_between_strangers_and_oneself() {
    for (kinship, least, most) in [(Kinship::Siblings, 0.4, 0.6), (Kinship::Twins, 0.6, 0.8)] {
        let cosines = (0..3_000_u64).map(|n| {
            let family = Some((n + 1, kinship));
            let one = Person { seed: mix(n, 1), family };
            let other = Person { seed: mix(n, 2), family };
            let space = Space::MobileFaceNet128;
            dot(&vector(space, &photo(2 * n, one, 150.0)), &vector(space, &photo(2 * n + 1, other, 150.0)))
        });
        let cosines = sorted(cosines.collect());
        let within = cosines.iter().filter(|c| (least..=most).contains(*c)).count() as f64 / 3_000.0;
        eprintln!("{kinship:?}: median {:.3}, within the range {within:.2}", quantile(&cosines, 0.5));
        assert!((quantile(&cosines, 0.5) - (least + most) / 2.0).abs() < 0.04);
        assert!(within > 0.7);
    }
}

#[test]
fn copies_of_one_photo() {
    let kinds: [fn(&mut Treatment); 5] = [
        |t| t.reencoded = true,
        |t| t.resized = true,
        |t| t.cropped = true,
        |t| t.mirrored = true,
        |t| t.greyed = true,
    ];
    for kind in kinds {
        for n in 0..300 {
            let original = photo(n, person(n), 300.0);
            let mut treatment = Treatment { variant: n + 1, ..Treatment::NONE };
            kind(&mut treatment);
            let copy = treated(&original, treatment);
            let cosine =
                dot(&vector(Space::MobileFaceNet128, &original), &vector(Space::MobileFaceNet128, &copy));
            assert!((0.90..=1.000_01).contains(&cosine), "{treatment:?}: {cosine}");
            assert_ne!(photo_sha256(&original), photo_sha256(&copy));
            let moved = photo_pdq(&original).distance(&photo_pdq(&copy));
            match (treatment.cropped, treatment.mirrored) {
                (true, _) => assert!((50..=110).contains(&moved)),
                (_, true) => assert!(moved > 100, "{moved}"),
                _ => assert!(moved <= 10),
            }
            let same = treated(&original, treatment);
            assert_eq!(photo_sha256(&copy), photo_sha256(&same));
            assert_eq!(vector(Space::MobileFaceNet128, &copy), vector(Space::MobileFaceNet128, &same));
        }
    }
    let strangers = photo_pdq(&photo(1, person(1), 99.0)).distance(&photo_pdq(&photo(2, person(2), 99.0)));
    assert!((90..166).contains(&strangers));
}

/// Measured medians: .11 below 20 pixels, .30 from 20 to 30, .65 from 30 to 45, .86 from 45 to 60.
#[test]
fn small_faces_lose() {
    let space = Space::MobileFaceNet128;
    for (least, most, measured) in
        [(12.0, 20.0, 0.11), (20.0, 30.0, 0.30), (30.0, 45.0, 0.65), (45.0, 60.0, 0.86)]
    {
        let cosines = (0..800_u64).map(|n| {
            let width = least + (most - least) * (n as f32 / 800.0);
            dot(&vector(space, &photo(n, person(n), width)), &vector(space, &photo(n, person(n), 300.0)))
        });
        let median = quantile(&sorted(cosines.collect()), 0.5);
        eprintln!("{least} to {most} px: {median:.3}");
        assert!((median - measured).abs() < 0.05, "{least} to {most}: {median}");
    }
    let strangers = (0..800_u64).map(|n| {
        dot(
            &vector(space, &photo(2 * n, person(2 * n), 15.0)),
            &vector(space, &photo(2 * n + 1, person(2 * n + 1), 15.0)),
        )
    });
    let median = quantile(&sorted(strangers.collect()), 0.5);
    assert!(median > 0.2, "blurred strangers resemble each other: {median}");
}

fn digest(folder: &std::path::Path, name: &str) -> [u8; 32] {
    Sha256::digest(std::fs::read(folder.join(name)).unwrap()).into()
}

#[test]
fn files_keep_the_contract_and_follow_from_the_seed() {
    let options = |seed| Options { accounts: 3_000, seed, ..Options::default() };
    let write = |seed, faces: &FaceOptions| {
        let folder = tempfile::tempdir().unwrap();
        let population = Population::new(options(seed)).unwrap();
        let written = write_faces(&population, faces, folder.path()).unwrap();
        (folder, written)
    };
    let faces = FaceOptions { pack: Some("some-pack".into()), ..FaceOptions::default() };
    let (folder, written) = write(5, &faces);
    let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let (again, _) = one_thread.install(|| write(5, &faces));
    let (other, _) = write(6, &faces);
    for name in ["faces.parquet", "truth.parquet"] {
        assert_eq!(digest(folder.path(), name), digest(again.path(), name));
        assert_ne!(digest(folder.path(), name), digest(other.path(), name));
    }

    let file = std::fs::File::open(folder.path().join("faces.parquet")).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let schema = reader.schema().clone();
    let type_of = |name: &str| schema.field_with_name(name).unwrap().data_type().clone();
    assert!(
        matches!(type_of("embedding"), DataType::FixedSizeList(item, 128) if item.data_type() == &DataType::Float32)
    );
    assert_eq!(type_of("photo_sha256"), DataType::FixedSizeBinary(32));
    assert_eq!(type_of("photo_pdq"), DataType::FixedSizeBinary(32));
    assert_eq!(type_of("face_width_px"), DataType::Float32);
    assert_eq!(type_of("observed_at").to_string(), "Timestamp(µs, \"UTC\")");

    let (mut faces, mut faceless) = (0, 0);
    let mut photos: HashMap<(String, String), (i64, Vec<u8>)> = HashMap::new();
    for batch in reader.build().unwrap() {
        let batch = batch.unwrap();
        let column = |name: &str| batch.column_by_name(name).unwrap();
        let embeddings = column("embedding").as_fixed_size_list();
        let accounts = column("account_id").as_string::<i32>();
        let names = column("photo_id").as_string::<i32>();
        let times = column("observed_at").as_primitive::<TimestampMicrosecondType>();
        let hashes = column("photo_sha256").as_fixed_size_binary();
        for row in 0..batch.num_rows() {
            if embeddings.is_null(row) {
                faceless += 1;
                assert!(column("face_width_px").is_null(row));
            } else {
                faces += 1;
                let value = embeddings.value(row);
                let norm: f32 = value.as_primitive::<Float32Type>().values().iter().map(|v| v * v).sum();
                assert!((norm - 1.0).abs() < 1e-4);
            }
            let key = (accounts.value(row).to_owned(), names.value(row).to_owned());
            let facts = (times.value(row), hashes.value(row).to_vec());
            assert_eq!(photos.entry(key).or_insert(facts.clone()), &facts, "rows of one photo agree");
        }
    }
    assert_eq!((faces, photos.len() as u64), (written.faces, written.photos));
    assert!(faceless > 100);

    let truth = Truth::read(&folder.path().join("truth.parquet")).unwrap();
    assert_eq!(truth.0.len() as u64, written.accounts);
    let bots = truth.0.values().filter(|account| account.standing() == Standing::Bot).count();
    assert_eq!(bots as u64, written.bots);
    assert_eq!(truth, Truth::of(&Population::new(options(5)).unwrap().accounts()));
}

#[test]
fn columns_are_left_out_when_not_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let population = Population::new(Options { accounts: 100, ..Options::default() }).unwrap();
    let faces =
        FaceOptions { space: Space::ArcFace512, sha256: false, pdq: false, profiles: false, pack: None };
    write_faces(&population, &faces, folder.path()).unwrap();
    let file = std::fs::File::open(folder.path().join("faces.parquet")).unwrap();
    let schema = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().schema().clone();
    let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["account_id", "photo_id", "observed_at", "embedding", "face_width_px"]);
    assert!(matches!(schema.field(3).data_type(), DataType::FixedSizeList(_, 512)));
}
