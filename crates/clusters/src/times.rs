//! When accounts were made, against when all accounts were made.
//!
//! Times are compared as shares of the population, so a dump in which everything was seen at one moment holds no information,
//! and a platform's own growth is no burst.

use records::Timestamp;

use crate::input::Account;

/// Least share of the population that a window is taken to hold: below a thousandth, chance is no longer the question.
const LEAST_MASS: f64 = 1e-3;

/// Creation times of all accounts.
#[derive(Debug)]
pub(crate) struct Births {
    /// Account -> creation (or, unknown, first observation) in microseconds.
    at: Vec<i64>,
    /// Account -> accounts born earlier.
    before: Vec<u32>,
    /// Account -> accounts born earlier or at the same time.
    until: Vec<u32>,
    /// Births that the two are counted in.
    all: usize,
}

/// When an account was created, or, if that is not known, first observed.
fn birth(account: &Account) -> i64 {
    let created = account.facts.created_at;
    created.map_or(account.first_seen, |created| created.min(account.first_seen)).as_micros()
}

/// Sorted births of a population. As many as the last tenth are added after the end, at the pace of that tenth: accounts
/// that come later are then compared with what may be expected of the days after, not with nothing.
pub(crate) fn births_of(accounts: &[Account]) -> Vec<i64> {
    let mut births: Vec<i64> = accounts.iter().map(birth).collect();
    births.sort_unstable();
    extend(&mut births);
    births
}

/// Goes on at the pace of the last tenth, for as long again.
pub(crate) fn extend(times: &mut Vec<i64>) {
    let n = times.len();
    let tenth = n / 10;
    if tenth == 0 || times[n - 1] == times[n - 1 - tenth] {
        return;
    }
    let (from, to) = (times[n - 1 - tenth], times[n - 1]);
    let step = |at: usize| ((i128::from(to - from) * at as i128) / tenth as i128) as i64;
    times.extend((1..=tenth).map(|at| to.saturating_add(step(at))));
}

/// The window in which a group's creation is most concentrated.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Burst {
    /// Log-likelihood ratio against the population's own creation times, less the cost of having looked at many windows.
    pub(crate) evidence: f64,
    /// Start of the window, microseconds.
    pub(crate) from: i64,
    /// End of the window, inclusive, microseconds.
    pub(crate) to: i64,
    /// Members of the group in it.
    pub(crate) inside: usize,
    /// Share of all other accounts born in it.
    pub(crate) mass: f64,
}

impl Births {
    /// Of accounts, against the sorted births of a population (`births_of`).
    pub(crate) fn new(accounts: &[Account], population: &[i64]) -> Self {
        let at: Vec<i64> = accounts.iter().map(birth).collect();
        let count = |f: &dyn Fn(i64) -> usize| at.iter().map(|t| f(*t) as u32).collect::<Vec<u32>>();
        let before = count(&|t| population.partition_point(|s| *s < t));
        let until = count(&|t| population.partition_point(|s| *s <= t));
        Self { at, before, until, all: population.len() }
    }

    /// Creation of an account in microseconds.
    pub(crate) fn at(&self, account: u32) -> i64 {
        self.at[account as usize]
    }

    /// Share of the population that is older, 0 (oldest) to 1; the middle where several were born together.
    pub(crate) fn rank(&self, account: u32) -> f64 {
        let a = account as usize;
        f64::from(self.before[a] + self.until[a]) / (2.0 * self.all.max(1) as f64)
    }

    /// Share of the population born between two accounts, 0 to 1: how far apart in time they are. Zero within a tie.
    pub(crate) fn apart(&self, a: u32, b: u32) -> f64 {
        let (a, b) = (a as usize, b as usize);
        let (early, late) = if self.at[a] <= self.at[b] { (a, b) } else { (b, a) };
        f64::from(self.before[late].saturating_sub(self.until[early])) / self.all.max(1) as f64
    }

    /// Share of the population born within a group's central 80%.
    pub(crate) fn spread(&self, group: &[u32]) -> f64 {
        let mut ranks: Vec<f64> = group.iter().map(|a| self.rank(*a)).collect();
        ranks.sort_by(f64::total_cmp);
        match ranks.len() {
            0 => 0.0,
            n => ranks[(n - 1) - (n - 1) / 10] - ranks[(n - 1) / 10],
        }
    }

