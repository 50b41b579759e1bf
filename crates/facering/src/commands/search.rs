//! `facering search`: the most similar photos of a picture, an account or a face.

use anyhow::Context;
use base64::Engine;
use serde_json::Value;

use super::print_result;
use crate::answers::ask_or_open;
use crate::cli::{Common, SearchArgs};
use crate::config::Settings;
use crate::control::{Question, SearchQuestion};

pub fn execute(common: &Common, arguments: &SearchArgs) -> anyhow::Result<()> {
    let settings = Settings::load(common, None)?;
    let image = match &arguments.target.image {
        None => None,
        Some(file) => {
            let bytes = std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
            Some(base64::engine::general_purpose::STANDARD.encode(bytes))
        }
    };
    let question = SearchQuestion {
        image,
        account: arguments.target.account.clone(),
        face: arguments.target.face.clone(),
        k: arguments.k as usize,
        clones: arguments.clones,
    };
    let answer = ask_or_open(&settings, Question::Search(question))?;
    print_result(common, &answer, || text(&answer))
}

fn text(answer: &Value) -> String {
    let from = answer["same_person_from"].as_f64().unwrap_or(1.0);
    let mut lines = Vec::new();
    for face in answer["faces"].as_array().into_iter().flatten() {
        lines.push(format!("{}:", face["face"].as_str().unwrap_or("a face")));
        let photos = face["photos"].as_array().cloned().unwrap_or_default();
        if photos.is_empty() {
            lines.push("  nothing like it".into());
        }
        for photo in photos {
            let cosine = photo["cosine"].as_f64().unwrap_or(0.0);
            let owners: Vec<String> = photo["owners"].as_array().into_iter().flatten().map(owner).collect();
            // A likeness is not an identity, and the words must not suggest one.
            let word = if cosine >= from { "may be the same person" } else { "resembles" };
            lines.push(format!("  {cosine:.3}  {word:<22}  {}", owners.join(", ")));
        }
    }
    lines.join("\n")
}

fn owner(owner: &Value) -> String {
    format!("{} ({})", owner["account_id"].as_str().unwrap_or("?"), owner["photo_id"].as_str().unwrap_or("?"))
}
