//! An analyst at work, in a real browser over a running stream: reads the report and the queue, sorts, filters, opens a
//! cluster, looks at its pictures, dismisses it, sees it gone, and sees it come back when a new account joins it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use end_to_end::broker::{Broker, Outgoing};
use end_to_end::browser::Browser;
use end_to_end::pictures::PictureServer;
use end_to_end::program::{self, Running};
use end_to_end::tables::{latest, records_covered};
use serde_json::{Value, json};
use simulate::pictures::event_json;
use simulate::{PictureOptions, demo_population};

/// A stream at work on a drawn population, with thumbnails.
struct World {
    base: String,
    output: PathBuf,
    broker: Broker,
    topic: String,
    running: Running,
    sent: u64,
    events: Vec<Value>,
    folder: tempfile::TempDir,
}

impl World {
    async fn start() -> anyhow::Result<Self> {
        let server = PictureServer::start().await?;
        let options = PictureOptions { side: 256, url_prefix: server.url(""), inline: false };
        let demo = tokio::task::spawn_blocking(move || demo_population(300, 7, &options)).await??;
        for (path, bytes) in &demo.pictures {
            server.put(path.trim_start_matches('/'), bytes.to_vec());
        }
        let events: Vec<Value> = demo
            .events
            .iter()
            .map(|event| Ok(serde_json::from_str(&event_json(event).context("no form in Kafka")?)?))
            .collect::<anyhow::Result<_>>()?;
        let broker = Broker::start()?;
        let topic = format!("review-{}", std::process::id());
        broker.create_topics(&[&topic, &format!("{topic}.dead")], 1).await?;

        let folder = tempfile::tempdir()?;
        let output = folder.path().join("output");
        let key = folder.path().join("thumbnail.key");
        std::fs::write(&key, "0f".repeat(32))?;
        let listen = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let set = |key: &str, value: &str| format!("--set={key}={value}");
        let path = |path: PathBuf| path.display().to_string();
        let mut command = program::facering();
        command.arg("run").arg(program::root().join("pipelines/stream.toml")).args([
            set("source.brokers", broker.address()),
            set("source.topic", &topic),
            set("source.group", &topic),
            set("state.path", &path(folder.path().join("state"))),
            set("output.path", &path(output.clone())),
            set("output.every_s", "1"),
            set("fetch.danger_allow_networks", "127.0.0.0/8"),
            set("fetch.per_host", "64"),
            set("embed.thumbnails", "true"),
            set("privacy.thumbnail_key_file", &path(key)),
            set("serve.listen", &listen.to_string()),
            set("serve.search_enabled", "true"),
            set("serve.audit_path", &path(folder.path().join("audit.jsonl"))),
        ]);
        let running = Running::start(command, &folder.path().join("log"))?;
        let base = format!("http://{listen}");
        let mut world = Self { base, output, broker, topic, running, sent: 0, events, folder };
        let all = world.events.clone();
        world.send(&all).await?;
        Ok(world)
    }

    /// Sends events and waits for a snapshot of all that were sent.
    async fn send(&mut self, events: &[Value]) -> anyhow::Result<()> {
        let messages: Vec<Outgoing> = events
            .iter()
            .map(|event| Outgoing {
                key: event["account_id"].as_str().unwrap_or_default().to_owned(),
                value: Some(event.to_string().into_bytes()),
                headers: vec![],
                timestamp_ms: None,
            })
            .collect();
        self.broker.produce(&self.topic, &messages).await?;
        self.sent += messages.len() as u64;
        let (output, sent) = (self.output.clone(), self.sent);
        self.running.wait_until("a snapshot of all events", Duration::from_secs(240), || {
            records_covered(&output) == sent
        })
    }

    async fn get(&self, path: &str) -> anyhow::Result<Value> {
        Ok(reqwest::get(format!("{}{path}", self.base)).await?.json().await?)
    }
}

/// Nothing was complained about, and nothing asked of another host.
async fn clean(browser: &Browser, base: &str) -> anyhow::Result<()> {
    let complaints = browser.complaints().await?;
    assert!(complaints.is_empty(), "the console complains: {complaints:#?}");
    let outside: Vec<String> = browser
        .requests()
        .await?
        .into_iter()
        .filter(|url| !["data:", "file:", "about:", "chrome:", base].iter().any(|own| url.starts_with(own)))
        .collect();
    assert!(outside.is_empty(), "asked of others: {outside:?}");
    Ok(())
}

const ROWS: &str = "#clusters tbody tr:not([hidden])";

