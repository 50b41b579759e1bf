//! How numbers, times and fixed words read. One place, so that page, terminal and exports agree.

use records::Timestamp;
use records::tables::{Change, LinkKind};

/// Digits in groups of three, with a narrow no-break space.
pub(crate) fn grouped(number: impl Into<i128>) -> String {
    let number = number.into();
    let digits = number.unsigned_abs().to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    if number < 0 { format!("\u{2212}{text}") } else { text }
}

/// `number noun`, with an s unless it is one.
pub(crate) fn counted(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{}\u{a0}{noun}{plural}", grouped(number as i128))
}

/// A number with a sign always, and the true minus.
pub(crate) fn signed(number: f64) -> String {
    let sign = if number < 0.0 { '\u{2212}' } else { '+' };
    format!("{sign}{:.2}", number.abs())
}

/// A probability with two decimals, never rounded up to a certainty.
pub(crate) fn probability(p: f64) -> String {
    match p {
        p if (0.995..1.0).contains(&p) => "0.99+".to_owned(),
        p => format!("{p:.2}"),
    }
}

/// `1 Mar 2026`.
pub(crate) fn day(time: Timestamp) -> String {
    civil(time, "%-d %b %Y")
}

/// `1 Mar 2026 14:05 UTC`.
pub(crate) fn minute(time: Timestamp) -> String {
    civil(time, "%-d %b %Y %H:%M UTC")
}

/// A time by a strftime pattern, in UTC; RFC 3339 where that is out of range.
pub(crate) fn civil(time: Timestamp, pattern: &str) -> String {
    match jiff::Timestamp::from_microsecond(time.as_micros()) {
        Ok(at) => at.strftime(pattern).to_string(),
        Err(_) => time.to_string(),
    }
}

/// A span of time in the unit that gives a number below a hundred or so.
pub(crate) fn span(seconds: f64) -> String {
    let units =
        [(60.0, "second"), (60.0, "minute"), (24.0, "hour"), (365.25, "day"), (f64::INFINITY, "year")];
    let mut value = seconds.abs();
    for (size, name) in units {
        if value < size * 1.5 || size.is_infinite() {
            let text =
                if value < 9.95 && name != "second" { format!("{value:.1}") } else { format!("{value:.0}") };
            let text = text.trim_end_matches(".0");
            return format!("{text}\u{a0}{name}{}", if text == "1" { "" } else { "s" });
        }
        value /= size;
    }
    String::new()
}

/// A kind of link for people.
pub(crate) fn kind(kind: LinkKind) -> &'static str {
    match kind {
        LinkKind::SameBytes => "same file",
        LinkKind::SamePhoto => "same photo",
        LinkKind::SamePerson => "same person",
    }
}

/// What a kind of link means.
pub(crate) fn kind_meaning(kind: LinkKind) -> &'static str {
    match kind {
        LinkKind::SameBytes => "one file, byte for byte",
        LinkKind::SamePhoto => "one photograph, re-encoded, resized, cropped or mirrored",
        LinkKind::SamePerson => "two photographs of one person; corroborates, never accuses alone",
    }
}

/// What became of a cluster, for people.
pub(crate) fn change(change: Change) -> &'static str {
    match change {
        Change::New => "new",
        Change::Grown => "grown",
        Change::Shrunk => "shrunk",
        Change::Merged => "merged",
        Change::Split => "split",
        Change::Unchanged => "unchanged",
    }
}

/// A signal's name for people: underscores become spaces.
pub(crate) fn signal(name: &str) -> String {
    name.replace('_', " ")
}

/// A log-odds turned into a probability.
pub(crate) fn logistic(log_odds: f64) -> f64 {
    1.0 / (1.0 + (-log_odds).exp())
}

/// Text that cannot move the cursor, colour the terminal or turn the reading direction: control characters and
/// direction marks become `\u{…}`.
pub(crate) fn printable(text: &str) -> String {
    let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}');
    text.chars().fold(String::new(), |mut out, c| {
        if c.is_control() || turns(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
        out
    })
}

/// At most `length` characters, with an ellipsis for what was cut.
pub(crate) fn shortened(text: &str, length: usize) -> String {
    if text.chars().count() <= length {
        return text.to_owned();
    }
    text.chars().take(length.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(grouped(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(grouped(-12), "\u{2212}12");
        assert_eq!(counted(1, "account"), "1\u{a0}account");
        assert_eq!(signed(-0.256), "\u{2212}0.26");
        assert_eq!(probability(0.9999), "0.99+");
        assert_eq!(probability(0.5), "0.50");
    }

    #[test]
    fn spans_take_a_fitting_unit() {
        assert_eq!(span(42.0), "42\u{a0}seconds");
        assert_eq!(span(5400.0), "1.5\u{a0}hours");
        assert_eq!(span(86_400.0 * 2.5), "2.5\u{a0}days");
        assert_eq!(span(86_400.0 * 400.0), "400\u{a0}days");
        assert_eq!(span(86_400.0 * 365.25 * 3.0), "3\u{a0}years");
    }

    #[test]
    fn nothing_moves_the_terminal() {
        assert_eq!(printable("a\u{1b}[31mb\u{202e}c\n"), "a\\u{1b}[31mb\\u{202e}c\\u{a}");
    }

    #[test]
    fn cuts_at_characters() {
        assert_eq!(shortened("Zoë", 3), "Zoë");
        assert_eq!(shortened("Zoëlla", 4), "Zoë…");
    }
}
