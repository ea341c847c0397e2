//! Opens a connection with as little as it takes. A service on this host has mostly taken it before the call returns:
//! then nobody waits for it, and the process is not woken once more.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with, sockopt};
use std::io;
use std::net::{SocketAddr, TcpStream as Connection};
use std::os::fd::OwnedFd;
use tokio::net::TcpStream;

/// Connects to the first of these addresses that takes it; returns the connection only to who wants to `talk`.
pub(super) async fn connect(addresses: &[SocketAddr], talk: bool) -> io::Result<Option<TcpStream>> {
    let mut failed = io::Error::new(io::ErrorKind::InvalidInput, "there is no address");
    for address in addresses {
        match one(*address, talk).await {
            Ok(stream) => return Ok(stream),
            Err(e) => failed = e,
        }
    }
    Err(failed)
}

async fn one(address: SocketAddr, talk: bool) -> io::Result<Option<TcpStream>> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    let taken = match rustix::net::connect(&socket, &address) {
        Ok(()) => true,
        Err(Errno::INPROGRESS) => answered(&socket)?,
        Err(e) => return Err(e.into()),
    };
    if taken && !talk {
        return Ok(None);
    }
    let stream = TcpStream::from_std(Connection::from(socket))?;
    if !taken {
        stream.writable().await?;
        if let Some(e) = stream.take_error()? {
            return Err(e);
        }
    }
    Ok(talk.then_some(stream))
}

/// Says whether there is an answer already, without waiting for it.
fn answered(socket: &OwnedFd) -> io::Result<bool> {
    let mut wanted = [PollFd::new(socket, PollFlags::OUT)];
    if poll(&mut wanted, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? == 0 {
        return Ok(false);
    }
    sockopt::socket_error(socket)??;
    Ok(true)
}
