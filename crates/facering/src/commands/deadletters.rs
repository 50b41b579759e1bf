//! `facering deadletters`: what was given up, and sending it again.

use super::print_result;
use crate::answers::ask_or_open;
use crate::cli::{Common, DeadlettersAction};
use crate::config::Settings;
use crate::control::Question;

pub fn execute(common: &Common, action: &DeadlettersAction) -> anyhow::Result<()> {
    let settings = Settings::load(common, None)?;
    match action {
        DeadlettersAction::List { reason, limit } => {
            let answer =
                ask_or_open(&settings, Question::DeadLetters { reason: reason.clone(), limit: *limit })?;
            print_result(common, &answer, || list(&answer))
        }
        DeadlettersAction::Replay { reason } => {
            let answer = ask_or_open(&settings, Question::Replay { reason: reason.clone() })?;
            print_result(common, &answer, || {
                format!(
                    "{} events were sent to {} again",
                    answer["sent"],
                    answer["topic"].as_str().unwrap_or("the topic")
                )
            })
        }
    }
}

fn list(answer: &serde_json::Value) -> String {
    if let Some(reasons) = answer["by_reason"].as_object() {
        if reasons.is_empty() {
            return "there are no dead letters".into();
        }
        return reasons
            .iter()
            .map(|(reason, count)| format!("{count:>8}  {reason}"))
            .collect::<Vec<_>>()
            .join("\n");
    }
    let letters = answer["letters"].as_array().cloned().unwrap_or_default();
    if letters.is_empty() {
        return "there are no dead letters of this reason".into();
    }
    let text = |value: &serde_json::Value| value.as_str().unwrap_or("-").to_owned();
    letters
        .iter()
        .map(|letter| {
            format!(
                "{}@{}  account {}  photo {}  {}",
                text(&letter["partition"]),
                letter["position"],
                text(&letter["account"]),
                text(&letter["photo"]),
                text(&letter["detail"])
            )
        })
        .collect::<Vec<_>>()
        .join("\n")
}
