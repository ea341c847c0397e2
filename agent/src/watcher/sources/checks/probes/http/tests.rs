use super::*;
use crate::config::Config;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Answers every request with the same bytes.
async fn served(answer: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    port
}

async fn looked(url: &str, more: &str) -> Seen {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let text = format!("checks:\n- {{name: c, timeout: 2s, http: {{url: '{url}'{more}}}}}\n");
    let config = Config::parse(&text).unwrap_or_else(|e| panic!("{text}: {e:?}"));
    super::super::look(&config.checks[0], &super::super::By::Us).await.expect("it can look")
}

fn told(seen: &Seen) -> String {
    let field = |finding: &Finding, name: &str| {
        let found = finding.fields.iter().find(|(n, _)| n.as_str() == name);
        found.map_or_else(String::new, |(_, v)| format!(" {v}"))
    };
    let one =
        |f: &Finding| format!("{} {}{}{}", f.kind, f.verdict.word(), field(f, "reason"), field(f, "status"));
    seen.findings.iter().map(one).collect::<Vec<_>>().join("; ")
}

#[tokio::test]
async fn what_is_answered_and_what_is_expected() {
    let ok = served("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello").await;
    let gone =
        served("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
    let moved = served("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
    let cut = served("HTTP/1.1 200 OK\r\nContent-Length: 500\r\nConnection: close\r\n\r\nhello").await;
    let chunked = served("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n").await;
    let noise = served("SSH-2.0-OpenSSH_9\r\n").await;
    for (port, more, expected) in [
        (ok, "", ""),
        (ok, ", body: 'he.lo'", ""),
        (chunked, ", body: '^hello$'", ""),
        (ok, ", body: goodbye", "http.failed critical body 200"),
        (ok, ", status: [204]", "http.failed critical status 200"),
        (ok, ", time: {warning: 0s, critical: 1m}", "http.failed warning slow"),
        (gone, "", "http.failed critical status 503"),
        (gone, ", status: [503], body: ''", ""),
        (moved, "", "http.failed critical status 302"),
        (moved, ", status: [301, 302]", ""),
        (cut, "", "http.failed critical closed"),
        (noise, "", "http.failed critical other"),
    ] {
        let seen = looked(&format!("http://127.0.0.1:{port}/"), more).await;
        assert_eq!(told(&seen), expected, "{more}: {seen:?}");
    }
    let closed = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = closed.local_addr().expect("an address").port();
    drop(closed);
    let seen = looked(&format!("http://127.0.0.1:{port}/"), "").await;
    assert_eq!(told(&seen), "http.failed critical refused", "{seen:?}");
    let seen = looked("http://no-such-name.invalid/", "").await;
    assert_eq!(told(&seen), "http.failed critical dns", "{seen:?}");
    let seen = looked(&format!("https://127.0.0.1:{ok}/"), "").await;
    assert_eq!(told(&seen), "http.failed critical tls", "{seen:?}");
}

#[tokio::test]
async fn a_server_that_takes_its_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let text = format!("checks:\n- {{name: c, timeout: 150ms, http: {{url: 'http://127.0.0.1:{port}/'}}}}\n");
    let config = Config::parse(&text).expect("it can be used");
    let seen = super::super::look(&config.checks[0], &super::super::By::Us).await.expect("it can look");
    assert_eq!(told(&seen), "http.failed critical timeout");
    drop(listener);
}
