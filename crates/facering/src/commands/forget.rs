//! `facering forget`: erases an account everywhere and prints a receipt.

use serde_json::Value;

use super::print_result;
use crate::answers::ask_or_open;
use crate::cli::Common;
use crate::config::Settings;
use crate::control::Question;

pub fn execute(common: &Common, account: &str) -> anyhow::Result<()> {
    let settings = Settings::load(common, None)?;
    let receipt = ask_or_open(&settings, Question::Forget { account: account.to_owned() })?;
    print_result(common, &receipt, || {
        let lines = receipt.as_object().into_iter().flatten();
        lines
            .map(|(key, value)| format!("{:<24} {}", key.replace('_', " "), plain(value)))
            .collect::<Vec<_>>()
            .join("\n")
    })
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
