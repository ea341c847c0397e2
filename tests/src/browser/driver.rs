//! A browser without a window, driven over WebDriver (chromedriver): what a person does with keyboard and pointer,
//! and what a browser complains about. Waits until something is so, never for a length of time.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// How long something may take to appear before it is said to be missing.
const APPEAR_LIMIT: Duration = Duration::from_secs(60);
const REQUEST_LIMIT: Duration = Duration::from_secs(120);
/// Name under which WebDriver refers to elements.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
const DRIVER: &str = "chromedriver";
const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// Why a browser did not do what it was told.
#[derive(Debug, thiserror::Error)]
pub enum BrowserError {
    #[error("failed to start {0}")]
    Start(String),
    #[error("failed to {command}: {detail}")]
    Command { command: String, detail: String },
    #[error("failed to find {what} within {} s; the page at {url} says:\n{text}", APPEAR_LIMIT.as_secs())]
    Missing { what: String, url: String, text: String },
}

/// Light or dark.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scheme {
    Light,
    Dark,
}

/// Says how to get what the browser test needs, where it is not installed.
pub fn missing() -> Option<String> {
    let has = |name: &str| on_path(name).is_some();
    (!has(DRIVER) || !BROWSERS.iter().any(|name| has(name))).then(|| {
        "no browser to test with; to install one: apt-get install -y chromium chromium-driver".to_owned()
    })
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// A browser with one page open; it ends with the value.
pub struct Browser {
    runtime: Runtime,
    http: reqwest::Client,
    session: String,
    base: String,
    driver: Child,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Starts a browser for the site at `base`.
    ///
    /// # Errors
    /// Says what could not be started.
    pub fn start(base: &str) -> Result<Self, BrowserError> {
        let failed = |what: &str| BrowserError::Start(what.to_owned());
        let runtime = Runtime::new().map_err(|e| failed(&e.to_string()))?;
        let http = reqwest::Client::builder().timeout(REQUEST_LIMIT).no_proxy().build();
        let http = http.map_err(|e| failed(&e.to_string()))?;
        let profile = tempfile::tempdir().map_err(|e| failed(&e.to_string()))?;
        let (driver, port) = start_driver()?;
        let mut browser = Self {
            runtime,
            http,
            session: format!("http://127.0.0.1:{port}/session"),
            base: base.trim_end_matches('/').to_owned(),
            driver,
            _profile: profile,
        };
        let capabilities = capabilities(browser._profile.path())?;
        let answer =
            browser.send("start a session", "", &json!({"capabilities": {"alwaysMatch": capabilities}}))?;
        let id = answer["sessionId"].as_str().ok_or_else(|| failed("a session: no id"))?;
        browser.session = format!("{}/{id}", browser.session);
        Ok(browser)
    }

    /// Opens a path of the site.
    pub fn open(&self, path: &str) -> Result<(), BrowserError> {
        self.send("open a page", "/url", &json!({"url": format!("{}{path}", self.base)})).map(drop)
    }

    /// Returns the path of the page, with its query.
    pub fn path(&self) -> Result<String, BrowserError> {
        Ok(self.eval("return location.pathname + location.search")?.as_str().unwrap_or_default().to_owned())
    }

    /// Makes the window a phone's or a desk's.
    pub fn resize(&self, width: u32, height: u32) -> Result<(), BrowserError> {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 640});
        self.devtools("Emulation.setDeviceMetricsOverride", size)
    }

    pub fn prefer(&self, scheme: Scheme) -> Result<(), BrowserError> {
        let value = if scheme == Scheme::Dark { "dark" } else { "light" };
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": value}]});
        self.devtools("Emulation.setEmulatedMedia", features)
    }

    /// Lets pages run scripts, or not.
    pub fn scripts(&self, allowed: bool) -> Result<(), BrowserError> {
        self.devtools("Emulation.setScriptExecutionDisabled", json!({"value": !allowed}))
    }

    /// Clicks the first element that the selector names, once it is there.
    pub fn click(&self, selector: &str) -> Result<(), BrowserError> {
        let element = self.wait_for(selector)?;
        self.send("click", &format!("/element/{element}/click"), &json!({})).map(drop)
    }

    /// Types into the first element that the selector names, once it is there.
    pub fn write(&self, selector: &str, text: &str) -> Result<(), BrowserError> {
        let element = self.wait_for(selector)?;
        self.send("type", &format!("/element/{element}/value"), &json!({"text": text})).map(drop)
    }

    /// Presses keys one after the other, wherever the focus is.
    pub fn press(&self, keys: &str) -> Result<(), BrowserError> {
        let strokes: Vec<Value> = keys
            .chars()
            .flat_map(|key| {
                [json!({"type": "keyDown", "value": key}), json!({"type": "keyUp", "value": key})]
            })
            .collect();
        let actions = json!({"actions": [{"type": "key", "id": "keyboard", "actions": strokes}]});
        self.send("press keys", "/actions", &actions).map(drop)
    }

    /// Runs a script in the page and returns what it returns.
    pub fn eval(&self, script: &str) -> Result<Value, BrowserError> {
        self.send("run a script", "/execute/sync", &json!({"script": script, "args": []}))
    }

    /// Returns the visible text of the first element that the selector names.
    pub fn text(&self, selector: &str) -> Result<String, BrowserError> {
        let element = self.wait_for(selector)?;
        let text = self.ask("read text", &format!("/element/{element}/text"))?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// Waits until the page's visible text holds `words`.
    pub fn wait_for_text(&self, words: &str) -> Result<(), BrowserError> {
        self.wait(&format!("the words {words:?}"), || Ok(self.text("body")?.contains(words)))
    }

    /// Waits until the selector names something; returns it.
    pub fn wait_for(&self, selector: &str) -> Result<String, BrowserError> {
        let mut found = None;
        self.wait(&format!("an element {selector}"), || {
            let query = json!({"using": "css selector", "value": selector});
            let elements = self.send("find", "/elements", &query)?;
            found = elements[0][ELEMENT].as_str().map(str::to_owned);
            Ok(found.is_some())
        })?;
        found.ok_or_else(|| BrowserError::Start("an element that was found".into()))
    }

    fn wait(
        &self,
        what: &str,
        mut so: impl FnMut() -> Result<bool, BrowserError>,
    ) -> Result<(), BrowserError> {
        let deadline = Instant::now() + APPEAR_LIMIT;
        loop {
            // An element that went away while it was asked for is asked for again.
            if so().unwrap_or(false) {
                return Ok(());
            }
            if Instant::now() > deadline {
                let text = self.eval("return document.body.innerText").unwrap_or_default();
                let url = self.path().unwrap_or_default();
                let text = text.as_str().unwrap_or_default().to_owned();
                return Err(BrowserError::Missing { what: what.to_owned(), url, text });
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Returns what the browser complained about since the last time: errors of scripts, of the content security
    /// policy, of resources.
    pub fn complaints(&self) -> Result<Vec<String>, BrowserError> {
        let entries = self.send("read the browser's log", "/se/log", &json!({"type": "browser"}))?;
        let grave = |entry: &&Value| matches!(entry["level"].as_str(), Some("SEVERE" | "WARNING"));
        let text = |entry: &Value| entry["message"].as_str().unwrap_or_default().to_owned();
        // The browser's own start page complains of itself.
        let ours = |text: &String| !text.starts_with("chrome://");
        Ok(entries.as_array().into_iter().flatten().filter(grave).map(text).filter(ours).collect())
    }

    fn devtools(&self, command: &str, parameters: Value) -> Result<(), BrowserError> {
        self.send(command, "/goog/cdp/execute", &json!({"cmd": command, "params": parameters})).map(drop)
    }

    fn send(&self, command: &str, path: &str, body: &Value) -> Result<Value, BrowserError> {
        self.answer(command, self.http.post(format!("{}{path}", self.session)).json(body))
    }

    fn ask(&self, command: &str, path: &str) -> Result<Value, BrowserError> {
        self.answer(command, self.http.get(format!("{}{path}", self.session)))
    }

    fn answer(&self, command: &str, request: reqwest::RequestBuilder) -> Result<Value, BrowserError> {
        let failed = |detail: String| BrowserError::Command { command: command.to_owned(), detail };
        self.runtime.block_on(async {
            let response = request.send().await.map_err(|e| failed(e.to_string()))?;
            let good = response.status().is_success();
            let mut answer: Value = response.json().await.map_err(|e| failed(e.to_string()))?;
            let value = answer["value"].take();
            if good {
                Ok(value)
            } else {
                Err(failed(value["message"].as_str().unwrap_or_default().to_owned()))
            }
        })
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver ends its browser with the session; both may be gone already.
        let _ = self.answer("end the session", self.http.delete(&self.session));
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

fn capabilities(profile: &Path) -> Result<Value, BrowserError> {
    let program = BROWSERS.iter().find_map(|name| on_path(name));
    let program = program.ok_or_else(|| BrowserError::Start("a browser: none is installed".into()))?;
    let profile = format!("--user-data-dir={}", profile.display());
    let arguments = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        &profile,
    ];
    Ok(json!({
        "browserName": "chrome",
        // The server's certificate is from a CA of its own.
        "acceptInsecureCerts": true,
        "goog:loggingPrefs": {"browser": "ALL"},
        "goog:chromeOptions": {"binary": program, "args": arguments},
    }))
}

/// Starts the driver on a free port and returns the port.
fn start_driver() -> Result<(Child, u16), BrowserError> {
    let failed = |detail: String| BrowserError::Start(format!("{DRIVER}: {detail}"));
    let mut command = Command::new(DRIVER);
    command.arg("--port=0").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut driver = command.spawn().map_err(|e| failed(e.to_string()))?;
    let lines = driver.stdout.take().map(|out| BufReader::new(out).lines());
    let port = lines.into_iter().flatten().map_while(Result::ok).find_map(|line| {
        let (_, port) = line.split_once("started successfully on port ")?;
        port.trim_end_matches('.').parse().ok()
    });
    match port {
        Some(port) => Ok((driver, port)),
        None => {
            let _ = driver.kill();
            let _ = driver.wait();
            Err(failed("it did not say its port".into()))
        }
    }
}
