//! What a user sees who does something wrong: one sentence, the right exit code, nothing left behind.

use std::process::Command;
use std::time::Instant;

use end_to_end::program::{self, run, stderr};

/// The lines of standard error that are errors; log lines stand beside them.
fn errors(output: &std::process::Output) -> Vec<String> {
    stderr(output).lines().filter(|line| line.starts_with("error: ")).map(str::to_owned).collect()
}

#[test]
fn usage_errors_exit_with_2() -> anyhow::Result<()> {
    for arguments in [&["--nonsense"][..], &["run"], &["demo", "--accounts", "7"], &["search"], &["evaluate"]]
    {
        let output = run(arguments)?;
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", stderr(&output));
        assert!(
            stderr(&output).contains("Usage") || stderr(&output).contains("--help"),
            "{}",
            stderr(&output)
        );
    }
    assert!(run(["--help"])?.status.success());
    Ok(())
}

#[test]
fn check_reports_every_problem_at_once() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let pipeline = folder.path().join("wrong.toml");
    std::fs::write(
        &pipeline,
        "[pipeline]\nkind = 'dream'\n[source]\nkind = 'kafka'\ntopik = 'x'\n[fetch]\nconcurrency = 0\n[ouput]\npath = 'x'\n",
    )?;
    let output = run(["check".as_ref(), pipeline.as_os_str(), "--set=state.path=".as_ref()])?;
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    let errors = errors(&output);
    for key in ["pipeline.kind", "source.topik", "fetch.concurrency", "ouput.path", "state.path"] {
        let line = errors.iter().find(|line| line.contains(key));
        let line = line.unwrap_or_else(|| panic!("{key} is not reported in {errors:#?}"));
        let place = if key == "state.path" { "--set" } else { "wrong.toml" };
        assert!(line.contains(place), "the place is missing in {line}");
    }
    assert!(!folder.path().join("state").exists());

    let sound = run(["check".as_ref(), program::root().join("pipelines/stream.toml").as_os_str()])?;
    assert!(sound.status.success(), "{}", stderr(&sound));
    Ok(())
}

#[test]
fn an_unreachable_broker_is_one_sentence() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let start = Instant::now();
    let output = program::facering()
        .current_dir(folder.path())
        .arg("run")
        .arg(program::root().canonicalize()?.join("pipelines/stream.toml"))
        .args([
            "--set=source.brokers=127.0.0.1:1",
            "--set=source.connect_timeout_ms=1500",
            "--set=serve.listen=",
        ])
        .output()?;
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let errors = errors(&output);
    assert_eq!(errors.len(), 1, "{}", stderr(&output));
    assert!(errors[0].contains("127.0.0.1:1"), "{errors:?}");
    assert!(start.elapsed().as_secs() < 60);
    Ok(())
}

#[test]
fn a_missing_model_says_how_to_install_it() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let output = program::facering()
        .current_dir(folder.path())
        .arg("run")
        .arg(program::root().canonicalize()?.join("pipelines/stream.toml"))
        .args(["--set=models.pack=buffalo_l", "--set=serve.listen="])
        .output()?;
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let errors = errors(&output);
    assert_eq!(errors.len(), 1, "{}", stderr(&output));
    assert!(errors[0].contains("buffalo_l") && errors[0].contains("facering models install"), "{errors:?}");
    Ok(())
}

#[test]
fn a_missing_onnx_runtime_says_what_to_do() -> anyhow::Result<()> {
    // A copy of the program far from the checkout finds neither the library nor the models.
    let folder = tempfile::tempdir()?;
    let lonely = folder.path().join("facering");
    let program = std::env::var_os("FACERING_BIN")
        .map_or_else(|| program::root().join("target/release/facering"), std::path::PathBuf::from);
    std::fs::copy(program, &lonely)?;
    let models = program::root().canonicalize()?.join("models");
    let output = std::process::Command::new(&lonely)
        .current_dir(folder.path())
        .env_remove("ORT_DYLIB_PATH")
        .args(["models", "verify", "bundled"])
        .arg(format!("--set=models.path={}", models.display()))
        .output()?;
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let errors = errors(&output);
    assert_eq!(errors.len(), 1, "{}", stderr(&output));
    assert!(errors[0].contains("ONNX Runtime") && errors[0].contains("make setup"), "{errors:?}");
    Ok(())
}

#[test]
fn a_backfill_of_nothing_is_one_sentence() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    for (path, part) in [("missing.parquet", "missing.parquet"), ("empty", "empty")] {
        std::fs::create_dir_all(folder.path().join("empty"))?;
        let output = program::facering()
            .current_dir(folder.path())
            .arg("run")
            .arg(program::root().canonicalize()?.join("pipelines/backfill.toml"))
            .arg(format!("--set=source.path={path}"))
            .output()?;
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        let errors = errors(&output);
        assert_eq!(errors.len(), 1, "{}", stderr(&output));
        assert!(errors[0].contains(part), "{errors:?}");
        assert!(!folder.path().join("output/clusters/LATEST").exists(), "no snapshot of nothing");
    }
    Ok(())
}

/// FAISS's static objects would end it with an illegal instruction before anything of ours runs.
#[test]
fn a_processor_that_is_too_old_is_one_sentence() -> anyhow::Result<()> {
    let mut emulated = Command::new("qemu-x86_64");
    emulated.args(["-cpu", "Nehalem"]).arg(program::facering().get_program()).arg("--version");
    let output = match emulated.output() {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!(
                "SKIPPED a_processor_that_is_too_old_is_one_sentence: no qemu-x86_64 (Debian: qemu-user)"
            );
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let errors = errors(&output);
    assert_eq!(errors.len(), 1, "{}", stderr(&output));
    assert!(errors[0].contains("AVX2"), "{errors:?}");
    Ok(())
}
