//! The terminal, where there is one: a progress bar at its foot, with log lines passing above it.

use std::io::{IsTerminal, Write};
use std::sync::LazyLock;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// Whatever is drawn on standard error; draws nothing where that is no terminal.
static DRAWN: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Whether standard error is a terminal.
pub fn has_one() -> bool {
    std::io::stderr().is_terminal()
}

/// A progress bar; it goes with this value.
pub struct Bar(ProgressBar);

impl Bar {
    /// Of so many rows.
    pub fn new(all: u64) -> Self {
        let bar = DRAWN.add(ProgressBar::new(all));
        // The template is a constant; should it ever be wrong, the plain style is drawn.
        if let Ok(style) = ProgressStyle::with_template("{wide_bar} {percent}%\n{wide_msg}") {
            bar.set_style(style);
        }
        Self(bar)
    }

    /// Draws how far it is.
    pub fn show(&self, done: u64, all: u64, line: &str) {
        self.0.set_length(all);
        self.0.set_position(done);
        self.0.set_message(line.to_owned());
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
        DRAWN.remove(&self.0);
    }
}

/// Standard error for log lines: a bar is taken away while a line is written.
pub struct Lines;

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if has_one() {
            DRAWN.suspend(|| std::io::stderr().write(bytes))
        } else {
            std::io::stderr().write(bytes)
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}
