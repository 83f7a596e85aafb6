use super::*;

#[test]
fn loopback_is_read() {
    let lo = Link::read("lo").expect("every network namespace has lo");
    assert_eq!(lo.index, 1);
    assert_eq!(lo.mac, Some(MacAddr::ZERO));
    assert!(lo.mtu >= 1500, "{}", lo.mtu);
    assert!(!lo.carries_default_route());
    for addr in &lo.addrs {
        assert!(addr.addr().is_loopback() || addr.prefix_len() > 0, "{addr}");
    }
}

#[test]
fn unknown_interface_says_what_to_do() {
    let error = Link::read("millrace-none")
        .expect_err("no such interface")
        .to_string();
    assert_eq!(
        error,
        "interface millrace-none does not exist in this network namespace; list them with `ip link`"
    );
}

#[test]
fn metrics_are_walked_by_length() {
    let attr = |kind: u16, value: u32| {
        let mut bytes = 8u16.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value.to_ne_bytes());
        bytes
    };
    assert_eq!(
        route_mtu(&[attr(4, 10), attr(RTAX_MTU, 1400)].concat()),
        Some(1400)
    );
    assert_eq!(route_mtu(&attr(4, 10)), None);
    assert_eq!(route_mtu(&attr(RTAX_MTU, 70_000)), None);
    assert_eq!(route_mtu(&[]), None);
}

#[test]
fn malformed_metrics_end_the_walk() {
    assert_eq!(route_mtu(&[0, 0, 2, 0]), None);
    assert_eq!(route_mtu(&[200, 0, 2, 0, 1, 2, 3, 4]), None);
    assert_eq!(route_mtu(&[3, 0, 2]), None);
}
