//! Opening and ending a session. The password is asked for without echo, or read from standard input; it is sent
//! once and kept nowhere.

use crate::client::{self, Client};
use crate::failure::Failure;
use crate::session::{Session, Trust, variable};
use crate::ui::Ui;
use clap::Args;
use reqwest::Method;
use sopwith_domain::ids::Digest;
use sopwith_protocol::api;
use std::io::Read;
use std::path::PathBuf;

/// Longest password, in bytes.
const PASSWORD_BYTES_MAX: u64 = 4096;

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  sopwith login https://sopwith.example.net:8443 alice --ca-sha256 HEX
  sopwith login https://127.0.0.1:8443 alice --ca /var/lib/sopwith/ca.pem
  pass show sopwith | sopwith login https://… alice --password-stdin
  sopwith login https://… --token -     # an API token, from standard input")]
pub struct Login {
    /// Address of the server.
    url: String,
    /// Your account's name.
    #[arg(required_unless_present = "token")]
    name: Option<String>,
    /// Reads the password from standard input instead of asking for it.
    #[arg(long, conflicts_with = "token")]
    password_stdin: bool,
    /// Uses an API token instead of a password; `-` reads it from standard input.
    #[arg(long, value_name = "TOKEN", conflicts_with = "name")]
    token: Option<String>,
    /// Trusts this CA certificate (PEM) and no other.
    #[arg(long, value_name = "FILE", conflicts_with = "ca_sha256")]
    ca: Option<PathBuf>,
    /// Trusts the CA whose certificate has this SHA-256 and no other.
    #[arg(long, value_name = "HEX")]
    ca_sha256: Option<Digest>,
}

/// Opens a session and stores it.
pub async fn login(args: Login, ui: &Ui) -> Result<(), Failure> {
    let trust = match (&args.ca, args.ca_sha256, variable("SOPWITH_CA")) {
        (Some(file), ..) => Trust::from_file(file)?,
        (None, Some(digest), _) => Trust::Sha256(digest),
        (None, None, Some(ca)) => Trust::from_text(&ca)?,
        (None, None, None) => Trust::System,
    };
    let url = args.url.trim_end_matches('/').to_owned();
    let (token, expires_at) = match (args.token, args.name) {
        (Some(token), _) => (if token == "-" { from_stdin("token")? } else { token }, None),
        (None, name) => {
            let name = name.unwrap_or_default();
            let client = Client::new(&url, None, &trust)?;
            let password = password(&name, &url, args.password_stdin)?;
            let body = api::Login { name, password };
            let raw = client.send(Method::POST, "/session", Some(&body), None).await?;
            let session: api::Session = client::view_raw(&raw)?;
            (session.token, Some(session.expires_at))
        }
    };
    let who: api::WhoAmI = Client::new(&url, Some(token.clone()), &trust)?.get("/whoami").await?.view;
    let session = Session { url, name: who.name.clone(), token, expires_at, trust };
    let path = session.store()?;
    let until = session
        .expires_at
        .as_ref()
        .map_or_else(String::new, |at| format!(", until {}", crate::words::when(at, ui.now)));
    ui.say(&format!(
        "Logged in to {} as {} ({}){until}.\nThe session is in {}.",
        session.url,
        who.name,
        who.role,
        path.display()
    ))
}

fn password(name: &str, url: &str, stdin: bool) -> Result<String, Failure> {
    if stdin {
        return from_stdin("password");
    }
    rpassword::prompt_password(format!("Password of {name} at {url}: ")).map_err(|e| {
        Failure::usage(format!("the password cannot be asked for: {e}")).help("use --password-stdin")
    })
}

fn from_stdin(what: &str) -> Result<String, Failure> {
    let mut text = String::new();
    std::io::stdin()
        .lock()
        .take(PASSWORD_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(|e| Failure::failed(format!("cannot read the {what} from standard input: {e}")))?;
    let text = text.trim_end_matches(['\r', '\n']).to_owned();
    if text.is_empty() {
        return Err(Failure::usage(format!("standard input held no {what}")));
    }
    Ok(text)
}

/// Ends the stored session at the server and forgets it.
pub async fn logout(ui: &Ui) -> Result<(), Failure> {
    let Some(session) = Session::stored()? else {
        return ui.say("You were not logged in.");
    };
    if session.expires_at.is_none() {
        Session::forget()?;
        let text = "The API token of {url} is forgotten here. It still works: revoke it if it is not needed.";
        return ui.say(&text.replace("{url}", &session.url));
    }
    let client = Client::new(&session.url, Some(session.token), &session.trust);
    let ended = match client {
        Ok(client) => client.send(Method::DELETE, "/session", None::<&()>, None).await,
        Err(failure) => Err(failure),
    };
    Session::forget()?;
    match ended {
        // A session that the server no longer knows has ended too.
        Err(failure) if failure.status != Some(401) => Err(Failure::failed(format!(
            "the session is forgotten here, but the server could not be told: {}",
            failure.text
        ))
        .help("it ends by itself when it expires")),
        _ => ui.say(&format!("Logged out of {}.", session.url)),
    }
}

/// Says who the server takes the person for.
pub async fn whoami(client: &Client, ui: &Ui) -> Result<(), Failure> {
    let answer = client.get::<api::WhoAmI>("/whoami").await?;
    let who = &answer.view;
    ui.show(&answer.raw, || format!("{} ({}) at {}", who.name, who.role, client.url()))
}
