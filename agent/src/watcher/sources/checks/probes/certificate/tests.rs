use super::*;
use crate::config::{Check, Config, Kind};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use std::io::Write;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;

const DAY: Duration = Duration::from_secs(86_400);

/// A folder with an authority, certificates and their keys.
struct Pki {
    folder: tempfile::TempDir,
    ca: CertificateParams,
    ca_key: KeyPair,
}

impl Pki {
    fn new() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().expect("a folder");
        let mut ca = CertificateParams::default();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.distinguished_name.push(rcgen::DnType::CommonName, format!("authority {}", rand::random::<u32>()));
        let ca_key = KeyPair::generate().expect("a key");
        let pem = ca.self_signed(&ca_key).expect("signed").pem();
        std::fs::write(folder.path().join("ca.pem"), pem).expect("written");
        Self { folder, ca, ca_key }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Issues a certificate that is good from so many days ago for so many days from now.
    fn issue(&self, file: &str, name: &str, from_days: i64, days: i64) {
        let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
        // An hour more, so that a day that is begun counts as whole.
        let now = rcgen::date_time_ymd(1970, 1, 1)
            + SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970")
            + DAY / 24;
        let day = |count: i64| DAY * u32::try_from(count.abs()).expect("few");
        params.not_before = if from_days < 0 { now + day(from_days) } else { now - day(from_days) };
        params.not_after = if days < 0 { now - day(days) } else { now + day(days) };
        let key = KeyPair::generate().expect("a key");
        let issuer = Issuer::from_params(&self.ca, &self.ca_key);
        let issued = params.signed_by(&key, &issuer).expect("signed");
        std::fs::write(self.path(&format!("{file}.pem")), issued.pem()).expect("written");
        std::fs::write(self.path(&format!("{file}.key")), key.serialize_pem()).expect("written");
    }

    fn check(&self, more: &str) -> Check {
        let text = format!(
            "checks:\n- {{name: c, timeout: 3s, certificate: {{ca: {}, {more}}}}}\n",
            self.path("ca.pem").display()
        )
        .replace("DIR", &self.folder.path().display().to_string());
        Config::parse(&text).unwrap_or_else(|e| panic!("{text}: {e:?}")).checks.remove(0)
    }

    fn looked(&self, more: &str) -> Result<Seen, String> {
        let check = self.check(more);
        let Kind::Certificate(probe) = check.kind() else { panic!("no certificate") };
        look_now(probe, check.timeout.0, SystemTime::now())
    }

    fn told(&self, more: &str) -> String {
        told(&self.looked(more).unwrap_or_else(|e| panic!("{more}: {e}")))
    }

    /// Serves a certificate until the test ends; returns the port.
    fn serve(&self, file: &str) -> u16 {
        let chain = tls::chain(&self.path(&format!("{file}.pem"))).expect("a chain");
        let key = PrivateKeyDer::from_pem_file(self.path(&format!("{file}.key"))).expect("a key");
        let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key);
        let config = Arc::new(config.expect("they fit"));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let mut connection =
                    rustls::ServerConnection::new(Arc::clone(&config)).expect("a connection");
                while connection.is_handshaking() && connection.complete_io(&mut stream).is_ok() {}
                let _ = stream.flush();
            }
        });
        port
    }
}

fn told(seen: &Seen) -> String {
    let field = |finding: &Finding, name: &str| {
        let found = finding.fields.iter().find(|(n, _)| n.as_str() == name);
        found.map_or_else(String::new, |(_, v)| format!(" {v}"))
    };
    let one = |f: &Finding| {
        format!("{} {}{}{}", f.kind, f.verdict.word(), field(f, "reason"), field(f, "days_left"))
    };
    seen.findings.iter().map(one).collect::<Vec<_>>().join("; ")
}

#[test]
fn certificates_on_disk() {
    let pki = Pki::new();
    pki.issue("good", "shop.example.com", 1, 60);
    pki.issue("soon", "shop.example.com", 1, 12);
    pki.issue("sooner", "shop.example.com", 1, 3);
    pki.issue("over", "shop.example.com", 30, -2);
    pki.issue("early", "shop.example.com", -2, 60);
    for (more, expected) in [
        ("file: DIR/good.pem, name: shop.example.com", ""),
        ("file: DIR/good.pem, name: other.example.com", "certificate.invalid critical name"),
        ("file: DIR/good.pem, days: {warning: 90}", "certificate.expiring warning 60"),
        ("file: DIR/soon.pem", "certificate.expiring warning 12"),
        ("file: DIR/sooner.pem", "certificate.expiring critical 3"),
        ("file: DIR/over.pem", "certificate.invalid critical expired -2"),
        ("file: DIR/early.pem", "certificate.invalid critical not-yet-valid"),
        ("file: DIR/missing.pem", "certificate.invalid critical missing"),
        ("file: DIR/good.pem, key: DIR/good.key", ""),
        ("file: DIR/good.pem, key: DIR/soon.key", "certificate.mismatch critical key"),
    ] {
        assert_eq!(pki.told(more), expected, "{more}");
    }
    std::fs::write(pki.path("none.pem"), "not a certificate").expect("written");
    assert_eq!(pki.told("file: DIR/none.pem"), "certificate.invalid critical missing");
    std::fs::write(pki.path("cut.pem"), "-----BEGIN CERTIFICATE-----\nAAAA").expect("written");
    assert_eq!(pki.told("file: DIR/cut.pem"), "certificate.invalid critical unreadable");
    // Two certificates that are no chain.
    let both = [std::fs::read(pki.path("good.pem")), std::fs::read(pki.path("soon.pem"))];
    let both: Vec<u8> = both.into_iter().flat_map(|one| one.expect("read")).collect();
    std::fs::write(pki.path("both.pem"), both).expect("written");
    assert_eq!(pki.told("file: DIR/both.pem"), "certificate.mismatch critical chain");
    // Somebody else's authority.
    let other = Pki::new();
    other.issue("theirs", "shop.example.com", 1, 60);
    let theirs = format!("file: {}", other.path("theirs.pem").display());
    assert_eq!(pki.told(&theirs), "certificate.invalid critical unknown-issuer");
    assert_eq!(pki.told(&format!("{theirs}, trusted: false")), "");
    let reason = pki.looked("file: DIR/good.pem, key: DIR/missing.key").expect_err("there is no key");
    assert!(reason.contains("failed to read the key"), "{reason}");
}

#[test]
fn certificates_at_ports() {
    let pki = Pki::new();
    pki.issue("good", "localhost", 1, 60);
    pki.issue("renewed", "localhost", 1, 90);
    pki.issue("over", "localhost", 30, -2);
    let (good, over) = (pki.serve("good"), pki.serve("over"));
    for (more, expected) in [
        (format!("connect: 'localhost:{good}'"), ""),
        (format!("connect: '127.0.0.1:{good}', name: localhost"), ""),
        (format!("connect: '127.0.0.1:{good}', name: shop.example.com"), "certificate.invalid critical name"),
        (format!("connect: 'localhost:{over}'"), "certificate.invalid critical expired -2"),
        (format!("connect: 'localhost:{good}', file: DIR/good.pem"), ""),
        (
            format!("connect: 'localhost:{good}', file: DIR/renewed.pem"),
            "certificate.mismatch warning not-reloaded",
        ),
    ] {
        assert_eq!(pki.told(&more), expected, "{more}");
    }
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = nobody.local_addr().expect("an address").port();
    drop(nobody);
    let refused = pki.told(&format!("connect: '127.0.0.1:{port}', name: localhost"));
    assert_eq!(refused, "certificate.invalid critical refused");
}
