//! Script text to [`Script`]: a lexer and a grammar over its tokens.

mod call;
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
    /// What was found, and what was expected.
    pub why: String,
}

/// Reads a script.
pub fn parse(source: &str) -> Result<Script, ParseError> {
    let tokens = lexer::tokens(source).map_err(|line| ParseError {
        line,
        why: "no token can be read".to_owned(),
    })?;
    grammar::script(&tokens).map_err(|(line, why)| ParseError { line, why })
}
