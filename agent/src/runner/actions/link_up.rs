//! `link.up`: sets one interface up, through the kernel's own messages (rtnetlink). Its addresses and routes that the
//! kernel kept come back with it. Undo sets it down again.

use super::act::{Act, At};
use super::route::{self, Link};
use serde::{Deserialize, Serialize};
use sopwith_domain::run::Effect;
use sopwith_domain::value::Word;

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Prior {
    /// The kernel's number of the interface: another one of the same name is another interface.
    index: u32,
    up: bool,
}

/// Which interface.
#[derive(Clone, Copy, Debug)]
pub struct Up<'a> {
    pub interface: &'a Word,
}

fn find(interface: &Word) -> Result<Link, String> {
    route::link(interface.as_str())?.ok_or_else(|| format!("there is no interface {interface}"))
}

fn set(interface: &Word, index: u32, up: bool) -> Result<(), String> {
    let word = if up { "up" } else { "down" };
    route::set_up(index, up).map_err(|e| format!("failed to set {interface} {word}: {e}"))?;
    let now = find(interface)?.up;
    if now == up { Ok(()) } else { Err(format!("{interface} is not {word} all the same")) }
}

/// Says whether an interface is set up.
pub fn is(interface: &Word) -> Result<(), String> {
    if find(interface)?.up { Ok(()) } else { Err("it is down".into()) }
}

impl Up<'_> {
    fn same(&self, prior: &Prior) -> Result<Link, String> {
        let link = find(self.interface)?;
        if link.index == prior.index {
            Ok(link)
        } else {
            Err(format!("{} is another interface than before", self.interface))
        }
    }
}

impl Act for Up<'_> {
    type Prior = Prior;

    fn foresee(&self, _at: &mut At<'_>) -> Result<String, String> {
        Ok(match find(self.interface)?.up {
            true => format!("nothing: {} is up", self.interface),
            false => format!("{}, now down, would be set up", self.interface),
        })
    }

    fn capture(&self, _at: &mut At<'_>) -> Result<Prior, String> {
        let link = find(self.interface)?;
        Ok(Prior { index: link.index, up: link.up })
    }

    fn perform(&self, _at: &mut At<'_>, prior: &Prior) -> Result<String, String> {
        if self.same(prior)?.up {
            return Ok(format!("{} is up already", self.interface));
        }
        set(self.interface, prior.index, true)?;
        Ok(format!("{} is up", self.interface))
    }

    fn probe(&self, _at: &mut At<'_>, prior: &Prior) -> Result<Effect, String> {
        let up = self.same(prior)?.up;
        let detail = format!("{} is {}", self.interface, if up { "up" } else { "down" });
        Ok(if up == prior.up { Effect::None { detail } } else { Effect::Took { detail } })
    }

    fn undo(&self, _at: &mut At<'_>, prior: &Prior) -> Result<String, String> {
        if self.same(prior)?.up && !prior.up {
            set(self.interface, prior.index, false)?;
        }
        Ok(format!("{} is {} as it was", self.interface, if prior.up { "up" } else { "down" }))
    }
}
