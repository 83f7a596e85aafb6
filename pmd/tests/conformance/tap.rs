//! TAP against the kernel's end of the interface.

use millrace_pmd::{Mode, Port, PortError, Queue, Tap, TapConfig};

use crate::netns::{Netns, run};
use crate::packet_socket::PacketSocket;
use crate::suite::{Ends, conforms};

/// A TAP of a new name, and a packet socket on the kernel's end of it.
fn wire(number: u32) -> (Tap, Ends) {
    let name = format!("tap{number}");
    let mut tap = Tap::open(TapConfig::new(name.as_str())).expect("the interface");
    run("ip", &["link", "set", &name, "up"]);
    let queue = tap.queues().expect("its queue").remove(0);
    assert_eq!(queue.mode(), Mode::Tap);
    // The kernel takes packets of the MTU, with one VLAN tag at most from a packet socket.
    let kernel: Box<dyn Queue> = Box::new(PacketSocket::open(&name, 1514));
    (tap, (queue, kernel))
}

#[test]
#[ignore = "needs root and network namespaces: run scripts/test"]
fn tap_conforms() {
    Netns::new().inside(|| {
        let mut taps = Vec::new();
        conforms(|| {
            let (tap, ends) = wire(taps.len() as u32);
            taps.push(tap);
            ends
        });
    });
}

#[test]
#[ignore = "needs root and network namespaces: run scripts/test"]
fn tap_leaves_nothing_and_says_what_is_wrong() {
    Netns::new().inside(|| {
        let (tap, ends) = wire(7);
        assert_eq!((tap.name(), tap.mtu()), ("tap7", 1500));
        assert_eq!(tap.mac().0[0] & 3, 2, "unicast and locally administered");
        let Err(PortError::TapBusy { interface }) = Tap::open(TapConfig::new("tap7")) else {
            panic!("the interface is in use")
        };
        assert_eq!(interface, "tap7");
        drop((tap, ends));
        assert!(
            !run("ip", &["link"]).contains("tap7"),
            "the interface is gone"
        );
    });
}

#[test]
fn a_bad_name_is_refused() {
    for name in ["", "a-name-of-16-bytes", "a/b"] {
        let Err(err) = Tap::open(TapConfig::new(name)) else {
            panic!("{name} was accepted")
        };
        // Without the driver, or the right to open it, that is said first.
        assert!(
            matches!(
                err,
                PortError::BadName { .. }
                    | PortError::NoTunDriver
                    | PortError::NoTapPermission { .. }
            ),
            "{err}"
        );
    }
}
