//! The kernel's messages about interfaces and ways (rtnetlink): one question, one answer. Reads only lengths that it
//! has checked.

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send, socket_with, sockopt,
};
use std::net::IpAddr;
use std::time::Duration;

const ANSWER_BYTES: usize = 32 * 1024;
const HEADER: usize = 16;
/// How long the kernel may take to answer; it does so at once.
const TIME_MAX: Duration = Duration::from_secs(5);

const ERROR: u16 = 2;
const NEW_LINK: u16 = 16;
const GET_LINK: u16 = 18;
const SET_LINK: u16 = 19;
const NEW_ROUTE: u16 = 24;
const GET_ROUTE: u16 = 26;
const REQUEST: u16 = 0x1;
const ACKNOWLEDGE: u16 = 0x4;

const LINK_NAME: u16 = 3;
const LINK_MTU: u16 = 4;
const ROUTE_TO: u16 = 1;
const ROUTE_OUT: u16 = 4;
const FLAG_UP: u32 = 0x1;
const FLAG_LOOPBACK: u32 = 0x8;

/// An interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    pub index: u32,
    pub mtu: u32,
    pub loopback: bool,
    /// Set up; whether there is a carrier is another thing.
    pub up: bool,
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).expect("an attribute is short");
    let mut bytes = Vec::with_capacity(usize::from(length) + 3);
    bytes.extend_from_slice(&length.to_ne_bytes());
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// Asks the kernel, and returns kind and body of its first answer; nothing where it only acknowledges.
fn ask(kind: u16, flags: u16, body: &[u8]) -> Result<Option<(u16, Vec<u8>)>, Errno> {
    // Without a number it is the protocol of routes and links, which has the number 0.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    bind(&socket, &SocketAddrNetlink::new(0, 0))?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(TIME_MAX))?;
    let mut message = Vec::with_capacity(HEADER + body.len());
    message.extend_from_slice(&u32::try_from(HEADER + body.len()).map_err(|_| Errno::MSGSIZE)?.to_ne_bytes());
    message.extend_from_slice(&kind.to_ne_bytes());
    message.extend_from_slice(&(REQUEST | flags).to_ne_bytes());
    message.resize(HEADER, 0);
    message.extend_from_slice(body);
    send(&socket, &message, SendFlags::empty())?;
    let mut room = vec![0; ANSWER_BYTES];
    let (count, _) = recv(&socket, &mut room[..], RecvFlags::empty())?;
    let answer = &room[..count];
    let (length, kind) =
        (u32_at(answer, 0).ok_or(Errno::BADMSG)? as usize, u16_at(answer, 4).ok_or(Errno::BADMSG)?);
    let body = answer.get(HEADER..length).ok_or(Errno::BADMSG)?;
    if kind != ERROR {
        return Ok(Some((kind, body.to_vec())));
    }
    match i32::from_ne_bytes(u32_at(body, 0).ok_or(Errno::BADMSG)?.to_ne_bytes()) {
        0 => Ok(None),
        error => Err(Errno::from_raw_os_error(-error)),
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// Returns the value of an attribute.
fn value(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let (length, kind) = (usize::from(u16_at(attributes, 0)?), u16_at(attributes, 2)?);
        let value = attributes.get(4..length)?;
        // The two high bits say how the value is nested and ordered.
        if kind & 0x3fff == wanted {
            return Some(value);
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
}

/// Returns the interface of a name, if there is one.
///
/// # Errors
/// The kernel does not say.
pub fn link(name: &str) -> Result<Option<Link>, String> {
    let failed = |e: Errno| format!("failed to look at the interface {name}: {e}");
    let mut body = vec![0; 16];
    body.extend(attribute(LINK_NAME, &[name.as_bytes(), b"\0"].concat()));
    match ask(GET_LINK, 0, &body) {
        Err(Errno::NODEV) => Ok(None),
        // A name that is too long for the kernel is nobody's.
        Err(Errno::RANGE | Errno::INVAL) => Ok(None),
        Err(e) => Err(failed(e)),
        Ok(Some((NEW_LINK, body))) => {
            let link = || {
                let mtu = u32_at(value(body.get(16..)?, LINK_MTU)?, 0)?;
                let flags = u32_at(&body, 8)?;
                let (loopback, up) = (flags & FLAG_LOOPBACK != 0, flags & FLAG_UP != 0);
                Some(Link { index: u32_at(&body, 4)?, mtu, loopback, up })
            };
            link().map(Some).ok_or_else(|| failed(Errno::BADMSG))
        }
        Ok(_) => Err(failed(Errno::BADMSG)),
    }
}

/// Sets the MTU of an interface.
///
/// # Errors
/// The kernel's reason.
pub fn set_mtu(index: u32, mtu: u32) -> Result<(), Errno> {
    let mut body = vec![0; 16];
    body[4..8].copy_from_slice(&index.to_ne_bytes());
    body.extend(attribute(LINK_MTU, &mtu.to_ne_bytes()));
    ask(SET_LINK, ACKNOWLEDGE, &body).map(drop)
}

/// Sets an interface up or down.
///
/// # Errors
/// The kernel's reason.
pub fn set_up(index: u32, up: bool) -> Result<(), Errno> {
    let mut body = vec![0; 16];
    body[4..8].copy_from_slice(&index.to_ne_bytes());
    body[8..12].copy_from_slice(&(if up { FLAG_UP } else { 0 }).to_ne_bytes());
    // Only this flag is to change.
    body[12..16].copy_from_slice(&FLAG_UP.to_ne_bytes());
    ask(SET_LINK, ACKNOWLEDGE, &body).map(drop)
}

/// Returns the number of the interface by which an address is reached; nothing where there is no way.
pub fn way_to(ip: IpAddr) -> Option<u32> {
    let (family, address): (AddressFamily, Vec<u8>) = match ip.to_canonical() {
        IpAddr::V4(ip) => (AddressFamily::INET, ip.octets().to_vec()),
        IpAddr::V6(ip) => (AddressFamily::INET6, ip.octets().to_vec()),
    };
    let mut body = vec![0; 12];
    body[0] = u8::try_from(family.as_raw()).ok()?;
    body[1] = u8::try_from(address.len() * 8).ok()?;
    body.extend(attribute(ROUTE_TO, &address));
    match ask(GET_ROUTE, 0, &body).ok()?? {
        (NEW_ROUTE, body) => u32_at(value(body.get(12..)?, ROUTE_OUT)?, 0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_of_its_loopback() {
        let loopback = link("lo").expect("it answers").expect("there is one");
        assert!(loopback.loopback && loopback.mtu > 0);
        assert_eq!(way_to(IpAddr::from([127, 0, 0, 1])), Some(loopback.index));
        for name in ["nobody0", "a-name-that-is-much-too-long", ""] {
            assert_eq!(link(name), Ok(None), "{name}");
        }
    }

    #[test]
    fn what_is_cut_short_has_no_value() {
        let whole = [attribute(3, b"eth0\0"), attribute(4, &1500_u32.to_ne_bytes())].concat();
        assert_eq!(value(&whole, 4).and_then(|v| u32_at(v, 0)), Some(1500));
        for end in 0..whole.len() {
            assert_eq!(value(&whole[..end], 4), None, "cut at {end}");
        }
    }
}
