//! Sections of a long run: a heading for each, all of them run, and a summary at the end.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::process::heading;

/// What became of the sections so far.
#[derive(Default)]
pub(crate) struct Report {
    sections: Vec<Section>,
}

struct Section {
    title: String,
    error: Option<String>,
    took: Duration,
}

impl Report {
    /// Runs one section. Its failure is printed and kept: the sections after it run all the same.
    pub(crate) fn section(&mut self, title: &str, work: impl FnOnce() -> Result<()>) {
        heading(title);
        let start = Instant::now();
        let error = work().err().map(|error| format!("{error:#}"));
        if let Some(error) = &error {
            println!("error: {error}");
        }
        self.sections.push(Section { title: title.to_owned(), error, took: start.elapsed() });
    }

    /// Prints the summary. Fails when a section did.
    pub(crate) fn finish(self) -> Result<()> {
        heading("summary");
        for section in &self.sections {
            println!("{}", section.line());
        }
        let failed = self.sections.iter().filter(|section| section.error.is_some()).count();
        if failed > 0 {
            bail!("{failed} of {} sections failed", self.sections.len());
        }
        println!("all {} sections passed", self.sections.len());
        Ok(())
    }
}

impl Section {
    fn line(&self) -> String {
        let seconds = self.took.as_secs_f64();
        let verdict = if self.error.is_none() { "ok" } else { "FAILED" };
        let reason = self.error.as_deref().and_then(|error| error.lines().next());
        let line = format!("{verdict:<6} {seconds:>7.1} s  {}", self.title);
        reason.map_or(line.clone(), |reason| format!("{line}: {reason}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_section_fails_the_run_but_not_the_next_section() {
        let mut report = Report::default();
        let mut reached = false;
        report.section("first", || bail!("it broke"));
        report.section("second", || {
            reached = true;
            Ok(())
        });
        assert!(reached);
        assert_eq!(report.finish().unwrap_err().to_string(), "1 of 2 sections failed");
    }

    #[test]
    fn the_summary_gives_the_first_line_of_the_reason() {
        let error = Some("it broke\nin many places".to_owned());
        let section = Section { title: "tests".to_owned(), error, took: Duration::from_millis(1500) };
        assert_eq!(section.line(), "FAILED     1.5 s  tests: it broke");
    }
}
