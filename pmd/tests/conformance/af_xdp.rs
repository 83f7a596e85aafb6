//! AF_XDP at both ends of a veth, and what happens around the sockets: steering, errors, a killed process.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use millrace_pmd::af_xdp::{AfXdpConfig, AfXdpPort, BusyPoll, Sockets, Steer, XdpMode};
use millrace_pmd::{MAX_BURST, Mode, Port, PortError, Queue};

use crate::netns::{Netns, run, veth};
use crate::packet_socket::PacketSocket;
use crate::suite::{Ends, compose, conforms, receive, receive_all, send};

/// Generates a test for either maker of sockets.
macro_rules! with_either {
    ($($name:ident)+) => {
        mod own {
            use millrace_pmd::af_xdp::Sockets;
            $(#[test]
            #[ignore = "needs root and network namespaces: run scripts/test"]
            fn $name() {
                super::$name(Sockets::Own);
            })+
        }
        mod xsk_rs {
            use millrace_pmd::af_xdp::Sockets;
            $(#[test]
            #[ignore = "needs root and network namespaces: run scripts/test"]
            fn $name() {
                super::$name(Sockets::XskRs);
            })+
        }
    };
}

with_either! {
    native_conforms
    native_with_large_frames_conforms
    generic_conforms
    every_queue_carries_its_own_frames
    only_our_addresses_are_steered
    nothing_stays_behind
    busy_polling_can_be_asked_for
}

fn open(interface: &str, sockets: Sockets, mode: XdpMode) -> AfXdpPort {
    AfXdpPort::open(AfXdpConfig {
        mode,
        sockets,
        ..AfXdpConfig::new(interface)
    })
    .expect("the port")
}

/// Both ends of a new veth; the ports must live as long as the queues are to receive.
fn wire(number: usize, sockets: Sockets, mode: XdpMode, mtu: u32) -> (Ends, [AfXdpPort; 2]) {
    let (a, b) = (format!("va{number}"), format!("vb{number}"));
    veth(&a, &b, 1, mtu);
    let mut ports = [open(&a, sockets, mode), open(&b, sockets, mode)];
    let [a, b] = ports
        .each_mut()
        .map(|port| port.queues().expect("queues").remove(0));
    ((a, b), ports)
}

fn conforms_over_veth(sockets: Sockets, mode: XdpMode, mtu: u32, expected: Mode) {
    let maker = match sockets {
        Sockets::Own => "own sockets",
        Sockets::XskRs => "xsk-rs",
    };
    Netns::new().inside(|| {
        let mut ports = Vec::new();
        conforms(|| {
            let (ends, pair) = wire(ports.len(), sockets, mode, mtu);
            assert_eq!(ends.0.mode(), expected);
            assert_eq!(ends.0.made_with(), Some(maker));
            ports.push(pair);
            ends
        });
    });
}

fn native_conforms(sockets: Sockets) {
    conforms_over_veth(sockets, XdpMode::Auto, 1500, Mode::CopyNative);
}

fn native_with_large_frames_conforms(sockets: Sockets) {
    conforms_over_veth(sockets, XdpMode::Native, 3498, Mode::CopyNative);
}

fn generic_conforms(sockets: Sockets) {
    conforms_over_veth(sockets, XdpMode::Generic, 1500, Mode::CopyGeneric);
}

/// Frames in two and in three pieces, each way, every length from 60 bytes on.
#[test]
#[ignore = "needs root and network namespaces: run scripts/test"]
fn frames_in_pieces_conform() {
    for mtu in [3499, 9000, 9216] {
        conforms_over_veth(Sockets::Own, XdpMode::Native, mtu, Mode::CopyNative);
    }
}

#[test]
#[ignore = "needs root and network namespaces: run scripts/test"]
fn frames_in_pieces_behind_the_driver_conform() {
    conforms_over_veth(Sockets::Own, XdpMode::Generic, 9000, Mode::CopyGeneric);
}

/// The options are taken; a veth has nothing to poll, so that frames come as they do without.
fn busy_polling_can_be_asked_for(sockets: Sockets) {
    Netns::new().inside(|| {
        veth("va", "vb", 1, 1500);
        let polling = |interface: &str| {
            AfXdpPort::open(AfXdpConfig {
                sockets,
                busy_poll: Some(BusyPoll {
                    usecs: 20,
                    budget: 64,
                }),
                ..AfXdpConfig::new(interface)
            })
            .expect("the port")
        };
        let mut ports = [polling("va"), polling("vb")];
        let [mut a, mut b] = ports
            .each_mut()
            .map(|port| port.queues().expect("queues").remove(0));
        let before = b.stats().kicks;
        assert_eq!(receive(&mut *b, MAX_BURST, &mut VecDeque::new()), 0);
        assert_eq!(b.stats().kicks, before + 1, "an empty poll asks the kernel");
        assert_eq!(send(&mut *a, 5, &[77]), 1);
        assert_eq!(receive_all(&mut *b, 1), [(5, 77)]);
    });
}

