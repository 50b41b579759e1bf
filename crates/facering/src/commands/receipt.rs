//! `facering receipt`: checking a receipt of an erasure, and the key that it was signed with.

use std::path::Path;

use anyhow::Context;
use serde_json::json;

use super::print_result;
use crate::cli::{Common, ReceiptAction};
use crate::config::Settings;
use crate::receipts::{self, Signed};

pub fn execute(common: &Common, action: &ReceiptAction) -> anyhow::Result<()> {
    match action {
        ReceiptAction::Verify { file, public_key } => {
            let signed = read(file)?;
            receipts::verify(&signed, public_key.as_deref())?;
            print_result(common, &json!({"valid": true, "public_key": signed.public_key}), || {
                format!("valid, signed with {}:\n{}", signed.public_key, signed.receipt)
            })
        }
        ReceiptAction::Key => {
            let settings = Settings::load(common, None)?;
            let file = receipts::key_file(&settings.state.path, &settings.privacy.receipt_key_file);
            let key = receipts::public_key(&file)?;
            print_result(common, &json!({"public_key": key}), || key.clone())
        }
    }
}

fn read(file: &Path) -> anyhow::Result<Signed> {
    let told = || format!("{} holds no receipt as facering forget --json prints it", file.display());
    let text = std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let value: serde_json::Value = serde_json::from_str(&text).with_context(told)?;
    let text = |key: &str| value[key].as_str().map(str::to_owned).with_context(told);
    Ok(Signed { receipt: text("receipt")?, signature: text("signature")?, public_key: text("public_key")? })
}
