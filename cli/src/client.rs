//! The REST API as the commands use it. Every text of an answer that is shown to people passes [`words::clean`] here,
//! in one place; programs get the answer as it came. It never follows a redirect and never retries a write.

use crate::failure::{self, Failure};
use crate::session::{Session, Trust};
use crate::words;
use reqwest::header::{ACCEPT, DATE, HeaderValue, IF_MATCH};
use reqwest::{Method, RequestBuilder, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use sopwith_domain::ids::Digest;
use sopwith_protocol::api::{Page, Problem};
use std::time::Duration;

/// Longest answer that is read, in bytes; the audit export is read as a stream instead.
const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest silence of a server that is answering.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// The server sends a sign of life on event streams every 15 s.
const STREAM_READ_TIMEOUT: Duration = Duration::from_secs(60);
/// Most items that one page is asked for.
const PAGE_MAX: usize = 200;

#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    streams: reqwest::Client,
    url: String,
    token: Option<String>,
}

/// An answer in both forms.
#[derive(Clone, Debug)]
pub struct Answer<T> {
    /// As it came.
    pub raw: Json,
    /// Cleaned, for people.
    pub view: T,
}

impl Client {
    pub fn from_session() -> Result<Self, Failure> {
        let session = Session::load()?;
        Self::new(&session.url, Some(session.token), &session.trust)
    }

    pub fn new(url: &str, token: Option<String>, trust: &Trust) -> Result<Self, Failure> {
        let url = url.trim_end_matches('/').to_owned();
        check_url(&url)?;
        let build = |read_timeout: Duration| {
            let builder = reqwest::Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .connect_timeout(CONNECT_TIMEOUT)
                .read_timeout(read_timeout)
                .user_agent(concat!("sopwith/", env!("CARGO_PKG_VERSION")));
            let builder = match crate::tls::config(trust)? {
                Some(config) => builder.tls_backend_preconfigured(config),
                None => builder,
            };
            builder.build().map_err(|e| Failure::failed(format!("cannot use {url}: {}", failure::chain(&e))))
        };
        Ok(Self { http: build(READ_TIMEOUT)?, streams: build(STREAM_READ_TIMEOUT)?, url: url.clone(), token })
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<Answer<T>, Failure> {
        let raw = self.get_raw(path).await?;
        Ok(Answer { view: view(&raw)?, raw })
    }

    /// Returns an answer as it came, for documents whose every byte counts.
    pub async fn get_raw(&self, path: &str) -> Result<Json, Failure> {
        self.ask(self.http.request(Method::GET, self.api(path))).await
    }

    /// Gets a list, page after page, up to `limit` items.
    pub async fn list<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &str,
        limit: usize,
    ) -> Result<Answer<Vec<T>>, Failure> {
        let mut items: Vec<Json> = Vec::new();
        let mut after: Option<String> = None;
        while items.len() < limit {
            let count = (limit - items.len()).min(PAGE_MAX);
            let more = after.map_or_else(String::new, |a| format!("&after={}", escape(&a)));
            let raw = self.get_raw(&format!("{path}?limit={count}{query}{more}")).await?;
            let page: Page<Json> = view_raw(&raw)?;
            let empty = page.items.is_empty();
            items.extend(page.items);
            after = page.next;
            if empty || after.is_none() {
                break;
            }
        }
        items.truncate(limit);
        let raw = Json::Array(items);
        Ok(Answer { view: view(&raw)?, raw })
    }

