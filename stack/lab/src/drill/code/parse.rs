//! Text to statements.

use winnow::ascii::{digit1, hex_digit1, multispace0};
use winnow::combinator::{
    alt, delimited, fail, not, opt, peek, preceded, repeat, separated, terminated,
};
use winnow::prelude::*;
use winnow::token::{one_of, take_till, take_while};

use super::{Binary, Comparison, Expr, Kind, Program, Statement, Value};

type Parsed<T> = winnow::Result<T>;

/// Deepest nesting of brackets.
const MAX_DEPTH: usize = 32;

/// Operators by their binding, the loosest first. Where one begins like another the longer stands first.
const LEVELS: [&[(&str, Binary)]; 6] = [
    &[("|", Binary::BitOr)],
    &[("^", Binary::BitXor)],
    &[("&", Binary::BitAnd)],
    &[("<<", Binary::ShiftLeft), (">>", Binary::ShiftRight)],
    &[("+", Binary::Add), ("-", Binary::Subtract)],
    &[
        ("//", Binary::FloorDivide),
        ("/", Binary::Divide),
        ("*", Binary::Multiply),
        ("%", Binary::Modulo),
    ],
];

const COMPARISONS: [(&str, Comparison); 6] = [
    ("==", Comparison::Equal),
    ("!=", Comparison::NotEqual),
    ("<=", Comparison::LessEqual),
    (">=", Comparison::GreaterEqual),
    ("<", Comparison::Less),
    (">", Comparison::Greater),
];

/// Words that cannot be names.
const RESERVED: [&str; 14] = [
    "and", "or", "not", "if", "else", "in", "is", "assert", "for", "while", "def", "import",
    "lambda", "pass",
];

/// Reads a block; the error is the statement that is not of our part of the language.
pub(in crate::drill) fn parse(text: &str) -> Result<Program, String> {
    let mut statements = Vec::new();
    for text in split(text)? {
        let kind = statement.parse(text.as_str()).map_err(|_| text.clone())?;
        statements.push(Statement { text, kind });
    }
    Ok(Program { statements })
}

/// Cuts a block into statements: at line ends and semicolons outside of strings and brackets. Comments and joined
/// line ends disappear.
fn split(text: &str) -> Result<Vec<String>, String> {
    let mut statements = Vec::new();
    let mut current = String::new();
    let mut depth = 0usize;
    let mut quote = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if let Some(open) = quote {
            current.push(c);
            if c == '\\' {
                current.extend(chars.next());
            } else if c == open {
                quote = None;
            }
            continue;
        }
        match c {
            '\'' | '"' => quote = Some(c),
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err("too many brackets".to_owned());
        }
        match c {
            '#' => while chars.next_if(|c| *c != '\n').is_some() {},
            '\\' if chars.peek() == Some(&'\n') => {
                chars.next();
                current.push(' ');
            }
            '\n' | ';' if depth == 0 => statements.push(std::mem::take(&mut current)),
            '\n' | '\r' => current.push(' '),
            other => current.push(other),
        }
    }
    statements.push(current);
    let trimmed = statements.iter().map(|text| text.trim().to_owned());
    Ok(trimmed
        .filter(|text| !text.is_empty() && text != "pass")
        .collect())
}

fn statement(i: &mut &str) -> Parsed<Kind> {
    let assert = preceded(
        keyword("assert"),
        (tuple_item, opt(preceded(sign(","), tuple))),
    )
    .map(|(condition, message)| Kind::Assert(condition, message));
    let assign = (terminated(name, (sign("="), not('='))), tuple)
        .map(|(name, value)| Kind::Assign(name, value));
    let update = (name, update_sign, tuple).map(|(name, op, value)| Kind::Update(name, op, value));
    alt((assert, assign, update, tuple.map(Kind::Plain))).parse_next(i)
}

fn update_sign(i: &mut &str) -> Parsed<Binary> {
    let op = operator(&LEVELS[4..]).parse_next(i)?;
    "=".parse_next(i)?;
    multispace0.parse_next(i)?;
    Ok(op)
}

