//! Certificates that services are told to use, and those of an ACME client.

use super::proposal::{Proposal, Section};
use super::root::Root;
use super::yaml::Flow;
use std::collections::BTreeMap;

/// Where services are told of certificates: folders of configuration files, and the word before the path.
const PLACES: [(&str, &str); 8] = [
    ("/etc/nginx", "ssl_certificate"),
    ("/etc/nginx/conf.d", "ssl_certificate"),
    ("/etc/nginx/sites-enabled", "ssl_certificate"),
    ("/etc/apache2/sites-enabled", "SSLCertificateFile"),
    ("/etc/haproxy", "crt"),
    ("/etc/postfix", "smtpd_tls_cert_file"),
    ("/etc/dovecot/conf.d", "ssl_cert"),
    ("/etc/lighttpd", "ssl.pemfile"),
];
const ACME: &str = "/etc/letsencrypt/live";

/// Proposes to look every day how long each certificate is good for.
pub(super) fn propose(root: &Root, proposal: &mut Proposal) {
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    for (folder, word) in PLACES {
        for name in root.list(folder) {
            let path = format!("{folder}/{name}");
            let is_file = root.metadata(&path).is_some_and(|m| m.is_file());
            for file in root
                .read(&path)
                .filter(|_| is_file)
                .unwrap_or_default()
                .lines()
                .filter_map(|l| named(l, word))
            {
                found.entry(file).or_insert_with(|| format!("{path} names it."));
            }
        }
    }
    for name in root.list(ACME) {
        found
            .entry(format!("{ACME}/{name}/fullchain.pem"))
            .or_insert_with(|| "An ACME client renews it.".into());
    }
    for (file, why) in found {
        // Names that a service makes of variables, and Debian's example, are not of this host.
        if file.contains("ssl-cert-snakeoil") || !root.is_there(&file) {
            continue;
        }
        let name = proposal.name(Section::Checks, &format!("certificate{}", file.replace('/', "-")));
        let probe = Flow::default().text("file", &file).word("trusted", false);
        let flow = Flow::default().text("name", &name).map("certificate", probe).word("every", "6h");
        proposal.add(Section::Checks, &why, flow.done());
    }
}

/// Returns the path behind a word.
fn named(line: &str, word: &str) -> Option<String> {
    let rest = line.trim().strip_prefix(word)?;
    let rest = rest.strip_prefix([' ', '\t', '='])?.trim_start_matches([' ', '\t', '=', '<', '"']);
    let path = rest.split([';', ' ', '"', '\t', '#']).next()?;
    path.starts_with('/').then(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_name_a_certificate() {
        for (line, word, path) in [
            ("  ssl_certificate /etc/a.pem;", "ssl_certificate", Some("/etc/a.pem")),
            ("ssl_certificate_key /etc/a.key;", "ssl_certificate", None),
            ("# ssl_certificate /etc/a.pem;", "ssl_certificate", None),
            ("ssl_certificate $name;", "ssl_certificate", None),
            ("SSLCertificateFile \"/etc/b.pem\"", "SSLCertificateFile", Some("/etc/b.pem")),
            ("smtpd_tls_cert_file=/etc/c.pem", "smtpd_tls_cert_file", Some("/etc/c.pem")),
            ("ssl_cert = </etc/d.pem", "ssl_cert", Some("/etc/d.pem")),
        ] {
            assert_eq!(named(line, word).as_deref(), path, "{line}");
        }
    }
}
