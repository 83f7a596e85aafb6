//! Runs blocks.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::{Binary, Comparison, Expr, Kind, Program, Value};

/// Names that a snapshot gives values to.
pub(in crate::drill) type Names = Vec<(&'static str, i128)>;

/// Why a block does not run to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::drill) enum Trouble {
    /// An assertion is wrong: its text, and what its names stand for.
    Wrong {
        /// The statement.
        text: String,
        /// The values, and the message if there is one.
        got: String,
    },
    /// A name or function that is not known here.
    Unknown(String),
    /// An operation that has no result, such as a division by zero.
    Error(String),
}

type Evaluated = Result<Value, Trouble>;

/// Runs blocks in order, each after its names have got their values; what they print.
pub(in crate::drill) fn run<'p>(
    blocks: impl Iterator<Item = (u32, &'p Names, &'p Program)>,
) -> Result<Vec<String>, (u32, Trouble)> {
    let mut machine = Variables::default();
    for (line, names, program) in blocks {
        for (name, value) in names {
            machine.set(name, Value::Int(*value));
        }
        for statement in &program.statements {
            machine
                .statement(&statement.kind, &statement.text)
                .map_err(|trouble| (line, trouble))?;
        }
    }
    Ok(machine.printed)
}

/// The whole number that an expression without names stands for.
pub(in crate::drill) fn number(text: &str) -> Option<i128> {
    let program = super::parse(text).ok()?;
    match program.statements.as_slice() {
        [statement] => match &statement.kind {
            Kind::Plain(expr) => int(&Variables::default().value(expr).ok()?).ok(),
            _ => None,
        },
        _ => None,
    }
}

#[derive(Default)]
struct Variables {
    values: BTreeMap<String, Value>,
    printed: Vec<String>,
}

impl Variables {
    fn set(&mut self, name: &str, value: Value) {
        self.values.insert(name.to_owned(), value);
    }

    fn statement(&mut self, kind: &Kind, text: &str) -> Result<(), Trouble> {
        match kind {
            Kind::Assert(condition, message) => {
                if truth(&self.value(condition)?) {
                    return Ok(());
                }
                let mut got = Vec::new();
                self.names_in(condition, &mut got);
                if let Some(message) = message {
                    got.push(shown(&self.value(message)?));
                }
                return Err(Trouble::Wrong {
                    text: text.to_owned(),
                    got: got.join(", "),
                });
            }
            Kind::Assign(name, value) => {
                let value = self.value(value)?;
                self.set(name, value);
            }
            Kind::Update(name, op, value) => {
                let right = self.value(value)?;
                let left = self.value(&Expr::Name(name.clone()))?;
                let value = binary(left, *op, right)?;
                self.set(name, value);
            }
            Kind::Plain(value) => drop(self.value(value)?),
        }
        Ok(())
    }

    fn value(&mut self, expr: &Expr) -> Evaluated {
        Ok(match expr {
            Expr::Const(value) => value.clone(),
            Expr::Name(name) => self
                .values
                .get(name)
                .cloned()
                .or_else(|| constant(name))
                .ok_or_else(|| Trouble::Unknown(name.clone()))?,
            Expr::Not(inner) => Value::Bool(!truth(&self.value(inner)?)),
            Expr::Negate(inner) => binary(Value::Int(0), Binary::Subtract, self.value(inner)?)?,
            Expr::Invert(inner) => binary(Value::Int(-1), Binary::BitXor, self.value(inner)?)?,
            Expr::Binary(left, op, right) => {
                let left = self.value(left)?;
                binary(left, *op, self.value(right)?)?
            }
            Expr::Compare(first, rest) => self.compare(first, rest)?,
            Expr::And(terms) => self.first(terms, false)?,
            Expr::Or(terms) => self.first(terms, true)?,
            Expr::Choice(parts) => {
                let [condition, value, other] = parts.as_ref();
                match truth(&self.value(condition)?) {
                    true => self.value(value)?,
                    false => self.value(other)?,
                }
            }
            Expr::Tuple(items) => Value::Tuple(self.values(items)?),
            Expr::Call(name, args) => {
                let args = self.values(args)?;
                self.call(name, args)?
            }
        })
    }

    fn values(&mut self, items: &[Expr]) -> Result<Vec<Value>, Trouble> {
        items.iter().map(|item| self.value(item)).collect()
    }

    /// The first of `terms` whose truth is `wanted`, or the last one.
    fn first(&mut self, terms: &[Expr], wanted: bool) -> Evaluated {
        let mut last = Value::Bool(!wanted);
        for term in terms {
            last = self.value(term)?;
            if truth(&last) == wanted {
                break;
            }
        }
        Ok(last)
    }

    fn compare(&mut self, first: &Expr, rest: &[(Comparison, Expr)]) -> Evaluated {
        let mut left = self.value(first)?;
        for (comparison, right) in rest {
            let right = self.value(right)?;
            if !holds(&left, *comparison, &right)? {
                return Ok(Value::Bool(false));
            }
            left = right;
        }
        Ok(Value::Bool(true))
    }

