//! `http.call`: calls a service on this very host and wants one status. It goes to loopback and the host's own addresses
//! and nowhere else, sends no body, follows no redirection. Undone, where the playbook says how, by a call of the same
//! kind.

use super::act::{Act, At};
use crate::runner::http;
use serde::{Deserialize, Serialize};
use sopwith_domain::action::Method;
use sopwith_domain::run::Effect;
use sopwith_domain::value::Url;
use std::time::Duration;

/// Longest that an answer is waited for.
const ANSWER_MAX: Duration = Duration::from_secs(300);

#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    pub url: &'a Url,
    pub method: Method,
    pub status: i64,
    pub undo_url: Option<&'a Url>,
    pub irreversible: bool,
}

/// Nothing is known of what a call changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Prior {}

impl Call<'_> {
    fn call(&self, at: &At<'_>, url: &Url) -> Result<String, String> {
        let time = Duration::from_millis(u64::try_from(at.timeout_ms()).unwrap_or(0)).min(ANSWER_MAX);
        let status = http::call(url, self.method.as_str(), time)?;
        match i64::from(status) == self.status {
            true => Ok(format!("{url} answered with {status}")),
            false => Err(format!("{url} answered with {status}, not {}", self.status)),
        }
    }
}

impl Act for Call<'_> {
    type Prior = Prior;

    fn foresee(&self, at: &mut At<'_>) -> Result<String, String> {
        self.capture(at)?;
        Ok(format!("{} {} would be called", self.method.as_str(), self.url))
    }

    fn capture(&self, _at: &mut At<'_>) -> Result<Prior, String> {
        for url in std::iter::once(self.url).chain(self.undo_url) {
            http::is_own(url)?;
        }
        Ok(Prior {})
    }

    fn perform(&self, at: &mut At<'_>, _prior: &Prior) -> Result<String, String> {
        self.call(at, self.url)
    }

    fn probe(&self, _at: &mut At<'_>, _prior: &Prior) -> Result<Effect, String> {
        Err("whether the call arrived cannot be known".into())
    }

    fn undo(&self, at: &mut At<'_>, _prior: &Prior) -> Result<String, String> {
        match self.undo_url {
            Some(url) => self.call(at, url),
            None if self.irreversible => Err(format!("{} was called, or may have been", self.url)),
            None => Ok("nothing is to be put back".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::actions::tests::{World, context, restored, step};
    use sopwith_domain::action::{Action, Undo};
    use sopwith_domain::run::StepResult;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::mpsc;

    /// A service that answers each call with the next status, and tells the first lines that it heard.
    fn service(statuses: &'static [u16]) -> (u16, mpsc::Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let port = listener.local_addr().expect("bound").port();
        let (tell, heard) = mpsc::channel();
        std::thread::spawn(move || {
            for status in statuses {
                let Ok((mut stream, _)) = listener.accept() else { return };
                let mut buffer = [0; 2048];
                let read = stream.read(&mut buffer).unwrap_or(0);
                let text = String::from_utf8_lossy(&buffer[..read]).into_owned();
                let _ = tell.send(text.lines().next().unwrap_or_default().to_owned());
                let _ = write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
            }
        });
        (port, heard)
    }

    fn action(url: &str, undo_url: Option<&str>) -> Action {
        let url_of = |text: &str| Url::new(text).expect("a url");
        Action::HttpCall {
            url: url_of(url),
            method: Method::Post,
            status: 204,
            undo_url: undo_url.map(url_of),
            irreversible: false,
            touches: vec!["unit:x.service".parse().expect("a subject")],
        }
    }

    #[test]
    fn it_calls_wants_its_status_and_is_undone_by_a_call() {
        let (port, heard) = service(&[204, 204, 204, 500]);
        let url = |path: &str| format!("http://127.0.0.1:{port}{path}");
        let mut world = World::new();
        let step_of = step(action(&url("/drain"), Some(&url("/undrain"))));
        let prior = super::super::capture(&mut world.bench, context(&step_of)).expect("captured");
        let done = super::super::perform(&mut world.bench, context(&step_of), &prior);
        assert!(matches!(done, StepResult::Done { .. }), "{done:?}");
        for _ in 0..2 {
            assert!(restored(&super::super::undo(&mut world.bench, context(&step_of), &prior)));
        }
        let failed = super::super::perform(&mut world.bench, context(&step_of), &prior);
        assert!(
            matches!(failed, StepResult::Failed { ref reason, .. } if reason.contains("500")),
            "{failed:?}"
        );
        let heard: Vec<_> = heard.try_iter().collect();
        let lines = [
            "POST /drain HTTP/1.1",
            "POST /undrain HTTP/1.1",
            "POST /undrain HTTP/1.1",
            "POST /drain HTTP/1.1",
        ];
        assert_eq!(heard, lines);
    }

    #[test]
    fn it_calls_nobody_else() {
        let mut world = World::new();
        for url in
            ["http://192.0.2.1/x", "http://example.com/", "https://127.0.0.1/", "http://169.254.169.254/"]
        {
            let step_of = step(action(url, None));
            assert!(super::super::capture(&mut world.bench, context(&step_of)).is_err(), "{url}");
        }
        let away = step(action("http://127.0.0.1:1/x", Some("http://192.0.2.1/x")));
        assert!(super::super::capture(&mut world.bench, context(&away)).is_err(), "its undo goes elsewhere");
    }

    #[test]
    fn how_it_is_undone_is_as_declared() {
        assert_eq!(action("http://127.0.0.1/", None).undo(), Undo::Nothing);
        assert_eq!(action("http://127.0.0.1/", Some("http://127.0.0.1/u")).undo(), Undo::Inverse);
    }
}
