//! How a photo was taken: everything that differs between two photos of one person.

use super::stream::Stream;

/// Which stream of the seed the nuisance is drawn from.
const PURPOSE: u64 = 2;

/// How much of the picture the face takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Head and shoulders, as most profile pictures are: the face is 28 to 60% of the picture's width.
    Avatar,
    /// Cropped to the face: 65 to 105% of the width, partly beyond the edge.
    Tight,
    /// The person somewhere in a scene: 10 to 28% of the width.
    Wide,
}

/// Shape of a pair of glasses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GlassesShape {
    /// Circles.
    Round,
    /// Rounded rectangles.
    Square,
    /// Wide above, narrow below.
    Pilot,
}

/// A pair of glasses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Glasses {
    /// The frame's shape.
    pub shape: GlassesShape,
    /// Hue of the frame in turns, 0..1; below 0.5 the frame is nearly black.
    pub hue: f32,
    /// How dark the lenses are: 0 clear, up to 0.25.
    pub tint: f32,
    /// Size of the lenses against the usual, 0.9..1.15.
    pub size: f32,
}

/// Pose, expression, light, surroundings and camera of one photo.
#[derive(Clone, Debug, PartialEq)]
pub struct Nuisance {
    /// Turn towards the right of the picture, radians (about -0.42..0.42).
    pub yaw: f32,
    /// Looking up, radians (about -0.24..0.24).
    pub pitch: f32,
    /// Head tilted clockwise, radians (about -0.35..0.35).
    pub roll: f32,
    /// Width of an average face as a share of the picture's shorter side.
    pub face_width: f32,
    /// Place of the point between the eyes, as shares of width and height.
    pub place: (f32, f32),
    /// From -0.4 (sullen) to 1 (broad smile).
    pub smile: f32,
    /// How far the mouth is open, 0..1.
    pub mouth_open: f32,
    /// Raised brows, -0.6..1.
    pub brow_raise: f32,
    /// How far the eyes are open, 0.45..1.15 of the person's own.
    pub eye_open: f32,
    /// Where the eyes look: right and down, each -1..1.
    pub gaze: (f32, f32),
    /// Where the light comes from: angle in radians, 0 from the right, positive from below.
    pub light_angle: f32,
    /// Strength of its shading, 0..1.
    pub light_strength: f32,
    /// From -1 (blue) to 1 (orange).
    pub warmth: f32,
    /// Brightness factor.
    pub exposure: f32,
    /// Contrast factor around middle grey.
    pub contrast: f32,
    /// Saturation factor.
    pub saturation: f32,
    /// Seed of the background.
    pub background: u64,
    /// Seed of the clothes.
    pub clothes: u64,
    /// Glasses, if any.
    pub glasses: Option<Glasses>,
    /// Radius of the blur as a share of the picture's shorter side (0 to 0.005).
    pub blur: f32,
    /// Standard deviation of the sensor noise in grey levels (0 to 6).
    pub noise: f32,
    /// Seed of the sensor noise.
    pub noise_seed: u64,
    /// JPEG quality for [`Picture::to_jpeg`](super::Picture::to_jpeg), 1..=100.
    pub jpeg_quality: u8,
}

impl Nuisance {
    /// A photo framed as most profile pictures are: [`Framing::Avatar`] mostly, one in six tight.
    pub fn from_seed(seed: u64) -> Self {
        let mut choice = Stream::new(seed, PURPOSE + 100);
        let framing = if choice.chance(1.0 / 6.0) { Framing::Tight } else { Framing::Avatar };
        Self::framed(seed, framing)
    }

    /// A photo with this framing; the same seed with another framing keeps pose, light and the rest.
    pub fn framed(seed: u64, framing: Framing) -> Self {
        let mut s = Stream::new(seed, PURPOSE);
        let frontal = s.chance(0.3);
        let pose = if frontal { 0.35 } else { 1.0 };
        let smiling = s.chance(0.55);
        let laughing = smiling && s.chance(0.5);
        let glasses = s.chance(0.22).then(|| Glasses {
            shape: match s.below(3) {
                0 => GlassesShape::Round,
                1 => GlassesShape::Square,
                _ => GlassesShape::Pilot,
            },
            hue: s.unit(),
            tint: if s.chance(0.2) { s.between(0.08, 0.25) } else { 0.0 },
            size: s.between(0.9, 1.15),
        });
        let (width, reach) = match framing {
            Framing::Avatar => (s.between(0.28, 0.60), (0.08, 0.06)),
            Framing::Tight => (s.between(0.65, 1.05), (0.06, 0.05)),
            Framing::Wide => (s.between(0.10, 0.28), (0.30, 0.18)),
        };
        let height = match framing {
            Framing::Avatar => 0.43,
            Framing::Tight => 0.44,
            Framing::Wide => 0.42,
        };
        Self {
            yaw: (s.bell() * 0.17 * pose).clamp(-0.42, 0.42),
            pitch: (s.bell() * 0.10 * pose).clamp(-0.24, 0.24),
            roll: (s.bell() * 0.11 * pose).clamp(-0.35, 0.35),
            face_width: width,
            place: (0.5 + s.between(-reach.0, reach.0), height + s.between(-reach.1, reach.1)),
            smile: if smiling { s.between(0.35, 1.0) } else { s.between(-0.4, 0.35) },
            mouth_open: if laughing { s.between(0.25, 1.0) } else { (s.between(-0.5, 0.25)).max(0.0) },
            brow_raise: s.between(-0.6, 1.0) * s.unit(),
            eye_open: if s.chance(0.06) { s.between(0.45, 0.7) } else { s.between(0.78, 1.12) },
            gaze: (s.between(-1.0, 1.0) * s.unit(), s.between(-0.6, 0.6) * s.unit()),
            light_angle: s.between(-std::f32::consts::PI, 0.4),
            light_strength: s.unit(),
            warmth: s.bell() * 0.4,
            exposure: s.between(0.82, 1.16),
            contrast: s.between(0.86, 1.14),
            saturation: s.between(0.78, 1.18),
            background: s.word(),
            clothes: s.word(),
            glasses,
            blur: if s.chance(0.35) { s.between(0.0, 0.005) } else { 0.0 },
            noise: if s.chance(0.35) { s.between(0.0, 6.0) } else { 0.0 },
            noise_seed: s.word(),
            jpeg_quality: s.between(55.0, 96.0) as u8,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_framing_changes_only_the_size_and_place() {
        let avatar = Nuisance::framed(3, Framing::Avatar);
        let wide = Nuisance::framed(3, Framing::Wide);
        assert_eq!(avatar.yaw, wide.yaw);
        assert_eq!(avatar.background, wide.background);
        assert!(avatar.face_width > wide.face_width);
    }

    #[test]
    fn photos_of_one_seed_are_equal_and_of_others_differ() {
        assert_eq!(Nuisance::from_seed(9), Nuisance::from_seed(9));
        assert_ne!(Nuisance::from_seed(9), Nuisance::from_seed(10));
    }
}
