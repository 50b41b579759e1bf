//! What a running pipeline offers beside its work: the control socket in its state folder and, where configured, HTTP.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use metrics_exporter_prometheus::PrometheusBuilder;
use serve::{Server, ServiceState};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::answers::Owner;
use crate::config::Settings;
use crate::control::Socket;
use crate::forgetting;
use crate::http_state::HttpState;
use crate::pipeline::Pipeline;
use crate::sealing::ThumbnailKey;

/// How often the metrics are tidied up.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// The open sockets of a running pipeline.
pub struct Service {
    _socket: Socket,
    by_age: Option<JoinHandle<()>>,
    http: Option<Http>,
}

/// A running HTTP service: dropping `end` ends it.
struct Http {
    address: std::net::SocketAddr,
    end: oneshot::Sender<()>,
    task: JoinHandle<Result<(), serve::ServeError>>,
}

/// Opens the control socket and, where it is wanted and `serve.listen` names an address, the HTTP service.
pub async fn start(settings: &Settings, pipeline: &Pipeline, http: bool) -> anyhow::Result<Service> {
    let owner = Arc::new(Owner::beside(pipeline));
    let socket = Socket::open(&settings.state.path, Arc::clone(&owner) as _)?;
    let days = settings.privacy.retain_days;
    let by_age = (days > 0).then(|| tokio::spawn(forgetting::by_age(Arc::clone(&owner), days)));
    let http = if settings.serve.listen.is_empty() || !http {
        None
    } else {
        let recorder = PrometheusBuilder::new().install_recorder().context("metrics cannot be recorded")?;
        let upkeep = recorder.clone();
        tokio::spawn(async move {
            // Samples pile up between two scrapes, and perhaps nobody ever scrapes.
            loop {
                tokio::time::sleep(UPKEEP_EVERY).await;
                upkeep.run_upkeep();
            }
        });
        let key = ThumbnailKey::find(&settings.privacy.thumbnail_key_file)?;
        let state: Arc<dyn ServiceState> = Arc::new(HttpState::new(owner, settings.output.path.clone(), key));
        let server = Server::bind(settings.serve.clone(), state, Arc::new(move || recorder.render())).await?;
        let address = server.address();
        let (end, ended) = oneshot::channel::<()>();
        let task = tokio::spawn(server.run(async move {
            // Dropped or sent, both mean the end.
            drop(ended.await);
        }));
        Some(Http { address, end, task })
    };
    Ok(Service { _socket: socket, by_age, http })
}

impl Service {
    /// Where the HTTP service listens.
    pub fn address(&self) -> Option<std::net::SocketAddr> {
        self.http.as_ref().map(|http| http.address)
    }

    /// Ends the service; requests under way are answered first.
    pub async fn close(self) {
        if let Some(by_age) = self.by_age {
            by_age.abort();
        }
        if let Some(Http { end, task, .. }) = self.http {
            drop(end);
            match task.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "the HTTP service ended badly"),
                Err(error) => tracing::warn!(%error, "the HTTP service panicked"),
            }
        }
    }
}
