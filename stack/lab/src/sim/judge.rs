//! The verdict at the end of a run.

use std::time::Duration;

use millrace_net::{Census, SockError};

use super::Violation;
use super::app::{App, End, Eof, Progress};
use super::node::Node;
use super::peer::{Outcome, Peer};
use super::plan::{Attack, AttackPlan, ConnectionPlan, Finish, Plan};

/// How long a request lives: five SYN-ACKs more, after 1, 2, 4, 8 and 16 seconds, and 32 for the last.
const REQUEST_LIFE: Duration = Duration::from_secs(63);

/// How long one lives while floods fill the queue: two SYN-ACKs more, and four seconds for the last.
const REQUEST_LIFE_IN_FLOOD: Duration = Duration::from_secs(7);

/// Every connection has ended as its plan allows.
pub(super) fn finished(whole: &Plan, nodes: &[Node], peer: Option<&Peer>) -> Result<(), Violation> {
    let alive = |node: usize| whole.nodes[node].dies_at.is_none();
    for (index, plan) in whole.connections.iter().enumerate() {
        if let Some(outcome) = peer.and_then(|peer| peer.outcome(index)) {
            with_peer(index, plan, nodes, outcome)?;
            continue;
        }
        let doomed = whole.is_doomed(plan);
        let tolerant = doomed || whole.is_harsh();
        let ends = |node: usize| {
            nodes[node]
                .apps()
                .filter(move |(of, _)| *of == index)
                .map(|(_, app)| app)
        };
        let client = ends(plan.client).next();
        let server = ends(plan.server).next();
        let (Some(client), Some(server)) = (client, server) else {
            let ended = |app: Option<&App>| app.is_none_or(|app| app.end().is_some());
            let over = ended(client.filter(|_| alive(plan.client)))
                && ended(server.filter(|_| alive(plan.server)));
            let excused = client.is_some_and(|client| may_be_unheard(whole, plan, client));
            if excused || tolerant && over {
                continue;
            }
            let open = nodes.iter().map(Node::open_sockets).collect::<Vec<_>>();
            return Err(Violation::new(format!(
                "connection {index} was never accepted; open: {open:?}"
            )));
        };
        let polite = !tolerant && plan.ends.iter().all(|end| end.finish == Finish::Polite);
        let there = (client, plan.client, server, plan.server);
        let back = (server, plan.server, client, plan.client);
        for (app, _, peer, peer_node) in [there, back].into_iter().filter(|end| alive(end.1)) {
            let polite = polite && !gave_up(peer, &nodes[peer_node]);
            let (mine, theirs) = (app.progress(), peer.progress());
            let wrong = |what: &str| {
                let open = nodes.iter().map(Node::open_sockets).collect::<Vec<_>>();
                Violation::new(format!(
                    "{}: {what}: {mine:?}, peer {theirs:?}; open: {open:?}",
                    app.name()
                ))
            };
            match app.end() {
                None => return Err(wrong("not finished")),
                Some(End::Failed(error)) if polite => return Err(wrong(error.name())),
                Some(End::Clean) if polite && mine.written != app.plan().total => {
                    return Err(wrong("not all written"));
                }
                Some(_) => {}
            }
            if app.left_unread() && theirs.eof == Eof::Seen && !doomed {
                return Err(wrong("closed with data unread, and the peer heard no RST"));
            }
            if mine.read > theirs.written {
                return Err(wrong("more read than written"));
            }
            if mine.eof == Eof::Seen && mine.read != theirs.written {
                return Err(wrong("an end of file in front of the end"));
            }
        }
    }
    Ok(())
}

/// A connection with the peer has ended: both have all that was written, unless one of them has left before.
fn with_peer(
    index: usize,
    plan: &ConnectionPlan,
    nodes: &[Node],
    outcome: Outcome,
) -> Result<(), Violation> {
    let calls = plan.client < nodes.len();
    let (node, theirs) = match calls {
        true => (plan.client, &plan.ends[1]),
        false => (plan.server, &plan.ends[0]),
    };
    let apps = nodes[node].apps();
    let app = apps
        .filter(|(of, _)| *of == index)
        .map(|(_, app)| app)
        .next();
    let resets = plan
        .habits
        .as_ref()
        .is_some_and(|habits| habits.resets_after.is_some());
    let wrong = |what: &str| {
        let progress = app.map(App::progress);
        let open = nodes[node].open_sockets();
        Violation::new(format!(
            "connection {index} with the peer: {what}: {progress:?}, peer {outcome:?}; open: {open:?}"
        ))
    };
    let Some(app) = app else {
        // A handshake that took too long is forgotten by the listener, and the peer gets a RST.
        return match outcome {
            Outcome::Reset | Outcome::Closed => Ok(()),
            _ => Err(wrong("never accepted")),
        };
    };
    let end = app.end().ok_or_else(|| wrong("not finished"))?;
    let polite = app.plan().finish == Finish::Polite && !resets;
    if !polite {
        return Ok(());
    }
    if end != End::Clean || !matches!(outcome, Outcome::Complete | Outcome::Closed) {
        return Err(wrong("not all arrived"));
    }
    let Progress { written, read, .. } = app.progress();
    if written != app.plan().total || read != theirs.total {
        return Err(wrong("other octets than were written"));
    }
    Ok(())
}

