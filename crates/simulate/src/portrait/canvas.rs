//! Drawing with smooth shapes: closed and open curves through points, ellipses, tapered strokes, and
//! three kinds of ink. Everything above speaks in pixels and points; tiny-skia is seen only here.

use super::colour::Rgb;
use tiny_skia::{
    FillRule, GradientStop, LineCap, LineJoin, LinearGradient, Mask, Paint, Path, PathBuilder, Pixmap, Point,
    RadialGradient, Shader, SpreadMode, Stroke, Transform,
};

/// A place in the picture, in pixels (x to the right, y downwards) or, before projection, in face units.
pub(crate) type Spot = (f32, f32);

/// What a shape is filled with.
#[derive(Clone, Copy)]
pub(crate) enum Ink {
    /// One colour and its opacity.
    Flat(Rgb, f32),
    /// From one colour and opacity to another along a line.
    Linear(Spot, Spot, (Rgb, f32), (Rgb, f32)),
    /// From the centre to the radius.
    Radial(Spot, f32, (Rgb, f32), (Rgb, f32)),
}

impl Ink {
    /// An opaque colour.
    pub(crate) fn solid(colour: Rgb) -> Self {
        Self::Flat(colour, 1.0)
    }

    fn paint(self) -> Paint<'static> {
        let flat = |(colour, alpha): (Rgb, f32)| Shader::SolidColor(colour.with_alpha(alpha));
        let stops = |start: (Rgb, f32), end: (Rgb, f32)| {
            vec![
                GradientStop::new(0.0, start.0.with_alpha(start.1)),
                GradientStop::new(1.0, end.0.with_alpha(end.1)),
            ]
        };
        let shader = match self {
            Self::Flat(colour, alpha) => flat((colour, alpha)),
            Self::Linear(from, to, start, end) => LinearGradient::new(
                Point::from_xy(from.0, from.1),
                Point::from_xy(to.0, to.1),
                stops(start, end),
                SpreadMode::Pad,
                Transform::identity(),
            )
            .unwrap_or_else(|| flat(end)),
            Self::Radial(centre, radius, start, end) => RadialGradient::new(
                Point::from_xy(centre.0, centre.1),
                0.0,
                Point::from_xy(centre.0, centre.1),
                radius,
                stops(start, end),
                SpreadMode::Pad,
                Transform::identity(),
            )
            .unwrap_or_else(|| flat(end)),
        };
        Paint { shader, ..Paint::default() }
    }
}

/// A picture under the brush; always opaque once a background was painted.
pub(crate) struct Canvas {
    pixmap: Pixmap,
}

impl Canvas {
    /// A canvas of one colour; None only if a side is zero or the picture would not fit in memory.
    pub(crate) fn new(width: u32, height: u32, colour: Rgb) -> Option<Self> {
        let mut pixmap = Pixmap::new(width, height)?;
        pixmap.fill(colour.with_alpha(1.0));
        Some(Self { pixmap })
    }

    /// Width in pixels.
    pub(crate) fn width(&self) -> f32 {
        self.pixmap.width() as f32
    }

    /// Height in pixels.
    pub(crate) fn height(&self) -> f32 {
        self.pixmap.height() as f32
    }

    /// Fills a shape. A degenerate shape (None) paints nothing.
    pub(crate) fn fill(&mut self, shape: Option<&Path>, ink: Ink) {
        self.fill_within(shape, ink, None);
    }

    /// Fills a shape where the mask lets it through.
    pub(crate) fn fill_within(&mut self, shape: Option<&Path>, ink: Ink, mask: Option<&Mask>) {
        if let Some(path) = shape {
            self.pixmap.fill_path(path, &ink.paint(), FillRule::Winding, Transform::identity(), mask);
        }
    }

    /// Draws along a shape with round ends; `width` in pixels.
    pub(crate) fn stroke(&mut self, shape: Option<&Path>, width: f32, ink: Ink) {
        self.stroke_within(shape, width, ink, None);
    }

    /// Draws along a shape where the mask lets it through.
    pub(crate) fn stroke_within(&mut self, shape: Option<&Path>, width: f32, ink: Ink, mask: Option<&Mask>) {
        if let Some(path) = shape {
            let stroke =
                Stroke { width, line_cap: LineCap::Round, line_join: LineJoin::Round, ..Stroke::default() };
            self.pixmap.stroke_path(path, &ink.paint(), &stroke, Transform::identity(), mask);
        }
    }

