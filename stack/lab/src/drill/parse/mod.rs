//! Script text to [`Script`]: a lexer and a grammar over its tokens.

mod call;
mod encap;
mod grammar;
mod lexer;
mod packet;
#[cfg(test)]
mod tests;

use super::ast::Script;

/// Why a text is not a script, or not one that the grammar knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct ParseError {
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1.
    pub column: u32,
    /// What was found, and what was expected.
    pub why: String,
}

impl ParseError {
    /// The line of `source` that is wrong, with a mark below the place.
    pub fn excerpt(&self, source: &str) -> String {
        let line = source
            .lines()
            .nth(self.line.saturating_sub(1) as usize)
            .unwrap_or("");
        let before = line.chars().take(self.column.saturating_sub(1) as usize);
        // Tabs stay, so that the mark stands where the eye expects it.
        let indent: String = before.map(|c| if c == '\t' { c } else { ' ' }).collect();
        format!("{line}\n{indent}^")
    }
}

/// Reads a script.
///
/// # Errors
/// See [`ParseError`].
pub fn parse(source: &str) -> Result<Script, ParseError> {
    parse_with(source, &[])
}

/// Reads a script in which some words stand for something else: name and replacement, which is `"a string"`,
/// `` `a command` ``, a number or a word. The script's own `--define=NAME=VALUE` lines come first: these here win.
///
/// # Errors
/// See [`ParseError`].
pub fn parse_with(source: &str, defines: &[(String, String)]) -> Result<Script, ParseError> {
    let failed = |(place, why): (lexer::Place, String)| ParseError {
        line: place.line,
        column: place.column,
        why,
    };
    let mut tokens = lexer::tokens(source)
        .map_err(|place| failed((place, "no token can be read".to_owned())))?;
    let own = tokens
        .iter()
        .filter(|token| token.kind == lexer::Kind::Option)
        .filter_map(|token| token.text.strip_prefix("define=")?.split_once('='));
    let given = defines
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let all: Vec<(&str, &str)> = own.chain(given).collect();
    lexer::replace(&mut tokens, &all);
    grammar::script(&tokens).map_err(failed)
}
