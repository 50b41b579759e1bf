//! schemathesis reads the OpenAPI document of the running program and makes calls of it, good and bad ones, to every
//! operation: none may fail, be answered otherwise than documented, or get past the tokens.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use end_to_end::program::{self, Running, run, stderr};

const TOKEN: &str = "a token for schemathesis";

fn set(key: &str, value: impl std::fmt::Display) -> String {
    format!("--set={key}={value}")
}

fn settings(folder: &Path) -> [String; 2] {
    [set("state.path", folder.join("state").display()), set("output.path", folder.join("output").display())]
}

#[test]
fn no_call_of_the_document_fails() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let arguments =
        ["simulate".into(), "--accounts=400".into(), "--seed=5".into(), format!("--out={}", data.display())];
    let simulated = run(arguments)?;
    anyhow::ensure!(simulated.status.success(), "{}", stderr(&simulated));
    let mut backfill = program::facering();
    backfill.arg("run").arg(program::root().join("pipelines/backfill.toml"));
    backfill.arg(set("source.path", data.join("faces.parquet").display())).args(settings(folder.path()));
    let filled = backfill.output()?;
    anyhow::ensure!(filled.status.success(), "{}", stderr(&filled));

    let tokens = folder.path().join("tokens.toml");
    // A picture's key is the SHA-256 of its bytes, as a token's hash is.
    let hash = records::PhotoKey::of_bytes(TOKEN.as_bytes());
    std::fs::write(&tokens, format!("[[token]]\nname = 'tester'\nrole = 'admin'\nsha256 = '{hash}'\n"))?;
    let listen = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let mut command = program::facering();
    command.arg("serve").args(settings(folder.path())).args([
        set("serve.listen", listen),
        set("serve.tokens_path", tokens.display()),
        set("serve.search_enabled", true),
        set("serve.audit_path", folder.path().join("audit.jsonl").display()),
        set("serve.queries_per_minute", 1_000_000),
    ]);
    let mut running = Running::start(command, &folder.path().join("log"))?;
    running.wait_until("a listening service", Duration::from_secs(60), || {
        std::net::TcpStream::connect(listen).is_ok()
    })?;

    let path = std::env::var("FACERING_TEST_PYTHONPATH")
        .context("FACERING_TEST_PYTHONPATH is not set: run the tests with `make test`, which sets it")?;
    let tested = Command::new("python3")
        .args(["-m", "schemathesis.cli", "run"])
        .arg(format!("http://{listen}/openapi.json"))
        .args(["-H", &format!("Authorization: Bearer {TOKEN}")])
        // What only the state knows (whether an account or a cluster is there, whether a picture shows a face) makes
        // calls that fit the document fail rightly.
        .args(["--checks=all", "--exclude-checks=positive_data_acceptance"])
        .args([
            "--phases=examples,coverage,fuzzing",
            "--max-examples=30",
            "--seed=1",
            "--continue-on-failure",
        ])
        .args(["--warnings=off", "--no-color"])
        .env("PYTHONPATH", path)
        .current_dir(folder.path())
        .output()?;
    let said = String::from_utf8_lossy(&tested.stdout);
    println!(
        "{}",
        said.lines().rev().take(25).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n")
    );
    anyhow::ensure!(tested.status.success(), "{said}\n{}\n{}", stderr(&tested), running.log());
    let status = running.stop(Duration::from_secs(30))?;
    anyhow::ensure!(status.success(), "{status}\n{}", running.log());
    Ok(())
}
