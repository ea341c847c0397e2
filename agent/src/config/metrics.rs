//! Settings of the host's metrics: what is told of them, and what is noticed in them.

use super::at::At;
use serde::Deserialize;
use sopwith_domain::value::AbsPath;

/// What to tell of the host in numbers, and what to notice.
#[derive(Clone, Debug, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Metrics {
    /// Whether `/metrics` has the families of node_exporter: `on`, `off`, or `auto`: not while a node_exporter runs.
    pub node_compat: At<NodeCompat>,
    pub textfile: Textfile,
}

/// Metrics that others leave in files.
#[derive(Clone, Debug, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Textfile {
    /// Folder of `*.prom` files; by default that of Debian's packages, which need not be there.
    pub directory: Option<At<AbsPath>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum NodeCompat {
    #[default]
    Auto,
    On,
    Off,
}

impl super::at::Leaf for NodeCompat {
    fn read(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "on" => Ok(Self::On),
            "off" => Ok(Self::Off),
            _ => Err(format!("{text:?} is not one of auto, on, off")),
        }
    }
    fn placeholder() -> Self {
        Self::Auto
    }
}
