//! Whole pictures: reproducible, true to their labels, and of people who differ.

use super::*;
use sha2::{Digest, Sha256};

/// A frontal, sharp, noiseless photo in plain light.
fn plain(seed: u64) -> Nuisance {
    Nuisance {
        yaw: 0.0,
        pitch: 0.0,
        roll: 0.0,
        gaze: (0.0, 0.0),
        eye_open: 1.1,
        glasses: None,
        blur: 0.0,
        noise: 0.0,
        light_strength: 0.2,
        exposure: 1.0,
        ..Nuisance::framed(seed, Framing::Avatar)
    }
}

fn portrait(identity: u64, photo: u64, size: u32) -> Picture {
    render(&PortraitIdentity::from_seed(identity), &Nuisance::from_seed(photo), size).unwrap()
}

fn digest(pictures: &[Picture]) -> String {
    let mut hash = Sha256::new();
    for picture in pictures {
        hash.update(&picture.pixels);
    }
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn people(count: u64) -> Vec<(PortraitIdentity, Nuisance)> {
    (0..count)
        .map(|index| (PortraitIdentity::from_seed(40 + index), Nuisance::from_seed(80 + index)))
        .collect()
}

/// The committed networks know these very pictures: whoever changes one bit of the drawing has to run
/// `models/bundled/train/evaluate.py` again, and to train again if the figures fell.
#[test]
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn the_drawing_is_the_one_the_bundled_networks_learnt() {
    let pictures: Vec<Picture> = (0..12).map(|seed| portrait(seed, seed + 100, 96)).collect();
    assert_eq!(digest(&pictures), "b3063d0bdc6397ba");
    let scenes = [render_group(&people(3), 5, 200, 120).unwrap(), render_empty(6, 120, 100).unwrap()];
    assert_eq!(digest(&scenes), "2f690460d69cca52");
}

#[test]
fn the_same_seeds_give_the_same_picture() {
    assert_eq!(portrait(1, 2, 128), portrait(1, 2, 128));
    assert_ne!(portrait(1, 2, 128).pixels, portrait(1, 3, 128).pixels);
    assert_eq!(render_empty(9, 90, 60).unwrap(), render_empty(9, 90, 60).unwrap());
}

#[test]
fn landmarks_lie_in_their_box_in_the_order_of_a_face() {
    for seed in 0..300 {
        let picture = portrait(seed, seed * 3 + 1, 32);
        let face = &picture.faces[0];
        let [left, top, right, bottom] = face.face_box;
        assert!(right - left > 4.0 && bottom - top > 4.0, "{face:?}");
        for [x, y] in face.landmarks {
            assert!((left..=right).contains(&x) && (top..=bottom).contains(&y), "seed {seed}: {face:?}");
        }
        let [eye_left, eye_right, nose, mouth_left, mouth_right] = face.landmarks;
        assert!(eye_left[0] < eye_right[0] && mouth_left[0] < mouth_right[0], "seed {seed}: {face:?}");
        assert!(eye_left[1].min(eye_right[1]) < nose[1], "seed {seed}: {face:?}");
        assert!(nose[1] < mouth_left[1].max(mouth_right[1]), "seed {seed}: {face:?}");
    }
}

#[test]
fn pupils_are_drawn_where_the_eye_landmarks_are() {
    for seed in 0..40 {
        let picture = render(&PortraitIdentity::from_seed(seed), &plain(seed + 9), 256).unwrap();
        for [x, y] in &picture.faces[0].landmarks[..2] {
            let start = (*y as usize * 256 + *x as usize) * 3;
            let brightest = *picture.pixels[start..start + 3].iter().max().unwrap();
            assert!(brightest < 75, "seed {seed}: the pupil has the value {brightest}");
        }
    }
}

#[test]
fn people_differ_more_than_photos_of_one_person() {
    // One photo each of two people under equal conditions, within the face box.
    let face_of = |identity: u64, nuisance: &Nuisance| -> Vec<u8> {
        let picture = render(&PortraitIdentity::from_seed(identity), nuisance, 128).unwrap();
        let width = picture.width as usize * 3;
        (40..80).flat_map(|y| picture.pixels[y * width + 40 * 3..y * width + 88 * 3].to_vec()).collect()
    };
    let apart = |a: &[u8], b: &[u8]| {
        a.iter().zip(b).map(|(x, y)| f64::from(x.abs_diff(*y))).sum::<f64>() / a.len() as f64
    };
    let nuisance = Nuisance { face_width: 0.5, place: (0.5, 0.45), ..plain(3) };
    let other_gaze = Nuisance { gaze: (0.2, 0.0), clothes: 77, background: 5, ..nuisance.clone() };
    for seed in 0..60 {
        let own = face_of(seed, &nuisance);
        let between = apart(&own, &face_of(seed + 1, &nuisance));
        let within = apart(&own, &face_of(seed, &other_gaze));
        assert!(between > 4.0 * within.max(0.5), "seed {seed}: {between} between, {within} within");
    }
}

#[test]
fn a_group_shows_everyone_from_left_to_right() {
    for count in 1..=6 {
        let people = people(count);
        let picture = render_group(&people, 11, 480, 300).unwrap();
        let seeds: Vec<u64> = picture.faces.iter().map(|face| face.identity).collect();
        assert_eq!(seeds, people.iter().map(|(person, _)| person.seed()).collect::<Vec<_>>());
        assert!(picture.faces.windows(2).all(|pair| pair[0].face_box[2] < pair[1].face_box[0] + 1.0));
        for face in &picture.faces {
            let [left, top, right, bottom] = face.face_box;
            assert!(left > 0.0 && top > 0.0 && right < 480.0 && bottom < 300.0, "{face:?}");
        }
    }
}

#[test]
fn sizes_are_checked_and_kept() {
    let (person, photo) = (PortraitIdentity::from_seed(1), Nuisance::from_seed(1));
    assert!(matches!(render(&person, &photo, 0), Err(PictureError::Size { .. })));
    assert!(matches!(render_empty(1, 20_000, 4), Err(PictureError::Size { .. })));
    let picture = render_in(&person, &photo, 31, 77).unwrap();
    assert_eq!((picture.width, picture.height, picture.pixels.len()), (31, 77, 31 * 77 * 3));
    assert!(render_empty(1, 1, 1).unwrap().faces.is_empty());
    assert!(render_group(&[], 1, 20, 20).unwrap().faces.is_empty());
}

#[test]
fn files_decode_to_the_picture() {
    let picture = portrait(4, 5, 100);
    let png = image::load_from_memory(&picture.to_png().unwrap()).unwrap().into_rgb8();
    assert_eq!(png.as_raw(), &picture.pixels);
    let jpeg = picture.through_jpeg(95).unwrap();
    let apart: u64 = jpeg.pixels.iter().zip(&picture.pixels).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    assert!(apart < 6 * picture.pixels.len() as u64, "{apart}");
    assert_eq!(jpeg.faces, picture.faces);
    let mild = portrait(4, 5, 100).to_jpeg(40).unwrap().len();
    assert!(mild < picture.to_jpeg(95).unwrap().len());
}
