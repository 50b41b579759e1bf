//! Hair: a layer behind the head and a cap in front of it, shaped by style, hairline, volume and length.

use super::canvas::{Canvas, Ink, Spot, closed, ellipse, open};
use super::colour::Rgb;
use super::head::TEMPLE;
use super::identity::{Hair, HairStyle, PortraitIdentity};
use super::pose::Pose;
use super::stream::Stream;

/// A point on the outer edge of the hair: degrees from the right (0) over the crown (90) to the left (180).
fn outer(identity: &PortraitIdentity, degrees: f32, top: f32, sides: f32) -> Spot {
    let (sin, cos) = degrees.to_radians().sin_cos();
    let (head, grow) = (&identity.head, sin.max(0.0));
    let rx = head.forehead.max(head.cheek * (1.0 - grow)) + sides + 0.01;
    (cos * rx, TEMPLE - sin * (head.skull + TEMPLE + top) - 0.02 * grow)
}

/// What lies behind the head: long hair, a bun, an afro.
pub(crate) fn back(canvas: &mut Canvas, identity: &PortraitIdentity, pose: &Pose) {
    let hair = &identity.hair;
    let dark = Ink::solid(hair.colour.scaled(0.72));
    match hair.style {
        HairStyle::Bob => fall(canvas, identity, pose, 0.75 + 0.55 * hair.length, 0.06),
        HairStyle::LongFringe | HairStyle::LongStraight => {
            fall(canvas, identity, pose, 1.55 + 0.9 * hair.length, 0.10)
        }
        HairStyle::LongWavy => fall(canvas, identity, pose, 1.25 + 0.9 * hair.length, 0.26),
        HairStyle::Bun => {
            let centre = pose.rim((hair.part * 0.4, -identity.head.skull - 0.16 - hair.volume * 0.4));
            let radius = (0.26 + 0.16 * hair.length) * pose.unit;
            canvas.fill(ellipse(centre, radius * 1.1, radius, 0.0).as_ref(), dark);
            let swirl = (centre.0, centre.1 + radius * 0.15);
            let line = ellipse(swirl, radius * 0.62, radius * 0.5, 0.3);
            canvas.stroke(line.as_ref(), 0.03 * pose.unit, Ink::Flat(hair.colour, 1.0));
        }
        HairStyle::Afro => {
            let size = 0.34 + 0.42 * hair.volume / 0.26 * (0.5 + hair.length * 0.6);
            let edge: Vec<Spot> =
                (0..13).map(|step| outer(identity, 222.0 - step as f32 * 22.0, size, size * 0.85)).collect();
            puffs(canvas, hair, pose, &edge, 0.20, hair.colour.scaled(0.8));
            let shape: Vec<Spot> = edge.iter().map(|&spot| pose.rim(spot)).collect();
            canvas.fill(closed(&shape).as_ref(), Ink::solid(hair.colour.scaled(0.8)));
        }
        _ => {}
    }
}

/// Hair that hangs down behind the head to `length`, flaring by `flare`.
fn fall(canvas: &mut Canvas, identity: &PortraitIdentity, pose: &Pose, length: f32, flare: f32) {
    let hair = &identity.hair;
    let (top, sides) = (hair.volume * 0.8, hair.sides + 0.05);
    let wave = if hair.style == HairStyle::LongWavy { 0.05 + 0.06 * hair.wave } else { 0.012 * hair.wave };
    let width = identity.head.cheek + sides;
    let steps = 6;
    let strand = |sign: f32| {
        (1..=steps).map(move |step| {
            let share = step as f32 / steps as f32;
            let ripple = wave * if step % 2 == 0 { -1.0 } else { 1.0 };
            let y = TEMPLE + (length - TEMPLE) * share;
            (sign * (width + flare * share + ripple - 0.12 * share * share), y)
        })
    };
    let mut points: Vec<Spot> =
        [180.0, 150.0, 120.0, 90.0, 60.0, 30.0, 0.0].map(|angle| outer(identity, angle, top, sides)).to_vec();
    points.extend(strand(1.0));
    points.push((0.0, length + 0.05));
    points.extend(strand(-1.0).collect::<Vec<_>>().into_iter().rev());
    // Down to the shoulders hair follows the head, below it hangs from there.
    let drawn: Vec<Spot> = points.iter().map(|&(x, y)| pose.rim((x, y))).collect();
    let (from, to) = (pose.rim((0.0, -1.0)), pose.rim((0.0, length)));
    let (light, dark) = (hair.colour.scaled(0.84), hair.colour.scaled(0.58));
    canvas.fill(closed(&drawn).as_ref(), Ink::Linear(from, to, (light, 1.0), (dark, 1.0)));
}

