//! Logical volumes: how much room the volume group of a full file system still has. LVM answers root only; for others
//! its own copy of the group's metadata tells the same, where that may be read.

use crate::watcher::process::{self, Ended};
use crate::watcher::report::Fault;
use serde::Deserialize;
use sopwith_domain::value::{AbsPath, Value};
use std::io::Read;
use std::path::Path;
use std::time::Duration;

/// Longest time that LVM gets, and most that is read of its answer, in bytes.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Longest metadata of a group, in bytes.
const METADATA_BYTES_MAX: u64 = 4 * 1024 * 1024;
const SECTOR_BYTES: u64 = 512;
/// Where LVM keeps a copy of each group's metadata after every change.
const COPIES: &str = "/etc/lvm/backup";

/// A logical volume and its group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Volume {
    pub group: String,
    pub name: String,
}

/// Room of a group, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Room {
    free: u64,
    extent: u64,
}

impl Volume {
    /// Returns the logical volume that a mount lies on, if it does.
    pub(super) fn of(mount: &AbsPath) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;
        let device = std::fs::metadata(mount.as_str()).ok()?.dev();
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        Self::at(Path::new(&format!("/sys/dev/block/{major}:{minor}/dm")))
    }

    fn at(folder: &Path) -> Option<Self> {
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).ok();
        read("uuid")?.starts_with("LVM-").then_some(())?;
        let (group, name) = parted(read("name")?.trim())?;
        Some(Self { group, name })
    }

    /// Adds to a fault what is known of the volume and the room in its group.
    ///
    /// # Errors
    /// Says why the group cannot be read; the names are added nevertheless.
    pub(super) async fn add(&self, fault: &mut Fault) -> Result<(), String> {
        fault.word("volume_group", &self.group);
        fault.word("logical_volume", &self.name);
        if let Ok(path) = AbsPath::new(format!("/dev/{}/{}", self.group, self.name)) {
            fault.field("volume", Value::Path(path));
        }
        let room = match self.ask().await {
            Ok(room) => room,
            Err(refused) => self.look_up(Path::new(COPIES)).ok_or(refused)?,
        };
        fault.integer("vg_free_bytes", room.free);
        fault.integer("vg_extent_bytes", room.extent);
        Ok(())
    }

    async fn ask(&self) -> Result<Room, String> {
        let options =
            ["--reportformat", "json", "--units", "b", "--nosuffix", "-o", "vg_free,vg_extent_size"];
        let argv: Vec<String> = ["vgs"]
            .into_iter()
            .chain(options)
            .chain([self.group.as_str()])
            .map(ToString::to_string)
            .collect();
        let done = process::run(&argv, ANSWER_TIME_MAX, ANSWER_BYTES_MAX).await;
        let done = done.map_err(|e| format!("failed to start vgs: {e}"))?;
        let told = String::from_utf8_lossy(&done.output).into_owned();
        if done.ended != Ended::Exited(0) {
            let last = told.lines().last().unwrap_or("no reason").trim().to_owned();
            return Err(format!("vgs does not tell of the volume group {}: {last}", self.group));
        }
        answer(&told)
            .ok_or_else(|| format!("vgs told of the volume group {} what is not understood", self.group))
    }

    fn look_up(&self, copies: &Path) -> Option<Room> {
        let mut text = String::new();
        let file = std::fs::File::open(copies.join(&self.group)).ok()?;
        file.take(METADATA_BYTES_MAX).read_to_string(&mut text).ok()?;
        metadata(&text)
    }
}

/// Parts the name of a mapped device at its single hyphen; those of the names themselves are doubled.
fn parted(name: &str) -> Option<(String, String)> {
    let bytes = name.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match (bytes[at], bytes.get(at + 1)) {
            (b'-', Some(b'-')) => at += 2,
            (b'-', _) => {
                let plain = |part: &str| part.replace("--", "-");
                return Some((plain(&name[..at]), plain(&name[at + 1..])));
            }
            _ => at += 1,
        }
    }
    None
}

#[derive(Deserialize)]
struct Answer {
    report: Vec<Report>,
}

#[derive(Deserialize)]
struct Report {
    vg: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    vg_free: String,
    vg_extent_size: String,
}

/// Reads the answer, which may stand behind warnings.
fn answer(text: &str) -> Option<Room> {
    let answer: Answer = serde_json::from_str(text.get(text.find('{')?..=text.rfind('}')?)?).ok()?;
    let row = answer.report.first()?.vg.first()?;
    Some(Room { free: row.vg_free.parse().ok()?, extent: row.vg_extent_size.parse().ok()? })
}

