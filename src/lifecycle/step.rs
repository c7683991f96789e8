//! The effects that a pass may have, as values.

use jiff::Timestamp;

use super::{
    report::Standing,
    world::{Binding, Generation, History, Source},
};

/// What to do now and what to show when nothing is left to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The one effect to carry out before deciding again.
    pub step: Step,
    /// How the asset stands; the status is made from it when the pass rests.
    pub standing: Standing,
    /// When to look again though nothing has changed; none: only a change can matter.
    pub wake: Option<Timestamp>,
}

/// One effect, carried out by the controller. A pass decides and acts until it may rest, on the objects that its own writes returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing is due.
    Rest,
    /// Read what the input Secrets hold: an edition was not seen before.
    ReadInputs,
    /// Ask the issuer for its metadata: the endpoints are not known.
    Discover,
    /// Ask the API server for the grant Secret itself: what the watch shows contradicts the status.
    ConfirmGrant,
    /// Put our name on the grant Secret and give it the ownerReference that the deletion policy asks for, or take that away.
    OwnGrant,
    /// Delete somebody else's Secret that was handed over to us: a Secret's type cannot be changed.
    ReplaceForeignGrant,
    /// Record that the open attempt ended without an answer: its process is gone. If [`super::gives_up`] says so before, the seed is settled as refused.
    SettleUnknown,
    /// Ask the provider for a code that a person enters on another device.
    BeginDevice(Binding),
    /// Ask the provider whether the code was entered.
    PollDevice(Binding),
    /// Forget a code that nobody can or may enter any more.
    DropDevice,
    /// Redeem a refresh token and store the answer.
    Redeem(Redeem),
    /// Write the newest access token where consumers see it.
    Publish(Origin),
    /// Remember which editions of the inputs were looked at, in the grant Secret if it is there, else in the token Secret.
    RecordInputs,
    /// Delete the token Secret of an earlier `spec.secret.name`.
    DropRenamed,
    /// Put our finalizer on the asset: before it goes, its grant is given back.
    Hold,
    /// Take our finalizer off an asset whose grant need not be given back any more.
    LetGo,
    /// Give the refresh token back to the provider, and let the asset go.
    Revoke(Source),
    /// Let the asset go though its refresh token was not given back, for this reason: a sentence with the next step. None: there was nothing to give back.
    Part(Option<String>),
}

/// Where the access token to publish stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// In the grant Secret.
    Grant,
    /// In the token Secret itself: only what surrounds the token changes.
    Token,
    /// In the token Secret of an earlier name.
    Renamed,
}

/// One redemption.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redeem {
    /// The generation whose refresh token is sent; the answer is stored as the next one.
    pub from: Generation,
    /// Which refresh token is sent.
    pub source: Source,
    /// What the grant will belong to.
    pub binding: Binding,
    /// What a refusal would mean.
    pub history: History,
    /// Whether an attempt is recorded first.
    pub fencing: Fencing,
}

/// Whether a redemption is recorded before it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fencing {
    /// The provider rotates or might: an attempt by compare-and-set comes first (invariant 2).
    Recorded,
    /// Nothing rotates: sending twice does no harm, and the grant Secret does not exist.
    Free,
}