    fn call(&mut self, name: &str, args: Vec<Value>) -> Evaluated {
        match (name, args.as_slice()) {
            ("print", args) => {
                let words: Vec<String> = args.iter().map(shown).collect();
                self.printed.push(words.join(" "));
                Ok(Value::None)
            }
            ("abs", [Value::Int(n)]) => Ok(Value::Int(n.saturating_abs())),
            ("abs", [Value::Float(x)]) => Ok(Value::Float(x.abs())),
            ("int", [Value::Float(x)]) => Ok(Value::Int(*x as i128)),
            ("int", [value @ (Value::Int(_) | Value::Bool(_))]) => Ok(Value::Int(int(value)?)),
            ("float", [value]) => Ok(Value::Float(float(value)?)),
            ("str", [value]) => Ok(Value::Str(shown(value))),
            ("min" | "max", [Value::Tuple(items)]) => extreme(name, items),
            ("min" | "max", items) => extreme(name, items),
            _ => Err(Trouble::Unknown(format!("{name}()"))),
        }
    }

    /// `name = value` of all names in an expression, for messages.
    fn names_in(&self, expr: &Expr, out: &mut Vec<String>) {
        match expr {
            Expr::Name(name) => {
                if let Some(value) = self.values.get(name) {
                    let text = format!("{name} = {}", shown(value));
                    if !out.contains(&text) {
                        out.push(text);
                    }
                }
            }
            Expr::Const(_) => {}
            Expr::Not(inner) | Expr::Negate(inner) | Expr::Invert(inner) => {
                self.names_in(inner, out)
            }
            Expr::Binary(left, _, right) => {
                self.names_in(left, out);
                self.names_in(right, out);
            }
            Expr::Compare(first, rest) => {
                self.names_in(first, out);
                rest.iter().for_each(|(_, expr)| self.names_in(expr, out));
            }
            Expr::And(list) | Expr::Or(list) | Expr::Tuple(list) | Expr::Call(_, list) => {
                list.iter().for_each(|expr| self.names_in(expr, out));
            }
            Expr::Choice(parts) => parts.iter().for_each(|expr| self.names_in(expr, out)),
        }
    }
}

/// States and bits of TCP.
fn constant(name: &str) -> Option<Value> {
    let known = ["TCP_", "TCPI_", "TCP_CA_"];
    known
        .iter()
        .any(|prefix| name.starts_with(prefix))
        .then(|| crate::drill::symbols::constant(name))
        .flatten()
        .map(|value| Value::Int(i128::from(value)))
}

fn truth(value: &Value) -> bool {
    match value {
        Value::None => false,
        Value::Bool(on) => *on,
        Value::Int(n) => *n != 0,
        Value::Float(x) => *x != 0.0,
        Value::Str(text) => !text.is_empty(),
        Value::Tuple(items) => !items.is_empty(),
    }
}

fn int(value: &Value) -> Result<i128, Trouble> {
    match value {
        Value::Int(n) => Ok(*n),
        Value::Bool(on) => Ok(i128::from(*on)),
        other => Err(Trouble::Error(format!(
            "{} is no whole number",
            shown(other)
        ))),
    }
}

fn float(value: &Value) -> Result<f64, Trouble> {
    match value {
        Value::Float(x) => Ok(*x),
        other => Ok(int(other)? as f64),
    }
}

fn extreme(name: &str, items: &[Value]) -> Evaluated {
    let mut best: Option<&Value> = None;
    for item in items {
        let better = match best {
            None => true,
            Some(best) if name == "min" => holds(item, Comparison::Less, best)?,
            Some(best) => holds(item, Comparison::Greater, best)?,
        };
        best = if better { Some(item) } else { best };
    }
    best.cloned()
        .ok_or_else(|| Trouble::Error(format!("{name}() of nothing")))
}

fn holds(left: &Value, comparison: Comparison, right: &Value) -> Result<bool, Trouble> {
    let order = || -> Result<Option<Ordering>, Trouble> {
        match (left, right) {
            (Value::Str(a), Value::Str(b)) => Ok(Some(a.cmp(b))),
            (Value::Float(_), _) | (_, Value::Float(_)) => {
                Ok(float(left)?.partial_cmp(&float(right)?))
            }
            _ => Ok(Some(int(left)?.cmp(&int(right)?))),
        }
    };
    Ok(match comparison {
        Comparison::Equal => equal(left, right),
        Comparison::NotEqual => !equal(left, right),
        Comparison::Less => order()? == Some(Ordering::Less),
        Comparison::LessEqual => matches!(order()?, Some(Ordering::Less | Ordering::Equal)),
        Comparison::Greater => order()? == Some(Ordering::Greater),
        Comparison::GreaterEqual => matches!(order()?, Some(Ordering::Greater | Ordering::Equal)),
        Comparison::In => contains(right, left)?,
        Comparison::NotIn => !contains(right, left)?,
    })
}