#[tokio::test(flavor = "multi_thread")]
async fn an_analyst_reviews_in_a_browser() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let browser = Browser::start(1360, 900, false).await?;
    report(&world, &browser).await?;
    let cluster = queue(&world, &browser).await?;
    dismiss(&world, &browser, &cluster).await?;
    come_back(&mut world, &browser, &cluster).await?;
    keys_and_decisions(&world, &browser).await?;
    search(&world, &browser).await?;
    pictures_for_the_docs(&world).await?;
    drop(browser);
    let status = world.running.stop(Duration::from_secs(60))?;
    anyhow::ensure!(status.success(), "{status}\n{}", world.running.log());
    drop(world.folder);
    Ok(())
}

/// The page that is handed on, opened from disk.
async fn report(world: &World, browser: &Browser) -> anyhow::Result<()> {
    let file = world.folder.path().join("handed-on.html");
    let key =
        format!("--set=privacy.thumbnail_key_file={}", world.folder.path().join("thumbnail.key").display());
    let clusters = world.output.display().to_string();
    let made =
        program::run(["report", "--clusters", &clusters, "--html", &file.display().to_string(), &key])?;
    anyhow::ensure!(made.status.success(), "{}", program::stderr(&made));
    browser.open(&format!("file://{}", file.display())).await?;
    let all = browser.texts(ROWS).await?.len();
    assert!(all > 3, "only {all} clusters");
    browser.click("#clusters thead th[data-key=accounts] button").await?;
    let counts = browser.texts(&format!("{ROWS} td:nth-child(4)")).await?;
    let numbers: Vec<i64> = counts.iter().filter_map(|text| text.parse().ok()).collect();
    assert!(numbers.len() == all && numbers.is_sorted_by(|a, b| a >= b), "not sorted: {counts:?}");
    browser.run("const s = document.querySelector('#size'); s.value = arguments[0]; s.dispatchEvent(new Event('input', {bubbles: true}))", json!([numbers[0]])).await?;
    let large = numbers.iter().filter(|n| **n == numbers[0]).count();
    assert_eq!(browser.texts(ROWS).await?.len(), large, "the filter keeps the largest only");
    browser.click("#clusters tbody tr:not([hidden]) th a").await?;
    browser
        .wait_for(
            "an opened cluster",
            "return Boolean(location.hash) && document.querySelector(location.hash).offsetParent !== null",
            json!([]),
        )
        .await?;
    let blurred =
        "const svg = document.querySelector('details[open] .face svg'); return getComputedStyle(svg).filter";
    assert!(browser.run(blurred, json!([])).await?.as_str().unwrap_or_default().contains("blur"));
    browser.keep_picture("report", false).await?;
    browser.click("details[open] .face input.reveal").await?;
    browser.wait_for("a picture in the clear", &format!("{blurred} === 'none'"), json!([])).await?;
    clean(browser, "file:").await
}

/// The live queue: sorted, filtered, a cluster opened. Gives its id.
async fn queue(world: &World, browser: &Browser) -> anyhow::Result<String> {
    let base = &world.base;
    browser.open(&format!("{base}/")).await?;
    let all = browser.texts(ROWS).await?.len();
    assert!(all > 3, "only {all} clusters");
    browser.click("th.col-accounts a").await?;
    browser
        .wait_for(
            "sorting",
            "return new URLSearchParams(location.search).get('sort') === 'accounts'",
            json!([]),
        )
        .await?;
    let counts = browser.texts(&format!("{ROWS} .col-accounts")).await?;
    let numbers: Vec<i64> = counts.iter().filter_map(|text| text.parse().ok()).collect();
    assert!(numbers.len() == all && numbers.is_sorted_by(|a, b| a >= b), "not sorted: {counts:?}");
    // The surest one: an account more will not make it another.
    let best = world.get("/v1/clusters?limit=1").await?["clusters"][0]["cluster_id"].clone();
    let first = best.as_str().context("no cluster")?.to_owned();
    browser.type_into("#find", &format!("{first}\u{e007}")).await?;
    browser
        .wait_for("one row", "return document.querySelectorAll(arguments[0]).length === 1", json!([ROWS]))
        .await?;
    browser.click(&format!("{ROWS} a.open")).await?;
    browser
        .wait_for("the cluster", "return document.body.dataset.cluster === arguments[0]", json!([first]))
        .await?;
    let blurred = "const svg = document.querySelector('.face svg'); return getComputedStyle(svg).filter";
    assert!(
        browser.run(blurred, json!([])).await?.as_str().unwrap_or_default().contains("blur"),
        "blurred until asked"
    );
    browser.click(".face input.reveal").await?;
    browser.wait_for("a picture in the clear", &format!("{blurred} === 'none'"), json!([])).await?;
    clean(browser, base).await?;
    Ok(first)
}

