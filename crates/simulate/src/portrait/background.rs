//! What stands behind people: walls, skies, streets, rooms, patterns. Never anything with a face.

use super::canvas::{Canvas, Ink, Spot, closed, ellipse, open, polygon};
use super::colour::Rgb;
use super::stream::Stream;

/// Paints the background of this seed over the whole canvas.
pub(crate) fn paint(canvas: &mut Canvas, seed: u64) {
    let mut stream = Stream::new(seed, 10);
    let s = &mut stream;
    match s.below(13) {
        0 => wall(canvas, s),
        1 | 2 => gradient(canvas, s),
        3 => bokeh(canvas, s),
        4 => hills(canvas, s),
        5 => sea(canvas, s),
        6 => skyline(canvas, s),
        7 => room(canvas, s),
        8 => park(canvas, s),
        9 => stripes(canvas, s),
        10 => shelves(canvas, s),
        11 => bricks(canvas, s),
        _ => shapes(canvas, s),
    }
}

/// Any colour, rather muted.
pub(crate) fn any_colour(s: &mut Stream) -> Rgb {
    Rgb::hsv(s.unit(), s.between(0.08, 0.65), s.between(0.25, 0.97))
}

fn down(canvas: &Canvas) -> (Spot, Spot) {
    ((0.0, 0.0), (0.0, canvas.height()))
}

fn wall(canvas: &mut Canvas, s: &mut Stream) {
    let colour = any_colour(s);
    let centre = (canvas.width() * s.between(0.2, 0.8), canvas.height() * s.between(0.1, 0.6));
    let reach = canvas.width().max(canvas.height()) * s.between(0.7, 1.1);
    canvas.flood(Ink::Radial(centre, reach, (colour.lighter(0.25), 1.0), (colour.scaled(0.65), 1.0)));
}

fn gradient(canvas: &mut Canvas, s: &mut Stream) {
    let (a, b) = (any_colour(s), any_colour(s));
    let to = (canvas.width() * s.between(-0.3, 1.0), canvas.height());
    canvas.flood(Ink::Linear((0.0, 0.0), to, (a, 1.0), (a.mix(b, 0.6), 1.0)));
}

fn bokeh(canvas: &mut Canvas, s: &mut Stream) {
    let dark = Rgb::hsv(s.unit(), s.between(0.3, 0.7), s.between(0.12, 0.4));
    canvas.flood(Ink::solid(dark));
    let hue = s.unit();
    for _ in 0..s.below(22) + 10 {
        let centre = (canvas.width() * s.unit(), canvas.height() * s.unit());
        let radius = canvas.width() * s.between(0.02, 0.09);
        let colour = Rgb::hsv(hue + s.between(-0.15, 0.15), s.between(0.2, 0.7), 1.0);
        canvas.fill(ellipse(centre, radius, radius, 0.0).as_ref(), Ink::Flat(colour, s.between(0.12, 0.45)));
    }
}

fn sky(canvas: &mut Canvas, s: &mut Stream) {
    let (top, low) = match s.below(3) {
        0 => (Rgb::hex(0x3f86c9), Rgb::hex(0xcfe6f5)),
        1 => (Rgb::hex(0x5a4a86), Rgb::hex(0xf4a26a)),
        _ => (Rgb::hex(0x8fa3b5), Rgb::hex(0xdfe4e8)),
    };
    let (from, to) = down(canvas);
    canvas.flood(Ink::Linear(from, to, (top, 1.0), (low, 1.0)));
    for _ in 0..s.below(4) {
        let (x, y) = (canvas.width() * s.unit(), canvas.height() * s.between(0.03, 0.4));
        let size = canvas.width() * s.between(0.05, 0.12);
        for step in 0..4 {
            let puff = (x + size * (step as f32 - 1.5) * 0.8, y + size * s.between(-0.15, 0.15));
            let radius = size * s.between(0.4, 0.7);
            canvas.fill(
                ellipse(puff, radius * 1.2, radius * 0.7, 0.0).as_ref(),
                Ink::Flat(Rgb::hex(0xffffff), 0.6),
            );
        }
    }
}

