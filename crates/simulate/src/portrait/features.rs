//! Eyes, brows, nose and mouth, and the five landmarks that belong to them.

use super::canvas::{Canvas, Ink, Spot, closed, ellipse, open, tapered};
use super::colour::Rgb;
use super::head::{jaw_drop, shade};
use super::identity::PortraitIdentity;
use super::nuisance::Nuisance;
use super::pose::Pose;
use tiny_skia::Mask;

/// Centre of an eye in face units; `sign` is -1 for the image-left one.
fn eye_centre(identity: &PortraitIdentity, sign: f32) -> Spot {
    (sign * identity.eyes.spacing, sign * identity.eyes.uneven)
}

/// Height of a mouth corner and half the mouth's width under this expression, face units.
fn mouth_corner(identity: &PortraitIdentity, nuisance: &Nuisance, sign: f32) -> Spot {
    let mouth = &identity.mouth;
    let width = mouth.width * (1.0 + 0.20 * nuisance.smile) * (1.0 - 0.08 * nuisance.mouth_open);
    let lift = mouth.corners + 0.085 * nuisance.smile;
    (mouth.skew + sign * width, identity.mouth_height() - lift + 0.25 * jaw_drop(nuisance))
}

/// Image-left eye, image-right eye, tip of the nose, left and right corner of the mouth, in pixels.
pub(crate) fn landmarks(identity: &PortraitIdentity, nuisance: &Nuisance, pose: &Pose) -> [[f32; 2]; 5] {
    let spots = [
        pose.at(eye_centre(identity, -1.0)),
        pose.at(eye_centre(identity, 1.0)),
        nose_tip(identity, pose),
        pose.at(mouth_corner(identity, nuisance, -1.0)),
        pose.at(mouth_corner(identity, nuisance, 1.0)),
    ];
    spots.map(|(x, y)| [x, y])
}

fn nose_tip(identity: &PortraitIdentity, pose: &Pose) -> Spot {
    let nose = &identity.nose;
    pose.raised((nose.skew, nose.length - 0.05 + nose.droop), nose.height)
}

/// Both eyes.
pub(crate) fn eyes(canvas: &mut Canvas, identity: &PortraitIdentity, nuisance: &Nuisance, pose: &Pose) {
    for sign in [-1.0, 1.0] {
        eye(canvas, identity, nuisance, pose, sign);
    }
}

