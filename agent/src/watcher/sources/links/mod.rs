//! Network interfaces: down, another MTU, an address that is missing; compared with what the administrator declares,
//! else with how they were first seen. The kernel tells every change (rtnetlink).

mod netlink;

use super::{Context, Source, SourceFailed, Work};
use crate::config::{Config, Interface, Links, Watch, listed};
use crate::watcher::report::Fault;
use crate::watcher::rounds::{self, Look, Seen};
use crate::watcher::sink::{Afresh, Sink};
use crate::watcher::tasks::Proc;
use netlink::{Heard, Link, Message, Netlink};
use sopwith_domain::signal::{Severity, Subject};
use sopwith_domain::value::{Value, Word};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const EVERY: Duration = Duration::from_secs(30);
const DOWN: &str = "links.down";
const MTU: &str = "links.mtu";
const ADDRESS: &str = "links.address";
/// Kinds whose first state is no rule for later: they come and go, or change, as others say.
const PASSING: [&str; 7] = ["bridge", "tun", "wireguard", "dummy", "ipvlan", "macvlan", "vxlan"];

pub fn make(config: &Config, context: &Context) -> Option<Box<dyn Source>> {
    let config = config.kernel.links.clone();
    let wanted = config.watch != Watch::None || !config.interfaces.is_empty();
    let source = Interfaces { config, afresh: context.afresh.clone() };
    wanted.then(|| Box::new(source) as Box<dyn Source>)
}

struct Interfaces {
    config: Links,
    afresh: Afresh,
}

impl Source for Interfaces {
    fn run(self: Box<Self>, sink: Sink, stop: CancellationToken) -> Work {
        Box::pin(async move {
            let heard = Heard::default();
            let netlink = Netlink::start(heard.clone())
                .map_err(|e| SourceFailed::new("hear the kernel of its interfaces", &e))?;
            let boot = Proc::default().read("sys/kernel/random/boot_id").unwrap_or_default();
            let kept = sink.cursors().map_err(|e| SourceFailed::new("read what was kept", &e))?;
            let known = Known { first: restored(kept, boot.trim()), ..Known::default() };
            let (config, boot, saved) = (self.config, boot.trim().to_owned(), known.first.clone());
            let watched = Watched { config, heard, known, ask: true, boot, saved };
            rounds::run(watched, netlink, &sink, &self.afresh, &stop).await
        })
    }
}

/// How an interface was when it was first of use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct First {
    mtu: u32,
}

/// What is known of the interfaces.
#[derive(Debug, Default)]
struct Known {
    links: BTreeMap<u32, Link>,
    addresses: BTreeMap<u32, BTreeSet<IpAddr>>,
    /// By name, since an interface that comes back has another number.
    first: BTreeMap<String, First>,
}

impl Known {
    fn take(&mut self, message: Message) {
        match message {
            Message::Link(link) => {
                self.links.insert(link.index, link.clone());
                self.first_seen(link.index);
            }
            Message::LinkGone(index) => {
                if let Some(link) = self.links.remove(&index) {
                    // Software takes its interfaces away; of hardware that is a fault.
                    if !link.kind.is_empty() {
                        self.first.remove(&link.name);
                    }
                }
                self.addresses.remove(&index);
            }
            Message::Address { index, ip } => {
                self.addresses.entry(index).or_default().insert(ip);
                self.first_seen(index);
            }
            Message::AddressGone { index, ip } => {
                self.addresses.entry(index).or_default().remove(&ip);
            }
        }
    }

    /// An interface counts from when it is up and has an address that others reach.
    fn first_seen(&mut self, index: u32) {
        let Some(link) = self.links.get(&index) else { return };
        let reached = |ip: &IpAddr| match ip {
            IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local(),
            IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unicast_link_local(),
        };
        let addressed = self.addresses.get(&index).is_some_and(|ips| ips.iter().any(reached));
        let lasting = !link.loopback && !link.has_master && !PASSING.contains(&link.kind.as_str());
        if lasting && addressed && link.set_up && link.carrier {
            self.first.entry(link.name.clone()).or_insert(First { mtu: link.mtu });
        }
    }

    fn named(&self, name: &str) -> Option<&Link> {
        self.links.values().find(|link| link.name == name)
    }

