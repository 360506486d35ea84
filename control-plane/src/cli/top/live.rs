//! The screen as long as somebody looks at it.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event};

use super::keys::Looking;
use super::model::{Model, Picture};
use super::poll::{Heard, Hearing};
use super::screen;

/// A key is heard at once, an answer within this time.
const BREATH: Duration = Duration::from_millis(50);

/// How long something has been so is shown in seconds.
const TICK: Duration = Duration::from_secs(1);

/// Codes of processes that a signal has ended begin here.
const SIGNALLED: i32 = 128;

/// The terminal, which is as it was when this is dropped; so it is after a panic.
struct Screen(DefaultTerminal);

impl Screen {
    fn enter() -> std::io::Result<Self> {
        ratatui::try_init().map(Self).inspect_err(|_| ratatui::restore())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// Shows what is heard until it is ended by a key or by a signal.
pub(super) fn run(mut model: Model, mut hearing: Hearing, is_coloured: bool) -> anyhow::Result<ExitCode> {
    let mut screen = Screen::enter()?;
    let started = Instant::now();
    let mut looking = Looking::default();
    let mut shown = model.picture(0.0);
    let mut drawn = None;
    loop {
        let mut is_new = false;
        while let Some(heard) = hearing.next()? {
            match heard {
                Heard::Said(at, said) => {
                    model.take(said, at.saturating_duration_since(started).as_secs_f64());
                }
                Heard::Signal(number) => return Ok(code(number)),
            }
            is_new = true;
        }
        let is_due = drawn.is_none_or(|at: Instant| at.elapsed() >= TICK);
        if is_new || is_due {
            if !looking.is_paused {
                shown = model.picture(started.elapsed().as_secs_f64());
            }
            draw(&mut screen, &shown, &looking, is_coloured)?;
            drawn = Some(Instant::now());
        }
        if !event::poll(BREATH)? {
            continue;
        }
        match event::read()? {
            Event::Key(key) if !looking.press(key, &looking.table(&shown)) => return Ok(ExitCode::SUCCESS),
            // Whatever it was: the screen may look another way now.
            _ => drawn = None,
        }
    }
}

fn draw(screen: &mut Screen, shown: &Picture, looking: &Looking, is_coloured: bool) -> std::io::Result<()> {
    screen.0.draw(|frame| screen::draw(frame, shown, looking, is_coloured)).map(drop)
}

fn code(signal: i32) -> ExitCode {
    u8::try_from(SIGNALLED + signal).map_or(ExitCode::FAILURE, ExitCode::from)
}
