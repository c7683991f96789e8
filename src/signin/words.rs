//! What the pages say: one notice for each way that a sign-in, or a request, can end.
//!
//! A person reads these who owns a mailbox and knows no Kubernetes. So first what happened and what it means, then what that person can do, and apart from it what only
//! somebody with access to the cluster can do.

use super::ended::{Ended, Outcome, Telling};
use crate::api::names::grant_secret;

/// A page without a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Notice {
    pub(super) tone: Tone,
    pub(super) title: String,
    /// What happened and what it means.
    pub(super) paragraphs: Vec<String>,
    /// For the person at the browser, in order.
    pub(super) steps: Vec<Step>,
    pub(super) action: Option<Action>,
    /// For whoever looks after the cluster.
    pub(super) operator: Vec<Step>,
    pub(super) about: Option<About>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Good,
    Neutral,
    Warn,
    Bad,
}

impl Tone {
    pub(super) const fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Neutral => "neutral",
            Self::Warn => "warn",
            Self::Bad => "bad",
        }
    }

    /// Colour alone tells nothing to those who do not see it.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Good => "Done",
            Self::Neutral => "For your information",
            Self::Warn => "Nothing was changed",
            Self::Bad => "Refused",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) text: String,
    /// To be copied as it is.
    pub(super) code: Option<String>,
}

/// A link to one of our own pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Action {
    pub(super) label: &'static str,
    pub(super) path: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct About {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) mailbox: String,
}

/// What a request got wrong, without any asset to speak of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Problem {
    /// No page of ours.
    NotFound,
    /// A page of an asset that is not there, or no longer under this address.
    BadLink,
    /// The page takes no such request.
    Method,
    /// A POST that another site began.
    CrossSite,
    /// The form was sent by something that does not say where it comes from.
    NoOrigin,
    TooLarge,
    TooSlow,
    Overloaded,
    /// The way back without a state of ours.
    BadState,
    Expired,
    OtherBrowser,
    /// The state is for another provider than the one that answered.
    OtherProvider,
    /// The asset was deleted, made anew, or points to another provider by now.
    Changed,
    /// The answer names another issuer, or none where it must.
    MixedUp,
    /// The answer is neither a code nor an error.
    Garbled,
    /// The last page of a sign-in, too late or in another browser.
    NoResult,
    /// We cannot.
    Broken,
}

impl Notice {
    fn new(tone: Tone, title: impl Into<String>) -> Self {
        Self {
            tone,
            title: title.into(),
            paragraphs: Vec::new(),
            steps: Vec::new(),
            action: None,
            operator: Vec::new(),
            about: None,
        }
    }

    fn says(mut self, paragraph: impl Into<String>) -> Self {
        self.paragraphs.push(paragraph.into());
        self
    }

    fn step(mut self, text: impl Into<String>) -> Self {
        self.steps.push(Step {
            text: text.into(),
            code: None,
        });
        self
    }

    fn operator(mut self, text: impl Into<String>, code: Option<String>) -> Self {
        self.operator.push(Step {
            text: text.into(),
            code,
        });
        self
    }

    /// With a link to a page of ours.
    pub(super) fn leading_to(mut self, label: &'static str, path: String) -> Self {
        self.action = Some(Action { label, path });
        self
    }

