//! Model packs as a user meets them: installed from an address, measured, and a new one brought in beside the old one.

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use anyhow::ensure;
use end_to_end::broker::{self, Broker};
use end_to_end::faults::FaultServer;
use end_to_end::pictures::PictureServer;
use end_to_end::program::{self, Running, run, stderr};
use end_to_end::stream::Stream;
use end_to_end::tables::{assert_equal, canonical, records_covered};
use end_to_end::world;

/// Runs the program in a folder of its own.
fn facering(folder: &Path, arguments: &[&str]) -> anyhow::Result<Output> {
    Ok(program::facering().current_dir(folder).args(arguments).output()?)
}

fn json(output: &Output) -> anyhow::Result<serde_json::Value> {
    anyhow::ensure!(output.status.success(), "{}", stderr(output));
    Ok(serde_json::from_slice(&output.stdout)?)
}

#[test]
fn a_pack_is_installed_from_an_address_only_if_it_is_the_right_one() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let server = runtime.block_on(PictureServer::start())?;
    let folder = tempfile::tempdir()?;
    let packs = format!("--set=models.path={}", folder.path().display());
    let wrong = server.url("wrong/");
    for file in ["yunet_s_dynamic.onnx", "mobilefacenet_foamliu_128_dyn.onnx"] {
        server.put(&format!("wrong/{file}"), b"another file".to_vec());
    }
    let refused = run(["models", "install", "yunet-mobilefacenet", "--from", &wrong, &packs])?;
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("has the SHA-256"), "{}", stderr(&refused));
    assert_eq!(std::fs::read_dir(folder.path())?.count(), 0, "a refused installation leaves nothing");
    let nowhere = run(["models", "install", "yunet-mobilefacenet", "--from", &server.url("none/"), &packs])?;
    assert!(stderr(&nowhere).contains("404"), "{}", stderr(&nowhere));

    // The published address is taken where none is given; here only the licence is asked for first.
    let unaccepted = run(["models", "install", "buffalo_l", &packs])?;
    assert_eq!(unaccepted.status.code(), Some(1));
    let told = stderr(&unaccepted);
    assert!(told.contains("non-commercial") && told.contains("--accept-license"), "{told}");

    let Some(shared) = end_to_end::shared::folder("models") else { return Ok(()) };
    for file in ["yunet_s_dynamic.onnx", "mobilefacenet_foamliu_128_dyn.onnx"] {
        server.put(&format!("right/{file}"), std::fs::read(shared.join("models").join(file))?);
    }
    let right = server.url("right/");
    let installed = run(["models", "install", "yunet-mobilefacenet", "--from", &right, &packs, "--json"])?;
    assert!(json(&installed)?["license"].as_str().is_some_and(|license| license.contains("Apache-2.0")));
    let verified = run(["models", "verify", "yunet-mobilefacenet", &packs, "--json"])?;
    assert_eq!(json(&verified)?["sound"], true);

    let bench = ["models", "bench", "yunet-mobilefacenet", &packs, "--json", "--batches=2", "--seconds=0.05"];
    let measured = json(&run(bench)?)?;
    let row = &measured["rows"][0];
    for key in ["embedding_faces_per_second", "detection_pictures_per_second", "pictures_per_second"] {
        assert!(row[key].as_f64().is_some_and(|rate| rate > 0.0), "{key} in {measured}");
    }
    let shares = row["shares"].as_array().expect("shares");
    let names: Vec<&str> = shares.iter().filter_map(|share| share[0].as_str()).collect();
    assert_eq!(names, ["decode", "detection", "alignment", "embedding", "hash"]);
    let sum: f64 = shares.iter().filter_map(|share| share[1].as_f64()).sum();
    assert!((sum - 1.0).abs() < 1e-6, "{measured}");
    assert!(measured["one_core_ms"]["together"].as_f64().is_some_and(|ms| ms > 0.0), "{measured}");
    Ok(())
}

