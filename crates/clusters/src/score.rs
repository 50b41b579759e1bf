//! How likely a group is a bot network, and each account part of it: sums of signals in log-odds.
//!
//! Invariants:
//! - Every signal is bounded, so none decides alone against all others.
//! - Unknown facts contribute nothing.
//! - The reasons of a score add up to its log-odds.
//!
//! The weights are set by hand from what each honest explanation predicts (`docs/detection.md`), not fitted to a population.

use records::tables::Reason;

use crate::calibration::{Calibration, logistic};
use crate::group::{Group, Part};
use crate::incidence::Incidence;
use crate::input::Input;
use crate::profile::{Profiles, bare_name, rules_that_fit};
use crate::times::{Births, Burst};
use crate::victims::Ownership;

/// Log-odds that a group of accounts that share photos is a bot network, before anything is looked at.
const PRIOR: f64 = -4.0;
/// Eyes this near to where generated portraits put them are suspicious, in fractions of the picture's width.
const EYES_IN_PLACE: f32 = 0.02;

/// Signals of clusters that may be left out or quarantined.
pub(crate) const SIGNALS: [&str; 18] = [
    "shared_photos",
    "reuse",
    "people",
    "famous",
    "group_photos",
    "own_life",
    "popular",
    "size",
    "creation",
    "profiles",
    "names",
    "generated",
    "mass_reuse",
    "confirmed",
    "single_photo",
    "same_person_only",
    "no_face",
    "victims",
];

/// A sum of signals.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Score {
    /// Contributions, calibrated; zeros are left out.
    pub(crate) reasons: Vec<Reason>,
}

impl Score {
    fn new(calibration: &Calibration) -> Self {
        let mut score = Self::default();
        score.reasons.push(Reason {
            signal: "prior".to_owned(),
            log_odds: PRIOR * calibration.scale + calibration.offset,
            detail: "most groups that share photos are honest".to_owned(),
        });
        score
    }

    pub(crate) fn add(&mut self, calibration: &Calibration, signal: &str, log_odds: f64, detail: String) {
        if log_odds != 0.0 {
            self.reasons.push(Reason {
                signal: signal.to_owned(),
                log_odds: log_odds * calibration.scale,
                detail,
            });
        }
    }

    /// The sum.
    pub(crate) fn log_odds(&self) -> f64 {
        self.reasons.iter().map(|r| r.log_odds).sum()
    }

    /// As a probability.
    pub(crate) fn probability(&self) -> f64 {
        logistic(self.log_odds())
    }
}

/// Everything that scoring looks at.
#[derive(Clone, Copy)]
pub(crate) struct Scoring<'a> {
    pub(crate) input: &'a Input,
    pub(crate) inc: &'a Incidence,
    pub(crate) births: &'a Births,
    pub(crate) profiles: &'a Profiles,
    pub(crate) calibration: &'a Calibration,
    /// Owners from which one photo alone counts as mass re-use.
    pub(crate) mass_owners: usize,
    /// Account -> share of its pictures with the eyes where generated portraits have them, if any are known.
    pub(crate) generated: &'a [Option<f32>],
    /// Account -> what speaks for its shared photos being its own.
    pub(crate) ownerships: &'a [Option<Ownership>],
    /// Account -> whether an analyst confirmed it as a bot.
    pub(crate) confirmed: &'a [bool],
    /// Signals that count for nothing.
    pub(crate) without: &'a [String],
}

/// Straight lines between points `(x, y)` by rising x, flat beyond.
pub(crate) fn between(points: &[(f64, f64)], x: f64) -> f64 {
    let Some(first) = points.first() else { return 0.0 };
    let mut last = *first;
    for point in points {
        if x < point.0 {
            if point.0 == last.0 || x <= last.0 {
                return last.1;
            }
            return last.1 + (x - last.0) / (point.0 - last.0) * (point.1 - last.1);
        }
        last = *point;
    }
    last.1
}

