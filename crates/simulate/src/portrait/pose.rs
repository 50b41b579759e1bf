//! From the face's own coordinates to pixels.
//!
//! Face units: the origin lies midway between the eyes, x to the right of the picture, y downwards; an
//! average face is 2 units wide and its chin lies near y = 1.3. Features sit on an ellipsoid, so a turned
//! head moves them against its outline as a real one does. Invariant: every part of a face is drawn
//! through one `Pose`, so landmarks and ink cannot disagree.

use super::canvas::Spot;

/// How deep the ellipsoid of the face is, in face units.
const DEPTH: f32 = 0.8;

/// Where a head is and which way it looks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pose {
    /// Pixels of the origin.
    pub(crate) centre: Spot,
    /// Pixels per face unit.
    pub(crate) unit: f32,
    yaw: (f32, f32),
    pitch: (f32, f32),
    roll: (f32, f32),
}

impl Pose {
    /// Angles in radians: yaw turns towards the right of the picture, pitch looks up, roll is clockwise.
    pub(crate) fn new(centre: Spot, unit: f32, yaw: f32, pitch: f32, roll: f32) -> Self {
        Self { centre, unit, yaw: yaw.sin_cos(), pitch: pitch.sin_cos(), roll: roll.sin_cos() }
    }

    /// Pixels of a point on the surface of the face.
    pub(crate) fn at(&self, spot: Spot) -> Spot {
        self.raised(spot, 0.0)
    }

    /// Pixels of a point that stands out of the surface by `height` units (the nose does).
    pub(crate) fn raised(&self, (x, y): Spot, height: f32) -> Spot {
        let inside = 1.0 - (x / 1.08).powi(2) - (y / 1.75).powi(2);
        self.solid((x, y), DEPTH * inside.max(0.0).sqrt() + height)
    }

    /// Pixels of a point at depth `z` (towards the viewer).
    pub(crate) fn solid(&self, (x, y): Spot, z: f32) -> Spot {
        let (sin_yaw, cos_yaw) = self.yaw;
        let (sin_pitch, cos_pitch) = self.pitch;
        let turned = (x * cos_yaw + z * sin_yaw, -x * sin_yaw + z * cos_yaw);
        self.place((turned.0, y * cos_pitch - turned.1 * sin_pitch))
    }

    /// Pixels of a point on the surface, but never beyond `reach` to either side of the head's middle: for
    /// edges that would otherwise turn out past the outline.
    pub(crate) fn within(&self, (x, y): Spot, reach: f32) -> Spot {
        let (sin_yaw, cos_yaw) = self.yaw;
        let inside = 1.0 - (x / 1.08).powi(2) - (y / 1.75).powi(2);
        let z = DEPTH * inside.max(0.0).sqrt();
        let turned = (x * cos_yaw + z * sin_yaw).clamp(-reach, reach);
        let depth = -x * sin_yaw + z * cos_yaw;
        self.place((turned, y * self.pitch.1 - depth * self.pitch.0))
    }

    /// Pixels of a point on the outline of the head, which hardly moves when the head turns; the jaw
    /// stands forward and so follows a little.
    pub(crate) fn rim(&self, (x, y): Spot) -> Spot {
        let (sin_yaw, cos_yaw) = self.yaw;
        let (sin_pitch, cos_pitch) = self.pitch;
        let forward = 0.30 * ((y - 0.2) / 1.1).clamp(0.0, 1.0) - 0.08 * (-y).clamp(0.0, 1.0);
        let width = (cos_yaw * cos_yaw + DEPTH * DEPTH * sin_yaw * sin_yaw).sqrt();
        let height = (cos_pitch * cos_pitch + 0.9 * sin_pitch * sin_pitch).sqrt();
        self.place((x * width + forward * sin_yaw, y * height - forward * sin_pitch))
    }

    /// Pixels of a flat point that only rolls with the head.
    pub(crate) fn place(&self, (x, y): Spot) -> Spot {
        let (sin, cos) = self.roll;
        (self.centre.0 + (x * cos - y * sin) * self.unit, self.centre.1 + (x * sin + y * cos) * self.unit)
    }

    /// Pixels of a point of the body, which neither turns nor rolls with the head: it hangs from the neck.
    pub(crate) fn body(&self, (x, y): Spot) -> Spot {
        let (sin, _) = self.roll;
        (self.centre.0 + (x - sin * 0.95) * self.unit, self.centre.1 + y * self.unit)
    }

    /// How far the head is turned to the right: sine of the yaw.
    pub(crate) fn turn(&self) -> f32 {
        self.yaw.0
    }

    /// The roll angle in radians.
    pub(crate) fn tilt(&self) -> f32 {
        self.roll.0.atan2(self.roll.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_straight_pose_scales_and_moves() {
        let pose = Pose::new((100.0, 80.0), 40.0, 0.0, 0.0, 0.0);
        let (x, y) = pose.at((0.5, 1.0));
        assert!((x - 120.0).abs() < 1e-3 && (y - 120.0).abs() < 1e-3);
        assert_eq!(pose.rim((1.0, 0.0)), (140.0, 80.0));
    }

    #[test]
    fn a_point_kept_within_the_outline_is_the_surface_elsewhere() {
        let pose = Pose::new((0.0, 0.0), 1.0, -0.4, 0.1, 0.2);
        let (free, kept) = (pose.at((0.3, -0.5)), pose.within((0.3, -0.5), 0.9));
        assert!((free.0 - kept.0).abs() < 1e-5 && (free.1 - kept.1).abs() < 1e-5);
        let straight = Pose::new((0.0, 0.0), 1.0, -0.4, 0.0, 0.0);
        assert!(straight.at((-0.9, -0.5)).0 < -0.95);
        assert_eq!(straight.within((-0.9, -0.5), 0.9).0, -0.9);
    }

    #[test]
    fn a_turned_head_moves_features_more_than_its_outline() {
        let pose = Pose::new((0.0, 0.0), 1.0, 0.35, 0.0, 0.0);
        let nose = pose.raised((0.0, 0.4), 0.2).0;
        let rim = pose.rim((1.0, 0.0)).0 - 1.0;
        assert!(nose > 0.25 && rim.abs() < 0.05, "nose moved {nose}, outline {rim}");
    }
}
