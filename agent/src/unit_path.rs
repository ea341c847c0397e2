//! Names of units as systemd writes them in the paths of its objects on the bus. Pure; nothing here asks systemd.

use sopwith_domain::value::UnitName;

/// Below this are all units.
pub const UNITS: &str = "/org/freedesktop/systemd1/unit";

/// Returns the unit of an object path: systemd writes every other character than letters and digits as `_xx`.
pub fn unit(path: &str) -> Option<UnitName> {
    let label = path.strip_prefix(UNITS)?.strip_prefix('/')?;
    let mut name = Vec::with_capacity(label.len());
    let mut bytes = label.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'_' {
            let digits = [bytes.next()?, bytes.next()?];
            name.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            name.push(byte);
        }
    }
    UnitName::new(String::from_utf8(name).ok()?).ok()
}

/// Returns the object path of a unit.
pub fn of(unit: &UnitName) -> String {
    let mut path = format!("{UNITS}/");
    for (at, byte) in unit.as_str().bytes().enumerate() {
        if byte.is_ascii_alphabetic() || byte.is_ascii_digit() && at > 0 {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("_{byte:02x}"));
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_and_their_paths() {
        for (name, path) in [
            ("cron.service", "cron_2eservice"),
            ("demo-web.service", "demo_2dweb_2eservice"),
            ("getty@tty1.service", "getty_40tty1_2eservice"),
            ("3proxy.service", "_33proxy_2eservice"),
            ("srv-x\\x2dy.mount", "srv_2dx_5cx2dy_2emount"),
        ] {
            let unit = UnitName::new(name).expect("a unit");
            let path = format!("{UNITS}/{path}");
            assert_eq!((of(&unit), super::unit(&path)), (path.clone(), Some(unit)));
        }
        for path in [
            "/org/freedesktop/systemd1",
            "/org/freedesktop/systemd1/unit/a_2",
            "/x",
            "/org/freedesktop/systemd1/unit/sda_2edevice",
        ] {
            assert_eq!(unit(path), None, "{path}");
        }
    }
}
