//! Headers around a packet: IP in IP, GRE, MPLS.

use std::net::{Ipv4Addr, Ipv6Addr};

use winnow::combinator::{alt, delimited, opt, preceded, repeat, separated, separated_pair};
use winnow::prelude::*;

use super::grammar::{Parsed, Tokens, kind, number, punct, word, wrong};
use super::lexer::Kind;
use crate::drill::ast::{Encap, MplsLabel};

/// One header with its colon.
pub(super) fn header(i: &mut Tokens<'_>) -> Parsed<Encap> {
    alt((ipv4, ipv6, gre, mpls)).parse_next(i)
}

fn ipv4(i: &mut Tokens<'_>) -> Parsed<Encap> {
    let addr = || kind(Kind::Ipv4).verify_map(|text: &str| text.parse::<Ipv4Addr>().ok());
    delimited(
        word("ipv4"),
        separated_pair(addr(), punct('>'), addr()),
        punct(':'),
    )
    .map(|(src, dst)| Encap::Ipv4(src, dst))
    .parse_next(i)
}

fn ipv6(i: &mut Tokens<'_>) -> Parsed<Encap> {
    let addr = || kind(Kind::Ipv6).verify_map(|text: &str| text.parse::<Ipv6Addr>().ok());
    delimited(
        word("ipv6"),
        separated_pair(addr(), punct('>'), addr()),
        punct(':'),
    )
    .map(|(src, dst)| Encap::Ipv6(src, dst))
    .parse_next(i)
}

fn gre(i: &mut Tokens<'_>) -> Parsed<Encap> {
    alt((word("gre"), word("GREv0"))).parse_next(i)?;
    let mut header = [None; 4];
    let mut field = |i: &mut Tokens<'_>| -> Parsed<()> {
        let (at, value) = gre_field(i)?;
        header[at] = value;
        Ok(())
    };
    if opt(punct('[')).parse_next(i)?.is_some() {
        let _: Vec<()> = separated(0.., &mut field, punct(',')).parse_next(i)?;
        punct(']').parse_next(i)?;
    } else {
        let _: Vec<()> = separated(0.., &mut field, punct(',')).parse_next(i)?;
    }
    punct(':').parse_next(i)?;
    let [sum, off, key, seq] = header;
    Ok(Encap::Gre { sum, off, key, seq })
}

/// `none`, or a field's name, then its value.
fn gre_field(i: &mut Tokens<'_>) -> Parsed<(usize, Option<u32>)> {
    let none = word("none").value((0, None));
    let value = || number::<u32>.map(Some);
    alt((
        none,
        preceded(alt((word("sum"), word("checksum"))), value()).map(|n| (0, n)),
        preceded(word("off"), value()).map(|n| (1, n)),
        preceded(word("key"), value()).map(|n| (2, n)),
        preceded(
            (alt((word("seq"), word("sequence"))), opt(punct('#'))),
            value(),
        )
        .map(|n| (3, n)),
    ))
    .parse_next(i)
}

fn mpls(i: &mut Tokens<'_>) -> Parsed<Encap> {
    word("mpls").parse_next(i)?;
    let stack: Vec<MplsLabel> = repeat(1.., mpls_label).parse_next(i)?;
    punct(':').parse_next(i)?;
    Ok(Encap::Mpls(stack))
}

fn mpls_label(i: &mut Tokens<'_>) -> Parsed<MplsLabel> {
    punct('(').parse_next(i)?;
    opt(word("label")).parse_next(i)?;
    let label: u32 = number.parse_next(i)?;
    (punct(','), opt(word("tc"))).parse_next(i)?;
    let tc: u8 = number.parse_next(i)?;
    punct(',').parse_next(i)?;
    let bottom = opt((
        delimited(punct('['), word("S"), punct(']')),
        opt(punct(',')),
    ))
    .parse_next(i)?
    .is_some();
    opt(word("ttl")).parse_next(i)?;
    let ttl = number.parse_next(i)?;
    punct(')').parse_next(i)?;
    if label >> 20 != 0 || tc > 7 {
        return wrong("a label of 20 bits and a traffic class of 3");
    }
    Ok(MplsLabel {
        label,
        tc,
        bottom,
        ttl,
    })
}
