//! The account graph as a drawing.
//!
//! Members lie in a force-directed layout (Fruchterman and Reingold, "Graph drawing by force-directed placement",
//! 1991), started from a circle so that the same cluster is always drawn alike; likely victims stand in a row of their
//! own below. Large clusters are sampled: the best-tied accounts first. Shape and line pattern carry the meaning,
//! colour only repeats it.

use std::collections::BTreeSet;
use std::f64::consts::TAU;
use std::fmt::Write;

use records::AccountId;
use records::tables::{LinkKind, Role, WeakestLink};

use crate::links::{Tie, Ties};

const WIDTH: f64 = 560.0;
const MARGIN: f64 = 34.0;
/// Most lines drawn; the strongest are kept.
const MOST_TIES: usize = 900;
/// From this many accounts on, names would lie over each other.
const MOST_NAMES: usize = 26;

/// A finished drawing.
pub(crate) struct Drawing {
    /// `<svg>…</svg>`, all text escaped.
    pub svg: String,
    /// Accounts drawn.
    pub drawn: usize,
    /// Accounts there are.
    pub accounts: usize,
    /// Whether the drawing has a row of victims.
    pub victims: bool,
}

/// Draws at most `most` accounts. `name` gives what to write beside one.
pub(crate) fn draw(
    ties: &Ties<'_>,
    weakest: Option<&WeakestLink>,
    most: usize,
    name: impl Fn(&AccountId) -> String,
) -> Drawing {
    let shown = chosen(ties, weakest, most);
    let of_role = |wanted: Role| -> Vec<usize> {
        let role = |at: &usize| ties.accounts.get(*at).is_some_and(|(_, role)| *role == wanted);
        shown.iter().copied().filter(role).collect()
    };
    let (members, victims) = (of_role(Role::Member), of_role(Role::Victim));
    let lines = lines_between(ties, &shown);
    let height = if members.len() > 12 { 460.0 } else { 360.0 };
    let mut places = vec![(0.0, 0.0); ties.accounts.len()];
    lay_out(&members, &lines, (WIDTH, height), &mut places);
    let band = if victims.is_empty() { 0.0 } else { 92.0 };
    for (nth, at) in victims.iter().enumerate() {
        if let Some(place) = places.get_mut(*at) {
            *place = (WIDTH * (nth as f64 + 1.0) / (victims.len() as f64 + 1.0), height + 44.0);
        }
    }
    let mut pen = Pen { svg: String::new(), places, named: shown.len() <= MOST_NAMES };
    pen.open(height + band, members.len(), victims.len());
    if band > 0.0 {
        pen.band(height, band);
    }
    for tie in &lines {
        pen.tie(tie, ties, weakest);
    }
    let degrees = ties.degrees();
    for at in members.iter().chain(&victims) {
        if let Some((account, role)) = ties.accounts.get(*at) {
            let radius = if shown.len() > 80 { 4.5 } else { 6.5 };
            let degree = degrees.get(*at).copied().unwrap_or(0);
            pen.account(*at, *role, radius, &name(account), degree, lies_above(*at, &lines, &pen.places));
        }
    }
    pen.svg.push_str("</svg>");
    Drawing { svg: pen.svg, drawn: shown.len(), accounts: ties.accounts.len(), victims: !victims.is_empty() }
}

/// The accounts to draw: all, or the ends of the weakest link, some victims and the best-tied ones.
fn chosen(ties: &Ties<'_>, weakest: Option<&WeakestLink>, most: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..ties.accounts.len()).collect();
    if order.len() > most {
        let degrees = ties.degrees();
        let rank = |at: &usize| {
            let (account, role) = ties.accounts.get(*at)?;
            let end = weakest.is_some_and(|w| w.account_a == **account || w.account_b == **account);
            Some((!end, *role == Role::Member, usize::MAX - degrees.get(*at).copied().unwrap_or(0)))
        };
        order.sort_by_key(|at| (rank(at), *at));
        let victims = |at: &usize| ties.accounts.get(*at).is_some_and(|(_, role)| *role == Role::Victim);
        let some_victims: Vec<usize> = order.iter().copied().filter(victims).take(12).collect();
        order.retain(|at| !victims(at));
        order.truncate(most.saturating_sub(some_victims.len()));
        order.extend(some_victims);
        order.sort_unstable();
    }
    order
}