/// Share of an account's pictures with the eyes in place; `None` where no picture says.
pub(crate) fn generated_shares(input: &Input) -> Vec<Option<f32>> {
    let mut eyes: Vec<Option<bool>> = vec![None; input.photos.len()];
    for face in input.faces.iter().filter(|f| f.main) {
        if let Some(distance) = face.eye_alignment {
            eyes[face.photo as usize] = Some(distance <= EYES_IN_PLACE);
        }
    }
    let mut counts = vec![(0u32, 0u32); input.accounts.len()];
    for own in &input.ownerships {
        if let Some(there) = eyes[own.photo as usize] {
            let count = &mut counts[own.account as usize];
            count.0 += 1;
            count.1 += u32::from(there);
        }
    }
    counts.into_iter().map(|(all, there)| (all > 0).then(|| there as f32 / all as f32)).collect()
}

impl Scoring<'_> {
    /// The window in which most of a group was made, if it stands out from the population at all.
    pub(crate) fn burst(&self, accounts: &[u32]) -> Option<Burst> {
        let n = accounts.len();
        self.births.burst(accounts, (n * 3).div_ceil(5).max(2)).filter(|b| b.evidence > 0.0 && b.mass < 0.5)
    }

    /// What the creation times add, -1.5 to 4.
    fn creation(&self, group: &Group, burst: Option<&Burst>) -> (f64, String) {
        let n = group.len();
        let spread = self.births.spread(&group.accounts);
        if let Some(b) = burst {
            // A few friends who joined together are no burst, so small groups count for less.
            let weight = if group.len() < 5 { 0.15 } else { 0.25 };
            // The larger a group, the less honest company can explain it: classes and companies are small.
            let cap = between(&[(12.0, 4.0), (40.0, 6.0)], n as f64);
            let value = (weight * b.evidence).min(cap);
            let (from, to) = (Births::date(b.from), Births::date(b.to));
            let share = b.mass * 100.0;
            let detail = format!(
                "{} of {} made between {from} and {to}, when {share:.1}% of the others were",
                b.inside,
                group.len()
            );
            if value > 1.0 {
                return (value, detail);
            }
        }
        if group.len() >= 5 && spread > 0.35 {
            let detail = format!("made over a span in which {:.0}% of all accounts were", spread * 100.0);
            // Rings are made in days or months. Years of ordinary sign-ups are what fans, stock pictures and memes look like,
            // and the more accounts they are, the less it can be chance.
            let most = between(&[(5.0, -3.5), (40.0, -8.0)], n as f64);
            return (between(&[(0.35, 0.0), (0.55, -1.5), (0.75, most)], spread), detail);
        }
        (0.0, String::new())
    }

    /// Mean profile log-odds of those whose profile is known, weighed by how many that are; -4 to 4.
    fn profile(&self, group: &Group) -> (f64, String) {
        let known: Vec<u32> =
            group.accounts.iter().copied().filter(|a| self.profiles.known(*a) >= 2).collect();
        if known.is_empty() {
            return (0.0, String::new());
        }
        let mean = known.iter().map(|a| self.profiles.log_odds(*a)).sum::<f64>() / known.len() as f64;
        let value = (mean * 1.6).clamp(-4.0, 4.0) * known.len() as f64 / group.len() as f64;
        let mut counts: Vec<(usize, &str)> = Vec::new();
        for name in known.iter().flat_map(|a| rules_that_fit(&self.input.accounts[*a as usize].facts)) {
            match counts.iter_mut().find(|(_, n)| *n == name) {
                Some(slot) => slot.0 += 1,
                None => counts.push((1, name)),
            }
        }
        counts.sort_by(|x, y| y.0.cmp(&x.0).then(x.1.cmp(y.1)));
        let rules: Vec<String> =
            counts.iter().take(3).map(|(n, name)| format!("{n} of {}: {name}", known.len())).collect();
        let detail = if rules.is_empty() { "ordinary profiles".to_owned() } else { rules.join("; ") };
        (value, detail)
    }

    /// One name on most accounts is one person's; as many names as accounts under one face is not.
    fn names(&self, group: &Group) -> (f64, String) {
        let names: Vec<String> = group
            .accounts
            .iter()
            .filter_map(|a| bare_name(&self.input.accounts[*a as usize].facts))
            .collect();
        if names.len() < 3 || names.len() * 2 < group.len() {
            return (0.0, String::new());
        }
        let mut sorted = names.clone();
        sorted.sort_unstable();
        let most = sorted.chunk_by(|x, y| x == y).map(<[String]>::len).max().unwrap_or(0);
        if most * 5 >= names.len() * 3 {
            (-1.5, format!("{most} of {} have one name", names.len()))
        } else if group.people.len() == 1 && most == 1 {
            (0.5, format!("one face under {} names", names.len()))
        } else {
            (0.0, String::new())
        }
    }

    /// Scores a group.
    pub(crate) fn group(&self, group: &Group, burst: Option<&Burst>) -> Score {
        let cal = self.calibration;
        let n = group.len();
        let mut score = Score::new(cal);
        let (mut creation, creation_detail) = self.creation(group, burst);
        let (mut profile, profile_detail) = self.profile(group);
        // A signal that is left out opens no door for others either.
        for (signal, value) in [("creation", &mut creation), ("profiles", &mut profile)] {
            if self.left_out(signal) {
                *value = 0.0;
            }
        }

        // Accounts that share at least two photos: what a pool of stolen photos makes, and a meme does not.
        let several =
            |p: &Part| if p.shared_photos >= 2 { between(&[(0.6, 0.0), (1.5, 1.0)], p.shared) } else { 0.0 };
        let pooled: f64 = group.parts.iter().map(several).sum();
        let pool = between(
            &[(1.0, 0.0), (2.0, 0.5), (3.0, 1.2), (4.0, 2.5), (5.0, 4.0), (7.0, 5.5), (12.0, 6.5)],
            pooled,
        );
        let photos = group.shared.len();
        score.add(
            cal,
            "shared_photos",
            pool,
            format!("about {pooled:.0} of {n} share two photos or more, of {photos}"),
        );

        let cover = group.mean(|p| p.cover);
        let reuse = between(&[(0.1, -3.0), (0.3, -1.5), (0.55, 0.0), (0.9, 2.0)], cover);
        score.add(
            cal,
            "reuse",
            reuse,
            format!("{:.0}% of an account's portraits turn up on others here", cover * 100.0),
        );

        let people = group.people.len();
        let identities = if group.main_person >= 0.75 {
            // Nobody has six accounts made in one go; and fans were not made in one go.
            match n {
                0..=4 => -2.0,
                5 => -1.0,
                _ if creation >= 2.0 => 0.0,
                _ => -2.0,
            }
        } else {
            match people {
                0 => 0.0,
                // Where few members show the person, it does not explain the group.
                1 => -2.0 * between(&[(0.2, 0.0), (0.5, 1.0)], group.shown),
                2 => 0.3,
                _ => 1.0,
            }
        };
        score.add(
            cal,
            "people",
            identities,
            format!("{people} people; one of them makes {:.0}% of the showings", group.main_person * 100.0),
        );
        if people > 0 {
            score.add(
                cal,
                "famous",
                group.shown * between(&[(0.3, 0.0), (0.55, -1.0), (0.85, -2.5)], group.famous),
                format!(
                    "{:.0}% of those who show these people stand outside, {} for one of them",
                    group.famous * 100.0,
                    group.fans
                ),
            );
        }

        let shared: usize = group.parts.iter().map(|p| p.shared_photos).sum();
        let several: f64 = group.parts.iter().map(|p| p.group_photos).sum();
        if shared > 0 {
            let share = several / shared as f64;
            let value = between(&[(0.15, 0.0), (0.6, -3.0), (1.0, -4.0)], share);
            score.add(
                cal,
                "group_photos",
                value,
                format!("{:.0}% of the shared photos show as many people as show them", share * 100.0),
            );
        }
        if group.people.is_empty() {
            let value = between(&[(0.5, 0.0), (1.0, -4.0)], group.faceless);
            score.add(cal, "no_face", value, "what they share shows no face".to_owned());
        }

        let lives = group.parts.iter().filter(|p| p.own_life >= 2).count();
        let share = lives as f64 / n.max(1) as f64;
        score.add(
            cal,
            "own_life",
            between(&[(0.1, 0.0), (0.5, -2.5), (1.0, -4.0)], share),
            format!("{lives} of {n} have several photos of a person that nobody else here has"),
        );

        score.add(
            cal,
            "popular",
            between(&[(0.2, 0.0), (0.6, -1.5), (0.9, -3.0)], group.popular),
            format!("{:.0}% of those who show what is shared stand outside", group.popular * 100.0),
        );

        let size = match n {
            0..=2 => -3.0,
            3 => -2.0,
            4 => -1.0,
            _ => 0.0,
        };
        score.add(cal, "size", size, format!("{n} accounts may be one person's"));
        score.add(cal, "creation", creation, creation_detail);
        score.add(cal, "profiles", profile, profile_detail);
        let (names, detail) = self.names(group);
        score.add(cal, "names", names, detail);
        self.generated_and_mass(group, creation, &mut score);
        let sure = group.accounts.iter().filter(|a| self.confirmed[**a as usize]).count();
        let value = between(&[(0.0, 0.0), (0.5, 6.0), (1.0, 8.0)], sure as f64 / n.max(1) as f64);
        score.add(cal, "confirmed", value, format!("an analyst confirmed {sure} of {n}"));

        if pooled < 1.0 {
            // No account shares two photos: copies of one picture, or one person on many. Neither accuses by itself.
            let most = group.shared.iter().map(|s| s.quality).fold(0.0, f64::max);
            let spoken = creation >= 1.0 && profile >= 0.5;
            if most < 0.15 && !spoken {
                score.add(
                    cal,
                    "same_person_only",
                    -8.0,
                    "no photo is shared; one person on many accounts accuses nobody".to_owned(),
                );
            } else if most >= 0.15 && creation < 1.5 && profile < 1.5 {
                score.add(cal, "single_photo", -3.0, "no account shares more than one photo".to_owned());
            }
        }
        score.reasons.retain(|r| !self.left_out(&r.signal));
        score
    }

    pub(crate) fn left_out(&self, signal: &str) -> bool {
        self.without.iter().any(|w| w == signal)
    }

    fn generated_and_mass(&self, group: &Group, creation: f64, score: &mut Score) {
        let cal = self.calibration;
        let known: Vec<f32> = group.accounts.iter().filter_map(|a| self.generated[*a as usize]).collect();
        if known.len() >= 3 {
            let mean = f64::from(known.iter().sum::<f32>()) / known.len() as f64;
            let value = between(&[(0.15, 0.0), (0.8, 2.0)], mean);
            score.add(
                cal,
                "generated",
                value,
                format!("{:.0}% of portraits have the eyes of generated ones", mean * 100.0),
            );
        }
        let largest = group.shared.iter().map(|s| s.inside).max().unwrap_or(0);
        if largest >= self.mass_owners && creation >= 2.0 {
            let value =
                between(&[(1.0, 1.0), (5.0, 3.0)], (largest as f64 / self.mass_owners as f64).ln() + 1.0);
            score.add(cal, "mass_reuse", value, format!("one photo on {largest} accounts made together"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_between_points() {
        let points = [(1.0, 0.0), (2.0, 4.0), (4.0, 5.0)];
        for (x, y) in [(0.0, 0.0), (1.0, 0.0), (1.5, 2.0), (2.0, 4.0), (3.0, 4.5), (9.0, 5.0)] {
            assert!((between(&points, x) - y).abs() < 1e-12, "{x}");
        }
    }
}
