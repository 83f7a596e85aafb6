//! What can be asked of a machine: a point on a few axes, and how it is put.

use std::fmt;

use millrace_lab::machine::{Broken, Machine};

/// What happened when a question was put.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observed {
    /// One line for each thing.
    pub lines: Vec<String>,
    /// Real time ran ahead: a timer fired between the steps.
    pub late: bool,
}

/// See the module.
pub trait Question: Copy + fmt::Display + Send + Sync {
    /// Its axes, and its place on each.
    fn axes(&self) -> Vec<(&'static str, String)>;

    /// All places on an axis; none when there is no such axis.
    fn axis(name: &str) -> Vec<String>;

    /// Puts questions to a machine side by side, the first on port `first`, and so on.
    ///
    /// # Errors
    /// The machine failed.
    fn put(machine: &mut dyn Machine, all: &[Self], first: u16) -> Result<Vec<Observed>, Broken>;
}

/// A way to spell a set of names: every axis is one.
macro_rules! axis {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its name in reports and in the list of differences.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// All names.
            pub fn names() -> Vec<String> {
                Self::ALL.iter().map(|one| one.name().to_owned()).collect()
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.name())
            }
        }
    };
}
pub(super) use axis;
