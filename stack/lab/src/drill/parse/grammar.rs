//! Tokens to the tree: options, times and events. Packets and system calls have modules of their own.

use winnow::combinator::{alt, opt, preceded};
use winnow::error::{ContextError, ErrMode, StrContext, StrContextValue};
use winnow::prelude::*;
use winnow::stream::TokenSlice;
use winnow::token::any;

use super::lexer::{self, Kind, Place, Token};
use super::{call, packet};
use crate::drill::ast::{Action, Command, Direction, Event, Micros, OptionLine, Script, When};

pub(super) type Tokens<'t> = TokenSlice<'t, Token<'t>>;
pub(super) type Parsed<T> = ModalResult<T, ContextError>;

/// What was being read when a parser gave up.
pub(super) fn expected(what: &'static str) -> StrContext {
    StrContext::Expected(StrContextValue::Description(what))
}

/// Fails for good: the alternative was the right one, its content is wrong.
pub(super) fn wrong<T>(what: &'static str) -> Parsed<T> {
    let mut error = ContextError::new();
    error.push(expected(what));
    Err(ErrMode::Cut(error))
}

/// A token of this kind; its text.
pub(super) fn kind<'t>(kind: Kind) -> impl Parser<Tokens<'t>, &'t str, ErrMode<ContextError>> {
    any.verify(move |token: &&Token<'t>| token.kind == kind)
        .map(|token: &Token<'t>| token.text)
}

/// This punctuation character.
pub(super) fn punct<'t>(c: char) -> impl Parser<Tokens<'t>, (), ErrMode<ContextError>> {
    kind(Kind::Punct(c)).void()
}

/// Exactly this word.
pub(super) fn word<'t>(word: &'static str) -> impl Parser<Tokens<'t>, (), ErrMode<ContextError>> {
    kind(Kind::Word)
        .verify(move |text: &str| text == word)
        .void()
}

/// Any word.
pub(super) fn any_word(i: &mut Tokens<'_>) -> Parsed<String> {
    kind(Kind::Word).map(str::to_owned).parse_next(i)
}

/// A number that fits `T`, decimal or hexadecimal.
pub(super) fn number<T: TryFrom<i64>>(i: &mut Tokens<'_>) -> Parsed<T> {
    let decimal = kind(Kind::Int).verify_map(|text: &str| text.parse::<i64>().ok());
    let hex = kind(Kind::Hex)
        .verify_map(|text: &str| i64::from_str_radix(text.trim_start_matches("0x"), 16).ok());
    alt((decimal, hex))
        .verify_map(|n| T::try_from(n).ok())
        .parse_next(i)
}