fn hills(canvas: &mut Canvas, s: &mut Stream) {
    sky(canvas, s);
    let (w, h) = (canvas.width(), canvas.height());
    if s.chance(0.5) {
        let centre = (w * s.unit(), h * s.between(0.08, 0.35));
        let radius = w * s.between(0.04, 0.09);
        canvas.fill(ellipse(centre, radius, radius, 0.0).as_ref(), Ink::solid(Rgb::hex(0xfff0b0)));
    }
    let hue = s.between(0.2, 0.62);
    for layer in 0..3 {
        let base = 0.5 + 0.15 * layer as f32;
        let mut points: Vec<Spot> = (0..=6)
            .map(|step| (w * (step as f32 / 6.0 * 1.2 - 0.1), h * (base + s.between(-0.12, 0.12))))
            .collect();
        points.push((w * 1.2, h * 1.2));
        points.push((-w * 0.2, h * 1.2));
        let colour = Rgb::hsv(hue, 0.25 + 0.15 * layer as f32, 0.75 - 0.16 * layer as f32);
        canvas.fill(closed(&points).as_ref(), Ink::solid(colour));
    }
}

fn sea(canvas: &mut Canvas, s: &mut Stream) {
    sky(canvas, s);
    let (w, h) = (canvas.width(), canvas.height());
    let horizon = h * s.between(0.4, 0.6);
    let deep = Rgb::hsv(s.between(0.48, 0.6), 0.6, 0.6);
    canvas.block(
        (0.0, horizon),
        (w, h),
        Ink::Linear((0.0, horizon), (0.0, h), (deep, 1.0), (deep.lighter(0.4), 1.0)),
    );
    for _ in 0..14 {
        let (x, y) = (w * s.unit(), s.between(horizon, h));
        let length = w * s.between(0.03, 0.12);
        let wave = open(&[(x, y), (x + length / 2.0, y - 0.01 * h), (x + length, y)]);
        canvas.stroke(wave.as_ref(), 0.006 * h, Ink::Flat(Rgb::hex(0xffffff), 0.5));
    }
    if s.chance(0.6) {
        let sand = Rgb::hex(0xe8d3a2);
        let shore = h * s.between(0.75, 0.9);
        canvas.fill(
            closed(&[
                (-0.1 * w, shore),
                (w * 0.5, shore - 0.05 * h),
                (w * 1.1, shore),
                (w * 1.1, h * 1.2),
                (-0.1 * w, h * 1.2),
            ])
            .as_ref(),
            Ink::solid(sand),
        );
    }
}

fn skyline(canvas: &mut Canvas, s: &mut Stream) {
    sky(canvas, s);
    let (w, h) = (canvas.width(), canvas.height());
    let night = s.chance(0.3);
    let mut x = -0.02 * w;
    while x < w {
        let width = w * s.between(0.09, 0.2);
        let top = h * s.between(0.15, 0.6);
        let colour = Rgb::hsv(
            s.between(0.5, 0.75),
            s.between(0.05, 0.3),
            if night { 0.25 } else { s.between(0.4, 0.75) },
        );
        canvas.block((x, top), (x + width, h), Ink::solid(colour));
        let pane = if night { Rgb::hex(0xffd980) } else { colour.lighter(0.5) };
        let (columns, size) = (3, width / 9.0);
        let mut y = top + size * 1.5;
        while y < h {
            for column in 0..columns {
                if s.chance(0.75) {
                    let left = x + width * (0.14 + 0.28 * column as f32);
                    canvas.block((left, y), (left + size * 1.4, y + size * 1.3), Ink::Flat(pane, 0.8));
                }
            }
            y += size * 3.0;
        }
        x += width + w * s.between(0.0, 0.02);
    }
}