/// A pack that is refused leaves nothing behind that would be in the way of the next one.
#[test]
fn another_pack_can_be_tried_after_one_that_is_refused() -> anyhow::Result<()> {
    let Some(shared) = end_to_end::shared::folder("models") else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let here = folder.path();
    second_pack(&here.join("packs"))?;
    let models = shared.join("models").display().to_string();
    let install =
        ["models", "install", "yunet-mobilefacenet", "--from", &models, "--set=models.path=packs", "--json"];
    json(&facering(here, &install)?)?;
    std::fs::create_dir(here.join("empty"))?;
    let pipeline = program::root().canonicalize()?.join("pipelines/backfill.toml").display().to_string();
    let with = |pack: &str| {
        let pack = format!("--set=models.pack={pack}");
        facering(here, &["run", &pipeline, "--set=models.path=packs", "--set=source.path=empty", &pack])
    };
    // Its state is begun, with an index of 128 dimensions, before the source is found to be empty.
    let empty = with("yunet-mobilefacenet")?;
    assert!(!stderr(&empty).contains("dimensions"), "{}", stderr(&empty));
    std::fs::write(here.join("packs/second/embedder.onnx"), b"no network")?;
    let broken = with("second")?;
    assert!(stderr(&broken).contains("SHA-256"), "{}", stderr(&broken));
    let other = with("bundled")?;
    assert!(!stderr(&other).contains("dimensions"), "{}", stderr(&other));
    assert_eq!(stderr(&other).lines().last(), stderr(&empty).lines().last(), "both find nothing to read");
    Ok(())
}

/// The same networks under another name are another pack: its embeddings are not compared with those of the first.
fn second_pack(packs: &Path) -> anyhow::Result<()> {
    let bundled = program::root().join("models/bundled");
    for name in ["bundled", "second"] {
        let folder = packs.join(name);
        std::fs::create_dir_all(&folder)?;
        for file in ["detector.onnx", "embedder.onnx"] {
            std::fs::copy(bundled.join(file), folder.join(file))?;
        }
        let text = std::fs::read_to_string(bundled.join("pack.toml"))?;
        std::fs::write(
            folder.join("pack.toml"),
            text.replace("id = \"bundled\"", &format!("id = \"{name}\"")),
        )?;
    }
    Ok(())
}

