//! Packets: flags, sequence numbers, TCP options, ICMP.

use winnow::combinator::{
    alt, cut_err, delimited, opt, peek, preceded, repeat, separated, separated_pair,
};
use winnow::prelude::*;

use super::encap;
use super::grammar::{Parsed, Tokens, any_word, expected, kind, number, punct, word, wrong};
use super::lexer::Kind;
use crate::drill::ast::{
    AccEcnCounter, Body, Direction, Echoed, Ecn, EcnFlags, Flags, Icmp, IpInfo, Options, Packet,
    Tcp, TcpOption,
};

pub(super) fn packet(i: &mut Tokens<'_>) -> Parsed<Packet> {
    let dir = alt((
        punct('<').value(Direction::Inject),
        punct('>').value(Direction::Expect),
    ))
    .parse_next(i)?;
    let mut encap: Vec<_> = repeat(0.., encap::header).parse_next(i)?;
    let ip = opt(ip_info).parse_next(i)?.unwrap_or_default();
    encap.extend(repeat::<_, _, Vec<_>, _, _>(0.., encap::header).parse_next(i)?);
    let body = alt((udp, icmp.map(Body::Icmp), tcp.map(Body::Tcp)))
        .context(expected("a TCP segment, `udp` or `icmp`"))
        .parse_next(i)?;
    if let (Direction::Inject, Body::Tcp(Tcp { win: None, .. })) = (dir, &body) {
        return wrong("`win` on an injected segment");
    }
    Ok(Packet {
        dir,
        encap,
        ip,
        body,
    })
}

fn ip_info(i: &mut Tokens<'_>) -> Parsed<IpInfo> {
    let items = |i: &mut Tokens<'_>| {
        let mut info = IpInfo::default();
        let _: Vec<()> =
            separated(1.., |i: &mut Tokens<'_>| ip_item(i, &mut info), punct(',')).parse_next(i)?;
        Ok(info)
    };
    alt((
        delimited(punct('['), items, punct(']')),
        delimited(punct('('), items, punct(')')),
    ))
    .parse_next(i)
}

fn ip_item(i: &mut Tokens<'_>, info: &mut IpInfo) -> Parsed<()> {
    let name = any_word.parse_next(i)?;
    match name.as_str() {
        "noecn" => info.ecn = Some(Ecn::NoEcn),
        "ect0" => info.ecn = Some(Ecn::Ect0),
        "ect1" => info.ecn = Some(Ecn::Ect1),
        "ect01" => info.ecn = Some(Ecn::Ect01),
        "ce" => info.ecn = Some(Ecn::Ce),
        "tos" => info.tos = Some(number.parse_next(i)?),
        "ttl" => info.ttl = Some(number.parse_next(i)?),
        "flowlabel" => info.flow_label = Some(number.parse_next(i)?),
        _ => return wrong("ect0, ect1, ect01, ce, noecn, tos, ttl or flowlabel"),
    }
    Ok(())
}

fn ports(i: &mut Tokens<'_>) -> Parsed<Option<(u16, u16)>> {
    opt(separated_pair(number, punct('>'), number)).parse_next(i)
}

fn udp(i: &mut Tokens<'_>) -> Parsed<Body> {
    word("udp").parse_next(i)?;
    let ports = ports.parse_next(i)?;
    let len = delimited(punct('('), number, punct(')')).parse_next(i)?;
    Ok(Body::Udp { ports, len })
}

fn icmp(i: &mut Tokens<'_>) -> Parsed<Icmp> {
    word("icmp").parse_next(i)?;
    let ty = any_word.parse_next(i)?;
    let code = opt(any_word.verify(|name: &str| !matches!(name, "mtu" | "id"))).parse_next(i)?;
    let mtu = opt(preceded(word("mtu"), number)).parse_next(i)?;
    let id = opt(preceded(word("id"), number)).parse_next(i)?;
    let echoed = opt(delimited(punct('['), echoed, punct(']'))).parse_next(i)?;
    Ok(Icmp {
        ty,
        code,
        mtu,
        id,
        echoed,
    })
}

fn echoed(i: &mut Tokens<'_>) -> Parsed<Echoed> {
    let in_parens = || delimited(punct('('), number, punct(')'));
    alt((
        preceded(word("udp"), in_parens()).map(|len| Echoed::Udp { len }),
        preceded(word("raw"), in_parens()).map(|len| Echoed::Raw { len }),
        range.map(|(seq, len)| Echoed::Tcp { seq, len }),
    ))
    .parse_next(i)
}

fn tcp(i: &mut Tokens<'_>) -> Parsed<Tcp> {
    let ports = ports.parse_next(i)?;
    let flags = flags.context(expected("flags")).parse_next(i)?;
    // From here on it is a segment: what is wrong with it is wrong where it stands.
    let (seq, len) = cut_err(range.context(expected("`seq:end(len)`"))).parse_next(i)?;
    let ack = opt(preceded(word("ack"), sequence_number)).parse_next(i)?;
    let win = opt(preceded(word("win"), number)).parse_next(i)?;
    let urg = opt(preceded(word("urg"), number)).parse_next(i)?;
    let options = opt((peek(punct('<')), cut_err(options)).map(|(_, options)| options))
        .parse_next(i)?
        .unwrap_or(Options::List(Vec::new()));
    Ok(Tcp {
        ports,
        flags,
        seq,
        len,
        ack,
        win,
        urg,
        options,
    })
}