/// `a` or `a, b`.
fn tuple(i: &mut &str) -> Parsed<Expr> {
    let mut items: Vec<Expr> = separated(1.., tuple_item, sign(",")).parse_next(i)?;
    let open = opt(sign(",")).parse_next(i)?.is_some();
    Ok(match items.len() {
        1 if !open => items.swap_remove(0),
        _ => Expr::Tuple(items),
    })
}

/// `value if condition else other`.
fn tuple_item(i: &mut &str) -> Parsed<Expr> {
    let value = disjunction.parse_next(i)?;
    let mut rest = opt((
        preceded(keyword("if"), disjunction),
        preceded(keyword("else"), tuple_item),
    ));
    Ok(match rest.parse_next(i)? {
        None => value,
        Some((condition, other)) => Expr::Choice(Box::new([condition, value, other])),
    })
}

fn disjunction(i: &mut &str) -> Parsed<Expr> {
    let terms: Vec<Expr> = separated(1.., conjunction, keyword("or")).parse_next(i)?;
    Ok(one_or(terms, Expr::Or))
}

fn conjunction(i: &mut &str) -> Parsed<Expr> {
    let terms: Vec<Expr> = separated(1.., negation, keyword("and")).parse_next(i)?;
    Ok(one_or(terms, Expr::And))
}

fn one_or(mut terms: Vec<Expr>, many: impl FnOnce(Vec<Expr>) -> Expr) -> Expr {
    match terms.len() {
        1 => terms.swap_remove(0),
        _ => many(terms),
    }
}

fn negation(i: &mut &str) -> Parsed<Expr> {
    let nots: Vec<()> = repeat(0..=MAX_DEPTH, keyword("not")).parse_next(i)?;
    let inner = comparison.parse_next(i)?;
    Ok(nots
        .iter()
        .fold(inner, |inner, ()| Expr::Not(Box::new(inner))))
}

fn comparison(i: &mut &str) -> Parsed<Expr> {
    let first = level(0).parse_next(i)?;
    let rest: Vec<(Comparison, Expr)> = repeat(0.., (comparator, level(0))).parse_next(i)?;
    Ok(match rest.is_empty() {
        true => first,
        false => Expr::Compare(Box::new(first), rest),
    })
}

fn comparator(i: &mut &str) -> Parsed<Comparison> {
    for (text, comparison) in COMPARISONS {
        if opt(sign(text)).parse_next(i)?.is_some() {
            return Ok(comparison);
        }
    }
    alt((
        keyword("in").value(Comparison::In),
        (keyword("not"), keyword("in")).value(Comparison::NotIn),
    ))
    .parse_next(i)
}

/// Operators that bind as `at` or closer, from the left.
fn level<'s>(at: usize) -> impl Parser<&'s str, Expr, winnow::error::ContextError> {
    move |i: &mut &'s str| -> Parsed<Expr> {
        let Some(operators) = LEVELS.get(at..=at) else {
            return unary.parse_next(i);
        };
        let first = level(at + 1).parse_next(i)?;
        let one = (operator(operators), level(at + 1));
        let rest: Vec<(Binary, Expr)> = repeat(0.., one).parse_next(i)?;
        Ok(rest.into_iter().fold(first, |left, (op, right)| {
            Expr::Binary(Box::new(left), op, Box::new(right))
        }))
    }
}

/// One of these operators, unless it is the beginning of `+=` or of a comparison.
fn operator<'s>(
    levels: &'static [&'static [(&'static str, Binary)]],
) -> impl Parser<&'s str, Binary, winnow::error::ContextError> {
    move |i: &mut &'s str| -> Parsed<Binary> {
        for (text, op) in levels.iter().flat_map(|level| level.iter()) {
            if opt(*text).parse_next(i)?.is_some() {
                multispace0.parse_next(i)?;
                return Ok(*op);
            }
        }
        fail.parse_next(i)
    }
}

