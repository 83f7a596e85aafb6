use super::*;

fn request(text: &str) -> Request<'_> {
    match parse(text.as_bytes()) {
        Parsed::Request(request, len) => {
            assert_eq!(len, text.len());
            request
        }
        other => panic!("{text:?}: {other:?}"),
    }
}

fn refused(text: &str) -> Status {
    match parse(text.as_bytes()) {
        Parsed::Refused(status) => status,
        other => panic!("{text:?}: {other:?}"),
    }
}

#[test]
fn a_plain_get() {
    let expected = Request {
        method: Method::Get,
        target: "/a?b=c",
        version: Version::Http11,
        persist: Persist::Keep,
        body_len: 0,
    };
    assert_eq!(
        request("GET /a?b=c HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n"),
        expected
    );
}

#[test]
fn persistence_by_version_and_field() {
    for (text, persist) in [
        ("GET / HTTP/1.0\r\n\r\n", Persist::Close),
        (
            "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n",
            Persist::Keep,
        ),
        (
            "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            Persist::Close,
        ),
        (
            "GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Close\r\n\r\n",
            Persist::Close,
        ),
        (
            "GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\n\r\n",
            Persist::Keep,
        ),
        (
            "GET / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n",
            Persist::Close,
        ),
    ] {
        assert_eq!(request(text).persist, persist, "{text:?}");
    }
}

#[test]
fn the_head_ends_where_the_body_begins() {
    let text = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello";
    let Parsed::Request(request, len) = parse(text.as_bytes()) else {
        panic!("whole")
    };
    assert_eq!((request.method, request.body_len), (Method::Other, 5));
    assert_eq!(&text[len..], "hello");
}

#[test]
fn every_prefix_is_partial() {
    let text = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    for end in 0..text.len() {
        assert_eq!(parse(&text.as_bytes()[..end]), Parsed::Partial, "{end}");
    }
}

#[test]
fn absolute_targets() {
    for (target, path) in [
        ("http://h/a", "/a"),
        ("HTTP://h:80/a/b?c", "/a/b?c"),
        ("http://h", "/"),
    ] {
        assert_eq!(
            request(&format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n")).target,
            path
        );
    }
    for target in ["ftp://h/a", "a", "*", "h:443"] {
        assert_eq!(
            refused(&format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n")),
            Status::BadRequest,
            "{target}"
        );
    }
    assert_eq!(
        request("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n").method,
        Method::Other
    );
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    let with = |fields: &str| format!("GET / HTTP/1.1\r\n{fields}\r\n\r\n");
    for (fields, status) in [
        ("Accept: x", Status::BadRequest),
        ("Host: a\r\nHost: b", Status::BadRequest),
        (
            "Host: a\r\nContent-Length: 1\r\nContent-Length: 2",
            Status::BadRequest,
        ),
        ("Host: a\r\nContent-Length: +1", Status::BadRequest),
        ("Host: a\r\nContent-Length: 1, 1", Status::BadRequest),
        (
            "Host: a\r\nContent-Length: 99999999999999999999",
            Status::BadRequest,
        ),
        ("Host: a\r\nContent-Length:", Status::BadRequest),
        (
            "Host: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked",
            Status::NotImplemented,
        ),
        (
            "Host: a\r\nTransfer-Encoding: chunked",
            Status::NotImplemented,
        ),
        ("Host : a", Status::BadRequest),
    ] {
        assert_eq!(refused(&with(fields)), status, "{fields:?}");
    }
    assert_eq!(
        request(&with("Host: a\r\nContent-Length: 7\r\nContent-Length: 7")).body_len,
        7
    );
}

#[test]
fn nonsense_is_refused() {
    assert_eq!(
        refused("GET / HTTP/2.0\r\n\r\n"),
        Status::VersionNotSupported
    );
    assert_eq!(refused("\u{1}\u{2}\r\n\r\n"), Status::BadRequest);
    assert_eq!(refused("GET  / HTTP/1.1\r\n\r\n"), Status::BadRequest);
}

#[test]
fn long_heads_are_refused() {
    let long = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}", "y".repeat(MAX_HEAD));
    assert_eq!(refused(&long), Status::HeaderFieldsTooLarge);
    assert_eq!(
        refused(&format!("{long}\r\n\r\n")),
        Status::HeaderFieldsTooLarge
    );
    let many = format!(
        "GET / HTTP/1.1\r\nHost: x\r\n{}\r\n",
        "a: b\r\n".repeat(MAX_FIELDS)
    );
    assert_eq!(refused(&many), Status::HeaderFieldsTooLarge);
}
