//! What a running pipeline offers beside its work: the control socket in its state folder and, where configured, HTTP.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use metrics_exporter_prometheus::PrometheusBuilder;
use serve::{Server, ServiceState};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::answers::Owner;
use crate::config::{PipelineKind, Settings};
use crate::control::Socket;
use crate::http_state::HttpState;
use crate::pipeline::Pipeline;

/// How often the metrics are tidied up.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// The open sockets of a running pipeline.
pub struct Service {
    _socket: Socket,
    http: Option<Http>,
}

/// A running HTTP service: dropping `end` ends it.
struct Http {
    end: oneshot::Sender<()>,
    task: JoinHandle<Result<(), serve::ServeError>>,
}

/// Opens the control socket and, if `serve.listen` names an address, the HTTP service.
pub async fn start(settings: &Settings, pipeline: &Pipeline) -> anyhow::Result<Service> {
    let embedder = Arc::clone(&pipeline.parts().embedder);
    let owner = Arc::new(Owner::beside(settings, pipeline.state(), embedder, pipeline.orders()));
    let socket = Socket::open(&settings.state.path, Arc::clone(&owner) as _)?;
    // A backfill ends by itself; whoever wants to look at its clusters opens the report.
    let stream = settings.pipeline.kind == PipelineKind::Stream;
    let http = if settings.serve.listen.is_empty() || !stream {
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
        let state: Arc<dyn ServiceState> = Arc::new(HttpState::new(owner, settings.output.path.clone()));
        let server = Server::bind(settings.serve.clone(), state, Arc::new(move || recorder.render())).await?;
        let (end, ended) = oneshot::channel::<()>();
        let task = tokio::spawn(server.run(async move {
            // Dropped or sent, both mean the end.
            drop(ended.await);
        }));
        Some(Http { end, task })
    };
    Ok(Service { _socket: socket, http })
}

impl Service {
    /// Ends the service; requests under way are answered first.
    pub async fn close(self) {
        if let Some(Http { end, task }) = self.http {
            drop(end);
            match task.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "the HTTP service ended badly"),
                Err(error) => tracing::warn!(%error, "the HTTP service panicked"),
            }
        }
    }
}
