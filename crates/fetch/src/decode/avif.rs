//! AVIF: the container by `avif-parse`, AV1 by `re_rav1d` (a port of dav1d to Rust, without assembler), colours here.

use image::{DynamicImage, RgbImage, RgbaImage};
use re_rav1d::dav1d::{
    Decoder, Error, Picture, PixelLayout, PlanarImageComponent as Component, Settings, pixel,
};
use records::DeadLetterReason as Reason;

use super::{Format, check_size, corrupt};
use crate::Failure;

/// Whether the file says of itself that it is AVIF: by its brand, or by one of the compatible ones.
pub(super) fn is_avif(bytes: &[u8]) -> bool {
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else { return false };
    let length = (u32::from_be_bytes(*length) as usize).min(bytes.len()).saturating_sub(4);
    let Some(ftyp) = rest.get(..length).and_then(|b| b.strip_prefix(b"ftyp")) else { return false };
    ftyp.chunks_exact(4).take(64).any(|brand| brand == b"avif" || brand == b"avis")
}

pub(super) fn decode(bytes: &[u8], max_pixels: u64) -> Result<DynamicImage, Failure> {
    let broken = |e: avif_parse::Error| corrupt(Format::Avif, e);
    let file = avif_parse::read_avif(&mut &bytes[..]).map_err(broken)?;
    let header = file.primary_item_metadata().map_err(broken)?;
    let (width, height) = (header.max_frame_width.get(), header.max_frame_height.get());
    check_size(width.into(), height.into(), max_pixels)?;
    let colour = rgb(&frame(&file.primary_item, max_pixels)?)?;
    let image = match &file.alpha_item {
        None => DynamicImage::ImageRgb8(colour),
        Some(alpha) => {
            let size = file.alpha_item_metadata().map_err(broken)?;
            if let Some(size) = size {
                check_size(
                    size.max_frame_width.get().into(),
                    size.max_frame_height.get().into(),
                    max_pixels,
                )?;
            }
            let alpha = frame(alpha, max_pixels)?;
            DynamicImage::ImageRgba8(with_alpha(&colour, &alpha, file.premultiplied_alpha)?)
        }
    };
    Ok(transformed(image, bytes))
}

/// The one frame of an item.
fn frame(item: &[u8], max_pixels: u64) -> Result<Picture, Failure> {
    let broken = |e: Error| corrupt(Format::Avif, e);
    let mut settings = Settings::new();
    settings.set_n_threads(1);
    settings.set_max_frame_delay(1);
    settings.set_frame_size_limit(u32::try_from(max_pixels).unwrap_or(u32::MAX));
    let mut decoder = Decoder::with_settings(&settings).map_err(broken)?;
    match decoder.send_data(item.to_vec(), None, None, None) {
        Ok(()) | Err(Error::Again) => {}
        Err(e) => return Err(broken(e)),
    }
    match decoder.get_picture() {
        Err(Error::Again) => {
            // What was left over of the data, if the decoder did not take all of it at once.
            match decoder.send_pending_data() {
                Ok(()) | Err(Error::Again) => decoder.get_picture().map_err(broken),
                Err(e) => Err(broken(e)),
            }
        }
        picture => picture.map_err(broken),
    }
}

/// One plane's samples as fractions of its range, whatever its depth.
struct Samples {
    plane: re_rav1d::dav1d::Plane,
    stride: usize,
    width: usize,
    height: usize,
    wide: bool,
}

impl Samples {
    fn of(picture: &Picture, component: Component, width: usize, height: usize) -> Self {
        let stride = picture.stride(component) as usize;
        Self { plane: picture.plane(component), stride, width, height, wide: picture.bit_depth() > 8 }
    }

    /// The sample, or the nearest one within the plane.
    fn at(&self, x: usize, y: usize) -> f32 {
        let (x, y) = (x.min(self.width - 1), y.min(self.height - 1));
        if self.wide {
            let at = y * self.stride + 2 * x;
            let pair = self.plane.get(at..at + 2).and_then(|b| <[u8; 2]>::try_from(b).ok());
            f32::from(u16::from_ne_bytes(pair.unwrap_or_default()))
        } else {
            f32::from(self.plane.get(y * self.stride + x).copied().unwrap_or_default())
        }
    }

    /// The chroma sample at a luma position: between samples, three parts of the nearer and one of the farther.
    fn between(&self, x: usize, y: usize, (half_x, half_y): (bool, bool)) -> f32 {
        let place = |at: usize, half: bool| match (half, at % 2) {
            (false, _) => (at, at),
            (true, 0) => (at / 2, (at / 2).saturating_sub(1)),
            (true, _) => (at / 2, at / 2 + 1),
        };
        let ((x, far_x), (y, far_y)) = (place(x, half_x), place(y, half_y));
        let row = |y: usize| 0.75 * self.at(x, y) + 0.25 * self.at(far_x, y);
        0.75 * row(y) + 0.25 * row(far_y)
    }
}

/// How samples become light: offset and scale of luma, centre and scale of chroma, and the matrix' two weights.
struct Colours {
    offset: f32,
    luma: f32,
    centre: f32,
    chroma: f32,
    weights: Option<(f32, f32)>,
}

