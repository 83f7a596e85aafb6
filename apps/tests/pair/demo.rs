//! `millrace demo`, as it is run.

use millrace_apps::cli::DemoArgs;
use millrace_apps::demo::run;

#[test]
fn the_demo_passes_its_checks() {
    for json in [false, true] {
        run(&DemoArgs {
            body_size: 1_000_000,
            impair: None,
            json,
        })
        .expect("all checks pass");
    }
}
