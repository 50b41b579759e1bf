//! The main job on real portraits: Kafka -> HTTP -> detect -> embed -> FAISS -> clusters -> Parquet, as a process, with a
//! durable broker and a web server, read back by DuckDB.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use end_to_end::broker::Broker;
use end_to_end::pictures::PictureServer;
use end_to_end::program::{self, Running};
use end_to_end::tables::{latest, records_covered};
use end_to_end::{python, scenario, shared};

/// The answer of the running program's HTTP service to one request, headers included.
fn get(address: std::net::SocketAddr, path: &str) -> anyhow::Result<String> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    anyhow::ensure!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer:.300}");
    Ok(answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn planted_rings_are_found_and_honest_accounts_are_not() -> anyhow::Result<()> {
    let Some(shared) = shared::folder("real_portraits") else { return Ok(()) };
    let server = PictureServer::start().await?;
    let world = scenario::build(&shared::portraits(&shared)?, &server)?;
    let broker = Broker::start()?;
    let topic = format!("profiles-{}", std::process::id());
    broker.create_topics(&[&topic, &format!("{topic}.dead")], 4).await?;
    broker.produce(&topic, &world.events).await?;

    let folder = tempfile::tempdir()?;
    let (models, output) = (folder.path().join("models"), folder.path().join("output"));
    let set = |key: &str, value: &str| format!("--set={key}={value}");
    let models_path = set("models.path", &models.display().to_string());
    let installed = program::run([
        "models".as_ref(),
        "install".as_ref(),
        "yunet-mobilefacenet".as_ref(),
        "--from".as_ref(),
        shared.join("models").as_os_str(),
        models_path.as_ref(),
    ])?;
    anyhow::ensure!(installed.status.success(), "{}", program::stderr(&installed));

    // Free now, and taken again at once.
    let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let mut command = program::facering();
    command
        .arg("run")
        .arg(program::root().join("pipelines/stream.toml"))
        .arg(set("source.brokers", broker.address()))
        .arg(set("source.topic", &topic))
        .arg(set("source.group", &topic))
        .arg(set("state.path", &folder.path().join("state").display().to_string()))
        .arg(set("output.path", &output.display().to_string()))
        .arg(models_path)
        .arg(set("models.pack", "yunet-mobilefacenet"))
        .arg(set("fetch.danger_allow_networks", "127.0.0.0/8"))
        .arg(set("serve.listen", &address.to_string()))
        .arg(set("output.every_s", "2"));
    let mut running = Running::start(command, &folder.path().join("log"))?;
    let sent = world.events.len() as u64;
    running.wait_until("a snapshot of all events", Duration::from_secs(300), || {
        records_covered(&output) == sent
    })?;
    let clusters = get(address, "/v1/clusters")?;
    assert!(clusters.contains("\"cluster_id\""), "the service shows no cluster: {clusters:.300}");
    assert!(
        get(address, "/v1/metrics")?.contains("facering_events_applied_total 370"),
        "the metrics count other events"
    );
    assert!(get(address, "/")?.to_lowercase().contains("<!doctype html>"), "the report is no page");
    let status = running.stop(Duration::from_secs(60))?;
    anyhow::ensure!(status.success(), "SIGTERM must end it cleanly: {status}\n{}", running.log());

    let snapshot = latest(&output).expect("a snapshot was waited for");
    let members = python::duckdb(&format!(
        "select m.cluster_id, account_id, role, m.score from '{0}/members.parquet' m join '{0}/clusters.parquet' c using (cluster_id)",
        snapshot.display()
    ))?;
    let text = |row: &serde_json::Map<String, serde_json::Value>, key: &str| {
        row[key].as_str().unwrap_or_default().to_owned()
    };
    let mut accused: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in members.iter().filter(|row| row["role"] == "member") {
        accused.entry(text(row, "cluster_id")).or_default().insert(text(row, "account_id"));
    }
    let everyone: BTreeSet<String> = accused.values().flatten().cloned().collect();
    let wrongly: Vec<_> = everyone.iter().filter(|a| !a.starts_with("ring-")).collect();
    assert!(wrongly.is_empty(), "honest accounts accused: {wrongly:?}");

    let bots: BTreeSet<String> = world.rings.values().flatten().cloned().collect();
    let found = bots.intersection(&everyone).count();
    println!("{found} of {} bots found, in {} clusters", bots.len(), accused.len());
    assert!(found * 100 >= bots.len() * 95, "only {found} of {} bots found", bots.len());
    for (ring, bots) in &world.rings {
        let best = accused.values().map(|cluster| cluster.intersection(bots).count()).max().unwrap_or(0);
        assert!(best * 10 >= bots.len() * 9, "{ring}: only {best} of {} bots are in one cluster", bots.len());
    }
    let victims: BTreeSet<String> =
        members.iter().filter(|r| r["role"] == "victim").map(|r| text(r, "account_id")).collect();
    assert!(
        victims.is_subset(&world.victims),
        "only owners of stolen portraits may be called victims: {victims:?}"
    );
    assert!(!victims.is_empty(), "no victim was recognised");
    Ok(())
}
