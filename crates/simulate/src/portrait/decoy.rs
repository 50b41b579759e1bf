//! Things without a face that a careless detector takes for one: skin-coloured ovals, balls, cups, flowers,
//! lamps, sockets, people from behind.

use super::attire;
use super::background::{any_colour, plant};
use super::canvas::{Canvas, Ink, Spot, closed, ellipse, open, polygon};
use super::colour::Rgb;
use super::head;
use super::identity::PortraitIdentity;
use super::nuisance::{Framing, Nuisance};
use super::pose::Pose;
use super::stream::Stream;

/// Draws one decoy of about `size` pixels at `centre`.
pub(crate) fn draw(canvas: &mut Canvas, s: &mut Stream, centre: Spot, size: f32) {
    match s.below(10) {
        0 => oval(canvas, s, centre, size),
        1 => ball(canvas, s, centre, size),
        2 => cup(canvas, s, centre, size),
        3 => flower(canvas, s, centre, size),
        4 => lamp(canvas, s, centre, size),
        5 => button(canvas, s, centre, size),
        6 => plant(canvas, s, (centre.0, centre.1 + size * 0.5), size),
        7 => bottle(canvas, s, centre, size),
        8 => clock(canvas, s, centre, size),
        _ => from_behind(canvas, s, centre, size),
    }
}

fn skin(s: &mut Stream) -> Rgb {
    PortraitIdentity::from_seed(s.word()).skin.tone
}

fn oval(canvas: &mut Canvas, s: &mut Stream, centre: Spot, size: f32) {
    let tone = skin(s);
    let shape =
        ellipse(centre, size * s.between(0.32, 0.45), size * s.between(0.42, 0.56), s.between(-0.4, 0.4));
    canvas.fill(
        shape.as_ref(),
        Ink::Radial(centre, size * 0.6, (tone.lighter(0.15), 1.0), (tone.scaled(0.7), 1.0)),
    );
    canvas.stroke(shape.as_ref(), size * 0.012, Ink::Flat(tone.scaled(0.5), 0.6));
    if s.chance(0.4) {
        let cap = ellipse((centre.0, centre.1 - size * 0.36), size * 0.42, size * 0.26, s.between(-0.2, 0.2));
        canvas.fill(cap.as_ref(), Ink::solid(any_colour(s).scaled(0.5)));
    }
    if s.chance(0.5) {
        // Spots in no order of a face.
        for _ in 0..s.below(4) + 1 {
            let spot = (centre.0 + size * s.between(-0.22, 0.22), centre.1 + size * s.between(0.05, 0.35));
            canvas.fill(
                ellipse(spot, size * 0.03, size * 0.03, 0.0).as_ref(),
                Ink::Flat(tone.scaled(0.4), 0.8),
            );
        }
    }
}

fn ball(canvas: &mut Canvas, s: &mut Stream, centre: Spot, size: f32) {
    let colour = any_colour(s);
    let glow = (centre.0 - size * 0.15, centre.1 - size * 0.18);
    let shape = ellipse(centre, size * 0.45, size * 0.45, 0.0);
    canvas.fill(
        shape.as_ref(),
        Ink::Radial(glow, size * 0.65, (colour.lighter(0.4), 1.0), (colour.scaled(0.55), 1.0)),
    );
    if s.chance(0.5) {
        let seam = open(&[
            (centre.0 - size * 0.40, centre.1 - size * 0.2),
            (centre.0, centre.1 + size * s.between(-0.3, 0.3)),
            (centre.0 + size * 0.40, centre.1 - size * 0.2),
        ]);
        canvas.stroke(seam.as_ref(), size * 0.02, Ink::Flat(colour.scaled(0.3), 0.9));
    }
}

fn cup(canvas: &mut Canvas, s: &mut Stream, centre: Spot, size: f32) {
    let colour = any_colour(s);
    let (x, y) = centre;
    let handle = ellipse((x + size * 0.34, y), size * 0.16, size * 0.18, 0.0);
    canvas.stroke(handle.as_ref(), size * 0.06, Ink::solid(colour.scaled(0.8)));
    let body = polygon(&[
        (x - size * 0.34, y - size * 0.4),
        (x + size * 0.34, y - size * 0.4),
        (x + size * 0.26, y + size * 0.4),
        (x - size * 0.26, y + size * 0.4),
    ]);
    canvas.fill(
        body.as_ref(),
        Ink::Linear(
            (x - size * 0.3, y),
            (x + size * 0.3, y),
            (colour.lighter(0.2), 1.0),
            (colour.scaled(0.7), 1.0),
        ),
    );
    let brim = ellipse((x, y - size * 0.4), size * 0.34, size * 0.09, 0.0);
    canvas.fill(brim.as_ref(), Ink::solid(Rgb::hex(0x4a2c18)));
    canvas.stroke(brim.as_ref(), size * 0.02, Ink::solid(colour));
}

fn flower(canvas: &mut Canvas, s: &mut Stream, centre: Spot, size: f32) {
    let colour = Rgb::hsv(s.unit(), s.between(0.4, 0.8), s.between(0.7, 1.0));
    let stem = open(&[centre, (centre.0 + size * s.between(-0.1, 0.1), centre.1 + size * 0.9)]);
    canvas.stroke(stem.as_ref(), size * 0.04, Ink::solid(Rgb::hex(0x4c8040)));
    let petals = s.below(4) + 5;
    for petal in 0..petals {
        let angle = petal as f32 * std::f32::consts::TAU / petals as f32;
        let at = (centre.0 + angle.cos() * size * 0.26, centre.1 + angle.sin() * size * 0.26);
        canvas.fill(ellipse(at, size * 0.19, size * 0.11, angle).as_ref(), Ink::solid(colour));
    }
    canvas.fill(ellipse(centre, size * 0.14, size * 0.14, 0.0).as_ref(), Ink::solid(Rgb::hex(0xe8b93a)));
}

