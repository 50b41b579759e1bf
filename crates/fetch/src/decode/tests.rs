use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;

const MAX: u64 = 40_000_000;

fn shared() -> Option<PathBuf> {
    let named = std::env::var_os("FACERING_SHARED").map(PathBuf::from);
    let folder = named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"));
    if folder.join("images").is_dir() {
        return Some(folder);
    }
    eprintln!("SKIPPED: no test pictures at {}, set FACERING_SHARED", folder.display());
    None
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)).unwrap()
}

fn decoded(name: &str) -> Pixels {
    decode(&fixture(name), MAX).unwrap_or_else(|e| panic!("{name}: {e:?}"))
}

/// The colours of the four quarters: top left, top right, bottom left, bottom right.
fn quarters(pixels: &Pixels) -> [&'static str; 4] {
    let (w, h) = (pixels.width as usize, pixels.height as usize);
    [(1, 1), (3, 1), (1, 3), (3, 3)].map(|(x, y)| {
        let at = (y * h / 4 * w + x * w / 4) * 3;
        match [pixels.rgb[at] > 128, pixels.rgb[at + 1] > 128, pixels.rgb[at + 2] > 128] {
            [true, false, false] => "red",
            [false, true, false] => "green",
            [false, false, true] => "blue",
            [true, true, false] => "yellow",
            [true, true, true] => "white",
            _ => "other",
        }
    })
}

#[test]
fn pictures_are_turned_as_they_say() {
    let upright = ["red", "green", "blue", "yellow"];
    for (name, size, expected) in [
        ("orientation_1.avif", (48, 32), upright),
        ("orientation_2.avif", (48, 32), ["green", "red", "yellow", "blue"]),
        ("orientation_5.avif", (32, 48), ["red", "blue", "green", "yellow"]),
        ("orientation_6.avif", (32, 48), ["blue", "red", "yellow", "green"]),
        ("orientation_8.avif", (32, 48), ["green", "yellow", "red", "blue"]),
        ("orientation_5.jpg", (32, 48), ["red", "blue", "green", "yellow"]),
        ("orientation_5.png", (32, 48), ["red", "blue", "green", "yellow"]),
        ("orientation_5.webp", (32, 48), ["red", "blue", "green", "yellow"]),
        ("orientation_5_prefixed.webp", (32, 48), ["red", "blue", "green", "yellow"]),
        ("progressive.jpg", (48, 32), upright),
        ("full444.avif", (48, 32), upright),
    ] {
        let pixels = decoded(name);
        assert_eq!((pixels.width, pixels.height), size, "{name}");
        assert_eq!(quarters(&pixels), expected, "{name}");
    }
}

#[test]
fn alpha_lies_on_white_and_grey_stays_grey() {
    let pixels = decoded("alpha.avif");
    assert_eq!(quarters(&pixels)[..3], ["white", "green", "blue"]);
    let half = &pixels.rgb[pixels.rgb.len() - 3..];
    assert!(half.iter().zip([247, 247, 157]).all(|(a, b): (&u8, u8)| a.abs_diff(b) < 8), "{half:?}");
    for name in ["grey.avif", "grey16.png"] {
        assert!(decoded(name).rgb.chunks(3).all(|p| p[0] == p[1] && p[1] == p[2]), "{name}");
    }
    assert_eq!(decoded("grey16.png").rgb[0], 220);
}

#[test]
fn every_reference_picture_has_the_references_size() {
    let Some(shared) = shared() else { return };
    let golden = std::fs::read_to_string(shared.join("reference/golden.json")).unwrap();
    let golden: serde_json::Value = serde_json::from_str(&golden).unwrap();
    let mut compared = 0;
    for (name, expected) in golden.as_object().unwrap() {
        let result = decode(&std::fs::read(shared.join(name)).unwrap(), MAX);
        if expected.get("undecodable").is_some() {
            let failure = result.expect_err(name);
            assert_eq!(failure.reason, Reason::CorruptImage, "{name}: {}", failure.detail);
        } else {
            let pixels = result.unwrap_or_else(|e| panic!("{name}: {e:?}"));
            let size = (expected["width"].as_u64().unwrap(), expected["height"].as_u64().unwrap());
            assert_eq!((u64::from(pixels.width), u64::from(pixels.height)), size, "{name}");
            assert_eq!(pixels.rgb.len() as u64, size.0 * size.1 * 3, "{name}");
        }
        compared += 1;
    }
    assert!(compared > 100, "{compared}");
}

