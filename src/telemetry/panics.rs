//! Panics are logged by where they happened, not by what they say.
//!
//! A panic message may hold any value: `unwrap` on an error prints the error, and an error of a parser prints what it could not parse. Only a message that is a
//! literal in the source is repeated.

use std::{
    any::Any,
    panic::{self, PanicHookInfo},
};

use tracing::error;

/// Replaces the standard hook, which prints the message to standard error.
pub fn log_without_values() {
    panic::set_hook(Box::new(report));
}

fn report(panic: &PanicHookInfo<'_>) {
    let location = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current();
    error!(
        location,
        thread = thread.name().unwrap_or_default(),
        message_if_literal = literal(panic.payload()),
        "a bug: the code panicked"
    );
}

/// The message, where it was there at compile time. A message with values in it is a `String`.
fn literal(payload: &(dyn Any + Send)) -> &'static str {
    payload
        .downcast_ref::<&'static str>()
        .copied()
        .unwrap_or("(left out: it may hold values)")
}

#[cfg(test)]
mod tests {
    use std::{env, process::Command};

    use super::*;
    use crate::telemetry::logs::{self, Format};

    /// Runs in a process of its own, since there is one hook per process.
    #[test]
    #[ignore = "panics on purpose; run by the tests below"]
    fn panicking_child() {
        logs::init(Format::Text, "trace").expect("logs");
        log_without_values();
        let secret = env::var("SECRET").unwrap_or_default();
        let _ = std::thread::spawn(|| panic!("only words")).join();
        let _ = std::thread::spawn(move || panic!("could not parse {secret}")).join();
        let _ =
            std::thread::spawn(|| env::var("SECRET").map(|secret| secret.parse::<url::Url>().expect(&secret))).join();
    }

    #[test]
    fn a_panic_is_logged_with_its_place_and_without_its_values() {
        let mut child = Command::new(env::current_exe().expect("this test"));
        child.args([
            "--exact",
            "telemetry::panics::tests::panicking_child",
            "--ignored",
            "--nocapture",
        ]);
        let output = child.env("SECRET", "hunter2-hunter2").output().expect("runs");
        let text = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}");
        assert_eq!(text.matches("a bug: the code panicked").count(), 3, "{text}");
        assert_eq!(text.matches("panics.rs:").count(), 3, "{text}");
        assert!(text.contains("only words"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
}
