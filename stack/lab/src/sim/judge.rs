//! The verdict at the end of a run.

use millrace_net::Census;

use super::Violation;
use super::app::{End, Eof};
use super::node::Node;
use super::plan::{Finish, Plan};

/// Every connection has ended as its plan allows.
pub(super) fn finished(plan: &Plan, nodes: &[Node; 2]) -> Result<(), Violation> {
    for (index, plan) in plan.connections.iter().enumerate() {
        let ends = |node: usize| {
            nodes[node]
                .apps()
                .filter(move |(of, _)| *of == index)
                .map(|(_, app)| app)
        };
        let client = ends(plan.client).next();
        let server = ends(1 - plan.client).next();
        let (Some(client), Some(server)) = (client, server) else {
            // A client that resets at once may be gone before anybody could accept it.
            let gone = matches!(
                plan.ends[0].finish,
                Finish::Abort(_) | Finish::LingerZero(_)
            );
            if gone && client.is_some_and(|client| client.end() == Some(End::Left)) {
                continue;
            }
            let open = nodes.each_ref().map(Node::open_sockets);
            return Err(Violation::new(format!(
                "connection {index} was never accepted; open: {open:?}"
            )));
        };
        let polite = plan.ends.iter().all(|end| end.finish == Finish::Polite);
        for (app, peer) in [(client, server), (server, client)] {
            let (mine, theirs) = (app.progress(), peer.progress());
            let wrong = |what: &str| {
                let open = nodes.each_ref().map(Node::open_sockets);
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

/// Nothing is left in any table, neighbours apart.
pub(super) fn empty(nodes: &[Node; 2]) -> Result<(), Violation> {
    for (number, node) in nodes.iter().enumerate() {
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
