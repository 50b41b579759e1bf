//! Settings come in layers: compiled-in defaults, a file, the pipeline file, the environment, `--set`. Later ones win.
//!
//! Invariants:
//! - Every leaf remembers where it was set, so that a problem names the file (or variable, or flag) and the key.
//! - Each leaf is tried by itself first: one wrong key hides no other, and all problems are reported at once.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

/// Something wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// File, variable or flag.
    pub origin: String,
    /// The key, dotted.
    pub key: String,
    /// What is wrong and what is allowed.
    pub message: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.key.is_empty() {
            write!(f, "{}: {}", self.origin, self.message)
        } else {
            write!(f, "{}: {}: {}", self.origin, self.key, self.message)
        }
    }
}

#[derive(Clone, Debug)]
struct Leaf {
    value: Value,
    origin: String,
}

/// All leaves of all layers, later layers having replaced earlier ones.
#[derive(Default, Debug)]
pub struct Layers {
    leaves: BTreeMap<Vec<String>, Leaf>,
    problems: Vec<Problem>,
}

impl Layers {
    /// Adds a file's settings. An unreadable file is a problem like any other.
    pub fn add_file(&mut self, path: &Path) {
        match std::fs::read_to_string(path) {
            Ok(text) => self.add_text(&text, &path.display().to_string()),
            Err(error) => self.complain(path.display().to_string(), "", format!("cannot be read: {error}")),
        }
    }

    /// Adds settings written as TOML.
    pub fn add_text(&mut self, text: &str, origin: &str) {
        match text.parse::<Table>() {
            Ok(table) => self.add_table(&mut Vec::new(), table, origin),
            Err(error) => self.complain(origin.to_owned(), "", error.to_string().trim_end().to_owned()),
        }
    }

    /// Adds every `FACERING__SECTION__KEY` of the given environment.
    pub fn add_environment(&mut self, variables: impl Iterator<Item = (String, String)>) {
        for (name, text) in variables {
            if let Some(key) = name.strip_prefix("FACERING__") {
                let path = key.split("__").map(str::to_ascii_lowercase).collect();
                self.insert(path, value_of(&text), &name);
            }
        }
    }

    /// Adds one `--set key=value`.
    pub fn add_set(&mut self, text: &str) {
        match text.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => {
                let path = key.trim().split('.').map(str::to_owned).collect();
                self.insert(path, value_of(value), "--set");
            }
            _ => self.complain(
                "--set".into(),
                text,
                "expected KEY=VALUE, like state.path=/data/facering".into(),
            ),
        }
    }

    fn add_table(&mut self, path: &mut Vec<String>, table: Table, origin: &str) {
        for (key, value) in table {
            path.push(key);
            match value {
                Value::Table(inner) if !inner.is_empty() => self.add_table(path, inner, origin),
                Value::Table(_) => {}
                leaf => self.insert(path.clone(), leaf, origin),
            }
            path.pop();
        }
    }

    fn insert(&mut self, mut path: Vec<String>, value: Value, origin: &str) {
        // librdkafka's property names have dots of their own: what follows `properties` is one name.
        if let Some(at) = path.iter().position(|part| part == "properties") {
            let name = path.split_off((at + 1).min(path.len())).join(".");
            path.extend((!name.is_empty()).then_some(name));
        }
        self.leaves.insert(path, Leaf { value, origin: origin.to_owned() });
    }

    fn complain(&mut self, origin: String, key: &str, message: String) {
        self.problems.push(Problem { origin, key: key.to_owned(), message });
    }

    /// The text of one leaf, if it was set.
    pub fn text(&self, path: &[&str]) -> Option<&str> {
        self.leaves.get(&path.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>())?.value.as_str()
    }

    /// Leaves out keys of a section that belong to a form of it that is not chosen: a file that lists every setting may be
    /// used with any pipeline.
    pub fn leave_out(&mut self, section: &str, keys: &[&str]) {
        self.leaves.retain(|path, _| {
            let key = path.get(1).map(String::as_str).unwrap_or_default();
            path.first().is_none_or(|s| s != section) || !keys.contains(&key)
        });
    }

    /// Reads one section on top of `base`, reporting every leaf that does not fit. The section's leaves are used up;
    /// what is left in the end belongs to no section.
    pub fn section<T>(&mut self, name: &str, base: T, check: impl Fn(&T) -> Vec<(String, String)>) -> T
    where
        T: Serialize + DeserializeOwned,
    {
        let mine: Vec<Vec<String>> =
            self.leaves.keys().filter(|path| path.first().is_some_and(|s| s == name)).cloned().collect();
        let table = match Value::try_from(&base) {
            Ok(Value::Table(table)) => table,
            _ => Table::new(),
        };
        let (mut whole, mut origins, mut sound) = (table.clone(), BTreeMap::new(), true);
        for path in mine {
            let Some(leaf) = self.leaves.remove(&path) else { continue };
            let key = path[1..].join(".");
            let mut alone = table.clone();
            let verdict = put(&mut alone, &path[1..], leaf.value.clone()).and_then(|()| {
                T::deserialize(Value::Table(alone)).map(drop).map_err(|e| sentence(&e.to_string()))
            });
            match verdict {
                // It fitted alone, so it fits the whole.
                Ok(()) => drop(put(&mut whole, &path[1..], leaf.value)),
                Err(message) => {
                    sound = false;
                    self.complain(leaf.origin.clone(), &format!("{name}.{key}"), message);
                }
            }
            origins.insert(key, leaf.origin);
        }
        match T::deserialize(Value::Table(whole)) {
            Ok(section) => {
                for (key, message) in check(&section) {
                    let origin = origins.get(&key).cloned().unwrap_or_else(|| "default".into());
                    self.complain(origin, &format!("{name}.{key}"), message);
                }
                section
            }
            Err(error) => {
                if sound {
                    self.complain("configuration".into(), name, sentence(&error.to_string()));
                }
                base
            }
        }
    }

    /// Every problem found so far, and every leaf that no section has read.
    pub fn into_problems(mut self, sections: &[&str]) -> Vec<Problem> {
        let unknown: Vec<_> = std::mem::take(&mut self.leaves).into_iter().collect();
        for (path, leaf) in unknown {
            let message = format!("no such section; there are {}", sections.join(", "));
            self.complain(leaf.origin, &path.join("."), message);
        }
        self.problems
    }
}

