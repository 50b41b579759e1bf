//! `facering forget`: erases an account everywhere and prints a signed receipt.

use serde_json::Value;

use super::print_result;
use crate::answers::ask_or_open;
use crate::cli::Common;
use crate::config::Settings;
use crate::control::Question;

pub fn execute(common: &Common, account: &str) -> anyhow::Result<()> {
    let settings = Settings::load(common, None)?;
    let answer = ask_or_open(&settings, Question::Forget { account: account.to_owned() })?;
    print_result(common, &answer, || text(&answer))
}

fn text(answer: &Value) -> String {
    if answer["known"] != true {
        return "nothing here knows this account: nothing was erased".into();
    }
    let receipt: Value =
        serde_json::from_str(answer["receipt"].as_str().unwrap_or_default()).unwrap_or_default();
    let lines = receipt.as_object().into_iter().flatten();
    let mut lines: Vec<String> =
        lines.map(|(key, value)| format!("{:<24} {}", key.replace('_', " "), plain(value))).collect();
    lines.push(format!("{:<24} {}", "signature", plain(&answer["signature"])));
    lines.push(format!("{:<24} {}", "public key", plain(&answer["public_key"])));
    lines.push("With --json this is a receipt to keep; `facering receipt verify FILE` checks it.".into());
    lines.join("\n")
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
