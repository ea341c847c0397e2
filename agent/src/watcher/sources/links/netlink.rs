//! The kernel's messages about interfaces and addresses (rtnetlink): asked for once, heard from then on. Reads only
//! lengths that it has checked, and never changes anything.

use crate::watcher::notices::registered;
use crate::watcher::rounds::Waking;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};
use rustix::net::{bind, recv, send, socket_with};
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Room for one answer of the kernel, in bytes; it sends no more at once.
const ANSWER_BYTES: usize = 32 * 1024;
/// Most messages that wait for the next look; above it all is asked for afresh.
const MESSAGES_MAX: usize = 4096;
/// RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR.
const GROUPS: u32 = 0x1 | 0x10 | 0x100;

const HEADER: usize = 16;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const NEW_LINK: u16 = 16;
const DEL_LINK: u16 = 17;
const GET_LINK: u16 = 18;
const NEW_ADDRESS: u16 = 20;
const DEL_ADDRESS: u16 = 21;
const GET_ADDRESS: u16 = 22;
/// NLM_F_REQUEST and NLM_F_DUMP.
const DUMP: u16 = 0x1 | 0x300;
const FLAG_UP: u32 = 0x1;
const FLAG_LOOPBACK: u32 = 0x8;

/// One thing that the kernel said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Message {
    Link(Link),
    LinkGone(u32),
    Address { index: u32, ip: IpAddr },
    AddressGone { index: u32, ip: IpAddr },
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Link {
    pub index: u32,
    pub name: String,
    /// `veth`, `bridge`, ...; empty for hardware.
    pub kind: String,
    pub mtu: u32,
    /// Set up by the administrator.
    pub set_up: bool,
    /// Whether packets get through, as the kernel sees it.
    pub carrier: bool,
    pub loopback: bool,
    /// A port of a bridge or bond.
    pub has_master: bool,
}

/// A connection to the kernel.
#[derive(Debug)]
pub(super) struct Netlink {
    socket: AsyncFd<OwnedFd>,
    heard: Heard,
}

/// What was heard and not yet looked at.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    messages: Vec<Message>,
    /// Messages were lost.
    lost: bool,
}

impl Heard {
    /// Takes what was heard; nothing where messages were lost.
    pub(super) fn take(&self) -> Option<Vec<Message>> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let messages = std::mem::take(&mut state.messages);
        (!std::mem::take(&mut state.lost)).then_some(messages)
    }

    fn add(&self, message: Message) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match state.messages.len() < MESSAGES_MAX {
            true => state.messages.push(message),
            false => state.lost = true,
        }
    }

    fn lose(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).lost = true;
    }
}

fn open(groups: u32, flags: SocketFlags) -> std::io::Result<OwnedFd> {
    let flags = flags | SocketFlags::CLOEXEC;
    // Without a number it is the protocol of routes and links, which has the number 0.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    bind(&socket, &netlink::SocketAddrNetlink::new(0, groups))?;
    Ok(socket)
}

impl Netlink {
    /// Begins to hear.
    ///
    /// # Errors
    /// The kernel gives no such socket.
    pub(super) fn start(heard: Heard) -> std::io::Result<Self> {
        let socket = registered(open(GROUPS, SocketFlags::NONBLOCK)?, Interest::READABLE)?;
        Ok(Self { socket, heard })
    }

    /// Takes what waits; says whether there was something.
    fn hear(&self) -> bool {
        let mut room = vec![0; ANSWER_BYTES];
        let mut any = false;
        loop {
            match recv(self.socket.get_ref(), &mut room[..], RecvFlags::empty()) {
                Ok((0, _)) => return any,
                Ok((count, _)) => {
                    any = true;
                    parse(&room[..count], &mut |message| self.heard.add(message));
                }
                Err(rustix::io::Errno::NOBUFS) => {
                    any = true;
                    self.heard.lose();
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return any,
            }
        }
    }
}

impl Waking for Netlink {
    async fn woken(&mut self) {
        loop {
            match self.socket.readable().await {
                Ok(mut guard) => guard.clear_ready(),
                Err(_) => return std::future::pending().await,
            }
            if self.hear() {
                return;
            }
        }
    }
}

/// Asks for everything that there is now.
///
/// # Errors
/// Says what the kernel does not answer.
pub(super) fn dump() -> Result<Vec<Message>, String> {
    let told = |e: rustix::io::Errno| format!("failed to ask the kernel for its interfaces: {e}");
    let socket = open(0, SocketFlags::empty())
        .map_err(|e| format!("failed to ask the kernel for its interfaces: {e}"))?;
    let mut all = Vec::new();
    let mut room = vec![0; ANSWER_BYTES];
    for kind in [GET_LINK, GET_ADDRESS] {
        send(&socket, &question(kind), SendFlags::empty()).map_err(told)?;
        loop {
            let (count, _) = recv(&socket, &mut room[..], RecvFlags::empty()).map_err(told)?;
            if count == 0 || parse(&room[..count], &mut |message| all.push(message)) {
                break;
            }
        }
    }
    Ok(all)
}

/// Makes the request for a dump: a header and an empty body of the right size.
fn question(kind: u16) -> Vec<u8> {
    let body = if kind == GET_LINK { 16 } else { 8 };
    let mut bytes = Vec::with_capacity(HEADER + body);
    bytes.extend_from_slice(&((HEADER + body) as u32).to_ne_bytes());
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(&DUMP.to_ne_bytes());
    bytes.resize(HEADER + body, 0);
    bytes
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// Reads the messages of one datagram; says whether a dump has ended.
pub(super) fn parse(mut bytes: &[u8], take: &mut dyn FnMut(Message)) -> bool {
    while let (Some(length), Some(kind)) = (u32_at(bytes, 0), u16_at(bytes, 4)) {
        let length = length as usize;
        if length < HEADER || length > bytes.len() {
            return true;
        }
        let body = &bytes[HEADER..length];
        match kind {
            DONE | ERROR => return true,
            NEW_LINK | DEL_LINK => {
                if let Some(link) = link(body) {
                    let gone = kind == DEL_LINK;
                    take(if gone { Message::LinkGone(link.index) } else { Message::Link(link) });
                }
            }
            NEW_ADDRESS | DEL_ADDRESS => {
                if let Some((index, ip)) = address(body) {
                    let gone = kind == DEL_ADDRESS;
                    take(if gone {
                        Message::AddressGone { index, ip }
                    } else {
                        Message::Address { index, ip }
                    });
                }
            }
            _ => {}
        }
        // Messages are aligned to four bytes.
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    false
}

/// Goes through the attributes of a message.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (length, kind) = (usize::from(u16_at(bytes, 0)?), u16_at(bytes, 2)?);
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        // The two high bits say how the value is nested and ordered.
        Some((kind & 0x3fff, value))
    })
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
}

