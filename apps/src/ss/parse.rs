//! Reading a filter. What cannot be read is shown with its place.

use std::net::Ipv4Addr;

use millrace::Ipv4Net;

use super::ALL;
use super::filter::{Compare, End, Expression, Filter};
use super::services::Services;
use super::states;

/// How deep parentheses and `not` may go.
const DEPTH: usize = 100;

/// Reads a filter.
///
/// # Errors
///
/// A sentence, the filter, and a mark below the place where it cannot be read.
pub fn filter(text: &str, services: &Services) -> Result<Filter, String> {
    let mut parser = Parser {
        tokens: tokens(text),
        at: 0,
        end: text.len(),
        depth: 0,
        services,
    };
    parser.filter().map_err(|Wrong { at, why }| {
        let column = text[..at].chars().count();
        format!("filter: {why}\n  {text}\n  {:column$}^", "")
    })
}

/// What is wrong, and where.
struct Wrong {
    at: usize,
    why: String,
}

/// A word or an operator.
#[derive(Clone, Copy)]
struct Token<'a> {
    at: usize,
    text: &'a str,
}

/// Words end at white space, parentheses and operators.
fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        let length = if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        } else if is_operator(first) {
            let two = rest.get(..2).unwrap_or_default();
            if ["==", "!=", "<=", ">=", "||", "&&"].contains(&two) {
                2
            } else {
                1
            }
        } else {
            rest.find(|c: char| c.is_whitespace() || is_operator(c))
                .unwrap_or(rest.len())
        };
        tokens.push(Token {
            at,
            text: &rest[..length],
        });
        at += length;
    }
    tokens
}

fn is_operator(c: char) -> bool {
    "()=!<>|&".contains(c)
}

struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    at: usize,
    /// Where the text ends.
    end: usize,
    depth: usize,
    services: &'a Services,
}

impl<'a> Parser<'a> {
    fn filter(&mut self) -> Result<Filter, Wrong> {
        let states = self.states()?;
        let expression = match self.peek() {
            None => None,
            Some(_) => Some(self.or()?),
        };
        match self.peek() {
            None => Ok(Filter { states, expression }),
            Some(_) => Err(self.expected("`and`, `or`, or the end")),
        }
    }

    /// `state A state B` are both, `exclude A` all but it.
    fn states(&mut self) -> Result<Option<u16>, Wrong> {
        let mut found: Option<u16> = None;
        loop {
            let exclude = match self.peek() {
                Some("state") => false,
                Some("exclude" | "excl") => true,
                _ => return Ok(found),
            };
            self.at += 1;
            let states = self.peek().and_then(states::named).ok_or_else(|| {
                self.expected("a state such as established, listening, time-wait, connected or all")
            })?;
            self.at += 1;
            found = Some(match exclude {
                false => found.unwrap_or(0) | states,
                true => found.unwrap_or(ALL) & !states,
            });
        }
    }

    fn or(&mut self) -> Result<Expression, Wrong> {
        let mut left = self.and()?;
        while self.accept(&["or", "|", "||"]) {
            left = Expression::Or(Box::new(left), Box::new(self.and()?));
        }
        Ok(left)
    }

    /// `and` may be left out.
    fn and(&mut self) -> Result<Expression, Wrong> {
        let mut left = self.not()?;
        while self.accept(&["and", "&", "&&"])
            || self
                .peek()
                .is_some_and(|next| !["or", "|", "||", ")"].contains(&next))
        {
            left = Expression::And(Box::new(left), Box::new(self.not()?));
        }
        Ok(left)
    }

