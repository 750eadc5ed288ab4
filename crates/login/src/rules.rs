//! Which paths are open, and which are of sockets.

/// A path of the application, or all below one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    path: String,
    below: bool,
}

impl Place {
    fn parse(text: &str) -> Result<Self, String> {
        let (path, below) = match text.strip_suffix("/**") {
            Some(path) => (path, true),
            None => (text, false),
        };
        let is_path = path.starts_with('/') || (below && path.is_empty());
        if !is_path || path.contains('*') || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!(
                "path {text:?}: must look like \"/\", \"/about\" or \"/assets/**\""
            ));
        }
        Ok(Self {
            path: path.to_owned(),
            below,
        })
    }

    fn has(&self, path: &str) -> bool {
        match path.strip_prefix(&self.path) {
            Some("") => true,
            Some(rest) => self.below && rest.starts_with('/'),
            None => false,
        }
    }
}

/// How a request is treated, by its path.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    open: Vec<Place>,
    sockets: Vec<Place>,
}

impl Rules {
    pub(crate) fn open(&mut self, path: &str) -> Result<(), String> {
        self.open.push(Place::parse(path)?);
        Ok(())
    }

    /// With all that SockJS has below it.
    pub(crate) fn sockets(&mut self, path: &str) -> Result<(), String> {
        let mut place = Place::parse(path)?;
        place.below = true;
        self.sockets.push(place);
        Ok(())
    }

    pub(crate) fn is_open(&self, path: &str) -> bool {
        self.open.iter().any(|place| place.has(path))
    }

    pub(crate) fn is_socket(&self, path: &str) -> bool {
        self.sockets.iter().any(|place| place.has(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_itself_or_all_below() {
        let mut rules = Rules::default();
        rules.open("/").unwrap();
        rules.open("/assets/**").unwrap();
        rules.sockets("/ws").unwrap();
        for (path, open) in [
            ("/", true),
            ("/chat", false),
            ("/assets", true),
            ("/assets/a/b", true),
            ("/assetsx", false),
            ("//", false),
        ] {
            assert_eq!(rules.is_open(path), open, "{path}");
        }
        assert!(rules.is_socket("/ws") && rules.is_socket("/ws/1/2/xhr_send"));
        assert!(!rules.is_socket("/wsx") && !rules.is_socket("/"));
        rules.open("/**").unwrap();
        assert!(rules.is_open("/anything"));
    }

    #[test]
    fn other_texts_are_no_paths() {
        for text in ["", "about", "/a/*/b", "/*", "https://x/", "/a b", "**"] {
            let refused = Rules::default().open(text).unwrap_err();
            assert!(refused.contains("must look like"), "{refused}");
        }
    }
}
