use super::{Names, Trouble, parse, run, tcp_info_names};

/// Runs blocks with the same names; what they print.
fn ran(blocks: &[&str], names: &Names) -> Result<Vec<String>, (u32, Trouble)> {
    let programs: Vec<_> = blocks
        .iter()
        .map(|text| parse(text).unwrap_or_else(|text| panic!("not read: {text}")))
        .collect();
    let numbered = programs.iter().enumerate();
    run(numbered.map(|(at, program)| (at as u32 + 1, names, program)))
}

#[track_caller]
fn holds(text: &str) {
    let names = vec![
        ("tcpi_snd_cwnd", 10),
        ("tcpi_options", 0x25),
        ("tcpi_rtt", 100_000),
    ];
    assert_eq!(ran(&[text], &names), Ok(vec![]), "{text}");
}

#[test]
fn assertions_that_hold() {
    for text in [
        "assert tcpi_snd_cwnd == 10",
        "assert tcpi_snd_cwnd == 10, tcpi_snd_cwnd",
        "assert 9 < tcpi_snd_cwnd <= 10 != 11, 'cwnd %d' % tcpi_snd_cwnd",
        "assert (tcpi_options & TCPI_OPT_SYN_DATA) != 0, tcpi_options",
        "assert tcpi_options & TCPI_OPT_SYN_DATA",
        "assert tcpi_snd_cwnd in (9, 10) and 3 not in [4]",
        "assert not tcpi_snd_cwnd == 11 or False",
        "assert TCP_CA_Recovery == 3; assert TCP_ESTABLISHED == 1",
        "assert tcpi_rtt / 1000 == 100 and tcpi_rtt // 3000 == 33 and -7 // 2 == -4 and -7 % 3 == 2",
        "assert 1 + 2 * 3 == 7 and (1 + 2) * 3 == 9 and 2 ** 3 == 8 and 1 << 4 == 0x10",
        "assert 'a %s %d %%' % ('b', 3) == 'a b 3 %'",
        "assert \\\n  tcpi_snd_cwnd == \\\n 10",
        "assert (tcpi_snd_cwnd ==\n   10)   # ten",
        "assert (1 if tcpi_snd_cwnd > 3 else 2) == 1",
        "assert min(3, 2) + max(1, 4) + abs(-1) == 7 and ~0 == -1 and int(2.5) == 2",
    ] {
        holds(text);
    }
}

#[test]
fn variables_live_on() {
    let names = vec![("tcpi_retrans", 1)];
    let blocks = [
        "n = tcpi_retrans\nm = 'x'",
        "n += 2; print(n, m)\nassert n == 3",
    ];
    assert_eq!(ran(&blocks, &names), Ok(vec!["3 x".to_owned()]));
}

#[test]
fn assertions_that_do_not_hold() {
    let names = vec![("tcpi_snd_cwnd", 11)];
    let wrong = ran(&["pass", "assert tcpi_snd_cwnd == 10, 'cwnd'"], &names).unwrap_err();
    let trouble = Trouble::Wrong {
        text: "assert tcpi_snd_cwnd == 10, 'cwnd'".to_owned(),
        got: "tcpi_snd_cwnd = 11, cwnd".to_owned(),
    };
    assert_eq!(wrong, (2, trouble));
}

#[test]
fn what_is_not_known_is_said() {
    let none = Names::new();
    let unknown = |name: &str| Err((1, Trouble::Unknown(name.to_owned())));
    assert_eq!(
        ran(&["assert tcpi_no_such == 1"], &none),
        unknown("tcpi_no_such")
    );
    assert_eq!(ran(&["open('x')"], &none), unknown("open()"));
    assert!(matches!(
        ran(&["1 // 0"], &none),
        Err((1, Trouble::Error(_)))
    ));
    assert!(matches!(
        ran(&["1 / 0"], &none),
        Err((1, Trouble::Error(_)))
    ));
    for text in [
        "if x: y",
        "import os",
        "for i in x: print(i)",
        "assert",
        "x = = 1",
        "((1)",
    ] {
        assert!(parse(text).is_err(), "{text}");
    }
    assert!(parse(&"(".repeat(10_000)).is_err());
}

#[test]
fn the_structure_as_the_kernel_lays_it_out() {
    let bytes: Vec<u8> = (0..=255).chain(0..24).collect();
    let names = tcp_info_names(&bytes);
    let of = |wanted: &str| {
        names
            .iter()
            .find(|(name, _)| *name == wanted)
            .map(|(_, n)| *n)
    };
    assert_eq!(of("tcpi_state"), Some(0));
    assert_eq!(of("tcpi_snd_cwnd"), Some(0x5352_5150));
    assert_eq!(of("tcpi_snd_wscale"), Some(6));
    assert_eq!(of("tcpi_bytes_acked"), Some(0x7f7e_7d7c_7b7a_7978));
    assert_eq!(of("tcpi_accecn_opt_seen"), Some(0x1716));
    let short = tcp_info_names(&bytes[..104]);
    assert!(short.iter().all(|(name, _)| *name != "tcpi_pacing_rate"));
}
