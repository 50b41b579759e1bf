//! Draws the data that `models/bundled/train/train.py` learns from, as `.npy` files.
//!
//! ```text
//! render_training crops    DIR FIRST_IDENTITY IDENTITIES PHOTOS SEED
//! render_training photos   DIR FIRST_IDENTITY IDENTITIES PHOTOS SEED
//! render_training pictures DIR FIRST_IDENTITY COUNT SEED FACE_FREE
//! ```
//! `crops`: faces aligned to the ArcFace template by jittered landmarks. `crops.npy` u8 [n,112,112,3],
//! `identity.npy` f32 [n] (counted from 0), `traits.npy` f32 [IDENTITIES,t].
//! `photos`: whole JPEG files in `photos.bin` one behind the other, with `photos.npy` f32
//! [n, 19] = identity, kind (0 photo, 1 the same photo remade), offset in the file (MiB and rest), length, box, landmarks.
//! `pictures`: scenes with none to six faces for the detector, FACE_FREE percent of them with none. `pictures.npy` u8 [n,320,320,3], letterboxed
//! as the detector sees them, `faces.npy` f32 [m,15] = picture, box, landmarks.

use rayon::prelude::*;
use simulate::portrait::remake::Remake;
use simulate::portrait::{
    FaceTruth, Framing, Nuisance, Picture, PortraitIdentity, remake, render, render_empty, render_group,
    render_in,
};
use std::fs::File;
use std::io::{BufWriter, Error, Result, Write};
use std::path::{Path, PathBuf};

/// Side of the picture the detector sees.
const CANVAS: usize = 320;
/// Side of an aligned face.
const CROP: usize = 112;
/// The ArcFace template: image-left eye, image-right eye, nose, left and right corner of the mouth.
const TEMPLATE: [[f32; 2]; 5] =
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]];

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |index: usize| -> Result<u64> {
        arguments.get(index).and_then(|text| text.parse().ok()).ok_or_else(|| {
            Error::other(
                "usage: render_training crops|photos DIR FIRST_IDENTITY IDENTITIES PHOTOS SEED, or \
                 render_training pictures DIR FIRST_IDENTITY COUNT SEED FACE_FREE",
            )
        })
    };
    let folder = PathBuf::from(arguments.get(1).map_or(".", String::as_str));
    std::fs::create_dir_all(&folder)?;
    match arguments.first().map(String::as_str) {
        Some("crops") => crops(&folder, number(2)?, number(3)?, number(4)?, number(5)?),
        Some("photos") => photos(&folder, number(2)?, number(3)?, number(4)?, number(5)?),
        Some("pictures") => pictures(&folder, number(2)?, number(3)?, number(4)?, number(5)?.min(100)),
        _ => number(usize::MAX).map(|_| ()),
    }
}

