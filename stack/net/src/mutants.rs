//! Planted bugs: the tester of the tester. `mutant!("name")` is the constant `false`, but in a build with
//! `--cfg millrace_mutants` it is true on the thread that has selected this name. The lab must find every one.

/// Whether the bug with this name is planted.
macro_rules! mutant {
    ($name:literal) => {{
        #[cfg(millrace_mutants)]
        let planted = $crate::mutants::is_selected($name);
        #[cfg(not(millrace_mutants))]
        let planted = false;
        planted
    }};
}

#[cfg(millrace_mutants)]
mod selection {
    use std::cell::Cell;

    thread_local! {
        static SELECTED: Cell<Option<&'static str>> = const { Cell::new(None) };
        static REACHED: Cell<u64> = const { Cell::new(0) };
    }

    /// Plants one bug, or none, in all stacks of this thread.
    pub fn select(name: Option<&'static str>) {
        SELECTED.set(name);
        REACHED.set(0);
    }

    /// How often the selected bug had a chance to act since it was selected.
    pub fn reached() -> u64 {
        REACHED.get()
    }

    pub(crate) fn is_selected(name: &str) -> bool {
        let planted = SELECTED.get() == Some(name);
        if planted {
            REACHED.set(REACHED.get() + 1);
        }
        planted
    }
}

#[cfg(millrace_mutants)]
pub(crate) use selection::is_selected;
#[cfg(millrace_mutants)]
pub use selection::{reached, select};
