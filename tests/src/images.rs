//! Pictures re-made as bots make them.

use std::io::Cursor;

use image::{DynamicImage, ImageFormat, codecs::jpeg::JpegEncoder, imageops::FilterType};

/// What is done to a stolen picture before it is used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remake {
    /// The same pixels at another JPEG quality.
    Reencode(u8),
    /// Scaled to this percentage.
    Resize(u32),
    /// This percentage cut off every side.
    Crop(u32),
    /// Left and right exchanged.
    Mirror,
}

/// All of them, in the order in which tests go through them.
pub const REMAKES: [Remake; 6] = [
    Remake::Reencode(60),
    Remake::Resize(80),
    Remake::Crop(6),
    Remake::Mirror,
    Remake::Reencode(85),
    Remake::Resize(130),
];

/// Re-makes a picture and writes it as JPEG.
pub fn remake(bytes: &[u8], how: Remake) -> anyhow::Result<Vec<u8>> {
    let picture = image::load_from_memory_with_format(bytes, ImageFormat::Jpeg)?;
    let (w, h) = (picture.width(), picture.height());
    let (picture, quality) = match how {
        Remake::Reencode(quality) => (picture, quality),
        Remake::Resize(percent) => {
            (picture.resize(w * percent / 100, h * percent / 100, FilterType::CatmullRom), 88)
        }
        Remake::Crop(percent) => {
            let (x, y) = (w * percent / 100, h * percent / 100);
            (picture.crop_imm(x, y, w - 2 * x, h - 2 * y), 88)
        }
        Remake::Mirror => (picture.fliph(), 88),
    };
    let mut out = Cursor::new(Vec::new());
    DynamicImage::ImageRgb8(picture.to_rgb8())
        .write_with_encoder(JpegEncoder::new_with_quality(&mut out, quality))?;
    Ok(out.into_inner())
}