fn every_queue_carries_its_own_frames(sockets: Sockets) {
    Netns::new().inside(|| {
        veth("va", "vb", 2, 1500);
        let (mut a, mut b) = (
            open("va", sockets, XdpMode::Native),
            open("vb", sockets, XdpMode::Native),
        );
        assert_eq!((a.queue_count(), b.queue_count()), (2, 2));
        let (mut a, mut b) = (a.queues().expect("queues"), b.queues().expect("queues"));
        for (first, (from, to)) in (0..).step_by(100).zip(a.iter_mut().zip(&mut b)) {
            assert_eq!(send(&mut **from, first, &[60; 10]), 10);
            let got: Vec<u32> = receive_all(&mut **to, 10)
                .into_iter()
                .map(|(seq, _)| seq)
                .collect();
            assert_eq!(got, (first..first + 10).collect::<Vec<_>>());
        }
        // A burst that starts a worker's life and one that ends it: nothing on the other queue.
        let mut got = VecDeque::new();
        assert!(
            b.iter_mut()
                .all(|queue| receive(&mut **queue, MAX_BURST, &mut got) == 0)
        );
    });
}

/// A frame of `len` bytes for `payload`, numbered `seq` behind it.
fn inject(socket: &mut PacketSocket, header: &[u8], seq: u32) {
    socket.tx(&mut |batch| {
        let slot = batch.next(100).expect("room");
        compose(slot, seq);
        slot[12..12 + header.len()].copy_from_slice(header);
    });
}

fn ipv4_to(address: Ipv4Addr) -> Vec<u8> {
    let mut header = vec![
        0x08, 0x00, 0x45, 0, 0, 86, 0, 0, 0, 0, 64, 17, 0, 0, 10, 9, 0, 2,
    ];
    header.extend(address.octets());
    header
}

fn arp_for(address: Ipv4Addr) -> Vec<u8> {
    let mut header = vec![
        0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 0xaa, 10, 9, 0, 2, 0, 0, 0, 0, 0, 0,
    ];
    header.extend(address.octets());
    header
}

fn tagged(inner: Vec<u8>) -> Vec<u8> {
    [vec![0x81, 0x00, 0x00, 0x05], inner].concat()
}

fn only_our_addresses_are_steered(sockets: Sockets) {
    Netns::new().inside(|| {
        veth("va", "vb", 1, 1500);
        let (ours, late, kernels) = (
            Ipv4Addr::new(10, 9, 0, 1),
            Ipv4Addr::new(10, 9, 0, 9),
            Ipv4Addr::new(10, 9, 0, 3),
        );
        let steer = Steer::Addresses(vec![ours]);
        let mut port = AfXdpPort::open(AfXdpConfig {
            steer,
            sockets,
            ..AfXdpConfig::new("va")
        })
        .expect("the port");
        let mut queue = port.queues().expect("queues").remove(0);
        let mut kernel = PacketSocket::open("va", 1514);
        let mut far = PacketSocket::open("vb", 1514);

        let mut check = |address: Ipv4Addr, to_us: usize| {
            let frames = [
                ipv4_to(address),
                arp_for(address),
                tagged(ipv4_to(address)),
                tagged(tagged(arp_for(address))),
            ];
            for header in &frames {
                inject(&mut far, header, 0);
                let (mut here, mut there, mut polls) = (0, 0, 0);
                while here + there == 0 && polls < 100_000 {
                    here += queue.rx(MAX_BURST, &mut |frames| {
                        assert_eq!(frames[0].data()[12..14], header[..2])
                    });
                    there += kernel.rx(1, &mut |_| {});
                    polls += 1;
                }
                assert_eq!((here, there), (to_us, 1 - to_us), "{address} {header:x?}");
            }
        };
        check(ours, 1);
        check(kernels, 0);
        check(late, 0);
        port.add_address(late).expect("a new address");
        check(late, 1);
        port.remove_address(ours).expect("an address less");
        port.remove_address(ours)
            .expect("no error for an address that is gone");
        check(ours, 0);
    });
}

