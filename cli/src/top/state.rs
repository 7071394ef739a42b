//! What is on the screen, and what keys do to it.

use consort_proto::wire::job::v1 as wire;
use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// Jobs that are listed, the newest: more than a person scrolls through.
const MOST_JOBS: usize = 200;

/// What follows from a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    /// The screen is drawn again.
    Draw,
    /// The coordinator is asked now.
    Ask,
    /// It is over.
    Quit,
}

/// What is on the screen.
#[derive(Debug, Default)]
pub(super) struct View {
    /// Whom it is asked of.
    pub(super) coordinator: String,
    /// Oldest first.
    jobs: Vec<wire::Job>,
    /// The newest job that is not listed any more.
    before: String,
    /// The chosen job; the newest if empty.
    choice: String,
    /// The chosen job with its rounds.
    detail: Option<wire::Job>,
    /// Why the coordinator could not be asked last.
    pub(super) problem: Option<String>,
}

impl View {
    pub(super) fn new(coordinator: String) -> Self {
        Self {
            coordinator,
            ..Self::default()
        }
    }

    /// The job behind which the list starts.
    pub(super) fn listed_after(&self) -> &str {
        &self.before
    }

    /// Takes the jobs behind that one.
    pub(super) fn listed(&mut self, mut jobs: Vec<wire::Job>) {
        let old = jobs.len().saturating_sub(MOST_JOBS);
        if let Some(before) = jobs.drain(..old).next_back() {
            self.before = before.id;
        }
        self.jobs = jobs;
    }

    /// Takes the chosen job with its rounds.
    pub(super) fn shown(&mut self, job: Option<wire::Job>) {
        self.detail = job;
    }

    /// Newest first, as they are shown.
    pub(super) fn jobs(&self) -> impl ExactSizeIterator<Item = &wire::Job> {
        self.jobs.iter().rev()
    }

    /// Where the chosen job stands among those that are shown.
    pub(super) fn position(&self) -> Option<usize> {
        let found = self.jobs().position(|job| job.id == self.choice);
        found.or_else(|| (!self.jobs.is_empty()).then_some(0))
    }

    /// The chosen job, as the list has it.
    pub(super) fn chosen(&self) -> Option<&wire::Job> {
        self.jobs().nth(self.position()?)
    }

    /// The chosen job with its rounds, once it was asked for.
    pub(super) fn detail(&self) -> Option<&wire::Job> {
        let chosen = self.chosen()?;
        self.detail
            .as_ref()
            .filter(|job| job.id == chosen.id)
            .or(Some(chosen))
    }

    /// What a key, or another size of the terminal, does.
    pub(super) fn handle(&mut self, event: &Event) -> After {
        match event {
            Event::Key(key) if key.kind != KeyEventKind::Release => self.key(key),
            // The screen is drawn in the size that the terminal has then.
            _ => After::Draw,
        }
    }

    fn key(&mut self, key: &KeyEvent) -> After {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => After::Quit,
            KeyCode::Char('c') if control => After::Quit,
            KeyCode::Down | KeyCode::Char('j') => self.step(1),
            KeyCode::Up | KeyCode::Char('k') => self.step(-1),
            KeyCode::Home | KeyCode::Char('g') => self.step(isize::MIN),
            KeyCode::End | KeyCode::Char('G') => self.step(isize::MAX),
            KeyCode::Char('r') => After::Ask,
            _ => After::Draw,
        }
    }

    fn step(&mut self, by: isize) -> After {
        let Some(position) = self.position() else {
            return After::Draw;
        };
        let last = self.jobs.len().saturating_sub(1);
        let next = position.saturating_add_signed(by).min(last);
        let id = self.jobs().nth(next).map(|job| job.id.clone());
        self.choice = id.unwrap_or_default();
        After::Ask
    }
}