fn link(body: &[u8]) -> Option<Link> {
    let flags = u32_at(body, 8)?;
    let mut link = Link {
        index: u32_at(body, 4)?,
        set_up: flags & FLAG_UP != 0,
        loopback: flags & FLAG_LOOPBACK != 0,
        carrier: true,
        ..Link::default()
    };
    for (kind, value) in attributes(body.get(16..)?) {
        match kind {
            3 => link.name = text(value),
            4 => link.mtu = u32_at(value, 0)?,
            10 => link.has_master = u32_at(value, 0)? != 0,
            // Unknown (0) is what interfaces say that have no way to know; up is 6.
            16 => link.carrier = matches!(value.first(), Some(0 | 6)),
            18 => {
                let kind = attributes(value).find(|(kind, _)| *kind == 1);
                link.kind = kind.map(|(_, value)| text(value)).unwrap_or_default();
            }
            _ => {}
        }
    }
    (!link.name.is_empty()).then_some(link)
}

fn address(body: &[u8]) -> Option<(u32, IpAddr)> {
    let index = u32_at(body, 4)?;
    let ip = |value: &[u8]| match value.len() {
        4 => Some(IpAddr::from(<[u8; 4]>::try_from(value).ok()?)),
        16 => Some(IpAddr::from(<[u8; 16]>::try_from(value).ok()?)),
        _ => None,
    };
    let found = |wanted: u16| {
        attributes(body.get(8..)?).find(|(kind, _)| *kind == wanted).and_then(|(_, value)| ip(value))
    };
    // The own address of a point-to-point link is the local one (2); elsewhere both are the same.
    Some((index, found(2).or_else(|| found(1))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_its_loopback() {
        let all = dump().expect("the kernel answers");
        let loopback = all.iter().find_map(|message| match message {
            Message::Link(link) if link.loopback => Some(link.clone()),
            _ => None,
        });
        let loopback = loopback.expect("there is one");
        assert_eq!(loopback.name, "lo");
        assert!(loopback.mtu > 0);
    }

    #[test]
    fn what_is_cut_short_is_left_out() {
        let mut whole = question(GET_LINK);
        whole[4..6].copy_from_slice(&NEW_LINK.to_ne_bytes());
        whole[20..24].copy_from_slice(&7_u32.to_ne_bytes());
        whole[24..28].copy_from_slice(&FLAG_UP.to_ne_bytes());
        let attribute = |kind: u16, value: &[u8]| {
            let mut bytes = ((value.len() + 4) as u16).to_ne_bytes().to_vec();
            bytes.extend_from_slice(&kind.to_ne_bytes());
            bytes.extend_from_slice(value);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes
        };
        whole.extend(attribute(3, b"eth0\0"));
        whole.extend(attribute(4, &1500_u32.to_ne_bytes()));
        whole.extend(attribute(16, &[2]));
        whole.extend(attribute(18, &attribute(1, b"veth\0")));
        let length = whole.len() as u32;
        whole[..4].copy_from_slice(&length.to_ne_bytes());
        let told = |bytes: &[u8]| {
            let mut told = Vec::new();
            parse(bytes, &mut |message| told.push(message));
            told
        };
        let link = Link {
            index: 7,
            name: "eth0".into(),
            kind: "veth".into(),
            mtu: 1500,
            set_up: true,
            carrier: false,
            loopback: false,
            has_master: false,
        };
        assert_eq!(told(&whole), [Message::Link(link)]);
        for end in 0..whole.len() {
            assert_eq!(told(&whole[..end]), [], "cut at {end}");
        }
    }
}
