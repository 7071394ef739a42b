//! The screen, drawn from messages that a coordinator sent: `recorded/` holds a ListJobsResponse and a ShowJobResponse of a
//! consortium of simulated machines, as `scripts/sdk.sh record` leaves them.

use consort_proto::wire::job::v1 as wire;
use prost::Message;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};

use super::draw;
use super::state::{After, View};

const LISTED: &[u8] = include_bytes!("recorded/list_jobs.bin");
const SHOWN: &[u8] = include_bytes!("recorded/show_job.bin");

fn recorded() -> (Vec<wire::Job>, wire::Job) {
    let listed = wire::ListJobsResponse::decode(LISTED).unwrap();
    let shown = wire::ShowJobResponse::decode(SHOWN).unwrap();
    (listed.jobs, shown.job.unwrap())
}

fn view() -> View {
    let (jobs, job) = recorded();
    let mut view = View::new("https://127.0.0.1:7401".to_owned());
    view.listed(jobs);
    view.shown(Some(job));
    view
}

fn drawn(view: &View, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw::screen(frame, view)).unwrap();
    terminal.backend().to_string()
}

fn press(view: &mut View, code: KeyCode) -> After {
    view.handle(&Event::Key(KeyEvent::new(code, KeyModifiers::NONE)))
}

#[test]
fn the_screen_tells_of_jobs_members_rounds_attestation_and_epsilon() {
    let (jobs, job) = recorded();
    let screen = drawn(&view(), 140, 40);
    for listed in &jobs {
        assert!(screen.contains(&listed.id), "{screen}");
    }
    for member in &job.members {
        assert!(screen.contains(&member.organisation), "{screen}");
    }
    assert!(screen.contains("SIMULATED"), "{screen}");
    let spent = format!("{:.4}", job.rounds.last().unwrap().epsilon_spent);
    assert!(screen.contains(&spent), "{screen}");
    assert!(screen.contains("loss ") && screen.contains("±"), "{screen}");
    assert!(screen.contains("q quit"), "{screen}");
}

#[test]
fn the_chosen_job_is_marked_in_text_and_keys_move_the_mark() {
    let mut view = view();
    let marked = |view: &View| {
        let screen = drawn(view, 140, 40);
        let line = screen.lines().find(|line| line.contains("> ")).unwrap();
        line.to_owned()
    };
    let (jobs, _) = recorded();
    assert!(jobs.len() >= 2, "two jobs were recorded");
    let (newest, older) = (&jobs[jobs.len() - 1].id, &jobs[jobs.len() - 2].id);
    assert!(marked(&view).contains(newest), "{}", marked(&view));
    assert_eq!(press(&mut view, KeyCode::Down), After::Ask);
    assert!(marked(&view).contains(older), "{}", marked(&view));
    assert_eq!(press(&mut view, KeyCode::End), After::Ask);
    assert!(marked(&view).contains(&jobs[0].id), "{}", marked(&view));
    assert_eq!(press(&mut view, KeyCode::Char('g')), After::Ask);
    assert!(marked(&view).contains(newest), "{}", marked(&view));
    assert_eq!(press(&mut view, KeyCode::Up), After::Ask);
    assert!(marked(&view).contains(newest), "{}", marked(&view));
}

#[test]
fn a_member_that_is_kept_out_and_one_that_is_convicted_are_told() {
    let (jobs, mut job) = recorded();
    job.members[0].quarantined_for = "measurement_not_listed".to_owned();
    job.members[1].convicted_of = "wrong-box".to_owned();
    job.members[2].connected = false;
    let mut view = View::new(String::new());
    view.listed(jobs);
    view.shown(Some(job));
    let screen = drawn(&view, 160, 40);
    for told in [
        "REFUSED: measur",
        "convicted of a wrong-box",
        "not connected",
    ] {
        assert!(screen.contains(told), "{told}: {screen}");
    }
}

#[test]
fn any_size_of_terminal_is_drawn_and_q_quits_at_each() {
    let mut view = view();
    for (width, height) in [
        (0, 0),
        (1, 1),
        (10, 3),
        (40, 10),
        (80, 24),
        (133, 50),
        (400, 200),
    ] {
        let _ = drawn(&view, width, height);
        assert_eq!(view.handle(&Event::Resize(width, height)), After::Draw);
    }
    let small = drawn(&view, 80, 24);
    assert!(
        small.contains("members of") && small.contains("rounds of"),
        "{small}"
    );
    assert_eq!(press(&mut view, KeyCode::Char('q')), After::Quit);
    let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(view.handle(&Event::Key(interrupt)), After::Quit);
}

#[test]
fn a_coordinator_without_jobs_and_one_that_is_gone_are_told() {
    let mut view = View::new("https://127.0.0.1:1".to_owned());
    assert!(drawn(&view, 80, 24).contains("0 jobs"));
    assert_eq!(press(&mut view, KeyCode::Down), After::Draw);
    view.problem = Some("connection refused".to_owned());
    assert!(drawn(&view, 80, 24).contains("NOT UP TO DATE: connection refused"));
}

#[test]
fn of_many_jobs_the_newest_are_kept_and_the_next_question_starts_behind_the_others() {
    let jobs: Vec<_> = (1..=250)
        .map(|number| wire::Job {
            id: format!("job-{number}"),
            ..wire::Job::default()
        })
        .collect();
    let mut view = View::new(String::new());
    view.listed(jobs.clone());
    assert_eq!(view.jobs().len(), 200);
    assert_eq!(view.listed_after(), "job-50");
    view.listed(jobs[50..].to_vec());
    assert_eq!((view.jobs().len(), view.listed_after()), (200, "job-50"));
}

#[test]
fn a_member_counts_as_verified_only_once_it_gave_evidence_in_the_job() {
    let (jobs, mut job) = recorded();
    let seen = |job: &wire::Job| {
        let mut view = View::new(String::new());
        view.listed(jobs.clone());
        view.shown(Some(job.clone()));
        drawn(&view, 160, 40)
    };
    job.dangerous_simulated_attestation = false;
    assert!(seen(&job).contains("verified"));
    job.rounds.clear();
    let screen = seen(&job);
    assert!(
        screen.contains("let in") && !screen.contains("verified"),
        "{screen}"
    );
}