    /// The scan statistic of M. Kulldorff, "A spatial scan statistic" (1997), in one dimension: among windows that hold at
    /// least `fewest` of the group, the one least likely under the population's times. `None` for fewer than 2 accounts.
    pub(crate) fn burst(&self, group: &[u32], fewest: usize) -> Option<Burst> {
        let n = group.len();
        if n < 2 || fewest > n {
            return None;
        }
        let mut order: Vec<u32> = group.to_vec();
        order.sort_unstable_by_key(|a| (self.at(*a), *a));
        let others = self.all.saturating_sub(n) as f64;
        let mut sizes = Vec::new();
        let mut k = fewest.max(2);
        while k < n {
            sizes.push(k);
            k = (k + 1).max(k * 5 / 4);
        }
        sizes.push(n);
        let looked_at = (n * sizes.len()) as f64;
        let mut best: Option<Burst> = None;
        for k in sizes {
            for i in 0..=n - k {
                let (first, last) = (order[i] as usize, order[i + k - 1] as usize);
                let there = f64::from(self.until[last] - self.before[first]) - k as f64;
                let mass = ((there.max(0.0) + 1.0) / (others + 1.0)).clamp(LEAST_MASS, 1.0);
                let share = k as f64 / n as f64;
                if share <= mass {
                    continue;
                }
                let out = if k < n { (n - k) as f64 * ((1.0 - share) / (1.0 - mass)).ln() } else { 0.0 };
                let evidence = k as f64 * (share / mass).ln() + out - looked_at.ln();
                if best.is_none_or(|b| evidence > b.evidence) {
                    best = Some(Burst { evidence, from: self.at[first], to: self.at[last], inside: k, mass });
                }
            }
        }
        best
    }

    /// As a date, for an analyst.
    pub(crate) fn date(micros: i64) -> String {
        Timestamp::from_micros(micros).map(|t| t.to_string().chars().take(10).collect()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use records::{AccountId, ProfileFacts};

    use super::*;

    fn births(days: &[i64]) -> Births {
        let account = |(at, day): (usize, &i64)| {
            let time = Timestamp::from_micros(day * 86_400_000_000).unwrap();
            Account {
                id: AccountId::new(format!("a{at:06}")).unwrap(),
                facts: ProfileFacts::default(),
                first_seen: time,
                last_seen: time,
            }
        };
        let accounts = days.iter().enumerate().map(account).collect::<Vec<_>>();
        Births::new(&accounts, &births_of(&accounts))
    }

    #[test]
    fn a_burst_stands_out_and_even_growth_does_not() {
        let mut days: Vec<i64> = (0..2000).collect();
        days.extend([700, 701, 702, 702, 703, 704, 1500]);
        let births = births(&days);
        let group: Vec<u32> = (2000..2007).collect();
        let burst = births.burst(&group, 4).unwrap();
        assert_eq!((burst.inside, burst.from / 86_400_000_000, burst.to / 86_400_000_000), (6, 700, 704));
        assert!(burst.evidence > 15.0, "{burst:?}");
        let even: Vec<u32> = (0..8).map(|i| i * 250).collect();
        assert!(births.burst(&even, 4).is_none_or(|b| b.evidence < 0.5));
        assert!(births.spread(&even) > 0.7 && births.spread(&group[..6]) < 0.01);
    }

    #[test]
    fn births_go_on_at_the_last_pace() {
        let mut times: Vec<i64> = (0..100).map(|i| i * 10).collect();
        extend(&mut times);
        assert_eq!((times.len(), times[100], times[109]), (110, 1000, 1090));
        let mut dump = vec![7; 50];
        extend(&mut dump);
        assert_eq!(dump.len(), 50, "one moment has no pace");
    }

    #[test]
    fn a_dump_at_one_moment_says_nothing() {
        let births = births(&[5; 300]);
        assert_eq!(births.burst(&[0, 1, 2, 3], 2), None);
        assert!(births.apart(0, 299).abs() < 1e-9 && (births.rank(7) - 0.5).abs() < 1e-9);
    }
}
