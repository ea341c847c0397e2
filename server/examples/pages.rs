//! Writes every page with sample data as files, to be looked at without a server:
//! `cargo run -p sopwith-server --example pages -- FOLDER`, then serve the folder over HTTP. Debug builds only.

#[cfg(debug_assertions)]
fn main() -> std::io::Result<()> {
    use sopwith_domain::people::Role;
    use sopwith_server::pages::{assets, dev, samples};
    let folder =
        std::path::PathBuf::from(std::env::args_os().nth(1).unwrap_or_else(|| "target/pages".into()));
    let worlds = [
        ("empty", samples::World::new(), Role::Admin),
        ("ordinary", samples::ordinary(), Role::Admin),
        ("viewer", samples::ordinary(), Role::Viewer),
        ("stopped", samples::stopped(), Role::Operator),
        ("overfull", samples::overfull(), Role::Approver),
    ];
    for (name, world, role) in worlds {
        std::fs::create_dir_all(folder.join(name))?;
        for (page, markup) in dev::all(&world, role) {
            std::fs::write(folder.join(name).join(format!("{page}.html")), markup.into_string())?;
        }
    }
    for (url, text) in assets::all() {
        let path = folder.join(url.trim_start_matches('/'));
        std::fs::create_dir_all(path.parent().unwrap_or(&folder))?;
        std::fs::write(path, text)?;
    }
    println!("{}", folder.display());
    Ok(())
}

#[cfg(not(debug_assertions))]
fn main() {
    eprintln!("failed to write the pages: sample data is part of debug builds only");
    std::process::exit(2);
}
