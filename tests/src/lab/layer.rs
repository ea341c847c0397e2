//! A second root: the base and the effects of one script, cached by the hash of the script and of its files.
//!
//! The script runs once in a booted host, which is then shut down in good order; its changes become a
//! read-only layer over the base. The lab does not know what the script installs.

use std::fs;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::error::LabError;
use super::{Host, Lab, Root};

const SCRIPT_LIMIT: Duration = Duration::from_secs(600);
const SCRIPT_PATH: &str = "/root/.lab-fixture";

pub(super) fn ensure(lab: &Lab, script: &[u8], files: &[(String, Vec<u8>)]) -> Result<Root, LabError> {
    let base = lab.base()?;
    let mut hash = Sha256::new();
    for layer in &base.layers {
        hash.update(layer.as_os_str().as_encoded_bytes());
    }
    hash.update(script);
    for (path, bytes) in files {
        hash.update(format!("\0{path}\0{}\0", bytes.len()));
        hash.update(bytes);
    }
    let name = format!("layer-{}", hex::encode(&hash.finalize()[..6]));
    let (top, done) = (lab.roots().join(&name), lab.roots().join(format!("{name}.done")));
    let mut layers = vec![top.clone()];
    layers.extend(base.layers.iter().cloned());
    let found = Root { layers };
    if done.exists() {
        return Ok(found);
    }
    let _lock = lab.lock("layer")?;
    if done.exists() {
        return Ok(found);
    }
    if top.exists() {
        fs::remove_dir_all(&top).map_err(|e| LabError::io("remove the half-built", &top, e))?;
    }
    eprintln!("lab: building the layer {name}");
    let mut host = Host::up(lab, "fixture", &base)?;
    for (path, bytes) in files {
        host.write(path, bytes, 0o644)?;
    }
    host.write(SCRIPT_PATH, script, 0o700)?;
    host.sh_for(&format!("{SCRIPT_PATH} && rm -f {SCRIPT_PATH}"), SCRIPT_LIMIT)?.expect("run the fixture")?;
    host.power_off()?;
    host.into_changes(&top)?;
    fs::write(&done, "").map_err(|e| LabError::io("mark", &done, e))?;
    Ok(found)
}
