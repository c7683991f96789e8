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

/// A table of assets.
#[must_use]
pub(super) fn table(reports: &[Report], now: Timestamp, span: Span, columns: Columns, screen: Screen) -> String {
    let header = header(span, columns);
    let rows: Vec<Vec<String>> = reports.iter().map(|report| row(report, now, span, columns)).collect();
    match screen {
        Screen::Terminal { width, .. } => drawn(&header, &rows, width),
        Screen::Plain => plain(&header, &rows),
    }
}

fn header(span: Span, columns: Columns) -> Vec<&'static str> {
    let mut header = Vec::new();
    if span == Span::All {
        header.push("NAMESPACE");
    }
    header.extend(["NAME", "EMAIL", "PROVIDER", "READY", "REASON", "EXPIRES", "ACTS"]);
    if columns == Columns::Wide {
        header.extend(["SECRET", "ACCOUNT", "RENEWAL"]);
    }
    header
}

fn row(report: &Report, now: Timestamp, span: Span, columns: Columns) -> Vec<String> {
    let mut row = Vec::new();
    if span == Span::All {
        row.push(report.namespace.clone());
    }
    let token = report.token.as_ref();
    let expires = token.and_then(|token| token.expiration_time).map(|expires| {
        if expires > now {
            roughly(expires.duration_since(now))
        } else {
            "ended".to_owned()
        }
    });
    let reason = report
        .trouble
        .as_ref()
        .map_or(report.reason.as_str(), |trouble| trouble.reason.as_str());
    let acts = match report.act.who {
        Who::Nobody => "-",
        Who::Owner => "owner",
        Who::Admin => "admin",
        Who::Developers => "developers",
    };
    row.extend([
        report.name.clone(),
        report.email.clone(),
        or_dash(report.provider.clone()),
        if report.ready { "yes" } else { "no" }.to_owned(),
        or_dash(Some(reason.to_owned()).filter(|reason| !reason.is_empty())),
        or_dash(expires),
        acts.to_owned(),
    ]);
    if columns == Columns::Wide {
        let renewal = token
            .and_then(|token| token.renewal_time)
            .map(|renewal| distance(renewal, now));
        row.extend([
            or_dash(token.and_then(|token| token.secret_name.clone())),
            or_dash(report.grant.as_ref().and_then(|grant| grant.account.clone())),
            or_dash(renewal),
        ]);
    }
    row.iter().map(|cell| harmless(cell, LONGEST)).collect()
}

fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

fn drawn(header: &[&str], rows: &[Vec<String>], width: usize) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(u16::try_from(width).unwrap_or(u16::MAX))
        .set_header(header.to_vec());
    for row in rows {
        table.add_row(row.clone());
    }
    format!("{table}\n")
}

/// Columns apart by three spaces. Spaces inside a cell become underscores, so that a column stays a column.
fn plain(header: &[&str], rows: &[Vec<String>]) -> String {
    let header: Vec<String> = header.iter().map(ToString::to_string).collect();
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
