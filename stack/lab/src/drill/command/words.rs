//! A command line to words: quotes, pipelines, lists, and redirections that lead nowhere.

use crate::drill::code;

/// How a pipeline follows the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Join {
    /// `;` or a line end.
    Then,
    /// `&&`
    And,
    /// `||`
    Or,
}

/// A pipeline and how it follows the one before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) join: Join,
    /// The commands, each as its words.
    pub(super) pipeline: Vec<Vec<String>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Pipe,
    Join(Join),
}

/// Reads a command line; the error is what a real shell would be needed for.
pub(super) fn read(text: &str) -> Result<Vec<Chain>, String> {
    let mut chains = vec![chain(Join::Then)];
    for token in tokens(text)? {
        let last = chains.len() - 1;
        match token {
            Token::Join(join) => chains.push(chain(join)),
            Token::Pipe => chains[last].pipeline.push(Vec::new()),
            Token::Word(word) => {
                if let Some(command) = chains[last].pipeline.last_mut() {
                    command.push(word);
                }
            }
        }
    }
    for chain in &mut chains {
        chain.pipeline = chain
            .pipeline
            .drain(..)
            .map(without_redirections)
            .collect::<Result<_, _>>()?;
    }
    chains.retain(|chain| chain.pipeline.iter().any(|words| !words.is_empty()));
    Ok(chains)
}

fn chain(join: Join) -> Chain {
    Chain {
        join,
        pipeline: vec![Vec::new()],
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut out = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let operator = match c {
            '|' if chars.next_if_eq(&'|').is_some() => Some(Token::Join(Join::Or)),
            '|' => Some(Token::Pipe),
            '&' if chars.next_if_eq(&'&').is_some() => Some(Token::Join(Join::And)),
            ';' | '\n' => Some(Token::Join(Join::Then)),
            _ => None,
        };
        if let Some(operator) = operator {
            out.extend(word.take().map(Token::Word));
            out.push(operator);
            continue;
        }
        match c {
            '\\' if chars.next_if_eq(&'\n').is_some() => {}
            c if c.is_whitespace() => out.extend(word.take().map(Token::Word)),
            '#' if word.is_none() => while chars.next_if(|c| *c != '\n').is_some() {},
            '\'' | '"' => quoted(c, &mut chars, word.get_or_insert_default())?,
            // Restored settings carry the shell's own number in their name.
            '$' if chars.peek() == Some(&'{') => word.get_or_insert_default().push(c),
            '$' => {
                let sum =
                    arithmetic(&mut chars).ok_or_else(|| format!("`{text}` needs a shell"))?;
                word.get_or_insert_default().push_str(&sum);
            }
            '`' | '(' | ')' => return Err(format!("`{text}` needs a shell")),
            c => word.get_or_insert_default().push(c),
        }
    }
    out.extend(word.map(Token::Word));
    Ok(out)
}

fn quoted(
    quote: char,
    chars: &mut impl Iterator<Item = char>,
    word: &mut String,
) -> Result<(), String> {
    while let Some(c) = chars.next() {
        match c {
            c if c == quote => return Ok(()),
            '$' if quote == '"' => {
                let sum = arithmetic(chars).ok_or("quotes that need a shell")?;
                word.push_str(&sum);
            }
            '`' | '\\' if quote == '"' => return Err("quotes that need a shell".to_owned()),
            c => word.push(c),
        }
    }
    Err("a quote without its end".to_owned())
}

/// `((15*1024))` behind a `$`; `None`: something else stands there.
fn arithmetic(chars: &mut impl Iterator<Item = char>) -> Option<String> {
    if (chars.next(), chars.next()) != (Some('('), Some('(')) {
        return None;
    }
    let inner: String = chars.by_ref().take_while(|c| *c != ')').collect();
    if chars.next() != Some(')') {
        return None;
    }
    code::number(&inner).map(|n| n.to_string())
}

/// `>/dev/null`, `2>&1` and so on: nobody reads what is printed.
fn without_redirections(words: Vec<String>) -> Result<Vec<String>, String> {
    let mut out = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let digits = word.trim_start_matches(|c: char| c.is_ascii_digit() || c == '&');
        let Some(target) = digits.strip_prefix('>') else {
            out.push(word);
            continue;
        };
        let target = match target.trim_start_matches('>') {
            "" => words.next().unwrap_or_default(),
            glued => glued.to_owned(),
        };
        // `2>&1` comes as two words, for `&` alone is no operator here.
        if target != "/dev/null" && target != "&1" && target != "&2" {
            return Err(format!("a redirection to {target}"));
        }
    }
    Ok(out)
}