#[test]
fn a_new_pack_is_brought_in_beside_the_old_one() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let here = folder.path();
    second_pack(&here.join("packs"))?;
    let data = here.join("data");
    let prefix = format!("--url-prefix=file://{}/", data.display());
    let simulated =
        facering(here, &["simulate", "--images", "--accounts=60", "--seed=3", "--out=data", &prefix])?;
    anyhow::ensure!(simulated.status.success(), "{}", stderr(&simulated));
    let pipeline = program::root().canonicalize()?.join("pipelines/backfill.toml").display().to_string();
    let roots = format!("--set=fetch.allow_file_roots=[\"{}\"]", data.display());
    let common = [
        "run",
        &pipeline,
        "--set=models.path=packs",
        "--set=source.path=data/profiles.parquet",
        &roots,
        "--json",
    ];
    let with = |more: &[&str]| facering(here, &[&common, more].concat());
    let faces = |output: &Output| json(output).map(|value| value["summary"]["faces"].as_u64().unwrap_or(0));
    let alone = with(&["--beside", "--set=models.pack=second"])?;
    assert!(stderr(&alone).contains("run without --beside"), "{}", stderr(&alone));
    let of_first = faces(&with(&[])?)?;
    assert!(of_first > 30, "only {of_first} faces");

    // Faces of two packs never stand in one state.
    let mixed = with(&["--set=models.pack=second"])?;
    assert_eq!(mixed.status.code(), Some(1));
    let told = stderr(&mixed);
    assert!(told.contains("holds faces of the model pack bundled") && told.contains("--beside"), "{told}");
    let same = with(&["--beside"])?;
    assert_eq!(same.status.code(), Some(2));
    assert!(stderr(&same).contains("--beside fills a second one"), "{}", stderr(&same));
    let switch = ["models", "switch", "second", "--set=models.path=packs", "--json"];
    let early = facering(here, &switch)?;
    assert!(stderr(&early).contains("no state with faces of second"), "{}", stderr(&early));

    assert_eq!(faces(&with(&["--beside", "--set=models.pack=second"])?)?, of_first);
    assert!(here.join("state/packs/second/output/clusters/LATEST").exists(), "its clusters can be looked at");
    let allow = ["decisions", "allow", "--account=somebody", "--reason=a friend", "--set=models.path=packs"];
    let allowed = facering(here, &allow)?;
    anyhow::ensure!(allowed.status.success(), "{}", stderr(&allowed));
    let again = with(&[])?;
    assert_eq!(faces(&again)?, 0, "until the switch the first one is in use: {}", stderr(&again));
    let switched = json(&facering(here, &switch)?)?;
    assert_eq!((switched["pack"].as_str(), switched["before"].as_str()), (Some("second"), Some("bundled")));
    let second = ["--set=models.path=packs", "--set=models.pack=second", "--json"];
    let decisions = json(&facering(here, &[&["decisions", "list"][..], &second].concat())?)?;
    assert!(decisions.to_string().contains("a friend"), "decisions go along: {decisions}");
    let old = with(&[])?;
    assert!(stderr(&old).contains("holds faces of the model pack second"), "{}", stderr(&old));
    assert_eq!(faces(&with(&["--set=models.pack=second"])?)?, 0, "everything is there");

    // An account that is to be forgotten is forgotten in both.
    const FIRST: &str = "
import json, polars, sys
rows = polars.read_parquet(sys.argv[1]).filter(polars.col('photos').list.len() > 0)
print(json.dumps(rows['account_id'][0]))
";
    let first = end_to_end::python::json(FIRST, &[&data.join("profiles.parquet").display().to_string()])?;
    let account = first.as_str().expect("an account");
    let forgotten = facering(here, &[&["forget", account][..], &second].concat())?;
    anyhow::ensure!(forgotten.status.success(), "{}", stderr(&forgotten));

    let back = ["models", "switch", "bundled", "--set=models.path=packs", "--remove-old", "--json"];
    assert_eq!(json(&facering(here, &back)?)?["pack"], "bundled");
    assert!(!here.join("state/packs/second").exists() && here.join("state/store").exists());
    let first = ["--set=models.path=packs", "--json"];
    let search = facering(here, &[&["search", "--account", account][..], &first].concat())?;
    assert!(!search.status.success(), "the account is forgotten in the first state, too");
    Ok(())
}