fn lines_between(ties: &Ties<'_>, shown: &[usize]) -> Vec<Tie> {
    let shown: BTreeSet<usize> = shown.iter().copied().collect();
    let both = |tie: &&Tie| shown.contains(&tie.a) && shown.contains(&tie.b);
    let mut lines: Vec<Tie> = ties.ties.iter().filter(both).copied().collect();
    lines.sort_by(|a, b| b.weight.total_cmp(&a.weight).then((a.a, a.b).cmp(&(b.a, b.b))));
    lines.truncate(MOST_TIES);
    lines
}

/// Sets the members' places within `size`.
fn lay_out(members: &[usize], lines: &[Tie], size: (f64, f64), places: &mut [(f64, f64)]) {
    let n = members.len();
    let index = |at: usize| members.binary_search(&at).ok();
    let springs: Vec<(usize, usize)> =
        lines.iter().filter_map(|tie| Some((index(tie.a)?, index(tie.b)?))).collect();
    // The best-tied accounts are spread around the circle instead of beginning as neighbours.
    let mut at: Vec<(f64, f64)> = (0..n)
        .map(|i| {
            let angle = TAU * i as f64 / n.max(1) as f64;
            let radius = 1.0 + 0.07 * ((i * 7) % 5) as f64;
            (radius * angle.cos(), radius * angle.sin())
        })
        .collect();
    let ideal = 1.9 / (n as f64).sqrt().max(1.0);
    let rounds = if n > 200 { 120 } else { 260 };
    for round in 0..rounds {
        let heat = 0.22 * (1.0 - f64::from(round) / f64::from(rounds));
        let mut moves = vec![(0.0, 0.0); n];
        for i in 0..n {
            for j in 0..i {
                let (Some(p), Some(q)) = (at.get(i), at.get(j)) else { continue };
                let (dx, dy) = (p.0 - q.0, p.1 - q.1);
                let distance = dx.hypot(dy).max(1e-3);
                let push = ideal * ideal / (distance * distance);
                shift(&mut moves, i, dx * push, dy * push);
                shift(&mut moves, j, -dx * push, -dy * push);
            }
        }
        for (i, j) in &springs {
            let (Some(p), Some(q)) = (at.get(*i), at.get(*j)) else { continue };
            let (dx, dy) = (p.0 - q.0, p.1 - q.1);
            let pull = dx.hypot(dy) / ideal;
            // In dense clusters the springs would crush everything into a point, so that they share their strength.
            let pull = pull * (2.0 * n as f64 / springs.len().max(1) as f64).min(1.0);
            shift(&mut moves, *i, -dx * pull, -dy * pull);
            shift(&mut moves, *j, dx * pull, dy * pull);
        }
        for (p, step) in at.iter_mut().zip(&moves) {
            let (dx, dy) = (step.0 - 0.35 * p.0, step.1 - 0.35 * p.1);
            let length = dx.hypot(dy).max(1e-9);
            let far = length.min(heat) / length;
            *p = (p.0 + dx * far, p.1 + dy * far);
        }
    }
    let reach = |axis: fn(&(f64, f64)) -> f64| {
        let low = at.iter().map(axis).fold(f64::INFINITY, f64::min);
        let high = at.iter().map(axis).fold(f64::NEG_INFINITY, f64::max);
        (low, (high - low).max(1e-6))
    };
    let ((left, wide), (top, tall)) = (reach(|p| p.0), reach(|p| p.1));
    for (member, p) in members.iter().zip(&at) {
        if let Some(place) = places.get_mut(*member) {
            let inner = (size.0 - 4.0 * MARGIN, size.1 - 2.0 * MARGIN);
            let (x, y) = if n == 1 { (0.5, 0.5) } else { ((p.0 - left) / wide, (p.1 - top) / tall) };
            *place = (2.0 * MARGIN + x * inner.0, MARGIN + y * inner.1);
        }
    }
}