#[test]
fn every_portrait_is_decoded() {
    let Some(shared) = shared() else { return };
    let mut count = 0;
    for (folder, size) in [("gpo", (225, 275)), ("directory", (200, 250))] {
        for entry in std::fs::read_dir(shared.join("portraits").join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let pixels =
                decode(&std::fs::read(&path).unwrap(), MAX).unwrap_or_else(|e| panic!("{path:?}: {e:?}"));
            // A few portraits differ from the usual size by some pixels.
            let (w, h) = (pixels.width.abs_diff(size.0), pixels.height.abs_diff(size.1));
            assert!(w < 80 && h < 80, "{path:?}: {} x {}", pixels.width, pixels.height);
            count += 1;
        }
    }
    assert_eq!(count, 849);
}

#[test]
fn size_is_judged_before_decoding() {
    for name in ["progressive.jpg", "orientation_5.png", "orientation_5.webp", "full444.avif"] {
        let failure = decode(&fixture(name), 48 * 32 - 1).unwrap_err();
        assert_eq!(failure.reason, Reason::TooManyPixels, "{name}: {}", failure.detail);
        assert!(decode(&fixture(name), 48 * 32).is_ok(), "{name}");
    }
    // A PNG of 60,000 x 60,000 pixels in 60 bytes: only the header is read.
    let mut bomb = fixture("grey16.png");
    bomb[16..24].copy_from_slice(&[0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]);
    let failure = decode(&bomb, MAX).unwrap_err();
    assert!(matches!(failure.reason, Reason::TooManyPixels | Reason::CorruptImage), "{failure:?}");
}

#[test]
fn a_webp_cannot_ask_for_memory_it_does_not_fill() {
    let mut bytes = fixture("orientation_5.webp");
    let exif = bytes.windows(4).position(|w| w == b"EXIF").unwrap();
    bytes[exif + 4..exif + 8].copy_from_slice(&0xf000_0000u32.to_le_bytes());
    assert_eq!(decode(&bytes, MAX).unwrap_err().reason, Reason::CorruptImage);
    // A frame of 16,383 x 16,383 pixels on a small canvas.
    let mut bytes = fixture("orientation_5.webp");
    let frame = bytes.windows(4).position(|w| w == b"VP8 ").unwrap() + 8;
    bytes[frame + 6..frame + 10].copy_from_slice(&0x3fff_3fffu32.to_le_bytes());
    assert_eq!(decode(&bytes, MAX).unwrap_err().reason, Reason::TooManyPixels);
}

#[test]
fn what_is_no_picture_is_told_apart_from_what_is_damaged() {
    for bytes in [&b""[..], b"<html>404</html>", b"%PDF-1.4", b"II*\0", b"\0\0\0\x18ftypheic\0\0\0\0heicmif1"]
    {
        assert_eq!(decode(bytes, MAX).unwrap_err().reason, Reason::NotAnImage);
    }
    for name in
        ["progressive.jpg", "orientation_5.jpg", "orientation_5.png", "orientation_5.webp", "full444.avif"]
    {
        let whole = fixture(name);
        let failure = decode(&whole[..whole.len() * 2 / 3], MAX).unwrap_err();
        assert_eq!(failure.reason, Reason::CorruptImage, "{name}: {}", failure.detail);
    }
}

#[test]
fn a_jpeg_whose_end_marker_is_missing_but_whose_pixels_are_whole_is_decoded() {
    let whole = fixture("orientation_5.jpg");
    assert_eq!(&whole[whole.len() - 2..], [0xff, 0xd9]);
    assert!(decode(&whole[..whole.len() - 2], MAX).is_ok());
}

const FIXTURES: &[&str] = &[
    "orientation_5.jpg",
    "progressive.jpg",
    "orientation_5.png",
    "grey16.png",
    "orientation_5.webp",
    "alpha.avif",
    "orientation_6.avif",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Neither noise behind a format's first bytes nor noise alone breaks anything.
    #[test]
    fn arbitrary_bytes_never_panic(format in 0..6usize, noise in prop::collection::vec(any::<u8>(), 0..600)) {
        let start: &[u8] = [
            &b"\xff\xd8\xff"[..], b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF\x10\0\0\0WEBPVP8 ",
            b"\0\0\0\x18ftypavif\0\0\0\0avifmif1", b"",
        ][format];
        let bytes = [start, &noise].concat();
        let _ = decode(&bytes, 100_000);
    }

    /// Pictures with some bytes changed, cut or doubled give pixels of a sane size or a failure.
    #[test]
    fn mutated_pictures_never_panic(
        name in 0..FIXTURES.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = fixture(FIXTURES[name]);
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(pixels) = decode(&bytes, 100_000) {
            prop_assert!(u64::from(pixels.width) * u64::from(pixels.height) <= 100_000);
            prop_assert_eq!(pixels.rgb.len(), pixels.width as usize * pixels.height as usize * 3);
        }
    }
}