/// A cheap mix of numbers into a seed (SplitMix64's finaliser).
fn mixed(parts: &[u64]) -> u64 {
    parts.iter().fold(0x9e37_79b9_7f4a_7c15, |state, part| {
        let mut z = state.wrapping_add(*part).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}

/// Uniform draws from a seed.
struct Dice(u64);

impl Dice {
    fn unit(&mut self) -> f32 {
        self.0 = mixed(&[self.0]);
        (self.0 >> 40) as f32 / 16_777_216.0
    }

    fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    fn bell(&mut self) -> f32 {
        (self.unit() + self.unit() + self.unit() + self.unit() - 2.0) * 1.732
    }

    fn word(&mut self) -> u64 {
        self.0 = mixed(&[self.0, 1]);
        self.0
    }
}

/// A photo of a person at a random size, saved as JPEG and opened again, half of them remade by a bot.
fn photo(identity: &PortraitIdentity, dice: &mut Dice) -> Result<Picture> {
    let nuisance = Nuisance::from_seed(dice.word());
    let face = (dice.between(40.0_f32.ln(), 200.0_f32.ln())).exp();
    let size = (face / nuisance.face_width).clamp(64.0, 480.0) as u32;
    let mut picture = render(identity, &nuisance, size).map_err(Error::other)?;
    if dice.unit() < 0.35 {
        let recipe = Remake::from_seed(dice.word(), size);
        let quality = recipe.jpeg_quality;
        picture = recipe.pixels(&picture).map_err(Error::other)?;
        picture = picture.through_jpeg(quality).map_err(Error::other)?;
    }
    picture.through_jpeg(nuisance.jpeg_quality).map_err(Error::other)
}

fn crops(folder: &Path, first: u64, identities: u64, photos: u64, seed: u64) -> Result<()> {
    let count = (identities * photos) as usize;
    let mut file = npy(folder, "crops.npy", "|u1", &[count, CROP, CROP, 3])?;
    let mut names = npy(folder, "identity.npy", "<f4", &[count])?;
    let traits = PortraitIdentity::from_seed(first).traits().len();
    let mut places = npy(folder, "traits.npy", "<f4", &[identities as usize, traits])?;
    let all: Vec<u64> = (0..identities).collect();
    for chunk in all.chunks(256) {
        let drawn: Vec<Vec<u8>> = chunk
            .par_iter()
            .flat_map(|&index| (0..photos).into_par_iter().map(move |shot| (index, shot)))
            .map(|(index, shot)| {
                let identity = PortraitIdentity::from_seed(first + index);
                let mut dice = Dice(mixed(&[seed, first + index, shot]));
                let picture = photo(&identity, &mut dice)?;
                aligned(&picture, &mut dice)
            })
            .collect::<Result<_>>()?;
        for crop in drawn {
            file.write_all(&crop)?;
        }
        for &index in chunk {
            floats(&mut places, PortraitIdentity::from_seed(first + index).traits())?;
            for _ in 0..photos {
                floats(&mut names, &[index as f32])?;
            }
        }
    }
    file.flush()?;
    names.flush()?;
    places.flush()
}

/// The face warped to the template by landmarks that are a little off, as a detector's are.
fn aligned(picture: &Picture, dice: &mut Dice) -> Result<Vec<u8>> {
    let face: &FaceTruth = picture.faces.first().ok_or_else(|| Error::other("a photo without its face"))?;
    let sigma = (face.face_box[2] - face.face_box[0]) * dice.between(0.0, 0.024);
    let points = face.landmarks.map(|[x, y]| [x + dice.bell() * sigma, y + dice.bell() * sigma]);
    let mean = |set: &[[f32; 2]; 5]| {
        let sum = set.iter().fold([0.0, 0.0], |sum, point| [sum[0] + point[0], sum[1] + point[1]]);
        [sum[0] / 5.0, sum[1] / 5.0]
    };
    // From template to picture as the complex number (a, b): the inverse of the least-squares similarity.
    let (from, to) = (mean(&points), mean(&TEMPLATE));
    let (mut real, mut imaginary, mut norm) = (0.0, 0.0, 0.0);
    for (point, goal) in points.iter().zip(&TEMPLATE) {
        let (px, py, gx, gy) = (point[0] - from[0], point[1] - from[1], goal[0] - to[0], goal[1] - to[1]);
        real += px * gx + py * gy;
        imaginary += px * gy - py * gx;
        norm += px * px + py * py;
    }
    let (forward_real, forward_imaginary) = (real / norm, imaginary / norm);
    let square = forward_real * forward_real + forward_imaginary * forward_imaginary;
    let (a, b) = (forward_real / square, -forward_imaginary / square);
    let (width, height) = (picture.width as i64, picture.height as i64);
    let mut crop = Vec::with_capacity(CROP * CROP * 3);
    for y in 0..CROP {
        for x in 0..CROP {
            let (u, v) = (x as f32 - to[0], y as f32 - to[1]);
            let (sx, sy) = (from[0] + a * u - b * v, from[1] + b * u + a * v);
            let (left, top) = (sx.floor(), sy.floor());
            let (fx, fy) = (sx - left, sy - top);
            for channel in 0..3 {
                let at = |dx: i64, dy: i64| -> f32 {
                    let (px, py) = (left as i64 + dx, top as i64 + dy);
                    if px < 0 || py < 0 || px >= width || py >= height {
                        return 0.0;
                    }
                    f32::from(picture.pixels[((py * width + px) * 3) as usize + channel])
                };
                let upper = at(0, 0) * (1.0 - fx) + at(1, 0) * fx;
                let lower = at(0, 1) * (1.0 - fx) + at(1, 1) * fx;
                crop.push((upper * (1.0 - fy) + lower * fy).round() as u8);
            }
        }
    }
    Ok(crop)
}

fn photos(folder: &Path, first: u64, identities: u64, photos: u64, seed: u64) -> Result<()> {
    let count = (identities * photos * 2) as usize;
    let mut rows = npy(folder, "photos.npy", "<f4", &[count, 19])?;
    let mut files = BufWriter::new(File::create(folder.join("photos.bin"))?);
    let mut offset = 0_usize;
    let all: Vec<(u64, u64)> =
        (0..identities).flat_map(|index| (0..photos).map(move |shot| (index, shot))).collect();
    for chunk in all.chunks(256) {
        let drawn: Vec<[(Vec<u8>, FaceTruth); 2]> = chunk
            .par_iter()
            .map(|&(index, shot)| {
                let identity = PortraitIdentity::from_seed(first + index);
                let mut dice = Dice(mixed(&[seed, first + index, shot, 7]));
                let nuisance = Nuisance::from_seed(dice.word());
                let face = dice.between(55.0, 180.0);
                let size = (face / nuisance.face_width).clamp(96.0, 480.0) as u32;
                let original = render(&identity, &nuisance, size).map_err(Error::other)?;
                let jpeg = original.to_jpeg(nuisance.jpeg_quality).map_err(Error::other)?;
                let stolen = original.through_jpeg(nuisance.jpeg_quality).map_err(Error::other)?;
                let recipe = Remake::from_seed(dice.word(), size);
                let remade = recipe.pixels(&stolen).map_err(Error::other)?;
                let again = remade.to_jpeg(recipe.jpeg_quality).map_err(Error::other)?;
                let truth = |picture: &Picture| picture.faces[0].clone();
                Ok([(jpeg, truth(&original)), (again, truth(&remade))])
            })
            .collect::<Result<_>>()?;
        for (&(index, _), pair) in chunk.iter().zip(drawn) {
            for (kind, (jpeg, face)) in pair.into_iter().enumerate() {
                files.write_all(&jpeg)?;
                // f32 holds whole numbers only up to 2^24, so the offset is split.
                let place = [(offset >> 20) as f32, (offset & 0xf_ffff) as f32, jpeg.len() as f32];
                offset += jpeg.len();
                floats(&mut rows, &[index as f32, kind as f32])?;
                floats(&mut rows, &place)?;
                floats(&mut rows, &face.face_box[..3])?;
                floats(&mut rows, &[face.face_box[3]])?;
                floats(&mut rows, face.landmarks.as_flattened())?;
            }
        }
    }
    files.flush()?;
    rows.flush()
}

fn pictures(folder: &Path, first: u64, count: u64, seed: u64, face_free: u64) -> Result<()> {
    let with_faces = 1.0 - face_free as f32 / 100.0;
    let mut images = npy(folder, "pictures.npy", "|u1", &[count as usize, CANVAS, CANVAS, 3])?;
    let mut rows: Vec<[f32; 15]> = Vec::new();
    let all: Vec<u64> = (0..count).collect();
    for chunk in all.chunks(256) {
        let drawn: Vec<Picture> = chunk
            .par_iter()
            .map(|&index| scene(first, with_faces, &mut Dice(mixed(&[seed, index, 11]))))
            .collect::<Result<_>>()?;
        for (&index, picture) in chunk.iter().zip(&drawn) {
            images.write_all(&picture.pixels)?;
            for face in &picture.faces {
                let mut row = [0.0; 15];
                row[0] = index as f32;
                row[1..5].copy_from_slice(&face.face_box);
                row[5..].copy_from_slice(face.landmarks.as_flattened());
                rows.push(row);
            }
        }
    }
    images.flush()?;
    let mut faces = npy(folder, "faces.npy", "<f4", &[rows.len(), 15])?;
    floats(&mut faces, rows.as_flattened())?;
    faces.flush()
}

/// One letterboxed picture: a portrait in some framing, a group, or nothing with a face.
fn scene(first: u64, with_faces: f32, dice: &mut Dice) -> Result<Picture> {
    let person = |dice: &mut Dice| PortraitIdentity::from_seed(first + dice.word() % 1_000_000);
    let side = (dice.between(80.0_f32.ln(), 480.0_f32.ln())).exp() as u32;
    let other = (side as f32 * dice.between(0.7, 1.4)) as u32;
    let (width, height) = if dice.unit() < 0.5 { (side, side) } else { (side, other) };
    let kind = dice.unit() / with_faces.max(1e-6);
    let picture = if kind < 0.725 {
        let framing = match kind {
            k if k < 0.325 => Framing::Avatar,
            k if k < 0.50 => Framing::Tight,
            _ => Framing::Wide,
        };
        let mut nuisance = Nuisance::framed(dice.word(), framing);
        if framing == Framing::Wide && dice.unit() < 0.4 {
            nuisance.face_width = dice.between(0.06, 0.12);
        }
        let identity = person(dice);
        render_in(&identity, &nuisance, width, height)
    } else if kind < 1.0 {
        let people: Vec<_> = (0..2 + (dice.unit() * 5.0) as usize)
            .map(|_| (person(dice), Nuisance::from_seed(dice.word())))
            .collect();
        let long = side.max(200);
        render_group(&people, dice.word(), long, (long as f32 * dice.between(0.6, 1.0)) as u32)
    } else {
        render_empty(dice.word(), width, height)
    };
    let picture = picture
        .and_then(|picture| {
            if dice.unit() < 0.3 {
                let recipe = Remake::from_seed(dice.word(), picture.width.max(picture.height));
                recipe.pixels(&picture)
            } else {
                Ok(picture)
            }
        })
        .and_then(|picture| picture.through_jpeg(dice.between(55.0, 96.0) as u8))
        .map_err(Error::other)?;
    // Some pictures are padded on all sides, as is done for faces that fill the frame.
    let share = if dice.unit() < 0.2 { dice.between(0.4, 0.9) } else { 1.0 };
    letterboxed(&picture, share, dice)
}

/// Scaled to fit the canvas times `share`; at the top left when `share` is 1, else anywhere; black around.
fn letterboxed(picture: &Picture, share: f32, dice: &mut Dice) -> Result<Picture> {
    let scale = CANVAS as f32 * share / picture.width.max(picture.height) as f32;
    let side = |pixels: u32| ((pixels as f32 * scale).round() as u32).clamp(1, CANVAS as u32);
    let (width, height) = (side(picture.width), side(picture.height));
    let scaled = if (width, height) == (picture.width, picture.height) {
        picture.clone()
    } else {
        remake::resize(picture, width, height).map_err(Error::other)?
    };
    let free = |used: u32| if share < 1.0 { CANVAS - used as usize } else { 0 };
    let left = (free(width) as f32 * dice.unit()) as usize;
    let top = (free(height) as f32 * dice.unit()) as usize;
    let mut pixels = vec![0_u8; CANVAS * CANVAS * 3];
    for (y, row) in scaled.pixels.chunks_exact(width as usize * 3).enumerate() {
        let start = ((top + y) * CANVAS + left) * 3;
        pixels[start..start + row.len()].copy_from_slice(row);
    }
    let (dx, dy) = (left as f32, top as f32);
    let faces = scaled
        .faces
        .into_iter()
        .map(|mut face| {
            face.face_box =
                [face.face_box[0] + dx, face.face_box[1] + dy, face.face_box[2] + dx, face.face_box[3] + dy];
            face.landmarks = face.landmarks.map(|[x, y]| [x + dx, y + dy]);
            face
        })
        .collect();
    Ok(Picture { pixels, width: CANVAS as u32, height: CANVAS as u32, faces })
}

/// A `.npy` file (format 1.0) of this type and shape, ready for its values.
fn npy(folder: &Path, name: &str, kind: &str, shape: &[usize]) -> Result<BufWriter<File>> {
    let sides: Vec<String> = shape.iter().map(ToString::to_string).collect();
    let mut header =
        format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({},), }}", sides.join(", "));
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut file = BufWriter::with_capacity(1 << 20, File::create(folder.join(name))?);
    file.write_all(b"\x93NUMPY\x01\x00")?;
    file.write_all(&(header.len() as u16).to_le_bytes())?;
    file.write_all(header.as_bytes())?;
    Ok(file)
}

fn floats(file: &mut impl Write, values: &[f32]) -> Result<()> {
    values.iter().try_for_each(|value| file.write_all(&value.to_le_bytes()))
}
