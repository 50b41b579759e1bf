//! Profile rules: what bots' profiles look like, weighed against how common that is here.
//!
//! Each rule has an assumed prevalence among bots; its prevalence in the population is counted. A rule that fits everybody
//! therefore says nothing, and a missing fact says nothing either.

use records::ProfileFacts;

use crate::input::Account;

/// A rule: its name, its assumed prevalence among bots, and whether it fits (`None`: not known).
struct Rule {
    name: &'static str,
    among_bots: f64,
    fits: fn(&ProfileFacts) -> Option<bool>,
}

const RULES: [Rule; 5] = [
    Rule { name: "follows far more than it is followed", among_bots: 0.6, fits: follows_far_more },
    Rule { name: "hardly any followers", among_bots: 0.7, fits: |f| f.followers.map(|n| n < 50) },
    Rule { name: "no or hardly any posts", among_bots: 0.6, fits: |f| f.posts.map(|n| n <= 3) },
    Rule { name: "empty name", among_bots: 0.3, fits: |f| f.full_name.as_ref().map(|n| n.trim().is_empty()) },
    Rule { name: "handle ends in many digits", among_bots: 0.4, fits: many_digits },
];

/// The most that one rule may add or take away.
const RULE_CAP: f64 = 1.3;
/// Rules lean on one another (a dormant account breaks several), so their sum is shrunk.
const SHRINK: f64 = 0.7;

fn follows_far_more(facts: &ProfileFacts) -> Option<bool> {
    let (followers, following) = (facts.followers?, facts.following?);
    Some(following >= 30 && following >= 5 * followers.max(0).saturating_add(1))
}

fn many_digits(facts: &ProfileFacts) -> Option<bool> {
    let name = facts.username.as_ref()?;
    Some(name.chars().rev().take_while(char::is_ascii_digit).count() >= 4)
}

/// What each rule adds where it fits and where it does not, given how common it is in a population.
#[derive(Clone, Default, PartialEq, Debug)]
pub(crate) struct Weights(Vec<(f64, f64)>);

/// How far each account's profile is a bot's.
#[derive(Debug)]
pub(crate) struct Profiles {
    log_odds: Vec<f32>,
    known: Vec<u8>,
}

impl Weights {
    /// Counts how common the rules are.
    pub(crate) fn of(accounts: &[Account]) -> Self {
        let weights = RULES
            .iter()
            .map(|rule| {
                let (mut known, mut fit) = (0usize, 0usize);
                for fits in accounts.iter().filter_map(|a| (rule.fits)(&a.facts)) {
                    known += 1;
                    fit += usize::from(fits);
                }
                // One in ten, as of twenty accounts, before anything is counted.
                let common = (fit as f64 + 2.0) / (known as f64 + 20.0);
                let cap = |x: f64| x.clamp(-RULE_CAP, RULE_CAP);
                // A rule that is commoner here than among bots speaks for nobody.
                let fits = cap((rule.among_bots / common).ln()).max(0.0);
                let fits_not = cap(((1.0 - rule.among_bots) / (1.0 - common)).ln()).min(0.0);
                (fits * SHRINK, fits_not * SHRINK)
            })
            .collect();
        Self(weights)
    }
}

impl Profiles {
    pub(crate) fn new(accounts: &[Account], weights: &Weights) -> Self {
        let judge = |facts: &ProfileFacts| {
            let (mut sum, mut known) = (0.0, 0);
            for (rule, (yes, no)) in RULES.iter().zip(&weights.0) {
                if let Some(fits) = (rule.fits)(facts) {
                    sum += if fits { *yes } else { *no };
                    known += 1;
                }
            }
            (sum + well_known(facts), known)
        };
        let (log_odds, known) = accounts.iter().map(|a| judge(&a.facts)).map(|(s, k)| (s as f32, k)).unzip();
        Self { log_odds, known }
    }

    /// Log-odds that the profile is a bot's rather than anybody's, about -4 to 4; 0 where nothing is known.
    pub(crate) fn log_odds(&self, account: u32) -> f64 {
        f64::from(self.log_odds[account as usize])
    }

    /// Facts known of an account, 0 to 5.
    pub(crate) fn known(&self, account: u32) -> u8 {
        self.known[account as usize]
    }
}

/// Reach that bots hardly get: speaks for an account whatever the population looks like.
fn well_known(facts: &ProfileFacts) -> f64 {
    let followers = facts.followers.unwrap_or(0);
    let organic = followers >= 1000 && facts.following.is_none_or(|following| followers >= 2 * following);
    if organic { -1.0 } else { 0.0 }
}

/// Names of the rules that fit a profile.
pub(crate) fn rules_that_fit(facts: &ProfileFacts) -> impl Iterator<Item = &'static str> {
    RULES.iter().filter(|r| (r.fits)(facts) == Some(true)).map(|r| r.name)
}

/// The full name reduced to its letters, to compare names of one person; `None` if unknown or hardly any letters. Handles do not
/// serve: those made in series are alike for another reason.
pub(crate) fn bare_name(facts: &ProfileFacts) -> Option<String> {
    let text = facts.full_name.as_ref()?;
    let bare: String = text.chars().filter(|c| c.is_alphabetic()).flat_map(char::to_lowercase).collect();
    (bare.chars().count() >= 3).then_some(bare)
}

#[cfg(test)]
mod tests {
    use records::{AccountId, Timestamp};

    use super::*;

    fn account(at: usize, facts: ProfileFacts) -> Account {
        let id = AccountId::new(format!("a{at}")).unwrap();
        Account { id, facts, first_seen: Timestamp::EPOCH, last_seen: Timestamp::EPOCH }
    }

    fn bot() -> ProfileFacts {
        ProfileFacts {
            username: Some("anna83749".into()),
            full_name: Some(String::new()),
            followers: Some(3),
            following: Some(900),
            posts: Some(0),
            ..Default::default()
        }
    }

    fn organic() -> ProfileFacts {
        ProfileFacts {
            username: Some("anna".into()),
            full_name: Some("Anna A".into()),
            followers: Some(300),
            following: Some(280),
            posts: Some(44),
            ..Default::default()
        }
    }

    #[test]
    fn rules_are_weighed_against_the_population() {
        let mut accounts: Vec<Account> = (0..200).map(|i| account(i, organic())).collect();
        accounts.push(account(200, bot()));
        accounts.push(account(201, ProfileFacts::default()));
        let rare = Profiles::new(&accounts, &Weights::of(&accounts));
        assert!(rare.log_odds(200) > 3.0 && rare.log_odds(0) < -1.5);
        assert_eq!((rare.log_odds(201), rare.known(201)), (0.0, 0));

        let everybody: Vec<Account> = (0..200).map(|i| account(i, bot())).collect();
        let common = Profiles::new(&everybody, &Weights::of(&everybody));
        assert!(common.log_odds(0).abs() < 0.2, "what fits everybody says nothing");
        assert_eq!(rules_that_fit(&bot()).count(), 5);
        assert_eq!(bare_name(&organic()).as_deref(), Some("annaa"));
        assert_eq!(bare_name(&bot()), None);
    }
}
