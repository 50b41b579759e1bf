//! `facering demo`: the whole pipeline on a synthetic network, with a broker and a picture host of its own.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use ingest::SourceConfig;
use simulate::{Demo, PictureOptions, demo_population, evaluate_files, pictures::event_json, write_truth};
use tokio::sync::watch;

use super::{evaluate, print, print_result, runtime, write_html};
use crate::cli::{Common, DemoArgs};
use crate::config::Settings;
use crate::demo::{Broker, PictureHost, prepare};
use crate::pipeline::{Pipeline, Written};
use crate::sealing::{self, ThumbnailKey};
use crate::signals;

const TOPIC: &str = "profiles";
const DEAD: &str = "profiles.dead";
/// Sides of the drawn portraits in pixels.
const SIDE: u32 = 256;
/// How often the demo looks whether everything was processed.
const LOOK: Duration = Duration::from_millis(100);

pub fn execute(common: &Common, arguments: &DemoArgs) -> anyhow::Result<()> {
    let started = Instant::now();
    let settings = Settings::load(common, None)?;
    prepare(&arguments.out)?;
    let (written, counts) = runtime()?.block_on(run(settings, arguments))?;
    let truth = arguments.out.join("truth.parquet");
    let evaluation = evaluate_files(&arguments.out, &truth)?;
    let key = ThumbnailKey::find(&key_file(&arguments.out))?;
    let snapshot = sealing::opened(report::read_snapshot(&arguments.out)?, key);
    let page = arguments.out.join("report.html");
    write_html(&snapshot, None, &page)?;
    let text = || {
        format!(
            "{counts}, {} suspected networks with {} accounts found, in {:.0} s.\n\nHeld against the truth:\n{}\n\n{}",
            written.clusters,
            written.members,
            started.elapsed().as_secs_f64(),
            evaluate::text(&evaluation),
            next_steps(&arguments.out, &page),
        )
    };
    if common.json {
        return print_result(common, &evaluation, String::new);
    }
    print(&text())
}

/// Thumbnails are encrypted, in a demo too.
fn key_file(out: &Path) -> PathBuf {
    out.join("thumbnail.key")
}

fn next_steps(out: &Path, page: &Path) -> String {
    format!(
        "Open next:\n  {}  what an analyst reads (faces are blurred until asked)\n  {}/clusters/  the tables, \
         for DuckDB, pyarrow, Polars\n  facering serve --set state.path={state} --set output.path={} --set privacy.thumbnail_key_file={}\n\
         {:18}the same as live pages, with a review queue\n  facering search --account ID --set state.path={state}",
        page.display(),
        out.display(),
        out.display(),
        key_file(out).display(),
        "",
        state = out.join("state").display()
    )
}

async fn run(mut settings: Settings, arguments: &DemoArgs) -> anyhow::Result<(Written, String)> {
    let host = PictureHost::bind().await?;
    let broker = Broker::start(&[TOPIC, DEAD])?;
    tracing::info!("drawing {} accounts", arguments.accounts);
    let options = PictureOptions { side: SIDE, url_prefix: host.prefix().to_owned(), inline: false };
    let (accounts, seed) = (arguments.accounts.into(), arguments.seed);
    let demo = tokio::task::spawn_blocking(move || demo_population(accounts, seed, &options))
        .await
        .context("drawing panicked")??;
    write_truth(&demo.accounts, &arguments.out.join("truth.parquet"))?;
    let counts = format!("{} accounts, {} pictures", demo.accounts.len(), demo.pictures.len());
    let events = messages(&demo)?;
    let sent = events.len() as u64;
    host.serve(demo.pictures);

    settings.source = SourceConfig::Kafka(ingest::KafkaConfig {
        brokers: broker.address(),
        topic: TOPIC.into(),
        batch_wait_ms: 100,
        ..ingest::KafkaConfig::default()
    });
    settings.state.path = arguments.out.join("state");
    settings.output.path.clone_from(&arguments.out);
    settings.embed.thumbnails = true;
    settings.privacy.thumbnail_key_file = key_file(&arguments.out);
    std::fs::write(&settings.privacy.thumbnail_key_file, ThumbnailKey::generate())
        .context("the demo's key for thumbnails cannot be written")?;
    settings.fetch.danger_allow_networks.push("127.0.0.0/8".into());
    settings.fetch.per_host = settings.fetch.concurrency;

    let mut pipeline = Pipeline::open(&settings)?;
    broker.produce(TOPIC, &events).await?;
    tracing::info!("{sent} events in Kafka; fetching, embedding, linking");
    let (stop, stopped) = watch::channel(false);
    let signalled = signals::stop_on_signal()?;
    let store = pipeline.state().store.clone();
    let watcher = tokio::spawn(async move {
        // The source has no end of its own: it is stopped when everything sent was processed.
        while !*signalled.borrow() {
            let done: u64 = store.reader().checkpoint().iter().map(|(_, position)| position.0).sum();
            if done >= sent {
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        let interrupted = *signalled.borrow();
        stop.send_replace(true);
        interrupted
    });
    pipeline.run(None, false, stopped).await?;
    if watcher.await.context("the demo's watcher panicked")? {
        bail!("stopped before everything was processed; run it again");
    }
    tracing::info!("clustering");
    let written = tokio::task::spawn_blocking(move || pipeline.write_snapshot())
        .await
        .context("writing the snapshot panicked")??
        .context("the demo's state is empty")?;
    Ok((written, counts))
}

fn messages(demo: &Demo) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    demo.events
        .iter()
        .map(|event| {
            let json = event_json(event).context("a simulated event has no form in Kafka")?;
            Ok((event.account.to_string(), json.into_bytes()))
        })
        .collect()
}