/// Whether an account lies above the middle of those it is tied to.
fn lies_above(at: usize, lines: &[Tie], places: &[(f64, f64)]) -> bool {
    let other = |tie: &Tie| if tie.a == at { Some(tie.b) } else { (tie.b == at).then_some(tie.a) };
    let heights: Vec<f64> =
        lines.iter().filter_map(other).filter_map(|o| places.get(o)).map(|p| p.1).collect();
    let middle = heights.iter().sum::<f64>() / heights.len().max(1) as f64;
    places.get(at).is_some_and(|place| !heights.is_empty() && place.1 < middle)
}

fn shift(moves: &mut [(f64, f64)], at: usize, dx: f64, dy: f64) {
    if let Some(step) = moves.get_mut(at) {
        *step = (step.0 + dx, step.1 + dy);
    }
}

struct Pen {
    svg: String,
    places: Vec<(f64, f64)>,
    named: bool,
}

impl Pen {
    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = self.svg.write_fmt(text);
    }

    fn at(&self, place: usize) -> (f64, f64) {
        self.places.get(place).copied().unwrap_or_default()
    }

    fn open(&mut self, height: f64, members: usize, victims: usize) {
        let apart = if victims > 0 { format!(", and {victims} likely victims apart") } else { String::new() };
        self.put(format_args!(
            "<svg class=\"graph\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"Account graph: {members} suspected accounts{apart}\">"
        ));
    }

    fn band(&mut self, top: f64, height: f64) {
        self.put(format_args!(
            "<rect class=\"band\" x=\"1\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"8\"/><text class=\"bandname\" x=\"14\" y=\"{}\">Likely victims, not accused</text>",
            top + 4.0, WIDTH - 2.0, height - 6.0, top + 22.0
        ));
    }

    fn tie(&mut self, tie: &Tie, ties: &Ties<'_>, weakest: Option<&WeakestLink>) {
        let ((x1, y1), (x2, y2)) = (self.at(tie.a), self.at(tie.b));
        let kind = match tie.kind {
            LinkKind::SameBytes => "tie bytes",
            LinkKind::SamePhoto => "tie photo",
            LinkKind::SamePerson => "tie person",
        };
        let wide = 0.8 + 1.8 * tie.weight.clamp(0.0, 1.0);
        self.put(format_args!(
            "<line class=\"{kind}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke-width=\"{wide:.2}\"/>"
        ));
        let ends = |at: usize| ties.accounts.get(at).map(|(account, _)| *account);
        let is_weakest = weakest.is_some_and(|w| {
            let pair = (Some(&w.account_a), Some(&w.account_b));
            pair == (ends(tie.a), ends(tie.b)) || pair == (ends(tie.b), ends(tie.a))
        });
        if is_weakest {
            let (x, y) = ((x1 + x2) / 2.0, (y1 + y2) / 2.0);
            self.put(format_args!(
                "<g class=\"weak\"><circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"9\"/><path d=\"M{:.1} {:.1}l8 8m0 -8l-8 8\"/></g>",
                x - 4.0, y - 4.0
            ));
        }
    }

    fn account(&mut self, place: usize, role: Role, radius: f64, name: &str, degree: usize, above: bool) {
        let (x, y) = self.at(place);
        let full = escaped(name);
        let tied = crate::words::counted(degree, "tie");
        let (what, said) = match role {
            Role::Member => ("suspected", "member"),
            Role::Victim => ("likely victim, not accused", "victim"),
        };
        self.put(format_args!("<g class=\"{said}\"><title>{full} ({what}, {tied})</title>"));
        match role {
            Role::Member => self.put(format_args!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\"/>")),
            Role::Victim => self.put(format_args!(
                "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"14\" height=\"14\" rx=\"2\"/>",
                x - 7.0,
                y - 7.0
            )),
        }
        if self.named || role == Role::Victim {
            // On the side away from the lines, where it covers least.
            let below = match role {
                Role::Victim => 23.0,
                Role::Member if above => -radius - 5.0,
                Role::Member => radius + 13.0,
            };
            let short = escaped(&crate::words::shortened(name, 16));
            self.put(format_args!("<text x=\"{x:.1}\" y=\"{:.1}\">{short}</text>", y + below));
        }
        self.svg.push_str("</g>");
    }
}

