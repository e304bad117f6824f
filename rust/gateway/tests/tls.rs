//! The same frames under TLS: a real rustls client against the second listener.

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use autarco_gateway::tls::TlsIdentity;
use autarco_gateway::{Gateway, Settings};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use common::*;

struct Authority {
    certificate: rcgen::CertifiedKey<rcgen::KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let names = vec!["sticks.example".to_owned()];
        Self {
            certificate: rcgen::generate_simple_self_signed(names).unwrap(),
        }
    }

    fn identity(&self, directory: &Path) -> TlsIdentity {
        let (certificate, key) = (directory.join("cert.pem"), directory.join("key.pem"));
        std::fs::write(&certificate, self.certificate.cert.pem()).unwrap();
        std::fs::write(&key, self.certificate.signing_key.serialize_pem()).unwrap();
        TlsIdentity::load(&certificate, &key).unwrap()
    }

    fn connect(&self, gateway: &Gateway) -> StreamOwned<ClientConnection, TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.cert.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("sticks.example").unwrap();
        let client = ClientConnection::new(Arc::new(config), name).unwrap();
        let socket = TcpStream::connect(gateway.tls_address().unwrap()).unwrap();
        socket.set_nonblocking(true).unwrap();
        StreamOwned::new(client, socket)
    }
}

fn open_tls(directory: &Path, identity: TlsIdentity) -> Gateway {
    let mut settings = Settings {
        listen_tls: Some(("127.0.0.1:0".parse().unwrap(), identity)),
        ..settings(&directory.join("journal"))
    };
    settings.limits.connections_max = 5;
    open_with(&settings)
}

/// Reads what has come; the handshake goes on by the way.
fn poll(client: &mut StreamOwned<ClientConnection, TcpStream>, answers: &mut Vec<u8>) {
    let mut buffer = [0; 4096];
    if let Ok(count) = client.read(&mut buffer) {
        answers.extend_from_slice(&buffer[..count]);
    }
}

#[test]
fn frames_are_stored_and_answered_as_without_tls() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let gateway = open_tls(directory.path(), authority.identity(directory.path()));
    let mut stick = authority.connect(&gateway);
    let mut answers = Vec::new();
    let mut sent = 0;
    turn_until(&gateway, NOON_US, || {
        poll(&mut stick, &mut answers);
        if !stick.conn.is_handshaking() && sent < 40 {
            stick.write_all(&data_frame(sent)).unwrap();
            sent += 1;
        }
        gateway.counters().staged == 40
    });
    gateway.commit(at(NOON_US)).unwrap();
    turn_until(&gateway, NOON_US, || {
        poll(&mut stick, &mut answers);
        answers.len() == 40 * ACK_BYTES
    });
    assert_eq!(readings(&gateway), 40);
    stick.conn.send_close_notify();
    stick.flush().unwrap();
    turn_until(&gateway, NOON_US, || gateway.counters().connections == 0);
}

#[test]
fn garbage_on_the_tls_port_and_frames_in_plain_are_turned_away() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let gateway = open_tls(directory.path(), authority.identity(directory.path()));
    let mut plain = TcpStream::connect(gateway.tls_address().unwrap()).unwrap();
    plain.write_all(&data_frame(1)).unwrap();
    turn_until(&gateway, NOON_US, || gateway.counters().accepted == 1);
    turn_until(&gateway, NOON_US, || gateway.counters().connections == 0);
    assert_eq!(gateway.counters().frames, 0);
    // One that never finishes its handshake is a peer without a frame.
    let _silent = TcpStream::connect(gateway.tls_address().unwrap()).unwrap();
    turn_until(&gateway, NOON_US, || gateway.counters().accepted == 2);
    gateway.sweep(at(NOON_US + 61 * SECOND_US));
    assert_eq!(gateway.counters().closed_no_frame, 1);
}

#[test]
fn a_new_certificate_is_shown_to_new_connections() {
    let directory = tempfile::tempdir().unwrap();
    let (old, new) = (Authority::new(), Authority::new());
    let gateway = open_tls(directory.path(), old.identity(directory.path()));
    gateway.set_tls(new.identity(directory.path()));
    let mut stick = new.connect(&gateway);
    turn_until(&gateway, NOON_US, || {
        poll(&mut stick, &mut Vec::new());
        !stick.conn.is_handshaking()
    });
}

#[test]
fn files_that_are_no_certificate_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let text = directory.path().join("text.pem");
    std::fs::write(&text, "nothing").unwrap();
    let error = TlsIdentity::load(&text, &text).unwrap_err().to_string();
    assert!(error.contains("text.pem"), "{error}");
    let missing = TlsIdentity::load(&directory.path().join("missing.pem"), &text).unwrap_err();
    assert!(missing.to_string().contains("missing.pem"), "{missing}");
}