#[test]
#[ignore = "needs root and network namespaces: run scripts/test"]
fn what_is_wrong_is_said() {
    Netns::new().inside(|| {
        let refused = |config: AfXdpConfig| match AfXdpPort::open(config) {
            Ok(_) => panic!("it was opened"),
            Err(err) => err,
        };
        let err = refused(AfXdpConfig::new("veth9"));
        assert!(matches!(err, PortError::NoInterface { .. }), "{err}");
        assert!(err.to_string().ends_with("`ip link`"), "{err}");

        veth("va", "vb", 1, 9000);
        let err = refused(AfXdpConfig { sockets: Sockets::XskRs, ..AfXdpConfig::new("va") });
        assert_eq!(
            err.to_string(),
            "MTU 9000 of va needs more than the 3498 bytes a frame can hold; run `ip link set va mtu 1500`"
        );
        run("ip", &["link", "set", "va", "mtu", "9217"]);
        let err = refused(AfXdpConfig { sockets: Sockets::Own, ..AfXdpConfig::new("va") });
        assert!(matches!(err, PortError::MtuTooLarge { mtu: 9217, limit: 9216, .. }), "{err}");
        run("ip", &["link", "set", "va", "mtu", "1500"]);
        let err = refused(AfXdpConfig::new("va"));
        assert!(matches!(err, PortError::PeerMtuTooLarge { .. }), "{err}");
        run("ip", &["link", "set", "vb", "mtu", "1500"]);

        let err = refused(AfXdpConfig { rx_ring: 1000, ..AfXdpConfig::new("va") });
        assert!(matches!(err, PortError::BadSetting { setting: "rx_ring", value: 1000, .. }), "{err}");

        let first = AfXdpPort::open(AfXdpConfig::new("va")).expect("the port");
        let err = refused(AfXdpConfig::new("va"));
        assert!(matches!(err, PortError::ProgramAttached { .. }), "{err}");
        drop(first);

        run("ip", &["addr", "add", "10.9.0.1/24", "dev", "va"]);
        run("ip", &["route", "add", "default", "via", "10.9.0.2"]);
        let err = refused(AfXdpConfig::new("va"));
        assert!(matches!(err, PortError::DefaultRoute { .. }), "{err}");
        let mut port = AfXdpPort::open(AfXdpConfig { steer: Steer::Addresses(vec![]), ..AfXdpConfig::new("va") })
            .expect("an interface with the default route can be shared");
        port.queues().expect("queues");
        assert!(matches!(port.queues(), Err(PortError::AlreadyOpen { .. })));

        run("ip", &["link", "add", "name", "few", "numrxqueues", "1", "type", "veth", "peer", "name", "many", "numtxqueues", "4"]);
        run("ethtool", &["-L", "many", "tx", "4"]);
        let err = refused(AfXdpConfig::new("few"));
        assert!(matches!(err, PortError::TooFewQueues { .. }), "{err}");
    });
}

fn program_on(interface: &str) -> bool {
    run("ip", &["-details", "link", "show", "dev", interface]).contains("prog/xdp")
}

/// Tells the process that it is the victim, and of which interface.
const VICTIM: &str = "MILLRACE_TEST_VICTIM";

/// Not a test by itself: the process that the next one kills.
#[test]
#[ignore = "needs root and network namespaces: run scripts/test"]
fn victim() {
    let Ok(interface) = std::env::var(VICTIM) else {
        return;
    };
    let mut port = open(&interface, Sockets::Own, XdpMode::Native);
    let _queues = port.queues().expect("queues");
    println!("open");
    // Until it is killed, or the parent is gone.
    let _ = std::io::stdin().read_line(&mut String::new());
}

fn nothing_stays_behind(sockets: Sockets) {
    Netns::new().inside(|| {
        veth("va", "vb", 1, 1500);
        let port = open("va", sockets, XdpMode::Native);
        assert!(program_on("va"));
        drop(port);
        assert!(!program_on("va"), "after a drop");

        let mut victim = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "af_xdp::victim", "--ignored", "--nocapture"])
            .env(VICTIM, "va")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the victim");
        let out = BufReader::new(victim.stdout.take().expect("its output"));
        assert!(
            out.lines()
                .map_while(Result::ok)
                .any(|line| line.ends_with("open")),
            "the victim opens the port"
        );
        assert!(program_on("va"));
        victim.kill().expect("kill -9");
        victim.wait().expect("it is dead");

        // At once, although the kernel may still be releasing the queue.
        let mut ports = [
            open("va", sockets, XdpMode::Native),
            open("vb", sockets, XdpMode::Native),
        ];
        let [mut a, mut b] = ports
            .each_mut()
            .map(|port| port.queues().expect("queues").remove(0));
        assert_eq!(send(&mut *a, 5, &[77]), 1);
        assert_eq!(receive_all(&mut *b, 1), [(5, 77)]);
        drop(ports);
        assert!(!program_on("va") && !program_on("vb"));
    });
}
