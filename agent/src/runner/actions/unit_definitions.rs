//! `unit.read-definitions`: has systemd read the files of its units again. Done after a file of a unit was changed; the
//! same is its undo, so that a step of it that stands before the change has systemd know what was put back.

use super::act::{Act, At};
use serde::{Deserialize, Serialize};
use sopwith_domain::run::Effect;
use sopwith_domain::value::UnitName;

/// Files are all that systemd knew before, and what they say it reads again.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Prior {
    load_state: String,
}

/// The unit whose files are changed before or after it.
#[derive(Clone, Copy, Debug)]
pub struct Read<'a> {
    pub unit: &'a UnitName,
}

impl Act for Read<'_> {
    type Prior = Prior;

    fn foresee(&self, at: &mut At<'_>) -> Result<String, String> {
        let now = at.bench.systemd.state(self.unit)?;
        Ok(format!("systemd would read its units again; {} is {} to it now", self.unit, now.load_state))
    }

    fn capture(&self, at: &mut At<'_>) -> Result<Prior, String> {
        Ok(Prior { load_state: at.bench.systemd.state(self.unit)?.load_state })
    }

    fn perform(&self, at: &mut At<'_>, _prior: &Prior) -> Result<String, String> {
        at.bench.systemd.read_units_again()?;
        let now = at.bench.systemd.state(self.unit)?.load_state;
        Ok(format!("systemd has read its units again: {} is {now}", self.unit))
    }

    fn probe(&self, _at: &mut At<'_>, _prior: &Prior) -> Result<Effect, String> {
        // Whether it has read them cannot be seen; that it reads them once more changes nothing.
        Ok(Effect::Unknown { detail: "systemd does not tell when it read its units".into() })
    }

    fn undo(&self, at: &mut At<'_>, _prior: &Prior) -> Result<String, String> {
        at.bench.systemd.read_units_again()?;
        Ok(format!("systemd has read its units again, {} as it is now", self.unit))
    }
}
