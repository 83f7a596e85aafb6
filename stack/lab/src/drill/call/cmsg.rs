//! Control messages: written ones to bytes, received ones against what is written.

use std::time::Duration;

use millrace_posix::call::Cmsg;

use super::args::Args;
use super::field;
use super::message::required;
use crate::drill::ast::{Expr, Field};
use crate::drill::symbols::{constant, value};
use crate::drill::verdict::Stop;

/// `struct sock_extended_err` without the address behind it.
const EXTENDED_ERROR_LEN: usize = 16;

/// `struct sockaddr_in` and `struct sockaddr_in6`.
const ADDRESS_LENS: [usize; 2] = [16, 28];

/// Attributes of `SCM_TIMESTAMPING_OPT_STATS` that are times, in microseconds.
const STAT_TIMES: [i64; 3] = [1, 2, 3];

/// How times in messages compare with the script's.
#[derive(Debug, Clone, Copy)]
pub(in crate::drill) struct Clock {
    /// `CLOCK_REALTIME` at the start of the script.
    pub start: Duration,
    /// How far off they may be.
    pub tolerance: Duration,
}

type Difference = Option<(String, String)>;

/// Level and type, for messages.
pub(super) fn kind(cmsg: &Cmsg) -> String {
    format!("level {} type {}", cmsg.level, cmsg.ty)
}

/// A control message that the script sends: integers are `int`s, strings are themselves.
pub(super) fn encode(args: &Args<'_>, written: &Expr) -> Result<Cmsg, Stop> {
    let data = match required(args, written, "cmsg_data")? {
        Expr::Str(bytes) => bytes.clone(),
        other => args.number(other)?.to_le_bytes().to_vec(),
    };
    Ok(Cmsg {
        level: args.number(required(args, written, "cmsg_level")?)?,
        ty: args.number(required(args, written, "cmsg_type")?)?,
        data,
    })
}

/// What differs between a written control message and the one received: expected and got.
pub(super) fn differs(
    args: &Args<'_>,
    written: &Expr,
    got: &Cmsg,
    clock: Clock,
) -> Result<Difference, Stop> {
    let level = args.number(required(args, written, "cmsg_level")?)?;
    let ty = args.number(required(args, written, "cmsg_type")?)?;
    if (level, ty) != (got.level, got.ty) {
        return Ok(Some((
            format!("control message level {level} type {ty}"),
            kind(got),
        )));
    }
    let data = required(args, written, "cmsg_data")?;
    let Expr::Struct(fields) = data else {
        return match data {
            Expr::Ellipsis => Ok(None),
            Expr::Str(bytes) => Ok(differ(
                "cmsg_data",
                format!("{bytes:?}"),
                format!("{:?}", got.data),
            )),
            other => {
                let expected = args.number(other)?.to_le_bytes();
                Ok(differ(
                    "cmsg_data",
                    shown_int(&expected),
                    shown_int(&got.data),
                ))
            }
        };
    };
    let first = fields
        .first()
        .and_then(|field| field.name.as_deref())
        .unwrap_or("");
    match first {
        name if name.starts_with("ee_") => extended_error(args, data, &got.data),
        name if name.starts_with("scm_") => timestamp(args, data, &got.data, clock),
        name if name.starts_with("TCP_NLA_") => statistics(args, fields, &got.data, clock),
        _ => Err(args.unsupported()),
    }
}

fn differ(what: &str, expected: String, got: String) -> Difference {
    (expected != got).then(|| (format!("{what} {expected}"), format!("{what} {got}")))
}

fn shown_int(bytes: &[u8]) -> String {
    match bytes {
        [a, b, c, d] => i32::from_le_bytes([*a, *b, *c, *d]).to_string(),
        other => format!("{other:02x?}"),
    }
}

