//! Ways to the network (research list 27, 30 to 34). Every address is one of the suite's own stage.

use crate::attack::Arg::N;
use crate::attack::Attack;
use crate::attack::Step::{Call, Tcp, Udp, Unix};
use crate::attack::effect::Effect;
use crate::weakness::Weakness as W;
use ringfence_sys::attack::Syscall as C;

const NETWORK: &[W] = &[W::NetNamespace];

const fn reach(
    name: &'static str,
    tries: &'static str,
    steps: &'static [crate::attack::Step],
) -> Attack {
    Attack {
        name,
        tries,
        walls: NETWORK,
        steps,
        effect: Effect::Arrived,
    }
}

const fn socket(
    name: &'static str,
    tries: &'static str,
    walls: &'static [W],
    steps: &'static [crate::attack::Step],
) -> Attack {
    Attack {
        name,
        tries,
        walls,
        steps,
        effect: Effect::Descriptor("socket:["),
    }
}

pub(super) const ATTACKS: &[Attack] = &[
    reach(
        "loopback",
        "connects to a service of the host on 127.0.0.1",
        &[Tcp("127.0.0.1:8080")],
    ),
    reach(
        "loopback-zero",
        "the same as 0.0.0.0",
        &[Tcp("0.0.0.0:8080")],
    ),
    reach("loopback-six", "the same as ::1", &[Tcp("[::1]:8080")]),
    reach(
        "loopback-mapped",
        "the same as ::ffff:127.0.0.1",
        &[Tcp("[::ffff:127.0.0.1]:8080")],
    ),
    reach(
        "metadata",
        "connects to the metadata service of a cloud",
        &[Tcp("169.254.169.254:80")],
    ),
    reach(
        "private-network",
        "connects to a neighbour in a private network",
        &[Tcp("10.99.0.1:443")],
    ),
    reach(
        "dns-datagram",
        "sends a DNS query by UDP, as a tunnel does",
        &[Udp("10.99.0.1:53")],
    ),
    reach(
        "dns-stream",
        "sends a DNS query by TCP",
        &[Tcp("10.99.0.1:53")],
    ),
    reach(
        "dns-stub",
        "asks the host's own resolver on 127.0.0.53",
        &[Udp("127.0.0.53:53")],
    ),
    reach(
        "quic",
        "sends a datagram to port 443",
        &[Udp("10.99.0.1:443")],
    ),
    Attack {
        name: "abstract-socket",
        tries: "connects to an abstract Unix socket of the host",
        walls: &[W::NetNamespace, W::Landlock],
        steps: &[Unix("@{abstract}")],
        effect: Effect::Arrived,
    },
    Attack {
        name: "path-socket",
        tries: "connects to a Unix socket of the host, as to docker.sock",
        walls: &[W::FileSystem, W::Landlock],
        steps: &[Unix("{socket}")],
        effect: Effect::Arrived,
    },
    socket(
        "raw-socket",
        "forges packets",
        &[W::Seccomp, W::Privileges],
        &[Call(C::Socket, &[N(2), N(3), N(1)])],
    ),
    socket(
        "packet-socket",
        "listens to every frame",
        &[W::Seccomp, W::Privileges],
        &[Call(C::Socket, &[N(17), N(3), N(0)])],
    ),
    socket(
        "netlink-route",
        "talks to the kernel's routing",
        &[W::Seccomp],
        &[Call(C::Socket, &[N(16), N(3), N(0)])],
    ),
    socket(
        "netlink-audit",
        "talks to the kernel's audit",
        &[W::Seccomp],
        &[Call(C::Socket, &[N(16), N(3), N(9)])],
    ),
    socket(
        "netlink-netfilter",
        "talks to nf_tables",
        &[W::Seccomp],
        &[Call(C::Socket, &[N(16), N(3), N(12)])],
    ),
    socket(
        "vsock",
        "talks to the hypervisor's host",
        &[W::Seccomp],
        &[Call(C::Socket, &[N(40), N(1), N(0)])],
    ),
    socket(
        "crypto-socket",
        "opens the kernel's crypto interface",
        &[W::Seccomp],
        &[Call(C::Socket, &[N(38), N(5), N(0)])],
    ),
    socket(
        "sctp",
        "opens a protocol that is seldom looked at",
        &[W::Seccomp],
        &[Call(C::Socket, &[N(2), N(1), N(132)])],
    ),
    socket(
        "key-socket",
        "talks to the kernel's IPsec keys",
        &[W::Seccomp],
        &[Call(C::Socket, &[N(15), N(3), N(2)])],
    ),
];
