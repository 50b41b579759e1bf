//! Progress of long work on the index: a bar on a terminal, log lines elsewhere.

use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use index::TrainProgress;
use indicatif::{ProgressBar, ProgressStyle};

/// How often a line is logged where there is no terminal.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Shows how far it is and how long it may still take.
pub struct Reporter {
    bar: Option<ProgressBar>,
    seen: Mutex<Seen>,
}

struct Seen {
    started: Instant,
    logged: Instant,
    phase: &'static str,
    phase_began: Instant,
    /// Share of the whole at the first look: work that an earlier run had done.
    first: Option<f64>,
}

impl Reporter {
    /// Starts now.
    pub fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{wide_bar} {percent:>3}% {msg}");
            let bar = ProgressBar::new(1000);
            style.into_iter().for_each(|style| bar.set_style(style));
            bar
        });
        let now = Instant::now();
        let seen = Seen { started: now, logged: now, phase: "", phase_began: now, first: None };
        Self { bar, seen: Mutex::new(seen) }
    }

    /// Takes note of a step.
    pub fn step(&self, step: &TrainProgress) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let new_phase = seen.phase != step.phase;
        if new_phase {
            (seen.phase, seen.phase_began) = (step.phase, now);
        }
        let of_phase = step.done as f64 / step.total.max(1) as f64;
        let (share, left) = match step.fraction {
            Some(share) => {
                let first = *seen.first.get_or_insert(share);
                (share, left(now - seen.started, share - first, 1.0 - share))
            }
            None => (of_phase, left(now - seen.phase_began, of_phase, 1.0 - of_phase)),
        };
        let count = if step.total > 1 { format!(" {} of {}", step.done, step.total) } else { String::new() };
        let left = left.map_or(String::new(), |left| format!(", about {} left", duration(left)));
        let text = format!("{}{count}{left}", step.phase);
        match &self.bar {
            Some(bar) => {
                bar.set_position((share * 1000.0) as u64);
                bar.set_message(text);
            }
            None if new_phase || now - seen.logged >= LOG_EVERY => {
                seen.logged = now;
                tracing::info!("{:3.0}%  {text}", share * 100.0);
            }
            None => {}
        }
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// How long the rest takes at the pace so far; `None` while too little is known.
fn left(spent: Duration, done: f64, open: f64) -> Option<Duration> {
    (done > 0.01 && spent > Duration::from_secs(2)).then(|| spent.mul_f64((open / done).clamp(0.0, 1e4)))
}

fn duration(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..100 => format!("{seconds} s"),
        seconds @ 100..6000 => format!("{} min", seconds.div_ceil(60)),
        seconds => format!("{:.1} h", seconds as f64 / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_follows_from_the_pace() {
        let minute = Duration::from_secs(60);
        assert_eq!(left(minute, 0.25, 0.75).map(|left| left.as_secs()), Some(180));
        assert_eq!(left(minute, 0.0, 1.0), None);
        assert_eq!(duration(Duration::from_secs(59)), "59 s");
        assert_eq!(duration(minute * 3), "3 min");
        assert_eq!(duration(minute * 150), "2.5 h");
    }
}