    /// Of a request that went wrong.
    pub(super) fn of_problem(problem: Problem) -> Self {
        const AGAIN: &str = "Open the sign-in link again and press the button.";
        match problem {
            Problem::NotFound => Self::new(Tone::Neutral, "There is no such page")
                .says("The address leads nowhere here.")
                .step("If you copied a sign-in link, make sure that you copied all of it."),
            Problem::BadLink => Self::new(Tone::Neutral, "This sign-in link is not valid")
                .says("Either a part of the link is missing, or it has been replaced by a newer one, or what it was for no longer exists or needs no sign-in.")
                .step("If you copied the link, make sure that you copied all of it.")
                .step("Otherwise ask whoever sent it for the current one.")
                .operator(
                    "The current link stands in the status of the asset:",
                    Some("kubectl get emailasset NAME --namespace NAMESPACE --output jsonpath='{.status.signIn.url}'".to_owned()),
                ),
            Problem::Method => Self::new(Tone::Bad, "This page cannot be used that way")
                .says("The request was of a kind that this page does not take. Nothing was changed."),
            Problem::CrossSite => Self::new(Tone::Bad, "Another site sent you here")
                .says("The button of this page was pressed by another web site and not by you, so nothing was started.")
                .step("If you want to sign in, open the sign-in link that you were given, read the page, and press the button there."),
            Problem::NoOrigin => Self::new(Tone::Bad, "Your browser does not say where the request comes from")
                .says("To protect you, this page takes its own button only. Your browser or an extension hides which page a request comes from, so nothing was started.")
                .step("Use a current version of Firefox, Chrome, Edge or Safari, without extensions that hide this."),
            Problem::TooLarge => Self::new(Tone::Bad, "The request is too large")
                .says("More was sent than a sign-in needs. Nothing was changed.")
                .step("If you see this after a sign-in, delete the cookies of this site and try again."),
            Problem::TooSlow => Self::new(Tone::Bad, "The request took too long")
                .says("It did not arrive as a whole in time. Nothing was changed.")
                .step(AGAIN),
            Problem::Overloaded => Self::new(Tone::Warn, "Too many requests at the moment")
                .says("More requests arrive here than can be answered. This is not your fault.")
                .step("Wait for a few seconds, then load the page again."),
            Problem::BadState => Self::new(Tone::Warn, "This answer belongs to no sign-in")
                .says("The address that you came back to is incomplete or was changed on its way.")
                .step(AGAIN),
            Problem::Expired => Self::new(Tone::Warn, "The sign-in took too long")
                .says("You have ten minutes between pressing the button here and agreeing at the provider. They are over.")
                .step(AGAIN),
            Problem::OtherBrowser => Self::new(Tone::Warn, "This sign-in began in another browser")
                .says("A sign-in must end in the browser in which it began, with cookies allowed. That keeps others from finishing it with an account of theirs, or with yours.")
                .step("Open the sign-in link in the browser in which you want to sign in, and stay in that browser until the end. Private windows count as another browser.")
                .step("If this is the same browser, allow cookies for this site.")
                .step("If you were not signing in at all, close this page."),
            Problem::OtherProvider => Self::new(Tone::Bad, "The answer came from another provider")
                .says("You were sent to one provider, and the answer arrived at the address of another one. It was thrown away and not used.")
                .step(AGAIN)
                .operator("If it happens again, compare the callback URL that is registered at the provider with status.signIn.callbackURL of the asset.", None),
            Problem::Changed => Self::new(Tone::Warn, "Something has changed in the meantime")
                .says("What you were signing in for has been deleted, made anew, or moved to another provider since you began.")
                .step(AGAIN)
                .step("If the link is not valid any more, ask whoever sent it for a new one."),
            Problem::MixedUp => Self::new(Tone::Bad, "The answer does not name the right provider")
                .says("An answer must name the provider that you were sent to. This one names another, or none, so it was thrown away and not used.")
                .step(AGAIN)
                .operator("If it happens again, compare spec.oauth2.issuer with the issuer that the provider's discovery document names; they must be equal to the letter (RFC 9207).", None),
            Problem::Garbled => Self::new(Tone::Warn, "The provider sent an answer that makes no sense")
                .says("There is neither a code nor an error in it, or more than one.")
                .step(AGAIN),
            Problem::NoResult => Self::new(Tone::Neutral, "This page can be shown no longer")
                .says("How a sign-in ended is shown for an hour, and only in the browser in which it took place.")
                .step("Open the sign-in link again: its page says whether somebody is signed in."),
            Problem::Broken => Self::new(Tone::Bad, "Something went wrong here")
                .says("The page could not be made. Nothing was changed.")
                .step("Try again in a minute."),
        }
    }

    /// Of a sign-in that ended.
    pub(super) fn of_outcome(outcome: &Outcome) -> Self {
        let mut notice = Self::of_ending(outcome);
        if outcome.telling == Telling::Again {
            notice.paragraphs.insert(
                0,
                "You came back with an answer that was used already, so nothing was sent again. This is how it ended:"
                    .to_owned(),
            );
        }
        notice.about = Some(About {
            namespace: outcome.namespace.clone(),
            name: outcome.name.clone(),
            mailbox: outcome.mailbox.clone(),
        });
        notice
    }

