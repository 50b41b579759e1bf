//! `facering serve`: the pages and the API over a state that no pipeline is running on.

use std::time::Duration;

use anyhow::Context;

use super::{print, runtime};
use crate::cli::Common;
use crate::config::Settings;
use crate::outcome::Misconfigured;
use crate::pipeline::Pipeline;
use crate::{service, signals};

pub fn execute(common: &Common) -> anyhow::Result<()> {
    let settings = Settings::load(common, None)?;
    if settings.serve.listen.is_empty() {
        let message = "is empty, so that there is nothing to serve; name an address like 127.0.0.1:8321";
        return Err(Misconfigured::usage("serve.listen", message));
    }
    if !settings.state.path.join("store").exists() {
        anyhow::bail!(
            "there is no state in {}; run a pipeline first, or name another folder with --set state.path=…",
            settings.state.path.display()
        );
    }
    runtime()?.block_on(run(&settings))
}

async fn run(settings: &Settings) -> anyhow::Result<()> {
    let stop = signals::stop_on_signal()?;
    let told = "a running stream serves its state itself, at its own serve.listen";
    let mut pipeline = Pipeline::open(settings).map_err(|error| {
        let taken = error.downcast_ref::<store::StoreError>();
        match taken {
            Some(store::StoreError::InUse { .. }) => error.context(told),
            _ => error,
        }
    })?;
    let service = service::start(settings, &pipeline, true).await?;
    let address = service.address().context("the service does not listen")?;
    print(&format!("serving {} at http://{address}/", settings.state.path.display()))?;
    let outcome = pipeline.attend(Duration::from_secs(settings.output.every_s), stop).await;
    service.close().await;
    outcome
}
