//! The timeline of a cluster: when its accounts were created and when their shared pictures were first observed.
//!
//! Drawn with plotters. Its colours are placeholders that the page's style sheet replaces by attribute selectors, so
//! that one drawing serves light, dark and print.

use jiff::ToSpan;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use records::Timestamp;

use crate::words;

const WIDTH: i32 = 640;
/// Where the axis begins; left of it stands the column of what lies before.
const LEFT: i32 = 178;
const EARLIER: i32 = 118;
const RIGHT: i32 = 18;
const LANE: i32 = 74;
const AXIS: i32 = 34;
/// Distance of two dots' centres.
const STEP: i32 = 8;

/// Placeholders: `style.css` gives them their colours.
const INK: RGBColor = RGBColor(1, 1, 1);
const FAINT: RGBColor = RGBColor(2, 2, 2);
const MEMBER: RGBColor = RGBColor(3, 3, 3);
const VICTIM: RGBColor = RGBColor(4, 4, 4);

/// One row of dots.
pub(crate) struct Lane {
    /// What the dots are.
    pub name: &'static str,
    /// Times of suspected accounts.
    pub members: Vec<Timestamp>,
    /// Times of likely victims.
    pub victims: Vec<Timestamp>,
}

/// The shortest span of time that holds at least four fifths of the times, as (first, last, how many); `None` for
/// fewer than three times.
pub(crate) fn burst(times: &[Timestamp]) -> Option<(Timestamp, Timestamp, usize)> {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let needed = (sorted.len() * 4).div_ceil(5);
    if sorted.len() < 3 {
        return None;
    }
    sorted
        .windows(needed)
        .filter_map(|window| Some((*window.first()?, *window.last()?)))
        .min_by_key(|(first, last)| last.as_micros() - first.as_micros())
        .map(|(first, last)| {
            let inside = sorted.iter().filter(|t| (first..=last).contains(*t)).count();
            (first, last, inside)
        })
}

/// Draws the lanes over one axis; `None` if there is no time at all.
pub(crate) fn draw(lanes: &[Lane]) -> Option<String> {
    let times = || lanes.iter().flat_map(|lane| lane.members.iter().chain(&lane.victims));
    let (first, last) = (times().min()?.as_micros(), times().max()?.as_micros());
    let first = focus(lanes, first, last);
    // A little air on both sides, and an hour at least, so that a single moment has an axis.
    let air = ((last - first) / 30).max(1_800_000_000);
    let (start, end) = (first - air, last + air);
    let mut svg = String::new();
    let height = LANE * lanes.len() as i32 + AXIS;
    paint(&mut svg, height, lanes, (start, end)).ok()?;
    let label = "<svg class=\"timeline\" role=\"img\" aria-label=\"Timeline of account creation and first observation\" ";
    Some(svg.replacen("<svg ", label, 1))
}

/// Where the axis should begin: at the earliest time, unless that would crush what the cluster did into a corner; then
/// where four fifths of the suspected accounts' times begin.
fn focus(lanes: &[Lane], first: i64, last: i64) -> i64 {
    let starts = lanes.iter().filter_map(|lane| burst(&lane.members)).map(|(start, ..)| start.as_micros());
    match starts.min() {
        Some(start) if last - first > 4 * (last - start) => start,
        _ => first,
    }
}

type Failed = DrawingAreaErrorKind<<SVGBackend<'static> as DrawingBackend>::ErrorType>;

fn paint(svg: &mut String, height: i32, lanes: &[Lane], (start, end): (i64, i64)) -> Result<(), Failed> {
    let area = SVGBackend::with_string(svg, (WIDTH as u32, height as u32)).into_drawing_area();
    let span = (end - start).max(1) as f64;
    let x_of = |micros: i64| LEFT + ((micros - start) as f64 / span * f64::from(WIDTH - LEFT - RIGHT)) as i32;
    let base = LANE * lanes.len() as i32;
    let text = |colour: &'static RGBColor, h, v| {
        TextStyle::from(("sans-serif", 15).into_font()).color(colour).pos(Pos::new(h, v))
    };
    for (at, label) in ticks(start, end) {
        let x = x_of(at);
        area.draw(&PathElement::new([(x, 8), (x, base + 5)], FAINT.stroke_width(1)))?;
        area.draw(&Text::new(label, (x, base + 12), text(&INK, HPos::Center, VPos::Top)))?;
    }
    let everything = || lanes.iter().flat_map(|lane| lane.members.iter().chain(&lane.victims));
    let earlier = everything().any(|time| time.as_micros() < start);
    if earlier {
        let note = text(&INK, HPos::Center, VPos::Top);
        area.draw(&Text::new("earlier", (EARLIER + 20, base + 12), note))?;
    }
    for (nth, lane) in lanes.iter().enumerate() {
        let floor = LANE * (nth as i32 + 1) - 6;
        area.draw(&PathElement::new([(LEFT, floor), (WIDTH - RIGHT, floor)], INK.stroke_width(1)))?;
        if earlier {
            area.draw(&PathElement::new([(EARLIER, floor), (LEFT - 16, floor)], INK.stroke_width(1)))?;
        }
        area.draw(&Text::new(lane.name, (0, floor - 26), text(&INK, HPos::Left, VPos::Center)))?;
        if lane.members.is_empty() && lane.victims.is_empty() {
            let note = text(&INK, HPos::Left, VPos::Center);
            area.draw(&Text::new("not given", (LEFT + 12, floor - 26), note))?;
        }
        // Dots that would lie on each other are stacked; the stack stops growing at the lane's height.
        let mut stacks = std::collections::BTreeMap::<i32, i32>::new();
        let mut place = |time: &Timestamp| {
            let before = time.as_micros() < start;
            let column =
                if before { (EARLIER + 24 - LEFT) / STEP } else { (x_of(time.as_micros()) - LEFT) / STEP };
            let stack = stacks.entry(column).or_default();
            *stack += 1;
            (LEFT + column * STEP, floor - 7 - ((*stack - 1) * STEP).min(LANE - 24))
        };
        for time in &lane.victims {
            let (x, y) = place(time);
            let corners = [(x - 4, y - 4), (x + 4, y + 4)];
            area.draw(&Rectangle::new(corners, VICTIM.stroke_width(2)))?;
        }
        for time in &lane.members {
            area.draw(&Circle::new(place(time), 3, MEMBER.filled()))?;
        }
    }
    area.present()
}