fn unary(i: &mut &str) -> Parsed<Expr> {
    let signs: Vec<char> = repeat(
        0..=MAX_DEPTH,
        terminated(one_of(['-', '+', '~']), multispace0),
    )
    .parse_next(i)?;
    let inner = power.parse_next(i)?;
    Ok(signs.iter().rev().fold(inner, |inner, sign| match sign {
        '-' => Expr::Negate(Box::new(inner)),
        '~' => Expr::Invert(Box::new(inner)),
        _ => inner,
    }))
}

fn power(i: &mut &str) -> Parsed<Expr> {
    let base = primary.parse_next(i)?;
    Ok(match opt(preceded(sign("**"), unary)).parse_next(i)? {
        None => base,
        Some(exponent) => Expr::Binary(Box::new(base), Binary::Power, Box::new(exponent)),
    })
}

fn primary(i: &mut &str) -> Parsed<Expr> {
    let arguments = delimited(sign("("), separated(0.., tuple_item, sign(",")), sign(")"));
    let brackets = alt((
        delimited(sign("("), tuple, sign(")")),
        delimited(sign("["), separated(0.., tuple_item, sign(",")), sign("]")).map(Expr::Tuple),
    ));
    alt((
        number,
        string.map(|text| Expr::Const(Value::Str(text))),
        brackets,
        (name, opt(arguments)).map(|(name, args)| match (args, name.as_str()) {
            (Some(args), _) => Expr::Call(name, args),
            (None, "True") => Expr::Const(Value::Bool(true)),
            (None, "False") => Expr::Const(Value::Bool(false)),
            (None, "None") => Expr::Const(Value::None),
            (None, _) => Expr::Name(name),
        }),
    ))
    .parse_next(i)
}

fn number(i: &mut &str) -> Parsed<Expr> {
    let hex = preceded(alt(("0x", "0X")), hex_digit1)
        .try_map(|digits| i128::from_str_radix(digits, 16).map(Value::Int));
    let exponent = (one_of(['e', 'E']), opt(one_of(['+', '-'])), digit1);
    let float = alt((
        (digit1, '.', opt(digit1), opt(exponent)).take(),
        ('.', digit1).take(),
    ))
    .try_map(|text: &str| text.parse::<f64>().map(Value::Float));
    let int = digit1.try_map(|text: &str| text.parse::<i128>().map(Value::Int));
    terminated(alt((hex, float, int)), multispace0)
        .map(Expr::Const)
        .parse_next(i)
}

fn string(i: &mut &str) -> Parsed<String> {
    let one = |quote: char| {
        delimited(quote, repeat(0.., string_piece(quote)), quote)
            .map(|pieces: Vec<String>| pieces.concat())
    };
    let piece = terminated(alt((one('\''), one('"'))), multispace0);
    repeat(1.., piece)
        .map(|pieces: Vec<String>| pieces.concat())
        .parse_next(i)
}

fn string_piece<'s>(quote: char) -> impl Parser<&'s str, String, winnow::error::ContextError> {
    let escape = preceded(
        '\\',
        alt((
            'n'.value("\n".to_owned()),
            't'.value("\t".to_owned()),
            one_of(['\\', '\'', '"']).map(|c: char| c.to_string()),
        )),
    );
    let plain = take_till(1.., move |c: char| c == quote || c == '\\').map(str::to_owned);
    alt((escape, plain))
}

fn name(i: &mut &str) -> Parsed<String> {
    peek(one_of(|c: char| c.is_ascii_alphabetic() || c == '_')).parse_next(i)?;
    terminated(take_while(1.., is_word), multispace0)
        .verify(|word: &str| !RESERVED.contains(&word))
        .map(str::to_owned)
        .parse_next(i)
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn keyword<'s>(word: &'static str) -> impl Parser<&'s str, (), winnow::error::ContextError> {
    terminated(take_while(1.., is_word), multispace0)
        .verify(move |text: &str| text == word)
        .void()
}

fn sign<'s>(text: &'static str) -> impl Parser<&'s str, (), winnow::error::ContextError> {
    (text, multispace0).void()
}
