//! Counts who is inside at a door and turns away who is too many. Each door has a share of its own, so that neither
//! operators nor agents can lock the others out, and within it each address has one, until it is known which host
//! speaks: then the host has. Knows nothing of what is said; remembers nobody who has left.

use crate::exchange::identity::key_digest;
use crate::routes::Door;
use crate::telemetry::Metrics;
use axum_server::accept::{Accept, DefaultAcceptor};
use axum_server::tls_rustls::RustlsAcceptor;
use sopwith_domain::ids::Digest;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::future::Future;
use std::hash::Hash;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

/// Connections of one host at a time: an agent has one held open and one for news, and after a break of the network
/// the ones before may linger.
pub const PER_HOST_MAX: usize = 16;
/// Refusals are told in the log at once, and then no more often than this, with their number.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// Which share is used up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Full {
    Door,
    Address,
    Host,
}

impl Full {
    /// Returns the name under which it is counted.
    pub fn name(self) -> &'static str {
        match self {
            Self::Door => "door",
            Self::Address => "address",
            Self::Host => "host",
        }
    }
}

/// Who a connection is counted for within its door.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum For {
    Address(IpAddr),
    /// A host that our CA knows, by its key's digest.
    Host(Digest),
}

#[derive(Default, Debug)]
struct Inside {
    all: usize,
    each: HashMap<For, usize>,
    untold: u64,
    told_at: Option<Instant>,
}

#[derive(Debug)]
struct Shared {
    door: Door,
    share: usize,
    per_address: Option<usize>,
    metrics: Metrics,
    inside: Mutex<Inside>,
}

/// One door's count. A clone is the same count.
#[derive(Clone, Debug)]
pub struct Turnstile(Arc<Shared>);

impl Turnstile {
    /// Makes the count of a door for `share` connections; `per_address` is nothing where all come through a proxy.
    pub fn new(door: Door, share: usize, per_address: Option<usize>, metrics: Metrics) -> Self {
        Self(Arc::new(Shared { door, share, per_address, metrics, inside: Mutex::default() }))
    }

