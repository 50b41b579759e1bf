//! How a picture can fail, and what each way means.

use records::DeadLetterReason;

/// What to do about an outcome.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    /// Try again after a while; give up as a dead letter when the attempts are used up.
    Retry,
    /// Trying again would give the same: a dead letter at once.
    DeadLetter,
}

/// The rule for each reason of this stage.
pub fn rule(reason: DeadLetterReason) -> Rule {
    match reason {
        DeadLetterReason::Timeout
        | DeadLetterReason::Unreachable
        | DeadLetterReason::Throttled
        | DeadLetterReason::UnexpectedStatus => Rule::Retry,
        _ => Rule::DeadLetter,
    }
}

/// Why a picture could not be had.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// The word for it.
    pub reason: DeadLetterReason,
    /// One sentence for a person, without the query of the URL.
    pub detail: String,
}

impl Failure {
    pub(crate) fn new(reason: DeadLetterReason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

/// What stops the stage. Nothing is lost: the batch was not committed and comes again after a restart.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The client could not be made.
    #[error(
        "the HTTP client cannot be made: {detail}; check the section fetch and the system's TLS certificates"
    )]
    Setup {
        /// Why.
        detail: String,
    },
    /// Nobody can be reached any more.
    #[error(
        "nobody can be reached any more, {hosts} hosts that answered before among them (for example {example}); check this machine's network and DNS, then start again"
    )]
    Outage {
        /// How many of them.
        hosts: usize,
        /// One of the failures.
        example: String,
    },
}
