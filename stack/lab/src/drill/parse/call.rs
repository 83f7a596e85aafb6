//! System calls and their argument expressions.

use winnow::combinator::{alt, cut_err, delimited, opt, preceded, repeat, separated, terminated};
use winnow::prelude::*;
use winnow::token::any;

use super::grammar::{
    Parsed, Tokens, any_word, expected, kind, number, punct, string, word, wrong,
};
use super::lexer::{Kind, Token};
use crate::drill::ast::{Expr, Field, Micros, Syscall};

pub(super) fn syscall(i: &mut Tokens<'_>, end: Option<Micros>) -> Parsed<Syscall> {
    let name = any_word.parse_next(i)?;
    let args = cut_err(arguments.context(expected("call arguments"))).parse_next(i)?;
    cut_err(punct('=').context(expected("`= result`"))).parse_next(i)?;
    let result = cut_err(expr.context(expected("a result"))).parse_next(i)?;
    let errno = opt(any_word).parse_next(i)?;
    let note = opt(note).parse_next(i)?;
    if errno.is_some() && note.is_none() {
        return wrong("`(words)` behind an errno name");
    }
    Ok(Syscall {
        end,
        name,
        args,
        result,
        errno,
    })
}

/// Text in parentheses behind a result: a comment.
fn note(i: &mut Tokens<'_>) -> Parsed<()> {
    let inner = any
        .verify(|token: &&Token<'_>| token.kind != Kind::Punct(')'))
        .void();
    delimited(punct('('), repeat::<_, _, (), _, _>(0.., inner), punct(')'))
        .void()
        .parse_next(i)
}

fn arguments(i: &mut Tokens<'_>) -> Parsed<Vec<Expr>> {
    delimited(punct('('), separated(0.., expr, punct(',')), punct(')')).parse_next(i)
}

/// `a`, or `a|b|…`.
fn expr(i: &mut Tokens<'_>) -> Parsed<Expr> {
    let mut terms: Vec<Expr> = separated(1.., term, punct('|')).parse_next(i)?;
    Ok(match terms.len() {
        1 => terms.swap_remove(0),
        _ => Expr::Or(terms),
    })
}

fn term(i: &mut Tokens<'_>) -> Parsed<Expr> {
    alt((
        kind(Kind::Ellipsis).value(Expr::Ellipsis),
        word("NULL").value(Expr::Int(0)),
        number.map(Expr::Int),
        string.map(Expr::Str),
        address,
        delimited(punct('['), separated(0.., expr, punct(',')), punct(']')).map(Expr::List),
        delimited(punct('{'), separated(0.., field, punct(',')), punct('}')).map(Expr::Struct),
        (any_word, arguments).map(|(name, args)| Expr::Call(name, args)),
        any_word.map(Expr::Symbol),
    ))
    .parse_next(i)
}

fn address(i: &mut Tokens<'_>) -> Parsed<Expr> {
    let v4 = kind(Kind::Ipv4).verify_map(|text: &str| text.parse().ok());
    let v6 = kind(Kind::Ipv6).verify_map(|text: &str| text.parse().ok());
    alt((v4.map(Expr::Ipv4), v6.map(Expr::Ipv6))).parse_next(i)
}

fn field(i: &mut Tokens<'_>) -> Parsed<Field> {
    let head = opt(terminated((any_word, opt(arguments)), punct('='))).parse_next(i)?;
    let value = alt((expr, preceded(punct('='), expr))).parse_next(i)?;
    let (name, args) = match head {
        Some((name, args)) => (Some(name), args.unwrap_or_default()),
        None => (None, Vec::new()),
    };
    Ok(Field { name, args, value })
}
