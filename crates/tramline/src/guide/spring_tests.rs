//! The page for Spring developers answers for everything that Spring has.

const PAGE: &str = include_str!("spring.md");
/// What Spring's documentation and sources name, by the page's sections.
const NAMES: &str = include_str!("spring-names.txt");

/// A row of the tables that say what something is here.
#[derive(Debug)]
struct Row<'a> {
    section: &'a str,
    spring: &'a str,
    here: &'a str,
    difference: &'a str,
}

const HEAD: [&str; 3] = ["Spring", "Here", "Difference"];

/// The rows of all tables with that head; what is wrong with one is an error.
fn rows(page: &str) -> Result<Vec<Row<'_>>, String> {
    let (mut rows, mut section, mut in_table) = (Vec::new(), "", false);
    for line in page.lines() {
        if let Some(title) = line.strip_prefix("# ") {
            section = title;
        }
        let Some(cells) = line.strip_prefix("| ") else {
            in_table &= line.starts_with("|---");
            continue;
        };
        let cells = cells.strip_suffix(" |").ok_or(line)?;
        let cells: Vec<_> = cells.split(" | ").map(str::trim).collect();
        if cells == HEAD {
            in_table = true;
        } else if in_table {
            let [spring, here, difference] = cells[..] else {
                return Err(format!("{} cells: {line}", cells.len()));
            };
            rows.push(Row {
                section,
                spring,
                here,
                difference,
            });
        }
    }
    Ok(rows)
}

/// What is in backticks.
fn names(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The names that the list has, with the section that each is in.
fn listed(list: &str) -> Vec<(&str, &str)> {
    let mut section = "";
    let mut listed = Vec::new();
    for line in list.lines().filter(|line| !line.is_empty()) {
        match line.strip_prefix("# ") {
            Some(title) => section = title,
            None => listed.push((section, line)),
        }
    }
    listed
}

/// What the page does not say of the names in the list, and the other way round.
fn gaps(page: &str, list: &str) -> Result<Vec<String>, String> {
    let rows = rows(page)?;
    let listed = listed(list);
    let mut gaps = Vec::new();
    for (section, name) in &listed {
        let answered = |row: &Row<'_>| {
            row.section == *section && names(row.spring).any(|answered| answered == *name)
        };
        if !rows.iter().any(answered) {
            gaps.push(format!("{section}: no row for {name}"));
        }
    }
    for row in &rows {
        for name in names(row.spring) {
            if !listed.iter().any(|(_, listed)| *listed == name) {
                gaps.push(format!("{}: {name} is not in the list", row.section));
            }
        }
        let says_where = row.here.contains("](crate")
            || row.here.contains("[`Valid`]")
            || row.here.contains("[`Settings`]")
            || row.here.contains("[test kit]")
            || row.here.contains("`tramline-")
            || row.here.contains("`tokio::");
        if !says_where && !row.here.starts_with("**not there**") {
            gaps.push(format!(
                "{}: {} leads nowhere: {}",
                row.section, row.spring, row.here
            ));
        }
        if row.difference.is_empty() {
            gaps.push(format!("{}: {}: what differs?", row.section, row.spring));
        }
    }
    Ok(gaps)
}

#[test]
fn every_name_of_spring_s_has_its_answer() {
    let gaps = gaps(PAGE, NAMES).expect("tables of three columns");
    assert!(gaps.is_empty(), "{gaps:#?}");
    // As many as there were when the list was made.
    assert!(listed(NAMES).len() >= 350, "{}", listed(NAMES).len());
}

#[test]
fn a_gap_is_noticed() {
    let page =
        "# A\n| Spring | Here | Difference |\n|---|---|---|\n| `x`, `y` | [z](crate) | – |\n";
    assert_eq!(gaps(page, "# A\nx\ny\n"), Ok(Vec::new()));
    assert_eq!(gaps(page, "# A\nx\ny\nz\n").map(|gaps| gaps.len()), Ok(1));
    assert_eq!(gaps(page, "# A\nx\n# B\ny\n").map(|gaps| gaps.len()), Ok(1));
    assert_eq!(gaps(page, "# A\nx\n").map(|gaps| gaps.len()), Ok(1));
    let nowhere = page.replace("[z](crate)", "somewhere");
    assert_eq!(gaps(&nowhere, "# A\nx\ny\n").map(|gaps| gaps.len()), Ok(1));
    let short = page.replace(" | – |", " |");
    assert!(gaps(&short, "# A\nx\ny\n").is_err());
}
