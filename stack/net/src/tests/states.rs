//! Every call in every state, against the kernel's answers.

use super::*;

const GOOD: SocketAddrV4 = SocketAddrV4::new(B, 80);
const REFUSED: SocketAddrV4 = SocketAddrV4::new(B, 81);
const SILENT: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 9), 9);

type Pair = Net<Nobody, Nobody>;

/// A socket in the state under test, and its peer's, if it has one.
struct Case {
    net: Pair,
    listener: SockId,
    sock: SockId,
    peer: Option<SockId>,
}

impl Case {
    fn fresh() -> Self {
        let mut net = Net::new(LinkKind::Ip, (Nobody, Nobody));
        let listener = listener(&mut net.b, false);
        let sock = net.a.tcp_socket().unwrap();
        Self {
            net,
            listener,
            sock,
            peer: None,
        }
    }

    fn bound() -> Self {
        let mut case = Self::fresh();
        case.net
            .a
            .bind(case.sock, SocketAddrV4::new(A, 30_001))
            .unwrap();
        case
    }

    fn connect(&mut self, to: SocketAddrV4) -> Result<(), SockError> {
        let done = self.net.a.connect(self.net.now, self.sock, to);
        self.net.settle();
        done
    }

    /// Connected; the outcome is told if `told`.
    fn opened(mut self, told: bool) -> Self {
        assert_eq!(self.connect(GOOD), Err(SockError::InProgress));
        if told {
            assert_eq!(self.connect(GOOD), Ok(()));
        }
        let (peer, _) = self.net.b.accept(self.net.now, self.listener).unwrap();
        self.peer = Some(peer);
        self
    }

    fn shut(mut self, how: Shutdown) -> Self {
        self.net.a.shutdown(self.net.now, self.sock, how).unwrap();
        self.net.settle();
        self
    }

    /// The peer shuts its side down, closes, or resets.
    fn peer(mut self, act: impl FnOnce(&mut Stack, Instant, SockId)) -> Self {
        let peer = self.peer.unwrap();
        act(&mut self.net.b, self.net.now, peer);
        self.net.settle();
        self
    }

    fn told(mut self) -> Self {
        assert!(self.net.a.take_error(self.sock).is_some());
        self
    }

    fn attempted(mut self, to: SocketAddrV4, times: usize) -> Self {
        for _ in 0..times {
            assert!(self.connect(to).is_err());
        }
        self
    }

    fn in_state(name: &str) -> Self {
        let established = || Self::fresh().opened(true);
        let half_closed =
            |case: Self| case.peer(|b, now, peer| b.shutdown(now, peer, Shutdown::Write).unwrap());
        let reset = |case: Self| case.peer(Stack::abort);
        match name {
            "fresh" => Self::fresh(),
            "bound" => Self::bound(),
            "listening" | "listening_ready" | "listen_shut" => Self::listening(name),
            "synsent" => Self::fresh().attempted(SILENT, 1),
            "synsent_shut" => Self::fresh().attempted(SILENT, 1).shut(Shutdown::Write),
            "est" => established(),
            "est_new" => Self::fresh().opened(false),
            "bound_est" => Self::bound().opened(false),
            "closewait" => half_closed(established()),
            "finwait2" => {
                // The peer's ACK of the FIN is delayed.
                let mut case = established().shut(Shutdown::Write);
                case.net.run(Duration::from_secs(1));
                case
            }
            "rdshut" => established().shut(Shutdown::Read),
            "both" => established()
                .shut(Shutdown::Write)
                .peer(|b, now, peer| b.close(now, peer).unwrap()),
            "lastack_done" => half_closed(established()).shut(Shutdown::Write),
            "refused" => Self::fresh().attempted(REFUSED, 1),
            "refused_told" => Self::fresh().attempted(REFUSED, 1).told(),
            "refused_again" => Self::fresh().attempted(REFUSED, 2),
            "reset" => reset(established()),
            "reset_told" => reset(established()).told(),
            "disconnected" => {
                let mut case = established();
                assert_eq!(case.unspec(), "ok");
                case
            }
            other => panic!("no such state: {other}"),
        }
    }

    fn listening(name: &str) -> Self {
        let mut case = Self::bound();
        case.net.a.listen(case.sock, 3).unwrap();
        if name == "listening_ready" {
            let client = case.net.b.tcp_socket().unwrap();
            let to = SocketAddrV4::new(A, 30_001);
            let _ = case.net.b.connect(case.net.now, client, to);
            case.net.settle();
        }
        if name == "listen_shut" {
            return case.shut(Shutdown::Read);
        }
        case
    }

