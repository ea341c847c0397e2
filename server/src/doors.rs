//! The two ports: TLS with certificates of our own CA, who is at the other end, and what stands before every route
//! of a door. Nothing here knows what the routes do.

use crate::app::App;
use crate::exchange::identity::PeerCertificate;
use crate::keys::{Keys, pem_der};
use crate::problem::Fault;
use crate::routes::{Door, router};
use crate::turnstile::{Counting, Telling, Turnstile};
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{AddExtension, Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use axum_server::accept::{Accept, DefaultAcceptor};
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sopwith_domain::ids::Digest;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tower::Layer;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::csrf::CsrfLayer;
use tower_http::set_header::SetResponseHeaderLayer;

/// Requests that are under way on one connection at the same time: a browser with many pages open, an agent that
/// has one exchange held open and one for news.
const OPERATOR_STREAMS_MAX: u32 = 100;
const AGENT_STREAMS_MAX: u32 = 16;

/// How long a peer may take over what it owes, so that nobody holds a connection by being slow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Patience {
    /// To agree on TLS.
    pub handshake: Duration,
    /// To send a first request.
    pub first_request: Duration,
    /// To send the head of a further request, counted from the end of the one before: longer than the minute for
    /// which proxies keep a connection.
    pub head: Duration,
    /// For an operator's whole request, its body included; event streams and exports begin to answer at once.
    pub operator_request: Duration,
    /// For an agent's: the longest wait for news, and time to upload.
    pub agent_request: Duration,
    /// To take something of what it is sent.
    pub stall: Duration,
    /// Between two questions whether the peer is still there, and for its answer.
    pub alive: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            first_request: Duration::from_secs(15),
            head: Duration::from_secs(75),
            operator_request: Duration::from_secs(30),
            agent_request: Duration::from_secs(60),
            stall: Duration::from_secs(60),
            alive: Duration::from_secs(30),
        }
    }
}

/// Why a door could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    #[error("failed to listen on {address}: {error}")]
    Listen { address: SocketAddr, error: io::Error },
    #[error("failed to use the server's certificate: {0}")]
    Tls(String),
}

/// A port that is listened on, before anything is answered there.
pub struct Opened {
    pub listener: TcpListener,
    pub address: SocketAddr,
}

/// Begins to listen, so that a port that is taken is noticed at once.
///
/// # Errors
/// Names the address.
pub fn listen(address: SocketAddr) -> Result<Opened, DoorError> {
    let failed = |error| DoorError::Listen { address, error };
    let listener = TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok(Opened { listener, address })
}

/// Serves one door until its handle is shut down.
///
/// # Errors
/// Returns why it cannot be served.
pub async fn serve(
    app: App,
    door: Door,
    opened: Opened,
    handle: axum_server::Handle<SocketAddr>,
    patience: Patience,
) -> Result<(), DoorError> {
    let address = opened.address;
    let failed = |error| DoorError::Listen { address, error };
    let make = layered(&app, door, patience).into_make_service_with_connect_info::<SocketAddr>();
    let mut server = axum_server::from_tcp(opened.listener).map_err(failed)?.handle(handle);
    let streams_max = if door == Door::Operator { OPERATOR_STREAMS_MAX } else { AGENT_STREAMS_MAX };
    server.http_builder().http1().header_read_timeout(patience.head);
    let mut http2 = server.http_builder().http2();
    http2.max_concurrent_streams(streams_max);
    http2.keep_alive_interval(patience.alive).keep_alive_timeout(patience.alive);
    let server = server.first_request_timeout(patience.first_request);
    let turnstile = turnstile(&app, door);
    let stall_max = patience.stall;
    let secure = |ask_clients| -> Result<RustlsAcceptor, DoorError> {
        let config = RustlsConfig::from_config(tls(&app.keys, ask_clients)?);
        Ok(RustlsAcceptor::new(config).handshake_timeout(patience.handshake))
    };
    let served = match (door, app.config.operator_tls) {
        (Door::Operator, false) => {
            let inner = DefaultAcceptor::new();
            server.acceptor(Counting { inner, turnstile, stall_max }).serve(make).await
        }
        (Door::Operator, true) => {
            let inner = secure(false)?;
            server.acceptor(Counting { inner, turnstile, stall_max }).serve(make).await
        }
        (Door::Agent, _) => {
            let inner = Identifying { inner: secure(true)? };
            server.acceptor(Counting { inner, turnstile, stall_max }).serve(make).await
        }
    };
    served.map_err(failed)
}

