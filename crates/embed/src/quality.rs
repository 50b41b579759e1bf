//! What a face is worth as evidence.

use records::{Landmarks, Quality};

use crate::EmbedConfig;
use crate::align::FACE_SIDE;
use crate::detect::Detection;

/// Variance of the Laplacian at which sharpness is one half. Measured on 71 portraits: median 503 as they are, 86 and 18
/// under a Gaussian blur of 1 and 2 pixels, where the embedding's cosine to the original is .98 and .88.
const HALF_SHARP: f32 = 60.0;
/// A width at which more pixels add nothing: the embedder sees no more.
const FULL_WIDTH_PX: f32 = FACE_SIDE as f32;
/// Where portraits of the StyleGAN family have their eyes, in fractions of width and height: the alignment of the FFHQ
/// data set (Karras et al., CVPR 2019, appendix A) puts them there, and the generated ones follow it.
const GENERATED_EYES: [[f32; 2]; 2] = [[0.376, 0.471], [0.624, 0.471]];

/// Judges a detected face; `face` is the aligned crop, `FACE_SIDE` pixels wide, RGB.
pub fn judge(detection: &Detection, face: &[u8], config: &EmbedConfig) -> Quality {
    let width_px = detection.place.width();
    let sharpness = sharpness(face);
    let turned = turned(&detection.landmarks);
    let score = detection.score.clamp(0.0, 1.0);
    let parts = [(width_px / FULL_WIDTH_PX).clamp(0.0, 1.0), sharpness, 1.0 - turned, score];
    Quality {
        width_px,
        sharpness,
        turned,
        score,
        figure: parts.iter().product::<f32>().powf(0.25),
        linkable: width_px >= config.min_width_px
            && sharpness >= config.min_sharpness
            && turned <= config.max_turned,
    }
}

/// 0 (blurred) to 1 (sharp): the variance of the Laplacian of the aligned face's luminance (Pech-Pacheco et al., ICPR
/// 2000) over its middle, mapped by `v / (v + 60)`.
fn sharpness(face: &[u8]) -> f32 {
    let (pixels, _) = face.as_chunks::<3>();
    let grey: Vec<f32> = pixels
        .iter()
        .map(|[r, g, b]| 0.299 * f32::from(*r) + 0.587 * f32::from(*g) + 0.114 * f32::from(*b))
        .collect();
    // The rim is background, or black where the picture ends.
    let (first, last) = (FACE_SIDE / 7, FACE_SIDE - FACE_SIDE / 7);
    let (mut count, mut sum, mut squares) = (0.0f32, 0.0f32, 0.0f32);
    for row in first..last {
        let line = |row: usize| &grey[row * FACE_SIDE..(row + 1) * FACE_SIDE];
        let (above, here, below) = (line(row - 1), line(row), line(row + 1));
        for column in first..last {
            let laplacian =
                above[column] + below[column] + here[column - 1] + here[column + 1] - 4.0 * here[column];
            count += 1.0;
            sum += laplacian;
            squares += laplacian * laplacian;
        }
    }
    let variance = (squares / count - (sum / count).powi(2)).max(0.0);
    variance / (variance + HALF_SHARP)
}

/// 0 (frontal) to 1 (profile): how far the nose has moved from the middle of the eyes towards one of them, measured
/// along the line through the eyes.
fn turned(landmarks: &Landmarks) -> f32 {
    let [left, right, nose, ..] = landmarks.0;
    let (ex, ey) = (right[0] - left[0], right[1] - left[1]);
    let length = ex * ex + ey * ey;
    if length < 1e-6 {
        return 1.0;
    }
    let along = ((nose[0] - left[0]) * ex + (nose[1] - left[1]) * ey) / length;
    (2.0 * along - 1.0).abs().clamp(0.0, 1.0)
}

