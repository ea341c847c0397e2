use super::*;
use crate::config::{Config, Kind};

/// Answers every question with these flags and, if there is one, this address.
async fn server(ip: &str, port: u16, flags: [u8; 2], address: Option<[u8; 4]>) -> u16 {
    let socket = UdpSocket::bind((ip, port)).await.expect("a port");
    let port = socket.local_addr().expect("an address").port();
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            let mut answer = buffer[..length].to_vec();
            answer[2..4].copy_from_slice(&flags);
            if let Some(address) = address {
                answer[7] = 1;
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
                answer.extend(address);
            }
            // First what somebody else might send, with another number.
            let mut forged = answer.clone();
            forged[0] ^= 1;
            for bytes in [&forged[..], &[0; 3], &answer] {
                let _ = socket.send_to(bytes, from).await;
            }
        }
    });
    port
}

async fn looked(conf: Option<&str>, port: u16, more: &str) -> Seen {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("resolv.conf");
    if let Some(conf) = conf {
        std::fs::write(&file, conf).expect("written");
    }
    let text = format!(
        "checks:\n- {{name: c, dns: {{name: www.example.com, resolv_conf: {}{more}}}}}\n",
        file.display()
    );
    let config = Config::parse(&text).unwrap_or_else(|e| panic!("{text}: {e:?}"));
    let Kind::Dns(probe) = config.checks[0].kind() else { panic!("no dns") };
    look_at(probe, Duration::from_millis(600), port).await.expect("it can look")
}

fn told(seen: &Seen) -> String {
    let field = |finding: &Finding, name: &str| {
        finding
            .fields
            .iter()
            .find(|(n, _)| n.as_str() == name)
            .map_or_else(|| "-".into(), |(_, v)| v.to_string())
    };
    let one = |f: &Finding| format!("{} {} {}", f.verdict.word(), field(f, "reason"), field(f, "ip"));
    seen.findings.iter().map(one).collect::<Vec<_>>().join("; ")
}

#[tokio::test]
async fn resolvers_that_are_set_up_wrongly() {
    for (conf, expected) in [
        (None, "critical no-resolv-conf -"),
        (Some(""), "critical no-nameserver -"),
        (Some("# nameserver 127.0.0.1\nsearch example.com\n"), "critical no-nameserver -"),
        (Some("nameserver\n"), "critical bad-nameserver -"),
        (Some("nameserver ns.example.com\n"), "critical bad-nameserver -"),
    ] {
        assert_eq!(told(&looked(conf, 1, "").await), expected, "{conf:?}");
    }
}

#[tokio::test]
async fn servers_that_answer_and_servers_that_do_not() {
    // All of 127.0.0.0/8 is this machine, so that there can be several servers at one port.
    let port = server("127.0.0.1", 0, [0x81, 0x80], Some([192, 0, 2, 7])).await;
    for (ip, flags, address) in [
        ("127.0.0.2", [0x81, 0x83], None),
        ("127.0.0.3", [0x81, 0x82], None),
        ("127.0.0.4", [0x81, 0x80], None),
        ("127.0.0.5", [0x81, 0x85], None),
    ] {
        server(ip, port, flags, address).await;
    }
    for (servers, more, expected) in [
        (&["127.0.0.1"][..], "", ""),
        (&["127.0.0.1"], ", expect: [192.0.2.7]", ""),
        (&["127.0.0.1"], ", expect: [192.0.2.8]", "critical unexpected 127.0.0.1"),
        (&["127.0.0.1"], ", time: {warning: 0s}", "warning slow -"),
        (&["127.0.0.2"], "", "critical no-such-name 127.0.0.2"),
        (&["127.0.0.3"], "", "critical server-failed 127.0.0.3"),
        (&["127.0.0.4"], "", "critical no-address 127.0.0.4"),
        (&["127.0.0.5"], "", "critical refused-to-answer 127.0.0.5"),
        (&["127.0.0.1", "127.0.0.3"], "", "warning server-failed 127.0.0.3"),
        // Nobody is there: the kernel says so at once.
        (&["127.0.0.9"], "", "critical refused 127.0.0.9"),
        (&["127.0.0.9", "127.0.0.1"], "", "warning refused 127.0.0.9"),
        // The fourth is never asked, as the system's resolver does not ask it either.
        (&["127.0.0.1", "127.0.0.1", "127.0.0.1", "127.0.0.9"], "", ""),
    ] {
        let conf: String = servers.iter().map(|ip| format!("nameserver {ip}\n")).collect();
        let seen = looked(Some(&conf), port, more).await;
        assert_eq!(told(&seen), expected, "{servers:?} {more}: {seen:?}");
    }
}

#[tokio::test]
async fn a_server_that_is_silent_hides_no_other() {
    let silent = UdpSocket::bind("127.0.0.8:0").await.expect("a port");
    let port = silent.local_addr().expect("an address").port();
    server("127.0.0.1", port, [0x81, 0x80], Some([192, 0, 2, 7])).await;
    let seen = looked(Some("nameserver 127.0.0.8\nnameserver 127.0.0.1\n"), port, "").await;
    assert_eq!(told(&seen), "warning timeout 127.0.0.8");
}
