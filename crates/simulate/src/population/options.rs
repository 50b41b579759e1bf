//! How large a population is and of whom it consists.

use records::Timestamp;
use serde::{Deserialize, Serialize};

/// A population: the same options give the same population, account for account.
#[derive(Deserialize, Serialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Accounts, bots and victims included; at least 20.
    pub accounts: u64,
    /// Seed of everything random.
    pub seed: u64,
    /// Share of the accounts that are bots of a ring, 0 to 0.9.
    pub bots: f64,
    /// Days over which the population was observed, 30 to 20,000; the last one ends at `until`.
    pub days: u32,
    /// End of the observation.
    pub until: Timestamp,
    /// Probability that a person whose photos a ring stole has an account of their own in the population, 0 to 1.
    pub victims_present: f64,
    /// Probability that a bot's profile (followers, posts, name) looks like an honest one's, 0 to 1.
    pub bots_in_disguise: f64,
    /// Bots of the smallest ring, at least 4.
    pub smallest_ring: u32,
    /// Bots of the largest ring, other than one photo on thousands.
    pub largest_ring: u32,
    /// Bots of the largest ring of the kind that puts one photo on thousands.
    pub largest_mass_ring: u32,
    /// Kinds of rings.
    pub rings: RingMix,
    /// Kinds of honest accounts.
    pub honest: HonestMix,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            accounts: 10_000,
            seed: 1,
            bots: 0.06,
            days: 1_095,
            until: Timestamp::from_micros(1_767_225_600_000_000).unwrap_or(Timestamp::EPOCH),
            victims_present: 0.7,
            bots_in_disguise: 0.25,
            smallest_ring: 6,
            largest_ring: 60,
            largest_mass_ring: 3_000,
            rings: RingMix::default(),
            honest: HonestMix::default(),
        }
    }
}

macro_rules! mix {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $default:literal,)* }) => {
        $(#[$doc])*
        #[derive(Deserialize, Serialize, Clone, Debug, PartialEq)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name { $($(#[$field_doc])* pub $field: f64,)* }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl $name {
            /// Weights by name, in the order of the fields.
            fn named(&self) -> Vec<(&'static str, f64)> {
                vec![$((stringify!($field), self.$field),)*]
            }

            /// The weights in the order of the fields, scaled to sum to 1 (all 0 if none is positive).
            pub(super) fn shares(&self) -> Vec<f64> {
                let weights: Vec<f64> = self.named().into_iter().map(|(_, weight)| weight).collect();
                let sum: f64 = weights.iter().sum();
                weights.iter().map(|w| if sum > 0.0 { w / sum } else { 0.0 }).collect()
            }
        }
    };
}

mix!(
    /// Weights of the kinds of rings, by bots; 0 leaves a kind out.
    RingMix {
        /// A pool of stolen photos of several people, re-used with re-encoding, crops and mirrors.
        stolen_pool: 0.35,
        /// Many photos of one person, few of them used twice.
        one_person: 0.15,
        /// One photo on up to thousands of accounts.
        mass_photo: 0.15,
        /// A pool of stolen photos on accounts that come one by one over months.
        slow: 0.15,
        /// Two rings at different times that stole from one person.
        shared_person: 0.12,
        /// Generated faces, each used by a few bots.
        generated: 0.08,
    }
);

mix!(
    /// Weights of the kinds of honest accounts, by accounts; 0 leaves a kind out. Victims come with the rings.
    HonestMix {
        /// Own photos and nothing else.
        plain: 0.26,
        /// Circles of friends with group photos that several of them show.
        friends: 0.33,
        /// Fans of a celebrity, over years.
        fan: 0.10,
        /// Pages that show nothing but a celebrity.
        fan_page: 0.01,
        /// The celebrities themselves.
        celebrity: 0.004,
        /// Memes as profile pictures.
        meme: 0.04,
        /// Stock portraits as profile pictures.
        stock: 0.02,
        /// The platform's default avatar.
        default_avatar: 0.06,
        /// Brothers and sisters.
        sibling: 0.03,
        /// Twins.
        twin: 0.012,
        /// One person with two or three accounts.
        several_accounts: 0.04,
        /// Couples that show each other.
        couple: 0.03,
        /// Classes and companies whose accounts are made in one week and share a picture.
        team: 0.02,
        /// Faces too small or blurred to be told apart.
        blurry: 0.044,
    }
);

impl Options {
    /// Everything that is wrong, as (key, what is wrong and what is allowed).
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        let mut check = |right: bool, key: &str, what: &str| {
            if !right {
                problems.push((key.to_owned(), what.to_owned()));
            }
        };
        check((20..=1_000_000_000).contains(&self.accounts), "accounts", "must be 20 to 1,000,000,000");
        check((0.0..=0.9).contains(&self.bots), "bots", "is a share and must be 0 to 0.9");
        check((30..=20_000).contains(&self.days), "days", "must be 30 to 20,000");
        check(self.until > Timestamp::EPOCH, "until", "must be after 1970");
        for (key, share) in
            [("victims_present", self.victims_present), ("bots_in_disguise", self.bots_in_disguise)]
        {
            check((0.0..=1.0).contains(&share), key, "is a probability and must be 0 to 1");
        }
        check((4..=10_000).contains(&self.smallest_ring), "smallest_ring", "must be 4 to 10,000");
        check(
            (self.smallest_ring..=100_000).contains(&self.largest_ring),
            "largest_ring",
            "must be smallest_ring to 100,000",
        );
        check(
            (self.smallest_ring..=1_000_000).contains(&self.largest_mass_ring),
            "largest_mass_ring",
            "must be smallest_ring to 1,000,000",
        );
        for (section, weights) in [("rings", self.rings.named()), ("honest", self.honest.named())] {
            for (name, weight) in &weights {
                let key = format!("{section}.{name}");
                check(weight.is_finite() && *weight >= 0.0, &key, "is a weight and must be 0 or more");
            }
            check(weights.iter().any(|(_, w)| *w > 0.0), section, "needs a positive weight");
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_right_and_every_problem_is_told_at_once() {
        assert_eq!(Options::default().problems(), []);
        let wrong =
            Options { accounts: 3, bots: f64::NAN, smallest_ring: 9, largest_ring: 8, ..Options::default() };
        let keys: Vec<_> = wrong.problems().into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["accounts", "bots", "largest_ring"]);
    }

    #[test]
    fn options_are_read_with_defaults_and_without_unknown_keys() {
        let read: Options = serde_json::from_str(r#"{"accounts":50,"rings":{"slow":0}}"#).unwrap();
        assert_eq!((read.accounts, read.rings.slow), (50, 0.0));
        assert!(serde_json::from_str::<Options>(r#"{"acounts":50}"#).is_err());
    }
}
