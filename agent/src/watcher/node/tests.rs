use super::*;
use crate::config::{At, NodeCompat};
use std::process::{Command, Stdio};

async fn page_of(root: &str) -> String {
    let node = Node::below(root);
    let settings = Config { node_compat: At::of(NodeCompat::On), ..Config::default() };
    node.configure(settings, 0);
    String::from_utf8(node.page(b"# before\n".to_vec()).await).expect("text")
}

/// Families without which dashboards for node_exporter show nothing.
#[tokio::test]
async fn this_machine_is_told() {
    let page = page_of("/").await;
    assert!(page.starts_with("# before\n"), "{page}");
    for begins in [
        "node_uname_info{domainname=",
        "node_cpu_seconds_total{cpu=\"0\",mode=\"user\"} ",
        "node_memory_MemAvailable_bytes ",
        "node_load1 ",
        "node_boot_time_seconds ",
        "node_time_seconds ",
        "node_filefd_allocated ",
        "node_vmstat_pgfault ",
        "node_netstat_Tcp_CurrEstab ",
        "node_sockstat_TCP_inuse ",
        "node_network_receive_bytes_total{device=",
        "node_scrape_collector_success{collector=\"cpu\"} 1",
    ] {
        assert!(page.lines().any(|line| line.starts_with(begins)), "{begins}\n{page}");
    }
    let mut families: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    let count = families.len();
    families.sort_unstable();
    families.dedup();
    assert_eq!(families.len(), count, "no family is there twice");
}

/// Names in the form of node_exporter are not those that promtool would choose; that it can read all it must be.
#[tokio::test]
async fn promtool_reads_the_page() {
    let page = page_of("/").await;
    let mut tool = Command::new("promtool");
    tool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut tool) = tool.spawn() else {
        eprintln!("SKIPPED: promtool is not installed (Debian package prometheus); the page was not read");
        return;
    };
    let mut input = tool.stdin.take().expect("piped");
    let writing = std::thread::spawn(move || std::io::Write::write_all(&mut input, page.as_bytes()));
    let done = tool.wait_with_output().expect("it ends");
    writing.join().expect("it ends").expect("written");
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    // 3: read whole, with remarks on names.
    assert!(matches!(done.status.code(), Some(0 | 3)), "{said}");
    let ours = said.lines().find(|line| !line.starts_with("node_"));
    assert_eq!(ours, None, "{said}");
}
