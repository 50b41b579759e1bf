//! Every setting of the program. What a stage can be told stands beside the stage; here they are put together.
//!
//! Order, later ones win: the defaults, `--config FILE`, the pipeline file, `FACERING__SECTION__KEY`, `--set key=value`.

mod layers;
mod own;

use std::path::{Path, PathBuf};

pub use layers::{Layers, Problem};
pub use own::{OutputConfig, PipelineConfig, PipelineKind, PrivacyConfig};

use crate::cli::Common;
use crate::outcome::Misconfigured;
use crate::state_folders;

/// The settings file that lists everything; a test holds it against the defaults in code.
#[cfg(test)]
const DEFAULT_FILE: &str = include_str!("../../../../config/default.toml");

/// Sections, in the order of `config/default.toml`.
pub const SECTIONS: &[&str] = &[
    "pipeline",
    "source",
    "dead_letters",
    "fetch",
    "inference",
    "models",
    "embed",
    "state",
    "index",
    "clusters",
    "output",
    "serve",
    "privacy",
];

/// All settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What runs.
    pub pipeline: PipelineConfig,
    /// Where events come from.
    pub source: ingest::SourceConfig,
    /// Where dead letters go.
    pub dead_letters: ingest::DeadLetterConfig,
    /// How pictures are fetched.
    pub fetch: fetch::FetchConfig,
    /// ONNX Runtime.
    pub inference: inference::InferenceConfig,
    /// Which model pack, and where packs lie.
    pub models: embed::ModelsConfig,
    /// How faces are found and embedded.
    pub embed: embed::EmbedConfig,
    /// The state in use: `path` is [`Settings::root`], or the folder of a pack below it.
    pub state: store::StoreConfig,
    /// The configured state folder.
    pub root: PathBuf,
    /// The face index.
    pub index: index::IndexConfig,
    /// The detector.
    pub clusters: clusters::ClustersConfig,
    /// Snapshots.
    pub output: OutputConfig,
    /// The HTTP service.
    pub serve: serve::ServeConfig,
    /// Keys, and how long people's data stays.
    pub privacy: PrivacyConfig,
}

impl Settings {
    /// Reads all layers for a command, with a pipeline file or none.
    ///
    /// # Errors
    /// [`Misconfigured`] holds every problem of every layer.
    pub fn load(common: &Common, pipeline: Option<&Path>) -> anyhow::Result<Self> {
        let mut layers = Layers::default();
        if let Some(file) = &common.config {
            layers.add_file(file);
        }
        if let Some(file) = pipeline {
            layers.add_file(file);
        }
        layers.add_environment(std::env::vars());
        for set in &common.sets {
            layers.add_set(set);
        }
        Self::from_layers(layers, pipeline.is_some())
    }

    /// Puts the sections together. Without a pipeline the source is not judged: the command does not read it.
    pub fn from_layers(mut layers: Layers, with_pipeline: bool) -> anyhow::Result<Self> {
        let kind = layers.text(&["source", "kind"]).unwrap_or("kafka").to_owned();
        const ONLY_KAFKA: &[&str] = &[
            "brokers",
            "topic",
            "group",
            "properties",
            "start",
            "batch_events",
            "batch_wait_ms",
            "max_message_bytes",
            "fetch_wait_max_ms",
            "connect_timeout_ms",
        ];
        const ONLY_PARQUET: &[&str] = &["path", "batch_rows", "store"];
        layers.leave_out("source", if kind == "parquet" { ONLY_KAFKA } else { ONLY_PARQUET });
        let source = if kind == "parquet" {
            ingest::SourceConfig::Parquet(ingest::ParquetConfig::default())
        } else {
            ingest::SourceConfig::Kafka(ingest::KafkaConfig::default())
        };
        let embed = layers.section("embed", Default::default(), embed::EmbedConfig::problems);
        let wanted = embed.thumbnails && with_pipeline;
        let mut settings = Self {
            root: PathBuf::new(),
            pipeline: layers.section("pipeline", PipelineConfig::default(), PipelineConfig::problems),
            source: layers.section(
                "source",
                source,
                |s| if with_pipeline { s.problems() } else { Vec::new() },
            ),
            dead_letters: layers.section(
                "dead_letters",
                Default::default(),
                ingest::DeadLetterConfig::problems,
            ),
            fetch: layers.section("fetch", Default::default(), fetch::FetchConfig::problems),
            inference: layers.section("inference", Default::default(), inference::InferenceConfig::problems),
            models: layers.section("models", Default::default(), embed::ModelsConfig::problems),
            embed,
            state: layers.section("state", Default::default(), store::StoreConfig::problems),
            index: layers.section("index", Default::default(), index::IndexConfig::problems),
            clusters: layers.section("clusters", Default::default(), clusters::ClustersConfig::problems),
            output: layers.section("output", OutputConfig::default(), OutputConfig::problems),
            // An empty address switches the service off, and then nothing about it can be wrong.
            serve: layers.section("serve", Default::default(), |s: &serve::ServeConfig| {
                if s.listen.is_empty() { Vec::new() } else { s.problems() }
            }),
            privacy: layers.section("privacy", PrivacyConfig::default(), |privacy: &PrivacyConfig| {
                let mut problems = privacy.problems();
                problems.extend(privacy.missing_for_thumbnails(wanted));
                problems
            }),
        };
        let problems = layers.into_problems(SECTIONS);
        if !problems.is_empty() {
            return Err(anyhow::Error::new(Misconfigured(problems)));
        }
        settings.root.clone_from(&settings.state.path);
        settings.state.path = state_folders::active(&settings.root)?;
        Ok(settings)
    }

