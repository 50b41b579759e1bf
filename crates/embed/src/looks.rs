//! How often a picture is looked at, how it lies on the canvas, and what counts of what the looks showed.
//!
//! Detectors are trained on faces in scenes and miss those that fill the frame, so a picture may be looked at again with a
//! border around it.
//!
//! Invariants:
//! - What counts is what the plain look showed, unless it showed nothing or one lone face that fills the frame; then it is what a
//!   look with a border showed, if that showed anything.
//! - A face found with a border must be large and surer than usual.

use crate::detect::Detection;
use crate::resize::Rgb;

/// A canvas and how the picture lies on it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Look {
    /// Side of the canvas, in sides of the detector's own.
    canvas: (usize, usize),
    /// What is left free on every side, in sizes of the picture.
    pub border: f64,
}

impl Look {
    /// Side of the canvas in pixels, for a detector whose own has this side.
    pub fn side(&self, own: usize) -> usize {
        own * self.canvas.0 / self.canvas.1
    }
}

const PLAIN: Look = Look { canvas: (1, 1), border: 0.0 };

/// The looks one after another where a picture shows no face without a border.
pub static LOOKS: [Look; 3] =
    [PLAIN, Look { canvas: (1, 1), border: 0.25 }, Look { canvas: (1, 1), border: 1.0 }];

/// The same with the picture at the same scale and less black around it, for detectors that take such canvases.
pub static NARROW_LOOKS: [Look; 3] =
    [PLAIN, Look { canvas: (4, 5), border: 0.1 }, Look { canvas: (1, 2), border: 0.25 }];

/// Least share of the picture that a face found with a border covers. Smaller ones would have been found without it; what
/// looks like one at the second or third try is usually none.
const LARGE: f32 = 0.2;

/// How much surer than usual the detector has to be of a face found with a border: every further look is another chance for
/// a false alarm.
const SURER: f32 = 0.1;

/// Share of the picture from which a lone face fills the frame. Its landmarks are better with a border: measured on 212
/// portraits cropped to the face, the median cosine to the uncropped portrait rises from .953 to .965.
const FILLS_FRAME: f32 = 0.4;

/// What the looks at a picture showed so far.
#[derive(Clone, PartialEq, Debug)]
pub struct Looks {
    looks: &'static [Look],
    /// The look that is on its way.
    current: usize,
    found: Vec<Detection>,
}

impl Looks {
    /// The first of these looks is on its way.
    pub fn new(looks: &'static [Look]) -> Self {
        Self { looks, current: 0, found: Vec::new() }
    }

    /// Number of the look that is on its way.
    pub fn current(&self) -> usize {
        self.current
    }

    /// The look that is on its way.
    pub fn look(&self) -> Look {
        self.looks[self.current]
    }

    /// What counts so far.
    pub fn found(&self) -> &[Detection] {
        &self.found
    }

    /// Takes what the look that was on its way showed. `threshold` is the detector's for its score. Gives the faces that
    /// count, or `None` if there is another look to come.
    pub fn saw(
        &mut self,
        mut faces: Vec<Detection>,
        picture: &Rgb<'_>,
        threshold: f32,
    ) -> Option<Vec<Detection>> {
        if self.current > 0 {
            faces.retain(|face| covers(face, picture) >= LARGE && face.score >= threshold + SURER);
        }
        // What was found without a border stays unless there is something to put in its place.
        if !faces.is_empty() {
            self.found = faces;
        }
        let again = match self.found.as_slice() {
            [] => true,
            [lone] => self.current == 0 && covers(lone, picture) > FILLS_FRAME,
            _ => false,
        };
        if again && self.current + 1 < self.looks.len() {
            self.current += 1;
            return None;
        }
        Some(std::mem::take(&mut self.found))
    }
}

/// Share of the picture that the face's box has; above 1 if it reaches far beyond it.
fn covers(face: &Detection, picture: &Rgb<'_>) -> f32 {
    face.place.area() / (picture.width * picture.height) as f32
}

