//! JPEG.

use image::{DynamicImage, RgbImage};
use records::DeadLetterReason as Reason;
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;

use super::{Format, check_size, corrupt, turned};
use crate::Failure;

pub(super) fn decode(bytes: &[u8], max_pixels: u64) -> Result<DynamicImage, Failure> {
    // A lenient decoder paints missing data grey. Where the end is missing only the strict one tells whether pixels are.
    let options = DecoderOptions::default()
        .set_strict_mode(!has_end(bytes))
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX))
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(|e| failure(&e))?;
    let (width, height) = decoder.dimensions().unwrap_or_default();
    check_size(width as u64, height as u64, max_pixels)?;
    let exif = decoder.exif().cloned();
    let rgb = decoder.decode().map_err(|e| failure(&e))?;
    let size = (u32::try_from(width).unwrap_or(0), u32::try_from(height).unwrap_or(0));
    let image = RgbImage::from_raw(size.0, size.1, rgb)
        .ok_or_else(|| corrupt(Format::Jpeg, "it has fewer pixels than its header says"))?;
    Ok(turned(DynamicImage::ImageRgb8(image), exif.as_deref()))
}

fn failure(error: &DecodeErrors) -> Failure {
    match error {
        DecodeErrors::LargeDimensions(_) => {
            Failure::new(Reason::TooManyPixels, "the Jpeg is larger than 65535 pixels on a side")
        }
        DecodeErrors::Unsupported(_) => Failure::new(
            Reason::NotAnImage,
            "the JPEG is of a kind that is not decoded (lossless or arithmetic)",
        ),
        other => corrupt(Format::Jpeg, format_args!("{other:?}")),
    }
}

/// Whether an end marker stands behind the first scan. Segments before it (thumbnails among them) are stepped over.
fn has_end(bytes: &[u8]) -> bool {
    let mut at = 2;
    loop {
        let Some(&[0xff, marker, high, low]) = bytes.get(at..at + 4) else { return false };
        let length = usize::from(u16::from_be_bytes([high, low]));
        match marker {
            // Start of scan.
            0xda => {
                return bytes.get(at + 2..).is_some_and(|rest| rest.windows(2).any(|w| w == [0xff, 0xd9]));
            }
            // Padding before a marker.
            0xff => at += 1,
            _ if length >= 2 => at += 2 + length,
            _ => return false,
        }
    }
}
