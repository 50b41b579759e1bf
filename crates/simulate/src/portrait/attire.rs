//! What a person wears in one photo: clothes and glasses.

use super::canvas::{Canvas, Ink, Spot, closed, ellipse, open, polygon};
use super::colour::Rgb;
use super::identity::PortraitIdentity;
use super::nuisance::{Glasses, GlassesShape, Nuisance};
use super::pose::Pose;
use super::stream::Stream;

/// A colour that cloth may have.
fn cloth(stream: &mut Stream) -> Rgb {
    match stream.below(4) {
        0 => Rgb::hsv(stream.unit(), stream.between(0.05, 0.2), stream.between(0.15, 0.95)),
        1 => Rgb::hsv(stream.unit(), stream.between(0.5, 0.8), stream.between(0.25, 0.6)),
        _ => Rgb::hsv(stream.unit(), stream.between(0.3, 0.75), stream.between(0.4, 0.9)),
    }
}

/// Shoulders and clothes, drawn over the neck.
pub(crate) fn clothes(canvas: &mut Canvas, identity: &PortraitIdentity, nuisance: &Nuisance, pose: &Pose) {
    let mut stream = Stream::new(nuisance.clothes, 1);
    let main = cloth(&mut stream);
    let second = cloth(&mut stream);
    let neck = identity.head.neck;
    let shoulder = stream.between(1.65, 2.05);
    let slope = stream.between(1.85, 2.05);
    let edge = ((canvas.height() - pose.centre.1) / pose.unit).max(3.2) + 0.5;
    let bottom = edge.min(6.4);
    if edge > bottom {
        legs(canvas, pose, shoulder, second.scaled(0.55));
    }
    let kind = stream.below(6);
    // How far the neckline sinks below the collar bone.
    let dip = match kind {
        0 => 0.28,
        1 => 0.75,
        2 => 0.42,
        _ => 0.12,
    };
    let side = |sign: f32| -> Vec<Spot> {
        vec![
            (sign * (neck + 0.07), 1.62),
            (sign * (neck + 0.55), slope - 0.14),
            (sign * shoulder, slope + 0.22),
            (sign * (shoulder + 0.30), slope + 0.95),
            (sign * (shoulder + 0.34), bottom),
        ]
    };
    let mut points = vec![(0.0, 1.70 + dip)];
    points.push((neck * 0.62, 1.70 + dip * 0.72));
    points.extend(side(1.0));
    points.extend(side(-1.0).into_iter().rev());
    points.push((-neck * 0.62, 1.70 + dip * 0.72));
    let drawn: Vec<Spot> = points.iter().map(|&spot| pose.body(spot)).collect();
    let shape = closed(&drawn);
    let (from, to) = (pose.body((0.0, 1.6)), pose.body((0.0, bottom.min(4.5))));
    canvas.fill(shape.as_ref(), Ink::Linear(from, to, (main, 1.0), (main.scaled(0.72), 1.0)));
    let mask = canvas.mask(shape.as_ref());
    let unit = pose.unit;
    if kind == 3 {
        let mut y = 1.85;
        while y < bottom.min(6.0) {
            let line = open(&[pose.body((-3.0, y + 0.1)), pose.body((0.0, y)), pose.body((3.0, y + 0.1))]);
            canvas.stroke_within(line.as_ref(), 0.16 * unit, Ink::solid(second), mask.as_ref());
            y += 0.42;
        }
    }
    if kind == 2 || kind == 4 {
        // A collar, and a tie or a row of buttons under it.
        let pale = second.lighter(0.55);
        for sign in [-1.0, 1.0] {
            let flap = [(0.02, 1.88), (neck * 0.72, 1.46), (neck + 0.20, 1.62), (neck * 0.62, 2.12)]
                .map(|(x, y)| pose.body((sign * x, y)));
            canvas.fill(polygon(&flap).as_ref(), Ink::solid(pale));
            canvas.stroke(polygon(&flap).as_ref(), 0.018 * unit, Ink::Flat(main.scaled(0.4), 0.6));
        }
        if kind == 4 {
            let tie = [
                (-0.11, 1.88),
                (0.11, 1.88),
                (0.07, 2.05),
                (0.20, 3.1),
                (0.0, 3.4),
                (-0.20, 3.1),
                (-0.07, 2.05),
            ]
            .map(|spot| pose.body(spot));
            canvas.fill(polygon(&tie).as_ref(), Ink::solid(second.scaled(0.7)));
        } else {
            for row in 0..3 {
                let button = pose.body((0.0, 2.35 + 0.45 * row as f32));
                canvas.fill(
                    ellipse(button, 0.04 * unit, 0.04 * unit, 0.0).as_ref(),
                    Ink::solid(main.scaled(0.4)),
                );
            }
        }
    }
    if kind == 5 {
        // A roll neck.
        let roll = [
            (-neck - 0.06, 1.36),
            (neck + 0.06, 1.36),
            (neck + 0.14, 1.80),
            (0.0, 1.92),
            (-neck - 0.14, 1.80),
        ]
        .map(|spot| pose.body(spot));
        canvas.fill(closed(&roll).as_ref(), Ink::solid(main.scaled(0.88)));
        canvas.stroke(closed(&roll).as_ref(), 0.02 * unit, Ink::Flat(main.scaled(0.5), 0.6));
    }
    canvas.stroke(shape.as_ref(), 0.022 * unit, Ink::Flat(main.scaled(0.45), 0.55));
}