impl Colours {
    fn of(picture: &Picture) -> Result<Self, Failure> {
        let bits = picture.bits_per_component().map_or(8, |b| b.0);
        let unit = (1u32 << (bits - 8)) as f32;
        let top = ((1u32 << bits) - 1) as f32;
        let full = picture.color_range() == pixel::YUVRange::Full;
        let (offset, luma, chroma) =
            if full { (0.0, top, top) } else { (16.0 * unit, 219.0 * unit, 224.0 * unit) };
        use pixel::MatrixCoefficients as Matrix;
        // Weights of red and blue in luma (ITU-T H.273, table 4).
        let weights = match picture.matrix_coefficients() {
            Matrix::Identity => None,
            Matrix::BT709 => Some((0.2126, 0.0722)),
            Matrix::BT2020NonConstantLuminance => Some((0.2627, 0.0593)),
            Matrix::ST240M => Some((0.212, 0.087)),
            Matrix::BT470M => Some((0.30, 0.11)),
            Matrix::BT470BG | Matrix::ST170M | Matrix::Unspecified => Some((0.299, 0.114)),
            other => {
                let detail = format!("AVIF with the colour matrix {other:?} is not decoded");
                return Err(Failure::new(Reason::NotAnImage, detail));
            }
        };
        Ok(Self { offset, luma, centre: 128.0 * unit, chroma, weights })
    }

    fn rgb(&self, y: f32, u: f32, v: f32) -> [u8; 3] {
        let light = |sample: f32| (sample - self.offset) / self.luma;
        let rgb = match self.weights {
            // Green, blue and red stand in the planes as they are.
            None => [light(v), light(y), light(u)],
            Some((red, blue)) => {
                let y = light(y);
                let (u, v) = ((u - self.centre) / self.chroma, (v - self.centre) / self.chroma);
                let r = y + 2.0 * (1.0 - red) * v;
                let b = y + 2.0 * (1.0 - blue) * u;
                [r, (y - red * r - blue * b) / (1.0 - red - blue), b]
            }
        };
        rgb.map(|c| (c * 255.0).round().clamp(0.0, 255.0) as u8)
    }
}

fn rgb(picture: &Picture) -> Result<RgbImage, Failure> {
    let colours = Colours::of(picture)?;
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let luma = Samples::of(picture, Component::Y, width, height);
    let half = match picture.pixel_layout() {
        PixelLayout::I400 => None,
        PixelLayout::I420 => Some((true, true)),
        PixelLayout::I422 => Some((true, false)),
        PixelLayout::I444 => Some((false, false)),
    };
    let chroma = half.map(|half| {
        let size = |n: usize, half: bool| if half { n.div_ceil(2) } else { n };
        let (w, h) = (size(width, half.0), size(height, half.1));
        (Samples::of(picture, Component::U, w, h), Samples::of(picture, Component::V, w, h), half)
    });
    Ok(RgbImage::from_fn(picture.width(), picture.height(), |x, y| {
        let (x, y) = (x as usize, y as usize);
        let (u, v) = match &chroma {
            None => (colours.centre, colours.centre),
            Some((u, v, half)) => (u.between(x, y, *half), v.between(x, y, *half)),
        };
        image::Rgb(colours.rgb(luma.at(x, y), u, v))
    }))
}

fn with_alpha(colour: &RgbImage, alpha: &Picture, premultiplied: bool) -> Result<RgbaImage, Failure> {
    let (width, height) = (alpha.width(), alpha.height());
    if (width, height) != colour.dimensions() {
        return Err(corrupt(Format::Avif, "its alpha has another size than its colours"));
    }
    let bits = alpha.bits_per_component().map_or(8, |b| b.0);
    let top = ((1u32 << bits) - 1) as f32;
    let samples = Samples::of(alpha, Component::Y, width as usize, height as usize);
    Ok(RgbaImage::from_fn(width, height, |x, y| {
        let a = samples.at(x as usize, y as usize) / top;
        let undo = |c: u8| if premultiplied && a > 0.0 { (f32::from(c) / a).min(255.0) as u8 } else { c };
        let [r, g, b] = colour.get_pixel(x, y).0.map(undo);
        image::Rgba([r, g, b, (a * 255.0).round() as u8])
    }))
}

/// Turns and mirrors as the container says (`irot`, then `imir`; ISO/IEC 23008-12, 6.5.10 and 6.5.12), which takes the
/// place of EXIF in this format.
fn transformed(image: DynamicImage, bytes: &[u8]) -> DynamicImage {
    let found = child(bytes, b"meta").and_then(|meta| child(meta.get(4..)?, b"iprp"));
    let Some(properties) = found.and_then(|iprp| child(iprp, b"ipco")) else { return image };
    let image = match child(properties, b"irot").and_then(|b| b.first()).map_or(0, |b| b & 3) {
        0 => image,
        1 => image.rotate270(),
        2 => image.rotate180(),
        _ => image.rotate90(),
    };
    match child(properties, b"imir").and_then(|b| b.first()).map(|b| b & 1) {
        None => image,
        Some(0) => image.flipv(),
        Some(_) => image.fliph(),
    }
}

/// The content of the first box of that type.
fn child<'a>(mut boxes: &'a [u8], wanted: &[u8; 4]) -> Option<&'a [u8]> {
    loop {
        let (length, rest) = boxes.split_first_chunk::<4>()?;
        let (kind, _) = rest.split_first_chunk::<4>()?;
        let (header, length) = match u32::from_be_bytes(*length) {
            0 => (8, boxes.len()),
            1 => {
                let large = boxes.get(8..16).and_then(|b| <[u8; 8]>::try_from(b).ok())?;
                (16, usize::try_from(u64::from_be_bytes(large)).ok()?)
            }
            length => (8, length as usize),
        };
        let content = boxes.get(header..length)?;
        if kind == wanted {
            return Some(content);
        }
        boxes = boxes.get(length..)?;
    }
}
