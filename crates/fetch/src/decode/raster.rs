//! PNG, WebP and GIF.

use std::io::Cursor;

use image::codecs::gif::GifDecoder;
use image::codecs::png::PngDecoder;
use image::codecs::webp::WebPDecoder;
use image::{DynamicImage, ImageDecoder, ImageError, Limits};
use records::DeadLetterReason as Reason;

use super::{Format, check_size, corrupt, turned, webp};
use crate::Failure;

/// Memory a decoder may take besides the picture itself.
const SLACK: u64 = 16 << 20;

pub(super) fn decode(bytes: &[u8], format: Format, max_pixels: u64) -> Result<DynamicImage, Failure> {
    let mut limits = Limits::no_limits();
    // 16 bits of RGBA, and as much again for what the decoder keeps beside it.
    limits.max_alloc = Some(max_pixels.saturating_mul(16).saturating_add(SLACK));
    let failed = |e: ImageError| failure(format, &e);
    let input = Cursor::new(bytes);
    match format {
        Format::Gif => first_frame(GifDecoder::new(input).map_err(failed)?, limits, format, max_pixels),
        Format::WebP => {
            webp::check(bytes, max_pixels)?;
            first_frame(WebPDecoder::new(input).map_err(failed)?, limits, format, max_pixels)
        }
        _ => first_frame(
            PngDecoder::with_limits(input, limits.clone()).map_err(failed)?,
            limits,
            format,
            max_pixels,
        ),
    }
}

fn first_frame(
    mut decoder: impl ImageDecoder,
    limits: Limits,
    format: Format,
    max_pixels: u64,
) -> Result<DynamicImage, Failure> {
    let failed = |e: ImageError| failure(format, &e);
    let (width, height) = decoder.dimensions();
    check_size(width.into(), height.into(), max_pixels)?;
    decoder.set_limits(limits).map_err(failed)?;
    // A picture whose EXIF is damaged is still a picture.
    let exif = decoder.exif_metadata().ok().flatten();
    let image = DynamicImage::from_decoder(decoder).map_err(failed)?;
    Ok(turned(image, exif.as_deref()))
}

fn failure(format: Format, error: &ImageError) -> Failure {
    match error {
        ImageError::Limits(_) => {
            Failure::new(Reason::TooManyPixels, format!("the {format:?} takes more memory than allowed"))
        }
        other => corrupt(format, other),
    }
}