    /// Returns everything that is wrong.
    fn judge(&self, config: &Links) -> Vec<Fault> {
        let none = Interface::default();
        let of_use = self.first.keys().filter(|name| {
            config.watch.takes(name)
                && !listed(&config.ignore, name)
                && !config.interfaces.contains_key(*name)
        });
        let declared = config.interfaces.iter().map(|(name, told)| (name, told, None));
        let all = declared.chain(of_use.map(|name| (name, &none, self.first.get(name))));
        let mut faults = Vec::new();
        for (name, told, first) in all {
            let link = self.named(name);
            let up = told.up.as_ref().map_or(first.is_some(), |up| **up);
            if let Some(reason) = up.then(|| down(link)).flatten() {
                faults.extend(down_fault(name, reason));
            }
            let mtu = told.mtu.as_ref().map(|mtu| **mtu).or(first.map(|first| first.mtu));
            if let (Some(mtu), Some(link)) = (mtu, link)
                && link.mtu != mtu
            {
                faults.extend(mtu_fault(link, mtu, told.mtu.is_some()));
            }
            let ips = link.and_then(|link| self.addresses.get(&link.index));
            let missing = told.addresses.iter().map(|ip| **ip);
            for ip in missing.filter(|ip| !ips.is_some_and(|ips| ips.contains(ip))) {
                faults.extend(address_fault(name, ip));
            }
        }
        faults
    }
}

/// Says why an interface does not carry anything, if so.
fn down(link: Option<&Link>) -> Option<&'static str> {
    match link {
        None => Some("absent"),
        Some(link) if !link.set_up => Some("set-down"),
        Some(link) if !link.carrier => Some("no-carrier"),
        Some(_) => None,
    }
}

/// Returns how interfaces were first seen since the machine started, as it was kept.
fn restored(kept: BTreeMap<String, String>, boot: &str) -> BTreeMap<String, First> {
    let one = |(name, text): (String, String)| {
        let (of, mtu) = text.split_once(' ')?;
        Some((name, First { mtu: mtu.parse().ok().filter(|_| of == boot)? }))
    };
    kept.into_iter().filter_map(one).collect()
}

struct Watched {
    boot: String,
    /// What is kept already of how interfaces were first seen.
    saved: BTreeMap<String, First>,
    config: Links,
    heard: Heard,
    known: Known,
    /// Everything is to be asked for.
    ask: bool,
}

impl Look for Watched {
    fn look(&mut self) -> Seen {
        let mut seen = Seen::default();
        match self.heard.take() {
            Some(messages) => messages.into_iter().for_each(|message| self.known.take(message)),
            None => self.ask = true,
        }
        if self.ask {
            match netlink::dump() {
                Ok(all) => {
                    let first = std::mem::take(&mut self.known.first);
                    self.known = Known { first, ..Known::default() };
                    all.into_iter().for_each(|message| self.known.take(message));
                    self.ask = false;
                }
                Err(e) => seen.blind.push(e),
            }
        }
        for fault in self.known.judge(&self.config) {
            seen.hold(fault, self.config.tolerance.0);
        }
        if self.saved != self.known.first {
            let gone = self.saved.keys().filter(|name| !self.known.first.contains_key(*name));
            seen.remember.extend(gone.map(|name| (name.clone(), None)));
            let new = self.known.first.iter().filter(|(name, first)| self.saved.get(*name) != Some(first));
            let text = |first: &First| Some(format!("{} {}", self.boot, first.mtu));
            seen.remember.extend(new.map(|(name, first)| (name.clone(), text(first))));
            self.saved = self.known.first.clone();
        }
        seen
    }

    fn wait(&self) -> Duration {
        EVERY
    }
}

fn subject(name: &str) -> Option<(Subject, Word)> {
    // An interface's name may hold what a word may not; such a one can be looked at but not named.
    let word = Word::new(name).ok()?;
    Some((Subject::Check(Word::new(format!("link:{name}")).ok()?), word))
}

fn begin(rule: &str, kind: &str, name: &str, severity: Severity, text: String) -> Option<Fault> {
    let (subject, word) = subject(name)?;
    let mut fault = Fault::new(rule, kind, subject, severity, text);
    fault.field("interface", Value::Word(word));
    Some(fault)
}

fn down_fault(name: &str, reason: &str) -> Option<Fault> {
    let text = format!("{name} is down ({reason})");
    let mut fault = begin(DOWN, "link.down", name, Severity::Critical, text)?;
    fault.word("reason", reason);
    Some(fault)
}

fn mtu_fault(link: &Link, expected: u32, declared: bool) -> Option<Fault> {
    let text = format!("the MTU of {} is {} in place of {expected}", link.name, link.mtu);
    let mut fault = begin(MTU, "link.mtu", &link.name, Severity::Warning, text)?;
    fault.integer("mtu", link.mtu);
    fault.integer("expected_mtu", expected);
    fault.field("declared", Value::Boolean(declared));
    Some(fault)
}