    /// Lets a connection in, for as long as the pass is kept.
    ///
    /// # Errors
    /// Says which share is used up; the refusal is counted and told in the log.
    pub fn enter(&self, from: IpAddr) -> Result<Pass, Full> {
        let mut inside = self.lock();
        let who = For::Address(neighbourhood(from));
        let full = match (inside.all >= self.0.share, self.0.per_address) {
            (true, _) => Some(Full::Door),
            (false, Some(max)) if count(&inside.each, &who) >= max => Some(Full::Address),
            _ => None,
        };
        if let Some(full) = full {
            self.refused(&mut inside, full, from);
            return Err(full);
        }
        inside.all += 1;
        *inside.each.entry(who).or_default() += 1;
        self.0.metrics.inside(self.0.door, inside.all);
        Ok(Pass { turnstile: self.clone(), who, from })
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        // Nothing can be left half-counted: no step between taking and giving back the lock can panic.
        self.0.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refused(&self, inside: &mut Inside, full: Full, from: IpAddr) {
        self.0.metrics.turned_away(self.0.door, full);
        inside.untold += 1;
        if inside.told_at.is_none_or(|at| at.elapsed() >= LOG_EVERY) {
            let (door, share, refused) = (self.0.door.name(), full.name(), inside.untold);
            tracing::warn!(door, share, %from, refused, "connections are turned away: too many are open");
            (inside.untold, inside.told_at) = (0, Some(Instant::now()));
        }
    }
}

fn count<K: Eq + Hash>(each: &HashMap<K, usize>, who: &K) -> usize {
    each.get(who).copied().unwrap_or(0)
}

/// Returns the address that counts as one: whoever has one address of IPv6 has all of its network.
fn neighbourhood(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

/// The right to be inside; it ends with the value.
#[derive(Debug)]
pub struct Pass {
    turnstile: Turnstile,
    who: For,
    from: IpAddr,
}

impl Pass {
    /// Counts the connection for the host that it turned out to be of, and no longer for its address: behind one
    /// address there may be any number of hosts.
    ///
    /// # Errors
    /// The host has too many already.
    fn is_of(&mut self, key: Digest) -> Result<(), Full> {
        let who = For::Host(key);
        let mut inside = self.turnstile.lock();
        if count(&inside.each, &who) >= PER_HOST_MAX {
            self.turnstile.refused(&mut inside, Full::Host, self.from);
            return Err(Full::Host);
        }
        give_back(&mut inside.each, self.who);
        *inside.each.entry(who).or_default() += 1;
        drop(inside);
        self.who = who;
        Ok(())
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut inside = self.turnstile.lock();
        inside.all = inside.all.saturating_sub(1);
        give_back(&mut inside.each, self.who);
        let door = &self.turnstile.0;
        door.metrics.inside(door.door, inside.all);
    }
}

fn give_back(each: &mut HashMap<For, usize>, who: For) {
    if let Entry::Occupied(mut entry) = each.entry(who) {
        match *entry.get() {
            0 | 1 => drop(entry.remove()),
            many => *entry.get_mut() = many - 1,
        }
    }
}

/// An acceptor whose streams tell who is at their other end.
pub trait Telling<S>: Accept<TcpStream, S> {
    /// Returns the digest of the key of a host that our CA knows.
    fn key(stream: &Self::Stream) -> Option<Digest>;
}

impl<S> Telling<S> for DefaultAcceptor {
    fn key(_: &TcpStream) -> Option<Digest> {
        None
    }
}

impl<S> Telling<S> for RustlsAcceptor {
    fn key(stream: &<Self as Accept<TcpStream, S>>::Stream) -> Option<Digest> {
        let (_, session) = stream.get_ref();
        key_digest(session.peer_certificates()?.first()?)
    }
}

/// Accepts connections as the inner acceptor does, if there is room for them.
#[derive(Clone, Debug)]
pub struct Counting<A> {
    pub inner: A,
    pub turnstile: Turnstile,
    /// How long a peer may take nothing of what it is sent before the connection is closed.
    pub stall_max: Duration,
}

impl<A, S> Accept<TcpStream, S> for Counting<A>
where
    A: Telling<S> + Clone + Send + Sync + 'static,
    A::Future: Send,
    A::Stream: Send,
    A::Service: Send,
    S: Send + 'static,
{
    type Stream = Held<A::Stream>;
    type Service = A::Service;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Self::Stream, Self::Service)>> + Send>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let (inner, turnstile, stall_max) = (self.inner.clone(), self.turnstile.clone(), self.stall_max);
        Box::pin(async move {
            let full = |full: Full| io::Error::new(io::ErrorKind::QuotaExceeded, full.name());
            let mut pass = turnstile.enter(stream.peer_addr()?.ip()).map_err(full)?;
            let (stream, service) = inner.accept(stream, service).await?;
            if let Some(key) = A::key(&stream) {
                pass.is_of(key).map_err(full)?;
            }
            Ok((Held { stream, stall: None, stall_max, _pass: pass }, service))
        })
    }
}

/// A stream with its pass, which gives up on a peer that takes nothing of what it is sent.
#[derive(Debug)]
pub struct Held<S> {
    stream: S,
    /// Running while the peer takes nothing.
    stall: Option<Pin<Box<Sleep>>>,
    stall_max: Duration,
    _pass: Pass,
}

