//! A drawn picture and the truth about the faces in it.

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder, ImageError};

/// Where a face was drawn, in pixels of its picture; parts may lie beyond the edges.
#[derive(Clone, Debug, PartialEq)]
pub struct FaceTruth {
    /// Seed of the person drawn.
    pub identity: u64,
    /// Left, top, right, bottom: from the hairline to the chin, without ears and hair.
    pub face_box: [f32; 4],
    /// Image-left eye, image-right eye, tip of the nose, left and right corner of the mouth, each x and y.
    pub landmarks: [[f32; 2]; 5],
}

/// A picture as plain pixels.
#[derive(Clone, PartialEq)]
pub struct Picture {
    /// Interleaved RGB, row by row: `3 * width * height` bytes.
    pub pixels: Vec<u8>,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// The faces in it: one for a portrait, none for a face-free picture.
    pub faces: Vec<FaceTruth>,
}

impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Picture({}x{}, {} faces)", self.width, self.height, self.faces.len())
    }
}

/// Why a picture could not be drawn, encoded or decoded.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// A side of zero pixels, or more pixels than fit.
    #[error("cannot draw a picture of {width}x{height} pixels, choose sides from 1 to 16384")]
    Size {
        /// Asked width.
        width: u32,
        /// Asked height.
        height: u32,
    },
    /// The encoder or decoder failed.
    #[error("cannot encode or decode a drawn picture ({0}), report this as a bug")]
    Codec(#[from] ImageError),
}

impl Picture {
    /// The picture as JPEG of this quality (1..=100, clamped).
    ///
    /// # Errors
    /// [`PictureError::Codec`] when the picture is larger than JPEG allows.
    pub fn to_jpeg(&self, quality: u8) -> Result<Vec<u8>, PictureError> {
        let mut bytes = Vec::with_capacity(self.pixels.len() / 8);
        JpegEncoder::new_with_quality(&mut bytes, quality.clamp(1, 100)).write_image(
            &self.pixels,
            self.width,
            self.height,
            ExtendedColorType::Rgb8,
        )?;
        Ok(bytes)
    }

    /// The picture as PNG.
    ///
    /// # Errors
    /// [`PictureError::Codec`] when the encoder fails.
    pub fn to_png(&self) -> Result<Vec<u8>, PictureError> {
        let mut bytes = Vec::with_capacity(self.pixels.len() / 2);
        PngEncoder::new(&mut bytes).write_image(
            &self.pixels,
            self.width,
            self.height,
            ExtendedColorType::Rgb8,
        )?;
        Ok(bytes)
    }

    /// The pixels after a round trip through JPEG of this quality; the faces stay.
    ///
    /// # Errors
    /// [`PictureError::Codec`] as for [`Picture::to_jpeg`].
    pub fn through_jpeg(&self, quality: u8) -> Result<Self, PictureError> {
        let decoded = image::load_from_memory_with_format(&self.to_jpeg(quality)?, image::ImageFormat::Jpeg)?
            .into_rgb8();
        Ok(Self {
            width: decoded.width(),
            height: decoded.height(),
            pixels: decoded.into_raw(),
            faces: self.faces.clone(),
        })
    }
}