fn equal(left: &Value, right: &Value) -> bool {
    match (int(left), int(right)) {
        (Ok(a), Ok(b)) => a == b,
        _ => match (left, right) {
            (Value::Float(_), _) | (_, Value::Float(_)) => {
                matches!((float(left), float(right)), (Ok(a), Ok(b)) if a == b)
            }
            _ => left == right,
        },
    }
}

fn contains(whole: &Value, part: &Value) -> Result<bool, Trouble> {
    match (whole, part) {
        (Value::Tuple(items), part) => Ok(items.iter().any(|item| equal(item, part))),
        (Value::Str(whole), Value::Str(part)) => Ok(whole.contains(part.as_str())),
        _ => Err(Trouble::Error(format!(
            "nothing can be in {}",
            shown(whole)
        ))),
    }
}

fn binary(left: Value, op: Binary, right: Value) -> Evaluated {
    match (&left, op, &right) {
        (Value::Str(format), Binary::Modulo, args) => format_text(format, args),
        (Value::Str(a), Binary::Add, Value::Str(b)) => Ok(Value::Str(format!("{a}{b}"))),
        (_, Binary::Divide, _) | (Value::Float(_), _, _) | (_, _, Value::Float(_)) => {
            floats(float(&left)?, op, float(&right)?)
        }
        _ => ints(int(&left)?, op, int(&right)?),
    }
}

fn floats(a: f64, op: Binary, b: f64) -> Evaluated {
    let zero = || Err(Trouble::Error("a division by zero".to_owned()));
    Ok(Value::Float(match op {
        Binary::Add => a + b,
        Binary::Subtract => a - b,
        Binary::Multiply => a * b,
        Binary::Divide | Binary::FloorDivide | Binary::Modulo if b == 0.0 => return zero(),
        Binary::Divide => a / b,
        Binary::FloorDivide => (a / b).floor(),
        Binary::Modulo => a - b * (a / b).floor(),
        Binary::Power => a.powf(b),
        _ => return Err(Trouble::Error("bits of a fraction".to_owned())),
    }))
}

fn ints(a: i128, op: Binary, b: i128) -> Evaluated {
    let shift = u32::try_from(b).ok().filter(|by| *by < 100);
    let result = match op {
        Binary::BitOr => Some(a | b),
        Binary::BitXor => Some(a ^ b),
        Binary::BitAnd => Some(a & b),
        Binary::ShiftLeft => shift.and_then(|by| a.checked_mul(1 << by)),
        Binary::ShiftRight => shift.map(|by| a >> by),
        Binary::Add => a.checked_add(b),
        Binary::Subtract => a.checked_sub(b),
        Binary::Multiply => a.checked_mul(b),
        // Rounded down, as Python does.
        Binary::FloorDivide => floor_divide(a, b),
        Binary::Modulo => floor_divide(a, b).and_then(|n| a.checked_sub(n.checked_mul(b)?)),
        Binary::Power => shift.and_then(|by| a.checked_pow(by)),
        Binary::Divide => return floats(a as f64, op, b as f64),
    };
    result
        .map(Value::Int)
        .ok_or_else(|| Trouble::Error(format!("{a} {op:?} {b} has no result")))
}

fn floor_divide(a: i128, b: i128) -> Option<i128> {
    let down = a.checked_div(b)?;
    match a.checked_rem(b)? != 0 && (a < 0) != (b < 0) {
        true => down.checked_sub(1),
        false => Some(down),
    }
}

/// `'… %d … %s …' % args`; widths and precisions are left out of account.
fn format_text(format: &str, args: &Value) -> Evaluated {
    let mut args = match args {
        Value::Tuple(items) => items.as_slice(),
        single => std::slice::from_ref(single),
    }
    .iter();
    let mut out = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let conversion = chars.find(|c| c.is_ascii_alphabetic() || *c == '%');
        let mut next = || {
            args.next()
                .ok_or_else(|| Trouble::Error("too few values for the format".to_owned()))
        };
        match conversion {
            Some('%') => out.push('%'),
            Some('x') => out.push_str(&format!("{:x}", int(next()?)?)),
            Some('f' | 'g') => out.push_str(&float(next()?)?.to_string()),
            Some('d' | 'i' | 'u' | 's' | 'r') => out.push_str(&shown(next()?)),
            _ => return Err(Trouble::Error(format!("the format {format:?}"))),
        }
    }
    Ok(Value::Str(out))
}

fn shown(value: &Value) -> String {
    match value {
        Value::None => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Int(n) => n.to_string(),
        Value::Float(x) => x.to_string(),
        Value::Str(text) => text.clone(),
        Value::Tuple(items) => {
            let items: Vec<String> = items.iter().map(shown).collect();
            format!("({})", items.join(", "))
        }
    }
}
