//! What the tests of this crate share: the shared test data, decoding, and small ONNX models written by hand.
#![allow(dead_code, missing_docs, clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

pub mod onnx;
pub mod toys;

use std::path::{Path, PathBuf};

use embed::{ModelPack, known_packs};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageReader};
use inference::{InferenceConfig, Runtime};
use records::Pixels;

/// The folder with test data, or a loud line and `None`.
pub fn shared() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let folder = std::env::var_os("FACERING_SHARED").map_or(beside, PathBuf::from);
    if folder.join("reference/golden.json").exists() {
        return Some(folder);
    }
    eprintln!("SKIPPED: no test data at {}; set FACERING_SHARED to the folder that has it", folder.display());
    None
}

/// ONNX Runtime, or a loud line and `None`.
pub fn runtime() -> Option<Runtime> {
    match Runtime::start(&InferenceConfig::default()) {
        Ok(runtime) => Some(runtime),
        Err(error) => {
            eprintln!("SKIPPED: {error}");
            None
        }
    }
}

/// The pack of the shared models, read where they lie.
pub fn shared_pack(shared: &Path) -> ModelPack {
    let known = known_packs().unwrap();
    let description = known.into_iter().find(|pack| pack.id.as_str() == "yunet-mobilefacenet").unwrap();
    ModelPack::new(description, &shared.join("models"), false).unwrap()
}

/// First frame, turned as EXIF says, alpha composited on white; `None` where the package `image` cannot read it.
pub fn decode(path: &Path) -> Option<Pixels> {
    let mut decoder = ImageReader::open(path).ok()?.with_guessed_format().ok()?.into_decoder().ok()?;
    let mut orientation = decoder.orientation().ok()?;
    // WebP files may hold EXIF with JPEG's six bytes before it, which `image` does not skip.
    if let Some(exif) = decoder.exif_metadata().ok().flatten()
        && let Some(found) = exif.strip_prefix(b"Exif\0\0").and_then(Orientation::from_exif_chunk)
    {
        orientation = found;
    }
    let mut picture = DynamicImage::from_decoder(decoder).ok()?;
    picture.apply_orientation(orientation);
    Some(pixels_of(&picture))
}

pub fn pixels_of(picture: &DynamicImage) -> Pixels {
    let rgb = if picture.color().has_alpha() {
        let on_white = |value: u8, alpha: u8| {
            ((u32::from(value) * u32::from(alpha) + 255 * (255 - u32::from(alpha)) + 127) / 255) as u8
        };
        let rgba = picture.to_rgba8();
        rgba.pixels().flat_map(|p| [0, 1, 2].map(|c| on_white(p.0[c], p.0[3]))).collect()
    } else {
        picture.to_rgb8().into_raw()
    };
    Pixels { width: picture.width(), height: picture.height(), rgb: rgb.into() }
}

/// A part of a picture; what lies beyond it is cut off.
pub fn crop(picture: &Pixels, [x1, y1, x2, y2]: [f32; 4]) -> Pixels {
    let (left, top) = (x1.round().max(0.0) as usize, y1.round().max(0.0) as usize);
    let right = (x2.round().max(0.0) as usize).min(picture.width as usize);
    let bottom = (y2.round().max(0.0) as usize).min(picture.height as usize);
    let mut rgb = Vec::new();
    for row in top..bottom {
        let line = row * picture.width as usize * 3;
        rgb.extend_from_slice(&picture.rgb[line + left * 3..line + right * 3]);
    }
    Pixels { width: (right - left) as u32, height: (bottom - top) as u32, rgb: rgb.into() }
}

pub fn mirrored(picture: &Pixels) -> Pixels {
    let row = picture.width as usize * 3;
    let rgb = picture.rgb.chunks_exact(row).flat_map(|r| r.chunks_exact(3).rev().flatten().copied());
    Pixels { width: picture.width, height: picture.height, rgb: rgb.collect::<Vec<u8>>().into() }
}

/// Saved as JPEG and read again.
pub fn recompressed(picture: &Pixels, quality: u8) -> Pixels {
    let mut jpeg = Vec::new();
    image::codecs::jpeg::JpegEncoder::new_with_quality(&mut jpeg, quality)
        .encode(&picture.rgb, picture.width, picture.height, image::ExtendedColorType::Rgb8)
        .unwrap();
    pixels_of(&image::load_from_memory(&jpeg).unwrap())
}

/// Made smaller or larger.
pub fn resized(picture: &Pixels, width: u32, height: u32) -> Pixels {
    let rgb = image::RgbImage::from_raw(picture.width, picture.height, picture.rgb.to_vec()).unwrap();
    let rgb = image::imageops::resize(&rgb, width, height, image::imageops::FilterType::CatmullRom);
    Pixels { width, height, rgb: rgb.into_raw().into() }
}

pub fn blurred(picture: &Pixels, sigma: f32) -> Pixels {
    let rgb = image::RgbImage::from_raw(picture.width, picture.height, picture.rgb.to_vec()).unwrap();
    let rgb = image::imageops::blur(&rgb, sigma);
    Pixels { width: picture.width, height: picture.height, rgb: rgb.into_raw().into() }
}