    /// Fills the axis-parallel rectangle between two corners.
    pub(crate) fn block(&mut self, from: Spot, to: Spot, ink: Ink) {
        self.fill(polygon(&[from, (to.0, from.1), to, (from.0, to.1)]).as_ref(), ink);
    }

    /// Fills the whole picture.
    pub(crate) fn flood(&mut self, ink: Ink) {
        let corner = (self.width(), self.height());
        self.block((0.0, 0.0), corner, ink);
    }

    /// A mask that lets through only what lies inside the shape.
    pub(crate) fn mask(&self, shape: Option<&Path>) -> Option<Mask> {
        let mut mask = Mask::new(self.pixmap.width(), self.pixmap.height())?;
        mask.fill_path(shape?, FillRule::Winding, true, Transform::identity());
        Some(mask)
    }

    /// The finished picture as interleaved RGB, row by row.
    pub(crate) fn into_rgb(self) -> Vec<u8> {
        let mut pixels = Vec::with_capacity(self.pixmap.pixels().len() * 3);
        for pixel in self.pixmap.data().chunks_exact(4) {
            pixels.extend_from_slice(&pixel[..3]);
        }
        pixels
    }
}

/// Straight lines through the points, closed.
pub(crate) fn polygon(points: &[Spot]) -> Option<Path> {
    let (first, rest) = points.split_first()?;
    let mut builder = PathBuilder::new();
    builder.move_to(first.0, first.1);
    for point in rest {
        builder.line_to(point.0, point.1);
    }
    builder.close();
    builder.finish()
}

/// A smooth closed curve through the points (uniform Catmull-Rom, drawn as cubic Béziers).
pub(crate) fn closed(points: &[Spot]) -> Option<Path> {
    let count = points.len();
    if count < 3 {
        return None;
    }
    let mut builder = PathBuilder::new();
    builder.move_to(points[0].0, points[0].1);
    for index in 0..count {
        let at = |step: usize| points[(index + count + step - 1) % count];
        segment(&mut builder, at(0), at(1), at(2), at(3));
    }
    builder.close();
    builder.finish()
}

/// A smooth open curve through the points.
pub(crate) fn open(points: &[Spot]) -> Option<Path> {
    let count = points.len();
    if count < 2 {
        return None;
    }
    let mut builder = PathBuilder::new();
    builder.move_to(points[0].0, points[0].1);
    for index in 0..count - 1 {
        let before = points[index.saturating_sub(1)];
        let after = points[(index + 2).min(count - 1)];
        segment(&mut builder, before, points[index], points[index + 1], after);
    }
    builder.finish()
}

fn segment(builder: &mut PathBuilder, before: Spot, from: Spot, to: Spot, after: Spot) {
    const PULL: f32 = 1.0 / 6.0;
    builder.cubic_to(
        from.0 + (to.0 - before.0) * PULL,
        from.1 + (to.1 - before.1) * PULL,
        to.0 - (after.0 - from.0) * PULL,
        to.1 - (after.1 - from.1) * PULL,
        to.0,
        to.1,
    );
}

/// An ellipse turned by `angle` radians (clockwise as seen, since y points down).
pub(crate) fn ellipse(centre: Spot, half_width: f32, half_height: f32, angle: f32) -> Option<Path> {
    let (sin, cos) = angle.sin_cos();
    let points: Vec<Spot> = (0..12)
        .map(|step| {
            let (y, x) = (step as f32 * std::f32::consts::TAU / 12.0).sin_cos();
            let (x, y) = (x * half_width, y * half_height);
            (centre.0 + x * cos - y * sin, centre.1 + x * sin + y * cos)
        })
        .collect();
    closed(&points)
}

/// A stroke whose thickness changes along a centre line: (point, half thickness) in order.
pub(crate) fn tapered(line: &[(Spot, f32)]) -> Option<Path> {
    if line.len() < 2 {
        return None;
    }
    let side = |sign: f32| {
        line.iter().enumerate().map(move |(index, (point, half))| {
            let before = line[index.saturating_sub(1)].0;
            let after = line[(index + 1).min(line.len() - 1)].0;
            let (dx, dy) = (after.0 - before.0, after.1 - before.1);
            let length = dx.hypot(dy).max(1e-6);
            (point.0 - dy / length * half * sign, point.1 + dx / length * half * sign)
        })
    };
    let mut points: Vec<Spot> = side(1.0).collect();
    points.extend(side(-1.0).rev());
    closed(&points)
}
