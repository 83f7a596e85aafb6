//! Text to tokens. White space and comments disappear here; the longest match wins.

use winnow::LocatingSlice;
use winnow::ascii::multispace1;
use winnow::combinator::{alt, delimited, eof, opt, preceded, repeat, repeat_till};
use winnow::error::ContextError;
use winnow::prelude::*;
use winnow::stream::{Offset, Stream};
use winnow::token::{any, none_of, one_of, take, take_until, take_while};

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `-?digits`
    Int,
    /// `0x…`
    Hex,
    /// `digits*.digits+`
    Float,
    /// `[A-Za-z0-9_]+` that is no number.
    Word,
    /// `"…"`
    Str,
    /// `` `…` ``
    Backquoted,
    /// `%{ … }%`
    Code,
    /// `a.b.c.d`
    Ipv4,
    /// `a::b`, or eight groups
    Ipv6,
    /// `...`
    Ellipsis,
    /// `--name` or `--name=value`
    Option,
    /// Any other single character.
    Punct(char),
}

/// A place in a text, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: u32,
    pub(super) column: u32,
}

/// A token: what it is, its text without delimiters, and where it begins.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Token<'s> {
    pub(super) kind: Kind,
    pub(super) text: &'s str,
    pub(super) line: u32,
    pub(super) column: u32,
}

impl std::fmt::Debug for Token<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.text)
    }
}

type Text<'s> = LocatingSlice<&'s str>;
type Lexed<T> = winnow::Result<T, ContextError>;

/// Splits `source` into tokens; the error is the place where no token can be read.
pub(super) fn tokens(source: &str) -> Result<Vec<Token<'_>>, Place> {
    let starts: Vec<usize> = std::iter::once(0)
        .chain(source.match_indices('\n').map(|(at, _)| at + 1))
        .collect();
    let place = |offset: usize| {
        let line = starts.partition_point(|start| *start <= offset);
        let column = source
            .get(starts[line - 1]..offset)
            .map_or(0, |before| before.chars().count());
        Place {
            line: line as u32,
            column: column as u32 + 1,
        }
    };
    let mut input = LocatingSlice::new(source);
    let begin = input.checkpoint();
    let mut out = Vec::new();
    loop {
        let skipped: Lexed<()> = blank.parse_next(&mut input);
        let Place { line, column } = place(input.offset_from(&begin));
        if skipped.is_err() {
            return Err(Place { line, column });
        }
        if input.is_empty() {
            return Ok(out);
        }
        let (kind, text) = token
            .parse_next(&mut input)
            .map_err(|_| Place { line, column })?;
        out.push(Token {
            kind,
            text,
            line,
            column,
        });
    }
}

/// Replaces every word that is defined: by a string, a command, a number or another word, as its text looks.
pub(super) fn replace<'s>(tokens: &mut [Token<'s>], defines: &[(&str, &'s str)]) {
    for token in tokens.iter_mut().filter(|token| token.kind == Kind::Word) {
        // The last definition of a name holds.
        let Some((_, value)) = defines.iter().rev().find(|(name, _)| *name == token.text) else {
            continue;
        };
        let inside = |quote: char| {
            value
                .strip_prefix(quote)
                .and_then(|rest| rest.strip_suffix(quote))
        };
        (token.kind, token.text) = match (inside('"'), inside('`')) {
            (Some(text), _) => (Kind::Str, text),
            (None, Some(text)) => (Kind::Backquoted, text.trim()),
            (None, None) => (classify(value), *value),
        };
    }
}

fn blank(i: &mut Text<'_>) -> Lexed<()> {
    let line_comment = ("//", take_while(0.., |c| c != '\n')).void();
    let block_comment = ("/*", take_until(0.., "*/"), "*/").void();
    repeat(0.., alt((multispace1.void(), line_comment, block_comment))).parse_next(i)
}

fn token<'s>(i: &mut Text<'s>) -> Lexed<(Kind, &'s str)> {
    alt((
        option_line,
        delimited("%{", take_until(0.., "}%"), "}%").map(|text: &str| (Kind::Code, text.trim())),
        delimited('`', take_until(0.., "`"), '`').map(|text: &str| (Kind::Backquoted, text.trim())),
        string.map(|text| (Kind::Str, text)),
        "...".value(Kind::Ellipsis).with_taken(),
        alt((
            ipv6.map(|text| (Kind::Ipv6, text)),
            ipv4.value(Kind::Ipv4).with_taken(),
        )),
        float.value(Kind::Float).with_taken(),
        number_or_word,
        any.map(Kind::Punct).with_taken(),
    ))
    .parse_next(i)
}

