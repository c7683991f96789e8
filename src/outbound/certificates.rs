//! Certificate authorities that a user or an admin adds to those of the platform.

use std::fmt;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sha2::{Digest, Sha256};

/// A bundle beyond this many bytes is no CA bundle. The whole Mozilla list has about 230 kB.
const LIMIT: usize = 1024 * 1024;

/// One or more CA certificates, read and found usable. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct CaBundle {
    certificates: Arc<[CertificateDer<'static>]>,
    fingerprint: [u8; 32],
}

/// Why a CA bundle cannot be used. The messages follow the name of the place it came from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CaBundleError {
    /// It has more than 1 MiB.
    #[error("holds {found} bytes; a CA bundle has at most {LIMIT}")]
    TooLarge {
        /// Its size in bytes.
        found: usize,
    },
    /// It is not PEM.
    #[error("is not PEM: expected blocks between -----BEGIN CERTIFICATE----- and -----END CERTIFICATE-----")]
    NotPem,
    /// There is no certificate in it.
    #[error("holds no certificate: expected at least one -----BEGIN CERTIFICATE----- block")]
    Empty,
    /// One certificate cannot serve as a trust anchor.
    #[error("certificate number {number} in it cannot be read as an X.509 certificate")]
    Unusable {
        /// Which, counted from 1.
        number: usize,
    },
}

impl CaBundle {
    /// Reads certificates in PEM form; text around the blocks is ignored.
    ///
    /// # Errors
    /// See [`CaBundleError`].
    pub fn from_pem(pem: &[u8]) -> Result<Self, CaBundleError> {
        if pem.len() > LIMIT {
            return Err(CaBundleError::TooLarge { found: pem.len() });
        }
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<_, _>>()
            .map_err(|_| CaBundleError::NotPem)?;
        if certificates.is_empty() {
            return Err(CaBundleError::Empty);
        }
        let (mut store, mut hash) = (RootCertStore::empty(), Sha256::new());
        for (index, certificate) in certificates.iter().enumerate() {
            store
                .add(certificate.clone())
                .map_err(|_| CaBundleError::Unusable { number: index + 1 })?;
            hash.update(certificate);
        }
        Ok(Self {
            certificates: certificates.into(),
            fingerprint: hash.finalize().into(),
        })
    }

    /// SHA-256 over the certificates: equal for equal bundles, whatever text is around them.
    pub(crate) const fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    pub(crate) fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }
}

impl fmt::Debug for CaBundle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("CaBundle")
            .field("certificates", &self.certificates.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pem() -> String {
        rcgen::generate_simple_self_signed(["ca.test".to_owned()])
            .unwrap()
            .cert
            .pem()
    }

    #[test]
    fn equal_certificates_have_equal_fingerprints_whatever_text_is_around_them() {
        let pem = pem();
        let bundle = CaBundle::from_pem(pem.as_bytes()).unwrap();
        let commented = CaBundle::from_pem(format!("# our CA\n{pem}\n\n").as_bytes()).unwrap();
        assert_eq!(bundle.fingerprint(), commented.fingerprint());
        assert_ne!(bundle, CaBundle::from_pem(self::pem().as_bytes()).unwrap());
    }

    #[test]
    fn what_is_no_bundle_is_refused_with_a_reason() {
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert_eq!(CaBundle::from_pem(b""), Err(CaBundleError::Empty));
        assert_eq!(CaBundle::from_pem(b"hello"), Err(CaBundleError::Empty));
        assert_eq!(
            CaBundle::from_pem(b"-----BEGIN CERTIFICATE-----\nAA"),
            Err(CaBundleError::NotPem)
        );
        assert_eq!(
            CaBundle::from_pem(broken.as_bytes()),
            Err(CaBundleError::Unusable { number: 1 })
        );
        assert_eq!(
            CaBundle::from_pem(&vec![b' '; LIMIT + 1]),
            Err(CaBundleError::TooLarge { found: LIMIT + 1 })
        );
    }
}
