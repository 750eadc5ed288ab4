//! The client libraries of the pages: embedded by the build, or referred to at a CDN.

include!(concat!(env!("OUT_DIR"), "/libraries.rs"));

/// The one foreign origin that pages name, and only when nothing is embedded.
pub(crate) const CDN: &str = "https://cdn.jsdelivr.net";

/// A browser bundle of an npm package; `build.rs` writes the table of them.
#[derive(Debug)]
pub(crate) struct Library {
    /// The name under `/lib/`.
    pub(crate) file: &'static str,
    pub(crate) package: &'static str,
    pub(crate) version: &'static str,
    pub(crate) licence: &'static str,
    /// The bundle's path inside the package.
    pub(crate) path: &'static str,
    /// SHA-384 of the bundle, as an `integrity` attribute has it.
    pub(crate) integrity: &'static str,
    /// The bundle itself, unless the build had no npm.
    pub(crate) embedded: Option<&'static [u8]>,
}

/// Whether this build carries the libraries.
pub(crate) fn embedded() -> bool {
    LIBRARIES.iter().all(|library| library.embedded.is_some())
}

/// The packages with their versions and licences, for people.
pub(crate) fn credits() -> String {
    let credits: Vec<_> = LIBRARIES
        .iter()
        .map(|library| {
            format!(
                "{} {} ({})",
                library.package, library.version, library.licence
            )
        })
        .collect();
    credits.join(", ")
}

/// Points the scripts of a page, written for `/lib/`, to the same files at the CDN.
///
/// The browser refuses a file whose hash is not the one in `integrity`.
pub(crate) fn from_cdn(html: &str) -> String {
    LIBRARIES.iter().fold(html.to_owned(), |html, library| {
        let Library { file, package, version, path, integrity, .. } = library;
        html.replace(
            &format!("src=\"/lib/{file}\""),
            &format!("src=\"{CDN}/npm/{package}@{version}/{path}\" integrity=\"{integrity}\" crossorigin=\"anonymous\""),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_move_to_the_cdn_with_their_hash() {
        let html = from_cdn("<script defer src=\"/lib/stomp.umd.min.js\"></script>");
        assert_eq!(
            html,
            "<script defer src=\"https://cdn.jsdelivr.net/npm/@stomp/stompjs@7.5.0/bundles/stomp.umd.min.js\" \
             integrity=\"sha384-kQjQD4X78U0SNVeFmVuyOn7JuHmYlQ/CaFvAm/Omtfa8/ev8Iu1Ur9grrK53Vp/z\" \
             crossorigin=\"anonymous\"></script>"
        );
    }

    #[test]
    fn all_are_embedded_or_none() {
        let count = LIBRARIES
            .iter()
            .filter(|library| library.embedded.is_some())
            .count();
        assert!(count == 0 || count == LIBRARIES.len());
    }
}