/// Round times between two, with their labels; about five of them.
fn ticks(start: i64, end: i64) -> Vec<(i64, String)> {
    const MINUTE: i64 = 60_000_000;
    const DAY: i64 = 1440 * MINUTE;
    let wanted = (end - start) / 4;
    let calendar =
        |months: i64, pattern: &str| calendar_ticks(start, end, months, pattern).unwrap_or_default();
    match wanted {
        w if w > 300 * DAY => calendar(12 * (w / (365 * DAY) + 1), "%Y"),
        w if w > 20 * DAY => {
            let months = [1, 2, 3, 6, 12].into_iter().find(|m| m * 30 * DAY >= w).unwrap_or(12);
            calendar(months, "%b %Y")
        }
        w => {
            let steps = [1, 2, 5, 10, 30, 60, 120, 360, 720, 1440, 2880, 7200, 14_400, 28_800];
            let step = steps.into_iter().map(|s| s * MINUTE).find(|s| *s >= w).unwrap_or(20 * DAY);
            let pattern = if step >= DAY { "%-d %b" } else { "%-d %b %H:%M" };
            let first = start.div_euclid(step) + 1;
            (first..=end.div_euclid(step)).map(|n| (n * step, label(n * step, pattern))).collect()
        }
    }
}

fn label(micros: i64, pattern: &str) -> String {
    Timestamp::from_micros(micros).map(|time| words::civil(time, pattern)).unwrap_or_default()
}

/// Firsts of a month, every `months`, counted from January.
fn calendar_ticks(start: i64, end: i64, months: i64, pattern: &str) -> Option<Vec<(i64, String)>> {
    let from = jiff::Timestamp::from_microsecond(start).ok()?.to_zoned(jiff::tz::TimeZone::UTC);
    let mut at = from.start_of_day().ok()?.date().first_of_year();
    let mut ticks = Vec::new();
    if months >= 12 {
        let years = i16::try_from(months / 12).ok()?;
        at = at.with().year(at.year() - at.year().rem_euclid(years)).build().ok()?;
    }
    loop {
        let micros = at.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_microsecond();
        if micros > end || ticks.len() > 40 {
            return Some(ticks);
        }
        if micros >= start {
            ticks.push((micros, label(micros, pattern)));
        }
        at = at.checked_add(months.months()).ok()?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_burst_is_found_among_older_accounts() {
        let mut times = vec![time("2019-01-01T00:00:00Z")];
        times.extend((0..9).map(|i| time(&format!("2026-03-0{}T00:00:00Z", 1 + i / 3))));
        let (first, last, inside) = burst(&times).unwrap();
        assert_eq!(
            (words::day(first), words::day(last), inside),
            ("1 Mar 2026".into(), "3 Mar 2026".into(), 9)
        );
        assert_eq!(burst(&times[..2]), None);
    }

    #[test]
    fn ticks_are_round_and_few() {
        let cases = [
            ("2026-03-01T00:00:00Z", "2026-03-01T00:40:00Z"),
            ("2026-03-01T00:00:00Z", "2026-03-02T07:40:00Z"),
            ("2026-03-01T00:00:00Z", "2026-03-28T07:40:00Z"),
            ("2025-11-11T00:00:00Z", "2026-10-28T07:40:00Z"),
            ("2009-11-11T00:00:00Z", "2026-10-28T07:40:00Z"),
            ("0009-11-11T00:00:00Z", "2026-10-28T07:40:00Z"),
        ];
        for (start, end) in cases {
            let ticks = ticks(time(start).as_micros(), time(end).as_micros());
            assert!((2..=9).contains(&ticks.len()), "{start} to {end}: {ticks:?}");
        }
        let years = ticks(time("2019-05-01T00:00:00Z").as_micros(), time("2026-05-01T00:00:00Z").as_micros());
        assert_eq!(
            years.iter().map(|(_, l)| l.as_str()).collect::<Vec<_>>(),
            ["2020", "2022", "2024", "2026"]
        );
    }

    #[test]
    fn draws_every_account_once() {
        let lane = Lane {
            name: "Created",
            members: (0..30).map(|i| Timestamp::from_micros(i * 3_600_000_000).unwrap()).collect(),
            victims: vec![Timestamp::EPOCH],
        };
        let svg = draw(&[lane]).unwrap();
        assert_eq!(svg.matches("<circle").count(), 30);
        assert_eq!(svg.matches("<rect").count(), 1);
        assert_eq!(draw(&[]), None);
    }
}