    fn not(&mut self) -> Result<Expression, Wrong> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(self.wrong(format!("nested deeper than {DEPTH}")));
        }
        let inner = if self.accept(&["not", "!"]) {
            Expression::Not(Box::new(self.not()?))
        } else if self.accept(&["("]) {
            let inner = self.or()?;
            if !self.accept(&[")"]) {
                return Err(self.expected("`)`"));
            }
            inner
        } else {
            self.predicate()?
        };
        self.depth -= 1;
        Ok(inner)
    }

    fn predicate(&mut self) -> Result<Expression, Wrong> {
        let (end, port) = match self.peek() {
            Some("src") => (End::Source, false),
            Some("dst") => (End::Destination, false),
            Some("sport") => (End::Source, true),
            Some("dport") => (End::Destination, true),
            Some("dev" | "fwmark" | "cgroup" | "autobound") => {
                return Err(self.wrong(
                    "dev, fwmark, cgroup and autobound are not known of these sockets; use src, dst, sport or dport"
                        .to_owned(),
                ));
            }
            _ => return Err(self.expected("src, dst, sport, dport, `not` or `(`")),
        };
        self.at += 1;
        if port {
            let how = self.comparison();
            let port = self.word(Self::port)?;
            return Ok(Expression::Port(end, how, port));
        }
        match self.comparison() {
            Compare::Equal => {}
            _ => {
                self.at -= 1;
                return Err(self
                    .wrong("addresses are only compared with `=`; put `not` in front".to_owned()));
            }
        }
        let (net, port) = self.word(Self::host)?;
        Ok(Expression::Host(end, net, port))
    }

    /// Equality if none is given.
    fn comparison(&mut self) -> Compare {
        let how = match self.peek() {
            Some("=" | "==" | "eq") => Compare::Equal,
            Some("!=" | "ne" | "neq") => Compare::NotEqual,
            Some("<" | "lt") => Compare::Less,
            Some("<=" | "le" | "leq") => Compare::LessOrEqual,
            Some(">" | "gt") => Compare::Greater,
            Some(">=" | "ge" | "geq") => Compare::GreaterOrEqual,
            _ => return Compare::Equal,
        };
        self.at += 1;
        how
    }

    /// The next word, as `read` understands it.
    fn word<T>(&mut self, read: impl Fn(&Self, &str) -> Result<T, String>) -> Result<T, Wrong> {
        let Some(word) = self.peek() else {
            return Err(self.expected("an address or a port"));
        };
        let value = read(self, word).map_err(|why| self.wrong(why))?;
        self.at += 1;
        Ok(value)
    }

    /// `:PORT`, or without the colon; of IPv4, if a family is named.
    fn port(&self, word: &str) -> Result<u16, String> {
        let word = word.strip_prefix("inet:").unwrap_or(word);
        let word = word.strip_prefix(':').unwrap_or(word);
        self.service(word)
    }

    fn service(&self, word: &str) -> Result<u16, String> {
        let known = word.parse().ok().or_else(|| self.services.port(word));
        known.ok_or_else(|| format!("`{word}` is no port and no service in /etc/services"))
    }

    /// `ADDRESS[/PREFIX][:PORT]`; `*` is any.
    fn host(&self, word: &str) -> Result<(Option<Ipv4Net>, Option<u16>), String> {
        let word = word.strip_prefix("inet:").unwrap_or(word);
        let (address, port) = word.split_once(':').unwrap_or((word, "*"));
        let net = match address {
            "" | "*" => None,
            address => Some(network(address).ok_or_else(|| {
                format!("`{address}` is no IPv4 address or network, such as 10.0.0.1 or 10.0.0.0/8")
            })?),
        };
        let port = match port {
            "" | "*" => None,
            port => Some(self.service(port)?),
        };
        Ok((net, port))
    }

    fn peek(&self) -> Option<&'a str> {
        self.tokens.get(self.at).map(|token| token.text)
    }

    fn accept(&mut self, words: &[&str]) -> bool {
        let found = self.peek().is_some_and(|next| words.contains(&next));
        self.at += usize::from(found);
        found
    }

    fn wrong(&self, why: String) -> Wrong {
        let at = self.tokens.get(self.at).map_or(self.end, |token| token.at);
        Wrong { at, why }
    }

    fn expected(&self, what: &str) -> Wrong {
        self.wrong(match self.peek() {
            Some(found) => format!("`{found}` stands where {what} is expected"),
            None => format!("it ends where {what} is expected"),
        })
    }
}

/// An address or a network; octets that are left out are zero, as in 10/8.
fn network(text: &str) -> Option<Ipv4Net> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, length.parse().ok()?),
        None => (text, 32),
    };
    let mut octets = [0; 4];
    let mut places = octets.iter_mut();
    for part in address.split('.') {
        *places.next()? = part.parse().ok()?;
    }
    Ipv4Net::new(Ipv4Addr::from(octets), length).ok()
}

#[cfg(test)]
mod tests;