fn turnstile(app: &App, door: Door) -> Turnstile {
    let connections = app.config.connections;
    let (share, per_address) = match door {
        // Without TLS it is a proxy on this machine through which all come.
        Door::Operator if !app.config.operator_tls => (connections.operators, None),
        Door::Operator => (connections.operators, Some(connections.per_address)),
        Door::Agent => (connections.agents, Some(connections.per_address)),
    };
    Turnstile::new(door, share, per_address, app.metrics.clone())
}

/// Returns a door's routes behind what every request passes.
pub fn layered(app: &App, door: Door, patience: Patience) -> Router {
    let counted = from_fn_with_state((app.clone(), door), count);
    let never_stored =
        SetResponseHeaderLayer::if_not_present(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let no_sniffing = SetResponseHeaderLayer::overriding(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    let router = router(app, door)
        .layer(CatchPanicLayer::custom(|_: Box<dyn std::any::Any + Send>| {
            Fault::internal(&"a handler panicked").into_response()
        }))
        .layer(never_stored)
        .layer(no_sniffing);
    match door {
        Door::Operator => {
            let csrf = CsrfLayer::new().with_rejection_response(|_| {
                Fault::new(
                    StatusCode::FORBIDDEN,
                    "cross-site",
                    "This is not permitted",
                    "the request came from another site's page",
                )
                .into_response()
            });
            let strict = SetResponseHeaderLayer::overriding(
                header::CONTENT_SECURITY_POLICY,
                HeaderValue::from_static(
                    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; \
                     connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
                ),
            );
            let referrer = SetResponseHeaderLayer::overriding(
                header::REFERRER_POLICY,
                HeaderValue::from_static("same-origin"),
            );
            let timed = from_fn(move |request, next| timed(patience.operator_request, request, next));
            router.layer(timed).layer(csrf).layer(strict).layer(referrer).layer(counted)
        }
        Door::Agent => {
            let timed = from_fn(move |request, next| timed(patience.agent_request, request, next));
            router.layer(timed).layer(counted)
        }
    }
}

async fn timed(limit: Duration, request: Request, next: Next) -> Response {
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Fault::new(
            StatusCode::REQUEST_TIMEOUT,
            "timeout",
            "It took too long",
            format!("the request was not there and answered within {} s", limit.as_secs_f32()),
        )
        .into_response(),
    }
}

async fn count(
    axum::extract::State((app, door)): axum::extract::State<(App, Door)>,
    request: Request,
    next: Next,
) -> Response {
    let response = next.run(request).await;
    app.metrics.request(door, response.status().as_u16());
    response
}

fn tls(keys: &Keys, ask_clients: bool) -> Result<Arc<ServerConfig>, DoorError> {
    let failed = |error: &dyn std::fmt::Display| DoorError::Tls(error.to_string());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone());
    let builder = builder.with_safe_default_protocol_versions().map_err(|e| failed(&e))?;
    let ca = CertificateDer::from(pem_der(&keys.ca_pem).map_err(|e| failed(&e))?);
    let builder = if ask_clients {
        let mut roots = RootCertStore::empty();
        roots.add(ca.clone()).map_err(|e| failed(&e))?;
        // Joining is done without a certificate; every other route of the door needs one, says the route table.
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        builder.with_client_cert_verifier(verifier.allow_unauthenticated().build().map_err(|e| failed(&e))?)
    } else {
        builder.with_no_client_auth()
    };
    let certificate = CertificateDer::from(pem_der(&keys.server_pem).map_err(|e| failed(&e))?);
    let key = PrivateKeyDer::from_pem_slice(keys.server_key_pem.as_bytes()).map_err(|e| failed(&e))?;
    // The CA goes along, so that an agent that knows only the CA's digest can check the chain.
    let mut config = builder.with_single_cert(vec![certificate, ca], key).map_err(|e| failed(&e))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Accepts TLS connections and puts the client's certificate beside each of their requests.
#[derive(Clone)]
struct Identifying {
    inner: RustlsAcceptor,
}

impl<S: Send + 'static> Accept<TcpStream, S> for Identifying {
    type Stream = <RustlsAcceptor as Accept<TcpStream, S>>::Stream;
    type Service = AddExtension<<RustlsAcceptor as Accept<TcpStream, S>>::Service, PeerCertificate>;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Self::Stream, Self::Service)>> + Send>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let accepting = self.inner.accept(stream, service);
        Box::pin(async move {
            let (stream, service) = accepting.await?;
            let first = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
            let peer = PeerCertificate(first.map(|certificate| certificate.clone().into_owned()));
            Ok((stream, Extension(peer).layer(service)))
        })
    }
}

impl<S: Send + 'static> Telling<S> for Identifying {
    fn key(stream: &<Self as Accept<TcpStream, S>>::Stream) -> Option<Digest> {
        <RustlsAcceptor as Telling<S>>::key(stream)
    }
}
