//! Head, ears, neck and what lies on the skin: blush, freckles, moles, creases, beard, light and shade.

use super::canvas::{Canvas, Ink, Spot, closed, ellipse, open};
use super::colour::Rgb;
use super::identity::{Beard, Head, PortraitIdentity};
use super::nuisance::Nuisance;
use super::pose::Pose;
use tiny_skia::{Mask, Path};

/// Height of the widest part of the forehead; above it the skull is half an ellipse.
pub(crate) const TEMPLE: f32 = -0.30;

/// The outline of the head in face units, clockwise from the crown; `drop` lowers the jaw (open mouth).
pub(crate) fn outline(head: &Head, drop: f32) -> Vec<Spot> {
    let skull = |angle: f32| {
        let (sin, cos) = angle.to_radians().sin_cos();
        (head.forehead * cos, TEMPLE - (head.skull + TEMPLE) * sin)
    };
    let chin = head.chin + drop;
    let under = (head.jaw + head.chin_width) / 2.0;
    let right = [
        skull(90.0),
        skull(60.0),
        skull(30.0),
        skull(0.0),
        (head.cheek, 0.12),
        ((head.cheek * 1.1 + head.jaw) / 2.1, 0.12 + (head.jaw_height - 0.12) * 0.55),
        (head.jaw, head.jaw_height + drop * 0.4),
        (under, head.jaw_height + (chin - head.jaw_height) * 0.62),
        (head.chin_width * 0.85, chin - 0.035),
    ];
    let skewed = |(x, y): Spot| (x + head.skew * ((y - 0.2) / chin).max(0.0), y);
    let mut points: Vec<Spot> = right.iter().copied().map(skewed).collect();
    points.push(skewed((0.0, chin)));
    points.extend(right[1..].iter().rev().map(|&(x, y)| skewed((-x, y))));
    points
}

/// The outline in pixels, and the box from hairline to chin around it.
pub(crate) fn drawn_outline(identity: &PortraitIdentity, pose: &Pose, drop: f32) -> (Vec<Spot>, [f32; 4]) {
    let points = outline(&identity.head, drop);
    let drawn: Vec<Spot> = points.iter().map(|&spot| pose.rim(spot)).collect();
    let mut face_box = [f32::INFINITY, f32::INFINITY, f32::NEG_INFINITY, f32::NEG_INFINITY];
    let face = points.iter().zip(&drawn).filter(|(spot, _)| spot.1 >= TEMPLE).map(|(_, &spot)| spot);
    for (x, y) in face.chain([pose.at((0.0, -0.74)), pose.at((0.45, -0.70)), pose.at((-0.45, -0.70))]) {
        face_box = [face_box[0].min(x), face_box[1].min(y), face_box[2].max(x), face_box[3].max(y)];
    }
    (drawn, face_box)
}

/// The neck, down to where clothes begin.
pub(crate) fn neck(canvas: &mut Canvas, identity: &PortraitIdentity, pose: &Pose) {
    let half = identity.head.neck;
    let tone = identity.skin.tone;
    let top = pose.place((0.0, 0.45));
    let base = pose.body((0.0, 2.6));
    let side = |sign: f32| {
        [
            (top.0 + sign * half * pose.unit, top.1),
            pose.body((sign * half * 0.96, 1.35)),
            pose.body((sign * half * 1.08, 1.62)),
            pose.body((sign * (half + 0.36), 1.92)),
            (base.0 + sign * (half + 0.4) * pose.unit, base.1),
        ]
    };
    let mut points = side(1.0).to_vec();
    points.extend(side(-1.0).iter().rev());
    canvas.fill(closed(&points).as_ref(), Ink::solid(tone.scaled(0.93)));
    // The chin throws a shadow on the neck.
    let chin = pose.rim((0.0, identity.head.chin + 0.10));
    let shadow = ellipse(chin, half * 1.05 * pose.unit, 0.34 * pose.unit, 0.0);
    canvas
        .fill(shadow.as_ref(), Ink::Radial(chin, 0.62 * pose.unit, (shade(tone), 0.75), (shade(tone), 0.0)));
}

