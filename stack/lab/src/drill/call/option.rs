//! Values of socket options: written to bytes, and bytes against what is written.

use super::address::{inet_addr, inet6_addr};
use super::args::Args;
use super::field;
use crate::drill::ast::Expr;
use crate::drill::symbols::{single, value};
use crate::drill::verdict::Stop;

/// The value of a `setsockopt`, exactly `len` octets.
pub(super) fn to_bytes(args: &Args<'_>, at: usize, len: usize) -> Result<Vec<u8>, Stop> {
    let written = args.expr(at)?;
    // A null pointer with a length is EFAULT in the kernel; there is no way to ask for it.
    let null = matches!(written, Expr::Int(0)) && len != 0 && args.call.args.len() == 5;
    let mut bytes = match encode(written) {
        Some(bytes) if !null => bytes,
        _ => return Err(args.unsupported()),
    };
    bytes.resize(len, 0);
    Ok(bytes)
}

fn encode(written: &Expr) -> Option<Vec<u8>> {
    match written {
        Expr::Str(bytes) => Some(bytes.clone()),
        Expr::Struct(_) => {
            let int = |name: &str| Some(field(written, name).and_then(value)? as i32);
            Some([int("onoff")?.to_le_bytes(), int("linger")?.to_le_bytes()].concat())
        }
        Expr::Call(..) => match inet6_addr(written) {
            Some(addr) => Some(addr.octets().to_vec()),
            None => Some(inet_addr(written)?.octets().to_vec()),
        },
        Expr::List(items) if items.len() != 1 => {
            let words: Option<Vec<[u8; 4]>> = items
                .iter()
                .map(|item| Some((value(item)? as i32).to_le_bytes()))
                .collect();
            Some(words?.concat())
        }
        other => Some(single(other)?.to_le_bytes().to_vec()),
    }
}

/// What differs between the value that came back and what is written: expected and got.
pub(super) fn differs(
    written: &Expr,
    written_len: Option<i64>,
    got: &[u8],
) -> Option<(String, String)> {
    if let Some(len) = written_len.filter(|len| *len != got.len() as i64) {
        return Some((
            format!("a value of {len} octets"),
            format!("{} octets: {}", got.len(), shown(got)),
        ));
    }
    let expected = match written {
        Expr::Ellipsis => return None,
        other => encode(other)?,
    };
    let same = match written {
        // Numbers are as wide as the kernel makes them; the sign goes all the way.
        Expr::List(_) | Expr::Int(_) | Expr::Symbol(_) | Expr::Or(_)
            if got.len() <= expected.len() =>
        {
            expected[..got.len()] == *got
        }
        // Strings such as names of algorithms come back with zeros behind them.
        Expr::Str(_) => {
            let (head, tail) = got.split_at(expected.len().min(got.len()));
            head == &expected[..head.len()]
                && head.len() == expected.len()
                && tail.iter().all(|byte| *byte == 0)
        }
        _ => expected == got,
    };
    (!same).then(|| {
        let len = expected.len().min(got.len().max(1));
        (shown(&expected[..len]), shown(got))
    })
}

/// A number if it is as wide as one, else octets.
fn shown(bytes: &[u8]) -> String {
    match bytes {
        [a, b, c, d] => i32::from_le_bytes([*a, *b, *c, *d]).to_string(),
        other => format!("{other:02x?}"),
    }
}