pub(super) fn script(tokens: &[Token<'_>]) -> Result<Script, (Place, String)> {
    let mut i = Tokens::new(tokens);
    let mut script = Script {
        options: Vec::new(),
        init: None,
        events: Vec::new(),
        cleanup: None,
    };
    while let Some(option) = opt(option_line)
        .parse_next(&mut i)
        .map_err(|e| explain(tokens, &i, e))?
    {
        script.options.push(option);
    }
    script.init = opt(command)
        .parse_next(&mut i)
        .map_err(|e| explain(tokens, &i, e))?;
    while !i.is_empty() {
        if i.first()
            .is_some_and(|token| token.kind == Kind::Backquoted)
            && i.len() == 1
        {
            script.cleanup = opt(command)
                .parse_next(&mut i)
                .map_err(|e| explain(tokens, &i, e))?;
            break;
        }
        let event = event
            .parse_next(&mut i)
            .map_err(|e| explain(tokens, &i, e))?;
        script.events.push(event);
    }
    check_times(&script)?;
    Ok(script)
}

fn explain(
    tokens: &[Token<'_>],
    rest: &Tokens<'_>,
    error: ErrMode<ContextError>,
) -> (Place, String) {
    let at = tokens.len() - rest.len();
    let (place, near) = match tokens.get(at).or(tokens.last()) {
        Some(token) => (place(token.line, token.column), token.text),
        None => (place(1, 1), ""),
    };
    // The innermost of them: what was being read last.
    let expected = match error {
        ErrMode::Backtrack(error) | ErrMode::Cut(error) => {
            error.context().next().map(|context| context.to_string())
        }
        ErrMode::Incomplete(_) => None,
    };
    let expected = expected.unwrap_or_else(|| "not in the language".to_owned());
    (place, format!("near `{near}`: {expected}"))
}

fn place(line: u32, column: u32) -> Place {
    Place { line, column }
}

/// The first event begins at 0, and absolute times never go backwards.
fn check_times(script: &Script) -> Result<(), (Place, String)> {
    let Some(first) = script.events.first() else {
        return Err((place(1, 1), "no event".to_owned()));
    };
    if !matches!(first.when, When::At(0) | When::After(0)) {
        return Err((
            place(first.line, 1),
            "the first event must be at time 0".to_owned(),
        ));
    }
    for pair in script.events.windows(2) {
        if let (When::At(before), When::At(after)) = (pair[0].when, pair[1].when)
            && after < before
        {
            return Err((place(pair[1].line, 1), "time goes backwards".to_owned()));
        }
    }
    Ok(())
}

fn option_line(i: &mut Tokens<'_>) -> Parsed<OptionLine> {
    let line = i.first().map_or(1, |token| token.line);
    kind(Kind::Option)
        .map(|text: &str| {
            let (name, value) = match text.split_once('=') {
                Some((name, value)) => (name, Some(unquoted(value).to_owned())),
                None => (text, None),
            };
            OptionLine {
                line,
                name: name.to_owned(),
                value,
            }
        })
        .parse_next(i)
}

/// A value in quotes without them.
fn unquoted(value: &str) -> &str {
    value
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .unwrap_or(value)
}

fn command(i: &mut Tokens<'_>) -> Parsed<Command> {
    let line = i.first().map_or(1, |token| token.line);
    kind(Kind::Backquoted)
        .map(|text: &str| Command {
            line,
            text: text.to_owned(),
        })
        .parse_next(i)
}

fn event(i: &mut Tokens<'_>) -> Parsed<Event> {
    let line = i.first().map_or(1, |token| token.line);
    let when = when.context(expected("a time")).parse_next(i)?;
    let end = opt(preceded(kind(Kind::Ellipsis), micros)).parse_next(i)?;
    let action = alt((
        packet::packet.map(Action::Packet),
        kind(Kind::Backquoted).map(|text: &str| Action::Command(text.to_owned())),
        kind(Kind::Code).map(|text: &str| Action::Code(text.to_owned())),
        |i: &mut Tokens<'_>| call::syscall(i, end).map(Action::Syscall),
    ))
    .context(expected("a packet, a system call, a command or code"))
    .parse_next(i)?;
    if end.is_some() && !matches!(action, Action::Syscall(_)) {
        return wrong("a system call behind `T...T`");
    }
    let may_float = matches!(&action, Action::Packet(packet) if packet.dir == Direction::Expect);
    if !may_float && !matches!(when, When::At(_) | When::After(_)) {
        return wrong("a single time (ranges and `*` are for expected packets)");
    }
    Ok(Event { line, when, action })
}

fn when(i: &mut Tokens<'_>) -> Parsed<When> {
    if opt(punct('*')).parse_next(i)?.is_some() {
        return Ok(When::Any);
    }
    let relative = opt(punct('+')).parse_next(i)?;
    let start = micros.parse_next(i)?;
    let end = opt(preceded((punct('~'), opt(punct('+'))), micros)).parse_next(i)?;
    Ok(match (relative, end) {
        (None, None) => When::At(start),
        (Some(()), None) => When::After(start),
        (None, Some(end)) => When::AtRange(start, end),
        (Some(()), Some(end)) => When::AfterRange(start, end),
    })
}

/// Seconds, as whole microseconds (truncated).
fn micros(i: &mut Tokens<'_>) -> Parsed<Micros> {
    alt((kind(Kind::Int), kind(Kind::Float)))
        .verify_map(|text: &str| {
            let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
            let whole: u64 = if whole.is_empty() {
                0
            } else {
                whole.parse().ok()?
            };
            let digits: String = fraction.chars().chain("000000".chars()).take(6).collect();
            whole
                .checked_mul(1_000_000)?
                .checked_add(digits.parse().ok()?)
        })
        .parse_next(i)
}

/// Adjacent strings are one.
pub(super) fn string(i: &mut Tokens<'_>) -> Parsed<Vec<u8>> {
    let mut bytes = kind(Kind::Str).verify_map(lexer::unescape).parse_next(i)?;
    while let Some(more) = opt(kind(Kind::Str).verify_map(lexer::unescape)).parse_next(i)? {
        bytes.extend(more);
    }
    Ok(bytes)
}
