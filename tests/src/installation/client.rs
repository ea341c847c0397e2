//! A client of the REST API, as an operator's program would be: a token, a certificate authority, and nothing more.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reqwest::{Certificate, Method, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sopwith_protocol::api::{IncidentSummary, IncidentView, Page, Problem};
use tokio::runtime::Runtime;

const REQUEST_LIMIT: Duration = Duration::from_secs(20);
/// More pages than any test fills; a server that never ends a list must not keep the test for ever.
const PAGES_MAX: usize = 100;

/// Why a request has no answer that can be used.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("{request}: {detail}")]
    Failed { request: String, detail: String },
    /// The server understood and would not.
    #[error("{request}: {status}: {detail}")]
    Refused { request: String, status: u16, detail: String },
}

/// One operator's way to one server.
#[derive(Debug)]
pub struct Client {
    runtime: Runtime,
    http: reqwest::Client,
    base: String,
    token: String,
    requests: AtomicU64,
}

impl Client {
    /// Makes a client that trusts one authority alone; without one, the address must be a plain one.
    pub fn new(base: &str, token: &str, ca_pem: Option<&str>) -> Result<Client, ClientError> {
        let failed = |detail: String| ClientError::Failed { request: "make a client".into(), detail };
        // Fails only when it is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = Runtime::new().map_err(|e| failed(e.to_string()))?;
        let mut builder = reqwest::Client::builder().timeout(REQUEST_LIMIT).no_proxy();
        if let Some(pem) = ca_pem {
            let ca = Certificate::from_pem(pem.as_bytes()).map_err(|e| failed(e.to_string()))?;
            builder = builder.tls_certs_only([ca]);
        }
        let http = builder.build().map_err(|e| failed(e.to_string()))?;
        let (base, token) = (base.trim_end_matches('/').to_owned(), token.to_owned());
        Ok(Client { runtime, http, base, token, requests: AtomicU64::new(0) })
    }

    /// Asks for something below `/api/v1`.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.ask(Method::GET, path, None::<&()>, None)
    }

    /// Tells something, with an idempotency key of its own.
    pub fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        seen: Option<&str>,
    ) -> Result<T, ClientError> {
        self.ask(Method::POST, path, Some(body), seen)
    }

    /// Says whether the server takes requests.
    pub fn ready(&self) -> bool {
        self.runtime.block_on(async {
            self.http.get(format!("{}/readyz", self.base)).send().await.is_ok_and(|r| r.status().is_success())
        })
    }

    /// Returns every incident, open and closed, in full.
    pub fn incidents(&self) -> Result<Vec<IncidentView>, ClientError> {
        let mut found = Vec::new();
        let mut after = String::new();
        for _ in 0..PAGES_MAX {
            let page: Page<IncidentSummary> = self.get(&format!("/incidents?limit=100{after}"))?;
            for summary in &page.items {
                found.push(self.get(&format!("/incidents/{}", summary.id))?);
            }
            match page.next {
                Some(next) => after = format!("&after={next}"),
                None => return Ok(found),
            }
        }
        Err(ClientError::Failed { request: "list incidents".into(), detail: "the list does not end".into() })
    }

    fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
        seen: Option<&str>,
    ) -> Result<T, ClientError> {
        let request = format!("{method} {path}");
        let failed =
            |e: reqwest::Error| ClientError::Failed { request: request.clone(), detail: e.to_string() };
        let mut builder =
            self.http.request(method, format!("{}/api/v1{path}", self.base)).bearer_auth(&self.token);
        if let Some(body) = body {
            let number = self.requests.fetch_add(1, Ordering::Relaxed);
            let key = format!("{}-{number}", hex::encode(rand::random::<[u8; 8]>()));
            builder = builder.header("Idempotency-Key", key).json(body);
        }
        if let Some(digest) = seen {
            builder = builder.header("If-Match", format!("\"{digest}\""));
        }
        self.runtime.block_on(async {
            let response = builder.send().await.map_err(failed)?;
            read(response, &request).await
        })
    }
}

async fn read<T: DeserializeOwned>(response: Response, request: &str) -> Result<T, ClientError> {
    let failed = |detail: String| ClientError::Failed { request: request.to_owned(), detail };
    let status = response.status();
    let bytes = response.bytes().await.map_err(|e| failed(e.to_string()))?;
    if status.is_success() {
        let text: &[u8] = if status == StatusCode::NO_CONTENT || bytes.is_empty() { b"null" } else { &bytes };
        return serde_json::from_slice(text).map_err(|e| failed(format!("the answer cannot be read: {e}")));
    }
    let problem: Option<Problem> = serde_json::from_slice(&bytes).ok();
    let detail =
        problem.map_or_else(|| String::from_utf8_lossy(&bytes).into_owned(), |problem| problem.detail);
    if status.is_client_error() && status != StatusCode::UNAUTHORIZED {
        return Err(ClientError::Refused { request: request.to_owned(), status: status.as_u16(), detail });
    }
    Err(failed(format!("{status}: {detail}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;
    use std::thread::JoinHandle;

    /// Answers one request and returns its head.
    fn answer_once(status: &str, body: &str) -> (String, JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let base = format!("http://{}", listener.local_addr().expect("address"));
        let answer =
            format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let served = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut reader = BufReader::new(stream.try_clone().expect("clone"));
            let (mut head, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).expect("a line");
                let lower = line.to_lowercase();
                if let Some(value) = lower.strip_prefix("content-length:") {
                    length = value.trim().parse().expect("a length");
                }
                if line == "\r\n" {
                    break;
                }
                head.push_str(&lower);
            }
            reader.read_exact(&mut vec![0; length]).expect("the body");
            stream.write_all(answer.as_bytes()).expect("answer");
            head
        });
        (base, served)
    }

    #[test]
    fn a_decision_names_the_plan_that_was_seen() {
        let (base, served) = answer_once("204 No Content", "");
        let client = Client::new(&base, "tok", None).expect("client");
        let () = client.post("/plans/aa/approve", &json!({}), Some("aa")).expect("taken");
        let head = served.join().expect("served");
        for part in [
            "post /api/v1/plans/aa/approve",
            "authorization: bearer tok",
            "if-match: \"aa\"",
            "idempotency-key: ",
        ] {
            assert!(head.contains(part), "{part} is not in {head}");
        }
    }

    #[test]
    fn a_refusal_is_told_from_a_failure() {
        let problem = r#"{"type":"/problems/plan-changed","title":"t","status":412,"detail":"it changed"}"#;
        let cases =
            [("412 Precondition Failed", problem, true), ("500 Oops", "", false), ("401 Who", "", false)];
        for (status, body, refused) in cases {
            let (base, served) = answer_once(status, body);
            let client = Client::new(&base, "tok", None).expect("client");
            let error = client.get::<Value>("/x").expect_err(status);
            served.join().expect("served");
            assert_eq!(matches!(error, ClientError::Refused { .. }), refused, "{error}");
            assert!(!refused || error.to_string().contains("it changed"), "{error}");
        }
    }
}
