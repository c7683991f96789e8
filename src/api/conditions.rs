//! The closed sets of condition types and reasons. People write alerts and scripts against them, so a name is never reused for another meaning.

use std::fmt;

/// Defines an enum whose variants are written to the cluster under their own names.
macro_rules! named {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl $name {
            /// Every value there is.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name as it stands in status, metrics and events.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant)),+ }
            }

            /// The value of this name; `None` for a name that this version does not know.
            #[must_use]
            pub fn parse(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.as_str() == name)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(self.as_str())
            }
        }
    };
}

named! {
    /// What a condition is about.
    ConditionType {
        /// The published token is valid and was obtained under the current binding and policy.
        Ready,
        /// There is a grant that the provider has not refused.
        Authorized,
        /// The last refresh worked.
        Refreshed,
        /// A person or an admin must act, and Ready is False. Absent otherwise.
        Stalled,
        /// The first token is on its way. Absent otherwise.
        Reconciling,
    }
}

named! {
    /// Why a condition has its status.
    Reason {
        /// Ready is True: the published token is valid.
        Fresh,
        /// Ready of an EmailProvider is True: assets can use it.
        Usable,
        /// Authorized is True: the provider has taken the grant.
        Stored,
        /// Authorized is True: the grant works, and will end at a moment that is known. Somebody should act before.
        GrantEnding,
        /// Refreshed is True: the last refresh worked.
        Refreshed,

        /// Nothing was tried yet.
        Pending,
        /// The last try failed in a way that may pass; the next one is planned.
        Retrying,
        /// The provider asks for fewer requests.
        Throttled,
        /// A request was sent and its answer was lost: the provider may have rotated the refresh token.
        OutcomeUnknown,
        /// A person who owns the mailbox must sign in at the provider.
        SignInRequired,
        /// Somebody signed in with another account than the one that the asset is for. Nothing was changed.
        WrongAccount,
        /// Somebody signed in, and nothing proves with which account. Nothing was changed.
        IdentityUnproven,
        /// The person, or an admin of the provider, said no.
        ConsentDenied,
        /// The organisation lets only an admin consent.
        AdminConsentRequired,
        /// The provider gave an access token but no refresh token.
        NoRefreshToken,
        /// What the provider answered to the sign-in could not be redeemed.
        SignInFailed,
        /// No usable refresh token: a new one must be put into the seed Secret.
        SeedRequired,
        /// The new refresh token in the seed Secret was refused; the one in use stays.
        SeedRejected,
        /// The provider says that the grant was revoked.
        GrantRevoked,
        /// The provider says that the grant has expired.
        GrantExpired,
        /// The newest refresh token was lost with an answer, and the one before it is refused.
        GrantLost,
        /// The grant does not cover what was asked for.
        ScopeNotGranted,
        /// The Secret with the OAuth client is missing or incomplete.
        ClientMissing,
        /// The provider refuses the OAuth client.
        ClientRejected,
        /// The provider's or the organisation's policy forbids it.
        PolicyBlocked,
        /// The provider says that the account is disabled, unknown, or not in this directory.
        AccountUnusable,
        /// The token endpoint cannot be used as configured: wrong address, certificate or URL.
        EndpointUnusable,
        /// The provider says that our request is wrong.
        RequestRejected,
        /// The published token has expired.
        TokenExpired,
        /// The spec cannot be carried out as written.
        InvalidSpec,
        /// No rule of the EmailProvider covers this asset.
        ProviderNotAllowed,
        /// The EmailProvider is missing, or cannot be used as it is written.
        ProviderNotReady,
        /// A credential would go to a host that its Secret does not name.
        HostNotAllowed,
        /// A Secret of the wanted name belongs to somebody else, or another asset owns the seed.
        SecretConflict,
        /// `spec.suspend` is true.
        Suspended,
    }
}

/// Who can do something about a failure: `status.failure.class`. An error that nobody knows is never [`FailureClass::Reauthorize`]: it would wake people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureClass {
    /// Nobody: trouble that passes. It is tried again under backoff, for ever.
    Retry,
    /// Nobody: a rate limit. It is tried again after what the provider asked for.
    Throttled,
    /// The person of the mailbox: a new grant is needed, and trying again is useless.
    Reauthorize,
    /// An admin of the client, the tenant or this cluster. It is tried again slowly.
    AdminConfig,
    /// We do: the request was wrong. It is tried again slowly.
    Bug,
}

impl FailureClass {
    /// The name in status, logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "RETRY",
            Self::Throttled => "THROTTLED",
            Self::Reauthorize => "REAUTH",
            Self::AdminConfig => "ADMIN_CONFIG",
            Self::Bug => "BUG",
        }
    }
}

impl fmt::Display for FailureClass {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_leads_back_to_its_value() {
        for reason in Reason::ALL {
            assert_eq!(Reason::parse(reason.as_str()), Some(*reason));
        }
        for kind in ConditionType::ALL {
            assert_eq!(ConditionType::parse(kind.as_str()), Some(*kind));
        }
        assert_eq!(Reason::parse("NoSuchReason"), None);
    }
}
