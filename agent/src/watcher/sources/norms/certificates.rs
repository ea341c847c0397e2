//! Certificates in files: how long they last. Of a chain the one that ends first counts.

use super::host::{self, Host, Looked};
use super::norm::{self, Breach};
use crate::watcher::glob;
use sopwith_domain::signal::Severity;
use x509_parser::pem::Pem;

/// Most certificates of one file.
const CHAIN_MAX: usize = 20;
/// Most files of one pattern.
const FILES_MAX: usize = 500;

pub fn look(host: &Host<'_>, looked: &mut Looked) {
    for declared in &host.norms.certificates {
        for path in paths(host, declared.as_str(), looked) {
            one(host, &path, looked);
        }
    }
}

fn paths(host: &Host<'_>, path: &str, looked: &mut Looked) -> Vec<String> {
    let Some((folder, name)) = path.rsplit_once('/') else { return Vec::new() };
    if !name.contains(['*', '?', '[']) {
        if !host.is_there(path) {
            looked.trouble(format!("there is no certificate {path}"));
            return Vec::new();
        }
        return vec![path.to_owned()];
    }
    let names =
        host.names(folder, looked).into_iter().filter(|found| glob::fits(name, found)).take(FILES_MAX);
    names.map(|found| format!("{folder}/{found}")).collect()
}

fn one(host: &Host<'_>, path: &str, looked: &mut Looked) {
    let bytes = match host::read(&host.at(path)) {
        Ok(bytes) => bytes,
        Err(e) => return looked.trouble(format!("failed to read {path}: {e}")),
    };
    let Some((until_s, name)) = first_end(&bytes) else {
        return looked.trouble(format!("{path} holds no certificate"));
    };
    let left_s = until_s - host.now_s;
    let (warning_s, critical_s) =
        (seconds(host.norms.certificate_warning.0), seconds(host.norms.certificate_critical.0));
    if left_s >= warning_s {
        return;
    }
    let (norm, text) = match left_s {
        ..0 => {
            (norm::CERTIFICATE_EXPIRED, format!("certificate {path} ran out {} days ago", -left_s / 86_400))
        }
        _ => (norm::CERTIFICATE, format!("certificate {path} runs out in {} days", left_s / 86_400)),
    };
    let mut breach =
        Breach::new(norm, norm::file(path), text).path("path", path).integer("left_s", left_s).show(name);
    if (0..critical_s).contains(&left_s) {
        breach = breach.severity(Severity::Critical);
    }
    looked.breach(breach);
}

fn seconds(time: std::time::Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

/// Returns when the first of a file's certificates ends, and whose it is.
fn first_end(bytes: &[u8]) -> Option<(i64, String)> {
    let end = |der: &[u8]| {
        let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
        Some((certificate.validity().not_after.timestamp(), certificate.subject().to_string()))
    };
    let blocks =
        Pem::iter_from_buffer(bytes).flatten().filter(|pem| pem.label == "CERTIFICATE").take(CHAIN_MAX);
    let ends = blocks.filter_map(|pem| end(&pem.contents));
    ends.min_by_key(|(at_s, _)| *at_s).or_else(|| end(bytes))
}

#[cfg(test)]
mod tests {
    use super::super::host::fixture::{Fixture, NOW_S};
    use super::*;

    fn certificate(left_days: i64) -> String {
        let mut parameters = rcgen::CertificateParams::new(vec!["web-1.example".into()]).expect("a name");
        let seconds = NOW_S + left_days * 86_400 + 3600;
        // Only days count in rcgen's calendar.
        let days = seconds / 86_400;
        let (year, month, day) = civil(days);
        parameters.not_after = rcgen::date_time_ymd(year, month, day);
        let key = rcgen::KeyPair::generate().expect("a key");
        parameters.self_signed(&key).expect("signed").pem()
    }

    /// Returns the date of a day counted from 1970.
    fn civil(days: i64) -> (i32, u8, u8) {
        let z = days + 719_468;
        let (era, of_era) = (z.div_euclid(146_097), z.rem_euclid(146_097));
        let year_of = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let day_of = of_era - (365 * year_of + year_of / 4 - year_of / 100);
        let m = (5 * day_of + 2) / 153;
        let month = if m < 10 { m + 3 } else { m - 9 };
        let year = year_of + era * 400 + i64::from(month <= 2);
        let part = |number: i64| u8::try_from(number).expect("of a calendar");
        (i32::try_from(year).expect("a year"), part(month), part(day_of - (153 * m + 2) / 5 + 1))
    }

    #[test]
    fn certificates_last() {
        for (chain, says) in [
            (&[100][..], ""),
            (&[20], "certificate path:/c/a.pem Warning"),
            (&[100, 5], "certificate path:/c/a.pem Critical"),
            (&[-1], "certificate-expired path:/c/a.pem Critical"),
        ] {
            let fixture = Fixture::new(", certificates: [/c/*.pem]");
            let text: String = chain.iter().map(|days| certificate(*days)).collect();
            fixture.file("/c/a.pem", text).file("/c/a.key", "not looked at");
            let looked = fixture.looked(look);
            let told: Vec<_> = looked
                .breaches
                .iter()
                .map(|b| format!("{} {} {:?}", b.norm.id, b.subject, b.severity))
                .collect();
            assert_eq!((told.join("; ").as_str(), looked.troubles.len()), (says, 0), "{chain:?}");
        }
        let fixture = Fixture::new(", certificates: [/c/a.pem, /c/b.pem]");
        fixture.file("/c/a.pem", "text");
        assert_eq!(fixture.told(look), "! /c/a.pem holds no certificate; ! there is no certificate /c/b.pem");
    }
}
