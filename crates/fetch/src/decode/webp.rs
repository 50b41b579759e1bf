//! A look at the chunks of a WebP before its decoder sees them: that one takes memory for what a chunk or an inner
//! frame says of itself, whatever the file and its canvas are.

use super::{Format, check_size, corrupt};
use crate::Failure;

/// Checks that every chunk ends within the file and that no frame has more pixels than allowed.
pub(super) fn check(bytes: &[u8], max_pixels: u64) -> Result<(), Failure> {
    check_chunks(bytes.get(12..).unwrap_or_default(), max_pixels, true)
}

fn check_chunks(mut chunks: &[u8], max_pixels: u64, outer: bool) -> Result<(), Failure> {
    // Less than a header may be left over as padding.
    while let Some((kind, length, rest)) = header(chunks) {
        let Some(content) = rest.get(..length) else {
            return Err(corrupt(Format::WebP, "one of its chunks is longer than the file"));
        };
        let frame = match kind {
            b"VP8 " => word(content, 6).map(|word| (word & 0x3fff, word >> 16 & 0x3fff)),
            b"VP8L" => word(content, 1).map(|word| ((word & 0x3fff) + 1, (word >> 14 & 0x3fff) + 1)),
            b"ANMF" => word(content, 6)
                .zip(word(content, 9))
                .map(|(width, height)| ((width & 0xff_ffff) + 1, (height & 0xff_ffff) + 1)),
            _ => None,
        };
        if let Some((width, height)) = frame {
            check_size(width.into(), height.into(), max_pixels)?;
        }
        if outer && kind == b"ANMF" {
            check_chunks(content.get(16..).unwrap_or_default(), max_pixels, false)?;
        }
        // Chunks begin at even places.
        chunks = rest.get(length + length % 2..).unwrap_or_default();
    }
    Ok(())
}

fn header(bytes: &[u8]) -> Option<(&[u8; 4], usize, &[u8])> {
    let (kind, rest) = bytes.split_first_chunk::<4>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    Some((kind, u32::from_le_bytes(*length) as usize, rest))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4).and_then(|b| <[u8; 4]>::try_from(b).ok()).map(u32::from_le_bytes)
}
