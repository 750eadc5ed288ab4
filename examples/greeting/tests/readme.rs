//! The README shows this example, not something like it.

#[test]
fn the_readme_shows_the_example() {
    let example = include_str!("../src/main.rs");
    let (_, code) = example.split_once("\n\n").unwrap();
    let readme = include_str!("../../../README.md");
    assert!(
        readme.contains(&format!("```rust,no_run\n{code}```\n")),
        "copy examples/greeting/src/main.rs, from its first `use` on, into the README"
    );
}