/// What lies over the forehead and the temples.
pub(crate) fn front(canvas: &mut Canvas, identity: &PortraitIdentity, pose: &Pose) {
    let hair = &identity.hair;
    let (top, sides) = match hair.style {
        HairStyle::Bald => return,
        HairStyle::Buzz => (0.02, 0.005),
        HairStyle::Quiff => (hair.volume * 1.5 + 0.12, hair.sides * 0.4),
        HairStyle::Slick | HairStyle::Bun => (hair.volume * 0.45, 0.01),
        HairStyle::Receding => (hair.volume * 0.3, hair.sides * 0.5),
        HairStyle::Curly => (hair.volume + 0.10, hair.sides * 0.9),
        HairStyle::Afro => (hair.volume * 0.6, 0.02),
        HairStyle::Bowl => (hair.volume * 0.7, hair.sides + 0.05),
        _ => (hair.volume * 0.8, hair.sides + 0.03),
    };
    let long = hair.style.is_long() && hair.style != HairStyle::Bun;
    let bottom = if long { 0.45 } else { hair.sideburn };
    let crown: Vec<Spot> =
        (0..=12).map(|step| outer(identity, 180.0 - step as f32 * 15.0, top, sides)).collect();
    let edge = hairline(identity, bottom);
    let mut outline: Vec<Spot> = Vec::with_capacity(40);
    let wide = identity.head.cheek + sides * 0.7;
    outline.push(pose.rim((-wide, (TEMPLE + bottom) * 0.5)));
    outline.extend(crown.iter().map(|&spot| pose.rim(spot)));
    outline.push(pose.rim((wide, (TEMPLE + bottom) * 0.5)));
    outline.push(pose.rim((identity.head.cheek * 1.0 + sides * 0.4, bottom)));
    let reach = identity.head.forehead * 0.97;
    outline.extend(edge.iter().rev().map(|&spot| pose.within(spot, reach)));
    outline.push(pose.rim((-identity.head.cheek * 1.0 - sides * 0.4, bottom)));
    let shape = closed(&outline);

    let colour = hair.colour;
    if hair.style == HairStyle::Buzz {
        canvas.fill(shape.as_ref(), Ink::Flat(colour, 0.55 + 0.35 * hair.length));
        return;
    }
    // The hair throws a soft shadow on the forehead.
    let shadow: Vec<Spot> = edge.iter().map(|&spot| pose.within(spot, reach)).collect();
    canvas.stroke(open(&shadow).as_ref(), 0.085 * pose.unit, Ink::Flat(Rgb::hex(0x301810), 0.20));
    if matches!(hair.style, HairStyle::Curly | HairStyle::Afro) {
        let size = if hair.style == HairStyle::Afro { 0.10 } else { 0.13 + 0.05 * hair.wave };
        let rim: Vec<Spot> = crown[1..12].to_vec();
        puffs(canvas, hair, pose, &rim, size, colour.scaled(0.9));
    }
    let (from, to) = (pose.rim((0.0, -identity.head.skull - top)), pose.rim((0.0, bottom)));
    canvas
        .fill(shape.as_ref(), Ink::Linear(from, to, (colour.lighter(0.10), 1.0), (colour.scaled(0.80), 1.0)));
    if matches!(hair.style, HairStyle::Curly | HairStyle::Afro) {
        curls(canvas, identity, pose, top);
    } else {
        strands(canvas, identity, pose, &crown, &edge);
    }
}