/// Whether the server may never have accepted this client: it reset its connection before anybody looked, or all that it
/// sent after the handshake came too late. That may be when the handshake took so long that the first timeout, three
/// times as long, came after the server had forgotten it; or when the network lost what it repeated, each time twice as
/// late, for that long.
fn may_be_unheard(whole: &Plan, plan: &ConnectionPlan, client: &App) -> bool {
    let resets = matches!(
        plan.ends[0].finish,
        Finish::Abort(_) | Finish::LingerZero(_)
    );
    let flood = |attack: &AttackPlan| attack.kinds.contains(&Attack::Flood);
    let life = if whole.attack.as_ref().is_some_and(flood) {
        REQUEST_LIFE_IN_FLOOD
    } else {
        REQUEST_LIFE
    };
    match client.end() {
        Some(End::Left) => resets,
        Some(End::Failed(SockError::Reset)) => {
            client.handshake() * 4 >= REQUEST_LIFE || whole.heals_after * 2 >= life
        }
        _ => false,
    }
}

/// An end whose application has gone may have given up after time-outs in a row, without a word: what it still had to
/// send is lost (Linux `tcp_probe_timer`).
fn gave_up(peer: &App, node: &Node) -> bool {
    peer.end().is_some()
        && node
            .stack()
            .mib()
            .get("TcpExtTCPAbortOnTimeout")
            .is_some_and(|value| value > 0)
}

/// Counters that must agree with what happened.
pub(super) fn counters(plan: &Plan, nodes: &[Node], sent: u64) -> Result<(), Violation> {
    let alive = |(number, _): &(usize, &Node)| plan.nodes[*number].dies_at.is_none();
    for (number, node) in nodes.iter().enumerate().filter(alive) {
        let mib = node.stack().mib();
        let get = |name: &str| {
            let missing = || Violation::new(format!("there is no counter {name}"));
            mib.get(name).ok_or_else(missing)
        };
        let (opened, accepted) = node.handshakes();
        // Who calls a dead node gets no answer, and does not even send when nobody tells its address.
        let all_live = plan.nodes.iter().all(|node| node.dies_at.is_none());
        let opened = if all_live { opened } else { 0 };
        let bounds = [
            ("TcpActiveOpens", get("TcpActiveOpens")?, opened, u64::MAX),
            (
                "TcpPassiveOpens",
                get("TcpPassiveOpens")?,
                accepted,
                u64::MAX,
            ),
            ("TcpInSegs", get("TcpInSegs")?, opened, get("IpInReceives")?),
            ("TcpOutSegs", get("TcpOutSegs")?, opened, sent),
            ("TcpRetransSegs", get("TcpRetransSegs")?, 0, sent),
        ];
        for (name, value, least, most) in bounds {
            if value < least || value > most {
                let what = format!("node {number}: {name} is {value}, not {least} to {most}");
                return Err(Violation::new(what));
            }
        }
    }
    Ok(())
}

/// Nothing is left in any table, neighbours apart.
pub(super) fn empty(plan: &Plan, nodes: &[Node]) -> Result<(), Violation> {
    let alive = |(number, _): &(usize, &Node)| plan.nodes[*number].dies_at.is_none();
    for (number, node) in nodes.iter().enumerate().filter(alive) {
        let mut census = node.stack().census();
        census.neighbours = 0;
        // Entries of the neighbour table keep their own timers; they are counted with it.
        if census != Census::default() {
            return Err(Violation::new(format!("node {number} keeps {census:?}")));
        }
        if node
            .stack()
            .mib()
            .get("TcpCurrEstab")
            .is_some_and(|value| value != 0)
        {
            return Err(Violation::new(format!(
                "node {number} counts established connections"
            )));
        }
    }
    Ok(())
}
