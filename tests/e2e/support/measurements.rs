//! Figures for people: tables on standard output and in `docs/measurements.md`, one section for each figure, replaced in place.

use std::{fs, path::Path};

use jiff::Timestamp;

const HEAD: &str = "# Measurements\n\n\
    What the operator needs and how fast it is. `make bench` and `make soak` measure and write the sections below, each with its date and machine; nothing here is\n\
    written by hand. Rates move with the machine and with what else it does: compare ratios of one table, never rates of two.\n";

/// A table: its columns, and rows of as many cells.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    pub(crate) fn new(columns: &[&str]) -> Self {
        Self {
            columns: columns.iter().map(|&column| column.to_owned()).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    pub(crate) fn row<I: IntoIterator<Item = String>>(&mut self, cells: I) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The table in Markdown, which reads well as it stands.
    pub(crate) fn to_markdown(&self) -> String {
        let width = |column: usize| {
            let cells = std::iter::once(&self.columns).chain(&self.rows);
            cells.map(|cells| cells[column].chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let line = |cells: &[String]| {
            let padded = cells
                .iter()
                .zip(&widths)
                .map(|(cell, &width)| format!(" {cell:<width$} "));
            format!("|{}|\n", padded.collect::<Vec<_>>().join("|"))
        };
        let rule: Vec<String> = widths.iter().map(|&width| "-".repeat(width)).collect();
        let rows: String = self.rows.iter().map(|cells| line(cells)).collect();
        format!("{}{}{rows}", line(&self.columns), line(&rule))
    }
}

/// Prints a section and puts it into `docs/measurements.md`, in the place of the one with the same title.
pub(crate) fn record(title: &str, body: &str) {
    let section = format!("## {title}\n\n{}\n\n{}\n", conditions(), body.trim_end());
    #[allow(clippy::print_stdout, reason = "a measurement is for standard output")]
    {
        println!("\n{section}");
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/measurements.md");
    let before = fs::read_to_string(&path).unwrap_or_else(|_| HEAD.to_owned());
    fs::write(&path, replaced(&before, title, &section)).expect("docs/measurements.md can be written");
}

/// The document with a section replaced, or added at the end.
fn replaced(document: &str, title: &str, section: &str) -> String {
    let mut parts = document.split("\n## ");
    let head = parts.next().unwrap_or_default().trim_end();
    let mut sections: Vec<String> = parts.map(|part| format!("## {}", part.trim_end())).collect();
    let start = format!("## {title}\n");
    let section = section.trim_end().to_owned();
    match sections.iter_mut().find(|known| known.starts_with(&start)) {
        Some(known) => *known = section,
        None => sections.push(section),
    }
    format!("{head}\n\n{}\n", sections.join("\n\n"))
}

/// When, of which build, and on what machine.
fn conditions() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let value = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_once(':')
            .map_or(String::new(), |(_, value)| value.trim().to_owned())
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let processor = value(&read("/proc/cpuinfo"), "model name");
    let memory: u64 = value(&read("/proc/meminfo"), "MemTotal")
        .trim_end_matches(" kB")
        .parse()
        .unwrap_or(0);
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or_default().to_owned();
    let date = Timestamp::now().strftime("%Y-%m-%d");
    // The programs that a test or benchmark runs are of its own profile.
    let build = if cfg!(debug_assertions) { "debug" } else { "release" };
    format!(
        "{date}; {build} build; {cores} cores ({processor}), {} GiB; everything, API server and etcd included, on this machine, whose load was {load} at the end.",
        memory / 1024 / 1024
    )
}

#[test]
fn a_section_is_replaced_where_it_stands_and_a_new_one_is_added_at_the_end() {
    let first = replaced("# M\n\nhead\n", "a", "## a\n\none\n");
    let both = replaced(&first, "b", "## b\n\ntwo\n");
    let again = replaced(&both, "a", "## a\n\nthree\n");
    assert_eq!(again, "# M\n\nhead\n\n## a\n\nthree\n\n## b\n\ntwo\n");
}