/// The edge of the hair over the face, from the image-left temple to the right one, in face units.
fn hairline(identity: &PortraitIdentity, bottom: f32) -> Vec<Spot> {
    let (hair, head) = (&identity.hair, &identity.head);
    let line = hair.hairline.max(-head.skull + 0.22);
    let inner = head.forehead * 0.93;
    let height = |x: f32| -> f32 {
        let far = x.abs();
        match hair.style {
            HairStyle::SidePart => {
                let side = if hair.part < 0.0 { 1.0 } else { -1.0 };
                let reach = (x * side - (-0.35 - 0.4 * hair.part.abs())).max(0.0);
                line + 0.10 + 0.22 * reach.powf(1.4) * (0.5 + hair.wave) + 0.20 * far.powi(5)
            }
            HairStyle::Quiff | HairStyle::Slick | HairStyle::Bun => {
                line - 0.06 + 0.10 * hair.wave * (1.0 - (x * 3.0).powi(2)).max(0.0) + 0.30 * far.powi(4)
            }
            HairStyle::Receding => line - 0.22 - 0.20 * (far * 2.2).sin().max(0.0) + 0.55 * far.powi(4),
            HairStyle::Bob | HairStyle::LongFringe | HairStyle::Bowl => {
                let jag = 0.022 * hair.wave * (x * 26.0).sin();
                -0.52 + 0.16 * hair.length + jag + 0.05 * hair.part * x + 0.10 * far.powi(3)
            }
            HairStyle::LongStraight | HairStyle::LongWavy => {
                let away = (x - hair.part).abs();
                line - 0.16 + 0.62 * away.powf(1.15) * (0.75 + 0.4 * hair.wave) + 0.28 * far.powi(6)
            }
            HairStyle::Curly | HairStyle::Afro => {
                line + 0.08 * hair.length + 0.025 * (x * 17.0 + hair.wave * 6.0).sin() + 0.26 * far.powi(4)
            }
            _ => line + 0.07 * hair.wave * (1.0 - (x * 4.0).abs()).max(0.0) + 0.30 * far.powi(4),
        }
    };
    let steps = 14;
    let mut points = vec![(-inner * 0.985, bottom * 0.85)];
    for step in 0..=steps {
        let x = -0.96 + 1.92 * step as f32 / steps as f32;
        // Hair may touch the brows but never hides an eye.
        let lowest = if x.abs() < 0.72 { -0.17 } else { bottom - 0.05 };
        points.push((x * inner, height(x).min(lowest)));
    }
    points.push((inner * 0.985, bottom * 0.85));
    points
}

/// Lighter and darker strands from the crown to the hairline.
fn strands(canvas: &mut Canvas, identity: &PortraitIdentity, pose: &Pose, crown: &[Spot], edge: &[Spot]) {
    let hair = &identity.hair;
    let mut stream = Stream::new(hair.strands, 1);
    let root = (hair.part * 0.6, -identity.head.skull * 0.98);
    for _ in 0..9 {
        let place = stream.between(0.12, 0.88);
        let end = edge[((edge.len() - 1) as f32 * place) as usize];
        let over = crown[((crown.len() - 1) as f32 * place) as usize];
        let way = |from: Spot, to: Spot, share: f32| {
            (from.0 + (to.0 - from.0) * share, from.1 + (to.1 - from.1) * share)
        };
        let middle = way(way(root, over, 0.55), end, 0.35);
        let line = open(&[pose.rim(way(root, over, 0.35)), pose.rim(middle), pose.at(way(middle, end, 0.9))]);
        let bright = stream.chance(0.5);
        let colour = if bright { hair.colour.lighter(0.22) } else { hair.colour.scaled(0.62) };
        let width = stream.between(0.012, 0.034) * pose.unit;
        canvas.stroke(line.as_ref(), width, Ink::Flat(colour, 0.55));
    }
}

/// Round tufts along an edge.
fn puffs(canvas: &mut Canvas, hair: &Hair, pose: &Pose, edge: &[Spot], size: f32, colour: Rgb) {
    let mut stream = Stream::new(hair.strands, 2);
    for &spot in edge {
        let radius = size * stream.between(0.8, 1.2) * pose.unit;
        let (x, y) = pose.rim(spot);
        canvas.fill(ellipse((x, y), radius, radius, 0.0).as_ref(), Ink::solid(colour));
    }
}

/// Small arcs that read as curls.
fn curls(canvas: &mut Canvas, identity: &PortraitIdentity, pose: &Pose, top: f32) {
    let hair = &identity.hair;
    let mut stream = Stream::new(hair.strands, 3);
    for _ in 0..26 {
        let (x, y) = outer(identity, stream.between(25.0, 155.0), top * 0.9, 0.0);
        let depth = stream.between(0.70, 1.0);
        let (x, y) = pose.rim((x * depth, y * depth - 0.10 * (1.0 - depth)));
        if y > pose.rim((0.0, hair.hairline - 0.02)).1 {
            continue;
        }
        let radius = stream.between(0.05, 0.09) * pose.unit;
        let arc =
            open(&[(x - radius, y), (x, y - radius), (x + radius, y), (x + radius * 0.4, y + radius * 0.6)]);
        let colour = if stream.chance(0.5) { hair.colour.lighter(0.2) } else { hair.colour.scaled(0.6) };
        canvas.stroke(arc.as_ref(), 0.022 * pose.unit, Ink::Flat(colour, 0.7));
    }
}
