//! Many assets at a glance. A drawn table on a terminal; plain columns elsewhere, as kubectl prints them, for `awk` and `grep`.

use comfy_table::{ContentArrangement, Table, presets};
use jiff::Timestamp;

use super::report::{Report, Who};
use super::terminal::{Screen, harmless};
use super::words::{distance, roughly};

/// Whose assets are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Span {
    /// Those of one namespace.
    One,
    /// Those of all.
    All,
}

/// How much of each is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Columns {
    /// What fits.
    Usual,
    /// Also Secret, account and the time of the next renewal.
    Wide,
}

/// Longest text in a cell, in characters.
const LONGEST: usize = 253;

/// What a column shows. Those that come first here are left out first where a terminal is narrow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Column {
    Provider,
    Email,
    Namespace,
    Renewal,
    Account,
    Secret,
    Expires,
    Reason,
    Acts,
    Ready,
    Name,
}

impl Column {
    const fn title(self) -> &'static str {
        match self {
            Self::Namespace => "NAMESPACE",
            Self::Name => "NAME",
            Self::Email => "EMAIL",
            Self::Provider => "PROVIDER",
            Self::Ready => "READY",
            Self::Reason => "REASON",
            Self::Expires => "EXPIRES",
            Self::Acts => "ACTS",
            Self::Secret => "SECRET",
            Self::Account => "ACCOUNT",
            Self::Renewal => "RENEWAL",
        }
    }

    fn cell(self, report: &Report, now: Timestamp, screen: Screen) -> String {
        let token = report.token.as_ref();
        let text = match self {
            Self::Namespace => Some(report.namespace.clone()),
            Self::Name => Some(report.name.clone()),
            Self::Email => Some(report.email.clone()),
            Self::Provider => report.provider.clone(),
            Self::Ready => Some(if report.ready { "yes" } else { "no" }.to_owned()),
            Self::Reason => Some(
                report
                    .trouble
                    .as_ref()
                    .map_or(&report.reason, |trouble| &trouble.reason)
                    .clone(),
            ),
            Self::Expires => token
                .and_then(|token| token.expiration_time)
                .map(|expires| match screen {
                    Screen::Plain => expires.to_string(),
                    Screen::Terminal { .. } if expires > now => roughly(expires.duration_since(now)),
                    Screen::Terminal { .. } => "ended".to_owned(),
                }),
            Self::Acts => match report.act.who {
                Who::Nobody => None,
                Who::Owner => Some("owner".to_owned()),
                Who::Admin => Some("admin".to_owned()),
                Who::Developers => Some("developers".to_owned()),
            },
            Self::Secret => token.and_then(|token| token.secret_name.clone()),
            Self::Account => report.grant.as_ref().and_then(|grant| grant.account.clone()),
            Self::Renewal => token.and_then(|token| token.renewal_time).map(|renewal| match screen {
                Screen::Plain => renewal.to_string(),
                Screen::Terminal { .. } => distance(renewal, now),
            }),
        };
        let text = text.filter(|text| !text.is_empty()).unwrap_or_else(|| "-".to_owned());
        harmless(&text, LONGEST)
    }
}

/// A table of assets.
#[must_use]
pub(super) fn table(reports: &[Report], now: Timestamp, span: Span, columns: Columns, screen: Screen) -> String {
    let mut shown = chosen(span, columns);
    let rows = |shown: &[Column]| -> Vec<Vec<String>> {
        let row = |report| shown.iter().map(|column| column.cell(report, now, screen)).collect();
        reports.iter().map(row).collect()
    };
    match screen {
        Screen::Terminal { width, .. } => {
            // Somebody who asked for more gets it, broken by the terminal if need be.
            if columns == Columns::Usual {
                while shown.len() > 4 && widest(&drawn(&titles(&shown), &rows(&shown), screen)) > width {
                    let first = shown.iter().min().copied();
                    shown.retain(|column| Some(*column) != first);
                }
            }
            drawn(&titles(&shown), &rows(&shown), screen)
        }
        Screen::Plain => plain(&titles(&shown), &rows(&shown)),
    }
}

/// A table of anything. On a terminal that is too narrow for it, the columns at these places are left out, in this order, as far as need be.
#[must_use]
pub(super) fn grid(titles: &[&str], rows: &[Vec<String>], left_out: &[usize], screen: Screen) -> String {
    let Screen::Terminal { width, .. } = screen else {
        return plain(titles, rows);
    };
    let mut text = drawn(titles, rows, screen);
    for count in 1..=left_out.len() {
        if widest(&text) <= width {
            break;
        }
        let gone: Vec<usize> = left_out.iter().copied().take(count).collect();
        let rows: Vec<Vec<String>> = rows.iter().map(|row| without(row, &gone)).collect();
        text = drawn(&without(titles, &gone), &rows, screen);
    }
    text
}

fn without<T: Clone>(cells: &[T], gone: &[usize]) -> Vec<T> {
    let kept = cells.iter().enumerate().filter(|(place, _)| !gone.contains(place));
    kept.map(|(_, cell)| cell.clone()).collect()
}

fn titles(shown: &[Column]) -> Vec<&'static str> {
    shown.iter().map(|column| column.title()).collect()
}

fn chosen(span: Span, columns: Columns) -> Vec<Column> {
    let mut chosen = vec![
        Column::Namespace,
        Column::Name,
        Column::Email,
        Column::Provider,
        Column::Ready,
        Column::Reason,
        Column::Expires,
        Column::Acts,
    ];
    if span == Span::One {
        chosen.retain(|column| *column != Column::Namespace);
    }
    if columns == Columns::Wide {
        chosen.extend([Column::Secret, Column::Account, Column::Renewal]);
    }
    chosen
}

/// Without borders, which take the room of a column; a line below the titles.
fn drawn(titles: &[&str], rows: &[Vec<String>], screen: Screen) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(titles.to_vec());
    for row in rows {
        table.add_row(row.clone());
    }
    let drawn = table.to_string();
    let line = "─".repeat(widest(&drawn));
    let mut lines = drawn.lines();
    let titles = lines.next().unwrap_or_default();
    let mut text = format!("{}\n{line}\n", screen.strong(titles.trim_end()));
    for line in lines {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn widest(text: &str) -> usize {
    text.lines()
        .map(|line| line.trim_end().chars().count())
        .max()
        .unwrap_or_default()
}

/// Columns apart by three spaces. Spaces inside a cell become underscores, so that a column stays a column.
fn plain(titles: &[&str], rows: &[Vec<String>]) -> String {
    let header: Vec<String> = titles.iter().map(|title| (*title).to_owned()).collect();
    let cells = |row: &Vec<String>| {
        row.iter()
            .map(|cell| cell.replace(char::is_whitespace, "_"))
            .collect::<Vec<_>>()
    };
    let lines: Vec<Vec<String>> = std::iter::once(header).chain(rows.iter().map(cells)).collect();
    let widths: Vec<usize> = (0..lines.first().map_or(0, Vec::len))
        .map(|column| {
            lines
                .iter()
                .filter_map(|line| line.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or_default()
        })
        .collect();
    let mut text = String::new();
    for line in &lines {
        let padded: Vec<String> = line
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        text.push_str(padded.join("   ").trim_end());
        text.push('\n');
    }
    text
}
