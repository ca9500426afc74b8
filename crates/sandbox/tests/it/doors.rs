//! Doors of every kind, from inside.

use crate::support::{print_of, privileged, spec, started};
use ringfence_core::isolation::Door;
use std::net::{TcpListener, UdpSocket};
use std::time::Duration;

fn connecting_to(addresses: &[&str]) -> String {
    format!(
        "import socket, errno\nfor a in {addresses:?}:\n\
         \x20s = socket.socket(socket.AF_INET6 if ':' in a else socket.AF_INET)\n\
         \x20s.settimeout(5)\n r = s.connect_ex((a, 8443))\n\
         \x20print('ok' if r == 0 else errno.errorcode[r], end=' ')"
    )
}

#[test]
fn a_door_for_any_address_hears_every_destination_and_only_its_port() {
    if !privileged() {
        return;
    }
    let everywhere = [
        "198.18.0.7",
        "93.184.216.34",
        "169.254.169.254",
        "2606:4700::1111",
    ];
    // The control: without such a door there is no way to any of them.
    let (zygote, mut closed) = started(&spec());
    let said = print_of(&mut closed, &connecting_to(&everywhere));
    assert_eq!(said, "ENETUNREACH ENETUNREACH ENETUNREACH ENETUNREACH");
    closed.kill_and_wait().unwrap();

    let mut open = spec();
    open.doors = vec![Door::any_stream("tls", 8443)];
    let mut open = zygote.start(&open).unwrap();
    let (_, socket) = open.doors.pop().unwrap();
    let listener = TcpListener::from(socket);
    let said = print_of(&mut open, &connecting_to(&everywhere));
    assert_eq!(said, "ok ok ok ok");
    for expected in everywhere {
        let (met, _) = listener.accept().unwrap();
        let meant = met.local_addr().unwrap().ip().to_canonical();
        assert_eq!(meant.to_string(), expected);
    }
    let other = connecting_to(&["93.184.216.34"]).replace("8443", "22");
    assert_eq!(print_of(&mut open, &other), "ECONNREFUSED");
    open.kill_and_wait().unwrap();
}

#[test]
fn a_datagram_door_answers_and_names_are_looked_for_there() {
    if !privileged() {
        return;
    }
    let mut wanted = spec();
    wanted.doors = vec![Door::datagram("names", 53), Door::stream("names", 53)];
    let (_zygote, mut live) = started(&wanted);
    let socket = UdpSocket::from(live.doors.remove(0).1);
    socket.set_nonblocking(false).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let script = "import socket\n\
                  try: socket.getaddrinfo('api.example.org', 443)\n\
                  except socket.gaierror as e: print(e.errno == socket.EAI_NONAME)";
    let answering = std::thread::spawn(move || {
        // Both questions, for IPv4 and IPv6: no such name.
        let mut names = Vec::new();
        for _ in 0..2 {
            let mut bytes = [0; 512];
            let (length, from) = socket.recv_from(&mut bytes).unwrap();
            names.push(bytes[12..length].to_vec());
            bytes[2] |= 0x80;
            bytes[3] |= 3;
            socket.send_to(&bytes[..length], from).unwrap();
        }
        names
    });
    assert_eq!(print_of(&mut live, script), "True");
    for name in answering.join().unwrap() {
        assert!(name.starts_with(b"\x03api\x07example\x03org\0"));
    }
    live.kill_and_wait().unwrap();
}