    fn of_ending(outcome: &Outcome) -> Self {
        let Outcome {
            namespace,
            name,
            mailbox,
            provider,
            ..
        } = outcome;
        let patch = |path: &str| {
            format!("kubectl patch emailasset {name} --namespace {namespace} --type merge --patch '{path}'")
        };
        match &outcome.ended {
            Ended::SignedIn { account } => {
                let notice = Self::new(Tone::Good, "You are signed in");
                let notice = if account == mailbox {
                    notice.says(format!("{namespace} can use the mailbox {mailbox} in a few seconds."))
                } else {
                    notice.says(format!("You signed in as {account}. {namespace} can use the mailbox {mailbox} in a few seconds."))
                };
                notice
                    .says("You can close this page. The access is renewed by itself; you will be asked again only if it is withdrawn or runs out.")
                    .says(format!("To withdraw it, remove the app in the settings of your account at {provider}."))
            }
            Ended::WrongAccount { signed_in, wanted } => Self::new(Tone::Warn, "That was another account")
                .says(format!("You signed in as {signed_in}, but {wanted} has to sign in here."))
                .says("Often the browser is still signed in with another account, and the provider takes that one without asking.")
                .step(format!("Open the sign-in link in a private window (or in another browser profile) and sign in as {wanted}."))
                .step(format!("If you do not have the password of {wanted}, pass the link on to whoever has."))
                .operator(
                    format!("If {signed_in} is meant to open {mailbox} (a shared mailbox, or a user name that differs from the address), say so and sign in again:"),
                    Some(patch(&format!(r#"{{"spec":{{"oauth2":{{"loginEmail":"{}"}}}}}}"#, as_json(signed_in)))),
                ),
            Ended::OtherSubject { signed_in } => Self::new(Tone::Warn, "That is not the person who signed in before")
                .says(format!("You signed in as {signed_in}. An account of that name signed in before, but {provider} says that it was another one: the address may have been given to somebody else since."))
                .step("If that surprises you, tell whoever looks after your mail accounts.")
                .operator(
                    "If the new owner of the address is right, delete the stored sign-in and let them sign in again:",
                    Some(format!("kubectl delete secret {} --namespace {namespace}", grant_secret(name))),
                ),
            Ended::IdentityUnproven { why } => Self::new(Tone::Warn, "Nothing proves who signed in")
                .says(format!("{provider} did not say, in a way that can be trusted, that it was {mailbox} who signed in. So the access was not taken."))
                .says(why)
                .step("Pass this on to whoever sent you the link.")
                .operator("The way to a proof depends on the provider; the asset's status says what is missing.", Some(format!("kubectl describe emailasset {name} --namespace {namespace}"))),
            Ended::ScopeNotGranted { missing } => Self::new(Tone::Warn, "Not everything was allowed")
                .says(format!("{provider} gave less than what is needed. Missing: {}", missing.join(", ")))
                .step(format!("Sign in again and tick every box that {provider} shows."))
                .operator("If there were no boxes, the app at the provider must be allowed these scopes first.", None),
            Ended::NoRefreshToken => Self::new(Tone::Warn, "The access would have ended within the hour")
                .says(format!("{provider} let you in, but only for a short time: it gave no refresh token. That is of no use here, so nothing was stored."))
                .step(format!("Remove the app in the settings of your account at {provider} (connected apps), then sign in again."))
                .operator("At an OpenID server, the client needs the scope offline_access and the grant type refresh_token.", None),
            Ended::ConsentDenied => Self::new(Tone::Warn, "You did not agree")
                .says(format!("You, or {provider} on your behalf, declined. {namespace} got nothing by it. If it had access to {mailbox} before, that goes on."))
                .says("If that is what you wanted, you can close this page."),
            Ended::AdminConsentRequired => Self::new(Tone::Warn, "An administrator has to agree first")
                .says(format!("At {provider}, your organisation lets only its administrators allow this app."))
                .step("Ask an administrator of your organisation to allow the app for everybody.")
                .step("Then open the sign-in link again.")
                .operator("In Microsoft Entra: Enterprise applications, the app, Permissions, Grant admin consent. In Google Workspace: Admin console, Security, API controls, mark the client ID as trusted.", None),
            Ended::Superseded => Self::new(Tone::Neutral, "Somebody has signed in already")
                .says(format!("Since you began, a sign-in for {mailbox} has been completed: by somebody else, or by you in another tab. That one stays, and this one changed nothing."))
                .says("You do not have to do anything."),
            Ended::CodeRefused => Self::new(Tone::Warn, "The sign-in took too long or was opened twice")
                .says(format!("{provider} gives each sign-in a code that is good for a few minutes and for one use. It did not take this one any more, so nothing was stored."))
                .step("Start again from the sign-in page, and go on to the end without a long break.")
                .operator("If it happens every time, compare the callback URL that is registered at the provider with status.signIn.callbackURL. What the provider said is in the status of the asset:", Some(format!("kubectl describe emailasset {name} --namespace {namespace}"))),
            Ended::Failed { message } => Self::new(Tone::Warn, "The sign-in did not work")
                .says(message)
                .operator("More is in the status of the asset:", Some(format!("kubectl describe emailasset {name} --namespace {namespace}"))),
            Ended::NotPossible { message } => Self::new(Tone::Warn, "Signing in is not possible at the moment")
                .says(message)
                .step("Pass this on to whoever looks after the cluster, and open the link again afterwards."),
            Ended::ProviderError { code } => Self::new(Tone::Warn, format!("{provider} ended the sign-in with an error"))
                .says(code.as_ref().map_or_else(
                    || "It gave no error code that could be shown here.".to_owned(),
                    |code| format!("Its error code is {code}. What it means stands in the provider's documentation."),
                ))
                .step("Sign in again. If the error comes back, pass its code on to whoever set up the app."),
            Ended::Waiting => Self {
                tone: Tone::Neutral,
                ..Self::new(Tone::Neutral, "This takes longer than usual")
            }
            .says(format!("{provider} has not answered yet. The sign-in goes on without you; you can close this page."))
            .step("Look again in a minute: the page of the sign-in link says when somebody is signed in."),
        }
    }
}

/// Inside the quotes of a JSON string, inside the quotes of a shell.
fn as_json(text: &str) -> String {
    let plain = |character: &char| character.is_alphanumeric() || "@.-_+".contains(*character);
    text.chars().filter(plain).collect()
}