fn eye(canvas: &mut Canvas, identity: &PortraitIdentity, nuisance: &Nuisance, pose: &Pose, sign: f32) {
    let (eyes, unit, tone) = (&identity.eyes, pose.unit, identity.skin.tone);
    let (cx, cy) = eye_centre(identity, sign);
    let openness = nuisance.eye_open * (1.0 - 0.16 * nuisance.smile.max(0.0));
    let height = eyes.height * openness;
    // Along the eye: -1 is the corner at the nose, 1 the outer one.
    let spot = |along: f32, up: f32| {
        let lean = -eyes.tilt * along * eyes.width;
        pose.at((cx + sign * along * eyes.width, cy + lean - up))
    };
    let peak = eyes.peak;
    let upper = [
        spot(-1.0, -0.01),
        spot(-0.55 + 0.2 * peak, height * 0.82),
        spot(peak * 0.6, height * 1.12),
        spot(0.55 + 0.2 * peak, height * 0.86),
        spot(1.0, 0.0),
    ];
    let lower = [spot(0.5, -height * 0.66), spot(0.0, -height * 0.86), spot(-0.55, -height * 0.62)];
    let mut rim = upper.to_vec();
    rim.extend(lower);
    let white = closed(&rim);

    // Make-up or deep sockets: a soft tint above the eye.
    let lid = pose.at((cx, cy - height - 0.03));
    let tint = shade(tone).mix(Rgb::hex(0x5a3a4a), 0.35);
    canvas.fill(
        ellipse(lid, eyes.width * 1.25 * unit, (height + 0.07) * unit, pose.tilt()).as_ref(),
        Ink::Radial(lid, eyes.width * 1.3 * unit, (tint, 0.55 * eyes.shadow), (tint, 0.0)),
    );
    let bag = open(&[spot(-0.7, -height - 0.035), spot(0.0, -height - 0.075), spot(0.75, -height - 0.03)]);
    canvas.stroke(bag.as_ref(), 0.024 * unit, Ink::Flat(shade(tone), 0.55 * eyes.bags));

    canvas.fill(white.as_ref(), Ink::solid(Rgb::hex(0xf7f4f0)));
    let mask = canvas.mask(white.as_ref());
    iris(canvas, identity, nuisance, pose, (cx, cy + eyes.height * 0.06), height, mask.as_ref());
    // Shadow of the lid on the eyeball.
    let lid_line = open(&upper);
    canvas.stroke_within(lid_line.as_ref(), 0.065 * unit, Ink::Flat(Rgb::hex(0x2a2030), 0.25), mask.as_ref());
    let lash = Rgb::hex(0x1d1513);
    canvas.stroke(lid_line.as_ref(), (0.020 + 0.030 * eyes.lashes) * unit, Ink::solid(lash));
    if eyes.lashes > 0.45 {
        let flick = tapered(&[
            (spot(0.78, height * 0.45), 0.018 * unit),
            (spot(1.05, 0.01), 0.016 * unit),
            (spot(1.22, 0.02 + 0.06 * eyes.lashes), 0.004 * unit),
        ]);
        canvas.fill(flick.as_ref(), Ink::solid(lash));
    }
    let lower_line = open(&[spot(1.0, 0.0), lower[0], lower[1], lower[2], spot(-1.0, -0.01)]);
    canvas.stroke(lower_line.as_ref(), 0.012 * unit, Ink::Flat(shade(tone).scaled(0.6), 0.8));
    if eyes.fold > 0.25 {
        let gap = 0.030 + 0.030 * eyes.fold;
        let crease = open(&[
            spot(-0.8, height * 0.62 + gap),
            spot(peak * 0.6, height * 1.15 + gap),
            spot(0.95, height * 0.5 + gap),
        ]);
        canvas.stroke(
            crease.as_ref(),
            0.018 * unit,
            Ink::Flat(shade(tone).scaled(0.8), 0.25 + 0.6 * eyes.fold),
        );
    }
}

fn iris(
    canvas: &mut Canvas,
    identity: &PortraitIdentity,
    nuisance: &Nuisance,
    pose: &Pose,
    centre: Spot,
    height: f32,
    mask: Option<&Mask>,
) {
    let (eyes, unit) = (&identity.eyes, pose.unit);
    let centre = pose.at((
        centre.0 + nuisance.gaze.0 * eyes.width * 0.32,
        centre.1 - height * 0.05 + nuisance.gaze.1 * height * 0.3,
    ));
    let radius = eyes.iris_size * unit;
    let disc = |share: f32, at: Spot| ellipse(at, radius * share, radius * share, 0.0);
    canvas.fill_within(disc(1.0, centre).as_ref(), Ink::solid(eyes.iris.scaled(0.55)), mask);
    canvas.fill_within(
        disc(0.86, centre).as_ref(),
        Ink::Radial(centre, radius, (eyes.iris.lighter(0.22), 1.0), (eyes.iris, 1.0)),
        mask,
    );
    canvas.fill_within(disc(0.46, centre).as_ref(), Ink::solid(Rgb::hex(0x0d0a0a)), mask);
    let glint = (centre.0 - 0.34 * radius, centre.1 - 0.36 * radius);
    canvas.fill_within(disc(0.24, glint).as_ref(), Ink::Flat(Rgb::hex(0xffffff), 0.92), mask);
}

/// Both eyebrows.
pub(crate) fn brows(canvas: &mut Canvas, identity: &PortraitIdentity, nuisance: &Nuisance, pose: &Pose) {
    let brows = &identity.brows;
    for sign in [-1.0, 1.0] {
        let (cx, _) = eye_centre(identity, sign);
        let base = -brows.height - 0.055 * nuisance.brow_raise + sign * brows.uneven;
        let inner = cx.abs() - brows.length - brows.inner * 0.5;
        let frown = 0.04 * (-nuisance.brow_raise).max(0.0);
        let spot = |along: f32| {
            let x = inner + along * 2.0 * brows.length;
            let arch = brows.arch * (1.0 - (along * 2.0 - 1.15).powi(2)).max(-0.6);
            let y = base - arch - brows.slope * (along - 0.5) + frown * (1.0 - along);
            pose.at((sign * x, y))
        };
        let thick = |along: f32| {
            let fade = 1.0 - brows.taper * along.powi(2);
            brows.thickness * fade * if along < 0.1 { 0.75 } else { 1.0 } * pose.unit
        };
        let line: Vec<(Spot, f32)> =
            [0.0, 0.15, 0.4, 0.65, 0.85, 1.0].iter().map(|&along| (spot(along), thick(along))).collect();
        canvas.fill(tapered(&line).as_ref(), Ink::Flat(brows.colour, 0.95));
    }
}