fn lamp(canvas: &mut Canvas, s: &mut Stream, centre: Spot, size: f32) {
    let (x, y) = centre;
    canvas.block((x - size * 0.03, y), (x + size * 0.03, y + size * 0.7), Ink::solid(Rgb::hex(0x4a4440)));
    let shade = polygon(&[
        (x - size * 0.2, y - size * 0.4),
        (x + size * 0.2, y - size * 0.4),
        (x + size * 0.4, y + size * 0.1),
        (x - size * 0.4, y + size * 0.1),
    ]);
    let warm = any_colour(s).lighter(0.5);
    canvas.fill(shade.as_ref(), Ink::Radial(centre, size * 0.6, (warm.lighter(0.6), 1.0), (warm, 1.0)));
}

fn button(canvas: &mut Canvas, s: &mut Stream, centre: Spot, size: f32) {
    let colour = any_colour(s);
    canvas.fill(ellipse(centre, size * 0.4, size * 0.4, 0.0).as_ref(), Ink::solid(colour));
    canvas.stroke(
        ellipse(centre, size * 0.32, size * 0.32, 0.0).as_ref(),
        size * 0.03,
        Ink::solid(colour.scaled(0.7)),
    );
    for (dx, dy) in [(-0.1, -0.1), (0.1, -0.1), (-0.1, 0.1), (0.1, 0.1)] {
        let hole = (centre.0 + dx * size, centre.1 + dy * size);
        canvas.fill(ellipse(hole, size * 0.045, size * 0.045, 0.0).as_ref(), Ink::solid(colour.scaled(0.3)));
    }
}

fn bottle(canvas: &mut Canvas, s: &mut Stream, centre: Spot, size: f32) {
    let colour = any_colour(s).scaled(0.8);
    let (x, y) = centre;
    let body = closed(&[
        (x - size * 0.07, y - size * 0.6),
        (x + size * 0.07, y - size * 0.6),
        (x + size * 0.09, y - size * 0.2),
        (x + size * 0.22, y),
        (x + size * 0.22, y + size * 0.55),
        (x - size * 0.22, y + size * 0.55),
        (x - size * 0.22, y),
        (x - size * 0.09, y - size * 0.2),
    ]);
    canvas.fill(
        body.as_ref(),
        Ink::Linear((x - size * 0.2, y), (x + size * 0.2, y), (colour.lighter(0.3), 0.95), (colour, 0.95)),
    );
    let label = any_colour(s).lighter(0.4);
    canvas.block((x - size * 0.2, y + size * 0.1), (x + size * 0.2, y + size * 0.4), Ink::solid(label));
}

fn clock(canvas: &mut Canvas, s: &mut Stream, centre: Spot, size: f32) {
    let rim = any_colour(s).scaled(0.6);
    let dial = ellipse(centre, size * 0.42, size * 0.42, 0.0);
    canvas.fill(dial.as_ref(), Ink::solid(Rgb::hex(0xf4f1e8)));
    canvas.stroke(dial.as_ref(), size * 0.06, Ink::solid(rim));
    for hour in 0..12 {
        let (sin, cos) = (hour as f32 * std::f32::consts::TAU / 12.0).sin_cos();
        let mark = (centre.0 + cos * size * 0.33, centre.1 + sin * size * 0.33);
        canvas.fill(ellipse(mark, size * 0.018, size * 0.018, 0.0).as_ref(), Ink::solid(Rgb::hex(0x222222)));
    }
    for length in [0.18, 0.28] {
        let (sin, cos) = s.between(0.0, std::f32::consts::TAU).sin_cos();
        let hand = open(&[centre, (centre.0 + cos * size * length, centre.1 + sin * size * length)]);
        canvas.stroke(hand.as_ref(), size * 0.025, Ink::solid(Rgb::hex(0x222222)));
    }
}

/// A person seen from behind: hair where the face would be.
fn from_behind(canvas: &mut Canvas, s: &mut Stream, centre: Spot, size: f32) {
    let identity = PortraitIdentity::from_seed(s.word());
    let nuisance = Nuisance::framed(s.word(), Framing::Wide);
    let pose = Pose::new(centre, size * 0.42, 0.0, 0.0, nuisance.roll);
    head::neck(canvas, &identity, &pose);
    attire::clothes(canvas, &identity, &nuisance, &pose);
    head::ears(canvas, &identity, &pose);
    let (outline, _) = head::drawn_outline(&identity, &pose, -0.2);
    let shape = closed(&outline);
    let colour = identity.hair.colour;
    let (from, to) = (pose.rim((0.0, -1.2)), pose.rim((0.0, 1.2)));
    canvas.fill(shape.as_ref(), Ink::Linear(from, to, (colour.lighter(0.1), 1.0), (colour.scaled(0.7), 1.0)));
    for step in 0..7 {
        let x = -0.6 + 0.2 * step as f32;
        let strand = open(&[pose.rim((x * 0.3, -1.0)), pose.rim((x, -0.1)), pose.rim((x * 0.9, 0.9))]);
        canvas.stroke(strand.as_ref(), size * 0.012, Ink::Flat(colour.scaled(0.55), 0.5));
    }
}