/// Returns the room in a group by its metadata: extents of its physical volumes less those that segments take.
fn metadata(text: &str) -> Option<Room> {
    let (mut extent_sectors, mut all, mut taken, mut segment) = (0, 0_u64, 0_u64, 0_u64);
    let mut sections: Vec<&str> = Vec::new();
    let mut in_stripes = false;
    for line in text.lines().map(|line| line.split('#').next().unwrap_or_default().trim()) {
        let number =
            |name: &str| line.strip_prefix(name)?.trim().strip_prefix('=')?.trim().parse::<u64>().ok();
        if let Some(name) = line.strip_suffix('{') {
            sections.push(name.trim());
        } else if line == "}" {
            sections.pop();
        } else if let Some(sectors) = number("extent_size") {
            extent_sectors = sectors;
        } else if let Some(count) = number("pe_count").filter(|_| sections.contains(&"physical_volumes")) {
            all += count;
        } else if let Some(count) = number("extent_count") {
            segment = count;
        } else if line.starts_with("stripes") {
            in_stripes = true;
        } else if in_stripes && line.starts_with('"') {
            // Segments over other volumes take nothing themselves; those are listed too.
            taken += if line.starts_with("\"pv") { std::mem::take(&mut segment) } else { 0 };
        } else if line == "]" {
            in_stripes = false;
        }
    }
    let extent = extent_sectors * SECTOR_BYTES;
    (extent > 0).then(|| Room { free: all.saturating_sub(taken) * extent, extent })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_mapped_devices() {
        for (name, parts) in [
            ("demovg-data", Some(("demovg", "data"))),
            ("my--vg-my--data--1", Some(("my-vg", "my-data-1"))),
            ("crypt", None),
            ("odd--", None),
        ] {
            let is = parted(name);
            assert_eq!(is.as_ref().map(|(group, name)| (group.as_str(), name.as_str())), parts, "{name}");
        }
    }

    #[test]
    fn a_volume_is_known_by_its_device() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(Volume::at(folder.path()), None);
        std::fs::write(folder.path().join("name"), "demovg-data\n").expect("written");
        std::fs::write(folder.path().join("uuid"), "CRYPT-LUKS2-x\n").expect("written");
        assert_eq!(Volume::at(folder.path()), None);
        std::fs::write(folder.path().join("uuid"), "LVM-abc\n").expect("written");
        let volume = Volume { group: "demovg".into(), name: "data".into() };
        assert_eq!(Volume::at(folder.path()), Some(volume));
    }

    #[test]
    fn what_lvm_answers() {
        let text = "  WARNING: something\n  {\n \"report\": [ { \"vg\": [ {\"vg_free\":\"159383552\", \"vg_extent_size\":\"4194304\"} ] } ] }\n";
        assert_eq!(answer(text), Some(Room { free: 159_383_552, extent: 4_194_304 }));
        assert_eq!(answer("{\"report\": [{\"vg\": []}]}"), None);
        assert_eq!(answer("nothing"), None);
    }

    const METADATA: &str = r#"
# Generated by LVM2
contents = "Text Format Volume Group"
demovg {
	extent_size = 8192		# 4 Megabytes
	physical_volumes {
		pv0 {
			device = "/dev/loop0"	# Hint only
			pe_start = 2048
			pe_count = 63	# 252 Megabytes
		}
		pv1 { 
			pe_count = 10
		}
	}
	logical_volumes {
		data {
			segment_count = 2
			segment1 {
				start_extent = 0
				extent_count = 20	# 80 Megabytes
				type = "striped"
				stripe_count = 1	# linear
				stripes = [
					"pv0", 0
				]
			}
			segment2 {
				extent_count = 6
				type = "striped"
				stripe_count = 2
				stripes = [
					"pv0", 20,
					"pv1", 0
				]
			}
		}
		mirrored {
			segment1 {
				extent_count = 5
				type = "raid1"
				raids = [
					"mirrored_rmeta_0", "mirrored_rimage_0"
				]
			}
		}
		mirrored_rimage_0 {
			segment1 {
				extent_count = 5
				stripes = [
					"pv1", 3
				]
			}
		}
	}
}
"#;

    #[tokio::test]
    async fn the_copy_of_the_metadata_tells_the_same() {
        let room = Room { free: (73 - 20 - 6 - 5) * 4_194_304, extent: 4_194_304 };
        assert_eq!(metadata(METADATA), Some(room));
        assert_eq!(metadata("nothing"), None);
        let folder = tempfile::tempdir().expect("a folder");
        let volume = Volume { group: "demovg".into(), name: "data".into() };
        assert_eq!(volume.look_up(folder.path()), None);
        std::fs::write(folder.path().join("demovg"), METADATA).expect("written");
        assert_eq!(volume.look_up(folder.path()), Some(room));
    }
}
