//! Small JPEGs for reports.

use bytes::Bytes;
use image::ExtendedColorType;
use image::codecs::jpeg::JpegEncoder;

use crate::resize::{Rgb, resize};

const QUALITY: u8 = 80;

/// The picture with its longer side at most `longest` pixels, as JPEG. `None` only if the encoder refuses it.
pub fn thumbnail(picture: Rgb<'_>, longest: u32) -> Option<Bytes> {
    let longer = picture.width.max(picture.height);
    let scale = (longest as f64 / longer as f64).min(1.0);
    let side = |length: usize| ((length as f64 * scale).round().max(1.0) as usize).min(length);
    let (width, height) = (side(picture.width), side(picture.height));
    let data = resize(picture, width, height);
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, QUALITY)
        .encode(&data, u32::try_from(width).ok()?, u32::try_from(height).ok()?, ExtendedColorType::Rgb8)
        .ok()?;
    Some(jpeg.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_shape_and_never_grows() {
        let data = vec![90; 400 * 200 * 3];
        let size = |picture, longest| {
            let jpeg = thumbnail(picture, longest).unwrap();
            let read = image::load_from_memory(&jpeg).unwrap();
            (read.width(), read.height())
        };
        assert_eq!(size(Rgb { width: 400, height: 200, data: &data }, 160), (160, 80));
        assert_eq!(size(Rgb { width: 40, height: 20, data: &data[..40 * 20 * 3] }, 160), (40, 20));
    }
}
