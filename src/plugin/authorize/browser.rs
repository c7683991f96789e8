//! How a person gets to the link: a browser of this machine, or the link in the terminal with what is needed to follow it.

use std::env;

use url::Url;

use crate::plugin::terminal::tell;

/// What this session offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Session {
    /// A browser can be opened.
    Desktop,
    /// Nobody sees a browser that is opened here.
    Headless {
        /// Where `ssh` came in: `user@host`, if it did.
        ssh: Option<String>,
    },
}

impl Session {
    /// By the variables of the environment.
    pub(super) fn here() -> Self {
        Self::of(cfg!(all(unix, not(target_os = "macos"))), |name| {
            env::var(name).ok().filter(|value| !value.is_empty())
        })
    }

    /// `needs_display`: a desktop of this system is known by its display.
    fn of(needs_display: bool, variable: impl Fn(&str) -> Option<String>) -> Self {
        let remote = variable("SSH_CONNECTION").or_else(|| variable("SSH_TTY"));
        let displayed = ["DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME"]
            .iter()
            .any(|name| variable(name).is_some());
        if remote.is_none() && (displayed || !needs_display) || remote.is_some() && needs_display && displayed {
            return Self::Desktop;
        }
        // client address, client port, server address, server port
        let connection = variable("SSH_CONNECTION");
        let server = connection.as_deref().and_then(|ends| ends.split_whitespace().nth(2));
        let user = variable("USER").or_else(|| variable("LOGNAME"));
        let ssh = server.map(|server| match user {
            Some(user) => format!("{user}@{server}"),
            None => server.to_owned(),
        });
        Self::Headless { ssh }
    }
}

/// Whether a browser may be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Browser {
    /// It may.
    Open,
    /// The person does not want it.
    Leave,
}

/// Brings the person to the link, and says how to get there by hand.
pub(super) fn lead(link: &Url, port: u16, browser: Browser, session: &Session) {
    let opened = browser == Browser::Open && *session == Session::Desktop && open::that_detached(link.as_str()).is_ok();
    for line in words(link, port, opened, session) {
        tell(&line);
    }
}

fn words(link: &Url, port: u16, opened: bool, session: &Session) -> Vec<String> {
    if opened {
        return vec![
            "The page of the provider opens in your browser. If it does not, open this link:".to_owned(),
            format!("  {link}"),
        ];
    }
    let mut lines = vec!["Open this link in a browser:".to_owned(), format!("  {link}")];
    if let Session::Headless { ssh } = session {
        let host = ssh.as_deref().unwrap_or("USER@THIS-MACHINE");
        lines.push(format!(
            "The browser has to reach port {port} of this machine. If it runs elsewhere, first run there, and leave it open:"
        ));
        lines.push(format!("  ssh -L {port}:127.0.0.1:{port} {host}"));
        lines.push("An asset with grant DeviceCode needs none of this: a code is entered on any device.".to_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(variables: &[(&str, &str)]) -> Session {
        Session::of(true, |name| {
            variables
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn a_session_without_a_display_is_told_how_to_bring_the_browser_here() {
        let ssh = session(&[("SSH_CONNECTION", "192.0.2.7 50022 192.0.2.1 22"), ("USER", "jane")]);
        assert_eq!(
            ssh,
            Session::Headless {
                ssh: Some("jane@192.0.2.1".to_owned())
            }
        );
        let link = Url::parse("https://id.example/auth").unwrap();
        let words = words(&link, 4711, false, &ssh).join("\n");
        assert!(words.contains("ssh -L 4711:127.0.0.1:4711 jane@192.0.2.1"), "{words}");
        assert!(words.contains("https://id.example/auth"), "{words}");
    }

    #[test]
    fn a_display_is_used_also_through_ssh() {
        assert_eq!(session(&[("DISPLAY", ":0")]), Session::Desktop);
        assert_eq!(
            session(&[("SSH_TTY", "/dev/pts/1"), ("DISPLAY", "localhost:10.0")]),
            Session::Desktop
        );
        assert_eq!(session(&[]), Session::Headless { ssh: None });
    }

    #[test]
    fn a_system_without_displays_opens_its_browser_unless_somebody_came_by_ssh() {
        assert_eq!(Session::of(false, |_| None), Session::Desktop);
        let remote = Session::of(false, |name| (name == "SSH_TTY").then(|| "/dev/ttys001".to_owned()));
        assert_eq!(remote, Session::Headless { ssh: None });
    }
}
