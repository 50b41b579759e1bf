//! What an account adds to its group's log-odds, signal by signal.

use records::tables::Reason;

use crate::group::{Group, Part};
use crate::profile::rules_that_fit;
use crate::score::{Score, Scoring, between};
use crate::times::{Births, Burst};
use crate::victims::LEAST;

/// A day in microseconds: bursts shorter than that are taken as a day long.
const DAY: i64 = 86_400_000_000;

/// What holds for a group as a whole when its accounts are looked at one by one.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Company {
    /// When most of it was made.
    burst: Option<Burst>,
    /// Whether its way is to share several photos.
    pooled: bool,
    /// First and last time at which those who were made together first showed what they share, if that says anything.
    posted: Option<(i64, i64)>,
    /// Links of the median member.
    links: f64,
    /// Upper quarter of ranks by age: accounts well before it are old.
    early: f64,
}

impl Scoring<'_> {
    /// What a group is to its accounts.
    pub(crate) fn company(&self, group: &Group, burst: Option<&Burst>) -> Company {
        let burst = burst.copied().filter(|b| b.evidence > 8.0);
        let pooled = group.parts.iter().filter(|p| p.shared_photos >= 2).count() * 3 >= group.len();
        let posted = burst.and_then(|b| {
            let rows = group.accounts.iter().zip(&group.parts);
            let together = rows.filter(|(a, _)| (b.from..=b.to).contains(&self.births.at(**a)));
            let mut times: Vec<i64> = together.filter_map(|(_, p)| p.since).collect();
            times.sort_unstable();
            let n = times.len();
            if n < 4 {
                return None;
            }
            let (from, to) = (times[n / 10], times[n - 1 - n / 10]);
            let slack = (to - from) / 4 + 2 * DAY;
            let window = (from - slack, to + slack);
            (self.inc.posted_within(window.0, window.1) <= 0.1).then_some(window)
        });
        let mut ranks: Vec<f64> = group.accounts.iter().map(|a| self.births.rank(*a)).collect();
        ranks.sort_by(f64::total_cmp);
        let early = ranks.get(ranks.len() / 4).copied().unwrap_or(0.0);
        let mut links: Vec<f64> = group.parts.iter().map(|p| p.links).collect();
        links.sort_by(f64::total_cmp);
        let links = links.get(links.len() / 2).copied().unwrap_or(0.0);
        Company { burst, pooled, posted, links, early }
    }

    /// The signals of one account.
    pub(crate) fn own(&self, account: u32, part: &Part, company: &Company) -> Vec<Reason> {
        let mut score = Score::default();
        let cal = self.calibration;
        let shared = match part.shared {
            s if s >= 1.5 => 1.0,
            s if s >= 0.6 => {
                if company.pooled {
                    -0.3
                } else {
                    0.3
                }
            }
            // Where one person on many photos is the ring's way, nobody shares a photo.
            _ if part.kin && !company.pooled => 0.0,
            s if s >= 0.15 || part.kin => -0.7,
            _ => -1.5,
        };
        score.add(
            cal,
            "own_shared_photos",
            shared,
            format!("{} of its photos turn up here", part.shared_photos),
        );
        let reuse = between(&[(0.1, -3.0), (0.25, -1.8), (0.5, 0.0), (0.8, 0.5)], part.cover);
        score.add(
            cal,
            "own_reuse",
            reuse,
            format!("{:.0}% of its portraits turn up on others here", part.cover * 100.0),
        );
        if company.links > 0.0 {
            let value = between(&[(0.08, -2.0), (0.35, 0.0)], part.links / company.links);
            let detail = format!(
                "shares with {:.0} others here, the median member with {:.0}",
                part.links, company.links
            );
            score.add(cal, "own_links", value, detail);
        }
        let life = match part.own_life {
            0 | 1 => 0.0,
            2 => -2.0,
            _ => -3.0,
        };
        score.add(
            cal,
            "own_life",
            life,
            format!("{} photos of a person that nobody else here has", part.own_life),
        );
        if part.shared_photos > 0 {
            let share = part.group_photos / part.shared_photos as f64;
            let value = between(&[(0.6, 0.0), (1.0, -1.5)], share);
            score.add(
                cal,
                "own_group_photos",
                value,
                "what it shares are photos of several people".to_owned(),
            );
        }
        if let Some(ownership) = &self.ownerships[account as usize] {
            let value = between(&[(LEAST, 0.0), (0.0, -2.5)], ownership.log_odds());
            let detail = format!("its photos are its own with a probability of {:.2}", ownership.score());
            score.add(cal, "own_photos", value, detail);
        }
        if self.profiles.known(account) >= 2 {
            let value = (0.8 * self.profiles.log_odds(account)).clamp(-3.0, 2.5);
            let rules: Vec<&str> = rules_that_fit(&self.input.accounts[account as usize].facts).collect();
            let detail = if rules.is_empty() { "ordinary profile".to_owned() } else { rules.join("; ") };
            score.add(cal, "own_profile", value, detail);
        }
        self.own_time(account, part, company, &mut score);
        if self.confirmed[account as usize] {
            score.add(cal, "confirmed", 6.0, "an analyst confirmed it".to_owned());
        }
        if self.input.accounts[account as usize].facts.verified == Some(true) {
            score.add(cal, "verified", -6.0, "the platform vouches for the account".to_owned());
        }
        // An account's own signals are called after those of clusters.
        score
            .reasons
            .retain(|r| !self.left_out(r.signal.trim_start_matches("own_")) && !self.left_out(&r.signal));
        score.reasons
    }

    fn own_time(&self, account: u32, part: &Part, company: &Company, score: &mut Score) {
        let cal = self.calibration;
        let born = self.births.at(account);
        let Some(b) = company.burst else {
            let value = -between(&[(0.15, 0.0), (0.5, 1.5)], company.early - self.births.rank(account));
            score.add(cal, "own_age", value, "older than most others here".to_owned());
            return;
        };
        if (b.from..=b.to).contains(&born) {
            score.add(cal, "own_creation", 0.7, "made with the others".to_owned());
            return;
        }
        let width = (b.to - b.from).max(DAY) as f64;
        let gap = (born - b.from).abs().min((born - b.to).abs()) as f64 / width;
        let older = if born < b.from { 1.0 } else { 0.6 };
        let value = -older * between(&[(0.5, 0.3), (3.0, 1.0), (20.0, 1.8)], gap);
        let detail = format!("made on {}, apart from the others", Births::date(born));
        score.add(cal, "own_creation", value, detail);
        // Rings buy older accounts; these show the ring's photos when the others do.
        let with_others = |(from, to): (i64, i64)| part.since.is_some_and(|t| (from..=to).contains(&t));
        if company.posted.is_some_and(with_others) {
            score.add(
                cal,
                "own_posting",
                -0.7 * value,
                "showed what they share when the others did".to_owned(),
            );
        }
    }
}