    /// Sends a change. `if_match` is the digest that the person was shown.
    pub async fn send<B: Serialize>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
        if_match: Option<Digest>,
    ) -> Result<Json, Failure> {
        let mut request = self.http.request(method, self.api(path));
        request = request.header("Idempotency-Key", hex::encode(rand::random::<[u8; 16]>()));
        if let Some(body) = body {
            request = request.json(body);
        }
        if let Some(digest) = if_match {
            request = request.header(IF_MATCH, format!("\"{digest}\""));
        }
        self.ask(request).await
    }

    /// Opens an answer that is read piece by piece.
    pub async fn stream(&self, path: &str) -> Result<Response, Failure> {
        self.answered(self.streams.request(Method::GET, self.api(path))).await
    }

    /// Opens the stream of what happens, read piece by piece; from after the event of this id on, where the server has
    /// it still.
    pub async fn events(&self, after: Option<&str>) -> Result<Response, Failure> {
        let mut request = self.streams.request(Method::GET, self.api("/events"));
        request = request.header(ACCEPT, "text/event-stream");
        if let Some(id) = after.and_then(|id| HeaderValue::from_str(id).ok()) {
            request = request.header("Last-Event-ID", id);
        }
        self.answered(request).await
    }

    /// Asks an address outside the API (`/readyz`); returns its status, its date and the beginning of its text.
    pub async fn probe(&self, path: &str) -> Result<(u16, Option<String>, String), Failure> {
        let request = self.http.request(Method::GET, format!("{}{path}", self.url));
        let response = request.send().await.map_err(|e| self.unreachable(&e))?;
        let date = response.headers().get(DATE).and_then(|d| d.to_str().ok()).map(str::to_owned);
        let status = response.status().as_u16();
        let text =
            String::from_utf8_lossy(&self.body(response).await?).chars().take(2_000).collect::<String>();
        Ok((status, date, words::clean(&text)))
    }

    fn api(&self, path: &str) -> String {
        format!("{}/api/v1{path}", self.url)
    }

    async fn ask(&self, request: RequestBuilder) -> Result<Json, Failure> {
        let response = self.answered(request.header(ACCEPT, "application/json")).await?;
        let body = self.body(response).await?;
        if body.is_empty() {
            return Ok(Json::Null);
        }
        serde_json::from_slice(&body).map_err(|e| {
            Failure::failed(format!("{} did not answer with JSON: {e}", self.url))
                .help("is that address a Sopwith server?")
        })
    }

    /// Sends a request and returns the answer if it is a good one.
    async fn answered(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let request = match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let response = request.send().await.map_err(|e| self.unreachable(&e))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = self.body(response).await?;
        let problem = serde_json::from_slice::<Json>(&body).ok().and_then(|raw| view::<Problem>(&raw).ok());
        Err(Failure::from_problem(problem.unwrap_or_else(|| Problem {
            kind: "about:blank".into(),
            title: format!("the server answered {status}"),
            status: status.as_u16(),
            detail: words::clean(&String::from_utf8_lossy(&body).chars().take(200).collect::<String>()),
            help: None,
            errors: Vec::new(),
        })))
    }

    async fn body(&self, mut response: Response) -> Result<Vec<u8>, Failure> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| self.unreachable(&e))? {
            body.extend_from_slice(&chunk);
            if body.len() > ANSWER_BYTES_MAX {
                return Err(Failure::failed(format!(
                    "the answer is longer than {ANSWER_BYTES_MAX} bytes; ask for less with --limit"
                )));
            }
        }
        Ok(body)
    }

    /// Says why the server could not be asked, in the words of the innermost cause, and what to do.
    pub fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let why = failure::innermost(error);
        let why = why.strip_prefix("unexpected error: ").unwrap_or(&why);
        let help = if why.contains("not the pinned") {
            "do not log in: ask the server's owner for its CA's SHA-256; somebody may stand between"
        } else if why.contains("not valid for name") {
            "use an address that stands in the server's certificate (`names` in its configuration)"
        } else if why.contains("certificate") || why.contains("show its CA") {
            "pin the server's CA: `sopwith login` with --ca FILE or --ca-sha256 HEX, or set SOPWITH_CA"
        } else {
            "is the address right, is the server running? `sopwith doctor` looks closer"
        };
        Failure::unreachable(format!("{} cannot be reached: {why}", self.url)).help(help)
    }
}

/// Escapes what stands in a path or a query.
pub fn escape(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// Makes a view for people of an answer: every text cleaned.
pub fn view<T: DeserializeOwned>(raw: &Json) -> Result<T, Failure> {
    view_raw(&cleaned(raw))
}

/// Makes a type of an answer as it came.
pub fn view_raw<T: DeserializeOwned>(raw: &Json) -> Result<T, Failure> {
    T::deserialize(raw).map_err(|e| {
        Failure::failed(format!("the server's answer is not understood: {e}"))
            .help("is this sopwith older or newer than the server? `sopwith --version`")
    })
}

fn cleaned(raw: &Json) -> Json {
    match raw {
        Json::String(text) => Json::String(words::clean(text)),
        Json::Array(items) => Json::Array(items.iter().map(cleaned).collect()),
        Json::Object(fields) => {
            Json::Object(fields.iter().map(|(k, v)| (words::clean(k), cleaned(v))).collect())
        }
        other => other.clone(),
    }
}

/// Refuses addresses over which a token would travel in clear.
fn check_url(url: &str) -> Result<(), Failure> {
    let parsed = reqwest::Url::parse(url).map_err(|e| {
        Failure::usage(format!("{url} is no address: {e}")).help("as in https://sopwith.example.net:8443")
    })?;
    let host = parsed.host_str().unwrap_or_default();
    let loopback = host == "localhost"
        || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    match parsed.scheme() {
        "https" => Ok(()),
        "http" if loopback => Ok(()),
        "http" => Err(Failure::usage(format!("{url} would carry your password and token in clear"))
            .help("use https://; http:// is for loopback only")),
        _ => Err(Failure::usage(format!("{url} is no address of a server"))
            .help("as in https://sopwith.example.net:8443")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_travel_in_clear_on_loopback_only() {
        for good in ["https://x.example", "http://127.0.0.1:1", "http://[::1]:1", "http://localhost"] {
            assert!(check_url(good).is_ok(), "{good}");
        }
        for bad in ["http://x.example", "http://127.0.0.1.example", "ftp://x", "x", "", "file:///etc/passwd"]
        {
            assert!(check_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_goes_into_a_path_cannot_leave_its_place() {
        assert_eq!(escape("../x?y#z w"), "..%2Fx%3Fy%23z%20w");
    }
}
