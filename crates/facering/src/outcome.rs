//! How a command ends: 0 done, 1 failed, 2 wrong usage or configuration.

use std::fmt;
use std::process::ExitCode;

use crate::config::Problem;

/// The configuration or the usage is wrong; nothing was started.
#[derive(Debug)]
pub struct Misconfigured(pub Vec<Problem>);

impl Misconfigured {
    /// One problem with what was typed.
    pub fn usage(key: &str, message: impl Into<String>) -> anyhow::Error {
        let problem = Problem { origin: "command line".into(), key: key.into(), message: message.into() };
        anyhow::Error::new(Self(vec![problem]))
    }
}

impl fmt::Display for Misconfigured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.0.iter().enumerate() {
            if at > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Misconfigured {}

/// The error with its causes. An error that tells its cause itself is not told twice.
fn sentence(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// Prints the error for a person and chooses the exit code.
#[expect(clippy::print_stderr, reason = "the last words of the program belong on standard error")]
pub fn report(error: &anyhow::Error) -> ExitCode {
    match error.downcast_ref::<Misconfigured>() {
        Some(Misconfigured(problems)) => {
            for problem in problems {
                eprintln!("error: {problem}");
            }
            ExitCode::from(2)
        }
        None => {
            eprintln!("error: {}", sentence(error));
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let cause = std::io::Error::other("the disk is read-only");
        let told = anyhow::Error::new(cause).context("cannot use x: the disk is read-only; check it");
        assert_eq!(sentence(&told), "cannot use x: the disk is read-only; check it");
        let untold = anyhow::anyhow!("the disk is read-only").context("cannot use x");
        assert_eq!(sentence(&untold), "cannot use x: the disk is read-only");
    }
}