/// Both ears; they are partly covered by the head that is drawn over them.
pub(crate) fn ears(canvas: &mut Canvas, identity: &PortraitIdentity, pose: &Pose) {
    let head = &identity.head;
    let tone = identity.skin.tone;
    for sign in [-1.0_f32, 1.0] {
        // The ear on the side towards which the head turns disappears behind the cheek.
        let turn = pose.turn() * sign;
        let out = head.cheek + head.ear_width * (0.45 - 1.6 * turn).clamp(-0.7, 1.0);
        let centre = pose.rim((sign * (out - 0.02), head.ear_height + 0.02));
        let lean = pose.tilt() + sign * 0.12;
        let (half_width, half_height) = (head.ear_width * pose.unit, head.ear_size * pose.unit);
        let outer = ellipse(centre, half_width, half_height, lean);
        canvas.fill(outer.as_ref(), Ink::solid(tone.scaled(0.95)));
        canvas.stroke(outer.as_ref(), 0.018 * pose.unit, Ink::Flat(shade(tone), 0.8));
        let inner = ellipse(centre, half_width * 0.5, half_height * 0.6, lean);
        canvas.fill(inner.as_ref(), Ink::Flat(shade(tone), 0.55));
    }
}

/// The face itself and everything that lies flat on the skin below eyes, nose and mouth.
pub(crate) fn face(
    canvas: &mut Canvas,
    identity: &PortraitIdentity,
    nuisance: &Nuisance,
    pose: &Pose,
    shape: Option<&Path>,
    mask: Option<&Mask>,
) {
    let (tone, skin, unit) = (identity.skin.tone, &identity.skin, pose.unit);
    canvas.fill(shape, Ink::solid(tone));
    // Round shading: the sides of a head fall away from the viewer.
    let middle = pose.at((0.0, 0.1));
    canvas.fill(shape, Ink::Radial(middle, 1.65 * unit, (tone.lighter(0.25), 0.35), (shade(tone), 0.62)));
    canvas.stroke(shape, 0.022 * unit, Ink::Flat(shade(tone).scaled(0.75), 0.7));
    for sign in [-1.0, 1.0] {
        let cheek = pose.at((sign * 0.52, 0.42 - 0.05 * nuisance.smile));
        let red = tone.mix(Rgb::hex(0xe0465a), 0.5);
        canvas.fill_within(
            ellipse(cheek, 0.30 * unit, 0.24 * unit, 0.0).as_ref(),
            Ink::Radial(cheek, 0.28 * unit, (red, skin.blush), (red, 0.0)),
            mask,
        );
        let hollow =
            open(&[pose.at((sign * 0.80, 0.36)), pose.at((sign * 0.62, 0.60)), pose.at((sign * 0.50, 0.74))]);
        canvas.stroke_within(
            hollow.as_ref(),
            0.10 * unit,
            Ink::Flat(shade(tone), 0.28 * skin.cheekbones),
            mask,
        );
    }
    let spot_colour = shade(tone).mix(Rgb::hex(0x7a4322), 0.4);
    for &(x, y, radius) in &skin.freckles {
        let dot = ellipse(pose.at((x, y)), radius * unit, radius * unit, 0.0);
        canvas.fill_within(dot.as_ref(), Ink::Flat(spot_colour, 0.55), mask);
    }
    for &(x, y, radius) in &skin.moles {
        let dot = ellipse(pose.at((x, y)), radius * unit, radius * unit, 0.0);
        canvas.fill_within(dot.as_ref(), Ink::Flat(shade(tone).scaled(0.45), 0.95), mask);
    }
    creases(canvas, identity, nuisance, pose);
    beard(canvas, identity, nuisance, pose, mask);
}

/// Light from one side: a bright and a dark half over skin and features.
pub(crate) fn light(canvas: &mut Canvas, nuisance: &Nuisance, pose: &Pose, shape: Option<&Path>) {
    let (sin, cos) = nuisance.light_angle.sin_cos();
    let reach = 1.15 * pose.unit;
    let middle = pose.at((0.0, 0.2));
    let from = (middle.0 + cos * reach, middle.1 + sin * reach);
    let to = (middle.0 - cos * reach, middle.1 - sin * reach);
    let strength = nuisance.light_strength;
    let (bright, dark) = (Rgb::new(1.0, 0.97, 0.9), Rgb::new(0.16, 0.08, 0.10));
    canvas.fill(shape, Ink::Linear(from, middle, (bright, 0.20 * strength), (bright, 0.0)));
    canvas.fill(shape, Ink::Linear(middle, to, (dark, 0.0), (dark, 0.36 * strength)));
}