/// Sets a value deep in a table, making the tables on the way.
fn put(table: &mut Table, path: &[String], value: Value) -> Result<(), String> {
    match path {
        [] => Err("a section cannot be set to one value; set a key in it".into()),
        [last] => {
            // `1` where a float is expected, and a lone word where a list is, are what people type.
            let value = match (table.get(last), value) {
                (Some(Value::Float(_)), Value::Integer(whole)) => Value::Float(whole as f64),
                (Some(Value::String(_)), Value::Integer(number)) => Value::String(number.to_string()),
                (Some(Value::Array(_)), Value::String(text)) => {
                    Value::Array(text.split(',').map(|part| Value::String(part.trim().to_owned())).collect())
                }
                (_, value) => value,
            };
            table.insert(last.clone(), value);
            Ok(())
        }
        [first, rest @ ..] => {
            match table.entry(first.clone()).or_insert_with(|| Value::Table(Table::new())) {
                Value::Table(inner) => put(inner, rest, value),
                _ => Err(format!("{first} holds a value, not a table")),
            }
        }
    }
}

/// Reads what stands behind `=` on the command line or in a variable: TOML where it is, else text.
fn value_of(text: &str) -> Value {
    match format!("v = {text}").parse::<Table>() {
        Ok(mut table) if table.len() == 1 => match table.remove("v") {
            // Times are texts everywhere in facering.
            Some(Value::Datetime(_)) | None => Value::String(text.to_owned()),
            Some(value) => value,
        },
        _ => Value::String(text.to_owned()),
    }
}

/// One line out of a parser's message.
fn sentence(message: &str) -> String {
    message
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty() && !l.starts_with("in `"))
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
    #[serde(deny_unknown_fields, default)]
    struct Section {
        path: String,
        limit: u32,
        share: f64,
        names: Vec<String>,
        properties: BTreeMap<String, String>,
    }

    impl Default for Section {
        fn default() -> Self {
            Self { path: "here".into(), limit: 3, share: 0.5, names: vec![], properties: BTreeMap::new() }
        }
    }

    fn read(layers: &mut Layers) -> Section {
        layers.section("s", Section::default(), |s| {
            if s.limit > 9 { vec![("limit".into(), "must be 0 to 9".into())] } else { vec![] }
        })
    }

    #[test]
    fn later_layers_win_and_text_is_read_kindly() {
        let mut layers = Layers::default();
        layers.add_text("[s]\nlimit = 5\npath = 'file'", "a.toml");
        layers.add_environment([("FACERING__S__PATH".to_owned(), "/from/env".to_owned())].into_iter());
        layers.add_set("s.share=1");
        layers.add_set("s.names=a, b");
        layers.add_set("s.properties.security.protocol=ssl");
        let section = read(&mut layers);
        assert_eq!((section.limit, section.path.as_str(), section.share), (5, "/from/env", 1.0));
        assert_eq!(section.names, ["a", "b"]);
        assert_eq!(section.properties["security.protocol"], "ssl");
        assert_eq!(layers.into_problems(&["s"]), []);
    }

    #[test]
    fn every_problem_is_reported_with_its_place() {
        let mut layers = Layers::default();
        layers.add_text("[s]\nlimti = 5\nlimit = 'many'\npath = 'x'\n[t]\nu = 1", "a.toml");
        layers.add_set("s.share=lots");
        layers.add_set("nonsense");
        let section = read(&mut layers);
        assert_eq!(section.path, "x", "what is right still counts");
        let problems = layers.into_problems(&["s"]);
        let keys: Vec<_> = problems.iter().map(|p| (p.origin.as_str(), p.key.as_str())).collect();
        assert!(keys.contains(&("a.toml", "s.limti")));
        assert!(keys.contains(&("a.toml", "s.limit")));
        assert!(keys.contains(&("--set", "s.share")));
        assert!(keys.contains(&("--set", "nonsense")));
        assert!(keys.contains(&("a.toml", "t.u")));
        assert_eq!(keys.len(), 5, "{problems:#?}");
        let typo = problems.iter().find(|p| p.key == "s.limti").unwrap();
        assert!(
            typo.message.contains("expected one of") && typo.message.contains("limit"),
            "{}",
            typo.message
        );
    }

    #[test]
    fn checks_name_the_place_that_set_the_value() {
        let mut layers = Layers::default();
        layers.add_set("s.limit=12");
        read(&mut layers);
        let problems = layers.into_problems(&["s"]);
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].to_string(), "--set: s.limit: must be 0 to 9");
    }
}
