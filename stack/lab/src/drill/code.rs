//! `%{ … }%` blocks: the small part of Python that they are written in, over what the socket under test says of itself.
//!
//! The values are taken at the block's time, the text is run behind the whole script; variables live on from block to
//! block.

mod eval;
mod parse;
mod tcp_info;
#[cfg(test)]
mod tests;

pub(super) use eval::{Names, Trouble, number, run};
pub(super) use parse::parse;
pub use tcp_info::tcp_info_names;
pub(super) use tcp_info::{cc_info, meminfo};

/// One block, read.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Program {
    statements: Vec<Statement>,
}

/// A statement and its text.
#[derive(Debug, Clone, PartialEq)]
struct Statement {
    text: String,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    /// `assert condition[, message]`
    Assert(Expr, Option<Expr>),
    /// `name = value`
    Assign(String, Expr),
    /// `name += value` and the like
    Update(String, Binary, Expr),
    /// An expression for its own sake, `print(…)` for one.
    Plain(Expr),
}

#[derive(Debug, Clone, PartialEq)]
enum Expr {
    Const(Value),
    Name(String),
    Not(Box<Expr>),
    Negate(Box<Expr>),
    Invert(Box<Expr>),
    Binary(Box<Expr>, Binary, Box<Expr>),
    /// `a < b <= c`
    Compare(Box<Expr>, Vec<(Comparison, Expr)>),
    And(Vec<Expr>),
    Or(Vec<Expr>),
    /// `value if condition else other`
    Choice(Box<[Expr; 3]>),
    Tuple(Vec<Expr>),
    Call(String, Vec<Expr>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Binary {
    BitOr,
    BitXor,
    BitAnd,
    ShiftLeft,
    ShiftRight,
    Add,
    Subtract,
    Multiply,
    Divide,
    FloorDivide,
    Modulo,
    Power,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    In,
    NotIn,
}

#[derive(Debug, Clone, PartialEq)]
enum Value {
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Str(String),
    Tuple(Vec<Value>),
}