/// See [`records::Face::eye_alignment`]: the mean distance of the two eyes from where generated portraits have them, in
/// fractions of the picture's width. `None` unless the picture is square.
pub fn eye_alignment((width, height): (u32, u32), landmarks: &Landmarks) -> Option<f32> {
    if width != height || width == 0 {
        return None;
    }
    let side = width as f32;
    let distance = |at: usize| {
        let [x, y] = landmarks.0[at];
        (x / side - GENERATED_EYES[at][0]).hypot(y / side - GENERATED_EYES[at][1])
    };
    Some((distance(0) + distance(1)) / 2.0)
}

/// Quality of a face that came already embedded: only its width may be known.
pub fn given(width_px: Option<f32>, config: &EmbedConfig) -> Quality {
    let width_px = width_px.filter(|width| width.is_finite() && *width >= 0.0);
    let figure = width_px.map_or(0.5, |width| (width / FULL_WIDTH_PX).clamp(0.0, 1.0));
    Quality {
        width_px: width_px.unwrap_or(0.0),
        sharpness: 1.0,
        turned: 0.0,
        score: 1.0,
        figure,
        linkable: width_px.is_none_or(|width| width >= config.min_width_px),
    }
}

#[cfg(test)]
mod tests {
    use records::FaceBox;

    use super::*;

    fn face(pattern: impl Fn(usize, usize) -> u8) -> Vec<u8> {
        (0..FACE_SIDE * FACE_SIDE).flat_map(|at| [pattern(at % FACE_SIDE, at / FACE_SIDE); 3]).collect()
    }

    fn at(nose: f32) -> Landmarks {
        Landmarks([[40.0, 50.0], [80.0, 50.0], [nose, 70.0], [45.0, 90.0], [75.0, 90.0]])
    }

    #[test]
    fn blur_lowers_sharpness() {
        let sharp = sharpness(&face(|x, y| if (x / 4 + y / 4) % 2 == 0 { 220 } else { 30 }));
        let soft = sharpness(&face(|x, y| ((x + y) * 255 / 224) as u8));
        assert!(sharp > 0.9 && soft < 0.1, "{sharp} {soft}");
    }

    #[test]
    fn the_nose_tells_how_far_a_face_is_turned() {
        assert_eq!(turned(&at(60.0)), 0.0);
        assert!((turned(&at(70.0)) - 0.5).abs() < 1e-6);
        assert_eq!(turned(&at(95.0)), 1.0);
        assert_eq!(turned(&Landmarks([[1.0, 1.0]; 5])), 1.0);
    }

    #[test]
    fn small_turned_and_blurred_faces_make_no_link() {
        let config = EmbedConfig::default();
        let checked = face(|x, y| if (x / 4 + y / 4) % 2 == 0 { 220 } else { 30 });
        let plain = face(|_, _| 100);
        let detection = |width: f32, nose: f32| Detection {
            place: FaceBox { x1: 0.0, y1: 0.0, x2: width, y2: width },
            landmarks: at(nose),
            score: 0.9,
        };
        assert!(judge(&detection(45.0, 60.0), &checked, &config).linkable);
        assert!(!judge(&detection(44.0, 60.0), &checked, &config).linkable);
        assert!(!judge(&detection(90.0, 79.0), &checked, &config).linkable);
        assert!(!judge(&detection(90.0, 60.0), &plain, &config).linkable);
        let (large, small) = (detection(200.0, 60.0), detection(50.0, 60.0));
        assert!(judge(&large, &checked, &config).figure > judge(&small, &checked, &config).figure);
    }

    #[test]
    fn eyes_of_generated_portraits_are_where_they_always_are() {
        let eyes = |x: f32| Landmarks([[x, 471.0], [x + 248.0, 471.0], [500.0, 600.0], [0.0; 2], [0.0; 2]]);
        assert!(eye_alignment((1000, 1000), &eyes(376.0)).unwrap() < 1e-4);
        assert!((eye_alignment((1000, 1000), &eyes(396.0)).unwrap() - 0.02).abs() < 1e-4);
        assert_eq!(eye_alignment((1000, 900), &eyes(376.0)), None);
    }
}