/// The nose: a shaded flank, the wings, the nostrils and a highlight on the tip.
pub(crate) fn nose(canvas: &mut Canvas, identity: &PortraitIdentity, nuisance: &Nuisance, pose: &Pose) {
    let (nose, unit, tone) = (&identity.nose, pose.unit, identity.skin.tone);
    let dark = shade(tone);
    let base = nose.length;
    let tip = nose_tip(identity, pose);
    // The flank away from the light lies in shadow.
    let side = if nuisance.light_angle.cos() > 0.0 { -1.0 } else { 1.0 };
    let bridge =
        |x: f32, y: f32, height: f32| pose.raised((x + nose.skew * y / base, y), height * nose.height);
    let flank = closed(&[
        bridge(side * nose.bridge * 0.55, -0.12, 0.15),
        bridge(side * nose.bridge * 0.45, base * 0.45, 0.7),
        bridge(side * nose.tip * 0.55, base - 0.09, 0.95),
        bridge(side * nose.width * 0.98, base - 0.02, 0.25),
        bridge(side * (nose.bridge + 0.055), base * 0.45, 0.15),
        bridge(side * (nose.bridge + 0.06), -0.02, 0.0),
    ]);
    canvas.fill(flank.as_ref(), Ink::Flat(dark, 0.26 + 0.26 * nuisance.light_strength));
    // Underside, wings and nostrils.
    let under = closed(&[
        bridge(-nose.width, base - 0.03, 0.2),
        bridge(-nose.tip * 0.7, base + 0.005, 0.6),
        (tip.0, tip.1 + (nose.tip * 0.55) * unit),
        bridge(nose.tip * 0.7, base + 0.005, 0.6),
        bridge(nose.width, base - 0.03, 0.2),
        bridge(nose.width * 0.5, base + 0.06, 0.2),
        bridge(0.0, base + 0.075 + nose.droop * 0.5, 0.3),
        bridge(-nose.width * 0.5, base + 0.06, 0.2),
    ]);
    canvas.fill(under.as_ref(), Ink::Flat(dark, 0.55));
    for sign in [-1.0, 1.0] {
        let wing = open(&[
            bridge(sign * (nose.width - 0.015), base - 0.03 - nose.wing, 0.2),
            bridge(sign * (nose.width + 0.012), base - 0.02, 0.15),
            bridge(sign * nose.width * 0.78, base + 0.045, 0.2),
        ]);
        canvas.stroke(wing.as_ref(), 0.024 * unit, Ink::Flat(dark.scaled(0.72), 0.85));
        let hole = bridge(sign * nose.width * 0.48, base + 0.022 - nose.droop * 0.2, 0.45);
        canvas.fill(
            ellipse(hole, nose.width * 0.24 * unit, 0.022 * unit, pose.tilt() - sign * 0.25).as_ref(),
            Ink::Flat(dark.scaled(0.38), 0.85),
        );
    }
    let shine = (tip.0, tip.1 - 0.02 * unit);
    canvas.fill(
        ellipse(shine, nose.tip * unit, nose.tip * 0.85 * unit, 0.0).as_ref(),
        Ink::Radial(shine, nose.tip * unit, (tone.lighter(0.55), 0.55), (tone.lighter(0.4), 0.0)),
    );
}