fn address_fault(name: &str, ip: IpAddr) -> Option<Fault> {
    let text = format!("{name} does not have the address {ip}");
    let rule = format!("{ADDRESS}.{}", ip.to_string().replace(':', "-"));
    let mut fault = begin(&rule, "link.address", name, Severity::Critical, text)?;
    fault.field("ip", Value::Ip(ip));
    Some(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u32, name: &str, kind: &str, mtu: u32, up: bool, carrier: bool) -> Message {
        let (name, kind) = (name.into(), kind.into());
        let loopback = index == 1;
        Message::Link(Link { index, name, kind, mtu, set_up: up, carrier, loopback, has_master: false })
    }

    fn address(index: u32, ip: &str) -> Message {
        Message::Address { index, ip: ip.parse().expect("an address") }
    }

    fn config(yaml: &str) -> Links {
        let text = format!("kernel: {{links: {yaml}}}");
        Config::parse(&text).unwrap_or_else(|e| panic!("{e:?}")).kernel.links
    }

    fn judge(config: &Links, messages: &[Message]) -> String {
        let mut known = Known::default();
        messages.iter().for_each(|message| known.take(message.clone()));
        let one = |fault: Fault| {
            let field = |name: &str| {
                fault.fields.iter().find(|(n, _)| n.as_str() == name).map(|(_, v)| v.to_string())
            };
            let more = field("reason").or(field("mtu")).or(field("ip")).unwrap_or_default();
            format!("{} {} {more}", fault.kind, fault.subject)
        };
        known.judge(config).into_iter().map(one).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn compared_with_what_was_first_seen() {
        let up = || vec![link(2, "eth0", "", 1500, true, true), address(2, "192.0.2.1")];
        let then = |more: Message| [up(), vec![more]].concat();
        let watch = config("{}");
        for (what, messages, told) in [
            ("as it was", up(), ""),
            ("another MTU", then(link(2, "eth0", "", 576, true, true)), "link.mtu check:link:eth0 576"),
            ("set down", then(link(2, "eth0", "", 1500, false, true)), "link.down check:link:eth0 set-down"),
            (
                "unplugged",
                then(link(2, "eth0", "", 1500, true, false)),
                "link.down check:link:eth0 no-carrier",
            ),
            ("hardware that is gone", then(Message::LinkGone(2)), "link.down check:link:eth0 absent"),
            (
                "a container's that is gone",
                vec![
                    link(2, "veth1", "veth", 1500, true, true),
                    address(2, "10.0.0.1"),
                    Message::LinkGone(2),
                ],
                "",
            ),
            (
                "its MTU was set before it was of use",
                vec![
                    link(2, "veth1", "veth", 1500, true, true),
                    link(2, "veth1", "veth", 1400, true, true),
                    address(2, "10.0.0.1"),
                ],
                "",
            ),
            (
                "a bridge follows its ports",
                vec![
                    link(2, "br0", "bridge", 1500, true, true),
                    address(2, "10.0.0.1"),
                    link(2, "br0", "bridge", 1400, true, false),
                ],
                "",
            ),
            ("never used", vec![link(2, "eth1", "", 1500, false, false)], ""),
            (
                "only link-local",
                vec![
                    link(2, "eth1", "", 1500, true, true),
                    address(2, "fe80::1"),
                    link(2, "eth1", "", 1500, false, true),
                ],
                "",
            ),
        ] {
            assert_eq!(judge(&watch, &messages), told, "{what}");
        }
        assert_eq!(judge(&config("{ignore: ['eth*']}"), &then(Message::LinkGone(2))), "");
        assert_eq!(judge(&config("{watch: none}"), &then(Message::LinkGone(2))), "");
    }

    #[test]
    fn what_was_kept_counts_until_the_machine_starts_again() {
        let kept: BTreeMap<String, String> =
            [("eth0", "this 1500"), ("eth1", "other 9000"), ("eth2", "this x")]
                .map(|(name, text)| (name.to_owned(), text.to_owned()))
                .into();
        assert_eq!(restored(kept, "this"), BTreeMap::from([("eth0".into(), First { mtu: 1500 })]));
    }

    #[test]
    fn compared_with_what_is_declared() {
        let declared =
            config("{interfaces: {eth0: {mtu: 9000, up: true, addresses: [192.0.2.1, '2001:db8::1']}}}");
        let up = |mtu| {
            vec![link(2, "eth0", "", mtu, true, true), address(2, "192.0.2.1"), address(2, "2001:db8::1")]
        };
        assert_eq!(judge(&declared, &up(9000)), "");
        assert_eq!(judge(&declared, &up(1500)), "link.mtu check:link:eth0 1500");
        assert_eq!(judge(&declared, &up(9000)[..2]), "link.address check:link:eth0 2001:db8::1");
        assert_eq!(
            judge(&declared, &[]),
            "link.down check:link:eth0 absent, link.address check:link:eth0 192.0.2.1, \
             link.address check:link:eth0 2001:db8::1"
        );
        let gone = [up(9000), vec![Message::AddressGone { index: 2, ip: "192.0.2.1".parse().expect("ip") }]];
        assert_eq!(judge(&declared, &gone.concat()), "link.address check:link:eth0 192.0.2.1");
        assert_eq!(judge(&config("{interfaces: {eth0: {up: false}}}"), &up(9000)), "");
    }
}
