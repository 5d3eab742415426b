//! Which episode a request is for: enclosures compared without what trackers put around them.
//!
//! An enclosure is known by up to four keys, the most exact first: host, path and query; host
//! and path; path and query; path. A request that gives a path only (a line of an access log)
//! has the latter two. Known redirect prefixes are taken off, scheme and fragment ignored.

/// Redirect services that put themselves before the real address: host, and how many path
/// segments of their own stand before the next host.
const PREFIXES: &[(&str, usize)] = &[
    ("dts.podtrac.com", 1),
    ("www.podtrac.com", 2),
    ("play.podtrac.com", 1),
    ("chtbl.com", 2),
    ("chrt.fm", 2),
    ("pdst.fm", 1),
    ("op3.dev", 1),
    ("pscrb.fm", 2),
    ("prfx.byspotify.com", 1),
    ("mgln.ai", 2),
    ("verifi.podscribe.com", 2),
    ("claritaspod.com", 1),
    ("pfx.vpixl.com", 1),
    ("arttrk.com", 2),
    ("2.gum.fm", 0),
    ("tracking.swap.fm", 2),
    ("clrtpod.com", 1),
];

/// Nested prefixes at most: more is no feed's.
const MAX_PREFIXES: usize = 8;

/// The keys by which an enclosure is found, the most exact first.
#[must_use]
pub fn keys(url: &str) -> Vec<String> {
    let mut keys = asked(url);
    if !is_path(url) {
        let paths: Vec<String> =
            keys.iter().filter_map(|key| key.find('/').map(|slash| key[slash..].to_owned())).collect();
        keys.extend(paths);
    }
    keys
}

fn is_path(url: &str) -> bool {
    url.starts_with('/') && !url.starts_with("//")
}

/// The keys under which to look for what was asked for: with its host if it has one.
#[must_use]
pub fn asked(url: &str) -> Vec<String> {
    let url = url.split('#').next().unwrap_or(url);
    if is_path(url) {
        return path_keys(url);
    }
    let rest = without_prefixes(without_scheme(url));
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = host.rsplit('@').next().unwrap_or(host).to_ascii_lowercase();
    let host = host.strip_suffix(":80").or_else(|| host.strip_suffix(":443")).unwrap_or(&host);
    path_keys(path).into_iter().map(|path| format!("{host}{path}")).collect()
}

fn path_keys(path: &str) -> Vec<String> {
    match path.split_once('?') {
        Some((bare, query)) if !query.is_empty() => vec![path.to_owned(), bare.to_owned()],
        Some((bare, _)) => vec![bare.to_owned()],
        None => vec![path.to_owned()],
    }
}

fn without_scheme(url: &str) -> &str {
    let lower = |prefix: &str| url.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    ["https://", "http://", "//"].into_iter().find(|prefix| lower(prefix)).map_or(url, |prefix| &url[prefix.len()..])
}

fn without_prefixes(mut rest: &str) -> &str {
    for _ in 0..MAX_PREFIXES {
        let host = rest.split('/').next().unwrap_or(rest);
        let Some((_, segments)) = PREFIXES.iter().find(|(known, _)| host.eq_ignore_ascii_case(known)) else {
            return rest;
        };
        let mut tail = rest;
        for _ in 0..=*segments {
            let Some((_, after)) = tail.split_once('/') else { return rest };
            tail = after;
        }
        let tail = without_scheme(tail);
        // What follows must look like a host, else the service itself serves the file.
        if !tail.split('/').next().is_some_and(|host| host.contains('.')) || !tail.contains('/') {
            return rest;
        }
        rest = tail;
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_scheme_and_default_ports_do_not_matter() {
        let plain = keys("https://cdn.example.com/a/1.mp3");
        for url in [
            "http://CDN.example.com:80/a/1.mp3#t=3",
            "https://dts.podtrac.com/redirect.mp3/cdn.example.com/a/1.mp3",
            "https://pdst.fm/e/chrt.fm/track/ABC/cdn.example.com/a/1.mp3",
            "https://op3.dev/e/https://cdn.example.com/a/1.mp3",
        ] {
            assert_eq!(keys(url), plain, "{url}");
        }
    }

    #[test]
    fn a_query_is_tried_with_and_without() {
        assert_eq!(keys("https://x.org/play?id=1"), ["x.org/play?id=1", "x.org/play", "/play?id=1", "/play"]);
        assert_eq!(keys("/play?id=1"), ["/play?id=1", "/play"]);
        assert_eq!(keys("/play?"), ["/play"]);
        assert_eq!(asked("https://x.org/play?id=1"), ["x.org/play?id=1", "x.org/play"]);
    }

    #[test]
    fn a_prefix_host_that_serves_the_file_itself_stays() {
        assert_eq!(keys("https://pdst.fm/files/1.mp3")[0], "pdst.fm/files/1.mp3");
    }
}
