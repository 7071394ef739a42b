//! Draws the screen, in text that needs no colour.

use consort_proto::wire::job::v1 as wire;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Borders, Paragraph, Row, Table, TableState};

use super::state::View;
use crate::view::{epsilon_spent, has_ended, loss_text, rounds_planned, state_name};

/// Columns from which members and rounds stand side by side.
const WIDE: u16 = 132;

/// Rows of the list of jobs that are shown if there is room for the rest, with its frame and its head.
const JOB_ROWS: u16 = 8;

/// The whole screen.
pub(super) fn screen(frame: &mut Frame<'_>, view: &View) {
    let [head, jobs, detail, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Max(JOB_ROWS),
        Constraint::Min(0),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(head_line(view), head);
    list(frame, jobs, view);
    if let Some(job) = view.detail() {
        one(frame, detail, job);
    }
    let keys = "q quit   up/down choose   r ask now";
    frame.render_widget(Line::from(keys), foot);
}

fn head_line(view: &View) -> Line<'_> {
    let running = view.jobs().filter(|job| !has_ended(job)).count();
    let text = match &view.problem {
        Some(problem) => format!("NOT UP TO DATE: {problem}"),
        None => format!(
            "consort top  {}  {} jobs, {running} not ended",
            view.coordinator,
            view.jobs().len()
        ),
    };
    Line::styled(text, Style::new().add_modifier(Modifier::BOLD))
}

fn list(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let rows = view.jobs().map(|job| {
        let connected = job.members.iter().filter(|member| member.connected).count();
        Row::new([
            job.id.clone(),
            job.spec
                .as_ref()
                .map(|spec| spec.name.clone())
                .unwrap_or_default(),
            state_name(job.state()).to_owned(),
            format!("{}/{}", job.round, rounds_planned(job)),
            if has_ended(job) {
                String::new()
            } else {
                job.phase.clone()
            },
            format!("{connected}/{}", job.members.len()),
            epsilon(job),
            warnings(job),
        ])
    });
    let widths = [
        Constraint::Length(10),
        Constraint::Length(20),
        Constraint::Length(9),
        Constraint::Length(9),
        Constraint::Length(11),
        Constraint::Length(9),
        Constraint::Length(15),
        Constraint::Min(10),
    ];
    let names = [
        "job",
        "name",
        "state",
        "round",
        "phase",
        "connected",
        "epsilon",
        "notice",
    ];
    let table = table(rows, &widths, &names, "jobs")
        .highlight_symbol("> ")
        .row_highlight_style(Style::new().add_modifier(Modifier::BOLD));
    let mut chosen = TableState::new().with_selected(view.position());
    frame.render_stateful_widget(table, area, &mut chosen);
}

fn one(frame: &mut Frame<'_>, area: Rect, job: &wire::Job) {
    let why = if job.reason.is_empty() {
        String::new()
    } else {
        format!("{} [{}]", job.reason, job.code)
    };
    let [reason, area] = Layout::vertical([
        Constraint::Length(u16::from(!why.is_empty())),
        Constraint::Min(0),
    ])
    .areas(area);
    frame.render_widget(Paragraph::new(why), reason);
    let halves = [Constraint::Fill(1), Constraint::Fill(1)];
    let [left, right] = if area.width >= WIDE {
        Layout::horizontal(halves).areas(area)
    } else {
        Layout::vertical(halves).areas(area)
    };
    members(frame, left, job);
    rounds(frame, right, job);
}

fn members(frame: &mut Frame<'_>, area: Rect, job: &wire::Job) {
    let rows = job.members.iter().map(|member| {
        Row::new([
            member.organisation.clone(),
            if member.connected { "up" } else { "down" }.to_owned(),
            member.phase.clone(),
            attestation(job, member),
            sent(member.sent_bytes),
            if member.convicted_of.is_empty() {
                String::new()
            } else {
                format!("convicted of a {}", member.convicted_of)
            },
        ])
    });
    let widths = [
        Constraint::Min(12),
        Constraint::Length(4),
        Constraint::Length(10),
        Constraint::Min(13),
        Constraint::Length(9),
        Constraint::Max(28),
    ];
    let names = ["member", "link", "is at", "attestation", "sent", "notice"];
    let title = format!("members of {}", job.id);
    frame.render_widget(table(rows, &widths, &names, &title), area);
}

