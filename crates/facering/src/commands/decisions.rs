//! `facering decisions`: what analysts decided, and deciding.

use anyhow::Context;
use records::{AccountId, Allowed, DecisionId, Proposal, Timestamp};
use serde_json::Value;

use super::print_result;
use crate::answers::ask_or_open;
use crate::cli::{AllowArgs, Common, DecisionsAction, DecisionsArgs};
use crate::config::Settings;
use crate::control::Question;

pub fn execute(common: &Common, arguments: &DecisionsArgs) -> anyhow::Result<()> {
    let settings = Settings::load(common, None)?;
    let reason = |reason: &Option<String>| reason.clone().unwrap_or_default();
    let proposal = match &arguments.action {
        DecisionsAction::List { all } => {
            let answer = ask_or_open(&settings, Question::Decisions)?;
            return print_result(common, &answer, || list(&answer, *all));
        }
        DecisionsAction::Calibrate => {
            let answer = ask_or_open(&settings, Question::Calibrate)?;
            return print_result(common, &answer, || calibration(&answer));
        }
        DecisionsAction::Confirm { cluster, reason: why } => {
            Proposal::Confirm { cluster_id: cluster.clone(), reason: reason(why) }
        }
        DecisionsAction::Dismiss { cluster, reason } => {
            Proposal::Dismiss { cluster_id: cluster.clone(), reason: reason.clone() }
        }
        DecisionsAction::Split { cluster, parts, reason: why } => {
            let accounts = |part: &String| part.split(',').map(|id| AccountId::new(id.trim())).collect();
            let parts = parts.iter().map(accounts).collect::<Result<_, _>>();
            let parts = parts.context("a part is a list of account ids, like --part a,b")?;
            Proposal::Split { cluster_id: cluster.clone(), parts, reason: reason(why) }
        }
        DecisionsAction::Merge { clusters, reason: why } => {
            Proposal::Merge { cluster_ids: clusters.clone(), reason: reason(why) }
        }
        DecisionsAction::Allow(allow) => allowance(allow)?,
        DecisionsAction::Undo { decision, reason: why } => {
            Proposal::Undo { decision: DecisionId(*decision), reason: reason(why) }
        }
    };
    let author = arguments.author.clone().or_else(|| std::env::var("USER").ok());
    let author = author.filter(|name| !name.trim().is_empty()).unwrap_or_else(|| "local".into());
    let answer = ask_or_open(&settings, Question::Decide { author, proposal })?;
    print_result(common, &answer, || format!("decision {}: {}", answer["id"], line(&answer)))
}

fn allowance(allow: &AllowArgs) -> anyhow::Result<Proposal> {
    let form = "64 hexadecimal digits, as a report shows it; a face's ends in - and 16 more";
    let subject = match (&allow.account, &allow.photo, &allow.face) {
        (Some(account), ..) => Allowed::Account(AccountId::new(account)?),
        (_, Some(photo), _) => Allowed::Photo(photo.parse().context(form)?),
        (.., Some(face)) => Allowed::Face(face.parse().context(form)?),
        _ => anyhow::bail!("name an account, a photo or a face"),
    };
    let until = allow.until.as_deref().map(day_or_time).transpose()?;
    Ok(Proposal::Allow { subject, until, reason: allow.reason.clone() })
}

/// A day means its beginning in UTC.
fn day_or_time(text: &str) -> anyhow::Result<Timestamp> {
    let time = text.parse().or_else(|_| format!("{text}T00:00:00Z").parse::<Timestamp>());
    time.with_context(|| format!("{text:?} is no day like 2026-12-31 and no time like 2026-12-31T12:00:00Z"))
}

fn calibration(answer: &Value) -> String {
    let (used, gone) = (&answer["used"], &answer["gone"]);
    let number = |value: &Value| value.as_f64().unwrap_or(0.0);
    let before = number(&answer["error_before"]);
    let Some(fitted) = answer["calibration"].as_object() else {
        return format!(
            "{used} decisions about clusters that are still found ({gone} others); 20 are needed, with 3 confirmed and 3 \
             dismissed"
        );
    };
    format!(
        "{used} decisions ({gone} about clusters that are gone); calibration error {before:.3}, {:.3} with\n\
         --set clusters.calibration.scale={:.4} --set clusters.calibration.offset={:.4}",
        number(&answer["error_after"]),
        number(&fitted["scale"]),
        number(&fitted["offset"]),
    )
}

fn list(answer: &Value, all: bool) -> String {
    let rows = answer["decisions"].as_array().cloned().unwrap_or_default();
    let shown: Vec<String> = rows
        .iter()
        .filter(|row| all || row["holds"] == true)
        .map(|row| {
            let text = |key: &str| row[key].as_str().unwrap_or("-").to_owned();
            let state = match (&row["holds"], row["undone_by"].as_u64()) {
                (Value::Bool(true), _) => "",
                (_, Some(_)) => "  (undone)",
                _ => "  (no longer in force)",
            };
            format!("{:>5}  {}  {:<12}  {}{state}", row["id"], text("at"), text("author"), line(row))
        })
        .collect();
    if shown.is_empty() { "no decision is in force".into() } else { shown.join("\n") }
}

/// A decision in one line.
fn line(row: &Value) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let reason = row["reason"].as_str().filter(|reason| !reason.is_empty());
    let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
    let count = |key: &str| row[key].as_array().map_or(0, Vec::len);
    let about = match row["deed"].as_str() {
        Some("confirm" | "dismiss") => {
            format!("{} ({} accounts)", text(&row["cluster_id"]), count("members"))
        }
        Some("split") => format!("{} into {} parts", text(&row["cluster_id"]), count("parts")),
        Some("merge") => {
            let ids = row["cluster_ids"].as_array().into_iter().flatten().map(text);
            ids.collect::<Vec<_>>().join(" with ")
        }
        Some("allow") => {
            let subject = row["subject"].as_object().and_then(|subject| subject.iter().next());
            let subject = subject.map(|(kind, id)| format!("{kind} {}", text(id))).unwrap_or_default();
            let until = row["until"].as_str().map(|until| format!(" until {until}")).unwrap_or_default();
            format!("{subject}{until}")
        }
        Some("undo") => format!("decision {}", row["decision"]),
        _ => String::new(),
    };
    format!("{} {about}{reason}", row["deed"].as_str().unwrap_or("?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_begins_at_midnight() {
        assert_eq!(day_or_time("2026-12-31").unwrap().to_string(), "2026-12-31T00:00:00Z");
        assert_eq!(day_or_time("2026-12-31T12:00:00+01:00").unwrap().to_string(), "2026-12-31T11:00:00Z");
        assert!(day_or_time("soon").unwrap_err().to_string().contains("is no day"));
    }

    #[test]
    fn a_line_says_what_and_why() {
        let row = serde_json::json!({"id": 3, "deed": "allow", "subject": {"account": "a"}, "until": null, "reason": "ours"});
        assert_eq!(line(&row), "allow account a: ours");
        let row = serde_json::json!({"deed": "merge", "cluster_ids": ["x", "y"], "reason": ""});
        assert_eq!(line(&row), "merge x with y");
    }
}