/// `--name` and, without a blank, `=value` up to the next blank; quotes around the value are dropped by the grammar.
fn option_line<'s>(i: &mut Text<'s>) -> Lexed<(Kind, &'s str)> {
    let plain = take_while(1.., |c: char| !c.is_whitespace() && c != '"' && c != '`').void();
    let quoted = delimited('`', take_until(0.., "`"), '`').void();
    let value = (
        "=",
        repeat::<_, _, (), _, _>(1.., alt((string.void(), quoted, plain))),
    );
    preceded("--", (word, opt(value)).take())
        .map(|text| (Kind::Option, text))
        .parse_next(i)
}

fn string<'s>(i: &mut Text<'s>) -> Lexed<&'s str> {
    let piece = alt((none_of(['"', '\\']).void(), ('\\', any).void()));
    let body = repeat::<_, _, (), _, _>(0.., piece).take();
    delimited('"', body, '"').parse_next(i)
}

fn digits<'s>(i: &mut Text<'s>) -> Lexed<&'s str> {
    take_while(1.., '0'..='9').parse_next(i)
}

fn word<'s>(i: &mut Text<'s>) -> Lexed<&'s str> {
    take_while(1.., ('a'..='z', 'A'..='Z', '0'..='9', '_')).parse_next(i)
}

fn ipv4(i: &mut Text<'_>) -> Lexed<()> {
    (digits, '.', digits, '.', digits, '.', digits)
        .void()
        .parse_next(i)
}

/// An address; the colon of `ipv6 a > b:` is not part of it.
fn ipv6<'s>(i: &mut Text<'s>) -> Lexed<&'s str> {
    let start = i.checkpoint();
    let run: &str = take_while(2.., ('0'..='9', 'a'..='f', 'A'..='F', ':')).parse_next(i)?;
    let is_address = |text: &str| text.parse::<std::net::Ipv6Addr>().is_ok();
    let len = match run.strip_suffix(':') {
        _ if is_address(run) => run.len(),
        Some(shorter) if is_address(shorter) => shorter.len(),
        _ => return Err(ContextError::new()),
    };
    i.reset(&start);
    take(len).parse_next(i)
}

fn float(i: &mut Text<'_>) -> Lexed<()> {
    (opt(digits), '.', digits).void().parse_next(i)
}

fn number_or_word<'s>(i: &mut Text<'s>) -> Lexed<(Kind, &'s str)> {
    let text = (opt('-'), word)
        .take()
        .verify(|text: &str| match text.strip_prefix('-') {
            Some(positive) => positive.bytes().all(|b| b.is_ascii_digit()),
            None => true,
        });
    text.map(|text| (classify(text), text)).parse_next(i)
}

fn classify(text: &str) -> Kind {
    let positive = text.strip_prefix('-').unwrap_or(text);
    if positive.bytes().all(|b| b.is_ascii_digit()) {
        Kind::Int
    } else if text
        .strip_prefix("0x")
        .is_some_and(|hex| !hex.is_empty() && hex.bytes().all(|b| b.is_ascii_hexdigit()))
    {
        Kind::Hex
    } else {
        Kind::Word
    }
}

/// The bytes that a string token stands for: `\xHH` and the one-letter escapes are resolved.
pub(super) fn unescape(text: &str) -> Option<Vec<u8>> {
    let hex_pair = preceded('x', take_while(2..=2, |c: char| c.is_ascii_hexdigit()));
    let escape = preceded(
        '\\',
        alt((
            hex_pair
                .verify_map(|hex: &str| u8::from_str_radix(hex, 16).ok())
                .map(|byte| vec![byte]),
            one_of(['\\', '"']).map(|c: char| vec![c as u8]),
            'f'.value(vec![0x0c]),
            'n'.value(vec![b'\n']),
            'r'.value(vec![b'\r']),
            't'.value(vec![b'\t']),
            'v'.value(vec![0x0b]),
        )),
    );
    let plain = none_of('\\').map(|c: char| c.to_string().into_bytes());
    let pieces = repeat_till(0.., alt((escape, plain)), eof);
    let mut whole = pieces.map(|(pieces, _): (Vec<Vec<u8>>, &str)| pieces.concat());
    let parsed: Lexed<Vec<u8>> = whole.parse_next(&mut &*text);
    parsed.ok()
}