fn room(canvas: &mut Canvas, s: &mut Stream) {
    let (w, h) = (canvas.width(), canvas.height());
    let paint = any_colour(s).lighter(0.3);
    canvas.flood(Ink::Linear((0.0, 0.0), (w, h), (paint, 1.0), (paint.scaled(0.82), 1.0)));
    if s.chance(0.7) {
        let (x, y) = (w * s.between(-0.1, 0.7), h * s.between(0.02, 0.3));
        let (width, height) = (w * s.between(0.25, 0.45), h * s.between(0.3, 0.5));
        canvas.block((x, y), (x + width, y + height), Ink::solid(Rgb::hex(0xf5f2ec)));
        let glass = Rgb::hsv(0.56, s.between(0.1, 0.4), 0.95);
        let rim = width * 0.05;
        canvas.block((x + rim, y + rim), (x + width - rim, y + height - rim), Ink::solid(glass));
        canvas.block((x + width * 0.48, y), (x + width * 0.52, y + height), Ink::solid(Rgb::hex(0xf5f2ec)));
        canvas.block((x, y + height * 0.48), (x + width, y + height * 0.52), Ink::solid(Rgb::hex(0xf5f2ec)));
    }
    if s.chance(0.6) {
        let (x, y) = (w * s.between(0.05, 0.8), h * s.between(0.05, 0.35));
        let (width, height) = (w * s.between(0.12, 0.25), h * s.between(0.12, 0.25));
        let frame = Rgb::hsv(s.between(0.05, 0.12), 0.5, s.between(0.25, 0.6));
        canvas.block((x, y), (x + width, y + height), Ink::solid(frame));
        let (a, b) = (any_colour(s), any_colour(s));
        let rim = width * 0.09;
        canvas.block(
            (x + rim, y + rim),
            (x + width - rim, y + height - rim),
            Ink::Linear((x, y), (x + width, y + height), (a, 1.0), (b, 1.0)),
        );
    }
    if s.chance(0.5) {
        let (root, size) = ((w * s.unit(), h * s.between(0.75, 0.95)), h * s.between(0.1, 0.22));
        plant(canvas, s, root, size);
    }
}

/// Leaves on a stem, growing up from `root`.
pub(crate) fn plant(canvas: &mut Canvas, s: &mut Stream, root: Spot, size: f32) {
    let green = Rgb::hsv(s.between(0.25, 0.4), s.between(0.4, 0.7), s.between(0.3, 0.65));
    for step in 0..9 {
        let angle = -1.57 + (step as f32 - 4.0) * 0.28 + s.between(-0.1, 0.1);
        let length = size * s.between(0.7, 1.2);
        let tip = (root.0 + angle.cos() * length, root.1 + angle.sin() * length);
        let middle = ((root.0 + tip.0) / 2.0, (root.1 + tip.1) / 2.0);
        canvas.fill(
            ellipse(middle, length * 0.5, length * 0.11, angle).as_ref(),
            Ink::solid(green.scaled(s.between(0.75, 1.2))),
        );
    }
}

fn park(canvas: &mut Canvas, s: &mut Stream) {
    sky(canvas, s);
    let (w, h) = (canvas.width(), canvas.height());
    let lawn = h * s.between(0.55, 0.7);
    let grass = Rgb::hsv(s.between(0.22, 0.33), 0.5, s.between(0.45, 0.7));
    canvas.block(
        (0.0, lawn),
        (w, h),
        Ink::Linear((0.0, lawn), (0.0, h), (grass, 1.0), (grass.scaled(0.7), 1.0)),
    );
    for _ in 0..s.below(4) + 2 {
        let x = w * s.unit();
        let size = h * s.between(0.12, 0.25);
        let foot = lawn + h * s.between(0.0, 0.05);
        canvas.block((x - size * 0.08, foot - size), (x + size * 0.08, foot), Ink::solid(Rgb::hex(0x6b4a30)));
        let leaf = Rgb::hsv(s.between(0.18, 0.38), s.between(0.4, 0.65), s.between(0.35, 0.65));
        for _ in 0..6 {
            let puff = (x + size * s.between(-0.45, 0.45), foot - size * s.between(0.9, 1.6));
            let radius = size * s.between(0.3, 0.5);
            canvas.fill(
                ellipse(puff, radius, radius * 0.9, 0.0).as_ref(),
                Ink::solid(leaf.scaled(s.between(0.85, 1.1))),
            );
        }
    }
}

