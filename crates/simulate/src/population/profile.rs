//! Profile facts. Bots and honest accounts overlap in every one of them: honest people follow many and post nothing,
//! bots buy followers and aged accounts, and every fact may be unknown.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, LogNormal};
use records::{ProfileFacts, Timestamp};

/// Whose habits a profile follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Habit {
    /// An ordinary person, or one who only watches.
    Ordinary,
    /// Somebody with many photos and followers, whose photos are worth stealing.
    Rich,
    /// Known to everybody.
    Celebrity,
    /// A new account for a class or a company: few followers, few posts.
    Fresh,
    /// A bot that takes no pains.
    Bot,
}

/// Medians of followers, following and posts, and the chance that the name is empty.
fn medians(habit: Habit, rng: &mut ChaCha8Rng) -> ([f64; 3], f64) {
    match habit {
        Habit::Ordinary if rng.random_bool(0.12) => ([25.0, 420.0, 0.6], 0.25),
        Habit::Ordinary => ([170.0, 230.0, 35.0], 0.07),
        Habit::Rich => ([900.0, 380.0, 160.0], 0.03),
        Habit::Celebrity => ([900_000.0, 200.0, 1_500.0], 0.0),
        Habit::Fresh => ([22.0, 90.0, 3.0], 0.12),
        Habit::Bot => ([22.0, 800.0, 3.0], 0.35),
    }
}

/// Draws a profile.
pub(super) fn facts(habit: Habit, created_at: Timestamp, rng: &mut ChaCha8Rng) -> ProfileFacts {
    let ([followers, following, posts], nameless) = medians(habit, rng);
    let mut count = |median: f64| {
        let drawn = LogNormal::new(median.ln(), 1.15).map_or(median, |d| d.sample(rng));
        (!rng.random_bool(0.03)).then_some(drawn.min(4e8) as i64)
    };
    let (followers, following, posts) = (count(followers), count(following), count(posts));
    let verified = match habit {
        Habit::Celebrity => rng.random_bool(0.95),
        Habit::Rich => rng.random_bool(0.03),
        Habit::Ordinary => rng.random_bool(0.002),
        Habit::Fresh | Habit::Bot => false,
    };
    let (first, last) = (word(2, rng), word(3, rng));
    let digits = rng.random_bool(if habit == Habit::Bot { 0.7 } else { 0.45 });
    let number = if digits { rng.random_range(1..10_000).to_string() } else { String::new() };
    ProfileFacts {
        username: Some(format!("{first}{}{last}{number}", if rng.random_bool(0.4) { "_" } else { "" })),
        full_name: Some(if rng.random_bool(nameless) {
            String::new()
        } else {
            format!("{} {}", capitalised(&first), capitalised(&last))
        }),
        followers,
        following,
        posts,
        created_at: (!rng.random_bool(0.03)).then_some(created_at),
        verified: (!rng.random_bool(0.03)).then_some(verified),
    }
}

/// A word that is nobody's name in particular.
fn word(syllables: usize, rng: &mut ChaCha8Rng) -> String {
    const HEADS: &[u8] = b"bdfghjklmnprstvz";
    const VOWELS: &[u8] = b"aeiou";
    let letter = |of: &[u8], rng: &mut ChaCha8Rng| char::from(of[rng.random_range(0..of.len())]);
    (0..syllables).flat_map(|_| [letter(HEADS, rng), letter(VOWELS, rng)]).collect()
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}