/// The mouth: lips around a line, or around teeth when it is open.
pub(crate) fn mouth(canvas: &mut Canvas, identity: &PortraitIdentity, nuisance: &Nuisance, pose: &Pose) {
    let (mouth, unit) = (&identity.mouth, pose.unit);
    let left = mouth_corner(identity, nuisance, -1.0);
    let right = mouth_corner(identity, nuisance, 1.0);
    let half = (right.0 - left.0) / 2.0;
    let centre = (mouth.skew, identity.mouth_height());
    let corner = left.1 - centre.1;
    let gap = 0.19 * nuisance.mouth_open * (mouth.width / 0.28);
    // A curve through both corners: `lift` above the centre line at the middle.
    let at = |along: f32, offset: f32| {
        let bend = corner * along * along;
        pose.at((centre.0 + along * half, centre.1 + bend + offset))
    };
    // A smile stretches the lips thinner and sinks the middle.
    let thin = 1.0 - 0.22 * nuisance.smile.max(0.0);
    let sag = 0.030 * nuisance.smile.max(0.0);
    let (top, bottom) = (sag - gap * 0.25, sag + gap * 0.75);
    let upper_lip = closed(&[
        at(-1.0, 0.0),
        at(-0.55, top * 0.7 - mouth.upper * 0.72 * thin),
        at(-0.20, top - mouth.upper * thin - mouth.bow * 0.4),
        at(0.0, top - mouth.upper * thin + mouth.bow),
        at(0.20, top - mouth.upper * thin - mouth.bow * 0.4),
        at(0.55, top * 0.7 - mouth.upper * 0.72 * thin),
        at(1.0, 0.0),
        at(0.5, top + 0.008),
        at(0.0, top + 0.012),
        at(-0.5, top + 0.008),
    ]);
    let lower_lip = closed(&[
        at(-1.0, 0.0),
        at(-0.5, bottom * 0.85),
        at(0.0, bottom),
        at(0.5, bottom * 0.85),
        at(1.0, 0.0),
        at(0.55, bottom * 0.85 + mouth.lower * 0.74 * thin),
        at(0.0, bottom + mouth.lower * thin),
        at(-0.55, bottom * 0.85 + mouth.lower * 0.74 * thin),
    ]);
    if gap > 0.012 {
        let hollow = closed(&[
            at(-0.96, 0.0),
            at(-0.5, top),
            at(0.0, top),
            at(0.5, top),
            at(0.96, 0.0),
            at(0.5, bottom * 0.88 + 0.015),
            at(0.0, bottom + 0.02),
            at(-0.5, bottom * 0.88 + 0.015),
        ]);
        canvas.fill(hollow.as_ref(), Ink::solid(Rgb::hex(0x4a1a20)));
        let inside = canvas.mask(hollow.as_ref());
        let tongue = ellipse(at(0.0, bottom), half * 0.55 * unit, gap * 0.42 * unit, pose.tilt());
        canvas.fill_within(tongue.as_ref(), Ink::solid(Rgb::hex(0xc05a62)), inside.as_ref());
        let edge = top + gap * 0.42;
        let teeth = closed(&[
            at(-0.98, -0.02),
            at(0.0, top - 0.03),
            at(0.98, -0.02),
            at(0.6, edge * 0.85),
            at(0.0, edge),
            at(-0.6, edge * 0.85),
        ]);
        canvas.fill_within(teeth.as_ref(), Ink::solid(Rgb::hex(0xf6f1ea)), inside.as_ref());
    }
    canvas.fill(upper_lip.as_ref(), Ink::solid(mouth.colour.scaled(0.88)));
    canvas.fill(lower_lip.as_ref(), Ink::solid(mouth.colour));
    let shine = at(0.0, bottom + mouth.lower * 0.45 * thin);
    canvas.fill(
        ellipse(shine, half * 0.42 * unit, mouth.lower * 0.22 * unit, pose.tilt()).as_ref(),
        Ink::Flat(mouth.colour.lighter(0.6), 0.35),
    );
    let line = Ink::Flat(mouth.colour.scaled(0.42), 0.9);
    if gap <= 0.012 {
        let seam = open(&[
            at(-1.0, 0.0),
            at(-0.5, top + 0.006),
            at(0.0, top + 0.01),
            at(0.5, top + 0.006),
            at(1.0, 0.0),
        ]);
        canvas.stroke(seam.as_ref(), 0.020 * unit, line);
    }
    for spot in [at(-1.0, 0.0), at(1.0, 0.0)] {
        canvas.fill(ellipse(spot, 0.018 * unit, 0.014 * unit, 0.0).as_ref(), line);
    }
    // The hollow under the lower lip.
    let dip = at(0.0, bottom + mouth.lower * thin + 0.045);
    canvas.fill(
        ellipse(dip, half * 0.45 * unit, 0.026 * unit, pose.tilt()).as_ref(),
        Ink::Flat(shade(identity.skin.tone), 0.32),
    );
}