/// Text safe between tags and in quoted attributes.
pub(crate) fn escaped(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, c| {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#x27;"),
            c => out.push(c),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(n: usize, all: bool) -> (Vec<AccountId>, Vec<Tie>) {
        let accounts = (0..n).map(|i| AccountId::new(format!("account {i:03}")).unwrap()).collect();
        let pairs = (0..n).flat_map(|a| (a + 1..n).map(move |b| (a, b))).filter(|(a, b)| all || b - a == 1);
        let tie = |(a, b)| Tie { a, b, kind: LinkKind::SamePhoto, weight: 0.9 };
        (accounts, pairs.map(tie).collect())
    }

    fn places(n: usize, all: bool) -> Vec<(f64, f64)> {
        let (_, ties) = ring(n, all);
        let members: Vec<usize> = (0..n).collect();
        let mut places = vec![(0.0, 0.0); n];
        lay_out(&members, &ties, (640.0, 460.0), &mut places);
        places
    }

    #[test]
    fn accounts_stay_inside_and_apart() {
        for (n, all, apart) in
            [(3, true, 60.0), (8, true, 40.0), (25, true, 18.0), (25, false, 10.0), (150, true, 4.0)]
        {
            let places = places(n, all);
            for (i, p) in places.iter().enumerate() {
                assert!((0.0..=640.0).contains(&p.0) && (0.0..=460.0).contains(&p.1), "{n}: {p:?}");
                for q in &places[..i] {
                    let distance = (p.0 - q.0).hypot(p.1 - q.1);
                    assert!(
                        distance > apart,
                        "{n} accounts, tied all: {all}: two lie {distance:.1} px apart"
                    );
                }
            }
        }
    }

    #[test]
    fn tied_accounts_lie_nearer_than_strangers() {
        // Two groups of ten with one bridge must not be drawn as one ball.
        let mut ties = Vec::new();
        for group in [0, 10] {
            for a in group..group + 10 {
                ties.extend((a + 1..group + 10).map(|b| Tie {
                    a,
                    b,
                    kind: LinkKind::SamePhoto,
                    weight: 1.0,
                }));
            }
        }
        ties.push(Tie { a: 0, b: 10, kind: LinkKind::SamePerson, weight: 0.2 });
        let members: Vec<usize> = (0..20).collect();
        let mut places = vec![(0.0, 0.0); 20];
        lay_out(&members, &ties, (640.0, 460.0), &mut places);
        let mean = |pairs: Vec<(usize, usize)>| {
            let far =
                |(a, b): &(usize, usize)| (places[*a].0 - places[*b].0).hypot(places[*a].1 - places[*b].1);
            pairs.iter().map(far).sum::<f64>() / pairs.len() as f64
        };
        let within = mean((0..10).flat_map(|a| (a + 1..10).map(move |b| (a, b))).collect());
        let across = mean((0..10).flat_map(|a| (10..20).map(move |b| (a, b))).collect());
        assert!(across > 1.6 * within, "within {within:.0}, across {across:.0}");
    }

    #[test]
    fn large_clusters_are_sampled_and_keep_the_weakest_link() {
        let (accounts, list) = ring(500, false);
        let ties = Ties { accounts: accounts.iter().map(|a| (a, Role::Member)).collect(), ties: list };
        let weakest = WeakestLink {
            account_a: accounts[498].clone(),
            account_b: accounts[499].clone(),
            weight: 0.3,
            separates: 1,
        };
        let drawing = draw(&ties, Some(&weakest), 120, |a| a.to_string());
        assert_eq!((drawing.drawn, drawing.accounts), (120, 500));
        assert_eq!(
            drawing.svg.matches("<circle").count(),
            121,
            "120 accounts and the mark of the weakest link"
        );
        assert!(drawing.svg.contains("account 499 (suspected, 1\u{a0}tie)"));
    }

    #[test]
    fn names_are_escaped() {
        let account = AccountId::new("x").unwrap();
        let ties = Ties { accounts: vec![(&account, Role::Member)], ties: Vec::new() };
        let drawing = draw(&ties, None, 10, |_| "</svg><script>\"'&".to_owned());
        assert!(!drawing.svg.contains("<script"));
        assert!(drawing.svg.contains("&lt;/svg&gt;&lt;script"));
    }
}