/// Letters, a dot for ACK, a digit for the ECN bits, or `-`; up to the sequence range.
fn flags(i: &mut Tokens<'_>) -> Parsed<Flags> {
    let piece = alt((
        kind(Kind::Word),
        kind(Kind::Float),
        kind(Kind::Punct('.')),
        kind(Kind::Punct('-')),
    ));
    let pieces: Vec<&str> = repeat(1..=4, piece).parse_next(i)?;
    match flag_bits(&pieces.concat()) {
        Some(flags) => Ok(flags),
        None => wrong("flags"),
    }
}

fn flag_bits(text: &str) -> Option<Flags> {
    let mut flags = Flags::default();
    let mut letters = 0;
    let mut ace = None;
    for c in text.chars() {
        match c {
            'F' => flags.bits |= Flags::FIN,
            'S' => flags.bits |= Flags::SYN,
            'R' => flags.bits |= Flags::RST,
            'P' => flags.bits |= Flags::PSH,
            '.' => flags.bits |= Flags::ACK,
            'U' => flags.bits |= Flags::URG,
            'E' => letters |= EcnFlags::E,
            'W' => letters |= EcnFlags::W,
            'A' => letters |= EcnFlags::A,
            '0'..='7' if ace.is_none() => ace = Some(c as u8 - b'0'),
            '-' if text == "-" => {}
            _ => return None,
        }
    }
    flags.ece = match (ace, letters) {
        (None, letters) => EcnFlags::Letters(letters),
        (Some(digit), 0) => EcnFlags::Ace(digit),
        (Some(_), _) => return None,
    };
    Some(flags)
}

/// A position on the circle of 2³².
fn sequence_number(i: &mut Tokens<'_>) -> Parsed<u32> {
    number::<i64>
        .verify_map(|n| u32::try_from(n).ok())
        .parse_next(i)
}

/// `seq:end(len)`, with `end` equal to `seq + len`.
fn range(i: &mut Tokens<'_>) -> Parsed<(u32, u32)> {
    let (seq, end) = separated_pair(sequence_number, punct(':'), sequence_number).parse_next(i)?;
    let len: u32 = delimited(punct('('), number, punct(')')).parse_next(i)?;
    if len > 65_535 || seq.wrapping_add(len) != end {
        return wrong("a range whose end is seq + len");
    }
    Ok((seq, len))
}

fn options(i: &mut Tokens<'_>) -> Parsed<Options> {
    let ignored = kind(Kind::Ellipsis).value(Options::Ignored);
    let list =
        separated(0.., option.context(expected("a TCP option")), punct(',')).map(Options::List);
    delimited(punct('<'), alt((ignored, list)), punct('>')).parse_next(i)
}

fn option(i: &mut Tokens<'_>) -> Parsed<TcpOption> {
    let name = any_word.parse_next(i)?;
    let named = |i: &mut Tokens<'_>| named_option(i, &name);
    cut_err(named)
        .context(expected("the value of a TCP option"))
        .parse_next(i)
}

fn named_option(i: &mut Tokens<'_>, name: &str) -> Parsed<TcpOption> {
    Ok(match name {
        "nop" => TcpOption::Nop,
        "eol" => TcpOption::Eol,
        "mss" => TcpOption::Mss(number.parse_next(i)?),
        "wscale" => TcpOption::WindowScale(number.parse_next(i)?),
        "sackOK" => TcpOption::SackPermitted,
        "sack" => TcpOption::Sack(repeat(1.., sack_block).parse_next(i)?),
        "TS" => {
            let val = preceded(word("val"), sequence_number).parse_next(i)?;
            let ecr = preceded(word("ecr"), sequence_number).parse_next(i)?;
            TcpOption::Timestamps { val, ecr }
        }
        "md5" => TcpOption::Md5(hex.parse_next(i)?),
        "FO" => TcpOption::FastOpen(opt(hex).parse_next(i)?.unwrap_or_default()),
        "FOEXP" => TcpOption::FastOpenExp(opt(hex).parse_next(i)?.unwrap_or_default()),
        "ECN" => TcpOption::AccEcn(repeat(1..=3, counter).parse_next(i)?),
        _ => return wrong("a TCP option"),
    })
}

fn sack_block(i: &mut Tokens<'_>) -> Parsed<(u32, u32)> {
    separated_pair(sequence_number, punct(':'), sequence_number).parse_next(i)
}

fn counter(i: &mut Tokens<'_>) -> Parsed<(AccEcnCounter, u32)> {
    let name = alt((
        word("e0b").value(AccEcnCounter::E0b),
        word("e1b").value(AccEcnCounter::E1b),
        word("ceb").value(AccEcnCounter::Ceb),
    ));
    (name, sequence_number).parse_next(i)
}

/// Bytes as pairs of hexadecimal digits; the token may look like a word or a number.
fn hex(i: &mut Tokens<'_>) -> Parsed<Vec<u8>> {
    peek(alt((kind(Kind::Word), kind(Kind::Int)))).parse_next(i)?;
    alt((kind(Kind::Word), kind(Kind::Int)))
        .verify_map(|text: &str| {
            let whole = text.len().is_multiple_of(2) && text.is_ascii();
            let byte = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
            if whole {
                (0..text.len()).step_by(2).map(byte).collect()
            } else {
                None
            }
        })
        .parse_next(i)
}
