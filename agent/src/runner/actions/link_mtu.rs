//! `link.mtu`: sets the largest packet of one interface, through the kernel's own messages (rtnetlink). The interface
//! by which the server is reached is no target: a wrong number there would cut the host off.

use super::act::{Act, At};
use super::route::{self, Link};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use sopwith_domain::run::Effect;
use sopwith_domain::value::Word;
use std::net::IpAddr;

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Prior {
    /// The kernel's number of the interface: another one of the same name is another interface.
    index: u32,
    mtu: u32,
}

fn find(interface: &Word) -> Result<Link, String> {
    route::link(interface.as_str())?.ok_or_else(|| format!("there is no interface {interface}"))
}

fn same(interface: &Word, prior: &Prior) -> Result<Link, String> {
    let link = find(interface)?;
    if link.index == prior.index {
        Ok(link)
    } else {
        Err(format!("{interface} is another interface than before"))
    }
}

/// Looks at the interface; `servers` are the addresses of the server.
pub fn capture(interface: &Word, servers: &[IpAddr]) -> Result<Prior, String> {
    let link = find(interface)?;
    if link.loopback {
        return Err(format!("{interface} is the loopback"));
    }
    let ways: Vec<u32> = servers.iter().filter_map(|server| route::way_to(*server)).collect();
    if ways.contains(&link.index) {
        return Err(format!("{interface} is this host's way to the server"));
    }
    Ok(Prior { index: link.index, mtu: link.mtu })
}

pub fn perform(interface: &Word, mtu: u32, prior: &Prior) -> Result<String, String> {
    let link = same(interface, prior)?;
    if link.mtu == mtu {
        return Ok(format!("the MTU of {interface} is {mtu} already"));
    }
    set(interface, prior.index, mtu)?;
    Ok(format!("the MTU of {interface} was {} and is {mtu}", link.mtu))
}

fn set(interface: &Word, index: u32, mtu: u32) -> Result<(), String> {
    route::set_mtu(index, mtu).map_err(|e: Errno| format!("failed to set the MTU of {interface}: {e}"))?;
    let landed = find(interface)?.mtu;
    if landed == mtu { Ok(()) } else { Err(format!("the MTU of {interface} is {landed} all the same")) }
}

pub fn probe(interface: &Word, mtu: u32, prior: &Prior) -> Effect {
    match same(interface, prior) {
        Err(detail) => Effect::Unknown { detail },
        Ok(link) => {
            let detail = format!("the MTU of {interface} is {}", link.mtu);
            match link.mtu {
                now if now == prior.mtu => Effect::None { detail },
                now if now == mtu => Effect::Took { detail },
                _ => Effect::Unknown { detail },
            }
        }
    }
}

pub fn undo(interface: &Word, mtu: u32, prior: &Prior) -> Result<String, String> {
    let now = same(interface, prior)?.mtu;
    if now != prior.mtu && now != mtu {
        return Err(format!("the MTU of {interface} is {now}, which somebody else set since"));
    }
    if now != prior.mtu {
        set(interface, prior.index, prior.mtu)?;
    }
    Ok(format!("the MTU of {interface} is {} again", prior.mtu))
}

/// Says whether an interface has this MTU.
pub fn is(interface: &Word, mtu: i64) -> Result<(), String> {
    let now = find(interface)?.mtu;
    if i64::from(now) == mtu { Ok(()) } else { Err(format!("it is {now}")) }
}

/// Which interface gets which MTU.
#[derive(Clone, Copy, Debug)]
pub struct Mtu<'a> {
    pub interface: &'a Word,
    pub mtu: u32,
}

/// Where the server is not known its way is not known either, and no interface is touched.
fn servers(at: &At<'_>) -> Result<Vec<IpAddr>, String> {
    at.bench.settings.as_ref().map_or(Ok(Vec::new()), |settings| settings.server_addresses())
}

impl Act for Mtu<'_> {
    type Prior = Prior;

    fn foresee(&self, at: &mut At<'_>) -> Result<String, String> {
        let prior = capture(self.interface, &servers(at)?)?;
        Ok(format!("the MTU of {} would be {}; it is {}", self.interface, self.mtu, prior.mtu))
    }

    fn capture(&self, at: &mut At<'_>) -> Result<Prior, String> {
        capture(self.interface, &servers(at)?)
    }

    fn perform(&self, _at: &mut At<'_>, prior: &Prior) -> Result<String, String> {
        perform(self.interface, self.mtu, prior)
    }

    fn probe(&self, _at: &mut At<'_>, prior: &Prior) -> Result<Effect, String> {
        Ok(probe(self.interface, self.mtu, prior))
    }

    fn undo(&self, _at: &mut At<'_>, prior: &Prior) -> Result<String, String> {
        undo(self.interface, self.mtu, prior)
    }
}