    fn state(&self) -> &'static str {
        match self.net.a.state(self.sock).unwrap() {
            TcpState::Established => "EST",
            TcpState::SynSent => "SS",
            TcpState::FinWait1 => "FW1",
            TcpState::FinWait2 => "FW2",
            TcpState::Close => "CL",
            TcpState::CloseWait => "CW",
            TcpState::LastAck => "LA",
            TcpState::Listen => "LI",
            other => other.name(),
        }
    }

    fn poll(&mut self) -> String {
        let ready = self.net.a.readiness(self.sock).unwrap();
        let names = [
            ("IN", Readiness::IN),
            ("OUT", Readiness::OUT),
            ("ERR", Readiness::ERR),
            ("HUP", Readiness::HUP),
            ("RDHUP", Readiness::RDHUP),
        ];
        let on = names.iter().filter(|(_, bit)| ready.contains(*bit));
        let text = on.map(|(name, _)| *name).collect::<Vec<_>>().join("|");
        if text.is_empty() { "-".into() } else { text }
    }

    fn name(&self) -> String {
        let addr = self.net.a.local_addr(self.sock).unwrap();
        let host = if addr.ip().is_unspecified() { "*" } else { "A" };
        let port = if addr.port() == 0 { "0" } else { "p" };
        format!("{host}:{port}")
    }

    fn unspec(&mut self) -> String {
        let done = self.net.a.disconnect(self.net.now, self.sock);
        self.net.settle();
        errno(done)
    }

    /// shutdown, and at once what the socket looks like.
    fn shutdown(&mut self, how: Shutdown) -> String {
        let done = self.net.a.shutdown(self.net.now, self.sock, how);
        // The answer to a FIN is delayed or not, on either side; what the call itself does is FIN_WAIT1.
        let first = self.state();
        self.net.settle();
        let state = if first == "FW1" { first } else { self.state() };
        format!("{},{state},{}", errno(done), self.poll())
    }

    fn bytes(&mut self, send: bool) -> String {
        let (now, sock) = (self.net.now, self.sock);
        let done = if send {
            self.net.a.send(now, sock, b"x", MsgFlags::NONE)
        } else {
            self.net.a.recv(now, sock, &mut [0; 5], MsgFlags::NONE)
        };
        self.net.settle();
        done.map_or_else(|error| errno(Err(error)), |n| n.to_string())
    }

    fn call(&mut self, name: &str) -> String {
        let now = self.net.now;
        let any = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
        let mut connects = |to: &[SocketAddrV4]| {
            let answers = to.iter().map(|to| errno(self.connect(*to)));
            answers.collect::<Vec<_>>().join(",")
        };
        match name {
            "conn" => connects(&[GOOD]),
            "conn2" => connects(&[GOOD, GOOD]),
            "connref" => connects(&[REFUSED]),
            "connref2" => connects(&[REFUSED, REFUSED, GOOD]),
            "state" => self.state().into(),
            "poll" => self.poll(),
            "name" => self.name(),
            "peer" => match self.net.a.peer_addr(self.sock) {
                Ok(_) => "A:p".into(),
                Err(error) => errno(Err(error)),
            },
            "so_error" => {
                let error = self.net.a.take_error(self.sock);
                error.map_or_else(|| "0".into(), |error| errno(Err(error)))
            }
            "bind" => errno(self.net.a.bind(self.sock, SocketAddrV4::new(A, 0))),
            "bindunspec" => errno(self.net.a.bind(self.sock, any)),
            "listen" => errno(self.net.a.listen(self.sock, 1)),
            "accept" => errno(self.net.a.accept(now, self.sock).map(|_| ())),
            "unspec" => self.unspec(),
            "unspec+" => {
                let first = format!("{},{},{}", self.unspec(), self.state(), self.name());
                format!("{first},{}", errno(self.connect(GOOD)))
            }
            "shR" => self.shutdown(Shutdown::Read),
            "shW" => self.shutdown(Shutdown::Write),
            "shRW" => self.shutdown(Shutdown::Both),
            "send" => self.bytes(true),
            "send2" => format!("{},{}", self.bytes(true), self.bytes(true)),
            "recv" => self.bytes(false),
            "recv2" => format!("{},{}", self.bytes(false), self.bytes(false)),
            other => panic!("no such call: {other}"),
        }
    }
}

fn errno(done: Result<(), SockError>) -> String {
    match done {
        Ok(()) => "ok".into(),
        Err(error) => error.name().trim_start_matches('E').into(),
    }
}

#[test]
fn every_call_in_every_state_answers_as_linux_does() {
    let (mut wrong, mut calls) = (Vec::new(), 0);
    let rows = include_str!("states_linux_6_18.txt").lines();
    for row in rows.filter(|row| !row.starts_with('#')) {
        let (state, answers) = row.split_once(' ').unwrap();
        for (call, expected) in answers.split(' ').filter_map(|word| word.split_once('=')) {
            let got = Case::in_state(state).call(call);
            calls += 1;
            if got != expected {
                wrong.push(format!("{state} {call}: {got}, Linux: {expected}"));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{}\n{} wrong",
        wrong.join("\n"),
        wrong.len()
    );
    assert_eq!(calls, 21 * 22);
}
