//! From what a network proposes to faces: one of those that overlap, in pixels of the picture, largest first.

use records::{FaceBox, Landmarks};

use super::Detection;
use crate::canvas::Placement;

/// What a network proposes, in pixels of the canvas.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Candidate {
    /// Left, top, right, bottom.
    pub corners: [f32; 4],
    /// `[x, y]` of the five landmarks.
    pub landmarks: [[f32; 2]; 5],
    /// 0 to 1.
    pub score: f32,
}

/// Candidates kept at most before overlaps are looked for, best first; a network that fires everywhere must not take
/// forever.
const MOST: usize = 2000;

/// Keeps the best of those that overlap by more than `threshold` (greedy non-maximum suppression), leaves out what is
/// narrower than `smallest` pixels of the canvas, maps the rest to pixels of the picture and sorts them by area, largest
/// first. Candidates without area or with a value that is not finite are left out.
pub fn settle(
    mut candidates: Vec<Candidate>,
    placement: &Placement,
    threshold: f32,
    smallest: f32,
) -> Vec<Detection> {
    candidates.retain(|c| {
        let [left, top, right, bottom] = c.corners;
        let finite = c.corners.iter().chain(c.landmarks.as_flattened()).all(|v| v.is_finite());
        finite && right > left && bottom > top
    });
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
    candidates.truncate(MOST);
    let mut kept: Vec<Candidate> = Vec::new();
    for candidate in candidates {
        if kept.iter().all(|better| overlap(&better.corners, &candidate.corners) <= threshold) {
            kept.push(candidate);
        }
    }
    let mut faces: Vec<Detection> = kept
        .into_iter()
        .filter(|kept| kept.corners[2] - kept.corners[0] >= smallest)
        .map(|Candidate { corners: [left, top, right, bottom], landmarks, score }| {
            let ([x1, y1], [x2, y2]) = (placement.back([left, top]), placement.back([right, bottom]));
            Detection {
                place: FaceBox { x1, y1, x2, y2 },
                landmarks: Landmarks(landmarks.map(|point| placement.back(point))),
                score,
            }
        })
        .collect();
    faces.sort_by(|a, b| b.place.area().total_cmp(&a.place.area()));
    faces
}

/// Intersection over union.
fn overlap(a: &[f32; 4], b: &[f32; 4]) -> f32 {
    let width = (a[2].min(b[2]) - a[0].max(b[0])).max(0.0);
    let height = (a[3].min(b[3]) - a[1].max(b[1])).max(0.0);
    let area = |c: &[f32; 4]| (c[2] - c[0]) * (c[3] - c[1]);
    let both = width * height;
    both / (area(a) + area(b) - both + 1e-9)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(corners: [f32; 4], score: f32) -> Candidate {
        Candidate { corners, landmarks: [[corners[0], corners[1]]; 5], score }
    }

    #[test]
    fn the_best_of_overlapping_ones_stays_and_the_largest_goes_first() {
        let found = settle(
            vec![
                candidate([10.0, 10.0, 20.0, 20.0], 0.7),
                candidate([11.0, 10.0, 21.0, 20.0], 0.9),
                candidate([30.0, 30.0, 60.0, 60.0], 0.6),
                candidate([0.0, 0.0, f32::NAN, 9.0], 0.99),
                candidate([9.0, 0.0, 3.0, 9.0], 0.99),
                candidate([70.0, 70.0, 74.0, 90.0], 0.99),
            ],
            &Placement { scale: 2.0, offset: [10.0, 0.0] },
            0.4,
            5.0,
        );
        let places: Vec<FaceBox> = found.iter().map(|face| face.place).collect();
        let largest = FaceBox { x1: 10.0, y1: 15.0, x2: 25.0, y2: 30.0 };
        assert_eq!(places, [largest, FaceBox { x1: 0.5, y1: 5.0, x2: 5.5, y2: 10.0 }]);
        assert_eq!(found[1].landmarks.0[0], [0.5, 5.0]);
    }
}
