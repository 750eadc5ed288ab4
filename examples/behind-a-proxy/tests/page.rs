//! The guide's page shows the configurations that the tests run, not something like them.

#[test]
fn the_page_shows_the_configurations() {
    let page = include_str!("../../../crates/tramline/src/guide/behind-a-proxy.md");
    for (language, file, text) in [
        ("nginx", "nginx.conf", include_str!("../nginx.conf")),
        ("haproxy", "haproxy.cfg", include_str!("../haproxy.cfg")),
    ] {
        assert!(
            page.contains(&format!("```{language}\n{text}```\n")),
            "copy examples/behind-a-proxy/{file} into crates/tramline/src/guide/behind-a-proxy.md"
        );
    }
}
