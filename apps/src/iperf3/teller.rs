//! What is said while a test goes on: lines as they come, or one document at its end.

use std::net::SocketAddrV4;

use serde_json::Value;

use super::json::{self, Beginning};
use super::params::Params;
use super::results::Output;
use super::run::{Interval, Role};
use super::sums::Sums;
use super::text::{Style, Unit};

/// The most of the server's lines that is kept for a client that wants them.
const KEPT: usize = 1 << 20;

/// Takes what is said.
pub type Out = Box<dyn FnMut(&str) + Send>;

/// How it is said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// Lines.
    Text(Unit),
    /// A document.
    Json,
}

/// Says it.
pub struct Teller {
    form: Form,
    out: Out,
    style: Option<Style>,
    /// The lines of this test, where they are kept.
    kept: Option<String>,
    intervals: Vec<Interval>,
    beginning: Option<Beginning>,
    first: bool,
}

impl Teller {
    /// Says it to `out`.
    pub fn new(form: Form, out: Out) -> Self {
        Self {
            form,
            out,
            style: None,
            kept: None,
            intervals: Vec::new(),
            beginning: None,
            first: true,
        }
    }

    /// Forgets the last test.
    pub fn renew(&mut self) {
        self.style = None;
        self.kept = None;
        self.intervals.clear();
        self.beginning = None;
        self.first = true;
    }

    /// Says lines, unless a document is wanted.
    pub fn line(&mut self, text: &str) {
        if let Form::Text(_) = self.form {
            (self.out)(text);
        }
        if let Some(kept) = &mut self.kept
            && kept.len() + text.len() <= KEPT
        {
            kept.push_str(text);
        }
    }

    /// The lines of this test go to the client, too.
    pub fn keep(&mut self, from: SocketAddrV4) {
        self.kept = Some(super::text::accepted(from));
    }

    /// Data flows.
    pub fn begin(&mut self, role: Role, params: &Params, beginning: Beginning) {
        let unit = match self.form {
            Form::Text(unit) => unit,
            Form::Json => Unit::default(),
        };
        let style = Style::new(unit, role, params);
        let mut text = String::new();
        for (place, (local, peer)) in beginning.connected.iter().enumerate() {
            text += &style.connected(place, *local, *peer);
        }
        text += &style.head();
        self.line(&text);
        self.style = Some(style);
        self.beginning = Some(beginning);
    }

    /// An interval has ended.
    pub fn interval(&mut self, interval: Interval) {
        if let Some(style) = &self.style {
            let text = style.interval(&interval, self.first);
            self.first = false;
            self.line(&text);
        }
        if self.form == Form::Json {
            self.intervals.push(interval);
        }
    }

    /// The sums as lines.
    pub fn sums(&mut self, sums: &Sums) {
        if let Some(style) = &self.style {
            let text = style.sums(sums);
            self.line(&text);
        }
    }

    /// Everything as a document.
    pub fn document(&self, sums: &Sums, output: Option<&Output>) -> Option<Value> {
        let beginning = self.beginning.as_ref()?;
        Some(json::document(beginning, &self.intervals, sums, output))
    }

    /// Says the document, if one is wanted.
    pub fn say_document(&mut self, sums: &Sums, output: Option<&Output>) {
        if self.form == Form::Json
            && let Some(document) = self.document(sums, output)
        {
            (self.out)(&format!("{document:#}\n"));
        }
    }

    /// Says that there is no result, if a document is wanted.
    pub fn say_error(&mut self, why: &str) {
        if self.form == Form::Json {
            (self.out)(&format!("{:#}\n", json::error(why)));
        }
    }

    /// What the server said, for the client.
    pub fn output(&mut self, sums: &Sums) -> Option<Output> {
        let kept = self.kept.take()?;
        Some(match self.form {
            Form::Text(_) => Output::Text(kept),
            Form::Json => self
                .document(sums, None)
                .map_or(Output::Text(kept), Output::Json),
        })
    }
}