fn rounds(frame: &mut Frame<'_>, area: Rect, job: &wire::Job) {
    let rows = job.rounds.iter().rev().map(|round| {
        let took: u64 = round
            .phase_ms
            .values()
            .fold(0, |sum, ms| sum.saturating_add(*ms));
        let outcome = if round.aborted.is_empty() {
            loss_text(job, round).unwrap_or_else(|| "summed".to_owned())
        } else {
            format!("no sum: {}", round.aborted)
        };
        Row::new([
            round.round.to_string(),
            round.attempt.to_string(),
            format!("{}/{}", round.survivor_count, job.members.len()),
            format!("{:.4}", round.epsilon_spent),
            format!("{took} ms"),
            outcome,
        ])
    });
    let widths = [
        Constraint::Length(5),
        Constraint::Length(7),
        Constraint::Length(9),
        Constraint::Length(8),
        Constraint::Length(9),
        Constraint::Min(16),
    ];
    let names = [
        "round",
        "attempt",
        "survivors",
        "epsilon",
        "took",
        "outcome",
    ];
    let title = format!("rounds of {}, newest first", job.id);
    frame.render_widget(table(rows, &widths, &names, &title), area);
}

fn table<'a>(
    rows: impl Iterator<Item = Row<'a>>,
    widths: &[Constraint],
    names: &[&'static str],
    title: &str,
) -> Table<'a> {
    let head = Row::new(names.to_vec()).style(Style::new().add_modifier(Modifier::UNDERLINED));
    let frame = Block::new().borders(Borders::TOP).title(title.to_owned());
    Table::new(rows, widths.to_vec()).header(head).block(frame)
}

/// What is known of a member's machine: a session lives only as long as its evidence holds. Whether that is simulated the job says
/// once its members have given evidence in it; before, they were let in by the manifest.
fn attestation(job: &wire::Job, member: &wire::MemberProgress) -> String {
    if !member.quarantined_for.is_empty() {
        return format!("REFUSED: {}", member.quarantined_for);
    }
    match (member.connected, job.dangerous_simulated_attestation) {
        (false, _) => "not connected".to_owned(),
        (true, true) => "SIMULATED".to_owned(),
        (true, false) if job.rounds.is_empty() => "let in".to_owned(),
        (true, false) => "verified".to_owned(),
    }
}

fn epsilon(job: &wire::Job) -> String {
    let promised = job.plan.as_ref().map_or(0.0, |plan| plan.epsilon);
    format!("{:.4}/{promised:.4}", epsilon_spent(job))
}

fn warnings(job: &wire::Job) -> String {
    let mut told = Vec::new();
    let kept_out = job
        .members
        .iter()
        .filter(|it| !it.quarantined_for.is_empty())
        .count();
    let convicted = job
        .members
        .iter()
        .filter(|it| !it.convicted_of.is_empty())
        .count();
    for (count, what) in [(kept_out, "kept out"), (convicted, "convicted")] {
        if count > 0 {
            told.push(format!("{count} {what}"));
        }
    }
    if job.coordinator_restarts > 0 {
        told.push(format!("{} restarts", job.coordinator_restarts));
    }
    if job.dangerous_simulated_attestation {
        told.push("SIMULATED attestation".to_owned());
    }
    told.join(", ")
}

/// Bytes, in three digits or so.
fn sent(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)];
    match UNITS.iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) => format!("{}.{} {name}", bytes / unit, bytes % unit / (unit / 10)),
        None => format!("{bytes} B"),
    }
}