/// `{ee_errno=, ee_origin=, ee_type=, ee_code=, ee_info=, ee_data=}`, an address following whose content is the
/// kernel's own affair.
fn extended_error(args: &Args<'_>, written: &Expr, got: &[u8]) -> Result<Difference, Stop> {
    let has_address = ADDRESS_LENS
        .iter()
        .any(|len| got.len() == EXTENDED_ERROR_LEN + len);
    if !has_address {
        return Ok(Some((
            "an extended error and an address".to_owned(),
            format!("{} octets", got.len()),
        )));
    }
    let word = |at: usize| u32::from_le_bytes([got[at], got[at + 1], got[at + 2], got[at + 3]]);
    let fields = [
        ("ee_errno", word(0)),
        ("ee_origin", u32::from(got[4])),
        ("ee_type", u32::from(got[5])),
        ("ee_code", u32::from(got[6])),
        ("ee_info", word(8)),
        ("ee_data", word(12)),
    ];
    for (name, got) in fields {
        let expected = match field(written, name) {
            Some(expr) => args.number(expr)?.cast_unsigned(),
            None => 0,
        };
        if expected != got {
            return Ok(differ(name, expected.to_string(), got.to_string()));
        }
    }
    Ok(None)
}

/// `{scm_sec=, scm_nsec=}`: when the script thinks the software time stamp was taken; 0 is not looked at.
fn timestamp(
    args: &Args<'_>,
    written: &Expr,
    got: &[u8],
    clock: Clock,
) -> Result<Difference, Stop> {
    let part = |name: &str| match field(written, name) {
        Some(expr) => value(expr)
            .and_then(|n| u64::try_from(n).ok())
            .ok_or_else(|| args.unsupported()),
        None => Ok(0),
    };
    let expected = Duration::from_secs(part("scm_sec")?) + Duration::from_nanos(part("scm_nsec")?);
    // struct scm_timestamping: three times, the software one first.
    let (Some(seconds), Some(nanos), 48) = (u64_at(got, 0), u64_at(got, 8), got.len()) else {
        return Ok(Some((
            "three times".to_owned(),
            format!("{} octets", got.len()),
        )));
    };
    if expected.is_zero() {
        return Ok(None);
    }
    let live =
        (Duration::from_secs(seconds) + Duration::from_nanos(nanos)).saturating_sub(clock.start);
    Ok((live.abs_diff(expected) > clock.tolerance).then(|| {
        (
            format!("time stamp {expected:?}"),
            format!("time stamp {live:?}"),
        )
    }))
}

/// `{TCP_NLA_X=v, …}`: the attributes in order, `...` for those that are not looked at.
fn statistics(
    args: &Args<'_>,
    written: &[Field],
    got: &[u8],
    clock: Clock,
) -> Result<Difference, Stop> {
    let got = attributes(got);
    let names: Vec<&str> = written
        .iter()
        .filter_map(|field| field.name.as_deref())
        .collect();
    if names.len() != got.len() {
        let kinds: Vec<i64> = got.iter().map(|(kind, _)| *kind).collect();
        return Ok(Some((
            format!("{} attributes", names.len()),
            format!("{} {kinds:?}", got.len()),
        )));
    }
    for (field, (kind, live)) in written.iter().zip(got) {
        let name = field.name.as_deref().unwrap_or("");
        let number = constant(name).ok_or_else(|| args.unsupported())?;
        if number != kind {
            return Ok(Some((name.to_owned(), format!("attribute {kind}"))));
        }
        if field.value == Expr::Ellipsis {
            continue;
        }
        let expected = value(&field.value)
            .and_then(|n| u64::try_from(n).ok())
            .ok_or_else(|| args.unsupported())?;
        let slack = match STAT_TIMES.contains(&kind) && expected != 0 {
            true => clock.tolerance.as_micros() as u64,
            false => 0,
        };
        if live.abs_diff(expected) > slack {
            return Ok(differ(name, expected.to_string(), live.to_string()));
        }
    }
    Ok(None)
}

/// Netlink attributes with their values, padding left out; what is cut off is left out too.
fn attributes(mut bytes: &[u8]) -> Vec<(i64, u64)> {
    let mut list = Vec::new();
    while let [a, b, c, d, ..] = bytes {
        let len = usize::from(u16::from_le_bytes([*a, *b]));
        let kind = i64::from(u16::from_le_bytes([*c, *d]));
        let Some(value) = bytes.get(4..len) else {
            break;
        };
        if kind != 0 {
            let wide = value
                .iter()
                .rev()
                .fold(0u64, |n, byte| n << 8 | u64::from(*byte));
            list.push((kind, wide));
        }
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or(&[]);
    }
    list
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let word = bytes.get(at..at + 8)?;
    Some(
        word.iter()
            .rev()
            .fold(0, |n, byte| n << 8 | u64::from(*byte)),
    )
}
