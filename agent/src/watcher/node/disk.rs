//! Block devices: what they did, from `/proc/diskstats`, and which they are, from udev.

use super::files::{Files, numbers};
use super::out::{Kind, Number, Out};
use std::io;

const SECTOR_BYTES: u64 = 512;
/// Columns of `/proc/diskstats` behind the name, by family: the column, its name, what it is multiplied by (a
/// thousandth where it is milliseconds), and what it is.
const COLUMNS: [(usize, &str, Unit, &str); 17] = [
    (0, "node_disk_reads_completed_total", Unit::Count, "Reads that were completed."),
    (1, "node_disk_reads_merged_total", Unit::Count, "Reads that were merged."),
    (2, "node_disk_read_bytes_total", Unit::Sectors, "Bytes that were read."),
    (3, "node_disk_read_time_seconds_total", Unit::Milliseconds, "Time in seconds that reads took."),
    (4, "node_disk_writes_completed_total", Unit::Count, "Writes that were completed."),
    (5, "node_disk_writes_merged_total", Unit::Count, "Writes that were merged."),
    (6, "node_disk_written_bytes_total", Unit::Sectors, "Bytes that were written."),
    (7, "node_disk_write_time_seconds_total", Unit::Milliseconds, "Time in seconds that writes took."),
    (8, "node_disk_io_now", Unit::Present, "Requests under way."),
    (
        9,
        "node_disk_io_time_seconds_total",
        Unit::Milliseconds,
        "Time in seconds in which requests were under way.",
    ),
    (10, "node_disk_io_time_weighted_seconds_total", Unit::Milliseconds, "The same, weighted by requests."),
    (11, "node_disk_discards_completed_total", Unit::Count, "Discards that were completed."),
    (12, "node_disk_discards_merged_total", Unit::Count, "Discards that were merged."),
    (13, "node_disk_discarded_sectors_total", Unit::Count, "Sectors that were discarded."),
    (14, "node_disk_discard_time_seconds_total", Unit::Milliseconds, "Time in seconds that discards took."),
    (15, "node_disk_flush_requests_total", Unit::Count, "Flushes that were completed."),
    (
        16,
        "node_disk_flush_requests_time_seconds_total",
        Unit::Milliseconds,
        "Time in seconds that flushes took.",
    ),
];
/// What udev says of a device, by label.
const PROPERTIES: [(&str, &str); 5] = [
    ("model", "E:ID_MODEL="),
    ("path", "E:ID_PATH="),
    ("revision", "E:ID_REVISION="),
    ("serial", "E:ID_SERIAL_SHORT="),
    ("wwn", "E:ID_WWN="),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Count,
    Present,
    Sectors,
    Milliseconds,
}

pub fn disks(files: &mut Files, out: &mut dyn Out) -> io::Result<()> {
    let text = files.read("proc/diskstats")?;
    let mut devices: Vec<(String, [String; 2], Vec<u64>)> = Vec::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(major), Some(minor), Some(name)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        if !is_part(name) {
            devices.push((name.to_owned(), [major.to_owned(), minor.to_owned()], numbers(line, 3).collect()));
        }
    }
    for (column, name, unit, help) in COLUMNS {
        out.family(name, if unit == Unit::Present { Kind::Gauge } else { Kind::Counter }, help);
        for (device, _, values) in &devices {
            let Some(value) = values.get(column).copied() else { continue };
            let value = match unit {
                Unit::Count | Unit::Present => Number::Whole(value),
                Unit::Sectors => Number::Whole(value.saturating_mul(SECTOR_BYTES)),
                Unit::Milliseconds => Number::Real(value as f64 / 1000.0),
            };
            out.sample(&[("device", device)], value);
        }
    }
    if out.wants("node_disk_info") {
        out.family("node_disk_info", Kind::Gauge, "Which device it is; always 1.");
        for (device, [major, minor], _) in &devices {
            let told = files.read(&format!("run/udev/data/b{major}:{minor}")).unwrap_or_default();
            let property =
                |key: &str| told.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
            let [model, path, revision, serial, wwn] = PROPERTIES.map(|(label, key)| (label, property(key)));
            let number = [("major", major.as_str()), ("minor", minor.as_str())];
            let labels =
                [("device", device.as_str()), number[0], number[1], model, path, revision, serial, wwn];
            out.sample(&labels, 1u64.into());
        }
    }
    Ok(())
}

/// Says whether a name is that of a part of a disk, or of a disk that is none: `sda1`, `nvme0n1p2`, `loop0`, `ram3`.
fn is_part(name: &str) -> bool {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    if stem.len() == name.len() {
        return false;
    }
    let letters = |prefix: &str| {
        stem.strip_prefix(prefix)
            .is_some_and(|rest| rest.len() == 1 && rest.bytes().all(|b| b.is_ascii_lowercase()))
    };
    let of_nvme = || {
        let (disk, namespace) = stem.strip_prefix("nvme")?.strip_suffix('p')?.split_once('n')?;
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        (digits(disk) && digits(namespace)).then_some(())
    };
    ["ram", "loop", "fd"].contains(&stem)
        || ["hd", "sd", "vd", "xvd"].iter().any(|prefix| letters(prefix))
        || of_nvme().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_and_their_parts() {
        for (name, part) in [
            ("sda", false),
            ("sda1", true),
            ("vda", false),
            ("xvda2", true),
            ("sdaa1", false),
            ("nvme0n1", false),
            ("nvme0n1p1", true),
            ("mmcblk0", false),
            ("mmcblk0p1", false),
            ("dm-0", false),
            ("md127", false),
            ("loop12", true),
            ("ram0", true),
            ("zram0", false),
        ] {
            assert_eq!(is_part(name), part, "{name}");
        }
    }
}