impl<S> Held<S> {
    /// Passes on what became of a write, unless nothing became of it for too long.
    fn patient<T>(&mut self, became: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if became.is_ready() {
            self.stall = None;
            return became;
        }
        let until = Instant::now() + self.stall_max;
        let stall = self.stall.get_or_insert_with(|| Box::pin(sleep_until(until)));
        match stall.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Held<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, to)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Held<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        let became = Pin::new(&mut self.stream).poll_write(cx, from);
        self.patient(became, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let became = Pin::new(&mut self.stream).poll_flush(cx);
        self.patient(became, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let became = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.patient(became, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let became = Pin::new(&mut self.stream).poll_write_vectored(cx, from);
        self.patient(became, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turnstile(share: usize, per_address: Option<usize>) -> Turnstile {
        Turnstile::new(Door::Agent, share, per_address, Metrics::new().unwrap())
    }

    #[test]
    fn each_address_has_its_share_and_all_have_the_doors() {
        // `+a` an address comes, `-a` its oldest connection leaves; in, or whose share is full.
        let table = [
            (5, Some(2), "+a +a +a +b -a +a +a", "in in address in - in address"),
            (3, Some(2), "+a +a +b +c -b +c", "in in in door - in"),
            (2, None, "+a +a +a", "in in door"),
        ];
        for (share, per_address, moves, expected) in table {
            let turnstile = turnstile(share, per_address);
            let mut open: Vec<(char, Pass)> = Vec::new();
            let mut told = Vec::new();
            for step in moves.split(' ') {
                let (way, who) = (step.chars().next().unwrap(), step.chars().nth(1).unwrap());
                let address = IpAddr::from([192, 0, 2, who as u8]);
                match way {
                    '+' => match turnstile.enter(address) {
                        Ok(pass) => {
                            open.push((who, pass));
                            told.push("in");
                        }
                        Err(full) => told.push(full.name()),
                    },
                    _ => {
                        let at = open.iter().position(|(of, _)| *of == who).unwrap();
                        open.remove(at);
                        told.push("-");
                    }
                }
            }
            assert_eq!(told.join(" "), expected, "{moves}");
            open.clear();
            let inside = turnstile.lock();
            assert_eq!((inside.all, inside.each.len()), (0, 0), "nobody is remembered who has left");
        }
    }

    #[test]
    fn hosts_behind_one_address_are_told_apart_once_they_are_known() {
        let turnstile = turnstile(100, Some(1));
        let address = IpAddr::from([192, 0, 2, 1]);
        let mut known: Vec<Pass> = Vec::new();
        for host in 0..3_u8 {
            let mut pass = turnstile.enter(address).expect("the one before is counted for its host");
            pass.is_of(Digest::of(&[host])).unwrap();
            known.push(pass);
        }
        let _stranger = turnstile.enter(address).unwrap();
        assert_eq!(turnstile.enter(address).unwrap_err(), Full::Address);
        for _ in 1..PER_HOST_MAX {
            let mut pass = turnstile.enter(IpAddr::from([192, 0, 2, 9])).unwrap();
            pass.is_of(Digest::of(&[0])).unwrap();
            known.push(pass);
        }
        let mut one_more = turnstile.enter(IpAddr::from([192, 0, 2, 9])).unwrap();
        assert_eq!(one_more.is_of(Digest::of(&[0])).unwrap_err(), Full::Host);
    }

    #[tokio::test]
    async fn who_takes_nothing_is_given_up() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let turnstile = turnstile(1, None);
        let held = |stall_ms| {
            let (ours, theirs) = tokio::io::duplex(8);
            let pass = turnstile.enter(IpAddr::from([192, 0, 2, 1])).unwrap();
            let stall_max = Duration::from_millis(stall_ms);
            (Held { stream: ours, stall: None, stall_max, _pass: pass }, theirs)
        };
        let (mut ours, _silent) = held(20);
        let error = ours.write_all(&[b'x'; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(ours);
        // However slowly it takes, it is served as long as it takes something.
        let (mut ours, mut slow) = held(10_000);
        let reading = tokio::spawn(async move {
            let mut all = Vec::new();
            slow.read_to_end(&mut all).await.map(|_| all.len())
        });
        ours.write_all(&[b'x'; 64]).await.unwrap();
        drop(ours);
        assert_eq!(reading.await.unwrap().unwrap(), 64);
        assert_eq!(turnstile.lock().all, 0);
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_address() {
        let table = [
            ("2001:db8::1", "2001:db8::ffff:1", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
            ("::ffff:192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
        ];
        for (a, b, same) in table {
            let of = |text: &str| neighbourhood(text.parse().unwrap());
            assert_eq!(of(a) == of(b), same, "{a} {b}");
        }
    }
}
