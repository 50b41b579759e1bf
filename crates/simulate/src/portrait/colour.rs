//! Colours of the drawing: plain sRGB triples in 0..1, mixed without gamma (it is a cartoon, not a light simulation).

use tiny_skia::Color;

/// A colour; each channel in 0..1, clamped only where it is painted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rgb {
    /// Red.
    pub(crate) r: f32,
    /// Green.
    pub(crate) g: f32,
    /// Blue.
    pub(crate) b: f32,
}

impl Rgb {
    /// From channels in 0..1.
    pub(crate) const fn new(r: f32, g: f32, b: f32) -> Self {
        Self { r, g, b }
    }

    /// From `0xRRGGBB`.
    pub(crate) const fn hex(code: u32) -> Self {
        Self {
            r: ((code >> 16) & 255) as f32 / 255.0,
            g: ((code >> 8) & 255) as f32 / 255.0,
            b: (code & 255) as f32 / 255.0,
        }
    }

    /// From hue (turns), saturation and value, each in 0..1.
    pub(crate) fn hsv(hue: f32, saturation: f32, value: f32) -> Self {
        let channel = |offset: f32| {
            let k = (offset + hue.rem_euclid(1.0) * 6.0).rem_euclid(6.0);
            value - value * saturation * k.min(4.0 - k).clamp(0.0, 1.0)
        };
        Self::new(channel(5.0), channel(3.0), channel(1.0))
    }

    /// The way from this colour (0) to the other (1).
    pub(crate) fn mix(self, other: Self, share: f32) -> Self {
        let way = |a: f32, b: f32| a + (b - a) * share;
        Self::new(way(self.r, other.r), way(self.g, other.g), way(self.b, other.b))
    }

    /// Every channel times a factor.
    pub(crate) fn scaled(self, factor: f32) -> Self {
        Self::new(self.r * factor, self.g * factor, self.b * factor)
    }

    /// Towards white.
    pub(crate) fn lighter(self, share: f32) -> Self {
        self.mix(Self::new(1.0, 1.0, 1.0), share)
    }

    /// A palette read as a continuous scale: `place` 0 is the first colour, 1 the last.
    pub(crate) fn on_scale(palette: &[Rgb], place: f32) -> Self {
        let Some(last) = palette.len().checked_sub(1) else { return Self::new(0.5, 0.5, 0.5) };
        let position = place.clamp(0.0, 1.0) * last as f32;
        let index = (position as usize).min(last.saturating_sub(1));
        palette[index].mix(palette[(index + 1).min(last)], position - index as f32)
    }

    /// For tiny-skia, with opacity.
    pub(crate) fn with_alpha(self, alpha: f32) -> Color {
        let clamp = |value: f32| if value.is_finite() { value.clamp(0.0, 1.0) } else { 0.0 };
        Color::from_rgba(clamp(self.r), clamp(self.g), clamp(self.b), clamp(alpha)).unwrap_or(Color::BLACK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hsv_gives_the_pure_colours() {
        assert_eq!(Rgb::hsv(0.0, 1.0, 1.0), Rgb::hex(0xff0000));
        assert_eq!(Rgb::hsv(1.0 / 3.0, 1.0, 1.0), Rgb::hex(0x00ff00));
        assert_eq!(Rgb::hsv(0.9, 0.0, 1.0), Rgb::hex(0xffffff));
    }

    #[test]
    fn a_scale_meets_its_colours() {
        let palette = [Rgb::hex(0), Rgb::hex(0xff0000), Rgb::hex(0xffffff)];
        assert_eq!(Rgb::on_scale(&palette, 0.0), palette[0]);
        assert_eq!(Rgb::on_scale(&palette, 0.5), palette[1]);
        assert_eq!(Rgb::on_scale(&palette, 1.0), palette[2]);
    }
}
