//! The table that is printed.

use crate::rows::{File, Level, Row, Status};

/// Prints the sums by RFC, level and status, and with `verbose` every row before them.
pub fn print(files: &[File], verbose: bool) {
    if verbose {
        for file in files {
            println!("{}: {}", file.rfc, file.title);
            for row in &file.rows {
                print_row(row);
            }
        }
        println!();
    }
    println!(
        "{:<14} {:>5} {:>6} {:>10} {:>5}   title",
        "RFC", "rows", "tests", "exceptions", "n/a"
    );
    let mut sums = [0; 3];
    for file in files {
        let counts = [Status::Test, Status::Exception, Status::NotApplicable]
            .map(|status| count(file, |row| row.status == status));
        for (sum, count) in sums.iter_mut().zip(counts) {
            *sum += count;
        }
        print_sums(&file.rfc, counts, &file.title);
    }
    print_sums("all", sums, "");
    for level in [Level::Must, Level::Should, Level::May] {
        let of = |status| -> usize {
            files
                .iter()
                .map(|file| count(file, |row| row.level == level && row.status == status))
                .sum()
        };
        print_sums(
            level_name(level),
            [Status::Test, Status::Exception, Status::NotApplicable].map(of),
            "",
        );
    }
}

fn count(file: &File, wanted: impl Fn(&Row) -> bool) -> usize {
    file.rows.iter().filter(|row| wanted(row)).count()
}

fn print_sums(name: &str, [tests, exceptions, none]: [usize; 3], title: &str) {
    let line = format!(
        "{name:<14} {:>5} {tests:>6} {exceptions:>10} {none:>5}   {title}",
        tests + exceptions + none
    );
    println!("{}", line.trim_end());
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::Must => "must",
        Level::Should => "should",
        Level::May => "may",
    }
}

fn print_row(row: &Row) {
    let stands_on = match row.status {
        Status::Test => row.tests.join(", "),
        Status::Exception => format!("exception: {}", row.why),
        Status::NotApplicable => format!("n/a: {}", row.why),
    };
    println!("  {:<8} {:<6} {}", row.id, level_name(row.level), row.text);
    println!("           {stands_on}");
}