/// Trousers and shoes, for people seen from far away.
fn legs(canvas: &mut Canvas, pose: &Pose, shoulder: f32, colour: Rgb) {
    for sign in [-1.0, 1.0] {
        let leg = [(0.08, 6.0), (shoulder + 0.15, 6.0), (shoulder * 0.85, 10.8), (0.30, 10.8)]
            .map(|(x, y)| pose.body((sign * x, y)));
        canvas.fill(polygon(&leg).as_ref(), Ink::solid(colour));
        let shoe = pose.body((sign * (0.35 + shoulder * 0.35), 10.9));
        canvas.fill(
            ellipse(shoe, 0.62 * pose.unit, 0.24 * pose.unit, 0.0).as_ref(),
            Ink::solid(Rgb::hex(0x241f1f)),
        );
    }
}

/// Glasses on the nose.
pub(crate) fn glasses(canvas: &mut Canvas, identity: &PortraitIdentity, glasses: &Glasses, pose: &Pose) {
    let unit = pose.unit;
    let frame = if glasses.hue < 0.5 {
        Rgb::hex(0x1c1a1c).lighter(glasses.hue * 0.2)
    } else {
        Rgb::hsv((glasses.hue - 0.5) * 2.0, 0.55, 0.45)
    };
    let spacing = identity.eyes.spacing;
    let half = 0.265 * glasses.size;
    // Lenses stand before the eyes, so they move a little more than these when the head turns.
    let lift = 0.10;
    let outline: Vec<Spot> = match glasses.shape {
        GlassesShape::Round => (0..10)
            .map(|step| {
                let (sin, cos) = (step as f32 * std::f32::consts::TAU / 10.0).sin_cos();
                (cos * half * 0.95, sin * half * 0.95)
            })
            .collect(),
        GlassesShape::Square => [
            (-1.05, -0.55),
            (-0.85, -0.72),
            (0.85, -0.72),
            (1.08, -0.55),
            (1.02, 0.50),
            (0.80, 0.70),
            (-0.80, 0.70),
            (-1.0, 0.50),
        ]
        .map(|(x, y)| (x * half, y * half))
        .to_vec(),
        GlassesShape::Pilot => [
            (-0.95, -0.60),
            (-0.2, -0.75),
            (0.95, -0.68),
            (1.12, -0.25),
            (0.85, 0.65),
            (0.25, 0.98),
            (-0.55, 0.75),
            (-0.98, 0.05),
        ]
        .map(|(x, y)| (x * half, y * half))
        .to_vec(),
    };
    let width = 0.034 * unit;
    for sign in [-1.0, 1.0] {
        let lens: Vec<Spot> = outline
            .iter()
            .map(|&(x, y)| pose.raised((sign * (spacing + 0.02 + x), y + 0.03), lift))
            .collect();
        let shape = closed(&lens);
        if glasses.tint > 0.0 {
            canvas.fill(shape.as_ref(), Ink::Flat(Rgb::hex(0x2a2c38), glasses.tint));
        }
        let shine = open(&[
            pose.raised((sign * spacing - 0.10, -0.10), lift),
            pose.raised((sign * spacing - 0.02, -0.16), lift),
        ]);
        canvas.stroke(shine.as_ref(), 0.03 * unit, Ink::Flat(Rgb::hex(0xffffff), 0.35));
        canvas.stroke(shape.as_ref(), width, Ink::solid(frame));
        let temple = open(&[
            pose.raised((sign * (spacing + half + 0.02), -0.04), lift * 0.7),
            pose.rim((sign * (identity.head.cheek + 0.01), -0.02)),
        ]);
        canvas.stroke(temple.as_ref(), width * 0.9, Ink::solid(frame));
    }
    let gap = spacing + 0.02 - half * 0.95;
    let bridge = open(&[
        pose.raised((-gap, 0.0), lift),
        pose.raised((0.0, -0.05), lift + 0.06),
        pose.raised((gap, 0.0), lift),
    ]);
    canvas.stroke(bridge.as_ref(), width, Ink::solid(frame));
}
