use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// A directory of its own for each test, gone at the end.
struct Site {
    base: PathBuf,
    root: Root,
}

impl Site {
    /// `site/` with a few files, and a secret beside it.
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let base = std::env::temp_dir().join(format!(
            "millrace-root-{}-{}",
            process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        ));
        let site = base.join("site");
        std::fs::create_dir_all(site.join("sub/empty")).expect("create");
        std::fs::write(base.join("secret"), "secret").expect("write");
        std::fs::write(site.join("a b.txt"), "text").expect("write");
        std::fs::write(site.join("sub/index.html"), "<p>").expect("write");
        symlink("../secret", site.join("out")).expect("symlink");
        symlink("/etc", site.join("etc")).expect("symlink");
        symlink("sub/index.html", site.join("in")).expect("symlink");
        let root = Root::open(&site).expect("open");
        Self { base, root }
    }

    fn status(&self, target: &str) -> Status {
        match self.root.find(target) {
            Found::Refused(status) => status,
            other => panic!("{target}: {other:?}"),
        }
    }

    fn content(&self, target: &str) -> (String, &'static str) {
        let Found::File {
            mut file,
            len,
            content_type,
        } = self.root.find(target)
        else {
            panic!("{target}")
        };
        let mut text = String::new();
        file.read_to_string(&mut text).expect("read");
        assert_eq!(text.len() as u64, len);
        (text, content_type)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.base);
    }
}

#[test]
fn files_are_found() {
    let site = Site::new();
    assert_eq!(
        site.content("/a%20b.txt"),
        ("text".to_owned(), "text/plain; charset=utf-8")
    );
    assert_eq!(
        site.content("/sub/"),
        ("<p>".to_owned(), "text/html; charset=utf-8")
    );
    assert_eq!(site.content("/./sub//index.html?x=1").0, "<p>");
    assert_eq!(
        site.content("/in").0,
        "<p>",
        "links that stay inside are followed"
    );
}

#[test]
fn nothing_outside_is_found() {
    let site = Site::new();
    for target in [
        "/../secret",
        "/sub/../../secret",
        "/%2e%2e/secret",
        "/..%2fsecret",
        "/sub/..",
        "/out",
        "/etc/passwd",
        "/%2fetc%2fpasswd",
        "/etc/",
    ] {
        assert_eq!(site.status(target), Status::Forbidden, "{target}");
    }
    for target in ["/a%00b", "/%zz", "/%2", "/%ff", "secret", ""] {
        assert_eq!(site.status(target), Status::BadRequest, "{target}");
    }
    for target in [
        "/none",
        "/a%20b.txt/",
        "/a%20b.txt/x",
        "/...",
        "/sub/empty/none/",
    ] {
        assert_eq!(site.status(target), Status::NotFound, "{target}");
    }
    assert_eq!(
        site.status(&format!("/{}", "n".repeat(300))),
        Status::NotFound
    );
}

#[test]
fn directories_redirect_and_list() {
    let site = Site::new();
    assert!(matches!(site.root.find("/sub?x"), Found::Redirect(to) if to == "/sub/"));
    assert!(matches!(site.root.find("//sub/empty"), Found::Redirect(to) if to == "/sub/empty/"));
    let Found::Listing(page) = site.root.find("/") else {
        panic!("a listing")
    };
    let page = String::from_utf8(page).expect("text");
    assert!(page.contains("<a href=\"a%20b.txt\">a b.txt</a>"), "{page}");
    assert!(page.contains("<a href=\"sub/\">sub/</a>"), "{page}");
    assert!(!page.contains("../"), "{page}");
    let Found::Listing(page) = site.root.find("/sub/empty/") else {
        panic!("a listing")
    };
    assert!(String::from_utf8_lossy(&page).contains("<a href=\"../\">"));
}

#[test]
fn names_cannot_inject_markup() {
    let site = Site::new();
    std::fs::write(site.base.join("site/<img src=x>&\"'.txt"), "").expect("write");
    let Found::Listing(page) = site.root.find("/") else {
        panic!("a listing")
    };
    let page = String::from_utf8(page).expect("text");
    assert!(
        page.contains("&lt;img src=x&gt;&amp;&quot;&#39;.txt"),
        "{page}"
    );
    assert!(!page.contains("<img"), "{page}");
}

#[test]
fn devices_and_fifos_are_refused_without_blocking() {
    let site = Site::new();
    rustix::fs::mkfifoat(rustix::fs::CWD, site.base.join("site/fifo"), Mode::RUSR).expect("mkfifo");
    assert_eq!(site.status("/fifo"), Status::Forbidden);
}
