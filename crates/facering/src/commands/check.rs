//! `facering check`: every configuration problem at once, nothing started.

use std::path::Path;

use serde_json::json;

use super::{print, print_result};
use crate::cli::Common;
use crate::config::Settings;
use crate::outcome::Misconfigured;

pub fn execute(common: &Common, pipeline: &Path) -> anyhow::Result<()> {
    match Settings::load(common, Some(pipeline)) {
        Ok(settings) => print_result(common, &json!({"problems": []}), || {
            format!("{}: no problem found in this {:?} pipeline", pipeline.display(), settings.pipeline.kind)
                .to_lowercase()
        }),
        Err(error) => {
            if common.json
                && let Some(Misconfigured(problems)) = error.downcast_ref::<Misconfigured>()
            {
                print(&json!({ "problems": problems }).to_string())?;
            }
            Err(error)
        }
    }
}