fn creases(canvas: &mut Canvas, identity: &PortraitIdentity, nuisance: &Nuisance, pose: &Pose) {
    let (tone, depth) = (identity.skin.tone, identity.skin.creases);
    let mouth = identity.mouth_height();
    let smile = nuisance.smile.max(0.0);
    for sign in [-1.0, 1.0] {
        let fold = open(&[
            pose.at((sign * (identity.nose.width + 0.06), identity.nose.length - 0.04)),
            pose.at((
                sign * (identity.nose.width + 0.17 + 0.04 * smile),
                (identity.nose.length + mouth) / 2.0,
            )),
            pose.at((sign * (identity.mouth.width + 0.10 + 0.05 * smile), mouth - 0.02)),
        ]);
        let ink = Ink::Flat(shade(tone).scaled(0.9), (0.15 + 0.55 * depth) * (0.3 + 0.7 * smile.max(depth)));
        canvas.stroke(fold.as_ref(), 0.024 * pose.unit, ink);
    }
    if depth > 0.35 {
        for (row, height) in [-0.62_f32, -0.52].into_iter().enumerate() {
            let lift = -0.03 * nuisance.brow_raise;
            let half = 0.34 - 0.05 * row as f32;
            let line = open(&[
                pose.at((-half, height + 0.02 + lift)),
                pose.at((0.0, height + lift)),
                pose.at((half, height + 0.02 + lift)),
            ]);
            canvas.stroke(line.as_ref(), 0.018 * pose.unit, Ink::Flat(shade(tone), 0.6 * depth));
        }
    }
}

fn beard(
    canvas: &mut Canvas,
    identity: &PortraitIdentity,
    nuisance: &Nuisance,
    pose: &Pose,
    mask: Option<&Mask>,
) {
    let (skin, head, nose) = (&identity.skin, &identity.head, &identity.nose);
    let mouth = identity.mouth_height();
    let wide = identity.mouth.width * (1.0 + 0.16 * nuisance.smile);
    let colour = skin.beard_colour;
    let ink = match skin.beard {
        Beard::None => return,
        Beard::Stubble => Ink::Flat(colour, 0.16 + 0.20 * skin.beard_density),
        _ => Ink::Flat(colour, 0.80 + 0.2 * skin.beard_density),
    };
    let drop = jaw_drop(nuisance);
    if matches!(skin.beard, Beard::Full | Beard::Stubble) {
        // The lower half of the outline, then back along the cheek line and around the mouth.
        let line = 0.35 + 0.30 * skin.beard_line;
        let mut points: Vec<Spot> = Vec::new();
        for (x, y) in outline(head, drop) {
            if y > 0.0 {
                points.push(pose.rim((x * 1.04, y + 0.04)));
            }
        }
        for (x, y) in [(-0.86, 0.22), (-0.66, line), (-0.42, line + 0.20), (-0.28, nose.length + 0.10)] {
            points.push(pose.at((x * head.cheek, y)));
        }
        points.push(pose.at((0.0, nose.length + 0.09)));
        for (x, y) in [(0.28, nose.length + 0.10), (0.42, line + 0.20), (0.66, line), (0.86, 0.22)] {
            points.push(pose.at((x * head.cheek, y)));
        }
        canvas.fill_within(closed(&points).as_ref(), ink, mask);
    }
    if matches!(skin.beard, Beard::Moustache | Beard::Goatee) {
        let (top, half) = (nose.length + 0.075, wide + 0.02 + 0.10 * skin.moustache);
        let tip = mouth + 0.02 + 0.12 * (skin.moustache - 0.3);
        let shape = closed(&[
            pose.at((0.0, top + 0.02)),
            pose.at((half * 0.55, top + 0.03)),
            pose.at((half, tip)),
            pose.at((half * 0.55, mouth - identity.mouth.upper * 0.4)),
            pose.at((0.0, mouth - identity.mouth.upper * 0.7)),
            pose.at((-half * 0.55, mouth - identity.mouth.upper * 0.4)),
            pose.at((-half, tip)),
            pose.at((-half * 0.55, top + 0.03)),
        ]);
        canvas.fill_within(shape.as_ref(), ink, mask);
    }
    if skin.beard == Beard::Goatee {
        let half = (0.16 + 0.22 * skin.beard_line).min(head.chin_width + 0.12);
        let top = mouth + identity.mouth.lower + 0.03 + drop * 0.7;
        let shape = closed(&[
            pose.at((0.0, top)),
            pose.at((half, top + 0.06)),
            pose.rim((half * 0.9, head.chin + drop - 0.04)),
            pose.rim((0.0, head.chin + drop + 0.05)),
            pose.rim((-half * 0.9, head.chin + drop - 0.04)),
            pose.at((-half, top + 0.06)),
        ]);
        canvas.fill_within(shape.as_ref(), ink, mask);
    }
}

/// How far the chin sinks when the mouth opens, in face units.
pub(crate) fn jaw_drop(nuisance: &Nuisance) -> f32 {
    0.11 * nuisance.mouth_open
}

/// The colour of skin in shadow: darker and redder.
pub(crate) fn shade(tone: Rgb) -> Rgb {
    Rgb::new(tone.r * 0.72, tone.g * 0.60, tone.b * 0.56)
}