fn stripes(canvas: &mut Canvas, s: &mut Stream) {
    let (a, b) = (any_colour(s), any_colour(s));
    canvas.flood(Ink::solid(a));
    let b = a.mix(b, s.between(0.25, 0.8));
    let (w, h) = (canvas.width(), canvas.height());
    let (step, lean) = (w * s.between(0.06, 0.2), s.between(-0.8, 0.8) * h);
    let mut x = -h;
    while x < w + h {
        canvas.fill(
            polygon(&[(x, 0.0), (x + step * 0.5, 0.0), (x + step * 0.5 + lean, h), (x + lean, h)]).as_ref(),
            Ink::solid(b),
        );
        x += step;
    }
}

fn shelves(canvas: &mut Canvas, s: &mut Stream) {
    let (w, h) = (canvas.width(), canvas.height());
    let wood = Rgb::hsv(s.between(0.05, 0.1), s.between(0.35, 0.6), s.between(0.25, 0.6));
    canvas.flood(Ink::solid(wood.scaled(0.6)));
    let rows = s.below(3) + 3;
    let height = h / rows as f32;
    for row in 0..rows {
        let foot = height * (row as f32 + 0.92);
        let mut x = 0.0;
        while x < w {
            let width = w * s.between(0.025, 0.07);
            if s.chance(0.9) {
                let top = foot - height * s.between(0.55, 0.85);
                canvas.block((x, top), (x + width * 0.94, foot), Ink::solid(any_colour(s)));
            }
            x += width;
        }
        canvas.block((0.0, foot), (w, foot + height * 0.08), Ink::solid(wood));
    }
}

fn bricks(canvas: &mut Canvas, s: &mut Stream) {
    let (w, h) = (canvas.width(), canvas.height());
    let clay = Rgb::hsv(s.between(0.0, 0.1), s.between(0.1, 0.55), s.between(0.4, 0.85));
    canvas.flood(Ink::solid(clay.lighter(0.35)));
    let (width, height) = (w / (s.below(5) + 5) as f32, h / (s.below(7) + 10) as f32);
    let mut y = 0.0;
    let mut odd = false;
    while y < h {
        let mut x = if odd { -width / 2.0 } else { 0.0 };
        while x < w {
            canvas.block(
                (x, y),
                (x + width * 0.94, y + height * 0.88),
                Ink::solid(clay.scaled(s.between(0.85, 1.1))),
            );
            x += width;
        }
        y += height;
        odd = !odd;
    }
}

fn shapes(canvas: &mut Canvas, s: &mut Stream) {
    gradient(canvas, s);
    let (w, h) = (canvas.width(), canvas.height());
    for _ in 0..s.below(10) + 4 {
        let centre = (w * s.unit(), h * s.unit());
        let size = w * s.between(0.04, 0.2);
        let ink = Ink::Flat(any_colour(s), s.between(0.4, 1.0));
        let angle = s.between(0.0, 3.1);
        let path = match s.below(3) {
            0 => ellipse(centre, size, size * s.between(0.4, 1.0), angle),
            1 => polygon(&[
                (centre.0 + size * angle.cos(), centre.1 + size * angle.sin()),
                (centre.0 + size * (angle + 2.1).cos(), centre.1 + size * (angle + 2.1).sin()),
                (centre.0 + size * (angle + 4.2).cos(), centre.1 + size * (angle + 4.2).sin()),
            ]),
            _ => closed(
                &(0..7)
                    .map(|step| {
                        let turn = step as f32 * 0.897 + angle;
                        let reach = size * s.between(0.5, 1.1);
                        (centre.0 + reach * turn.cos(), centre.1 + reach * turn.sin())
                    })
                    .collect::<Vec<_>>(),
            ),
        };
        canvas.fill(path.as_ref(), ink);
    }
}
