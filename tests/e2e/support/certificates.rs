//! The authority of a test run, and certificates for servers on loopback.

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PublicKeyData,
};
use sha2::{Digest, Sha256};

use super::run::run_directory;

/// PEM files of an authority and of one server certificate for `localhost`, 127.0.0.1 and `::1`.
#[derive(Debug)]
pub(crate) struct Certificates {
    /// The authority's certificate: what a client has to trust.
    pub(crate) authority: PathBuf,
    /// The server's certificate.
    pub(crate) certificate: PathBuf,
    /// The server's key.
    pub(crate) key: PathBuf,
    /// The content of `authority`.
    pub(crate) authority_pem: String,
    /// SHA-256 of the server's public key, in base64: what a browser is told to accept.
    pub(crate) key_fingerprint: String,
}

impl Certificates {
    /// Those of this run, made at the first call.
    pub(crate) fn shared() -> &'static Self {
        static CERTIFICATES: OnceLock<Certificates> = OnceLock::new();
        CERTIFICATES.get_or_init(|| Self::make("certificates"))
    }

    /// A fresh authority that nobody trusts yet, in a folder of its own below the run's.
    pub(crate) fn make(folder: &str) -> Self {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority
            .distinguished_name
            .push(DnType::CommonName, "authority of a test run");
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let authority_key = KeyPair::generate().expect("ring makes a key");
        let authority_pem = authority
            .self_signed(&authority_key)
            .expect("an authority signs itself")
            .pem();
        let issuer = Issuer::new(authority, authority_key);

        let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let mut server = CertificateParams::new(names).expect("these are names");
        server
            .distinguished_name
            .push(DnType::CommonName, "server of a test run");
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let server_key = KeyPair::generate().expect("ring makes a key");
        let server_pem = server
            .signed_by(&server_key, &issuer)
            .expect("the authority signs")
            .pem();

        let directory = run_directory().join(folder);
        fs::create_dir_all(&directory).expect("a folder can be made in the run's folder");
        let write = |name: &str, content: &str| {
            let path = directory.join(name);
            fs::write(&path, content).expect("a file can be written in the run's folder");
            path
        };
        Self {
            authority: write("ca.crt", &authority_pem),
            certificate: write("server.crt", &server_pem),
            key: write("server.key", &server_key.serialize_pem()),
            authority_pem,
            key_fingerprint: STANDARD.encode(Sha256::digest(server_key.subject_public_key_info())),
        }
    }
}
