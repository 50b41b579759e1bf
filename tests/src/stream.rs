//! A stream under test: its folder, its topic, and the command that runs it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context;

use crate::program;

/// Where a stream reads and writes.
#[derive(Clone, Debug)]
pub struct Stream {
    /// `bootstrap.servers`.
    pub brokers: String,
    /// The topic; its dead letters go to `<topic>.dead`.
    pub topic: String,
    /// The consumer group.
    pub group: String,
    /// Folder of state, output and log.
    pub folder: PathBuf,
    /// Further settings, as `key=value`.
    pub settings: Vec<String>,
}

impl Stream {
    /// Over this topic, in this folder.
    pub fn new(brokers: &str, topic: &str, folder: &Path) -> Self {
        Self {
            brokers: brokers.to_owned(),
            topic: topic.to_owned(),
            group: topic.to_owned(),
            folder: folder.to_owned(),
            settings: Vec::new(),
        }
    }

    /// With one more setting.
    #[must_use]
    pub fn set(mut self, setting: impl Into<String>) -> Self {
        self.settings.push(setting.into());
        self
    }

    /// Where snapshots lie.
    pub fn output(&self) -> PathBuf {
        self.folder.join("output")
    }

    /// Where the log goes.
    pub fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// The command, with the bundled models, pictures from loopback, and no HTTP service unless a setting names one.
    pub fn command(&self) -> Command {
        let mut command = program::facering();
        command
            .arg("run")
            .arg(program::root().join("pipelines/stream.toml"))
            .arg(format!("--set=source.brokers={}", self.brokers))
            .arg(format!("--set=source.topic={}", self.topic))
            .arg(format!("--set=source.group={}", self.group))
            // A member that was killed is thrown out of its group after this long.
            .arg("--set=source.properties.session.timeout.ms=6000")
            // The tests' broker may wait for one that is gone as long as this before it lets the others have partitions.
            .arg("--set=source.properties.max.poll.interval.ms=20000")
            .arg(format!("--set=state.path={}", self.folder.join("state").display()))
            .arg(format!("--set=output.path={}", self.output().display()))
            .args(["--set=models.pack=bundled", "--set=fetch.danger_allow_networks=127.0.0.0/8"])
            .args(["--set=serve.listen=", "--set=output.every_s=1"])
            .args(self.settings.iter().map(|setting| format!("--set={setting}")));
        command
    }
}

/// A port of loopback that is free now.
pub fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// The status and the body of the answer to one request.
pub fn get(address: SocketAddr, path: &str) -> anyhow::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(10))?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").context("the answer has no end of its head")?;
    let status = head.split_whitespace().nth(1).and_then(|code| code.parse().ok());
    Ok((status.context("the answer has no status")?, body.to_owned()))
}

/// One number of Prometheus' text.
pub fn metric(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.trim().parse::<f64>().ok()).unwrap_or(0.0) as u64
}
