//! The rule of [`address`](crate::outbound::address) as reqwest asks for it: the addresses of a name, minus those that are off limits.

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::outbound::address::{self, PrivateAddresses};

/// The system's resolver, minus what [`PrivateAddresses`] refuses.
#[derive(Debug, Clone, Copy)]
pub(super) struct GuardedResolver(pub(super) PrivateAddresses);

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let private = self.0;
        // reqwest puts the right port in.
        Box::pin(async move {
            let addresses = address::resolve(name.as_str(), 0, private).await?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}
