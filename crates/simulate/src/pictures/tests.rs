use std::collections::{BTreeSet, HashSet};

use arrow::array::{Array, AsArray};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use records::{EventBody, PhotoSource};
use sha2::{Digest, Sha256};

use super::*;
use crate::population::{Content, Original, Treatment};

fn small() -> PictureOptions {
    PictureOptions { side: 96, url_prefix: "http://pictures.test/".into(), inline: false }
}

#[test]
fn a_demo_has_rings_of_every_kind_and_every_look_alike() {
    for accounts in [300, 1_000, 2_000] {
        for seed in 0..4 {
            let population = Population::new(demo_options(accounts, seed)).unwrap();
            let drawn = population.accounts();
            let kinds: BTreeSet<&str> = drawn.iter().map(|account| account.label.kind).collect();
            assert_eq!(kinds.len(), 6 + 1 + 14, "{accounts} accounts, seed {seed}: {kinds:?}");
            assert!((6..=10).contains(&population.rings()), "{accounts}: {} rings", population.rings());
        }
    }
}

#[test]
fn every_url_of_a_demo_can_be_served() {
    let demo = demo_population(300, 7, &small()).unwrap();
    let mut served = HashSet::new();
    for event in &demo.events {
        event.validate().unwrap();
        let EventBody::Replace { photos, .. } = &event.body else { panic!("only sets of photos") };
        for photo in photos {
            let PhotoSource::Url(url) = &photo.source else { panic!("only URLs") };
            let path = url.expose().strip_prefix("http://pictures.test/").unwrap();
            assert!(demo.pictures[path].starts_with(&[0xff, 0xd8, 0xff]), "a JPEG");
            served.insert(path.to_owned());
        }
    }
    assert_eq!(served.len(), demo.pictures.len());
    assert!(demo.events.is_sorted_by_key(|event| event.observed_at));
    assert!(demo.events.len() > 400, "accounts come up more than once");
    let all: HashSet<_> = demo.events.iter().map(|event| event.account.as_str()).collect();
    assert_eq!((all.len(), demo.truth.0.len()), (300, 300));

    let json: serde_json::Value = serde_json::from_str(&event_json(&demo.events[0]).unwrap()).unwrap();
    assert_eq!(json["account_id"], demo.events[0].account.as_str());
    assert_eq!(json["observed_at"], demo.events[0].observed_at.to_string());
    assert!(json["photos"][0]["url"].as_str().unwrap().ends_with(".jpg"));
}

/// Equal bytes exactly where the population says so, and one by one as all at once.
#[test]
fn bytes_follow_the_population() {
    let accounts = Population::new(demo_options(300, 3)).unwrap().accounts();
    let gallery = Gallery::of(&accounts, 64);
    let files = gallery.render_all().unwrap();
    let mut by_identity: HashMap<u64, &Bytes> = HashMap::new();
    for account in &accounts {
        for photo in &account.photos {
            let bytes = &files[&photo_path(&account.id, &photo.id)];
            assert_eq!(*by_identity.entry(photo.picture.identity()).or_insert(bytes), bytes);
        }
    }
    let distinct: HashSet<&Bytes> = by_identity.values().copied().collect();
    assert_eq!(distinct.len(), by_identity.len());
    for path in gallery.paths().take(20) {
        assert_eq!(gallery.jpeg(path).unwrap().unwrap(), files[path]);
    }
    assert_eq!(gallery.jpeg("photos/nobody/p0.jpg").unwrap(), None);
}

#[test]
fn generated_faces_have_their_eyes_at_one_place() {
    for seed in 0..20 {
        let person = crate::population::Person { seed, family: None };
        let faces = vec![crate::population::Shown { person, width_px: 200.0 }];
        let original = Original { seed, content: Content::Generated, faces };
        let drawn = draw::original(&original, 256).unwrap();
        let [left, right, ..] = drawn.faces[0].landmarks.map(|[x, y]| [x / 256.0, y / 256.0]);
        for (eye, x) in [(left, 0.376), (right, 0.624)] {
            assert!((eye[0] - x).abs() < 0.015 && (eye[1] - 0.471).abs() < 0.015, "{eye:?}");
        }
    }
}