    /// The same for another state below the configured folder, with the pack whose faces it holds.
    pub fn of_other_state(mut self, folder: PathBuf) -> Self {
        self.output.path = folder.join("output");
        self.state.path = folder;
        // A state that cannot be opened is owned by a process, which knows its pack.
        if let Ok(store) = store::Store::open(&self.state)
            && let Some(pack) = store.reader().pack()
        {
            self.models.pack = pack.to_string();
        }
        self
    }

    /// The same for the state in `folder` that `models.pack` fills beside the one in use: it reads the same source as another consumer,
    /// writes its snapshots into its own folder, publishes no dead letters a second time, and serves nobody.
    pub fn beside(mut self, folder: PathBuf) -> Self {
        let pack = self.models.pack.clone();
        self.state.path = folder;
        self.output.path = self.state.path.join("output");
        self.serve.listen.clear();
        self.dead_letters =
            ingest::DeadLetterConfig { topic: None, file: Some(self.state.path.join("dead_letters.jsonl")) };
        if let ingest::SourceConfig::Kafka(kafka) = &mut self.source {
            kafka.group = format!("{}-{pack}", kafka.group);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_file_says_what_the_code_says() {
        let mut layers = Layers::default();
        layers.add_text(DEFAULT_FILE, "config/default.toml");
        let read = Settings::from_layers(layers, true).unwrap();
        let built_in = Settings::from_layers(Layers::default(), true).unwrap();
        assert_eq!(format!("{read:#?}"), format!("{built_in:#?}"));
    }

    #[test]
    fn pipelines_of_the_repository_are_sound() {
        for (file, kind) in [("stream", PipelineKind::Stream), ("report", PipelineKind::Report)] {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../pipelines/{file}.toml"));
            let settings = Settings::load(&Common::default(), Some(&path)).unwrap();
            assert_eq!(settings.pipeline.kind, kind);
        }
        let backfill = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pipelines/backfill.toml");
        let error = Settings::load(&Common::default(), Some(&backfill)).unwrap_err();
        assert!(
            error.to_string().contains("source.path"),
            "a backfill wants to be told what to read: {error}"
        );
        let common = Common { sets: vec!["source.path=/data".into()], ..Common::default() };
        assert_eq!(Settings::load(&common, Some(&backfill)).unwrap().pipeline.kind, PipelineKind::Backfill);
    }

    #[test]
    fn all_problems_of_all_sections_come_at_once() {
        let mut layers = Layers::default();
        layers.add_text("[state]\npaht = 'x'\n[fetch]\ntimeout_ms = 'soon'\n[output]\nkeep = 0", "mine.toml");
        layers.add_set("nosuch.key=1");
        let error = Settings::from_layers(layers, true).unwrap_err().to_string();
        for part in ["state.paht", "fetch.timeout_ms", "output.keep", "nosuch.key"] {
            assert!(error.contains(part), "{part} is missing in:\n{error}");
        }
        assert_eq!(error.lines().count(), 4, "{error}");
    }

    /// Settings of a file with bytes changed, lines doubled or anything else in it: problems, never a panic.
    fn read(text: &str) -> Result<(), String> {
        let mut layers = Layers::default();
        layers.add_text(text, "fuzz.toml");
        Settings::from_layers(layers, true).map(drop).map_err(|error| error.to_string())
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(300))]

        #[test]
        fn any_text_is_settings_or_a_problem(text in "(\\PC|[\\[\\]=\"'.#\n]){0,200}") {
            drop(read(&text));
        }

        #[test]
        fn a_changed_file_is_settings_or_a_problem(
            changes in proptest::collection::vec(
                (proptest::prelude::any::<proptest::sample::Index>(), proptest::prelude::any::<u8>()), 1..8),
            lines in proptest::collection::vec(proptest::prelude::any::<proptest::sample::Index>(), 0..4),
        ) {
            let mut all: Vec<String> = DEFAULT_FILE.lines().map(str::to_owned).collect();
            for line in lines {
                let copied = all[line.index(all.len())].clone();
                all.insert(line.index(all.len()), copied);
            }
            let mut bytes = all.join("\n").into_bytes();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            drop(read(&String::from_utf8_lossy(&bytes)));
        }

        /// A value of another type or size is a problem that names the key.
        #[test]
        fn any_value_is_taken_or_named(
            key in proptest::sample::select(vec!["fetch.timeout_ms", "fetch.concurrency", "source.batch_events",
                "index.seal_at", "state.cache_mib", "output.every_s", "clusters.min_score", "embed.max_faces",
                "pipeline.stop_timeout_s", "pipeline.vector_cache_mib", "serve.max_body_bytes", "inference.intra_threads"]),
            value in "-?[0-9]{1,22}(\\.[0-9]{1,3})?|true|nan|inf|\\[\\]|[a-z]{0,6}",
        ) {
            let mut layers = Layers::default();
            layers.add_set(&format!("{key}={value}"));
            if let Err(error) = Settings::from_layers(layers, true) {
                let text = error.to_string();
                proptest::prop_assert!(text.contains(key), "{} does not name {}", text, key);
            }
        }
    }
}
