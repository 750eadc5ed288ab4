//! What the compiler says to those who hold it wrong.

/// Compares the compiler's words, which belong to one compiler: elsewhere they may differ without anything being wrong.
#[test]
fn compile_errors_name_the_fix() {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = std::process::Command::new(rustc).arg("--version").output();
    let version = String::from_utf8(version.unwrap().stdout).unwrap();
    if !version.starts_with("rustc 1.95.") {
        eprintln!("skipped: the expected messages are those of Rust 1.95, and this is {version}");
        return;
    }
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
