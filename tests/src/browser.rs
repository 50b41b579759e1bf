//! Headless Chromium, driven over the W3C WebDriver protocol that `chromedriver` speaks (plain JSON over HTTP).
//!
//! Every page is watched: what the console complained about, and every address that was asked for.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};

/// How long a page may take to become what a test waits for.
const PATIENCE: Duration = Duration::from_secs(20);
/// The key under which WebDriver names an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser with one window.
pub struct Browser {
    driver: Child,
    http: reqwest::Client,
    session: String,
    pictures: Option<PathBuf>,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Starts chromedriver and a browser of this size in CSS pixels. Screenshots are kept in the folder
    /// `FACERING_SCREENSHOTS`, if it is set.
    pub async fn start(width: u32, height: u32, dark: bool) -> anyhow::Result<Self> {
        let profile = tempfile::tempdir()?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let driver = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("chromedriver does not start: run scripts/setup-tests.sh")?;
        let http = reqwest::Client::builder().timeout(Duration::from_secs(60)).build()?;
        let base = format!("http://127.0.0.1:{port}");
        let mut browser = Self { driver, http, session: base.clone(), pictures: None, _profile: profile };
        browser.pictures = std::env::var_os("FACERING_SCREENSHOTS").map(PathBuf::from);
        let started = Instant::now();
        while browser.http.get(format!("{base}/status")).send().await.is_err() {
            anyhow::ensure!(started.elapsed() < PATIENCE, "chromedriver does not answer");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let data = format!("--user-data-dir={}", browser._profile.path().display());
        let arguments = vec![
            "--headless".to_owned(),
            "--no-sandbox".into(),
            "--disable-gpu".into(),
            "--disable-quic".into(),
            "--disable-dev-shm-usage".into(),
            "--no-first-run".into(),
            "--disable-background-networking".into(),
            "--disable-component-update".into(),
            "--disable-sync".into(),
            "--hide-scrollbars".into(),
            data,
            format!("--window-size={width},{height}"),
        ];
        let capabilities = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": {"args": arguments, "mobileEmulation": (width < 600).then(|| {
                json!({"deviceMetrics": {"width": width, "height": height, "pixelRatio": 2.0}})
            })},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }}});
        let capabilities = without_nulls(capabilities);
        let made = browser.command("session", Some(capabilities)).await?;
        let id = made["sessionId"].as_str().context("chromedriver names no session")?.to_owned();
        browser.session = format!("{base}/session/{id}");
        let scheme = if dark { "dark" } else { "light" };
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        browser.devtools("Emulation.setEmulatedMedia", media).await?;
        Ok(browser)
    }

    async fn command(&self, path: &str, body: Option<Value>) -> anyhow::Result<Value> {
        let url = format!("{}/{path}", self.session);
        let request = match body {
            Some(body) => self.http.post(&url).json(&body),
            None => self.http.get(&url),
        };
        let answer: Value = request.send().await?.json().await?;
        match answer["value"]["error"].as_str() {
            Some(error) => {
                bail!("{path}: {error}: {:.400}", answer["value"]["message"].as_str().unwrap_or(""))
            }
            None => Ok(answer["value"].clone()),
        }
    }

    /// A command of Chrome's own protocol.
    async fn devtools(&self, command: &str, parameters: Value) -> anyhow::Result<Value> {
        self.command("goog/cdp/execute", Some(json!({"cmd": command, "params": parameters}))).await
    }

    /// Opens an address.
    pub async fn open(&self, url: &str) -> anyhow::Result<()> {
        self.command("url", Some(json!({"url": url}))).await.map(drop)
    }

    /// Where the window is.
    pub async fn address(&self) -> anyhow::Result<String> {
        Ok(self.command("url", None).await?.as_str().unwrap_or_default().to_owned())
    }

    /// Runs a script in the page; `arguments` are its arguments, what it returns comes back.
    pub async fn run(&self, script: &str, arguments: Value) -> anyhow::Result<Value> {
        self.command("execute/sync", Some(json!({"script": script, "args": arguments}))).await
    }

    /// The visible text of the first element that fits, `None` if there is none.
    pub async fn text(&self, css: &str) -> anyhow::Result<Option<String>> {
        let script = "const e = document.querySelector(arguments[0]); return e ? e.innerText : null";
        Ok(self.run(script, json!([css])).await?.as_str().map(str::to_owned))
    }

    /// The texts of all elements that fit.
    pub async fn texts(&self, css: &str) -> anyhow::Result<Vec<String>> {
        let script = "return [...document.querySelectorAll(arguments[0])].filter((e) => e.offsetParent).map((e) => e.innerText)";
        let found = self.run(script, json!([css])).await?;
        Ok(found.as_array().into_iter().flatten().filter_map(|t| t.as_str().map(str::to_owned)).collect())
    }

    /// Clicks as a person does: the element has to be in sight, and nothing in front of it.
    pub async fn click(&self, css: &str) -> anyhow::Result<()> {
        let element = self.element(css).await?;
        let script = "arguments[0].scrollIntoView({block: 'center'})";
        self.run(script, json!([{ELEMENT: element}])).await?;
        self.command(&format!("element/{element}/click"), Some(json!({}))).await.map(drop)
    }

    /// Types into an element.
    pub async fn type_into(&self, css: &str, text: &str) -> anyhow::Result<()> {
        let element = self.element(css).await?;
        self.command(&format!("element/{element}/value"), Some(json!({"text": text}))).await.map(drop)
    }

    /// Presses keys, wherever the focus is.
    pub async fn press(&self, keys: &str) -> anyhow::Result<()> {
        let strokes: Vec<Value> = keys
            .chars()
            .flat_map(|key| ["keyDown", "keyUp"].map(|kind| json!({"type": kind, "value": key})))
            .collect();
        let actions = json!({"actions": [{"type": "key", "id": "keyboard", "actions": strokes}]});
        self.command("actions", Some(actions)).await.map(drop)
    }

    async fn element(&self, css: &str) -> anyhow::Result<String> {
        let body = json!({"using": "css selector", "value": css});
        let found = self.command("element", Some(body)).await.with_context(|| css.to_owned())?;
        Ok(found[ELEMENT].as_str().context("no element id")?.to_owned())
    }

    /// Waits until a script returns something true.
    pub async fn wait_for(&self, what: &str, script: &str, arguments: Value) -> anyhow::Result<()> {
        let started = Instant::now();
        // While a page is being left, scripts fail.
        while !self.run(script, arguments.clone()).await.is_ok_and(|value| value == true) {
            if started.elapsed() > PATIENCE {
                let page = self.text("body").await.ok().flatten().unwrap_or_default();
                bail!("no {what} within {PATIENCE:?}; {} shows:\n{page:.1500}", self.address().await?);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// A picture of the window, as it is or of the whole page, into `FACERING_SCREENSHOTS`, if that is set.
    pub async fn keep_picture(&self, name: &str, whole: bool) -> anyhow::Result<()> {
        let Some(folder) = &self.pictures else { return Ok(()) };
        std::fs::create_dir_all(folder)?;
        let mut how = json!({"format": "png"});
        if whole {
            let size =
                "const e = document.documentElement; return [e.clientWidth, Math.min(e.scrollHeight, 6000)]";
            let size = self.run(size, json!([])).await?;
            how["clip"] = json!({"x": 0, "y": 0, "width": size[0], "height": size[1], "scale": 1});
            how["captureBeyondViewport"] = json!(true);
        }
        let taken = self.devtools("Page.captureScreenshot", how).await?;
        let file = folder.join(format!("{name}.png"));
        self.write(&file, taken["data"].as_str().context("no picture")?)
    }

    /// The page as it would be printed, into `FACERING_SCREENSHOTS`, if that is set.
    pub async fn keep_print(&self, name: &str) -> anyhow::Result<()> {
        let Some(folder) = &self.pictures else { return Ok(()) };
        std::fs::create_dir_all(folder)?;
        let printed = self.command("print", Some(json!({"background": true}))).await?;
        self.write(&folder.join(format!("{name}.pdf")), printed.as_str().context("no print")?)
    }

    fn write(&self, file: &Path, base64: &str) -> anyhow::Result<()> {
        use base64::Engine;
        Ok(std::fs::write(file, base64::engine::general_purpose::STANDARD.decode(base64)?)?)
    }

    /// What the console complained about since the last call.
    pub async fn complaints(&self) -> anyhow::Result<Vec<String>> {
        let log = self.command("se/log", Some(json!({"type": "browser"}))).await?;
        let bad = |entry: &&Value| matches!(entry["level"].as_str(), Some("SEVERE" | "WARNING"));
        let entries = log.as_array().cloned().unwrap_or_default();
        Ok(entries.iter().filter(bad).map(|entry| entry["message"].to_string()).collect())
    }

    /// Every address that pages asked for since the last call.
    pub async fn requests(&self) -> anyhow::Result<Vec<String>> {
        let log = self.command("se/log", Some(json!({"type": "performance"}))).await?;
        let mut asked = Vec::new();
        for entry in log.as_array().into_iter().flatten() {
            let message: Value = serde_json::from_str(entry["message"].as_str().unwrap_or("null"))?;
            let message = &message["message"];
            if message["method"] == "Network.requestWillBeSent" {
                asked.extend(message["params"]["request"]["url"].as_str().map(str::to_owned));
            }
        }
        Ok(asked)
    }
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            fields.into_iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k, without_nulls(v))).collect()
        }
        other => other,
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // chromedriver ends its browser when it is asked to end.
        let session = self.session.clone();
        let ended = std::thread::spawn(move || end(&session));
        let _a_browser_that_hangs = ended.join();
        let _already_gone = self.driver.kill();
        let _already_reaped = self.driver.wait();
    }
}

/// `DELETE /session/{id}`, by hand, since a destructor cannot wait for a future.
fn end(session: &str) -> Option<()> {
    use std::io::{Read, Write};
    let rest = session.strip_prefix("http://")?;
    let (host, path) = rest.split_once('/')?;
    let mut stream = std::net::TcpStream::connect(host).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    write!(stream, "DELETE /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").ok()?;
    stream.read_to_end(&mut Vec::new()).ok().map(drop)
}