/// Dismissed with a reason by keyboard: gone from the queue, found among the dismissed.
async fn dismiss(world: &World, browser: &Browser, cluster: &str) -> anyhow::Result<()> {
    let base = &world.base;
    browser.press("d").await?;
    browser.wait_for("a dialog", "return document.querySelector('#dismiss').open", json!([])).await?;
    browser.type_into("#dismiss input[name=reason]", "fans of a public person\u{e007}").await?;
    browser.wait_for("a word that it is done", "const t = document.querySelector('#toast'); return !t.hidden && t.innerText.includes('Dismissed')", json!([])).await?;
    browser.open(&format!("{base}/?q={cluster}")).await?;
    assert!(browser.texts(ROWS).await?.is_empty(), "a dismissed cluster is gone at once");
    browser.open(&format!("{base}/?status=dismissed")).await?;
    let shown = browser.texts(&format!("{ROWS} a.open")).await?;
    assert_eq!(shown, [cluster], "and stands among the dismissed");
    clean(browser, base).await
}

/// A further snapshot does not bring it back; an account that joins does, and the page says which.
async fn come_back(world: &mut World, browser: &Browser, cluster: &str) -> anyhow::Result<()> {
    // The next snapshots are made without it.
    let started = Instant::now();
    while world.get(&format!("/v1/clusters/{cluster}")).await?["cluster"].is_object() {
        anyhow::ensure!(
            started.elapsed() < Duration::from_secs(30),
            "the dismissed cluster stays in the tables"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let log = world.get("/v1/decisions").await?;
    let decisions = program::run([
        "decisions",
        "list",
        "--json",
        &format!("--set=state.path={}", world.folder.path().join("state").display()),
    ])?;
    let listed: Value = serde_json::from_slice(&decisions.stdout).context("decisions as JSON")?;
    let members = listed["decisions"][0]["members"].clone();
    assert_eq!(log["decisions"][0]["accounts"], members.as_array().map_or(0, Vec::len));
    let bot = members[0].as_str().context("no member")?;
    let mut joins =
        world.events.iter().rev().find(|event| event["account_id"] == bot).context("its event")?.clone();
    joins["account_id"] = json!("late-joiner");
    joins["username"] = json!("late_joiner");
    world.send(&[joins]).await?;
    let base = world.base.clone();
    let started = Instant::now();
    loop {
        browser.open(&format!("{base}/?status=returned")).await?;
        if let Some(row) = browser.texts(&format!("{ROWS} th")).await?.first() {
            assert!(row.contains("returned") && row.contains("1 new account"), "{row}");
            break;
        }
        if started.elapsed() > Duration::from_secs(30) {
            let joined = world.get("/v1/accounts/late-joiner").await?;
            anyhow::bail!("it does not come back; who joined: {joined}");
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    browser.keep_picture("queue-returned", false).await?;
    browser.click(&format!("{ROWS} a.open")).await?;
    browser
        .wait_for(
            "what is new",
            "return document.querySelector('.verdict.returned')?.innerText.includes('late_joiner')",
            json!([]),
        )
        .await?;
    let id = browser.run("return document.body.dataset.cluster", json!([])).await?;
    assert_eq!(id, cluster, "it comes back under its name");
    let body = browser.text(".waterfall").await?.unwrap_or_default();
    assert!(body.contains("returned"), "the tables say so too: {body}");
    browser.keep_picture("cluster-returned", false).await?;
    clean(browser, &base).await
}

/// Waits until no further snapshot follows from what was decided.
async fn settled(world: &World) -> anyhow::Result<()> {
    let mut newest = Value::Null;
    for _ in 0..20 {
        let now = world.get("/v1/clusters?limit=1").await?["snapshot"].clone();
        if now == newest {
            return Ok(());
        }
        newest = now;
        tokio::time::sleep(Duration::from_millis(2500)).await;
    }
    anyhow::bail!("snapshots follow each other without an end")
}

/// The whole way by keyboard, an undoing, and the log.
async fn keys_and_decisions(world: &World, browser: &Browser) -> anyhow::Result<()> {
    let base = &world.base;
    browser.open(&format!("{base}/?sort=score")).await?;
    browser.press("jj").await?;
    let chosen = browser.text("tr.chosen a.open").await?.context("j chooses a row")?;
    browser.press("k").await?;
    let other = browser.text("tr.chosen a.open").await?.context("k chooses a row")?;
    assert_ne!(chosen, other);
    browser.press("c").await?;
    browser
        .wait_for(
            "a confirmation",
            "return document.querySelector('#toast').innerText.includes(arguments[0])",
            json!([format!("Confirmed {other}")]),
        )
        .await?;
    browser.press("u").await?;
    browser
        .wait_for(
            "an undoing",
            "return document.querySelector('#toast').innerText.includes('Undone')",
            json!([]),
        )
        .await?;
    browser.open(&format!("{base}/decisions?all=true")).await?;
    let rows = browser.texts(".history li").await?;
    assert!(rows[0].to_lowercase().contains("undo") && rows[1].contains("undone by decision"), "{rows:?}");

    // Split by hand: two accounts apart from each other. A decision about what an older snapshot showed is refused, and the
    // decisions above lead to a new one.
    settled(world).await?;
    browser.open(&format!("{base}/clusters/{chosen}")).await?;
    browser.press("s").await?;
    browser.wait_for("the dialog", "return document.querySelector('#split').open", json!([])).await?;
    browser.keep_picture("split", false).await?;
    browser.click("#split tbody tr:nth-child(1) input[value=A]").await?;
    browser.click("#split button.main").await?;
    browser
        .wait_for("a refusal", "return !document.querySelector('#split .error').hidden", json!([]))
        .await?;
    browser.click("#split tbody tr:nth-child(2) input[value=B]").await?;
    browser.click("#split button.main").await?;
    browser.wait_for("the split in the history", "return [...document.querySelectorAll('.history li')].some((row) => row.innerText.toLowerCase().includes('split'))", json!([])).await?;
    // A refused decision is an answer of 422, which the console reports; nothing else may stand there.
    let complaints = browser.complaints().await?;
    assert!(complaints.iter().all(|said| said.contains("422")), "{complaints:?}");
    browser.press("a").await?;
    browser.wait_for("the dialog", "return document.querySelector('#allow').open", json!([])).await?;
    browser.type_into("#allow input[name=reason]", "known to us").await?;
    browser.click("#allow button.main").await?;
    browser.wait_for("the allowance in the history", "return [...document.querySelectorAll('.history li')].some((row) => row.innerText.includes('known to us'))", json!([])).await?;
    clean(browser, base).await
}

/// A search with a picture of the world finds the account that shows it.
async fn search(world: &World, browser: &Browser) -> anyhow::Result<()> {
    let base = &world.base;
    let id = world.get("/v1/clusters?limit=1").await?["clusters"][0]["cluster_id"].clone();
    let members =
        world.get(&format!("/v1/clusters/{}", id.as_str().context("a cluster")?)).await?["members"].clone();
    let account = members[0]["account_id"].as_str().context("an account")?.to_owned();
    browser.open(&format!("{base}/search?account={account}")).await?;
    browser.type_into("#search input[name=purpose]", "test of the search\u{e007}").await?;
    browser
        .wait_for("matches", "return document.querySelectorAll('#found figure').length > 0", json!([]))
        .await?;
    let found = browser.texts("#found figcaption").await?;
    assert!(found.iter().any(|text| text.contains(&account)), "{found:?}");
    browser
        .wait_for(
            "thumbnails",
            "const i = document.querySelector('#found img'); return i.complete && i.naturalWidth > 0",
            json!([]),
        )
        .await?;
    let filter = "return getComputedStyle(document.querySelector('#found img')).filter";
    assert!(browser.run(filter, json!([])).await?.as_str().unwrap_or_default().contains("blur"));
    browser.keep_picture("search", false).await?;
    let audit = std::fs::read_to_string(world.folder.path().join("audit.jsonl"))?;
    assert!(audit.contains("test of the search"), "{audit}");
    browser.open(&format!("{base}/accounts/{account}")).await?;
    browser.keep_picture("account", true).await?;
    clean(browser, base).await
}

/// What a person looks at before a release: every page in light, dark, on a phone and on paper.
async fn pictures_for_the_docs(world: &World) -> anyhow::Result<()> {
    if std::env::var_os("FACERING_SCREENSHOTS").is_none() {
        return Ok(());
    }
    let base = &world.base;
    let id = world.get("/v1/clusters?limit=1").await?["clusters"][0]["cluster_id"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let report = world.folder.path().join("handed-on.html").display().to_string();
    for (look, width, height, dark) in
        [("light", 1360, 900, false), ("dark", 1360, 900, true), ("phone", 390, 844, false)]
    {
        let browser = Browser::start(width, height, dark).await?;
        for (name, address) in [
            ("queue", format!("{base}/")),
            ("cluster", format!("{base}/clusters/{id}")),
            ("decisions", format!("{base}/decisions?all=true")),
            ("search-form", format!("{base}/search")),
            ("report", format!("file://{report}")),
        ] {
            browser.open(&address).await?;
            browser.keep_picture(&format!("{name}-{look}"), name == "cluster" || name == "report").await?;
            if look == "light" {
                browser.keep_print(name).await?;
            }
        }
    }
    assert!(latest(&world.output).is_some());
    Ok(())
}
