//! Model packs as a user meets them: installed from an address, measured, and a new one brought in beside the old one.

use std::path::Path;
use std::process::Output;

use end_to_end::pictures::PictureServer;
use end_to_end::program::{self, run, stderr};

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
    let of_first = faces(&with(&[])?)?;
    assert!(of_first > 30, "only {of_first} faces");

    // Faces of two packs never stand in one state.
    let mixed = with(&["--set=models.pack=second"])?;
    assert_eq!(mixed.status.code(), Some(1));
    let told = stderr(&mixed);
    assert!(told.contains("holds faces of the model pack bundled") && told.contains("--beside"), "{told}");
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
