//! Octets that are lent to a service and not taken.

use super::*;
use crate::Readiness;

/// Answers with more than memory holds, and takes nothing of what it is shown.
struct Hoarder {
    sent: usize,
    woken: usize,
}

impl Service for Hoarder {
    fn data(&mut self, stack: &mut Stack, now: Instant, s: SockId, _: u64, _: &[u8]) -> usize {
        while let Ok(n @ 1..) = stack.send(now, s, &[0; 4096], MsgFlags::NONE) {
            self.sent += n;
        }
        0
    }
    fn ready(&mut self, _: &mut Stack, _: Instant, _: SockId, _: u64, ready: Readiness) {
        self.woken += usize::from(ready.contains(Readiness::IN));
    }
}

/// What was acknowledged is kept, whatever the service stored meanwhile: memory for it is promised while it is lent.
#[test]
fn what_a_service_leaves_is_kept_when_it_used_up_the_memory() {
    let hoarder = Hoarder { sent: 0, woken: 0 };
    let mut net = Net::new(LinkKind::Ip, (Nobody, hoarder));
    let l = listener(&mut net.b, false);
    let (c, s) = connected(&mut net, l);
    net.b.attach(s, 0).unwrap();
    net.b.ctx.chunks.set_limit(8);
    let sent: Vec<u8> = (0..6000u32).map(|i| i as u8).collect();
    assert_eq!(
        net.a.send(net.now, c, &sent, MsgFlags::NONE),
        Ok(sent.len())
    );
    net.settle();
    assert!(net.apps.1.sent >= 4096, "it stored something");
    assert!(net.apps.1.woken > 0, "it is told that something is left");
    let mut got = vec![0; 8192];
    let n = net.b.recv(net.now, s, &mut got, MsgFlags::NONE).unwrap();
    assert_eq!(&got[..n], &sent[..n]);
    net.run(Duration::from_secs(5));
    let rest = net
        .b
        .recv(net.now, s, &mut got, MsgFlags::NONE)
        .unwrap_or(0);
    assert_eq!(&got[..rest], &sent[n..n + rest]);
    assert!(n > 0);
    assert_eq!(
        net.b.ctx.chunks.available(),
        8 - net.b.ctx.chunks.in_use(),
        "no promise is left"
    );
}