#[test]
fn a_copy_shows_what_was_done_to_it() {
    let person = crate::population::Person { seed: 4, family: None };
    let faces = vec![crate::population::Shown { person, width_px: 200.0 }];
    let original = Original { seed: 9, content: Content::Photo, faces };
    let drawn = draw::original(&original, 128).unwrap();
    let made = |treatment| {
        let bytes = draw::copy(&original, treatment, &drawn).unwrap();
        image::load_from_memory(&bytes).unwrap().to_rgb8()
    };
    let plain = Treatment { variant: 5, reencoded: true, ..Treatment::NONE };
    assert_eq!(made(plain).dimensions(), (128, 128));
    assert!(made(Treatment { cropped: true, ..plain }).width() < 128);
    assert!(made(Treatment { resized: true, ..plain }).width() < 128);
    let grey = made(Treatment { greyed: true, ..plain });
    assert!(grey.pixels().all(|pixel| pixel.0.iter().max().unwrap() - pixel.0.iter().min().unwrap() < 8));
    let mirrored = image::imageops::flip_horizontal(&made(Treatment { mirrored: true, ..plain }));
    let apart = |a: &image::RgbImage, b: &image::RgbImage| {
        a.iter().zip(b.iter()).map(|(x, y)| f64::from(x.abs_diff(*y))).sum::<f64>() / a.len() as f64
    };
    assert!(apart(&mirrored, &made(plain)) < 6.0);
}

#[test]
fn a_folder_holds_pictures_events_and_truth() {
    let options = Options { accounts: 60, bots: 0.3, ..Options::default() };
    let write = |inline: bool| {
        let folder = tempfile::tempdir().unwrap();
        let population = Population::new(options.clone()).unwrap();
        let pictures = PictureOptions { inline, ..small() };
        let written = write_pictures(&population, &pictures, folder.path()).unwrap();
        (folder, written)
    };
    let (folder, written) = write(false);
    assert_eq!(written.accounts, 60);
    let lines = fs::read_to_string(folder.path().join("profiles.jsonl")).unwrap();
    let mut files = 0;
    for account in fs::read_dir(folder.path().join("photos")).unwrap() {
        files += fs::read_dir(account.unwrap().path()).unwrap().count() as u64;
    }
    assert_eq!(files, written.photos);
    assert_eq!(Truth::read(&folder.path().join("truth.parquet")).unwrap().0.len(), 60);

    let (inline, _) = write(true);
    let file = fs::File::open(inline.path().join("profiles.parquet")).unwrap();
    let mut rows = 0;
    for batch in ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap() {
        let batch = batch.unwrap();
        rows += batch.num_rows();
        let accounts = batch.column_by_name("account_id").unwrap().as_string::<i32>();
        let photos = batch.column_by_name("photos").unwrap().as_list::<i32>();
        for row in 0..batch.num_rows() {
            let set = photos.value(row);
            let set = set.as_struct();
            let images = set.column_by_name("image").unwrap().as_binary::<i32>();
            let ids = set.column_by_name("photo_id").unwrap().as_string::<i32>();
            assert_eq!(set.column_by_name("url").unwrap().null_count(), set.len());
            for at in 0..set.len() {
                let path = format!("photos/{}/{}.jpg", accounts.value(row), ids.value(at));
                assert_eq!(images.value(at), fs::read(folder.path().join(path)).unwrap());
            }
        }
    }
    assert_eq!(rows, lines.lines().count());

    let digest = |folder: &Path, name: &str| Sha256::digest(fs::read(folder.join(name)).unwrap());
    let (again, _) = write(false);
    for name in ["profiles.jsonl", "profiles.parquet", "truth.parquet"] {
        assert_eq!(digest(folder.path(), name), digest(again.path(), name));
    }
}