#[cfg(test)]
mod tests {
    use records::{FaceBox, Landmarks};

    use super::*;

    const THRESHOLD: f32 = 0.6;

    /// A face over a share of a picture of 100 pixels.
    fn face(share: f32, score: f32) -> Detection {
        let side = share.sqrt() * 100.0;
        let place = FaceBox { x1: 0.0, y1: 0.0, x2: side, y2: side };
        Detection { place, landmarks: Landmarks([[0.0; 2]; 5]), score }
    }

    /// Goes through the looks, which show this one after another; tells how many there were, and the faces that count.
    fn go(shows: [&[Detection]; 3]) -> (usize, Vec<Detection>) {
        let data = vec![0; 3 * 100 * 100];
        let picture = Rgb { width: 100, height: 100, data: &data };
        let mut looks = Looks::new(&LOOKS);
        for (at, faces) in shows.iter().enumerate() {
            assert_eq!(looks.current(), at);
            if let Some(faces) = looks.saw(faces.to_vec(), &picture, THRESHOLD) {
                return (at + 1, faces);
            }
        }
        panic!("more than three looks");
    }

    #[test]
    fn a_face_in_a_scene_takes_one_look() {
        let (scene, large) = ([face(0.15, 0.61)], [face(0.5, 0.9)]);
        assert_eq!(go([&scene, &large, &large]), (1, scene.to_vec()));
        let crowd = [face(0.5, 0.9), face(0.1, 0.9)];
        assert_eq!(go([&crowd, &large, &large]), (1, crowd.to_vec()));
    }

    #[test]
    fn a_lone_face_that_fills_the_frame_is_looked_at_with_a_border() {
        let (plain, near, far) = ([face(0.6, 0.7)], [face(0.55, 0.9)], [face(0.5, 0.9)]);
        assert_eq!(go([&plain, &near, &far]), (2, near.to_vec()));
        // What the border does not show again stays.
        assert_eq!(go([&plain, &[], &far]), (2, plain.to_vec()));
        assert_eq!(go([&plain, &[face(0.55, 0.65)], &far]), (2, plain.to_vec()));
    }

    #[test]
    fn what_only_a_border_shows_must_be_large_and_sure() {
        let sure = [face(0.3, 0.75)];
        assert_eq!(go([&[], &sure, &[]]), (2, sure.to_vec()));
        assert_eq!(go([&[], &[], &sure]), (3, sure.to_vec()));
        for doubtful in [face(0.1, 0.75), face(0.3, 0.65)] {
            assert_eq!(go([&[], &[doubtful], &sure]), (3, sure.to_vec()));
            assert_eq!(go([&[], &[], &[doubtful]]), (3, vec![]));
        }
    }

    #[test]
    fn without_a_border_there_is_one_look() {
        let data = vec![0; 3 * 100 * 100];
        let picture = Rgb { width: 100, height: 100, data: &data };
        assert_eq!(Looks::new(&LOOKS[..1]).saw(vec![], &picture, THRESHOLD), Some(vec![]));
        let fills = vec![face(0.6, 0.7)];
        assert_eq!(Looks::new(&LOOKS[..1]).saw(fills.clone(), &picture, THRESHOLD), Some(fills));
    }

    /// The canvas shrinks with the border, so that the network sees the picture as large as before.
    #[test]
    fn a_narrow_border_keeps_the_scale() {
        for (wide, narrow) in LOOKS.iter().zip(&NARROW_LOOKS) {
            for own in [320, 640] {
                let scale = |look: &Look| look.side(own) as f64 / (1.0 + 2.0 * look.border);
                assert!((scale(wide) - scale(narrow)).abs() < 1e-9, "{wide:?} {narrow:?}");
                assert_eq!(narrow.side(own) % 32, 0);
            }
        }
    }
}