/// A stream goes on working while a second one reads the same topic from its start with another pack, stops, and goes on;
/// only when it has read everything it takes the first one's place, and then new events arrive in it.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_pack_reads_the_topic_beside_the_running_stream() -> anyhow::Result<()> {
    const PATIENCE: Duration = Duration::from_secs(120);
    let folder = tempfile::tempdir()?;
    second_pack(&folder.path().join("packs"))?;
    let server = FaultServer::start().await?;
    let world = world::build(folder.path(), 80, &server)?;
    let broker = Broker::start()?;
    let topic = format!("packs-{}", std::process::id());
    let dead = format!("{topic}.dead");
    broker.create_topics(&[&topic, &dead], 2).await?;
    let packs = format!("models.path={}", folder.path().join("packs").display());
    let in_folder = |name: &str| -> anyhow::Result<Stream> {
        let stream = Stream::new(broker.address(), &topic, &folder.path().join(name)).set(&packs);
        std::fs::create_dir_all(&stream.folder)?;
        Ok(stream.set("source.batch_events=8"))
    };
    let first = in_folder("one")?;
    let second = first.clone().set("models.pack=second");
    let start_beside = |stream: &Stream| {
        let mut command = stream.command();
        command.arg("--beside");
        Running::start(command, &first.folder.join("log-beside"))
    };
    let beside_output = first.folder.join("state/packs/second/output");
    let stop = |running: &mut Running| -> anyhow::Result<()> {
        let status = running.stop(Duration::from_secs(60))?;
        ensure!(status.success(), "{status}\n{}", running.log());
        Ok(())
    };
    let state = format!("--set=state.path={}", first.folder.join("state").display());
    let switch = |to: &str| run(["models", "switch", to, &state, &format!("--set={packs}"), "--json"]);
    let refused = |why: &str| -> anyhow::Result<()> {
        let output = switch("second")?;
        let told = stderr(&output);
        ensure!(output.status.code() == Some(1) && told.contains(why), "{}: {told}", output.status);
        Ok(())
    };

    let messages = world.in_disorder();
    let (early, rest) = messages.split_at(messages.len() / 3);
    let (later, last) = rest.split_at(rest.len() / 2);
    let read = |messages: usize, output: &Path| records_covered(output) == messages as u64;
    broker.produce(&topic, early).await?;
    let mut running = Running::start(first.command(), &first.log())?;
    running.wait_until("the first events", PATIENCE, || read(early.len(), &first.output()))?;
    let mut beside = start_beside(&second)?;
    beside.wait_until("the first events beside", PATIENCE, || read(early.len(), &beside_output))?;
    refused("has caught up; nothing may run")?;
    // Not killed: the tests' broker gives nothing to a member that comes before it misses the one before.
    stop(&mut beside)?;
    let both = early.len() + later.len();
    broker.produce(&topic, later).await?;
    running.wait_until("later events", PATIENCE, || read(both, &first.output()))?;
    refused("has not read everything that the one in use has")?;
    stop(&mut running)?;
    refused("has not read everything that the one in use has")?;

    let letters = broker::count(broker.address(), &dead, 2)?;
    assert!(letters > 0, "the first stream has given up messages");
    let mut beside = start_beside(&second)?;
    beside.wait_until("later events beside", PATIENCE, || read(both, &beside_output))?;
    refused("has caught up; nothing may run")?;
    stop(&mut beside)?;
    assert_eq!(broker::count(broker.address(), &dead, 2)?, letters, "dead letters are not published again");
    assert_eq!(json(&switch("second")?)?["pack"], "second");
    let old = first.command().output()?;
    assert!(stderr(&old).contains("holds faces of the model pack second"), "{}", stderr(&old));

    // The same group as before, another state, which knows where it has to go on.
    broker.produce(&topic, last).await?;
    let mut running = Running::start(second.command(), &second.log())?;
    let all = messages.len();
    running.wait_until("new events", PATIENCE, || read(all, &second.output()))?;
    stop(&mut running)?;

    let mut alone = in_folder("alone")?.set("models.pack=second");
    alone.group = format!("{topic}-alone");
    let mut running = Running::start(alone.command(), &alone.log())?;
    running.wait_until("everything", PATIENCE, || read(all, &alone.output()))?;
    stop(&mut running)?;
    let expected = canonical(&alone.output())?;
    assert!(expected["clusters"].as_array().is_some_and(|clusters| !clusters.is_empty()), "{expected}");
    assert_equal(&expected, &canonical(&second.output())?, "after the switch");

    // The way back: the first state, kept from before, reads what came since and is in use again.
    let early = switch("bundled")?;
    assert!(stderr(&early).contains("has not read everything"), "{}", stderr(&early));
    let mut beside = start_beside(&first)?;
    let kept = first.folder.join("state/output");
    beside.wait_until("what came since", PATIENCE, || read(all, &kept))?;
    stop(&mut beside)?;
    assert_eq!(json(&switch("bundled")?)?["pack"], "bundled");
    assert_equal(&expected, &canonical(&kept)?, "in the first state");
    Ok(())
}
