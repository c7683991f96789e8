//! `kubectl emailasset verify`: the token of a real operator, and a mail server that knows a few words.

use std::sync::Arc;

use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};

use super::person::Person;
use crate::support::{Certificates, Rotation, Stage};

/// What the mail server thinks of tokens.
#[derive(Clone, Copy)]
enum Opinion {
    Good,
    Bad,
}

/// An IMAP server for one login. Returns what it was told.
async fn imap_server(listener: TcpListener, opinion: Opinion) -> Vec<String> {
    let certificates = Certificates::shared();
    let chain = CertificateDer::pem_file_iter(&certificates.certificate).unwrap();
    let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file(&certificates.key).unwrap();
    let config = ServerConfig::builder().with_no_client_auth();
    let acceptor = TlsAcceptor::from(Arc::new(config.with_single_cert(chain, key).unwrap()));
    let (stream, _) = listener.accept().await.unwrap();
    let mut stream = BufReader::new(acceptor.accept(stream).await.unwrap());
    let mut heard = Vec::new();
    let greeting = "* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2] ready\r\n";
    stream.write_all(greeting.as_bytes()).await.unwrap();
    let mut line = String::new();
    while stream.read_line(&mut line).await.is_ok_and(|read| read > 0) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let tag = words[0];
        let answer = match (words.get(1).copied(), opinion) {
            (Some("CAPABILITY"), _) => {
                format!("* CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2\r\n{tag} OK done\r\n")
            }
            (Some("AUTHENTICATE"), Opinion::Bad) => {
                format!("{tag} NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)\r\n")
            }
            (Some("EXAMINE"), _) => format!("* 0 EXISTS\r\n{tag} OK [READ-ONLY] done\r\n"),
            (Some("LOGOUT"), _) => format!("* BYE bye\r\n{tag} OK done\r\n"),
            _ => format!("{tag} OK done\r\n"),
        };
        heard.push(line.trim_end().to_owned());
        if stream.write_all(answer.as_bytes()).await.is_err() {
            break;
        }
        line.clear();
    }
    heard
}

#[tokio::test]
async fn a_person_sees_whether_the_mailbox_opens_and_no_token() {
    let stage = Stage::set("verify").await;
    let _operator = stage.operator().await;
    stage.server.set_rotation(Rotation::Strict).await;
    stage.seed("support").await;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let imap = json!({"imap": {"host": "localhost", "port": port}});
    stage.apply(&stage.manifest("support", "Strict", &imap)).await;
    let person = Person::who_signs_in(stage.cluster, &stage.namespace).await;
    stage.wait_until_ready("support").await;
    let token = person.run(&["token", "support"]).await.output.trim_end().to_owned();

    // The asset alone has named this server.
    let said = person.run(&["verify", "support"]).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.errors.contains("Nothing was sent"), "{said:?}");
    let named = ["verify", "support", "--allow-host", "localhost"];
    let said = person.run(&named).await;
    assert!(said.output.contains("Not known (AddressNotAllowed)"), "{said:?}");

    let authority = Certificates::shared().authority.to_str().unwrap();
    let trusted = ["--allow-private-addresses", "--ca-bundle", authority];
    let whole = [&named[..], &trusted[..]].concat();
    let (said, heard) = tokio::join!(person.run(&whole), imap_server(listener, Opinion::Good));
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.output.contains("The mailbox is open."), "{said:?}");
    assert!(said.output.contains("S: * OK [CAPABILITY"), "{said:?}");
    assert!(
        heard.iter().any(|line| line.contains("EXAMINE")),
        "it looked into the mailbox"
    );
    assert!(!said.output.contains(&token) && !said.errors.contains(&token));

    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let (said, _) = tokio::join!(person.run(&whole), imap_server(listener, Opinion::Bad));
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.output.contains("Invalid credentials (Failure)"), "{said:?}");
    assert!(said.output.contains("Refused (CredentialRefused)"), "{said:?}");
}
