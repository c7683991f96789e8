//! Logs, on standard error, as text for people or JSON for collectors.
//!
//! `--log-level` has the syntax of `tracing_subscriber`'s `EnvFilter`: `info`, `debug`, `info,emailasset=trace`. Whatever it says, other crates log at `info` and
//! above at most, and some less (see `ceiling`): what they print below that is made for their developers, and holds what we must not show.
//!
//! Crates that use `log` instead of `tracing` (rustls, reqwest) are not heard at all, since no bridge is installed. reqwest's wire log would print whole requests.

use std::io;

use tracing::{Subscriber, level_filters::LevelFilter, subscriber::SetGlobalDefaultError};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{FilterExt, ParseError, Targets},
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
};

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Why there can be no logs.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// The filter is not understood.
    #[error(
        "--log-level {given:?} is not understood. Give a level (error, warn, info, debug, trace), or levels by module: info,emailasset::leader=debug"
    )]
    Filter {
        /// What was given.
        given: String,
        /// What is wrong with it.
        #[source]
        source: ParseError,
    },
    /// Logs were set up before.
    #[error("logs are already set up in this process")]
    Twice(#[source] SetGlobalDefaultError),
}

/// Sends all events of this process to standard error.
///
/// # Errors
/// [`LogsError`], where the filter is not understood or this was called before.
pub fn init(format: Format, level: &str) -> Result<(), LogsError> {
    tracing::subscriber::set_global_default(subscriber(format, level, io::stderr)?).map_err(LogsError::Twice)
}

fn subscriber<W>(format: Format, level: &str, writer: W) -> Result<impl Subscriber + Send + Sync, LogsError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let wanted = EnvFilter::builder().parse(level).map_err(|source| LogsError::Filter {
        given: level.to_owned(),
        source,
    })?;
    let lines = fmt::layer().with_writer(writer).with_ansi(false);
    let lines = match format {
        Format::Text => lines.boxed(),
        Format::Json => lines.json().flatten_event(true).with_current_span(false).boxed(),
    };
    Ok(Registry::default().with(lines.with_filter(wanted.and(ceiling()))))
}

/// The most that is ever logged, by target. Read in the sources of kube 5.0, kube-runtime 5.0, h2 0.4.20, hyper-util 0.1.21, reqwest 0.13.5, rustls 0.23.46.
fn ceiling() -> Targets {
    Targets::new()
        // Below `info`: kube_runtime::watcher prints errors of the parser, which quote what they could not parse (`debug`); rustls prints handshakes, reqwest the
        // wire (`trace`, if they were heard). h2 leaves header fields and data out of its frames today. A crate that is added later is capped without a thought.
        .with_default(LevelFilter::INFO)
        // Ours: the library `emailasset` and the binary `emailasset_operator`. Values that must not be shown are of types that do not print.
        .with_target("emailasset", LevelFilter::TRACE)
        // Repeats on each retry of a watch what our lines say once for each outage.
        .with_target("kube_runtime::watcher", LevelFilter::ERROR)
        // Puts a span around each pass that repeats what our lines say in their fields.
        .with_target("kube_runtime::controller", LevelFilter::WARN)
        // Prints the whole body of an answer that it cannot parse at `warn` (a Secret, for example), and of a refusal at `debug`. Its `error`s, one per 5xx, come
        // back to the caller as an error and are logged there.
        .with_target("kube_client::client", LevelFilter::OFF)
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::{Arc, Mutex},
    };

    use http::{Request, Response};
    use k8s_openapi::api::core::v1::Secret;
    use kube::{Api, Client, client::Body};
    use tracing::{debug, info, trace};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Lines {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    fn logged(format: Format, level: &str, act: impl FnOnce()) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = subscriber(format, level, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, act);
        lines.text()
    }

    fn everything() {
        trace!("our trace");
        debug!("our debug");
        info!(target: "kube_runtime::reflector", "their info");
        debug!(target: "kube_runtime::watcher", "their debug");
        trace!(target: "h2::codec", "their trace");
        debug!(target: "a_crate_added_later", "their debug");
        tracing::warn!(target: "kube_client::client", "their warn");
        tracing::error!(target: "kube_client::client::builder", "their error");
        tracing::warn!(target: "kube_client::config", "their good warn");
    }

    #[test]
    fn at_trace_our_own_events_are_shown_and_of_others_only_what_is_safe() {
        for level in [
            "trace",
            "kube_client=trace,h2=trace,a_crate_added_later=trace,emailasset=trace,kube_runtime=trace",
        ] {
            let text = logged(Format::Text, level, everything);
            for shown in ["our trace", "our debug", "their info", "their good warn"] {
                assert!(text.contains(shown), "{shown:?} is missing in {text}");
            }
            for hidden in ["their debug", "their trace", "their warn", "their error"] {
                assert!(!text.contains(hidden), "{hidden:?} is in {text}");
            }
        }
    }

    #[test]
    fn a_level_can_be_set_by_module() {
        let text = logged(Format::Text, "warn,emailasset::telemetry=debug", everything);
        assert!(
            text.contains("our debug") && !text.contains("our trace") && !text.contains("their info"),
            "{text}"
        );
    }

    #[test]
    fn json_has_one_object_per_line() {
        let text = logged(Format::Json, "info", || {
            info!(asset = "helpdesk/support", "token refreshed");
        });
        let line: serde_json::Value = serde_json::from_str(text.trim_end()).expect("is JSON");
        assert_eq!(
            (&line["message"], &line["asset"]),
            (&"token refreshed".into(), &"helpdesk/support".into())
        );
        assert_eq!(text.lines().count(), 1);
    }

    #[test]
    fn a_filter_that_is_not_understood_is_answered_with_an_example() {
        let error = subscriber(Format::Text, "emailasset=loud", io::sink)
            .err()
            .expect("is refused")
            .to_string();
        assert!(error.contains("emailasset=loud") && error.contains("info,"), "{error}");
    }

    /// The real crate, not a stand-in: an update of kube that logs elsewhere is found here.
    #[test]
    fn an_answer_that_kube_cannot_parse_is_not_logged() {
        const ANSWERS: [(u16, &str); 4] = [
            (200, r#"{"data":{"token":{"hunter2":1}}}"#),
            (200, "hunter2"),
            (422, "hunter2"),
            (500, "hunter2"),
        ];
        let text = logged(Format::Text, "trace,kube_client=trace", || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            for (code, body) in ANSWERS {
                let service = tower::service_fn(move |_: Request<Body>| async move {
                    Ok::<_, Infallible>(
                        Response::builder()
                            .status(code)
                            .body(Body::from(body.as_bytes().to_vec()))
                            .unwrap(),
                    )
                });
                runtime.block_on(async {
                    let secrets: Api<Secret> = Api::default_namespaced(Client::new(service, "ns"));
                    secrets.get("support-grant").await.expect_err("cannot be parsed");
                });
            }
            info!("the end");
        });
        assert!(text.contains("the end") && !text.contains("hunter2"), "{text}");
    }
}
